//! Heads of requests that hyper refuses before anybody of ours sees them. It answers with a status
//! and nothing else, or hangs up; here that is held back, and an answer that says what is wrong
//! and what to do is sent instead.
//!
//! Held back is only what hyper writes while no answer of the site is being made or written, so
//! an answer of ours is never touched.

use std::io::Result;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use httparse::{EMPTY_HEADER, Request};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use web::Body;

/// A request's head has to arrive within this time, also on a kept connection that idles. What
/// holds for plain requests is in `fast_path.rs`.
pub(crate) const HEAD_LIMIT: Duration = Duration::from_secs(30);

/// A request's head may be this large.
pub(crate) const HEAD_BYTES_MAX: usize = 64 * 1024;

/// A request may have so many header lines: hyper has room for no more.
const LINES_MAX: usize = 100;

/// Hyper's own answers to what it cannot read begin so, up to the status.
const VERSION: &[u8] = b"HTTP/1.1 ";

/// Writes what belongs to answers of the site, and holds back an answer of hyper's own.
pub(crate) struct ErrorRewriter<S> {
    stream: S,
    tracker: ResponseTracker,
    /// How much of what hyper has yet to write belongs to the site's answers.
    ours: usize,
    withheld: Vec<u8>,
}

/// Says whether hyper has an answer of the site. Its copies are one.
#[derive(Clone, Default)]
pub(crate) struct ResponseTracker(Arc<TrackerFlags>);

#[derive(Default)]
struct TrackerFlags {
    /// An answer is being made, or hyper takes its body.
    answers: AtomicBool,
    /// That has been so since hyper last wrote.
    answered: AtomicBool,
}

/// The body of an answer of the site. Hyper drops it once it has taken all of it.
pub(crate) struct TrackedBody {
    body: Body,
    tracker: ResponseTracker,
}

impl ResponseTracker {
    /// An answer of the site is begun.
    pub(crate) fn begin(&self) {
        self.0.answered.store(true, Ordering::Relaxed);
        self.0.answers.store(true, Ordering::Relaxed);
    }

    /// The answer that was begun, from which it is known when hyper has all of it.
    pub(crate) fn end(&self, answer: Response<Body>) -> Response<TrackedBody> {
        let tracker = self.clone();
        answer.map(|body| TrackedBody { body, tracker })
    }

    fn answers(&self) -> bool {
        self.0.answers.load(Ordering::Relaxed)
    }

    /// Whether what hyper writes now ends with a part of the site's answers.
    fn is_ours(&self) -> bool {
        self.0.answered.swap(self.answers(), Ordering::Relaxed)
    }
}

impl Drop for TrackedBody {
    fn drop(&mut self) {
        self.tracker.0.answers.store(false, Ordering::Relaxed);
    }
}

