//! Reading untrusted JSON: never a panic, and a bounded stack.
//!
//! As lenient as the parser that pretix uses: `NaN` and `Infinity` are numbers, and strings may
//! have control characters. A byte order mark is not JSON.

use std::ops::Range;

use model::limits::JSON_DEPTH_MAX;

use super::{JsonObject, JsonText, JsonValue, bytes};

/// Values that one text may hold: what a batch of a thousand large notifications needs, and far
/// less than what would fill the memory.
const VALUES_MAX: usize = 500_000;

/// Why a text is not JSON, in the words of pretix's parser where it has some.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct JsonError(pub(in super::super) &'static str);

type ReadResult<T> = Result<T, JsonError>;

const NO_VALUE: JsonError = JsonError("Expected object or value");

pub(in super::super) fn read(text: &str) -> Result<JsonValue<'_>, JsonError> {
    let mut reader = JsonReader {
        text,
        at: 0,
        values: 0,
    };
    reader.space();
    let value = reader.value(0)?;
    reader.space();
    if reader.peek().is_some() {
        return Err(JsonError("Trailing data"));
    }
    Ok(value)
}

struct JsonReader<'a> {
    text: &'a str,
    /// In bytes, always between two characters.
    at: usize,
    values: usize,
}

impl<'a> JsonReader<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, wanted: u8) -> bool {
        let there = self.peek() == Some(wanted);
        if there {
            self.at += 1;
        }
        there
    }

    fn take_word(&mut self, word: &str) -> bool {
        let there = self.rest().starts_with(word);
        if there {
            self.at += word.len();
        }
        there
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn value(&mut self, depth: usize) -> ReadResult<JsonValue<'a>> {
        if depth > JSON_DEPTH_MAX {
            return Err(JsonError("Reached object decoding depth limit"));
        }
        self.values += 1;
        if self.values > VALUES_MAX {
            return Err(JsonError("Too many values"));
        }
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.list(depth),
            Some(b'"') => Ok(JsonValue::Text(self.string()?)),
            Some(b't') => self.word("true", JsonValue::Bool(true)),
            Some(b'f') => self.word("false", JsonValue::Bool(false)),
            Some(b'n') => self.word("null", JsonValue::Null),
            Some(b'N') => self.word("NaN", JsonValue::Float(f64::NAN)),
            Some(b'I') => self.word("Infinity", JsonValue::Float(f64::INFINITY)),
            Some(b'-') if self.take_word("-Infinity") => Ok(JsonValue::Float(f64::NEG_INFINITY)),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(_) | None => Err(NO_VALUE),
        }
    }

    fn word(&mut self, word: &'static str, value: JsonValue<'a>) -> ReadResult<JsonValue<'a>> {
        if self.take_word(word) {
            return Ok(value);
        }
        Err(match word {
            "true" => JsonError("Unexpected character found when decoding 'true'"),
            "false" => JsonError("Unexpected character found when decoding 'false'"),
            "null" => JsonError("Unexpected character found when decoding 'null'"),
            "NaN" => JsonError("Unexpected character found when decoding 'NaN'"),
            _ => JsonError("Unexpected character found when decoding 'Infinity'"),
        })
    }

    fn list(&mut self, depth: usize) -> ReadResult<JsonValue<'a>> {
        self.at += 1;
        let mut items = Vec::new();
        self.space();
        if self.take(b']') {
            return Ok(JsonValue::List(items));
        }
        loop {
            self.space();
            items.push(self.value(depth + 1)?);
            self.space();
            if self.take(b']') {
                return Ok(JsonValue::List(items));
            }
            if !self.take(b',') {
                return Err(JsonError("Expected a comma or the end of a list"));
            }
        }
    }

    fn object(&mut self, depth: usize) -> ReadResult<JsonValue<'a>> {
        const NO_MEMBER: JsonError =
            JsonError("Unexpected character in found when decoding object value");
        self.at += 1;
        let mut pairs = Vec::new();
        self.space();
        if self.take(b'}') {
            return Ok(JsonValue::Object(JsonObject::default()));
        }
        loop {
            self.space();
            if self.peek() != Some(b'"') {
                return Err(NO_VALUE);
            }
            let key = self.string()?;
            self.space();
            if !self.take(b':') {
                return Err(JsonError("Expected a colon after a key"));
            }
            self.space();
            pairs.push((key, self.value(depth + 1)?));
            self.space();
            if self.take(b'}') {
                return Ok(JsonValue::Object(JsonObject::from_pairs(pairs)));
            }
            if !self.take(b',') {
                return Err(NO_MEMBER);
            }
        }
    }

    fn number(&mut self) -> ReadResult<JsonValue<'a>> {
        const NO_NUMBER: JsonError = JsonError("Expected a digit in a number");
        let start = self.at;
        let negative = self.take(b'-');
        let first = self.peek();
        let digits = self.digits();
        if digits == 0 || (first == Some(b'0') && digits > 1) {
            return Err(NO_NUMBER);
        }
        let mut whole = true;
        if self.take(b'.') {
            whole = false;
            if self.digits() == 0 {
                return Err(NO_NUMBER);
            }
        }
        if self.take(b'e') || self.take(b'E') {
            whole = false;
            let _signed = self.take(b'+') || self.take(b'-');
            if self.digits() == 0 {
                return Err(NO_NUMBER);
            }
        }
        let literal = self.text.get(start..self.at).unwrap_or_default();
        if !whole {
            return literal.parse().map(JsonValue::Float).map_err(|_| NO_NUMBER);
        }
        let zero = negative && first == Some(b'0');
        Ok(JsonValue::Int(if zero { "0" } else { literal }.into()))
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        self.at - start
    }

    fn string(&mut self) -> ReadResult<JsonText<'a>> {
        const NO_END: JsonError = JsonError("Expected the end of a string");
        self.at += 1;
        let rest = self.rest();
        let stop = bytes::first(rest.as_bytes(), bytes::special).ok_or(NO_END)?;
        let plain = rest.get(..stop).unwrap_or_default();
        self.at += stop;
        if self.take(b'"') {
            return Ok(JsonText::whole(plain));
        }
        let mut built = TextBuilder::from(plain.to_owned());
        loop {
            let rest = self.rest();
            let stop = bytes::first(rest.as_bytes(), bytes::special).ok_or(NO_END)?;
            built.push_str(rest.get(..stop).unwrap_or_default());
            self.at += stop;
            if self.take(b'"') {
                return Ok(built.text());
            }
            if !self.take(b'\\') {
                return Err(NO_END);
            }
            built.push_unit(self.escape()?);
        }
    }

    /// What stands after a backslash.
    fn escape(&mut self) -> ReadResult<u32> {
        const NO_ESCAPE: JsonError = JsonError("Expected an escape after a backslash");
        let letter = self.peek().ok_or(NO_ESCAPE)?;
        self.at += usize::from(letter.is_ascii());
        Ok(match letter {
            b'"' | b'\\' | b'/' => u32::from(letter),
            b'b' => 0x8,
            b'f' => 0xc,
            b'n' => 0xa,
            b'r' => 0xd,
            b't' => 0x9,
            b'u' => {
                let four = self.rest().get(..4).ok_or(NO_ESCAPE)?;
                if !four.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                    return Err(NO_ESCAPE);
                }
                self.at += 4;
                u32::from_str_radix(four, 16).map_err(|_| NO_ESCAPE)?
            }
            _ => return Err(NO_ESCAPE),
        })
    }
}

