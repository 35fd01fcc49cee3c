//! The listening side: accepts connections, bounds their number and their slowness, and lets
//! them end when asked to stop.

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use model::time::Clock;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;
use web::{Body, Site};

use crate::inlet::Inlet;
use crate::outlet::Outlet;
use crate::plain::Plain;

/// A request's head has to arrive within this time, also on a kept connection that idles. What
/// holds for plain requests is in `plain.rs`.
const HEAD_LIMIT: Duration = Duration::from_secs(30);

/// A request's head may be this large; hyper answers 431 beyond it.
const HEAD_BYTES_MAX: usize = 64 * 1024;

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
    let mut told: Option<Instant> = None;
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
                        serve_any(stream, begun, running, answer).await;
                    }
                    drop(place);
                });
            }
            (_, Err(error)) => {
                // Out of descriptors, most likely: wait for some to come back.
                if told.is_none_or(|told| told.elapsed() >= TOLD_EVERY) {
                    tracing::warn!("cannot accept a connection: {error}");
                    told = Some(Instant::now());
                }
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

/// Has any requests answered by `site`, from the one on of which `begun` has come, until the
/// connection ends, or was told to and the request that runs has been answered.
async fn serve_any<S, F>(
    stream: S,
    begun: Bytes,
    running: Watcher,
    site: impl Fn(Request<Body>) -> F,
) where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    F: Future<Output = Response<Body>>,
{
    let answer = service_fn(|request: Request<Incoming>| {
        let answering = site(request.map(Body::new));
        async move { Ok::<_, Infallible>(answering.await) }
    });
    let stream = Outlet::new(Inlet { begun, stream });
    let mut connection = http1::Builder::new()
        .writev(false)
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), answer);
    // What has come of a request counts as begun only once hyper has read it: a connection that is
    // told to end before is closed.
    let over = poll_fn(|cx| Poll::Ready(Pin::new(&mut connection).poll(cx).is_ready())).await;
    if !over {
        // A connection that breaks is the client's business.
        drop(running.watch(connection).await);
    }
}

/// Runs beside everything else. What it does must not matter once the process stops.
pub(crate) fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    #[expect(
        clippy::disallowed_methods,
        reason = "the top floor's one place that spawns"
    )]
    drop(tokio::spawn(task));
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn a_request_of_which_a_part_was_read_is_answered_after_a_stop() {
        let running = GracefulShutdown::new();
        let watcher = running.watcher();
        let mut stopping = Box::pin(running.shutdown());
        assert!(
            poll_fn(|cx| Poll::Ready(stopping.as_mut().poll(cx)))
                .await
                .is_pending()
        );
        let (mut own, other) = duplex(1_024);
        let begun = Bytes::from("POST / HTTP/1.1\r\nHo");
        let site = |request: Request<Body>| async move {
            assert_eq!(request.headers()["host"], "h");
            Response::new(Body::from("done"))
        };
        let asking = async {
            own.write_all(b"st: h\r\n\r\n").await.unwrap();
            let mut answer = String::new();
            own.read_to_string(&mut answer).await.unwrap();
            answer
        };
        let (answer, ()) = tokio::join!(asking, serve_any(other, begun, watcher, site));
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.ends_with("\r\n\r\ndone"), "{answer}");
        stopping.await;
    }
}
