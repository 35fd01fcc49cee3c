//! A connection served by hyper: any HTTP/1.1 request, and an orderly end of the connection.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use model::limits::{STALL_DETECTED_MS, STALL_GRACE_MS};
use model::time::Clock;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep, timeout};
use web::Body;

use crate::bad_requests::{ErrorRewriter, HEAD_BYTES_MAX, HEAD_LIMIT, ResponseTracker};
use crate::connections::ConnectionState;
use crate::fast_path::response::{DateHeader, put_head};
use crate::prefixed_stream::PrefixedStream;
use crate::slow_reader::SlowReaderStream;

/// How long the rest of a request is read after its response. Closing earlier would reset the
/// connection, and the client could lose the response (RFC 9112, section 9.6).
const LINGER_LIMIT: Duration = Duration::from_secs(2);

/// If a connection was not polled for its limit plus this, this process stood still. The runtime
/// then learns within `LAST_LOOK` what has arrived meanwhile.
const STOOD_STILL: Duration = Duration::from_millis(STALL_DETECTED_MS);
const LAST_LOOK: Duration = Duration::from_millis(STALL_GRACE_MS);

/// Answers requests by `site`. `begun` is what was already read of the first. Returns when the
/// connection ends, or when `stop` is true and the running request has been answered. Without a
/// `state` the connection ends after one request.
pub(crate) async fn serve_any<S, F>(
    stream: S,
    begun: Bytes,
    mut stop: watch::Receiver<bool>,
    clock: Clock,
    state: Option<&Arc<ConnectionState>>,
    site: impl Fn(Request<Body>) -> F,
) where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    F: Future<Output = Response<Body>>,
{
    let tracker = ResponseTracker::default();
    let answer = service_fn(|request: Request<Incoming>| {
        tracker.begin();
        let answering = site(request.map(|body| match state {
            Some(state) => Body::watched(body, Arc::clone(state) as _),
            None => Body::new(body),
        }));
        async {
            let answer = answering.await;
            if let Some(state) = state {
                state.is_done();
            }
            Ok::<_, Infallible>(tracker.end(answer))
        }
    });
    let stream = ErrorRewriter::new(
        SlowReaderStream::new(PrefixedStream::new(begun, stream)),
        tracker.clone(),
    );
    let mut connection = http1::Builder::new()
        .writev(false)
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        // An overflow connection is for one request.
        .keep_alive(state.is_some())
        .max_buf_size(HEAD_BYTES_MAX)
        .max_header_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), answer);
    // Hyper closes a connection at once if it is told to stop before it has read anything. So it
    // reads `begun` first, but not the rest: the response can then say that the connection closes.
    let early = poll_fn(|cx| Poll::Ready(Pin::new(&mut connection).poll(cx))).await;
    let mut ended = match early {
        Poll::Ready(ended) => Some(ended),
        Poll::Pending => tokio::select! {
            biased;
            () = is_true(&mut stop) => None,
            ended = once_told(&mut connection) => Some(ended),
        },
    };
    if ended.is_none() {
        Pin::new(&mut connection).graceful_shutdown();
        ended = Some(once_told(&mut connection).await);
    }
    let error = ended.and_then(Result::err);
    let parts = connection.into_parts();
    let (stream, refused) = parts.io.into_inner().end(error, &parts.read_buf);
    // A broken connection is no error of ours.
    drop(close(stream, refused, clock, stop).await);
}

/// Sends the response to a refused head, if there is one, and closes the connection.
async fn close<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    refused: Option<Response<Bytes>>,
    clock: Clock,
    stop: watch::Receiver<bool>,
) -> std::io::Result<()> {
    if let Some(answer) = refused {
        let mut out = Vec::new();
        put_head(&mut out, &answer, &mut DateHeader::new(clock), true);
        out.extend_from_slice(answer.body());
        stream.write_all(&out).await?;
    }
    stream.shutdown().await?;
    linger(stream, stop).await;
    Ok(())
}

/// Reads and drops what still arrives, until the client closes the connection, the limit is over or
/// `stop` is true.
pub(crate) async fn linger(mut stream: impl AsyncRead + Unpin, mut stop: watch::Receiver<bool>) {
    let mut rest = vec![0; 4 * 1024];
    let reading = async { while stream.read(&mut rest).await.is_ok_and(|read| read > 0) {} };
    tokio::select! {
        biased;
        () = is_true(&mut stop) => {}
        _ = timeout(LINGER_LIMIT, reading) => {}
    }
}

async fn is_true(stop: &mut watch::Receiver<bool>) {
    // A dropped sender means the same.
    stop.wait_for(|stop| *stop).await.ok();
}

