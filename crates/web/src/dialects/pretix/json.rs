//! JSON as pretix reads and writes it: values, and the two ways in which they are written.
//!
//! This is a wire contract that no library meets: keys keep their order and the last of two wins,
//! integers keep every digit, floats print as Python prints them, lone surrogates are told apart
//! and survive. What is written is ASCII. Reading is in `json/read.rs`; what was read is a part of
//! the text it stands in, as far as it stands there as it is.

mod bytes;
mod read;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::BTreeMap;

pub(super) use read::read;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum JsonValue<'a> {
    Null,
    Bool(bool),
    /// Its digits, with a minus if it is below zero.
    Int(Cow<'a, str>),
    Float(f64),
    Text(JsonText<'a>),
    List(Vec<Self>),
    Object(JsonObject<'a>),
}

/// A string of JSON, which may hold halves of surrogate pairs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum JsonText<'a> {
    Whole(Cow<'a, str>),
    /// Code points, among them at least one lone surrogate.
    Torn(Vec<u32>),
}

/// So many keys are compared with one another.
const FEW_KEYS: usize = 16;

/// Keys and values in their order. No key occurs twice.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct JsonObject<'a>(Vec<(JsonText<'a>, JsonValue<'a>)>);

impl<'a> JsonValue<'a> {
    pub(super) fn text(text: impl Into<Cow<'a, str>>) -> Self {
        Self::Text(JsonText::whole(text))
    }

    pub(super) fn int(number: impl std::fmt::Display) -> Self {
        Self::Int(number.to_string().into())
    }

    /// The text, or null if there is none.
    pub(super) fn optional(text: Option<impl Into<Cow<'a, str>>>) -> Self {
        text.map_or(Self::Null, Self::text)
    }

    pub(super) fn object<const N: usize>(pairs: [(&'a str, Self); N]) -> Self {
        Self::Object(JsonObject::of(pairs))
    }

    pub(super) fn as_str(&self) -> Option<&str> {
        if let Self::Text(text) = self {
            text.as_str()
        } else {
            None
        }
    }

    /// The object, or else the value as it was.
    pub(super) fn into_object(self) -> Result<JsonObject<'a>, Self> {
        if let Self::Object(object) = self {
            Ok(object)
        } else {
            Err(self)
        }
    }

    /// The same, with nothing left of the text it was read from.
    pub(super) fn into_owned(self) -> JsonValue<'static> {
        match self {
            Self::Null => JsonValue::Null,
            Self::Bool(flag) => JsonValue::Bool(flag),
            Self::Int(digits) => JsonValue::Int(digits.into_owned().into()),
            Self::Float(number) => JsonValue::Float(number),
            Self::Text(text) => JsonValue::Text(text.into_owned()),
            Self::List(items) => JsonValue::List(items.into_iter().map(Self::into_owned).collect()),
            Self::Object(object) => {
                let pairs = object.0.into_iter();
                let owned = pairs.map(|(key, value)| (key.into_owned(), value.into_owned()));
                JsonValue::Object(JsonObject(owned.collect()))
            }
        }
    }

    /// As of an object.
    fn room(&self) -> usize {
        match self {
            Self::Null | Self::Bool(_) => 5,
            Self::Int(digits) => digits.len(),
            Self::Float(_) => 20,
            Self::Text(text) => text.room(),
            Self::List(items) => items.iter().map(|item| item.room() + 2).sum::<usize>() + 2,
            Self::Object(object) => object.room(),
        }
    }

    /// Whether a number that JSON does not have is somewhere inside.
    pub(super) fn has_no_number(&self) -> bool {
        match self {
            Self::Float(number) => !number.is_finite(),
            Self::List(items) => items.iter().any(Self::has_no_number),
            Self::Object(object) => object.iter().any(|(_, value)| value.has_no_number()),
            Self::Null | Self::Bool(_) | Self::Int(_) | Self::Text(_) => false,
        }
    }

    /// As pretix answers over REST: without spaces, or indented by so many.
    pub(super) fn answered(&self, indent: usize) -> String {
        let style = JsonStyle {
            item: if indent == 0 { "," } else { ",\n" },
            colon: if indent == 0 { ":" } else { ": " },
            indent,
            escapes_del: false,
        };
        style.write(self)
    }

    /// Written as `JsonDump` writes.
    pub(super) fn dumped(&self) -> String {
        DUMPED.write(self)
    }
}

impl<'a> JsonText<'a> {
    pub(super) fn whole(text: impl Into<Cow<'a, str>>) -> Self {
        Self::Whole(text.into())
    }

    pub(super) fn as_str(&self) -> Option<&str> {
        match self {
            Self::Whole(text) => Some(text),
            Self::Torn(_) => None,
        }
    }

    fn into_owned(self) -> JsonText<'static> {
        match self {
            Self::Whole(text) => JsonText::Whole(text.into_owned().into()),
            Self::Torn(points) => JsonText::Torn(points),
        }
    }

    fn room(&self) -> usize {
        self.as_str().map_or(0, str::len) + 4
    }

    pub(super) fn code_points(&self) -> impl Iterator<Item = u32> {
        let (whole, torn): (&str, &[u32]) = match self {
            Self::Whole(text) => (text, &[]),
            Self::Torn(points) => ("", points),
        };
        whole.chars().map(u32::from).chain(torn.iter().copied())
    }

    pub(super) fn from_code_points(points: Vec<u32>) -> Self {
        let whole: Option<String> = points.iter().map(|point| char::from_u32(*point)).collect();
        whole.map_or(Self::Torn(points), Self::whole)
    }
}

impl<'a> JsonObject<'a> {
    pub(super) fn of(pairs: impl IntoIterator<Item = (&'a str, JsonValue<'a>)>) -> Self {
        let whole = |(key, value): (&'a str, JsonValue<'a>)| (JsonText::whole(key), value);
        Self(pairs.into_iter().map(whole).collect())
    }

    /// How long it becomes when it is written, if there is nothing to escape.
    pub(super) fn room(&self) -> usize {
        let pairs = self.0.iter();
        pairs
            .map(|(key, value)| key.room() + value.room() + 2)
            .sum::<usize>()
            + 2
    }

    /// Of equal keys the last value is kept, at the place of the first.
    pub(super) fn from_pairs(pairs: Vec<(JsonText<'a>, JsonValue<'a>)>) -> Self {
        // Notifications have a handful of keys: comparing them costs less than sorting.
        let twice = |(index, (key, _)): (usize, &(JsonText<'a>, JsonValue<'a>))| {
            pairs.iter().take(index).any(|(other, _)| other == key)
        };
        if pairs.len() <= FEW_KEYS && !pairs.iter().enumerate().any(twice) {
            return Self(pairs);
        }
        let mut places: BTreeMap<JsonText<'a>, usize> = BTreeMap::new();
        let mut kept: Vec<(JsonText<'a>, JsonValue<'a>)> = Vec::with_capacity(pairs.len());
        for (key, value) in pairs {
            if let Some((_, old)) = places.get(&key).and_then(|place| kept.get_mut(*place)) {
                *old = value;
            } else {
                places.insert(key.clone(), kept.len());
                kept.push((key, value));
            }
        }
        Self(kept)
    }

    pub(super) fn get(&self, key: &str) -> Option<&JsonValue<'a>> {
        let found = self.iter().find(|(name, _)| name.as_str() == Some(key));
        found.map(|(_, value)| value)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &(JsonText<'a>, JsonValue<'a>)> {
        self.0.iter()
    }

    #[cfg(test)]
    pub(super) fn into_pairs(self) -> Vec<(JsonText<'a>, JsonValue<'a>)> {
        self.0
    }
}

/// An object that is written pair by pair, as Python's `json.dumps` writes the body of a call.
pub(super) struct JsonDump(String);

impl JsonDump {
    /// Of pairs that take so many bytes, or some more.
    pub(super) fn with_room(room: usize) -> Self {
        let mut out = String::with_capacity(room);
        out.push('{');
        Self(out)
    }

    pub(super) fn pair(&mut self, key: &JsonText<'_>, value: &JsonValue<'_>) {
        self.next();
        DUMPED.pair(&mut self.0, (key, value), 0);
    }

    /// With one of our own keys, which stand in JSON as they are.
    pub(super) fn own_pair(&mut self, key: &'static str, value: &JsonValue<'_>) {
        self.next();
        self.0.push('"');
        self.0.push_str(key);
        self.0.push('"');
        self.0.push_str(DUMPED.colon);
        DUMPED.value(&mut self.0, value, 1);
    }

    fn next(&mut self) {
        if self.0.len() > 1 {
            self.0.push_str(DUMPED.item);
        }
    }

    pub(super) fn end(mut self) -> String {
        self.0.push('}');
        self.0
    }
}

const DUMPED: JsonStyle = JsonStyle {
    item: ", ",
    colon: ": ",
    indent: 0,
    escapes_del: true,
};

struct JsonStyle {
    item: &'static str,
    colon: &'static str,
    indent: usize,
    escapes_del: bool,
}

impl JsonStyle {
    fn write(&self, value: &JsonValue<'_>) -> String {
        let mut out = String::with_capacity(value.room());
        self.value(&mut out, value, 0);
        out
    }

    fn value(&self, out: &mut String, value: &JsonValue<'_>, depth: usize) {
        match value {
            JsonValue::Null => out.push_str("null"),
            JsonValue::Bool(true) => out.push_str("true"),
            JsonValue::Bool(false) => out.push_str("false"),
            JsonValue::Int(digits) => out.push_str(digits),
            JsonValue::Float(number) => out.push_str(&float(*number)),
            JsonValue::Text(text) => self.text(out, text),
            JsonValue::List(items) => {
                self.between(out, ('[', ']'), items, depth, |out, item| {
                    self.value(out, item, depth + 1);
                });
            }
            JsonValue::Object(object) => {
                self.between(out, ('{', '}'), &object.0, depth, |out, (key, value)| {
                    self.pair(out, (key, value), depth);
                });
            }
        }
    }

    fn pair(&self, out: &mut String, (key, value): (&JsonText<'_>, &JsonValue<'_>), depth: usize) {
        self.text(out, key);
        out.push_str(self.colon);
        self.value(out, value, depth + 1);
    }

    fn between<T>(
        &self,
        out: &mut String,
        (open, close): (char, char),
        items: &[T],
        depth: usize,
        mut write: impl FnMut(&mut String, &T),
    ) {
        out.push(open);
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                out.push_str(self.item);
            } else if self.indent > 0 {
                out.push('\n');
            }
            self.indented(out, depth + 1);
            write(out, item);
        }
        if self.indent > 0 && !items.is_empty() {
            out.push('\n');
            self.indented(out, depth);
        }
        out.push(close);
    }

    fn indented(&self, out: &mut String, depth: usize) {
        if self.indent == 0 {
            return;
        }
        out.extend(std::iter::repeat_n(' ', self.indent.saturating_mul(depth)));
    }

    fn text(&self, out: &mut String, text: &JsonText<'_>) {
        out.push('"');
        match text {
            // Most texts need no escape at all, and are copied.
            JsonText::Whole(text) if is_plain(text) => out.push_str(text),
            JsonText::Whole(_) | JsonText::Torn(_) => {
                for point in text.code_points() {
                    self.code_point(out, point);
                }
            }
        }
        out.push('"');
    }

    fn code_point(&self, out: &mut String, point: u32) {
        match char::from_u32(point) {
            Some('"') => out.push_str("\\\""),
            Some('\\') => out.push_str("\\\\"),
            Some('\n') => out.push_str("\\n"),
            Some('\r') => out.push_str("\\r"),
            Some('\t') => out.push_str("\\t"),
            Some('\u{8}') => out.push_str("\\b"),
            Some('\u{c}') => out.push_str("\\f"),
            Some(plain @ ' '..='~') => out.push(plain),
            Some('\u{7f}') if !self.escapes_del => out.push('\u{7f}'),
            Some(other) => {
                let mut units = [0; 2];
                for unit in other.encode_utf16(&mut units) {
                    escape(out, u32::from(*unit));
                }
            }
            None => escape(out, point),
        }
    }
}

fn escape(out: &mut String, unit: u32) {
    out.push_str("\\u");
    out.extend(hex(unit, 4));
}

/// So many digits of a number, in lower case.
pub(super) fn hex(number: u32, digits: u32) -> impl Iterator<Item = char> {
    let digit = move |place: u32| char::from_digit((number >> (4 * place)) & 0xf, 16);
    (0..digits).rev().filter_map(digit)
}

/// Whether a text stands in JSON as it is.
fn is_plain(text: &str) -> bool {
    bytes::has_none(text.as_bytes(), bytes::escaped)
}

/// A float as Python prints it: the fewest digits that read back as the same number, with an
/// exponent only below 0.0001 and from 1e16 on.
pub(super) fn float(number: f64) -> String {
    if number.is_nan() {
        return "NaN".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 {
            "Infinity"
        } else {
            "-Infinity"
        }
        .to_owned();
    }
    let shortest = format!("{number:e}");
    let (mantissa, exponent) = shortest.split_once('e').unwrap_or((&shortest, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if !(-4..16).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{mantissa}e{sign}{:02}", exponent.unsigned_abs());
    }
    let plain = format!("{number}");
    if plain.contains('.') {
        plain
    } else {
        format!("{plain}.0")
    }
}
