//! Exchanges over streams in memory that close, stall and take little at odd moments.

use std::pin::pin;
use std::sync::{Arc, Mutex};

use model::attempt::BodyEnd;
use model::limits::RESPONSES_BYTES_MAX;
use prometheus_client::metrics::counter::Counter;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::TcpListener;
use tokio::time::sleep_until;

use super::*;
use crate::response_budget::ResponseBudget;
use crate::tasks::{Alarm, EngineTask};

const ASKED: &[u8] = b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\r\nbody";
const FINE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

async fn exchange(line: &mut Connection, request: &Request) -> Exchange {
    let limit = Deadline::from_here(30_000);
    let alarm = pin!(sleep_until(limit.deadline()));
    let room = ResponseBudget::new(RESPONSES_BYTES_MAX, Counter::default());
    let mut taken = room.nothing();
    line.exchange(request, limit, alarm, &mut taken).await
}

fn answered(exchange: &Exchange) -> (u16, BodyEnd) {
    match &exchange.outcome {
        Outcome::Answered(answer) => (answer.status, answer.body_end),
        Outcome::Failed(failure) => panic!("{failure:?}"),
    }
}

fn failed(exchange: &Exchange) -> (FailureKind, &str) {
    match &exchange.outcome {
        Outcome::Failed(failure) => (failure.kind, &failure.detail),
        Outcome::Answered(answer) => panic!("{answer:?}"),
    }
}

/// A line, and the receiver's end of it.
fn line() -> (Connection, DuplexStream) {
    let (ours, theirs) = duplex(16 * 1024);
    (Connection::new(Box::new(ours)), theirs)
}

/// What a stream was asked to do.
#[derive(Default)]
struct Seen {
    written: Vec<u8>,
    /// How much was offered in each write, and in how many pieces.
    offered: Vec<(usize, usize)>,
    flushes: usize,
    reads: usize,
}

/// Takes only so many bytes of a write, and none of every other one; then has this answer.
struct Scant {
    seen: Arc<Mutex<Seen>>,
    takes: usize,
    stalls: bool,
    whole: usize,
    answer: &'static [u8],
}

impl Scant {
    fn offered(&mut self, cx: &Context<'_>, pieces: &[&[u8]]) -> Poll<io::Result<usize>> {
        let mut seen = self.seen.lock().unwrap();
        let bytes = pieces.concat();
        seen.offered.push((bytes.len(), pieces.len()));
        if self.stalls && seen.offered.len() % 2 == 1 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let taken = bytes.len().min(self.takes);
        seen.written.extend_from_slice(&bytes[..taken]);
        Poll::Ready(Ok(taken))
    }
}

impl AsyncRead for Scant {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let written = {
            let mut seen = self.seen.lock().unwrap();
            seen.reads += 1;
            seen.written.len()
        };
        if written < self.whole {
            return Poll::Pending;
        }
        buffer.put_slice(std::mem::take(&mut self.answer));
        Poll::Ready(Ok(()))
    }
}

impl Stream for Scant {}

