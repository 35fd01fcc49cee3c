//! Responses to heads that cannot be parsed, after responses of the site and without them.

use std::future::ready;
use std::net::IpAddr;

use model::address::Networks;
use model::time::{Clock, Timestamp};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::*;
use crate::connections::Connections;
use crate::http1::serve_any;

const SOUND: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

/// A response of the site that ends like hyper's own.
const LIKE_OWN: &str = "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

fn clock() -> Clock {
    Clock::new(|| Timestamp::from_millis(784_111_777_999))
}

/// Sends `bytes` and nothing more; returns what comes back, through a buffer of `room` bytes. The
/// write side is closed if `is_all`.
async fn exchange(bytes: &[u8], room: usize, is_all: bool) -> String {
    let (mut own, other) = duplex(room);
    let (_stop, stopped) = watch::channel(false);
    let connections = Arc::new(Connections::new(1, Networks::default()));
    let state = Arc::clone(&connections.admit(IpAddr::from([127, 0, 0, 1])).state);
    let site = |_| ready(Response::new(Body::from(LIKE_OWN)));
    let serving = serve_any(other, Bytes::new(), stopped, clock(), Some(&state), site);
    let (mut reading, mut writing) = tokio::io::split(&mut own);
    let asking = async {
        // A refused request may not be read to its end.
        writing.write_all(bytes).await.ok();
        if is_all {
            writing.shutdown().await.unwrap();
        }
    };
    let mut answers = String::new();
    let reads = reading.read_to_string(&mut answers);
    let (_, _, read) = tokio::join!(serving, asking, reads);
    read.unwrap();
    answers
}

/// The text of the only response.
fn words(answer: &str, status: &str) -> String {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let length = body.len();
    let wanted = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\
         connection: close\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT"
    );
    assert_eq!(head, wanted);
    let body: Value = serde_json::from_str(body).unwrap();
    body["detail"].as_str().unwrap().to_owned()
}

fn line(line: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: h\r\n{line}\r\n\r\n")
}

/// Sends a head; asserts the status and the beginning of the text.
async fn refused(head: &str, status: &str, beginning: &str) {
    let answer = exchange(head.as_bytes(), 400_000, false).await;
    let told = words(&answer, status);
    let name = head.get(..80).unwrap_or(head);
    assert!(told.starts_with(beginning), "{name}: {told}");
}

