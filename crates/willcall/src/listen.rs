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
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::Instant;
use web::{Body, Site};

use crate::connections::{Connections, State, Watched};
use crate::inlet::Inlet;
use crate::outlet::Outlet;
use crate::plain::Plain;
use crate::spare;

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
    let running = GracefulShutdown::new();
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
                let place = connections.admit(address.ip());
                let site = site.clone().asked_from(address.ip());
                let (stop, running) = (stop.clone(), running.watcher());
                if place.is_spare {
                    spawn(place.hold(spare::serve(stream, site, running)));
                    continue;
                }
                let state = Arc::clone(&place.state);
                let plain = Plain::new(stream, clock.clone());
                spawn(place.hold(serve_one(plain, site, state, stop, running)));
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

/// Has the requests of a connection answered by `site`, and notes when it waits for its client.
async fn serve_one(
    plain: Plain<TcpStream>,
    site: Site,
    state: Arc<State>,
    stop: watch::Receiver<bool>,
    running: Watcher,
) {
    let answer = |request| {
        let answering = site.clone().answer(request);
        async {
            state.works();
            let answer = answering.await;
            state.is_done();
            answer
        }
    };
    if let Some((stream, begun)) = plain.serve(stop, answer).await {
        serve_any(stream, begun, running, Some(&state), answer).await;
    }
}

/// Has any requests answered by `site`, from the one on of which `begun` has come, until the
/// connection ends, or was told to and the request that runs has been answered.
pub(crate) async fn serve_any<S, F>(
    stream: S,
    begun: Bytes,
    running: Watcher,
    state: Option<&Arc<State>>,
    site: impl Fn(Request<Body>) -> F,
) where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    F: Future<Output = Response<Body>>,
{
    let answer = service_fn(|request: Request<Incoming>| {
        let answering = site(request.map(|body| match state {
            Some(state) => Body::new(Watched {
                body,
                state: Arc::clone(state),
            }),
            None => Body::new(body),
        }));
        async move { Ok::<_, Infallible>(answering.await) }
    });
    let stream = Outlet::new(Inlet { begun, stream });
    let mut connection = http1::Builder::new()
        .writev(false)
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        // Without a place of its own it is for one request.
        .keep_alive(state.is_some())
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
    use std::net::IpAddr;

    use model::address::Networks;
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
        let connections = Arc::new(Connections::new(1, Networks::default()));
        let state = Arc::clone(&connections.admit(IpAddr::from([127, 0, 0, 1])).state);
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
        let (answer, ()) =
            tokio::join!(asking, serve_any(other, begun, watcher, Some(&state), site));
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.ends_with("\r\n\r\ndone"), "{answer}");
        stopping.await;
    }
}
