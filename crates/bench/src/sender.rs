//! Sends notifications over a number of kept connections. The client is the same whether Willcall
//! or the receiver itself is at the other end.

use std::future::poll_fn;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use engine::{BoxFuture, Deadline, Dial, Endpoint, LookupContext, NetDial, Resolver, TlsClient};
use http::{HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use model::address::PrivateTargets;
use prometheus_client::registry::Registry;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::time::Instant;
use web::dialects::DemoCall;

use crate::tasks;

const CONNECT_LIMIT_MS: u32 = 5_000;

/// A response takes milliseconds; a server that takes this long has stopped working.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);

/// After so long without a call a new connection is opened: servers close idle ones, and a call
/// must not meet one that is being closed.
const IDLE_LIMIT: Duration = Duration::from_secs(4);

/// The address that calls go to, and the token they carry.
#[derive(Clone)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    pub(crate) token: String,
}

/// A call prepared in advance, so that only sending is measured.
#[derive(Clone)]
pub(crate) struct PreparedCall {
    method: Method,
    uri: Uri,
    authorization: HeaderValue,
    body: Bytes,
}

impl PreparedCall {
    pub(crate) fn new(call: DemoCall, token: &str) -> Result<Self> {
        Ok(Self {
            method: call.method,
            uri: call.path.parse()?,
            authorization: format!("{} {token}", call.scheme).parse()?,
            body: call.body.into(),
        })
    }

    /// The same call, addressed to the receiver itself.
    pub(crate) fn straight(&self) -> Self {
        Self {
            uri: Uri::from_static("/0"),
            ..self.clone()
        }
    }
}

/// A kept connection.
pub(crate) struct BenchConnection {
    sender: SendRequest<Full<Bytes>>,
    host: HeaderValue,
    peer: Peer,
    used: Instant,
}

impl BenchConnection {
    pub(crate) async fn open(peer: &Peer) -> Result<Self> {
        Self::open_by(&dial()?, peer).await
    }

    async fn open_by(dial: &NetDial, peer: &Peer) -> Result<Self> {
        let (connection, driver) = Self::connect(dial, peer).await?;
        tasks::spawn(driver);
        Ok(connection)
    }

    /// Opens a connection. Returns it and its driver: nothing is sent or received unless that is
    /// polled.
    async fn connect(dial: &NetDial, peer: &Peer) -> Result<(Self, BoxFuture<'static, ()>)> {
        let place = Endpoint {
            tls: false,
            host: peer.address.ip().to_string(),
            port: peer.address.port(),
            own: None,
        };
        let stream = dial
            .dial(
                &place,
                LookupContext::INTERNAL,
                Deadline::from_here(CONNECT_LIMIT_MS),
            )
            .await;
        let stream = stream.map_err(|failure| anyhow!(failure.words()))?;
        let (sender, driver) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let connection = Self {
            sender,
            host: peer.address.to_string().parse()?,
            peer: peer.clone(),
            used: Instant::now(),
        };
        // Whoever waits for a response gets the error.
        Ok((connection, Box::pin(async move { drop(driver.await) })))
    }

    /// Sends a call and returns the body. Anything but 2xx is an error that quotes it.
    pub(crate) async fn send(&mut self, call: &PreparedCall) -> Result<Bytes> {
        let exchange = tokio::time::timeout(ANSWER_LIMIT, self.exchange(call));
        let answered = exchange
            .await
            .unwrap_or_else(|_| Err(anyhow!("no response within {} s", ANSWER_LIMIT.as_secs())));
        let what = || {
            format!(
                "{} {} at {}",
                call.method,
                call.uri.path(),
                self.peer.address
            )
        };
        let (status, body) = answered.with_context(what)?;
        if !status.is_success() {
            let words = String::from_utf8_lossy(&body).into_owned();
            bail!("{} was answered {status}: {words}", what());
        }
        Ok(body)
    }

