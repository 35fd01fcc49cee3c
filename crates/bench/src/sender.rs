//! What hands notifications in: kept connections, as many as are asked for, with the same client
//! whether Willcall or the receiver itself is at the other end.

use std::future::poll_fn;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use engine::{BoxFuture, Deadline, Dial, Endpoint, LookupContext, NetDial, Resolver};
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

/// An answer takes milliseconds; a server that takes this long has stopped working.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);

/// After so long without a call a connection is made anew: servers close what idles, and one that
/// is being closed must not be met.
const IDLE_LIMIT: Duration = Duration::from_secs(4);

/// Where calls go, and as whom.
#[derive(Clone)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    pub(crate) token: String,
}

/// A call made ready, so that sending it costs nothing but sending it.
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

    /// The same body straight to the receiver.
    pub(crate) fn straight(&self) -> Self {
        Self {
            uri: Uri::from_static("/0"),
            ..self.clone()
        }
    }
}

/// One kept connection.
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

    /// A connection, and what has to be polled for anything to be sent or received on it.
    async fn connect(dial: &NetDial, peer: &Peer) -> Result<(Self, BoxFuture<'static, ()>)> {
        let place = Endpoint {
            tls: false,
            host: peer.address.ip().to_string(),
            port: peer.address.port(),
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
        // What went wrong is said to who waits for an answer.
        Ok((connection, Box::pin(async move { drop(driver.await) })))
    }

    /// Sends a call; anything but 2xx is an error with the answer in it.
    pub(crate) async fn send(&mut self, call: &PreparedCall) -> Result<Bytes> {
        let exchange = tokio::time::timeout(ANSWER_LIMIT, self.exchange(call));
        let answered = exchange.await.unwrap_or_else(|_| {
            Err(anyhow!(
                "there was no answer within {} s",
                ANSWER_LIMIT.as_secs()
            ))
        });
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

    /// What is answered at a path to anybody, whatever the status.
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

    /// Makes a call and reads its answer as JSON.
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

/// Without authorities: nothing here speaks TLS, and none are read from the disk.
fn dial() -> Result<NetDial> {
    let tls = engine::tls_config(&[])?;
    let resolver = Resolver::of_system(&mut Registry::default());
    Ok(NetDial::new(resolver, PrivateTargets::All, &tls))
}

/// A connection from this address of the machine's own: another client than who calls from
/// elsewhere.
pub(crate) async fn open_from(from: Ipv4Addr, peer: SocketAddr) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((from, 0)))?;
    Ok(socket.connect(peer).await?)
}

/// Opens connections, in order.
async fn open_all(peer: &Peer, count: usize) -> Result<Vec<BenchConnection>> {
    let dial = dial()?;
    let mut connections = Vec::with_capacity(count);
    for _ in 0..count {
        connections.push(BenchConnection::open_by(&dial, peer).await?);
    }
    Ok(connections)
}

/// A flood that is about to begin: `count` calls, each in turn as soon as a connection is free.
pub(crate) struct Flood {
    connections: Vec<BenchConnection>,
    calls: Arc<Vec<PreparedCall>>,
    count: usize,
}

impl Flood {
    /// Opens the connections. Calls are repeated from the first if `count` is beyond them.
    pub(crate) async fn prepare(
        peer: &Peer,
        calls: Arc<Vec<PreparedCall>>,
        count: usize,
        connections: usize,
    ) -> Result<Self> {
        Ok(Self {
            connections: open_all(peer, connections).await?,
            calls,
            count,
        })
    }

    /// Sends everything; answers how long it took until the last was answered.
    pub(crate) async fn run(self) -> Result<Duration> {
        let began = Instant::now();
        let next = Arc::new(AtomicUsize::new(0));
        let (tell, mut told) = mpsc::unbounded_channel();
        for mut connection in self.connections {
            let (calls, next, tell) = (Arc::clone(&self.calls), Arc::clone(&next), tell.clone());
            let count = self.count;
            tasks::spawn(async move {
                let sent = send_all(&mut connection, &calls, &next, count).await;
                // Nobody listens once another connection has failed.
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

/// A connection that is polled by whoever sends on it. So a call leaves by the thread that sends
/// it, not by others that first have to be woken.
struct InlineConnection {
    connection: BenchConnection,
    /// Nothing once the connection has ended.
    driver: Option<BoxFuture<'static, ()>>,
}

impl InlineConnection {
    /// Sends a call, and gives the connection back once it was answered.
    async fn send(mut self, call: PreparedCall) -> Result<Self> {
        self.exchange(&call).await?;
        Ok(self)
    }

    async fn exchange(&mut self, call: &PreparedCall) -> Result<Bytes> {
        let Self { connection, driver } = self;
        let mut sending = pin!(connection.send(call));
        poll_fn(|cx| {
            // A call is handed over before it can be written, an answer read before it is handed
            // over: twice, so that neither waits for the next look.
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

/// Sends calls on a schedule that does not wait for answers: call `n` at `n / per_second` seconds,
/// late or not, as long as a connection is free. Answers when each was meant to be sent, and how
/// much later it was.
///
/// Waits on the calling thread, which must not be one of the runtime's own: its timers are good
/// for a millisecond only, and what is measured is shorter.
pub(crate) async fn open_loop(
    peer: &Peer,
    calls: Arc<Vec<PreparedCall>>,
    per_second: u32,
    connections: usize,
) -> Result<Vec<(Instant, Duration)>> {
    let dial = dial()?;
    let (free, mut freed) = mpsc::unbounded_channel();
    for _ in 0..connections.max(1) {
        let (connection, driver) = BenchConnection::connect(&dial, peer).await?;
        let driver = Some(driver);
        // This end is open: the other is held here.
        free.send(Ok(InlineConnection { connection, driver })).ok();
    }
    let mut times = Vec::with_capacity(calls.len());
    let began = Instant::now();
    for (index, call) in calls.iter().enumerate() {
        let step = u32::try_from(index)?;
        let meant = began + Duration::from_secs(1) * step / per_second.max(1);
        // So that a signal to stop is noticed in between.
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
    // Each connection comes back once its call was answered.
    while let Some(connection) = freed.recv().await {
        connection?;
    }
    Ok(times)
}