/// A text with escapes as it is put together: in UTF-8 until there is half a surrogate pair.
enum TextBuilder {
    /// What came, and the first half of a pair whose second may follow.
    Whole(String, Option<u32>),
    Torn(Vec<u32>),
}

impl From<String> for TextBuilder {
    fn from(text: String) -> Self {
        Self::Whole(text, None)
    }
}

impl TextBuilder {
    fn push_str(&mut self, more: &str) {
        if !more.is_empty() {
            self.tear_if_half();
        }
        match self {
            Self::Whole(text, _) => text.push_str(more),
            Self::Torn(points) => points.extend(more.chars().map(u32::from)),
        }
    }

    /// Adds what an escape stands for, which may be half of a pair.
    fn push_unit(&mut self, unit: u32) {
        const FIRST: Range<u32> = 0xd800..0xdc00;
        const SECOND: Range<u32> = 0xdc00..0xe000;
        let pair = |first: u32| 0x1_0000 + ((first - FIRST.start) << 10) + (unit - SECOND.start);
        match self {
            Self::Whole(text, half) => {
                if let Some(first) = *half
                    && SECOND.contains(&unit)
                {
                    *half = None;
                    text.extend(char::from_u32(pair(first)));
                } else if half.is_some() || SECOND.contains(&unit) {
                    self.tear();
                    self.push_unit(unit);
                } else if FIRST.contains(&unit) {
                    *half = Some(unit);
                } else {
                    text.extend(char::from_u32(unit));
                }
            }
            Self::Torn(points) => match points.last_mut() {
                Some(first) if FIRST.contains(first) && SECOND.contains(&unit) => {
                    *first = pair(*first);
                }
                Some(_) | None => points.push(unit),
            },
        }
    }

    fn tear_if_half(&mut self) {
        if matches!(self, Self::Whole(_, Some(_))) {
            self.tear();
        }
    }

    fn tear(&mut self) {
        if let Self::Whole(text, half) = self {
            *self = Self::Torn(text.chars().map(u32::from).chain(*half).collect());
        }
    }

    fn text(mut self) -> JsonText<'static> {
        self.tear_if_half();
        match self {
            Self::Whole(text, _) => JsonText::whole(text),
            Self::Torn(points) => JsonText::from_code_points(points),
        }
    }
}
