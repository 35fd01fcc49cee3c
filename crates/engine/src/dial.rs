//! Dial (from a place to a stream) and the real one: look the name up, vet every address, connect
//! to a vetted one, agree on TLS.
//!
//! The address that is dialled is the very one that was vetted, whatever is remembered of its name.
//! Nothing outside this file opens a connection. `resolver.rs` looks names up, and only for it.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use model::address::PrivateTargets;
use model::attempt::{Failure, FailureKind};
use model::id::TenantId;
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::resolver::Resolver;
use crate::shortage::lack;
use crate::tasks::BoxFuture;
use crate::tls::{TlsRoots, tls_words};

/// After so long without a connection the next address is tried beside (RFC 8305, section 5,
/// recommends 250 ms; long enough for a lost first packet of a near receiver not to matter).
const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(300);

/// Opens streams to receivers.
pub trait Dial: Send + Sync {
    /// A stream to `endpoint`, ready for HTTP, or why there is none. Ends by the limit.
    fn dial<'a>(
        &'a self,
        endpoint: &'a Endpoint,
        context: LookupContext,
        limit: Deadline,
    ) -> DialFuture<'a>;
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

/// What lies in a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SocketState {
    Idle,
    Readable,
    /// The other side has ended the connection.
    Closed,
}

impl Stream for TcpStream {
    fn socket_state(&self) -> SocketState {
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        match recv(self, &mut [0_u8; 1], flags) {
            Ok((_, 0)) => SocketState::Closed,
            Ok(_) => SocketState::Readable,
            Err(Errno::AGAIN | Errno::INTR) => SocketState::Idle,
            Err(_) => SocketState::Closed,
        }
    }
}

impl Stream for TlsStream<TcpStream> {
    fn socket_state(&self) -> SocketState {
        self.get_ref().0.socket_state()
    }
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
}

/// Who wants a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LookupContext {
    /// Its share is taken.
    pub tenant: TenantId,
    /// What was found of the name before is not good enough: somebody has changed the webhook, or
    /// asked for an attempt, and waits for what comes of it.
    pub since: Option<Instant>,
    /// The webhook's latest attempt that is known of succeeded, so its name was found then.
    pub succeeded: bool,
}

/// By when an exchange ends, and how long it was given.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    deadline: Instant,
    limit_ms: u32,
}

/// The network.
pub struct NetDial {
    resolver: Resolver,
    private_targets: PrivateTargets,
    tls: TlsConnector,
    has_roots: bool,
}

impl LookupContext {
    /// Willcall itself, for no tenant: the store counts tenants from 1.
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

    /// The failure of an exchange that was waiting for `what` when its time was over.
    pub fn missed(self, what: &str) -> Failure {
        let seconds = self.seconds();
        let detail = format!("the {seconds} s were over while waiting for {what}");
        Failure::new(FailureKind::TimeLimit, detail)
    }

    pub(crate) fn seconds(self) -> f64 {
        f64::from(self.limit_ms) / 1_000.0
    }
}

impl NetDial {
    pub fn new(resolver: Resolver, private_targets: PrivateTargets, roots: &TlsRoots) -> Self {
        Self {
            resolver,
            private_targets,
            tls: TlsConnector::from(Arc::clone(&roots.config)),
            has_roots: roots.count() > 0,
        }
    }

    async fn look_up(
        &self,
        endpoint: &Endpoint,
        context: LookupContext,
        limit: Deadline,
    ) -> Result<Vec<SocketAddr>, Failure> {
        if let Ok(address) = endpoint.host.parse::<IpAddr>() {
            return self.vetted(vec![SocketAddr::new(address, endpoint.port)]);
        }
        let found = self
            .resolver
            .look_up(context, &endpoint.host, limit)
            .await?;
        let mut found = found.to_vec();
        for address in &mut found {
            address.set_port(endpoint.port);
        }
        self.vetted(found)
    }

