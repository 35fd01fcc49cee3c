//! The network: looks a name up, vets every address (SSRF), connects to a vetted one or has a proxy
//! connect, agrees on TLS.
//!
//! The address that is dialled is the very one that was vetted, whatever is remembered of its name.
//! A proxy that is told names looks them up itself: there what this machine finds is vetted, and
//! what it does not find is the proxy's to refuse. Nothing outside this file opens a connection.
//! `resolver.rs` looks names up, and only for it.

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

use crate::mail::MailClient;
use crate::proxy::{ProxyCheck, ProxyClient, TunnelHost, Upstream};
use crate::resolver::Resolver;
use crate::shortage::lack;
use crate::tasks::BoxFuture;
use crate::tls::TlsClient;
use crate::transport::{
    Deadline, Dial, DialFuture, Endpoint, LookupContext, SendMail, SocketState, Stream, io_words,
};

/// After so long without a connection the next address is tried beside (RFC 8305, section 5,
/// recommends 250 ms; long enough for a lost first packet of a near receiver not to matter).
const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(300);

/// What a name that goes to a proxy may cost if this machine cannot look it up, which may have no
/// name server at all. One that works answers within this time but for few names.
const VETTED_WITHIN_MS: u32 = 1_000;

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
    proxies: Option<ProxyClient>,
    mail: Option<MailClient>,
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
            proxies: None,
            mail: None,
        }
    }

    /// The same with calls going through these proxies.
    #[must_use]
    pub fn through(self, proxies: ProxyClient) -> Self {
        Self {
            proxies: Some(proxies),
            ..self
        }
    }

    /// The same with a mail server.
    #[must_use]
    pub fn with_mail(self, mail: Option<MailClient>) -> Self {
        Self { mail, ..self }
    }

    /// Tries each proxy out, without calling anybody: whether it is there, and knows us.
    pub async fn try_proxies(&self, limit: Deadline) -> Vec<ProxyCheck> {
        let mut checks = Vec::new();
        for proxy in self.proxies.iter().flat_map(ProxyClient::all) {
            let reached = self.reach(proxy, Upstream::near(limit)).await;
            checks.push(proxy.try_out(reached, limit).await);
        }
        checks
    }

    async fn look_up(
        &self,
        endpoint: &Endpoint,
        context: LookupContext,
        limit: Deadline,
    ) -> Result<Vec<SocketAddr>, Failure> {
        if let Ok(address) = endpoint.host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, endpoint.port)]);
        }
        let found = self
            .resolver
            .look_up(context, &endpoint.host, limit)
            .await?;
        let mut found = found.to_vec();
        for address in &mut found {
            address.set_port(endpoint.port);
        }
        Ok(found)
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
            Some((address, kind)) if open.is_empty() => Err(forbidden(address, kind)),
            _ => Ok(open),
        }
    }

    /// Connects without a proxy.
    async fn direct(
        &self,
        endpoint: &Endpoint,
        context: LookupContext,
        limit: Deadline,
    ) -> Result<Box<dyn Stream>, Failure> {
        let found = self.look_up(endpoint, context, limit).await?;
        self.connect(self.vetted(found)?, limit).await
    }

    /// Has a proxy connect.
    async fn tunnel(
        &self,
        proxy: &Upstream,
        endpoint: &Endpoint,
        context: LookupContext,
        limit: Deadline,
    ) -> Result<Box<dyn Stream>, Failure> {
        if !proxy.takes_addresses() {
            self.vet_name(endpoint, context, limit).await?;
            let host = match endpoint.host.parse::<IpAddr>() {
                Ok(address) => TunnelHost::Address(address),
                Err(_) => TunnelHost::Name(&endpoint.host),
            };
            return self.tunnel_to(proxy, host, endpoint.port, limit).await;
        }
        let found = self.look_up(endpoint, context, limit).await?;
        let mut complaints: Vec<String> = Vec::new();
        for address in self.vetted(found)? {
            let host = TunnelHost::Address(address.ip());
            match self.tunnel_to(proxy, host, address.port(), limit).await {
                Err(failure) if failure.kind == FailureKind::Connect => {
                    complaints.push(format!("{} ({address})", failure.detail));
                }
                ended => return ended,
            }
        }
        Err(Failure::new(FailureKind::Connect, complaints.join("; ")))
    }

    /// Vets where a name leads that a proxy will be told. Which of its addresses that takes is not
    /// known, so all have to be open. A name that this machine does not find goes to the proxy.
    async fn vet_name(
        &self,
        endpoint: &Endpoint,
        context: LookupContext,
        limit: Deadline,
    ) -> Result<(), Failure> {
        let soon = limit.at_most(VETTED_WITHIN_MS);
        match self.look_up(endpoint, context, soon).await {
            Ok(found) => {
                let vet = |address: SocketAddr| {
                    let vetted = self.private_targets.vet(address.ip());
                    vetted.map_err(|kind| forbidden(address.ip(), kind))
                };
                found.into_iter().try_for_each(vet)
            }
            Err(failure) if failure.kind == FailureKind::LookUp => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    async fn tunnel_to(
        &self,
        proxy: &Upstream,
        host: TunnelHost<'_>,
        port: u16,
        limit: Deadline,
    ) -> Result<Box<dyn Stream>, Failure> {
        proxy.admit()?;
        let near = Upstream::near(limit);
        let reached = self.reach(proxy, near).await;
        let stream = reached.map_err(|failure| proxy.unreachable(failure))?;
        proxy.open(stream, host, port, near, limit).await
    }

    /// A stream to the proxy itself. It is the operator's, so its address is not vetted.
    async fn reach(&self, proxy: &Upstream, limit: Deadline) -> Result<Box<dyn Stream>, Failure> {
        let endpoint = proxy.endpoint();
        let context = LookupContext::INTERNAL;
        let found = self.look_up(endpoint, context, limit).await?;
        let tcp = self.connect(found, limit).await?;
        match endpoint.tls {
            true => self.tls.connect(tcp, endpoint, limit).await,
            false => Ok(tcp),
        }
    }

    async fn connect(
        &self,
        addresses: Vec<SocketAddr>,
        limit: Deadline,
    ) -> Result<Box<dyn Stream>, Failure> {
        let one = |address| {
            let connecting = (self.connect)(address);
            Box::pin(async move { (address, connecting.await) }) as ConnectFuture<_>
        };
        connect(addresses, limit, one).await
    }
}

fn forbidden(address: IpAddr, kind: &str) -> Failure {
    let detail =
        format!("{address} is {kind}; the setting allow_private_targets opens such addresses");
    Failure::new(FailureKind::Forbidden, detail)
}

impl Dial for NetDial {
    fn dial<'a>(
        &'a self,
        endpoint: &'a Endpoint,
        context: LookupContext,
        limit: Deadline,
    ) -> DialFuture<'a> {
        Box::pin(async move {
            let proxy = self.proxies.as_ref();
            let tcp = match proxy.and_then(|proxies| proxies.choose(endpoint)) {
                Some(proxy) => self.tunnel(proxy, endpoint, context, limit).await?,
                None => self.direct(endpoint, context, limit).await?,
            };
            if endpoint.tls {
                self.tls.connect(tcp, endpoint, limit).await
            } else {
                Ok(tcp)
            }
        })
    }

    fn mail(&self) -> Option<&dyn SendMail> {
        let mail = self.mail.as_ref()?;
        Some(mail)
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
