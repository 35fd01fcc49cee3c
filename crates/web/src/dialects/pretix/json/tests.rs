//! What is read and written, against vectors made once with Python 3.11 and ujson's known habits.

mod fuzz;

use proptest::prelude::*;

use super::{JsonDump, JsonObject, JsonText, JsonValue, float, read};

#[test]
fn what_is_dumped_is_what_python_dumps() {
    // Right: `json.dumps(json.loads(left))`.
    for (given, dumped) in [
        (
            r#"{"b":1,"a":[1,2.50,-0,1E5],"b":2}"#,
            r#"{"b": 2, "a": [1, 2.5, 0, 100000.0]}"#,
        ),
        (
            r#"["\u00e4\u20ac\ud83d\ude00\/"]"#,
            r#"["\u00e4\u20ac\ud83d\ude00/"]"#,
        ),
        ("[\"ä😀\u{7f}\"]", r#"["\u00e4\ud83d\ude00\u007f"]"#),
        (
            r#"["\ud800", "\udc00\ud800", "\ud83dx"]"#,
            r#"["\ud800", "\udc00\ud800", "\ud83dx"]"#,
        ),
        (
            r#"["\"\\\b\f\n\r\t\u0000\u001f"]"#,
            r#"["\"\\\b\f\n\r\t\u0000\u001f"]"#,
        ),
        ("[NaN, Infinity, -Infinity]", "[NaN, Infinity, -Infinity]"),
        (
            "123456789012345678901234567890",
            "123456789012345678901234567890",
        ),
        (" [ ] ", "[]"),
        (r#"{"a" : { } }"#, r#"{"a": {}}"#),
    ] {
        assert_eq!(read(given).unwrap().dumped(), dumped, "{given}");
    }
}

#[test]
fn floats_print_as_python_prints_them() {
    for (number, printed) in [
        (0.0, "0.0"),
        (-0.0, "-0.0"),
        (0.1, "0.1"),
        (1e15, "1000000000000000.0"),
        (9_999_999_999_999_998.0, "9999999999999998.0"),
        (1e16, "1e+16"),
        (1.25e22, "1.25e+22"),
        (0.0001, "0.0001"),
        (0.000_012_5, "1.25e-05"),
        (5e-324, "5e-324"),
        (1.797_693_134_862_315_7e308, "1.7976931348623157e+308"),
    ] {
        assert_eq!(float(number), printed);
    }
}

#[test]
fn an_answer_is_compact_or_indented() {
    let value = JsonValue::object([
        (
            "a",
            JsonValue::List(vec![JsonValue::int(1), JsonValue::text("ä/<\u{7f}")]),
        ),
        ("b", JsonValue::Object(JsonObject::default())),
        ("c", JsonValue::List(Vec::new())),
    ]);
    assert_eq!(
        value.answered(0),
        "{\"a\":[1,\"\\u00e4/<\u{7f}\"],\"b\":{},\"c\":[]}"
    );
    let indented =
        "{\n  \"a\": [\n    1,\n    \"\\u00e4/<\u{7f}\"\n  ],\n  \"b\": {},\n  \"c\": []\n}";
    assert_eq!(value.answered(2), indented);
}

#[test]
fn what_is_not_json_is_refused_with_words() {
    let deep = "[".repeat(2_000);
    let many = format!("[{}1]", "1,".repeat(600_000));
    for (text, words) in [
        ("", "Expected object or value"),
        ("{", "Expected object or value"),
        ("\u{feff}{}", "Expected object or value"),
        ("{}x", "Trailing data"),
        ("[1 2]", "Expected a comma or the end of a list"),
        (
            "{\"a\":1 2}",
            "Unexpected character in found when decoding object value",
        ),
        ("{\"a\" 1}", "Expected a colon after a key"),
        ("trux", "Unexpected character found when decoding 'true'"),
        ("01", "Expected a digit in a number"),
        ("-", "Expected a digit in a number"),
        ("1.", "Expected a digit in a number"),
        ("1e", "Expected a digit in a number"),
        ("\"a", "Expected the end of a string"),
        ("\"\0\"", "Expected the end of a string"),
        ("\"\\x\"", "Expected an escape after a backslash"),
        ("\"\\ä\"", "Expected an escape after a backslash"),
        ("\"\\u12\"", "Expected an escape after a backslash"),
        (deep.as_str(), "Reached object decoding depth limit"),
        (many.as_str(), "Too many values"),
    ] {
        let problem = read(text).unwrap_err();
        assert_eq!(problem.0, words, "{text:.20}");
    }
}

#[test]
fn of_equal_keys_the_last_value_stands_where_the_first_stood() {
    let JsonValue::Object(object) = read(r#"{"a":1,"\ud800":2,"a":3}"#).unwrap() else {
        panic!("not an object");
    };
    assert_eq!(object.get("a"), Some(&JsonValue::int(3)));
    let keys: Vec<JsonText<'_>> = object
        .into_pairs()
        .into_iter()
        .map(|(key, _)| key)
        .collect();
    assert_eq!(keys, [JsonText::whole("a"), JsonText::Torn(vec![0xd800])]);
}

fn any_value() -> impl Strategy<Value = JsonValue<'static>> {
    let text = prop_oneof![
        any::<String>().prop_map(JsonText::whole),
        prop::collection::vec(0..0x1_0000_u32, 0..6).prop_map(|units| {
            let units: Vec<u16> = units
                .into_iter()
                .filter_map(|u| u.try_into().ok())
                .collect();
            let point = |unit: Result<char, std::char::DecodeUtf16Error>| {
                unit.map_or_else(|torn| u32::from(torn.unpaired_surrogate()), u32::from)
            };
            JsonText::from_code_points(char::decode_utf16(units).map(point).collect())
        }),
    ];
    let leaf = prop_oneof![
        Just(JsonValue::Null),
        any::<bool>().prop_map(JsonValue::Bool),
        any::<i128>().prop_map(JsonValue::int),
        (-1e300..1e300).prop_map(JsonValue::Float),
        text.clone().prop_map(JsonValue::Text),
    ];
    leaf.prop_recursive(4, 32, 5, move |inner| {
        let pairs = prop::collection::vec((text.clone(), inner.clone()), 0..5);
        prop_oneof![
            prop::collection::vec(inner, 0..5).prop_map(JsonValue::List),
            pairs.prop_map(|pairs| JsonValue::Object(JsonObject::from_pairs(pairs))),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_reads_back_as_it_was(value in any_value()) {
        for written in [value.dumped(), value.answered(0), value.answered(4)] {
            prop_assert!(written.is_ascii());
            let back = read(&written).unwrap();
            prop_assert_eq!(&back, &value);
            prop_assert_eq!(&back.into_owned(), &value);
        }
    }

    #[test]
    fn an_object_is_the_same_whole_or_pair_by_pair(value in any_value()) {
        if let JsonValue::Object(object) = &value {
            let mut dump = JsonDump::with_room(object.room());
            for (key, value) in object.iter() {
                dump.pair(key, value);
            }
            prop_assert_eq!(dump.end(), value.dumped());
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in any::<String>()) {
        let _outcome = read(&text);
    }

    #[test]
    fn any_text_like_json_is_read_or_refused(
        text in r#"[\[\]{}",:0-9eE+\-.\\untrfalsbNI ]{0,40}"#,
    ) {
        let _outcome = read(&text);
    }

    #[test]
    fn another_reader_reads_the_same(value in any_value().prop_filter("torn", |v| {
        !v.dumped().contains("\\ud")
    })) {
        // Surrogates and big integers are what the other one cannot do.
        let theirs: Result<serde_json::Value, _> = serde_json::from_str(&value.dumped());
        prop_assert!(theirs.is_ok());
    }
}

#[test]
fn escaped_halves_of_pairs_join_wherever_they_meet_and_only_there() {
    let parts = [r"\ud83d", r"\ude00", r"\u00e4", "a", r"\n"];
    let units = [0xd83d, 0xde00, 0xe4, 0x61, 0xa_u16];
    for number in 0..5_usize.pow(5) {
        let chosen: Vec<usize> = (0..5).map(|at| number / 5_usize.pow(at) % 5).collect();
        let text: String = chosen.iter().map(|at| parts[*at]).collect();
        let units = chosen.iter().map(|at| units[*at]);
        let point = |unit: Result<char, std::char::DecodeUtf16Error>| {
            unit.map_or_else(|torn| u32::from(torn.unpaired_surrogate()), u32::from)
        };
        let expected = JsonText::from_code_points(char::decode_utf16(units).map(point).collect());
        assert_eq!(
            read(&format!("\"{text}\"")),
            Ok(JsonValue::Text(expected)),
            "{text}"
        );
    }
}
