//! What the fast path answers, and what it leaves to hyper.

mod fuzz;

use std::cell::RefCell;
use std::future::ready;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::StatusCode;
use hyper::body::Frame;
use model::time::Timestamp;
use tokio::io::{DuplexStream, duplex};
use tokio::time::{Instant, sleep};

use super::request::BYTES_MAX;
use super::*;

const DATE: &str = "date: Sun, 06 Nov 1994 08:49:37 GMT\r\n";

fn plain(stream: DuplexStream) -> FastPath<DuplexStream> {
    FastPath::new(
        stream,
        Clock::new(|| Timestamp::from_millis(784_111_777_999)),
    )
}

/// A sender that stops a connection, and its receiver.
fn never() -> (watch::Sender<bool>, watch::Receiver<bool>) {
    watch::channel(false)
}

fn post(path: &str, lines: &str, body: &str) -> String {
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\nHost: h\r\n{lines}Content-Length: {length}\r\n\r\n{body}")
}

/// A site that answers with the path and body of the request.
async fn echo(request: Request<Body>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let said = format!("{} {}", head.uri, String::from_utf8_lossy(&body));
    let length = said.len();
    let answer = Response::builder().header(CONTENT_LENGTH, length);
    answer.body(Body::from(said)).unwrap()
}

fn echoed(said: &str) -> String {
    let length = said.len();
    format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n{DATE}\r\n{said}")
}

/// Sends these pieces. Returns the responses, how often the site was called, and what the fast path
/// gave back, together with the unread rest.
async fn exchange(pieces: &[&[u8]]) -> (String, usize, Option<Vec<u8>>) {
    let (mut own, other) = duplex(64 * 1024);
    let (_stop, stopped) = never();
    let asked = RefCell::new(0);
    let site = |request| {
        *asked.borrow_mut() += 1;
        echo(request)
    };
    let sending = async {
        for piece in pieces {
            own.write_all(piece).await.unwrap();
            tokio::task::yield_now().await;
        }
        own.shutdown().await.unwrap();
        let mut answers = String::new();
        own.read_to_string(&mut answers).await.unwrap();
        answers
    };
    let serving = async {
        let (mut stream, begun) = plain(other).serve(stopped, site).await?;
        let mut left = begun.to_vec();
        stream.read_to_end(&mut left).await.unwrap();
        Some(left)
    };
    let (answers, left) = tokio::join!(sending, serving);
    (answers, asked.into_inner(), left)
}

