//! Listens and accepts connections, and lets them finish when the server stops. How many there may
//! be is in `connections.rs`.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use model::time::Clock;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use web::{BodyObserver, Site};

use crate::connections::{ConnectionState, Connections};
use crate::fast_path::FastPath;
use crate::http1::serve_any;
use crate::listen_address::{ListenAddress, SOCKET_PEER, SocketListener};
use crate::overflow;
use crate::tasks::spawn;

/// After a stop, running requests may take this long.
const REQUESTS_LIMIT: Duration = Duration::from_secs(20);

/// Least time between two warnings that a connection cannot be accepted.
const TOLD_EVERY: Duration = Duration::from_secs(60);

/// One of the places that a server listens on.
pub(crate) enum Listener {
    Tcp(TcpListener),
    Socket(SocketListener),
}

impl Listener {
    /// Listens on all of these; the files of sockets get this mode.
    ///
    /// # Errors
    /// If one of them cannot be had; the error says what to do.
    pub(crate) async fn bind_all(addresses: &[ListenAddress], mode: u32) -> Result<Vec<Self>> {
        let mut listeners = Vec::new();
        for address in addresses {
            listeners.push(match address {
                ListenAddress::Tcp(address) => Self::Tcp(bind(*address).await?),
                ListenAddress::Socket(path) => Self::Socket(SocketListener::bind(path, mode)?),
            });
        }
        Ok(listeners)
    }

    /// Where it listens, with the port that the system chose.
    pub(crate) fn address(&self) -> Result<ListenAddress> {
        Ok(match self {
            Self::Tcp(listener) => ListenAddress::Tcp(listener.local_addr()?),
            Self::Socket(listener) => ListenAddress::Socket(listener.path().to_owned()),
        })
    }
}

/// What accepts connections.
trait Accepts: Send + Sync + 'static {
    type Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    /// A connection, and from where it is.
    fn accepts(&self) -> impl Future<Output = io::Result<(Self::Stream, IpAddr)>> + Send;
}

impl Accepts for TcpListener {
    type Stream = TcpStream;

    async fn accepts(&self) -> io::Result<(TcpStream, IpAddr)> {
        let (stream, address) = self.accept().await?;
        // Responses are small and sent whole: waiting for more to send gains nothing.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!("TCP_NODELAY cannot be set: {error}");
        }
        Ok((stream, address.ip()))
    }
}

impl Accepts for SocketListener {
    type Stream = UnixStream;

    async fn accepts(&self) -> io::Result<(UnixStream, IpAddr)> {
        let (stream, _) = self.inner.accept().await?;
        Ok((stream, SOCKET_PEER))
    }
}

/// Listens on `address`.
///
/// # Errors
/// If the address cannot be had; the error says what to do.
pub(crate) async fn bind(address: SocketAddr) -> Result<TcpListener> {
    #[expect(clippy::disallowed_methods, reason = "the one place that listens")]
    let listener = TcpListener::bind(address).await;
    listener.with_context(|| {
        format!(
            "cannot listen on {address}; choose another address with --listen, or stop the program \
             that listens there"
        )
    })
}

/// A server that runs until it is told to end.
pub(crate) struct ServerHandle {
    stop: watch::Sender<bool>,
    ended: watch::Receiver<bool>,
}

impl ServerHandle {
    /// Starts to serve `site`. The `Date` of responses comes from `clock`.
    pub(crate) fn begin(
        listeners: Vec<Listener>,
        site: &Site,
        clock: &Clock,
        connections: Connections,
    ) -> Self {
        let (stop, stopping) = watch::channel(false);
        // Each listener holds the sender, which is dropped with the last.
        let (tell, ended) = watch::channel(false);
        let (tell, connections) = (Arc::new(tell), Arc::new(connections));
        for listener in listeners {
            let own = Arc::clone(&tell);
            let (site, clock, stopping) = (site.clone(), clock.clone(), stopping.clone());
            let connections = Arc::clone(&connections);
            spawn(async move {
                match listener {
                    Listener::Tcp(own) => serve(own, site, clock, connections, stopping).await,
                    Listener::Socket(own) => serve(own, site, clock, connections, stopping).await,
                }
                drop(own);
            });
        }
        Self { stop, ended }
    }

    /// Stops accepting connections and waits until the running requests have ended.
    pub(crate) async fn end(mut self) {
        self.stop.send_replace(true);
        // It ends with an error, when the sender is dropped.
        self.ended.wait_for(|ended| *ended).await.ok();
    }
}

async fn serve<L: Accepts>(
    listener: L,
    site: Site,
    clock: Clock,
    connections: Arc<Connections>,
    mut stop: watch::Receiver<bool>,
) {
    // Each running connection holds a receiver of this channel.
    let (running, _) = watch::channel(());
    let mut told: Option<Instant> = None;
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => break,
            accepted = listener.accepts() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let permit = connections.admit(peer);
                let site = site.clone().asked_from(peer);
                let (stop, clock, runs) = (stop.clone(), clock.clone(), running.subscribe());
                spawn(async move {
                    if permit.is_overflow {
                        permit
                            .hold(overflow::serve(stream, site, stop, clock))
                            .await;
                    } else {
                        let state = Arc::clone(&permit.state);
                        let serving = serve_one(stream, site, state, stop, clock);
                        permit.hold(serving).await;
                    }
                    drop(runs);
                });
            }
            Err(error) => {
                // Most likely out of file descriptors: wait for some to be closed.
                if told.is_none_or(|told| told.elapsed() >= TOLD_EVERY) {
                    tracing::warn!("cannot accept a connection: {error}");
                    told = Some(Instant::now());
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    if timeout(REQUESTS_LIMIT, running.closed()).await.is_err() {
        tracing::warn!(
            "some requests did not end within {} s and are aborted",
            REQUESTS_LIMIT.as_secs()
        );
    }
}

/// Answers the requests of a connection by `site`, and records in `state` when it waits.
async fn serve_one<S>(
    stream: S,
    site: Site,
    state: Arc<ConnectionState>,
    stop: watch::Receiver<bool>,
    clock: Clock,
) where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let answer = |request| {
        state.works();
        site.clone().answer(request)
    };
    let fast_path = FastPath::new(stream, clock.clone()).noting(Arc::clone(&state));
    if let Some((stream, begun)) = fast_path.serve(stop.clone(), answer).await {
        serve_any(stream, begun, stop, clock, Some(&state), answer).await;
    }
}
