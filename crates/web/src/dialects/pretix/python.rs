//! Habits of Python that show on the wire: what `str.strip`, `str`, `repr`, `int` and
//! `type().__name__` make of a value.

use super::json::{JsonObject, JsonText, JsonValue, float, hex};

/// White space as `str.isspace` sees it: Unicode's, and four separators of ASCII.
pub(super) fn is_space(character: char) -> bool {
    character.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&character)
}

pub(super) fn strip(text: &str) -> &str {
    text.trim_matches(is_space)
}

pub(super) fn strip_text(text: &JsonText<'_>) -> JsonText<'static> {
    match text {
        JsonText::Whole(whole) => JsonText::whole(strip(whole).to_owned()),
        JsonText::Torn(points) => {
            let solid = |point: &u32| !char::from_u32(*point).is_some_and(is_space);
            let start = points.iter().position(solid).unwrap_or(points.len());
            let end = points
                .iter()
                .rposition(solid)
                .map_or(start, |last| last + 1);
            JsonText::from_code_points(points.get(start..end).unwrap_or_default().to_vec())
        }
    }
}

/// `int(text)`, held within 128 bits.
pub(super) fn int(text: &str) -> Option<i128> {
    let text = strip(text);
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let edges = digits.starts_with('_') || digits.ends_with('_') || digits.contains("__");
    if digits.is_empty() || edges {
        return None;
    }
    let mut number: i128 = 0;
    for digit in digits.chars().filter(|character| *character != '_') {
        let digit = i128::from(digit.to_digit(10)?);
        number = number.saturating_mul(10).saturating_add(digit);
    }
    Some(if negative { -number } else { number })
}

/// The name of a value's type.
pub(super) fn type_name(value: &JsonValue<'_>) -> &'static str {
    match value {
        JsonValue::Null => "NoneType",
        JsonValue::Bool(_) => "bool",
        JsonValue::Int(_) => "int",
        JsonValue::Float(_) => "float",
        JsonValue::Text(_) => "str",
        JsonValue::List(_) => "list",
        JsonValue::Object(_) => "dict",
    }
}

/// `str(value)`.
pub(super) fn text_of<'a>(value: &JsonValue<'a>) -> JsonText<'a> {
    match value {
        JsonValue::Text(text) => text.clone(),
        JsonValue::Null
        | JsonValue::Bool(_)
        | JsonValue::Int(_)
        | JsonValue::Float(_)
        | JsonValue::List(_)
        | JsonValue::Object(_) => JsonText::whole(repr(value)),
    }
}

/// `repr(value)`.
pub(super) fn repr(value: &JsonValue<'_>) -> String {
    match value {
        JsonValue::Null => "None".to_owned(),
        JsonValue::Bool(true) => "True".to_owned(),
        JsonValue::Bool(false) => "False".to_owned(),
        JsonValue::Int(digits) => digits.clone().into_owned(),
        JsonValue::Float(number) if number.is_nan() => "nan".to_owned(),
        JsonValue::Float(number) if number.is_infinite() => {
            if *number > 0.0 { "inf" } else { "-inf" }.to_owned()
        }
        JsonValue::Float(number) => float(*number),
        JsonValue::Text(text) => repr_text(text),
        JsonValue::List(items) => {
            let items: Vec<String> = items.iter().map(repr).collect();
            format!("[{}]", items.join(", "))
        }
        JsonValue::Object(object) => repr_object(object),
    }
}

fn repr_object(object: &JsonObject<'_>) -> String {
    let pair = |(key, value): &(JsonText<'_>, JsonValue<'_>)| {
        format!("{}: {}", repr_text(key), repr(value))
    };
    let pairs: Vec<String> = object.iter().map(pair).collect();
    format!("{{{}}}", pairs.join(", "))
}

fn repr_text(text: &JsonText<'_>) -> String {
    let has = |wanted: char| text.code_points().any(|point| point == u32::from(wanted));
    let quote = if has('\'') && !has('"') { '"' } else { '\'' };
    let mut out = String::from(quote);
    for point in text.code_points() {
        match char::from_u32(point) {
            Some('\\') => out.push_str("\\\\"),
            Some('\n') => out.push_str("\\n"),
            Some('\r') => out.push_str("\\r"),
            Some('\t') => out.push_str("\\t"),
            Some(other) if other == quote => out.extend(['\\', other]),
            Some(other) if is_printable(other) => out.push(other),
            Some(_) | None => escape(&mut out, point),
        }
    }
    out.push(quote);
    out
}

fn escape(out: &mut String, point: u32) {
    let (letter, digits) = match point {
        0..=0xff => ('x', 2),
        0x100..=0xffff => ('u', 4),
        _ => ('U', 8),
    };
    out.extend(['\\', letter]);
    out.extend(hex(point, digits));
}

/// `str.isprintable`. Rust asks the same tables when it prints for debugging, but escapes a
/// combining mark at the start of a text, and quotes anywhere.
fn is_printable(character: char) -> bool {
    let mut after_a = String::from("a");
    after_a.push(character);
    matches!(character, '"' | '\'') || after_a.escape_debug().eq(after_a.chars())
}

#[cfg(test)]
mod tests {
    use super::super::json::read;
    use super::*;

    #[test]
    fn values_show_as_python_shows_them() {
        // Each right side is what Python 3.11 prints for `repr(json.loads(left))`.
        for (json, shown) in [
            (
                r#"{"a": 1, "b": [null, true, false]}"#,
                "{'a': 1, 'b': [None, True, False]}",
            ),
            (
                r#"["it's", "say \"x\"", "'\""]"#,
                r#"["it's", 'say "x"', '\'"']"#,
            ),
            (
                r#"["\u0000\u001f\u007f\u0080\u00a0\u00ad"]"#,
                r"['\x00\x1f\x7f\x80\xa0\xad']",
            ),
            (r#"["\u00e4\u20ac\ud83d\ude00\u0301"]"#, "['ä€😀\u{301}']"),
            (
                r#"["\u2028\udfff\ud800\ue000"]"#,
                r"['\u2028\udfff\ud800\ue000']",
            ),
            (
                r#"["\udb40\udc01", "\n\r\t\\"]"#,
                r"['\U000e0001', '\n\r\t\\']",
            ),
            (
                "[1.0, -0.0, 1e16, 1.5e-7, NaN, -Infinity]",
                "[1.0, -0.0, 1e+16, 1.5e-07, nan, -inf]",
            ),
            ("{}", "{}"),
        ] {
            assert_eq!(repr(&read(json).unwrap()), shown);
        }
    }

    #[test]
    fn white_space_is_what_python_strips() {
        assert_eq!(
            strip("\u{1c}\u{85}\u{a0}\u{2028} x\u{200b}\u{3000}"),
            "x\u{200b}"
        );
        let torn = JsonText::Torn(vec![0x20, 0xd800, 0x2028, 0x20]);
        assert_eq!(strip_text(&torn), JsonText::Torn(vec![0xd800]));
    }

    #[test]
    fn integers_are_read_as_python_reads_them() {
        for (text, number) in [
            ("1", Some(1)),
            (" +01\n", Some(1)),
            ("-1_000", Some(-1000)),
            ("", None),
            ("_1", None),
            ("1__0", None),
            ("1.0", None),
            ("+-1", None),
            ("abc", None),
        ] {
            assert_eq!(int(text), number, "{text}");
        }
        assert_eq!(int(&"9".repeat(60)), Some(i128::MAX));
    }
}