#[tokio::test(start_paused = true)]
async fn plain_requests_are_answered_in_their_order_in_whatever_pieces_they_come() {
    let all = [
        post("/a?b=c", "", "one"),
        post("/", "Connection: Keep-Alive\r\n", ""),
        "POST /none HTTP/1.1\r\nhost: h\r\n\r\n".to_owned(),
        post("/b", "X-Empty:\r\n", &"x".repeat(5_000)),
    ];
    let wanted = [
        echoed("/a?b=c one"),
        echoed("/ "),
        echoed("/none "),
        echoed(&format!("/b {}", "x".repeat(5_000))),
    ];
    let all = all.concat();
    for piece in [1, 7, 100, all.len()] {
        let pieces: Vec<&[u8]> = all.as_bytes().chunks(piece).collect();
        let (answers, asked, left) = exchange(&pieces).await;
        assert_eq!(answers, wanted.concat(), "in pieces of {piece}");
        assert_eq!((asked, left), (4, None));
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_is_not_plain_is_given_back_as_it_came() {
    let many = "X: y\r\n".repeat(50);
    let long = format!("X: {}\r\n", "y".repeat(BYTES_MAX));
    let lines = |lines: &str| format!("POST / HTTP/1.1\r\nHost: h\r\n{lines}\r\nabc");
    for other in [
        "GET / HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(),
        "POST / HTTP/1.0\r\nContent-Length: 0\r\n\r\n".to_owned(),
        "POST http://h/ HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(),
        "post / HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(),
        "\r\n\r\n".to_owned(),
        "\u{16}\u{3}\u{1} no HTTP".to_owned(),
        post("/", "", &"x".repeat(BYTES_MAX)),
        post("/", &many, ""),
        post("/", &long, ""),
        lines("Expect: 100-continue\r\nContent-Length: 3\r\n"),
        lines("Upgrade: h2c\r\nContent-Length: 3\r\n"),
        lines("Connection: close\r\nContent-Length: 3\r\n"),
        lines("Connection: keep-alive, Upgrade\r\nContent-Length: 3\r\n"),
        lines("Transfer-Encoding: chunked\r\n"),
        lines("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n"),
        lines("Transfer-Encoding: identity\r\nContent-Length: 3\r\n"),
        lines("Content-Length: 3\r\nContent-Length: 3\r\n"),
        lines("Content-Length: 3\r\nContent-Length: 4\r\n"),
        lines("Content-Length: 3, 3\r\n"),
        lines("Content-Length: +3\r\n"),
        lines("Content-Length: 0x3\r\n"),
        lines("Content-Length:\r\n"),
        lines("Content-Length: 00003 \r\n 1\r\n"),
        lines("Content-Length: 999999999999999999999999\r\n"),
        lines("Content-Length : 3\r\n"),
        lines("Content-Length: 3\r\nBroken\r\n"),
        lines("Content-Length: 3\r\nX: a\0b\r\n"),
        // These never become complete.
        "POST / HT".to_owned(),
        lines("Content-Length: 4\r\n"),
    ] {
        let sound = post("/sound", "", "");
        let all = format!("{sound}{other}");
        let (answers, asked, left) = exchange(&[all.as_bytes()]).await;
        let name = other.get(..100).unwrap_or(&other);
        assert!(left.as_deref() == Some(other.as_bytes()), "{name}");
        assert_eq!((answers, asked), (echoed("/sound "), 1), "{name}");
    }
}

#[test]
fn every_beginning_of_a_plain_request_is_a_part_of_it() {
    let whole = post(
        "/path?query=1",
        "Authorization: Token abc\r\n",
        "{\"a\": 1}",
    );
    for length in 0..whole.len() {
        let missing = parse(&whole.as_bytes()[..length]).map(drop);
        assert_eq!(missing, Err(ParseFailure::Incomplete), "{length}");
    }
    let longer = format!("{whole}POST");
    let (request, bytes) = parse(longer.as_bytes()).unwrap();
    assert_eq!(bytes, whole.len());
    assert_eq!(request.uri(), "/path?query=1");
    assert_eq!(request.headers()["authorization"], "Token abc");
}

#[test]
fn no_byte_of_a_request_breaks_the_reading_of_it() {
    let whole = post(
        "/path?query=1",
        "Authorization: Token abc\r\n",
        "{\"a\": 1}",
    );
    for place in 0..whole.len() {
        for byte in 0..=u8::MAX {
            let mut bytes = whole.clone().into_bytes();
            bytes[place] = byte;
            if let Ok((_, taken)) = parse(&bytes) {
                assert!(taken <= whole.len(), "{place} {byte}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_not_whole_in_time_is_given_back() {
    for begun in ["P", "POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nab"] {
        let (mut own, other) = duplex(1_024);
        let (_stop, stopped) = never();
        own.write_all(begun.as_bytes()).await.unwrap();
        let before = Instant::now();
        let (_, left) = plain(other).serve(stopped, echo).await.unwrap();
        assert_eq!(left, begun);
        assert_eq!(before.elapsed().as_millis(), 100);
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_idles_is_closed_and_one_that_is_used_now_and_then_is_not() {
    let (mut own, other) = duplex(1_024);
    let (_stop, stopped) = never();
    let began = Instant::now();
    let using = async {
        let answer = echoed("/ a");
        for _ in 0..10 {
            sleep(Duration::from_secs(29)).await;
            own.write_all(post("/", "", "a").as_bytes()).await.unwrap();
            let mut read = vec![0; answer.len()];
            own.read_exact(&mut read).await.unwrap();
            assert_eq!(read, answer.as_bytes());
        }
        let used = began.elapsed();
        assert_eq!(own.read(&mut [0]).await.unwrap(), 0);
        (began.elapsed() - used).as_secs()
    };
    let (idled, left) = tokio::join!(using, plain(other).serve(stopped, echo));
    assert!((30..=60).contains(&idled), "{idled}");
    assert!(left.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_connection_on_which_nothing_ever_comes_is_closed_after_half_a_minute() {
    let (_own, other) = duplex(1_024);
    let (_stop, stopped) = never();
    let began = Instant::now();
    assert!(plain(other).serve(stopped, echo).await.is_none());
    assert_eq!(began.elapsed().as_secs(), 30);
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_connections_that_idle_and_lets_the_answer_that_is_made_be_the_last() {
    let (_own, other) = duplex(1_024);
    let (stop, stopped) = never();
    let idle = plain(other).serve(stopped.clone(), echo);
    let (mut own, other) = duplex(1_024);
    let busy = plain(other).serve(stopped, |request| async {
        sleep(Duration::from_secs(5)).await;
        echo(request).await
    });
    let two = post("/1", "", "") + &post("/2", "", "");
    own.write_all(two.as_bytes()).await.unwrap();
    let stopping = async {
        sleep(Duration::from_secs(1)).await;
        stop.send_replace(true);
        let mut answers = String::new();
        own.read_to_string(&mut answers).await.unwrap();
        answers
    };
    let began = Instant::now();
    let timed = async { (idle.await, began.elapsed().as_secs()) };
    let (idle, busy, answers) = tokio::join!(timed, busy, stopping);
    assert!(idle.0.is_none() && busy.is_none());
    assert_eq!(idle.1, 1);
    let last = echoed("/1 ").replace("date: ", "connection: close\r\ndate: ");
    assert_eq!(answers, last);
}

/// A body of unknown length.
struct Pieces(std::vec::IntoIter<Result<&'static str, &'static str>>);

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        let next = self.0.next();
        Poll::Ready(next.map(|next| next.map(|piece| Frame::data(piece.into()))))
    }
}

/// The bytes sent for this response to each of two requests.
async fn sent(answer: impl Fn() -> Response<Body>) -> String {
    let (mut own, other) = duplex(1024 * 1024);
    let (_stop, stopped) = never();
    let two = post("/", "", "").repeat(2);
    own.write_all(two.as_bytes()).await.unwrap();
    own.shutdown().await.unwrap();
    let answer = |_| ready(answer());
    assert!(plain(other).serve(stopped, answer).await.is_none());
    let mut answers = String::new();
    own.read_to_string(&mut answers).await.unwrap();
    answers
}

#[tokio::test(start_paused = true)]
async fn answers_end_where_they_say() {
    let bare = || {
        let answer = Response::builder().status(StatusCode::NO_CONTENT);
        let answer = answer.header(CONTENT_LENGTH, 0);
        answer.body(Body::empty()).unwrap()
    };
    let head = format!("HTTP/1.1 204 No Content\r\n{DATE}\r\n");
    assert_eq!(sent(bare).await, head.repeat(2));

    let large = "x".repeat(300_000);
    let whole = || {
        let answer = Response::builder().status(StatusCode::CREATED);
        let answer = answer.header(CONTENT_LENGTH, 300_000).header("X-Two", "a");
        answer
            .header("x-two", "b")
            .body(large.clone().into())
            .unwrap()
    };
    let head = "HTTP/1.1 201 Created\r\ncontent-length: 300000\r\nx-two: a\r\nx-two: b\r\n";
    assert_eq!(
        sent(whole).await,
        format!("{head}{DATE}\r\n{large}").repeat(2)
    );

    // Its length is unknown, so the end of the connection is its end.
    let flow = || {
        let pieces = vec![Ok("a"), Ok("b")];
        Response::new(Body::new(Pieces(pieces.into_iter())))
    };
    let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\n{DATE}\r\n");
    assert_eq!(sent(flow).await, format!("{head}ab"));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_breaks_off_ends_its_connection() {
    let broken = || {
        let pieces = vec![Ok("a"), Err("broken")];
        let answer = Response::builder().header(CONTENT_LENGTH, 2);
        answer.body(Body::new(Pieces(pieces.into_iter()))).unwrap()
    };
    assert_eq!(sent(broken).await, "");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_came_while_this_process_stood_still_is_answered() {
    for used in [false, true] {
        let (mut own, other) = duplex(1_024);
        let (_stop, stopped) = never();
        let asking = async {
            tokio::task::yield_now().await;
            if used {
                own.write_all(post("/", "", "").as_bytes()).await.unwrap();
                own.read_exact(&mut vec![0; echoed("/ ").len()])
                    .await
                    .unwrap();
                // After a first half minute, in which the connection still counts as used.
                sleep(IDLE_LIMIT).await;
            }
            let stood_still = sleep(Duration::from_millis(34_001));
            tokio::join!(tokio::time::advance(Duration::from_secs(34)), stood_still);
            own.write_all(post("/late", "", "").as_bytes())
                .await
                .unwrap();
            own.shutdown().await.unwrap();
            let mut answer = String::new();
            own.read_to_string(&mut answer).await.unwrap();
            answer
        };
        let (answer, _) = tokio::join!(asking, plain(other).serve(stopped, echo));
        assert_eq!(answer, echoed("/late "), "{used}");
    }
}
