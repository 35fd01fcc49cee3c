//! Listens and accepts connections, and lets them finish when the server stops. How many there may
//! be is in `connections.rs`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use model::time::Clock;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use web::{BodyObserver, Site};

use crate::connections::{ConnectionState, Connections};
use crate::fast_path::FastPath;
use crate::http1::serve_any;
use crate::overflow;
use crate::tasks::spawn;

/// After a stop, running requests may take this long.
const REQUESTS_LIMIT: Duration = Duration::from_secs(20);

/// Least time between two warnings that a connection cannot be accepted.
const TOLD_EVERY: Duration = Duration::from_secs(60);

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
        listener: TcpListener,
        site: Site,
        clock: Clock,
        connections: Connections,
    ) -> Self {
        let (stop, stopping) = watch::channel(false);
        let (tell, ended) = watch::channel(false);
        spawn(async move {
            serve(listener, site, clock, Arc::new(connections), stopping).await;
            tell.send_replace(true);
        });
        Self { stop, ended }
    }

    /// Stops accepting connections and waits until the running requests have ended.
    pub(crate) async fn end(mut self) {
        self.stop.send_replace(true);
        // The sender is dropped only after it has sent true, so both results mean the same.
        self.ended.wait_for(|ended| *ended).await.ok();
    }
}

async fn serve(
    listener: TcpListener,
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
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, address)) => {
                // Responses are small and sent whole: waiting for more to send gains nothing.
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!("TCP_NODELAY cannot be set: {error}");
                }
                let permit = connections.admit(address.ip());
                let site = site.clone().asked_from(address.ip());
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
async fn serve_one(
    stream: TcpStream,
    site: Site,
    state: Arc<ConnectionState>,
    stop: watch::Receiver<bool>,
    clock: Clock,
) {
    let answer = |request| {
        state.works();
        site.clone().answer(request)
    };
    let fast_path = FastPath::new(stream, clock.clone()).noting(Arc::clone(&state));
    if let Some((stream, begun)) = fast_path.serve(stop.clone(), answer).await {
        serve_any(stream, begun, stop, clock, Some(&state), answer).await;
    }
}