    async fn exchange(&mut self, call: &PreparedCall) -> Result<(StatusCode, Bytes)> {
        self.sender.ready().await?;
        let mut request = Request::new(Full::new(call.body.clone()));
        *request.method_mut() = call.method.clone();
        *request.uri_mut() = call.uri.clone();
        let headers = request.headers_mut();
        headers.insert(header::HOST, self.host.clone());
        headers.insert(header::AUTHORIZATION, call.authorization.clone());
        let json = HeaderValue::from_static("application/json");
        headers.insert(header::CONTENT_TYPE, json);
        let (head, body) = self.sender.send_request(request).await?.into_parts();
        Ok((head.status, body.collect().await?.to_bytes()))
    }

    /// Gets a public path and returns the body, whatever the status.
    pub(crate) async fn look(&mut self, path: &'static str) -> Result<String> {
        let call = PreparedCall {
            method: Method::GET,
            uri: Uri::from_static(path),
            authorization: HeaderValue::from_static("none"),
            body: Bytes::new(),
        };
        let (_, body) = self.exchange(&call).await?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    /// Makes a call and returns the response as JSON.
    pub(crate) async fn call(&mut self, call: DemoCall) -> Result<serde_json::Value> {
        if self.used.elapsed() > IDLE_LIMIT {
            *self = Self::open(&self.peer.clone()).await?;
        }
        let body = self
            .send(&PreparedCall::new(call, &self.peer.token)?)
            .await?;
        self.used = Instant::now();
        Ok(serde_json::from_slice(&body).unwrap_or(serde_json::Value::Null))
    }
}

/// A dialer without certificate authorities: nothing here uses TLS.
fn dial() -> Result<NetDial> {
    let mut meters = Registry::default();
    let tls = TlsClient::new(&engine::tls_config(&[])?, &mut meters);
    let resolver = Resolver::of_system(&mut meters);
    Ok(NetDial::new(resolver, PrivateTargets::All, Arc::new(tls)))
}

/// Opens a connection from `from`, an address of this machine, so that the server sees another
/// client.
pub(crate) async fn open_from(from: Ipv4Addr, peer: SocketAddr) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((from, 0)))?;
    Ok(socket.connect(peer).await?)
}

/// Opens connections one after another, to each of `peers` in turn.
async fn open_all(peers: &[Peer], count: usize) -> Result<Vec<BenchConnection>> {
    let dial = dial()?;
    let mut connections = Vec::with_capacity(count);
    for peer in peers.iter().cycle().take(count) {
        connections.push(BenchConnection::open_by(&dial, peer).await?);
    }
    Ok(connections)
}

/// A closed loop: `count` calls, each sent as soon as a connection is free.
pub(crate) struct Flood {
    connections: Vec<BenchConnection>,
    calls: Arc<Vec<PreparedCall>>,
    count: usize,
}

impl Flood {
    /// Opens the connections, to each of `peers` as many. If there are fewer calls than `count`,
    /// they are repeated.
    pub(crate) async fn prepare(
        peers: &[Peer],
        calls: Arc<Vec<PreparedCall>>,
        count: usize,
        connections: usize,
    ) -> Result<Self> {
        Ok(Self {
            connections: open_all(peers, connections).await?,
            calls,
            count,
        })
    }

    /// Sends everything; returns the time until the last response.
    pub(crate) async fn run(self) -> Result<Duration> {
        let began = Instant::now();
        let next = Arc::new(AtomicUsize::new(0));
        let (tell, mut told) = mpsc::unbounded_channel();
        for mut connection in self.connections {
            let (calls, next, tell) = (Arc::clone(&self.calls), Arc::clone(&next), tell.clone());
            let count = self.count;
            tasks::spawn(async move {
                let sent = send_all(&mut connection, &calls, &next, count).await;
                // The receiver is gone once another connection has failed.
                tell.send(sent).ok();
            });
        }
        drop(tell);
        while let Some(sent) = told.recv().await {
            sent?;
        }
        Ok(began.elapsed())
    }
}