/// Polls a connection of hyper's. Hyper reads before it checks its limit. If the limit may have
/// passed while this process stood still, the runtime first gets time to learn what has arrived.
async fn once_told<F: Future>(connection: F) -> F::Output {
    let mut connection = pin!(connection);
    let mut polled_at = Instant::now();
    let mut looks: Option<Pin<Box<Sleep>>> = None;
    poll_fn(|cx| {
        if polled_at.elapsed() >= HEAD_LIMIT + STOOD_STILL && looks.is_none() {
            looks = Some(Box::pin(sleep(LAST_LOOK)));
        }
        if let Some(look) = &mut looks {
            ready!(look.as_mut().poll(cx));
            looks = None;
        }
        polled_at = Instant::now();
        connection.as_mut().poll(cx)
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use model::address::Networks;
    use model::time::Timestamp;
    use tokio::io::duplex;
    use tokio::time::advance;

    use super::*;
    use crate::connections::Connections;

    /// The status line for a head whose end comes after `comes_ms`, and after how many seconds it
    /// came, while this process stands still for `still_s`.
    async fn answered(comes_ms: u64, still_s: u64) -> (String, u64) {
        let (_stop, stopped) = watch::channel(false);
        let (mut own, other) = duplex(1_024);
        let connections = Arc::new(Connections::new(1, Networks::default()));
        let state = Arc::clone(&connections.admit(IpAddr::from([127, 0, 0, 1])).state);
        let site = |_: Request<Body>| async { Response::new(Body::from("done")) };
        let clock = Clock::new(|| Timestamp::from_millis(0));
        let began = Instant::now();
        let asking = async move {
            own.write_all(b"GET / HTTP/1.1\r\nHo").await.unwrap();
            sleep(Duration::from_millis(comes_ms)).await;
            let rest = b"st: h\r\nConnection: close\r\n\r\n";
            own.write_all(rest).await.ok();
            let mut answer = String::new();
            own.read_to_string(&mut answer).await.ok();
            answer
        };
        let serving = serve_any(other, Bytes::new(), stopped, clock, Some(&state), site);
        let still = advance(Duration::from_secs(still_s));
        let (answer, (), ()) = tokio::join!(asking, serving, still);
        let line = answer.lines().next().unwrap_or_default();
        (line.to_owned(), began.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_came_while_this_process_stood_still_is_read_before_giving_up() {
        let fine = "HTTP/1.1 200 OK";
        assert_eq!(answered(29_000, 0).await, (fine.to_owned(), 29));
        assert_ne!(answered(31_000, 0).await.0, fine);
        // The runtime learns of the bytes only after it has learnt that the time is over.
        assert_eq!(answered(34_001, 34).await, (fine.to_owned(), 34));
        assert_ne!(answered(35_000, 34).await.0, fine);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_arrives_though_the_body_of_its_request_was_not_read() {
        let (_stop, stopped) = watch::channel(false);
        let (mut own, other) = duplex(1_024);
        let connections = Arc::new(Connections::new(1, Networks::default()));
        let state = Arc::clone(&connections.admit(IpAddr::from([127, 0, 0, 1])).state);
        let site = |_: Request<Body>| async { Response::new(Body::from("refused")) };
        let asking = async move {
            let head = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n";
            own.write_all(head).await.unwrap();
            own.write_all(&[b'x'; 1_000_000]).await.unwrap();
            let mut answer = String::new();
            own.read_to_string(&mut answer).await.unwrap();
            answer
        };
        let clock = Clock::new(|| Timestamp::from_millis(0));
        let begun = Bytes::new();
        let serving = serve_any(other, begun, stopped, clock, Some(&state), site);
        let (answer, ()) = tokio::join!(asking, serving);
        assert!(answer.ends_with("\r\n\r\nrefused"), "{answer}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_of_which_a_part_was_read_is_answered_after_a_stop() {
        let (_stop, stopped) = watch::channel(true);
        let (mut own, other) = duplex(1_024);
        let begun = Bytes::from("POST / HTTP/1.1\r\nHo");
        let connections = Arc::new(Connections::new(1, Networks::default()));
        let state = Arc::clone(&connections.admit(IpAddr::from([127, 0, 0, 1])).state);
        let site = |request: Request<Body>| async move {
            assert_eq!(request.headers()["host"], "h");
            Response::new(Body::from("done"))
        };
        let asking = async move {
            own.write_all(b"st: h\r\n\r\n").await.unwrap();
            let mut answer = String::new();
            own.read_to_string(&mut answer).await.unwrap();
            answer
        };
        let clock = Clock::new(|| Timestamp::from_millis(0));
        let serving = serve_any(other, begun, stopped, clock, Some(&state), site);
        let (answer, ()) = tokio::join!(asking, serving);
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
        assert!(answer.ends_with("\r\n\r\ndone"), "{answer}");
    }
}
