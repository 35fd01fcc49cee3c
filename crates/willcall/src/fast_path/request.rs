//! Recognizing a plain request: a `POST` of HTTP/1.1, short, that says how long its body is, and
//! asks for nothing but an answer.
//!
//! Plain functions over bytes. Here nothing is refused: what is not plain beyond doubt is somebody
//! else's to read, from its first byte on, so two readings of one request cannot differ.

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request as HttpRequest, Uri};
use httparse::{Header, ParserConfig, Request, Status};
use web::Body;

/// What a plain request begins with. Its target is a path.
const OPENING: &[u8] = b"POST /";

/// A longer request is not plain: of others the body is read only once it is known who asks.
pub(super) const BYTES_MAX: usize = 16 * 1024;

/// A request with more lines is not plain.
const LINES_MAX: usize = 48;

/// Why there is no plain request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ParseFailure {
    /// It may become one once more of it has come.
    Incomplete,
    /// It is anything else.
    NotEligible,
}

/// What a head says, as far as the request is plain.
struct RequestHead<'a> {
    path: &'a str,
    lines: &'a [Header<'a>],
    head_bytes: usize,
    body_bytes: usize,
}

/// The plain request that `come` begins with, what has come on a connection since the last one,
/// and how many bytes it takes.
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

/// What the head says; nothing if there is anything in it that needs more than reading a body of
/// a known length and answering (RFC 9112, sections 6.1, 6.2 and 9.3; RFC 9110, 10.1.1 and 7.8).
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

/// A number of digits alone, unless it is above every length that is plain.
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
    /// The request that these bytes are, with one copy of them; nothing if a part of it has no
    /// place in an `http::Request`.
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
