//! A lenient reader: heads that break the rules, and heads whose end does not come.
//!
//! Only the status line has to be valid. Behind it lines are read up to the first that is wrong,
//! which is named. The result depends only on lines that have ended, so it is the same in whatever
//! pieces the bytes come.

use httparse::Header;
use model::limits;

use super::parsed::{HeadParse, MalformedHead, garbled, judge, kept, note};

/// What some bytes are as a status line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum StatusLine {
    /// It may become one; with its status, if that is there.
    Begun(Option<u16>),
    Whole {
        status: u16,
        is_1_1: bool,
        length: usize,
    },
    /// It is none, for this reason.
    Not(String),
}

/// The lines behind a status line.
#[derive(Default)]
struct LenientLines<'a> {
    good: Vec<Header<'a>>,
    /// From the beginning of all to behind the blank line, once that is there.
    length: Option<usize>,
    /// What is wrong with the first line that is.
    wrong: Option<String>,
}

/// The head at the beginning of `bytes`; if it `is_long`, no more of it is taken.
pub(super) fn parse(bytes: &[u8], is_long: bool) -> HeadParse {
    let (status, is_1_1, begin) = match status_line(bytes) {
        StatusLine::Whole {
            status,
            is_1_1,
            length,
        } => (status, is_1_1, length),
        StatusLine::Begun(_) if is_long => return HeadParse::Garbled(garbled(too_long())),
        StatusLine::Begun(_) => return HeadParse::More,
        StatusLine::Not(words) => return HeadParse::Garbled(garbled(words)),
    };
    // Of an interim answer only the end matters, as another follows.
    let is_interim = is_interim(status);
    let lines = LenientLines::read(bytes, begin, is_interim);
    if let Some(length) = lines.length {
        return match judge(status, is_1_1, &lines.good) {
            Ok(head) => HeadParse::Whole(head, length),
            Err(damaged) => HeadParse::Damaged(damaged),
        };
    }
    match lines.wrong {
        Some(wrong) => HeadParse::Damaged(damaged(status, &lines.good, wrong)),
        None if !is_long => HeadParse::More,
        None if is_interim => HeadParse::Garbled(garbled(too_long())),
        None => HeadParse::Damaged(damaged(status, &lines.good, too_long())),
    }
}

/// The same for a head that is not whole and does not become it.
pub(super) fn cut_off(bytes: &[u8], well: bool, note: &str) -> HeadParse {
    match status_line(bytes) {
        StatusLine::Whole { status, length, .. } => {
            let lines = LenientLines::read(bytes, length, false);
            let note = lines.wrong.unwrap_or_else(|| note.to_owned());
            HeadParse::Damaged(damaged(status, &lines.good, note))
        }
        // Who ends the connection in good order has nothing more to say.
        StatusLine::Begun(Some(status)) if well => {
            let note = "the connection ended within its status line".to_owned();
            HeadParse::Damaged(damaged(status, &[], note))
        }
        StatusLine::Begun(_) => HeadParse::More,
        StatusLine::Not(words) => HeadParse::Garbled(garbled(words)),
    }
}

/// Reads a status line with any blanks between its parts (RFC 9112, section 4), any minor version
/// and any reason.
pub(super) fn status_line(bytes: &[u8]) -> StatusLine {
    const NAME: &[u8] = b"HTTP/1.";
    let not = |words: &str| StatusLine::Not(words.to_owned());
    let begin = skip_blanks(bytes, 0);
    let rest = bytes.get(begin..).unwrap_or_default();
    let version = rest.get(..NAME.len().min(rest.len())).unwrap_or_default();
    if !NAME.starts_with(version) {
        return not("it does not begin with HTTP/1.1 or HTTP/1.0");
    }
    let Some(minor) = rest.get(NAME.len()) else {
        return StatusLine::Begun(None);
    };
    if !minor.is_ascii_digit() {
        return not("it does not begin with HTTP/1.1 or HTTP/1.0");
    }
    let after = begin + NAME.len() + 1;
    let digits_at = skip_blanks(bytes, after);
    let Some(first) = bytes.get(digits_at) else {
        return StatusLine::Begun(None);
    };
    if digits_at == after {
        return not("it does not begin with HTTP/1.1 or HTTP/1.0");
    }
    if !first.is_ascii_digit() {
        return not("its status line has no status");
    }
    let digits = bytes.get(digits_at..).unwrap_or_default();
    let count = digits.iter().take_while(|byte| byte.is_ascii_digit());
    let count = count.take(4).count();
    let behind = digits.get(count);
    if count > 3 || (count < 3 && behind.is_some()) {
        return not("the status in its status line does not have three digits");
    }
    if count < 3 {
        return StatusLine::Begun(None);
    }
    let digits = digits.get(..count).unwrap_or_default();
    let status = digits
        .iter()
        .fold(0_u16, |status, digit| status * 10 + u16::from(digit - b'0'));
    if status < 100 && behind.is_none() {
        // A fourth digit may follow.
        return StatusLine::Begun(None);
    }
    if status < 100 {
        return StatusLine::Not(format!("{status:03} is no status"));
    }
    if behind.is_some_and(|byte| *byte != b'\n' && !is_blank(*byte)) {
        return not("the status in its status line is not followed by a blank");
    }
    let end = bytes.get(digits_at + count..).unwrap_or_default();
    match end.iter().position(|byte| *byte == b'\n') {
        None => StatusLine::Begun(Some(status)),
        Some(end) => StatusLine::Whole {
            status,
            is_1_1: *minor != b'0',
            length: digits_at + count + end + 1,
        },
    }
}

