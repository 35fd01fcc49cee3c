//! The listening side: accepts connections, bounds their number and their slowness, and lets
//! them end when asked to stop.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulConnection, GracefulShutdown};
use model::time::Clock;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use web::{Body, Site};

use crate::outlet::Outlet;
use crate::plain::Plain;

/// A request's head has to arrive within this time, also on a kept connection that idles.
const HEAD_LIMIT: Duration = Duration::from_secs(30);

/// A request's head may be this large; hyper answers 431 beyond it.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// After a stop was asked for, requests that run may take this long.
const REQUESTS_LIMIT: Duration = Duration::from_secs(20);

/// Binds the address that the settings name.
pub(crate) async fn bind(address: SocketAddr) -> Result<TcpListener> {
    #[expect(clippy::disallowed_methods, reason = "the one place that listens")]
    let listener = TcpListener::bind(address).await;
    listener.with_context(|| {
        format!("cannot listen on {address}; choose another address with --listen, or stop what listens there")
    })
}

/// A listener that is being served, until it is told to end.
pub(crate) struct Listening {
    stop: watch::Sender<bool>,
    ended: watch::Receiver<bool>,
}

impl Listening {
    /// Begins to serve `site`. Answers have the date that `clock` tells.
    pub(crate) fn begin(
        listener: TcpListener,
        site: Site,
        clock: Clock,
        connections_max: usize,
    ) -> Self {
        let (stop, stopping) = watch::channel(false);
        let (tell, ended) = watch::channel(false);
        spawn(async move {
            serve(listener, site, clock, connections_max, stopping).await;
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
    connections_max: usize,
    mut stop: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(connections_max));
    let running = GracefulShutdown::new();
    loop {
        let place = Arc::clone(&places).acquire_owned();
        let accepted = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => break,
            accepted = async { (place.await, listener.accept().await) } => accepted,
        };
        match accepted {
            (Ok(place), Ok((stream, _))) => {
                // Answers are small and complete: nothing is gained by waiting for more to send.
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!("TCP_NODELAY cannot be set: {error}");
                }
                let (site, stop, running) = (site.clone(), stop.clone(), running.watcher());
                let plain = Plain::new(stream, clock.clone());
                spawn(async move {
                    let answer = |request| site.clone().answer(request);
                    if let Some((stream, begun)) = plain.serve(stop, answer).await {
                        // A connection that breaks is the client's business.
                        drop(running.watch(connection(stream, begun, site)).await);
                    }
                    drop(place);
                });
            }
            (_, Err(error)) => {
                // Out of descriptors, most likely: wait for some to come back.
                tracing::warn!("cannot accept a connection: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            (Err(_closed), _) => break,
        }
    }
    drop(listener);
    if tokio::time::timeout(REQUESTS_LIMIT, running.shutdown())
        .await
        .is_err()
    {
        tracing::warn!(
            "some requests did not end within {} s and are cut off",
            REQUESTS_LIMIT.as_secs()
        );
    }
}

/// Any requests at all, from the one on of which `begun` has come.
fn connection(
    stream: TcpStream,
    begun: Bytes,
    site: Site,
) -> impl GracefulConnection<Error = hyper::Error> + Send + 'static {
    let (rest, outlet) = stream.into_split();
    let inlet = io::Cursor::new(begun).chain(rest);
    let stream = tokio::io::join(inlet, Outlet::new(outlet));
    let answer = service_fn(move |request: Request<Incoming>| {
        let answering = site.clone().answer(request.map(Body::new));
        async move { Ok::<_, Infallible>(answering.await) }
    });
    http1::Builder::new()
        .writev(false)
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), answer)
}

/// Runs beside everything else. What it does must not matter once the process stops.
pub(crate) fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    #[expect(
        clippy::disallowed_methods,
        reason = "the top floor's one place that spawns"
    )]
    drop(tokio::spawn(task));
}
