//! What the engine asks of a network: from an endpoint to a stream, by a deadline.
//!
//! `dial.rs` is the real network. Tests bring streams in memory.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use model::attempt::{Failure, FailureKind, Outcome};
use model::delivery::DueDelivery;
use model::id::TenantId;
use model::mail::MailAddress;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio::time::Instant;

use crate::tasks::BoxFuture;
use crate::tls::OwnTls;

/// Opens streams to receivers.
pub trait Dial: Send + Sync {
    /// A stream to `endpoint`, ready for HTTP, or why there is none. Ends by the deadline `limit`.
    fn dial<'a>(
        &'a self,
        endpoint: &'a Endpoint,
        context: LookupContext,
        limit: Deadline,
    ) -> DialFuture<'a>;

    /// Who sends mail, if anybody does.
    fn mail(&self) -> Option<&dyn SendMail> {
        None
    }
}

/// Sends mail to the operator's mail server.
pub trait SendMail: Send + Sync {
    /// Sends what a delivery has to say to this address. Ends by the deadline `limit`.
    fn send<'a>(
        &'a self,
        to: &'a MailAddress,
        due: &'a DueDelivery,
        limit: Deadline,
    ) -> BoxFuture<'a, Outcome>;
}

pub type DialFuture<'a> = BoxFuture<'a, Result<Box<dyn Stream>, Failure>>;

/// Bytes both ways.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {
    /// What lies in the socket below, unread, as the operating system knows it at this moment. The
    /// runtime learns of the end of a connection only when it is told.
    fn socket_state(&self) -> SocketState {
        SocketState::Idle
    }
}

impl Stream for Box<dyn Stream> {
    fn socket_state(&self) -> SocketState {
        (**self).socket_state()
    }
}

/// What lies in a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SocketState {
    Idle,
    Readable,
    /// The other side has ended the connection.
    Closed,
}

/// Streams in memory, below which there is nothing.
impl Stream for DuplexStream {}

/// Where a receiver listens.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    pub tls: bool,
    /// A name or an address, without brackets.
    pub host: String,
    pub port: u16,
    /// What the webhook has of its own for TLS.
    pub own: Option<Arc<OwnTls>>,
}

/// For whom a name is looked up, and what is known of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LookupContext {
    /// Whose share of the look-ups it uses.
    pub tenant: TenantId,
    /// A result from before this is not good enough: somebody changed the webhook, or asked for an
    /// attempt, and waits for its outcome.
    pub since: Option<Instant>,
    /// The webhook's latest known attempt succeeded, so its name was found then.
    pub succeeded: bool,
}

/// When an exchange ends, and how long it was given.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    deadline: Instant,
    limit_ms: u32,
}

impl LookupContext {
    /// Willcall itself, for no tenant: the store numbers tenants from 1.
    pub const INTERNAL: Self = Self {
        tenant: TenantId(0),
        since: None,
        succeeded: false,
    };
}

impl Deadline {
    pub fn from_here(limit_ms: u32) -> Self {
        Self {
            deadline: Instant::now() + Duration::from_millis(u64::from(limit_ms)),
            limit_ms,
        }
    }

    pub fn deadline(self) -> Instant {
        self.deadline
    }

    /// The same or, if that is sooner, in so much time from here.
    pub(crate) fn at_most(self, limit_ms: u32) -> Self {
        let sooner = Self::from_here(limit_ms);
        match sooner.deadline < self.deadline {
            true => sooner,
            false => self,
        }
    }

    /// The failure of an exchange that still waited for `what` at the deadline.
    pub fn missed(self, what: &str) -> Failure {
        let seconds = self.seconds();
        let detail = format!("timed out after {seconds} s, waiting for {what}");
        Failure::new(FailureKind::TimeLimit, detail)
    }

    pub(crate) fn seconds(self) -> f64 {
        f64::from(self.limit_ms) / 1_000.0
    }
}

/// An error of the network in plain words.
pub(crate) fn io_words(error: &io::Error) -> String {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the other kinds say best themselves what they are"
    )]
    let words = match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused",
        io::ErrorKind::ConnectionReset => "the receiver reset the connection",
        io::ErrorKind::ConnectionAborted => "the connection was aborted",
        io::ErrorKind::BrokenPipe | io::ErrorKind::NotConnected => "the receiver hung up",
        io::ErrorKind::UnexpectedEof => "the receiver closed the connection half-way",
        io::ErrorKind::HostUnreachable => "no route to the host",
        io::ErrorKind::NetworkUnreachable => "no route to the network",
        io::ErrorKind::TimedOut => "the network gave up waiting",
        io::ErrorKind::AddrNotAvailable => "this machine has no free address or port for it",
        _ => return error.to_string(),
    };
    words.to_owned()
}
