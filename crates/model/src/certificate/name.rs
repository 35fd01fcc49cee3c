//! The names in a certificate (RFC 5280, 4.1.2.4), for people. Nothing is decided by them.

use super::der::{DerFields, sequence, value};

const SET: u8 = 0x31;

/// How much of a name is shown.
const SHOWN_CHARS_MAX: usize = 200;

/// Attributes below 2.5.4 that have short names (RFC 4519, 2).
const SHORT: [(u8, &str); 6] = [
    (3, "CN"),
    (6, "C"),
    (7, "L"),
    (8, "ST"),
    (10, "O"),
    (11, "OU"),
];

/// Of whom it is.
pub(super) fn subject(certificate: &[u8]) -> Option<String> {
    // The validity, and what is behind it.
    let (_, _, rest) = value(DerFields::of(certificate)?.rest)?;
    text(sequence(rest)?)
}

/// Who issued it.
pub(super) fn issuer(certificate: &[u8]) -> Option<String> {
    text(DerFields::of(certificate)?.issuer)
}

/// `CN=client, O=Example`: the attributes that are known, in their order.
fn text(mut name: &[u8]) -> Option<String> {
    let mut parts = Vec::new();
    while !name.is_empty() {
        let (tag, mut set, rest) = value(name)?;
        if tag != SET {
            return None;
        }
        name = rest;
        while !set.is_empty() {
            let (_, kind, text) = value(sequence(set)?)?;
            set = value(set)?.2;
            let (_, text, _) = value(text)?;
            let short = match kind {
                [0x55, 4, number] => SHORT.iter().find(|(known, _)| known == number),
                _ => None,
            };
            if let Some((_, short)) = short {
                let text = String::from_utf8_lossy(text);
                parts.push(format!("{short}={}", text.replace(char::is_control, " ")));
            }
        }
    }
    Some(parts.join(", ").chars().take(SHOWN_CHARS_MAX).collect())
}
