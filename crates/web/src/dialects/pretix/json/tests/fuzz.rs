//! JSON of any bytes: read by our reader as by another, and written so that it is read again.

use serde_json::Value;

use super::*;

#[test]
fn what_another_reader_takes_is_taken_and_means_the_same() {
    ::fuzz::run("json", 4_000, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let theirs: Result<Value, _> = serde_json::from_str(&text);
        let ours = match read(&text) {
            Ok(ours) => ours,
            Err(error) => {
                let bounds = ["Reached object decoding depth limit", "Too many values"];
                assert!(theirs.is_err() || bounds.contains(&error.0), "{error:?}");
                return;
            }
        };
        for written in [ours.dumped(), ours.answered(0), ours.answered(4)] {
            assert!(written.is_ascii());
            // Spelled out, a text takes six bytes a character, and a level of depth four blanks.
            let depth = 1 + text.matches(['[', '{']).count().min(200);
            assert!(written.len() <= (6 + 8 * depth) * (text.len() + 400));
            let again = read(&written).unwrap();
            // What a number beyond all numbers is compares with nothing, itself included.
            assert!(again == ours || written.contains("NaN"), "{written}");
        }
        // The other reader knows a negative zero that is no float.
        if let Ok(theirs) = theirs
            && !text.contains("-0")
        {
            let again: Value = serde_json::from_str(&ours.dumped()).unwrap();
            assert!(is_same(&again, &theirs), "{again} is not {theirs}");
        }
    });
}

/// Whether both mean the same. The other reader rounds a float to one near to the nearest.
fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(a, b)| is_same(a, b))
        }
        (Value::Object(one), Value::Object(other)) => {
            let same = |((a, one), (b, other)): ((&String, _), (&String, _))| {
                a == b && is_same(one, other)
            };
            one.len() == other.len() && one.iter().zip(other).all(same)
        }
        (Value::Number(one), Value::Number(other)) => match (one.as_f64(), other.as_f64()) {
            (Some(a), Some(b)) if one != other => (a - b).abs() <= 1e-14 * a.abs(),
            _ => one == other,
        },
        (one, other) => one == other,
    }
}