#[tokio::test(start_paused = true)]
async fn whoever_sends_a_request_line_that_cannot_be_read_is_told_so() {
    let no_method = "This does not begin with a method";
    let not_valid = "The request line is not valid.";
    let version = "This server does not speak the HTTP version";
    for (head, beginning) in [
        ("\u{16}\u{3}\u{1} no HTTP\r\n\r\n", no_method),
        ("no request\r\n\r\n", not_valid),
        ("GET  / HTTP/1.1\r\n\r\n", not_valid),
        ("GET /a b HTTP/1.1\r\n\r\n", version),
        ("GET / HTTP/2.0\r\nHost: h\r\n\r\n", version),
        (
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "This server does not speak HTTP/2",
        ),
        ("GET h:x:y HTTP/1.1\r\n\r\n", "The target, a Content-Length"),
    ] {
        refused(head, "400 Bad Request", beginning).await;
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_sends_a_header_line_that_cannot_be_read_is_told_which() {
    let length = "The target, a Content-Length or a Transfer-Encoding";
    for (lines, beginning) in [
        (
            "A: b\r\nBroken",
            "Header line 3 of the request is not valid.",
        ),
        ("A : b", "Header line 2 of the request is not valid."),
        ("A: b\r\n c", "Header line 3 of the request is not valid."),
        ("A: b\0", "Header line 2 of the request is not valid."),
        ("Content-Length: +1", length),
        ("Content-Length: 1\r\nContent-Length: 2", length),
        ("Content-Length: 99999999999999999999", length),
        ("Transfer-Encoding: gzip", length),
    ] {
        refused(&line(lines), "400 Bad Request", beginning).await;
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_sends_a_head_that_is_too_large_is_told_what_of_it_is() {
    let target = format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "a".repeat(70_000));
    let (long, large) = ("414 URI Too Long", "431 Request Header Fields Too Large");
    refused(&target, long, "The target of the request is too long").await;
    for (lines, beginning) in [
        (
            format!("X: {}", "a".repeat(70_000)),
            "The head of the request is too large",
        ),
        (
            format!("X: {}", "a".repeat(300_000)),
            "The head of the request is too large",
        ),
        (
            "X: y\r\n".repeat(100),
            "The request has more than 100 header lines.",
        ),
    ] {
        refused(&line(&lines), large, beginning).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_that_breaks_off_or_comes_too_slowly_is_refused_and_an_idle_connection_just_ends() {
    let begun = "GET / HTTP/1.1\r\nHost: h\r\n";
    let broken = exchange(begun.as_bytes(), 1_024, true).await;
    let told = words(&broken, "400 Bad Request");
    assert!(
        told.starts_with("The request ends within its head."),
        "{told}"
    );

    let before = Instant::now();
    let slow = exchange(begun.as_bytes(), 1_024, false).await;
    let told = words(&slow, "408 Request Timeout");
    assert!(
        told.starts_with("The head of the request did not come in time."),
        "{told}"
    );
    // Then the rest of the request is awaited for a moment.
    assert_eq!(before.elapsed().as_secs(), 32);

    for idle in ["", "\r\n"] {
        for is_all in [true, false] {
            assert_eq!(exchange(idle.as_bytes(), 1_024, is_all).await, "");
        }
    }
}

/// The same whenever it was said: the site's server reads the wall clock for its `Date`, which may
/// be the next second. That of a refusal is by the test's own.
fn undated(said: &str) -> String {
    let lines = said.split_inclusive('\n');
    let is_own = |line: &str| line.contains(" 1994 ");
    lines
        .filter(|line| !line.starts_with("date: ") || is_own(line))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn answers_of_the_site_come_whole_before_the_refusal_whatever_is_in_them() {
    for room in [1, 7, 50, 10_000] {
        let exchange = async |sent: &str| undated(&exchange(sent.as_bytes(), room, false).await);
        let alone = exchange(SOUND).await;
        assert!(alone.ends_with(&format!("\r\n\r\n{LIKE_OWN}")), "{alone}");

        let both = exchange(&format!("{SOUND}{SOUND}x y\r\n\r\n")).await;
        let start = alone.repeat(2);
        let Some(refused) = both.strip_prefix(&start) else {
            panic!("{room}: {both}");
        };
        let told = words(refused, "400 Bad Request");
        assert!(told.starts_with("The request line is not valid."), "{told}");

        let slow = exchange(&format!("{SOUND}GET")).await;
        let refused = slow.strip_prefix(&alone).unwrap();
        words(refused, "408 Request Timeout");
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_is_refused_can_read_why_though_more_of_the_request_comes() {
    let (mut own, other) = duplex(1_024);
    let (stop, stopped) = watch::channel(false);
    let site = |_| ready(Response::new(Body::empty()));
    let serving = serve_any(
        other,
        Bytes::from("x y\r\n\r\n"),
        stopped,
        clock(),
        None,
        site,
    );
    let asking = async {
        for _ in 0..100 {
            own.write_all(&[b'x'; 100]).await.unwrap();
        }
        sleep(Duration::from_millis(500)).await;
        // After a stop nothing more is awaited.
        stop.send_replace(true);
        let mut answer = String::new();
        own.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let before = Instant::now();
    let ((), answer) = tokio::join!(serving, asking);
    words(&answer, "400 Bad Request");
    assert_eq!(before.elapsed().as_millis(), 500);
}

#[tokio::test(start_paused = true)]
async fn a_request_line_that_goes_on_after_its_version_is_what_is_wrong() {
    for line in ["GET / HTTP/1.1x", "GET / HTTP/1.1 x", "GET / HTTP/1.1\rx"] {
        for rest in ["", "Host: h\r\n\r\nno line"] {
            let answer = exchange(format!("{line}\r\n{rest}").as_bytes(), 4_096, true).await;
            let words = words(&answer, "400 Bad Request");
            assert!(
                words.starts_with("The request line is not valid."),
                "{line}: {words}"
            );
        }
    }
}