impl<'a> LenientLines<'a> {
    fn read(bytes: &'a [u8], begin: usize, passes_over: bool) -> Self {
        let mut lines = Self::default();
        let mut at = begin;
        for number in 2.. {
            let rest = bytes.get(at..).unwrap_or_default();
            let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
                break;
            };
            at += end + 1;
            let line = rest.get(..end).unwrap_or_default();
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.is_empty() {
                lines.length = Some(at);
                break;
            }
            if passes_over {
                continue;
            }
            let read = match lines.good.len() < limits::RESPONSE_HEADERS_MAX {
                true => header(line),
                false => Err("is one too many: more than 100 are not taken"),
            };
            match read {
                Ok(header) => lines.good.push(header),
                Err(wrong) => {
                    lines.wrong = Some(note(number, line, wrong));
                    break;
                }
            }
        }
        lines
    }
}

/// Name and value of a line, or what is wrong with it.
fn header(line: &[u8]) -> Result<Header<'_>, &'static str> {
    if line
        .first()
        .is_some_and(|byte| matches!(byte, b' ' | b'\t'))
    {
        return Err("is folded: it begins with a blank");
    }
    if line.contains(&b'\r') {
        return Err("has a carriage return in it");
    }
    if line.contains(&0) {
        return Err("has a NUL in it");
    }
    let Some(colon) = line.iter().position(|byte| *byte == b':') else {
        return Err("has no colon");
    };
    let (name, value) = line.split_at(colon);
    let Some(last) = name.last() else {
        return Err("has no name before its colon");
    };
    if matches!(last, b' ' | b'\t') && name.trim_ascii_end().iter().all(|b| is_token(*b)) {
        return Err("has a blank before its colon");
    }
    let name = match std::str::from_utf8(name) {
        Ok(text) if name.iter().all(|byte| is_token(*byte)) => text,
        Ok(_) | Err(_) => return Err("has a character in its name that no name may have"),
    };
    let value = trimmed(value.get(1..).unwrap_or_default());
    match value.iter().all(|byte| is_value(*byte)) {
        true => Ok(Header { name, value }),
        false => Err("has a control character in it"),
    }
}

fn too_long() -> String {
    let kib = limits::RESPONSE_HEAD_BYTES_MAX / 1024;
    format!("its head is longer than {kib} KiB")
}

fn damaged(status: u16, good: &[Header<'_>], note: String) -> MalformedHead {
    let bytes = good
        .iter()
        .map(|line| line.name.len() + line.value.len() + 4);
    MalformedHead {
        status,
        headers: kept(good, bytes.sum()),
        note,
    }
}

/// Whether an answer with this status promises another.
pub(crate) fn is_interim(status: u16) -> bool {
    matches!(status, 100 | 102..=199)
}

fn skip_blanks(bytes: &[u8], from: usize) -> usize {
    let rest = bytes.get(from..).unwrap_or_default();
    from + rest.iter().take_while(|byte| is_blank(**byte)).count()
}

/// What may stand between the parts of a status line.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | 0x0b | 0x0c)
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn is_value(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

fn trimmed(value: &[u8]) -> &[u8] {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let begin = value.iter().take_while(|byte| is_blank(byte)).count();
    let value = value.get(begin..).unwrap_or_default();
    let end = value.iter().rev().take_while(|byte| is_blank(byte)).count();
    value.get(..value.len() - end).unwrap_or_default()
}

#[cfg(test)]
mod tests;
