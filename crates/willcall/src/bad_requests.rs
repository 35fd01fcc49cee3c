//! Requests whose head hyper refuses before our code sees them. Hyper sends a bare status or closes
//! the connection. This stream withholds that, and a response is sent instead that says what is
//! wrong and what to do.
//!
//! Only what hyper writes while no response of the site is being made or written is withheld, so
//! our own responses are never touched.

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

/// A request's head has to arrive within this time, also on an idle kept connection. The fast path
/// has a limit of its own (`fast_path.rs`).
pub(crate) const HEAD_LIMIT: Duration = Duration::from_secs(30);

/// Largest head of a request.
pub(crate) const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Most header lines of a request; hyper's own limit.
const LINES_MAX: usize = 100;

/// How hyper's own error responses begin.
const VERSION: &[u8] = b"HTTP/1.1 ";

/// A stream that passes responses of the site on and withholds an error response of hyper's.
pub(crate) struct ErrorRewriter<S> {
    stream: S,
    tracker: ResponseTracker,
    /// Bytes of the site's responses that hyper has yet to write.
    ours: usize,
    withheld: Vec<u8>,
}

/// Knows whether hyper is busy with a response of the site. Clones share one state.
#[derive(Clone, Default)]
pub(crate) struct ResponseTracker(Arc<TrackerFlags>);

#[derive(Default)]
struct TrackerFlags {
    /// A response is being made, or hyper is taking its body.
    answers: AtomicBool,
    /// `answers` has been true at some time since hyper last wrote.
    answered: AtomicBool,
}

/// The body of a response of the site. Hyper drops it once it has taken all of it.
pub(crate) struct TrackedBody {
    body: Body,
    tracker: ResponseTracker,
}

impl ResponseTracker {
    /// A response of the site begins.
    pub(crate) fn begin(&self) {
        self.0.answered.store(true, Ordering::Relaxed);
        self.0.answers.store(true, Ordering::Relaxed);
    }

    /// Wraps the response's body, so that its end is noticed.
    pub(crate) fn end(&self, answer: Response<Body>) -> Response<TrackedBody> {
        let tracker = self.clone();
        answer.map(|body| TrackedBody { body, tracker })
    }

    fn answers(&self) -> bool {
        self.0.answers.load(Ordering::Relaxed)
    }

    /// Whether what hyper writes now belongs to a response of the site.
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

    /// Returns the stream, and the response to send before it is closed, if any. `error` is what
    /// hyper ended with; `unread` is what it had read and not made into a request.
    pub(crate) fn end(
        self,
        error: Option<hyper::Error>,
        unread: &[u8],
    ) -> (S, Option<Response<Bytes>>) {
        // A response that is not all sent cannot be followed by another.
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
        // Hyper writes the end of a response before it reads on, so whatever it adds without
        // another request is its own.
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

    /// Only flushes: a response may still follow.
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

/// The status, if this is an error response of hyper's.
fn status_of(own: &[u8]) -> Option<StatusCode> {
    let (version, rest) = own.split_at_checked(VERSION.len())?;
    // Hyper answers an HTTP/1.0 client with HTTP/1.0.
    let is_status = version == VERSION || version == b"HTTP/1.0 ";
    let status = StatusCode::from_bytes(rest.get(..3)?).ok()?;
    (is_status && status.is_client_error()).then_some(status)
}

/// The status and the explanation for a refused head; nothing if no head came, or nobody is there
/// to read it.
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
             followed by an empty line."
        );
        return Some((StatusCode::REQUEST_TIMEOUT, words));
    }
    if error.is_incomplete_message() && has_come {
        let words = "The request ends within its head. Send an empty line after the last header \
                     line.";
        return Some((StatusCode::BAD_REQUEST, words.to_owned()));
    }
    if unread.starts_with(b"PRI * HTTP/2.0\r\n") {
        let words = "This server does not speak HTTP/2. Use HTTP/1.1, or a proxy that does.";
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
            "The target of the request is too long: the whole head may have {HEAD_BYTES_MAX} bytes. \
             Put long values into the body."
        );
        return (StatusCode::URI_TOO_LONG, words);
    }
    let words = if lines > LINES_MAX {
        format!("The request has more than {LINES_MAX} header lines. Send fewer.")
    } else {
        format!(
            "The head of the request is too large: it may have {HEAD_BYTES_MAX} bytes. Send fewer or \
             shorter header lines."
        )
    };
    (status, words)
}

/// Says what is wrong with a head, without quoting it: it may hold secrets.
fn what_is_bad(error: &hyper::Error, unread: &[u8]) -> String {
    let mut lines = [EMPTY_HEADER; LINES_MAX];
    let mut request = Request::new(&mut lines);
    match request.parse(unread) {
        Err(httparse::Error::Version) => {
            "This server does not speak the HTTP version of the request line. Use HTTP/1.1."
        }
        Err(httparse::Error::Token | httparse::Error::Status) if request.method.is_none() => {
            "This does not begin with a method, so it is not an HTTP request. Send a request line such \
             as \"GET /path HTTP/1.1\", without TLS."
        }
        Err(_) if request.version.is_none() || !is_request_line(unread) => {
            "The request line is not valid. Send a method, a target and HTTP/1.1 with one space \
             between, and percent-encode spaces and special characters in the target."
        }
        Err(_) => return bad_line(unread),
        // The syntax is fine; hyper refused the meaning.
        Ok(_) => {
            return format!(
                "The target, a Content-Length or a Transfer-Encoding of the request is not valid \
                 ({error}). Send a path, and either one Content-Length of digits only or the \
                 Transfer-Encoding \"chunked\"."
            );
        }
    }
    .to_owned()
}

/// Whether the first line, alone, is valid to its end.
fn is_request_line(unread: &[u8]) -> bool {
    let mut lines = unread.split(|byte| *byte == b'\n');
    let first = lines.find(|line| !line.trim_ascii().is_empty());
    let mut whole = first.unwrap_or_default().to_vec();
    whole.extend_from_slice(b"\n\n");
    Request::new(&mut []).parse(&whole).is_ok()
}

/// Says which header line is not valid. At least one is not.
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
        "Header line {number} of the request is not valid. Send a name, a colon and a value without \
         control characters, in one line that does not begin with a space."
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