impl AsyncWrite for Scant {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.offered(cx, &[bytes])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let pieces: Vec<&[u8]> = slices.iter().map(|slice| &**slice).collect();
        self.offered(cx, &pieces)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.seen.lock().unwrap().flushes += 1;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn scant(takes: usize, stalls: bool, whole: usize) -> (Connection, Arc<Mutex<Seen>>) {
    let seen = Arc::new(Mutex::new(Seen::default()));
    let stream = Scant {
        seen: Arc::clone(&seen),
        takes,
        stalls,
        whole,
        answer: FINE,
    };
    (Connection::new(Box::new(stream)), seen)
}

#[tokio::test(start_paused = true)]
async fn head_and_body_go_out_in_one_write() {
    for (head, body, pieces) in [
        (ASKED, &b""[..], 1),
        (&ASKED[..ASKED.len() - 4], &b"body"[..], 2),
    ] {
        let (mut line, seen) = scant(usize::MAX, false, ASKED.len());
        let exchange = exchange(&mut line, &Request::of(head, body)).await;
        assert_eq!(answered(&exchange), (200, BodyEnd::Whole));
        assert!(exchange.reusable && !exchange.unsent);
        let seen = seen.lock().unwrap();
        assert_eq!(seen.written, ASKED);
        assert_eq!(seen.offered, [(ASKED.len(), pieces)]);
        assert_eq!((seen.flushes, seen.reads), (1, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_arrives_whole_in_however_small_pieces_it_is_taken() {
    for takes in [1, 3, ASKED.len() - 4, ASKED.len() - 1] {
        for stalls in [false, true] {
            let (mut line, seen) = scant(takes, stalls, ASKED.len());
            let request = Request::of(&ASKED[..ASKED.len() - 4], b"body");
            let exchange = exchange(&mut line, &request).await;
            assert_eq!(answered(&exchange), (200, BodyEnd::Whole));
            assert!(exchange.reusable);
            assert_eq!(seen.lock().unwrap().written, ASKED);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_line_that_takes_nothing_is_closed() {
    let (mut line, _) = scant(0, false, 0);
    let exchange = exchange(&mut line, &Request::of(ASKED, b"")).await;
    // The answer was there all the same.
    assert_eq!(answered(&exchange), (200, BodyEnd::Whole));
    assert!(!exchange.reusable && !exchange.unsent);
}

#[tokio::test(start_paused = true)]
async fn an_answer_to_part_of_a_request_counts_but_ends_the_line() {
    let (mut line, seen) = scant(10, true, 20);
    let exchange = exchange(&mut line, &Request::of(ASKED, b"")).await;
    assert_eq!(answered(&exchange), (200, BodyEnd::Whole));
    assert!(!exchange.reusable && !exchange.unsent);
    assert_eq!(seen.lock().unwrap().written, ASKED[..20]);
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_answers_without_reading_and_closes_has_answered() {
    for answer in [
        FINE,
        b"HTTP/1.1 413 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
    ] {
        let (mut line, mut theirs) = line();
        theirs.write_all(answer).await.unwrap();
        drop(theirs);
        let request = Request::of(&ASKED.repeat(10_000), b"");
        let exchange = exchange(&mut line, &request).await;
        assert_eq!(answered(&exchange).1, BodyEnd::Whole);
        assert!(!exchange.reusable);
    }
}

#[tokio::test]
async fn a_receiver_that_resets_after_its_answer_has_answered() {
    #[expect(clippy::disallowed_methods, reason = "a receiver on the loopback")]
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let receiver = EngineTask::spawn("receiver", &Alarm::new(), async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.read_exact(&mut [0; 16]).await.unwrap();
        stream.write_all(FINE).await.unwrap();
        // Closing with so much unread resets the connection.
    });
    #[expect(clippy::disallowed_methods, reason = "to a receiver on the loopback")]
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let mut line = Connection::new(Box::new(stream));
    let request = Request::of(&ASKED.repeat(100_000), b"");
    let exchange = exchange(&mut line, &request).await;
    assert_eq!(answered(&exchange), (200, BodyEnd::Whole));
    assert!(!exchange.reusable);
    assert_eq!(receiver.join().await, Some(()));
}

#[tokio::test(start_paused = true)]
async fn a_line_that_was_closed_while_it_lay_idle_is_found_before_anything_is_sent() {
    let (mut line, mut theirs) = line();
    let request = Request::of(ASKED, b"");
    theirs.write_all(FINE).await.unwrap();
    let first = exchange(&mut line, &request).await;
    assert!(first.reusable);
    drop(theirs);
    let second = exchange(&mut line, &request).await;
    assert!(second.unsent && !second.reusable);
    assert_eq!(failed(&second), (FailureKind::Closed, ""));
}

/// A stream below which the receiver has ended the connection, which nobody has told yet.
struct Unaware(DuplexStream, SocketState);

impl Stream for Unaware {
    fn socket_state(&self) -> SocketState {
        self.1
    }
}

impl AsyncRead for Unaware {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Unaware {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[tokio::test(start_paused = true)]
async fn the_socket_itself_is_asked_before_a_line_is_used_again() {
    for (peeked, is_used) in [
        (SocketState::Idle, true),
        (SocketState::Closed, false),
        (SocketState::Readable, false),
    ] {
        let (ours, mut theirs) = duplex(16 * 1024);
        let mut line = Connection::new(Box::new(Unaware(ours, peeked)));
        let request = Request::of(ASKED, b"");
        theirs.write_all(FINE).await.unwrap();
        assert!(exchange(&mut line, &request).await.reusable);
        let receiver = EngineTask::spawn("receiver", &Alarm::new(), async move {
            theirs.read_exact(&mut [0; ASKED.len() * 2]).await.ok();
            theirs.write_all(FINE).await.ok();
        });
        let second = exchange(&mut line, &request).await;
        assert_eq!((second.unsent, second.reusable), (!is_used, is_used));
        drop(receiver);
    }
}

#[tokio::test]
async fn a_socket_knows_its_end_before_the_runtime_is_told() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    #[expect(clippy::disallowed_methods, reason = "to a receiver on the loopback")]
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let (mut theirs, _) = listener.accept().unwrap();
    assert_eq!(stream.socket_state(), SocketState::Idle);
    io::Write::write_all(&mut theirs, b"x").unwrap();
    assert_eq!(stream.socket_state(), SocketState::Readable);
    assert_eq!(
        stream.socket_state(),
        SocketState::Readable,
        "it stays there"
    );
    stream.readable().await.unwrap();
    assert_eq!(stream.try_read(&mut [0; 1]).unwrap(), 1);
    drop(theirs);
    assert_eq!(stream.socket_state(), SocketState::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_used_line_that_ends_before_the_first_byte_is_stale_and_a_new_one_is_not() {
    for answer in [&b""[..], b"H"] {
        for is_used in [true, false] {
            let (mut line, mut theirs) = line();
            let request = Request::of(ASKED, b"");
            if is_used {
                theirs.write_all(FINE).await.unwrap();
                assert!(exchange(&mut line, &request).await.reusable);
                theirs.read_exact(&mut [0; ASKED.len()]).await.unwrap();
            }
            let receiver = EngineTask::spawn("receiver", &Alarm::new(), async move {
                theirs.read_exact(&mut [0; ASKED.len()]).await.unwrap();
                theirs.write_all(answer).await.unwrap();
            });
            let second = exchange(&mut line, &request).await;
            assert_eq!(second.stale, is_used && answer.is_empty());
            assert!(!second.unsent && !second.reusable);
            receiver.join().await.unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_nobody_asked_for_is_found_before_anything_is_sent() {
    let (mut line, mut theirs) = line();
    let request = Request::of(ASKED, b"");
    theirs.write_all(FINE).await.unwrap();
    assert!(exchange(&mut line, &request).await.reusable);
    theirs.write_all(FINE).await.unwrap();
    let second = exchange(&mut line, &request).await;
    assert!(second.unsent && !second.reusable);
    drop(line);
    let mut heard = Vec::new();
    theirs.read_to_end(&mut heard).await.unwrap();
    assert_eq!(heard, ASKED, "only the first request went out");
}

#[tokio::test(start_paused = true)]
async fn a_new_line_that_is_closed_may_have_been_heard() {
    let (mut line, theirs) = line();
    drop(theirs);
    let exchange = exchange(&mut line, &Request::of(ASKED, b"")).await;
    assert_eq!(
        failed(&exchange),
        (FailureKind::Closed, "the receiver hung up")
    );
    assert!(!exchange.unsent);
}

#[tokio::test(start_paused = true)]
async fn a_line_that_breaks_within_an_exchange_says_how_far_it_came() {
    for (answer, words) in [
        (&b""[..], ""),
        (b"H", "it broke off within the head of the answer"),
        (&FINE[..11], "it broke off within the head of the answer"),
    ] {
        let (mut line, mut theirs) = line();
        let receiver = EngineTask::spawn("receiver", &Alarm::new(), async move {
            theirs.read_exact(&mut [0; ASKED.len()]).await.unwrap();
            theirs.write_all(answer).await.unwrap();
        });
        let exchange = exchange(&mut line, &Request::of(ASKED, b"")).await;
        assert_eq!(failed(&exchange), (FailureKind::Closed, words));
        assert!(!exchange.unsent && !exchange.reusable);
        receiver.join().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_receiver_may_close_its_half_and_has_answered_or_not() {
    for (answer, expected) in [
        (
            &b"HTTP/1.1 200 OK\r\n\r\nok"[..],
            Some((200, BodyEnd::Whole)),
        ),
        (FINE, Some((200, BodyEnd::Whole))),
        (&FINE[..FINE.len() - 1], Some((200, BodyEnd::Broken))),
        (b"", None),
    ] {
        let (mut line, mut theirs) = line();
        let receiver = EngineTask::spawn("receiver", &Alarm::new(), async move {
            theirs.read_exact(&mut [0; ASKED.len()]).await.unwrap();
            theirs.write_all(answer).await.unwrap();
            theirs.shutdown().await.unwrap();
            theirs
        });
        let exchange = exchange(&mut line, &Request::of(ASKED, b"")).await;
        match expected {
            Some(expected) => assert_eq!(answered(&exchange), expected),
            None => assert_eq!(failed(&exchange), (FailureKind::Closed, "")),
        }
        drop(receiver);
    }
}

#[test]
fn an_idle_line_holds_next_to_nothing() {
    assert!(size_of::<Connection>() <= 32);
}

/// Has an answer, but is told so only then: as a socket is that has to be asked by the runtime.
struct ToldLate {
    told: Pin<Box<Sleep>>,
    answer: &'static [u8],
}

impl AsyncRead for ToldLate {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.told.as_mut().poll(cx));
        if self.answer.is_empty() {
            return Poll::Pending;
        }
        buffer.put_slice(std::mem::take(&mut self.answer));
        Poll::Ready(Ok(()))
    }
}

impl Stream for ToldLate {}

impl AsyncWrite for ToldLate {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// An exchange with this answer during which the process stands still for so long.
async fn frozen(seconds: u64, answer: &'static [u8]) -> (Exchange, Duration) {
    let (began, told) = (Instant::now(), Duration::from_millis(seconds * 1_000 + 1));
    let mut line = Connection::new(Box::new(ToldLate {
        told: Box::pin(sleep_until(began + told)),
        answer,
    }));
    let request = Request::of(ASKED, b"");
    let (exchange, ()) = tokio::join!(
        exchange(&mut line, &request),
        tokio::time::advance(Duration::from_secs(seconds))
    );
    (exchange, began.elapsed())
}

#[tokio::test(start_paused = true)]
async fn what_arrived_while_the_process_stood_still_is_read_before_giving_up() {
    for seconds in [31, 34, 400_000] {
        let (exchange, _) = frozen(seconds, FINE).await;
        assert_eq!(answered(&exchange), (200, BodyEnd::Whole), "{seconds}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_process_that_stood_still_gives_up_soon_if_nothing_arrived() {
    let (exchange, took) = frozen(34, b"").await;
    assert_eq!(failed(&exchange).0, FailureKind::TimeLimit);
    assert!(took <= Duration::from_secs(34) + LAST_LOOK, "{took:?}");
    // What came is kept, though it is not all.
    let (exchange, _) = frozen(34, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok").await;
    assert_eq!(answered(&exchange).0, 200);
}
