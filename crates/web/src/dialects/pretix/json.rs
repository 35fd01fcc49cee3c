//! JSON as pretix reads and writes it: values, and the two ways in which they are written.
//!
//! This is a wire contract that no library meets: keys keep their order and the last of two wins,
//! integers keep every digit, floats print as Python prints them, lone surrogates are told apart
//! and survive. What is written is ASCII. Reading is in `json/read.rs`.

mod read;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub(super) use read::read;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Null,
    Bool(bool),
    /// Its digits, with a minus if it is below zero.
    Int(String),
    Float(f64),
    Text(Text),
    List(Vec<Self>),
    Object(Object),
}

/// A string of JSON, which may hold halves of surrogate pairs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Text {
    Whole(String),
    /// Code points, among them at least one lone surrogate.
    Torn(Vec<u32>),
}

/// So many keys are compared with one another.
const FEW_KEYS: usize = 16;

/// Keys and values in their order. No key occurs twice.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Object(Vec<(Text, Value)>);

impl Value {
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::Text(Text::Whole(text.into()))
    }

    pub(super) fn int(number: impl std::fmt::Display) -> Self {
        Self::Int(number.to_string())
    }

    /// The text, or null if there is none.
    pub(super) fn optional(text: Option<impl Into<String>>) -> Self {
        text.map_or(Self::Null, Self::text)
    }

    pub(super) fn object<const N: usize>(pairs: [(&str, Self); N]) -> Self {
        Self::Object(Object::of(pairs))
    }

    pub(super) fn as_str(&self) -> Option<&str> {
        if let Self::Text(text) = self {
            text.as_str()
        } else {
            None
        }
    }

    /// The object, or else the value as it was.
    pub(super) fn into_object(self) -> Result<Object, Self> {
        if let Self::Object(object) = self {
            Ok(object)
        } else {
            Err(self)
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
        let style = Style {
            item: if indent == 0 { "," } else { ",\n" },
            colon: if indent == 0 { ":" } else { ": " },
            indent,
            escapes_del: false,
        };
        style.write(self)
    }

    /// As Python's `json.dumps` writes the body of a call.
    pub(super) fn dumped(&self) -> String {
        let style = Style {
            item: ", ",
            colon: ": ",
            indent: 0,
            escapes_del: true,
        };
        style.write(self)
    }
}

impl Text {
    pub(super) fn as_str(&self) -> Option<&str> {
        match self {
            Self::Whole(text) => Some(text),
            Self::Torn(_) => None,
        }
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
        whole.map_or(Self::Torn(points), Self::Whole)
    }
}

impl Object {
    pub(super) fn of<const N: usize>(pairs: [(&str, Value); N]) -> Self {
        let whole = |(key, value): (&str, Value)| (Text::Whole(key.to_owned()), value);
        Self(pairs.into_iter().map(whole).collect())
    }

    /// Of equal keys the last value is kept, at the place of the first.
    pub(super) fn from_pairs(pairs: Vec<(Text, Value)>) -> Self {
        // Notifications have a handful of keys: comparing them costs less than sorting.
        let twice = |(index, (key, _)): (usize, &(Text, Value))| {
            pairs.iter().take(index).any(|(other, _)| other == key)
        };
        if pairs.len() <= FEW_KEYS && !pairs.iter().enumerate().any(twice) {
            return Self(pairs);
        }
        let mut places: BTreeMap<Text, usize> = BTreeMap::new();
        let mut kept: Vec<(Text, Value)> = Vec::with_capacity(pairs.len());
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

    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        let found = self.iter().find(|(name, _)| name.as_str() == Some(key));
        found.map(|(_, value)| value)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &(Text, Value)> {
        self.0.iter()
    }

    pub(super) fn into_pairs(self) -> Vec<(Text, Value)> {
        self.0
    }
}

struct Style {
    item: &'static str,
    colon: &'static str,
    indent: usize,
    escapes_del: bool,
}

impl Style {
    fn write(&self, value: &Value) -> String {
        let mut out = String::new();
        self.value(&mut out, value, 0);
        out
    }

    fn value(&self, out: &mut String, value: &Value, depth: usize) {
        match value {
            Value::Null => out.push_str("null"),
            Value::Bool(true) => out.push_str("true"),
            Value::Bool(false) => out.push_str("false"),
            Value::Int(digits) => out.push_str(digits),
            Value::Float(number) => out.push_str(&float(*number)),
            Value::Text(text) => self.text(out, text),
            Value::List(items) => {
                self.between(out, ('[', ']'), items, depth, |out, item| {
                    self.value(out, item, depth + 1);
                });
            }
            Value::Object(object) => {
                self.between(out, ('{', '}'), &object.0, depth, |out, (key, value)| {
                    self.text(out, key);
                    out.push_str(self.colon);
                    self.value(out, value, depth + 1);
                });
            }
        }
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
        out.extend(std::iter::repeat_n(' ', self.indent.saturating_mul(depth)));
    }

    fn text(&self, out: &mut String, text: &Text) {
        out.push('"');
        match text {
            // Most texts need no escape at all, and are copied.
            Text::Whole(text) if is_plain(text) => out.push_str(text),
            Text::Whole(_) | Text::Torn(_) => {
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
    let plain = |byte: u8| (b' '..b'\x7f').contains(&byte) & (byte != b'"') & (byte != b'\\');
    first(text.as_bytes(), |byte| !plain(byte)).is_none()
}

/// Where the first byte of a kind stands. Pieces are judged whole, many bytes at a time.
fn first(bytes: &[u8], is: impl Fn(u8) -> bool) -> Option<usize> {
    const PIECE: usize = 32;
    let has = |piece: &[u8; PIECE]| {
        piece
            .iter()
            .fold(0, |found, byte| found | u8::from(is(*byte)))
    };
    let (pieces, _) = bytes.as_chunks::<PIECE>();
    let passed = pieces.iter().take_while(|piece| has(piece) == 0).count() * PIECE;
    let near = bytes.get(passed..)?.iter().position(|byte| is(*byte));
    near.map(|near| passed + near)
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
