//! Head: what an answer begins with, from the status line to the blank line.
//!
//! Plain functions over bytes. What is found does not depend on what follows the head, and a head
//! within its bounds is either whole, not yet whole, or garbled.

use std::mem::MaybeUninit;

use httparse::{Header, ParserConfig, Response, Status};
use model::attempt::{Failure, FailureKind};
use model::limits;
use model::webhook::Headers;

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) status: u16,
    /// Names in small letters.
    pub(crate) headers: Headers,
    pub(crate) framing: Framing,
    /// Whether the receiver will take another request on this line.
    pub(crate) keeps: bool,
}

/// Where the body ends (RFC 9112, section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    Length(u64),
    Chunked,
    /// Where the connection does.
    ToTheEnd,
}

/// What the lines of a head say of the body and of the line.
#[derive(Default)]
struct Told {
    length: Length,
    /// The last coding of the last `Transfer-Encoding`, if there is one: whether it is chunked.
    chunked: Option<bool>,
    close: bool,
    keep_alive: bool,
    /// Bytes of all lines as they are kept.
    bytes: usize,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Length {
    #[default]
    Untold,
    Is(u64),
    Contradicts,
    NotANumber,
}

/// The head at the beginning of `bytes` and its length, or nothing while more of it must come. It
/// may have `most` bytes.
pub(crate) fn parse(bytes: &[u8], most: usize) -> Result<Option<(Head, usize)>, Failure> {
    let within = bytes.get(..most).unwrap_or(bytes);
    let mut lines = [const { MaybeUninit::uninit() }; limits::RESPONSE_HEADERS_MAX];
    let mut response = Response::new(&mut []);
    let config = ParserConfig::default();
    match config.parse_response_with_uninit_headers(&mut response, within, &mut lines) {
        Ok(Status::Complete(length)) => {
            let status = response.code.unwrap_or_default();
            let head = judge(status, response.version == Some(1), response.headers)?;
            Ok(Some((head, length)))
        }
        Ok(Status::Partial) if within.len() >= most => {
            let kib = limits::RESPONSE_HEAD_BYTES_MAX / 1024;
            Err(garbled(format!("its head is longer than {kib} KiB")))
        }
        Ok(Status::Partial) => Ok(None),
        Err(error) => Err(garbled(words(error))),
    }
}

/// The status of an answer whose head begins with `bytes`, whatever of it is still to come.
pub(crate) fn status(bytes: &[u8]) -> Option<u16> {
    let mut response = Response::new(&mut []);
    // It fails at the first line behind the status, and has that by then.
    response.parse(bytes).ok();
    response.code
}

pub(crate) fn garbled(detail: impl Into<String>) -> Failure {
    Failure::new(FailureKind::Garbled, detail)
}

fn judge(status: u16, is_1_1: bool, lines: &[Header<'_>]) -> Result<Head, Failure> {
    if status < 100 {
        return Err(garbled(format!("{status:03} is no status")));
    }
    let mut told = Told::default();
    for line in lines {
        told.take(line);
    }
    let framing = match (status, told.chunked, told.length) {
        (100..=199 | 204 | 304, _, _) => Framing::Length(0),
        (_, Some(_), _) if !is_1_1 => {
            return Err(garbled("HTTP/1.0 has no Transfer-Encoding"));
        }
        (_, Some(true), _) => Framing::Chunked,
        (_, Some(false), _) | (_, None, Length::Untold) => Framing::ToTheEnd,
        (_, None, Length::Is(bytes)) => Framing::Length(bytes),
        (_, None, Length::Contradicts) => {
            return Err(garbled("it says more than one Content-Length"));
        }
        (_, None, Length::NotANumber) => {
            return Err(garbled("its Content-Length is not a number"));
        }
    };
    // Who says both may be understood in two ways, so nothing more is read from that line.
    let ambiguous = told.chunked.is_some() && told.length != Length::Untold;
    let keeps = !told.close && (is_1_1 || told.keep_alive);
    Ok(Head {
        status,
        headers: kept(lines, told.bytes),
        framing,
        // What comes after a switch of protocols is not HTTP.
        keeps: keeps && !ambiguous && status != 101 && framing != Framing::ToTheEnd,
    })
}

impl Told {
    fn take(&mut self, line: &Header<'_>) {
        let (name, value) = (line.name, line.value);
        self.bytes += name.len() + value.len() + 4;
        match name.len() {
            10 if name.eq_ignore_ascii_case("connection") => {
                for word in words_of(value) {
                    self.close |= word.eq_ignore_ascii_case(b"close");
                    self.keep_alive |= word.eq_ignore_ascii_case(b"keep-alive");
                }
            }
            14 if name.eq_ignore_ascii_case("content-length") => {
                for word in words_of(value) {
                    self.length = self.length.and(number(word));
                }
            }
            17 if name.eq_ignore_ascii_case("transfer-encoding") => {
                let last = words_of(value).last().unwrap_or_default();
                self.chunked = Some(last.eq_ignore_ascii_case(b"chunked"));
            }
            _ => {}
        }
    }
}

impl Length {
    /// The same length said again is one length.
    fn and(self, next: Option<u64>) -> Self {
        match (self, next) {
            (Self::NotANumber, _) | (_, None) => Self::NotANumber,
            (Self::Untold, Some(bytes)) => Self::Is(bytes),
            (Self::Is(before), Some(bytes)) if before == bytes => self,
            (Self::Is(_) | Self::Contradicts, Some(_)) => Self::Contradicts,
        }
    }
}

/// The parts of a list, without the blanks around them.
fn words_of(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

/// Digits and nothing else: no sign, no blank between.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

/// A copy of exactly the size that is needed: it is kept until the outcome is written down.
fn kept(lines: &[Header<'_>], bytes: usize) -> Headers {
    let mut block = Vec::with_capacity(bytes);
    for line in lines {
        let begin = block.len();
        block.extend_from_slice(line.name.as_bytes());
        if let Some(name) = block.get_mut(begin..) {
            name.make_ascii_lowercase();
        }
        block.extend_from_slice(b": ");
        block.extend_from_slice(line.value);
        block.extend_from_slice(b"\r\n");
    }
    Headers(block.into())
}

fn words(error: httparse::Error) -> &'static str {
    match error {
        httparse::Error::Version => "it does not begin with HTTP/1.1 or HTTP/1.0",
        httparse::Error::Status => "its status line is not one",
        httparse::Error::HeaderName => {
            "a header line has no colon, or a name with a character that no name may have"
        }
        httparse::Error::HeaderValue => "a header line has a character that none may have",
        httparse::Error::NewLine | httparse::Error::Token => "a line of its head has no proper end",
        httparse::Error::TooManyHeaders => "it has more than 100 header lines",
    }
}

const _: () = assert!(limits::RESPONSE_HEADERS_MAX == 100);

#[cfg(test)]
mod tests;