impl HttpBody for TrackedBody {
    type Data = Bytes;
    type Error = <Body as HttpBody>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<S> ErrorRewriter<S> {
    pub(crate) fn new(stream: S, tracker: ResponseTracker) -> Self {
        Self {
            stream,
            tracker,
            ours: 0,
            withheld: Vec::new(),
        }
    }

    /// The stream, and what is to be sent on it before it is closed: instead of what hyper had to
    /// say when it ended with `error`, having read `unread` without making a request of it.
    pub(crate) fn end(
        self,
        error: Option<hyper::Error>,
        unread: &[u8],
    ) -> (S, Option<Response<Bytes>>) {
        // Of an answer that has not left, the end is missing: nothing can follow it.
        let is_free = !self.tracker.answers() && self.ours == 0;
        let refused = error.filter(|_| is_free);
        let refused = refused.and_then(|error| refused_as(&error, &self.withheld, unread));
        (
            self.stream,
            refused.map(|(status, words)| answer(status, &words)),
        )
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ErrorRewriter<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<Result<usize>> {
        // The end of an answer is written before hyper reads on, so what is added to it without
        // another request is hyper's own.
        if self.tracker.is_ours() {
            self.ours = buf.len();
        }
        let (ours, own) = buf.split_at(self.ours.min(buf.len()));
        if ours.is_empty() && status_of(own).is_some() {
            self.withheld = own.to_vec();
            return Poll::Ready(Ok(own.len()));
        }
        let part = if ours.is_empty() { own } else { ours };
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, part))?;
        self.ours = self.ours.saturating_sub(written);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Nothing is closed here: something may follow.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.poll_flush(cx)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ErrorRewriter<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

/// The status of an answer that refuses a head.
fn status_of(own: &[u8]) -> Option<StatusCode> {
    let (version, rest) = own.split_at_checked(VERSION.len())?;
    // It answers an HTTP/1.0 client in kind.
    let is_status = version == VERSION || version == b"HTTP/1.0 ";
    let status = StatusCode::from_bytes(rest.get(..3)?).ok()?;
    (is_status && status.is_client_error()).then_some(status)
}

/// What a head is refused with, and why; nothing if there was none, or nobody to tell.
fn refused_as(
    error: &hyper::Error,
    withheld: &[u8],
    unread: &[u8],
) -> Option<(StatusCode, String)> {
    let has_come = unread.iter().any(|byte| !b"\r\n".contains(byte));
    if error.is_timeout() && has_come {
        let limit = HEAD_LIMIT.as_secs();
        let words = format!(
            "The head of the request did not come in time. Send all of it within {limit} seconds, \
             and an empty line behind it."
        );
        return Some((StatusCode::REQUEST_TIMEOUT, words));
    }
    if error.is_incomplete_message() && has_come {
        let words = "The request ends within its head. Send an empty line behind the last header \
                     line.";
        return Some((StatusCode::BAD_REQUEST, words.to_owned()));
    }
    if unread.starts_with(b"PRI * HTTP/2.0\r\n") {
        let words = "HTTP/2 is not spoken here. Use HTTP/1.1, or a proxy that does.";
        return Some((StatusCode::BAD_REQUEST, words.to_owned()));
    }
    match status_of(withheld)? {
        StatusCode::BAD_REQUEST => Some((StatusCode::BAD_REQUEST, what_is_bad(error, unread))),
        status => Some(what_is_large(status, unread)),
    }
}

fn what_is_large(status: StatusCode, unread: &[u8]) -> (StatusCode, String) {
    let lines = unread.iter().filter(|byte| **byte == b'\n').count();
    let first = unread.split(|byte| *byte == b'\n').next();
    let is_line = first.is_some_and(|line| line.len() > HEAD_BYTES_MAX / 2);
    if status == StatusCode::URI_TOO_LONG || is_line {
        let words = format!(
            "The target of the request is too long: all of its head may have {HEAD_BYTES_MAX} \
             bytes. Put what is long into the body."
        );
        return (StatusCode::URI_TOO_LONG, words);
    }
    let words = if lines > LINES_MAX {
        format!("The request has more than {LINES_MAX} header lines. Leave out what is not needed.")
    } else {
        format!(
            "The head of the request is too large: it may have {HEAD_BYTES_MAX} bytes. Leave out \
             header lines that are not needed."
        )
    };
    (status, words)
}

/// Says what is wrong with a head. What it says itself is not repeated: there may be secrets in it.
fn what_is_bad(error: &hyper::Error, unread: &[u8]) -> String {
    let mut lines = [EMPTY_HEADER; LINES_MAX];
    let mut request = Request::new(&mut lines);
    match request.parse(unread) {
        Err(httparse::Error::Version) => {
            "The version in the request line is none that is spoken here. Use HTTP/1.1."
        }
        Err(httparse::Error::Token | httparse::Error::Status) if request.method.is_none() => {
            "This begins with no method, so it is no HTTP request. Send a request line such as \
             \"GET /path HTTP/1.1\", without TLS."
        }
        Err(_) if request.version.is_none() => {
            "The request line is not valid. Send a method, a target and HTTP/1.1 with one blank \
             between, and percent-encode blanks and special characters in the target."
        }
        Err(_) => return bad_line(unread),
        // The line was found wrong only once it was looked at more closely.
        Ok(_) => {
            return format!(
                "The target, a Content-Length or a Transfer-Encoding of the request is not valid \
                 ({error}). Send a path, and one Content-Length of digits alone or the \
                 Transfer-Encoding \"chunked\"."
            );
        }
    }
    .to_owned()
}

/// Says which header line is wrong. There is at least one.
fn bad_line(unread: &[u8]) -> String {
    let lines = unread.split(|byte| *byte == b'\n');
    let begun = lines.skip_while(|line| line.trim_ascii().is_empty());
    let bad = begun.skip(1).zip(1..).find(|(line, _)| {
        let mut whole = line.to_vec();
        whole.extend_from_slice(b"\n\n");
        httparse::parse_headers(&whole, &mut [EMPTY_HEADER; 2]).is_err()
    });
    let number = bad.map_or(0, |(_, number)| number);
    format!(
        "Header line {number} of the request is not valid. Send a name, a colon and a value \
         without control characters, in one line that does not begin with a blank."
    )
}

fn answer(status: StatusCode, words: &str) -> Response<Bytes> {
    let body = Bytes::from(serde_json::json!({ "detail": words }).to_string());
    let length = HeaderValue::from(body.len());
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    let form = HeaderValue::from_static("application/json");
    answer.headers_mut().insert(CONTENT_TYPE, form);
    answer.headers_mut().insert(CONTENT_LENGTH, length);
    answer
}

#[cfg(test)]
mod tests;