    /// Those that may be called; a failure that names the first if none may.
    fn vetted(&self, found: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, Failure> {
        let mut refused = None;
        let mut open = Vec::with_capacity(found.len());
        for address in found {
            match self.private_targets.vet(address.ip()) {
                Ok(()) => open.push(address),
                Err(kind) if refused.is_none() => refused = Some((address.ip(), kind)),
                Err(_) => {}
            }
        }
        match refused {
            Some((address, kind)) if open.is_empty() => Err(Failure::new(
                FailureKind::Forbidden,
                format!(
                    "{address} is {kind}; the setting allow_private_targets opens such addresses"
                ),
            )),
            _ => Ok(open),
        }
    }

    async fn agree(
        &self,
        tcp: TcpStream,
        endpoint: &Endpoint,
        limit: Deadline,
    ) -> Result<Box<dyn Stream>, Failure> {
        let name = ServerName::try_from(endpoint.host.clone()).map_err(|_| {
            let detail = format!("{} cannot be the name in a certificate", endpoint.host);
            Failure::new(FailureKind::BadTarget, detail)
        })?;
        match timeout_at(limit.deadline, self.tls.connect(name, tcp)).await {
            Ok(Ok(stream)) => Ok(Box::new(stream)),
            Ok(Err(error)) => {
                let detail = tls_words(&error, self.has_roots).unwrap_or_else(|| io_words(&error));
                Err(Failure::new(FailureKind::Tls, detail))
            }
            Err(_) => Err(limit.missed("TLS to be agreed on")),
        }
    }
}

impl Dial for NetDial {
    fn dial<'a>(
        &'a self,
        endpoint: &'a Endpoint,
        context: LookupContext,
        limit: Deadline,
    ) -> DialFuture<'a> {
        Box::pin(async move {
            let addresses = self.look_up(endpoint, context, limit).await?;
            let tcp = connect(addresses, limit, |address| Box::pin(connect_one(address))).await?;
            if endpoint.tls {
                self.agree(tcp, endpoint, limit).await
            } else {
                Ok(Box::new(tcp) as Box<dyn Stream>)
            }
        })
    }
}

type ConnectFuture<T> = BoxFuture<'static, (SocketAddr, io::Result<T>)>;

/// The first of these addresses that takes a connection. They are tried in order; one that does
/// not answer soon gets company.
async fn connect<T>(
    addresses: Vec<SocketAddr>,
    limit: Deadline,
    one: impl Fn(SocketAddr) -> ConnectFuture<T>,
) -> Result<T, Failure> {
    let mut waiting = addresses.into_iter().peekable();
    let mut running: Vec<ConnectFuture<T>> = Vec::new();
    let mut complaints: Vec<String> = Vec::new();
    loop {
        if let Some(address) = waiting.next() {
            running.push(one(address));
        } else if running.is_empty() {
            return Err(Failure::new(FailureKind::Connect, complaints.join("; ")));
        }
        let until = match waiting.peek() {
            Some(_) => limit.deadline.min(Instant::now() + NEXT_ADDRESS_AFTER),
            None => limit.deadline,
        };
        match timeout_at(until, first_of(&mut running)).await {
            Ok((_, Ok(stream))) => return Ok(stream),
            Ok((address, Err(error))) => {
                if let Some(what) = lack(&error, address) {
                    // Another address would need the same.
                    return Err(Failure::new(FailureKind::Short, what));
                }
                complaints.push(format!("{} ({address})", io_words(&error)));
            }
            Err(_) if Instant::now() >= limit.deadline => {
                return Err(limit.missed("the connection"));
            }
            Err(_) => {}
        }
    }
}

async fn connect_one(address: SocketAddr) -> (SocketAddr, io::Result<TcpStream>) {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that connects, to an address just vetted"
    )]
    let connected = TcpStream::connect(address).await;
    // A request is written in one piece, so waiting for more of it only costs time.
    let connected = connected.and_then(|stream| stream.set_nodelay(true).map(|()| stream));
    (address, connected)
}

async fn first_of<T>(running: &mut Vec<BoxFuture<'static, T>>) -> T {
    poll_fn(|cx| {
        for index in 0..running.len() {
            let polled = match running.get_mut(index) {
                Some(future) => Pin::new(future).poll(cx),
                None => Poll::Pending,
            };
            if let Poll::Ready(done) = polled {
                drop(running.swap_remove(index));
                return Poll::Ready(done);
            }
        }
        Poll::Pending
    })
    .await
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

#[cfg(test)]
mod tests;
