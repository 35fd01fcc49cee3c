//! A parsed head: what its lines say of the body and of the connection.
//!
//! Plain functions. `head.rs` and `lenient.rs` find the lines; this file judges them.

use httparse::Header;
use model::attempt::{Failure, FailureKind};
use model::webhook::Headers;

/// Of a line that is wrong so much is shown: enough to find it again.
pub(super) const SHOWN_CHARS: usize = 80;

/// Stands for the rest of it.
pub(crate) const CUT: char = '…';

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ResponseHead {
    pub(crate) status: u16,
    /// Names in small letters.
    pub(crate) headers: Headers,
    pub(crate) framing: Framing,
    /// Whether the receiver will take another request on this connection.
    pub(crate) keeps: bool,
    pub(crate) keep_alive: KeepAlive,
}

/// How long a receiver keeps an idle connection, and for how many requests, as far as it says.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeepAlive {
    pub(crate) timeout_s: Option<u32>,
    pub(crate) requests_max: Option<u32>,
}

/// Where the body ends (RFC 9112, section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    Length(u64),
    Chunked,
    /// Where the connection does.
    ToTheEnd,
}

/// What the lines of a head say of the body and of the connection.
#[derive(Default)]
struct HeaderFacts {
    length: ContentLength,
    /// The last coding of the last `Transfer-Encoding`, if there is one: whether it is chunked.
    chunked: Option<bool>,
    close: bool,
    keep_alive: bool,
    keep_alive_told: KeepAlive,
    /// Bytes of all lines as they are kept.
    bytes: usize,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum ContentLength {
    #[default]
    Untold,
    Is(u64),
    Contradicts,
    NotANumber,
}

/// What the beginning of some bytes is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum HeadParse {
    /// The beginning of a head; more of it must come.
    More,
    /// A head of so many bytes.
    Whole(ResponseHead, usize),
    Damaged(MalformedHead),
    /// It does not begin with a status line.
    Garbled(Failure),
}

/// A head with a valid status line, behind which something is wrong.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct MalformedHead {
    pub(crate) status: u16,
    /// The lines before what is wrong.
    pub(crate) headers: Headers,
    /// What is wrong, in words.
    pub(crate) note: String,
}

pub(crate) fn garbled(detail: impl Into<String>) -> Failure {
    Failure::new(FailureKind::Garbled, detail)
}

/// Judges the lines of a head with this status.
pub(super) fn judge(
    status: u16,
    is_1_1: bool,
    lines: &[Header<'_>],
) -> Result<ResponseHead, MalformedHead> {
    let mut told = HeaderFacts::default();
    for line in lines {
        told.take(line);
    }
    let damaged = |note: String| MalformedHead {
        status,
        headers: kept(lines, told.bytes),
        note,
    };
    let framing = match (status, told.chunked, told.length) {
        (100..=199 | 204 | 304, _, _) => Framing::Length(0),
        (_, Some(_), _) if !is_1_1 => {
            let note = "it is of HTTP/1.0 and has a Transfer-Encoding, which that version does not \
                        know, so where its body ends was not to be known";
            return Err(damaged(note.to_owned()));
        }
        (_, Some(true), _) => Framing::Chunked,
        (_, Some(false), _) | (_, None, ContentLength::Untold) => Framing::ToTheEnd,
        (_, None, ContentLength::Is(bytes)) => Framing::Length(bytes),
        (_, None, ContentLength::Contradicts) => {
            return Err(damaged(lengths(lines, "says another length than before")));
        }
        (_, None, ContentLength::NotANumber) => {
            return Err(damaged(lengths(lines, "has no number as its length")));
        }
    };
    // Who says both may be understood in two ways, so nothing more is read from that line.
    let ambiguous = told.chunked.is_some() && told.length != ContentLength::Untold;
    let keeps = !told.close && (is_1_1 || told.keep_alive);
    Ok(ResponseHead {
        status,
        headers: kept(lines, told.bytes),
        framing,
        // What comes after a switch of protocols is not HTTP.
        keeps: keeps && !ambiguous && status != 101 && framing != Framing::ToTheEnd,
        keep_alive: told.keep_alive_told,
    })
}

impl HeaderFacts {
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
            10 if name.eq_ignore_ascii_case("keep-alive") => self.keep_alive_told.take(value),
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

impl KeepAlive {
    /// Takes `timeout=5, max=100`.
    fn take(&mut self, value: &[u8]) {
        for word in value.split(|byte| matches!(byte, b',' | b';')) {
            let mut parts = word.splitn(2, |byte| *byte == b'=').map(<[u8]>::trim_ascii);
            let (name, value) = (parts.next(), parts.next());
            let digits = value.map(|value| {
                let end = value.iter().position(|byte| !byte.is_ascii_digit());
                value.get(..end.unwrap_or(value.len())).unwrap_or_default()
            });
            let number = digits.and_then(number);
            let number = number.map(|number| u32::try_from(number).unwrap_or(u32::MAX));
            match name {
                Some(b"timeout") => self.timeout_s = number.or(self.timeout_s),
                Some(b"max") => self.requests_max = number.or(self.requests_max),
                _ => {}
            }
        }
    }
}

impl ContentLength {
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

/// A copy of exactly the size that is needed: it is kept until the outcome is written.
pub(super) fn kept(lines: &[Header<'_>], bytes: usize) -> Headers {
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

/// Which line of a length is wrong, and how.
fn lengths(lines: &[Header<'_>], wrong: &str) -> String {
    let mut length = ContentLength::default();
    let mut bad = None;
    for (index, line) in lines.iter().enumerate() {
        if bad.is_none() && line.name.eq_ignore_ascii_case("content-length") {
            for word in words_of(line.value) {
                length = length.and(number(word));
            }
            if !matches!(length, ContentLength::Untold | ContentLength::Is(_)) {
                bad = Some((index, line));
            }
        }
    }
    match bad {
        Some((index, line)) => {
            let shown = [line.name.as_bytes(), b": ", line.value].concat();
            note(index + 2, &shown, wrong)
        }
        None => format!("a line of its head {wrong}"),
    }
}

/// What is wrong with a line, which of the head it is, and how it looks.
pub(super) fn note(number: usize, line: &[u8], wrong: &str) -> String {
    let shown = shown(line);
    format!("line {number} of its head {wrong} (“{shown}”), so no more of it was read")
}

/// The beginning of a line, with nothing in it that could not be read.
fn shown(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let (mut shown, mut room) = (String::new(), SHOWN_CHARS);
    for char in text.chars() {
        let escaped = char.is_control().then(|| char.escape_default());
        let takes = escaped.as_ref().map_or(1, ExactSizeIterator::len);
        let Some(left) = room.checked_sub(takes) else {
            shown.push(CUT);
            break;
        };
        room = left;
        match escaped {
            Some(escaped) => shown.extend(escaped),
            None => shown.push(char),
        }
    }
    shown
}