async fn send_all(
    connection: &mut BenchConnection,
    calls: &[PreparedCall],
    next: &AtomicUsize,
    count: usize,
) -> Result<()> {
    loop {
        let index = next.fetch_add(1, Ordering::Relaxed);
        if index >= count {
            return Ok(());
        }
        let call = calls.get(index % calls.len().max(1));
        connection
            .send(call.context("there is nothing to send")?)
            .await?;
    }
}

/// A connection whose driver is polled by whoever sends on it. So the sending thread itself writes
/// the call; no other thread has to wake first.
struct InlineConnection {
    connection: BenchConnection,
    /// None once the connection has ended.
    driver: Option<BoxFuture<'static, ()>>,
}

impl InlineConnection {
    /// Sends a call; returns the connection after the response.
    async fn send(mut self, call: PreparedCall) -> Result<Self> {
        self.exchange(&call).await?;
        Ok(self)
    }

    async fn exchange(&mut self, call: &PreparedCall) -> Result<Bytes> {
        let Self { connection, driver } = self;
        let mut sending = pin!(connection.send(call));
        poll_fn(|cx| {
            // The call has to reach the driver before it can be written, and the response has to
            // be read before it can be returned: polled twice, so that neither waits.
            for _ in 0..2 {
                if let Poll::Ready(answer) = sending.as_mut().poll(cx) {
                    return Poll::Ready(answer);
                }
                let ended = |own: &mut BoxFuture<'static, ()>| own.as_mut().poll(cx).is_ready();
                if driver.as_mut().is_some_and(ended) {
                    *driver = None;
                }
            }
            sending.as_mut().poll(cx)
        })
        .await
    }
}

/// Sends calls on a schedule that does not wait for responses: call `n` at `n / per_second`
/// seconds, as long as a connection is free. The connections are to each of `peers` in turn.
/// Returns for each call when it was due, and how much later it was sent.
///
/// Blocks the calling thread between calls, so that must not be one of the runtime's: the runtime's
/// timers have a resolution of a millisecond, and the times measured here are shorter.
pub(crate) async fn open_loop(
    peers: &[Peer],
    calls: Arc<Vec<PreparedCall>>,
    per_second: u32,
    connections: usize,
) -> Result<Vec<(Instant, Duration)>> {
    let dial = dial()?;
    let (free, mut freed) = mpsc::unbounded_channel();
    for peer in peers.iter().cycle().take(connections.max(1)) {
        let (connection, driver) = BenchConnection::connect(&dial, peer).await?;
        let driver = Some(driver);
        // Cannot fail: the other end is held here.
        free.send(Ok(InlineConnection { connection, driver })).ok();
    }
    let mut times = Vec::with_capacity(calls.len());
    let began = Instant::now();
    for (index, call) in calls.iter().enumerate() {
        let step = u32::try_from(index)?;
        let meant = began + Duration::from_secs(1) * step / per_second.max(1);
        // Lets the runtime notice a signal.
        tokio::task::yield_now().await;
        loop {
            let left = meant.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            std::thread::park_timeout(left);
        }
        let connection: Result<InlineConnection> =
            freed.recv().await.context("all connections are gone")?;
        times.push((meant, meant.elapsed()));
        let mut sending = Box::pin(connection?.send(call.clone()));
        match poll_fn(|cx| Poll::Ready(sending.as_mut().poll(cx))).await {
            Poll::Ready(sent) => drop(free.send(sent)),
            Poll::Pending => {
                let free = free.clone();
                tasks::spawn(async move { drop(free.send(sending.await)) });
            }
        }
    }
    drop(free);
    // Each connection comes back after its response.
    while let Some(connection) = freed.recv().await {
        connection?;
    }
    Ok(times)
}
