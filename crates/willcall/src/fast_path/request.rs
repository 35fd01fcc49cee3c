//! Recognizes a request for the fast path: a short HTTP/1.1 `POST` with a `Content-Length` and
//! nothing unusual in its head.
//!
//! Pure functions over bytes. Nothing is refused here: hyper reads every other request from its
//! first byte on, so two parsers never disagree about one request.

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request as HttpRequest, Uri};
use httparse::{Header, ParserConfig, Request, Status};
use web::Body;

/// How a request for the fast path begins. Its target is a path.
const OPENING: &[u8] = b"POST /";

/// Longer requests go to hyper, where a body is read only after authentication.
pub(super) const BYTES_MAX: usize = 16 * 1024;

/// Requests with more header lines go to hyper.
const LINES_MAX: usize = 48;

/// Why there is no request for the fast path.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ParseFailure {
    /// It may become one when more of it arrives.
    Incomplete,
    /// It is of another kind.
    NotEligible,
}

/// The head of an eligible request.
struct RequestHead<'a> {
    path: &'a str,
    lines: &'a [Header<'a>],
    head_bytes: usize,
    body_bytes: usize,
}

/// Parses the request that `come` begins with. Returns it and how many bytes it takes.
pub(super) fn parse(come: &[u8]) -> Result<(HttpRequest<Body>, usize), ParseFailure> {
    let opening = come.len().min(OPENING.len());
    if come.get(..opening) != OPENING.get(..opening) {
        return Err(ParseFailure::NotEligible);
    }
    let mut lines = [const { MaybeUninit::uninit() }; LINES_MAX];
    let mut request = Request::new(&mut []);
    let config = ParserConfig::default();
    let parsed = config.parse_request_with_uninit_headers(&mut request, come, &mut lines);
    let head = match parsed {
        Ok(Status::Complete(head_bytes)) => eligible(&request, head_bytes),
        Ok(Status::Partial) if come.len() < BYTES_MAX => return Err(ParseFailure::Incomplete),
        Ok(Status::Partial) | Err(_) => None,
    };
    let head = head.ok_or(ParseFailure::NotEligible)?;
    let whole = come.get(..head.head_bytes + head.body_bytes);
    let whole = whole.ok_or(ParseFailure::Incomplete)?;
    let request = head.request(whole).ok_or(ParseFailure::NotEligible)?;
    Ok((request, whole.len()))
}

/// The head of the request; nothing if it needs more than reading a body of a known length and
/// answering (RFC 9112, sections 6.1, 6.2 and 9.3; RFC 9110, sections 10.1.1 and 7.8).
fn eligible<'a>(request: &'a Request<'a, 'a>, head_bytes: usize) -> Option<RequestHead<'a>> {
    let path = request.path.filter(|_| request.version == Some(1))?;
    let mut length = None;
    for line in request.headers.iter() {
        let is = |name: &str| line.name.eq_ignore_ascii_case(name);
        match line.name.len() {
            6 if is("expect") => return None,
            7 if is("upgrade") => return None,
            10 if is("connection") && !line.value.eq_ignore_ascii_case(b"keep-alive") => {
                return None;
            }
            14 if is("content-length") => {
                let said_before = length.replace(number(line.value)?).is_some();
                length = length.filter(|_| !said_before);
                length?;
            }
            17 if is("transfer-encoding") => return None,
            _ => {}
        }
    }
    let head = RequestHead {
        path,
        lines: request.headers,
        head_bytes,
        body_bytes: length.unwrap_or(0),
    };
    (head_bytes + head.body_bytes <= BYTES_MAX).then_some(head)
}

/// A number written in digits only; nothing if it has more than five.
fn number(digits: &[u8]) -> Option<usize> {
    if digits.is_empty() || digits.len() > 5 {
        return None;
    }
    digits.iter().try_fold(0, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| usize::from(digit - b'0'))?;
        Some(number * 10 + digit)
    })
}

impl RequestHead<'_> {
    /// Makes an `http::Request` of these bytes, with one copy of them; nothing if a part does not
    /// fit into one.
    fn request(&self, whole: &[u8]) -> Option<HttpRequest<Body>> {
        let kept = Bytes::copy_from_slice(whole);
        let slice = |part: &[u8]| {
            let from = part.as_ptr().addr().checked_sub(whole.as_ptr().addr())?;
            let to = from.checked_add(part.len())?;
            (to <= kept.len()).then(|| kept.slice(from..to))
        };
        let mut headers = HeaderMap::with_capacity(self.lines.len());
        for line in self.lines {
            let name = HeaderName::from_bytes(line.name.as_bytes()).ok()?;
            let value = HeaderValue::from_maybe_shared(slice(line.value)?).ok()?;
            headers.append(name, value);
        }
        let mut request = HttpRequest::new(Body::from(kept.slice(self.head_bytes..)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = Uri::from_maybe_shared(slice(self.path.as_bytes())?).ok()?;
        *request.headers_mut() = headers;
        Some(request)
    }
}
