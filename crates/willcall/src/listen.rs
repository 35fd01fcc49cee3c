//! The listening side: accepts connections, bounds their number and their slowness, and lets
//! them end when asked to stop.

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

/// After a stop was asked for, requests that run may take this long.
const REQUESTS_LIMIT: Duration = Duration::from_secs(20);

/// That none can be accepted is logged no more often.
const TOLD_EVERY: Duration = Duration::from_secs(60);

/// Binds the address that the settings name.
pub(crate) async fn bind(address: SocketAddr) -> Result<TcpListener> {
    #[expect(clippy::disallowed_methods, reason = "the one place that listens")]
    let listener = TcpListener::bind(address).await;
    listener.with_context(|| {
        format!("cannot listen on {address}; choose another address with --listen, or stop what listens there")
    })
}

/// A listener that is being served, until it is told to end.
pub(crate) struct ServerHandle {
    stop: watch::Sender<bool>,
    ended: watch::Receiver<bool>,
}

impl ServerHandle {
    /// Begins to serve `site`. Answers have the date that `clock` tells.
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

    /// Takes no further connection, and waits until the requests that run have ended.
    pub(crate) async fn end(mut self) {
        self.stop.send_replace(true);
        // The sender is dropped only after it said true, so both answers mean the same.
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
    // Whoever holds one of these is running.
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
                // Answers are small and complete: nothing is gained by waiting for more to send.
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
                // Out of descriptors, most likely: wait for some to come back.
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
            "some requests did not end within {} s and are cut off",
            REQUESTS_LIMIT.as_secs()
        );
    }
}

/// Has the requests of a connection answered by `site`, and notes when it waits for its client.
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
