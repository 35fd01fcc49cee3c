//! The network: looks a name up, vets every address (SSRF), connects to a vetted one, agrees on
//! TLS.
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
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use crate::resolver::Resolver;
use crate::shortage::lack;
use crate::tasks::BoxFuture;
use crate::tls::TlsClient;
use crate::transport::{
    Deadline, Dial, DialFuture, Endpoint, LookupContext, SocketState, Stream, io_words,
};

/// After so long without a connection the next address is tried beside (RFC 8305, section 5,
/// recommends 250 ms; long enough for a lost first packet of a near receiver not to matter).
const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(300);

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

/// Connects to one address. It may take as long as it likes: dropping it is giving up.
pub type ConnectFn =
    dyn Fn(SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> + Send + Sync;

/// The machine's network, or one that a test or the simulator brings. Whichever it is, addresses
/// are vetted here.
pub struct NetDial {
    resolver: Resolver,
    connect: Box<ConnectFn>,
    private_targets: PrivateTargets,
    tls: Arc<TlsClient>,
}

impl NetDial {
    pub fn new(resolver: Resolver, private_targets: PrivateTargets, tls: Arc<TlsClient>) -> Self {
        let connect = Box::new(|address| Box::pin(connect_tcp(address)) as BoxFuture<'static, _>);
        Self::over(connect, resolver, private_targets, tls)
    }

    /// The same on a network of which `connect` makes the connections.
    pub fn over(
        connect: Box<ConnectFn>,
        resolver: Resolver,
        private_targets: PrivateTargets,
        tls: Arc<TlsClient>,
    ) -> Self {
        Self {
            resolver,
            connect,
            private_targets,
            tls,
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
            let one = |address| {
                let connecting = (self.connect)(address);
                Box::pin(async move { (address, connecting.await) }) as ConnectFuture<_>
            };
            let tcp = connect(addresses, limit, one).await?;
            if endpoint.tls {
                self.tls.connect(tcp, endpoint, limit).await
            } else {
                Ok(tcp)
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
            Some(_) => limit.deadline().min(Instant::now() + NEXT_ADDRESS_AFTER),
            None => limit.deadline(),
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
            Err(_) if Instant::now() >= limit.deadline() => {
                return Err(limit.missed("the connection"));
            }
            Err(_) => {}
        }
    }
}

async fn connect_tcp(address: SocketAddr) -> io::Result<Box<dyn Stream>> {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that connects, to an address just vetted"
    )]
    let stream = TcpStream::connect(address).await?;
    // A request is written in one piece, so waiting for more of it only costs time.
    stream.set_nodelay(true)?;
    Ok(Box::new(stream))
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

#[cfg(test)]
mod tests;
