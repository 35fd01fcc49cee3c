//! Request bodies to values: JSON in every charset that Python and browsers share, and the two
//! media types of HTML forms.

use std::borrow::Cow;

use bytes::Bytes;
use encoding_rs::Encoding;
use http::HeaderMap;
use model::refusal::Refusal;

use super::faults::no_dictionary;
use super::json::{self, JsonObject, JsonValue};
use crate::transport::media_type::MediaType;
use crate::transport::query::Query;

/// Reads bodies in the charset they are in.
pub(super) trait Decode {
    /// The text of a body in its charset; UTF-8 if that is not known.
    fn decoded<'a>(&self, body: &'a [u8]) -> Result<Cow<'a, str>, Refusal>;
}

impl Decode for MediaType<'_> {
    fn decoded<'a>(&self, body: &'a [u8]) -> Result<Cow<'a, str>, Refusal> {
        let Some(label) = self.charset() else {
            return utf8(body);
        };
        let label = label.to_ascii_lowercase().replace('_', "-");
        match label.as_str() {
            "latin-1" | "latin1" | "iso-8859-1" | "iso8859-1" | "l1" | "cp819" => {
                Ok(body.iter().copied().map(char::from).collect())
            }
            "ascii" | "us-ascii" => match body.iter().position(|byte| !byte.is_ascii()) {
                None => utf8(body),
                Some(at) => Err(undecodable("ascii", body, at, "ordinal not in range(128)")),
            },
            _ => match Encoding::for_label(label.as_bytes()) {
                Some(encoding) if encoding != encoding_rs::UTF_8 => {
                    let (text, torn) = encoding.decode_with_bom_removal(body);
                    if torn {
                        let words = format!("'{label}' codec can't decode the body");
                        return Err(no_json(&words));
                    }
                    Ok(text)
                }
                Some(_) | None => utf8(body),
            },
        }
    }
}

/// The webhook fields in a body. `whole`: all are required.
pub(super) async fn read_fields(
    headers: &HeaderMap,
    body: &Bytes,
    whole: bool,
) -> Result<JsonObject<'static>, Refusal> {
    let form = MediaType::of(headers);
    match form.kind().as_ref() {
        "application/x-www-form-urlencoded" => {
            let text = form.decoded(body)?;
            let query = Query::read(&text)?;
            let pairs = query.iter();
            let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
            Ok(from_form(&pairs.collect::<Vec<_>>(), whole))
        }
        "multipart/form-data" => {
            let parts = form.parts(body).await.map_err(|words| {
                Refusal::Unreadable(format!("Multipart form parse error - {words}"))
            })?;
            Ok(from_form(&parts, whole))
        }
        _ if body.is_empty() => Ok(JsonObject::default()),
        "application/json" => {
            let object = read_json(&form.decoded(body)?)?.into_owned().into_object();
            object.map_err(|other| Refusal::Invalid(vec![no_dictionary(&other)]))
        }
        _ => Err(form.unknown()),
    }
}

pub(super) fn read_json(text: &str) -> Result<JsonValue<'_>, Refusal> {
    json::read(text).map_err(|problem| no_json(problem.0))
}

fn no_json(words: &str) -> Refusal {
    Refusal::Unreadable(format!("JSON parse error - {words}"))
}

fn utf8(body: &[u8]) -> Result<Cow<'_, str>, Refusal> {
    let error = match std::str::from_utf8(body) {
        Ok(text) => return Ok(text.into()),
        Err(error) => error,
    };
    let at = error.valid_up_to();
    let reason = match (error.error_len(), body.get(at)) {
        (None, _) => "unexpected end of data",
        (Some(_), Some(0x80..=0xc1 | 0xf5..=0xff)) => "invalid start byte",
        (Some(_), _) => "invalid continuation byte",
    };
    Err(undecodable("utf-8", body, at, reason))
}

fn undecodable(codec: &str, body: &[u8], at: usize, reason: &str) -> Refusal {
    let byte = body.get(at).copied().unwrap_or_default();
    no_json(&format!(
        "'{codec}' codec can't decode byte {byte:#04x} in position {at}: {reason}"
    ))
}

/// A form has only texts: a list is a repeated name, a missing one is empty, and an empty boolean
/// counts as not given.
fn from_form(form: &[(String, String)], whole: bool) -> JsonObject<'static> {
    let last = |name: &'static str| {
        let is_flag = matches!(name, "enabled" | "all_events");
        let found = form.iter().rev().find(|(own, _)| own == name);
        let found = found.filter(|(_, value)| !(is_flag && value.is_empty()));
        found.map(|(_, value)| (name, JsonValue::text(value.clone())))
    };
    let single = [
        "enabled",
        "target_url",
        "all_events",
        "action_types",
        "comment",
    ];
    let mut pairs: Vec<(&'static str, JsonValue<'static>)> =
        single.into_iter().filter_map(last).collect();
    let limit = form.iter().filter(|(name, _)| name == "limit_events");
    let limit: Vec<JsonValue<'static>> = limit
        .map(|(_, slug)| JsonValue::text(slug.clone()))
        .collect();
    if whole || !limit.is_empty() {
        pairs.push(("limit_events", JsonValue::List(limit)));
    }
    let whole = |(name, value): (&'static str, _)| (json::JsonText::whole(name), value);
    JsonObject::from_pairs(pairs.into_iter().map(whole).collect())
}

#[cfg(test)]
mod tests {
    use http::header::CONTENT_TYPE;

    use super::*;

    fn headers(form: &str) -> HeaderMap {
        HeaderMap::from_iter([(CONTENT_TYPE, form.parse().unwrap())])
    }

    async fn read(form: &str, body: &'static [u8]) -> Result<JsonObject<'static>, Refusal> {
        read_fields(&headers(form), &Bytes::from_static(body), true).await
    }

    #[tokio::test]
    async fn charsets_are_honoured_and_unknown_ones_are_utf_8() {
        let comment = |text: &'static str| Some(JsonValue::text(text));
        for (form, body, text) in [
            (
                "application/json",
                b"{\"comment\":\"\xc3\xa4\"}".as_slice(),
                "ä",
            ),
            (
                "Application/JSON; charset=latin-1",
                b"{\"comment\":\"\xe4\"}",
                "ä",
            ),
            (
                "application/json;charset=\"Windows-1252\"",
                b"{\"comment\":\"\x80\"}",
                "€",
            ),
            (
                "application/json; charset=nope",
                b"{\"comment\":\"\xc3\xa4\"}",
                "ä",
            ),
            (
                "application/json; charset=utf-16le",
                b"{\0\"\0c\0o\0m\0m\0e\0n\0t\0\"\0:\0\"\0\xac\x20\"\0}\0",
                "€",
            ),
        ] {
            assert_eq!(
                read(form, body).await.unwrap().get("comment").cloned(),
                comment(text)
            );
        }
    }

    #[tokio::test]
    async fn bytes_outside_their_charset_are_named_as_python_names_them() {
        for (form, body, words) in [
            (
                "application/json",
                b"{\"comment\": \"\xff\"}".as_slice(),
                "'utf-8' codec can't decode byte 0xff in position 13: invalid start byte",
            ),
            (
                "application/json",
                b"\"\xc3\"",
                "'utf-8' codec can't decode byte 0xc3 in position 1: invalid continuation byte",
            ),
            (
                "application/json",
                b"\"\xe2\x82",
                "'utf-8' codec can't decode byte 0xe2 in position 1: unexpected end of data",
            ),
            (
                "application/json; charset=ascii",
                b"\"\xe4\"",
                "'ascii' codec can't decode byte 0xe4 in position 1: ordinal not in range(128)",
            ),
        ] {
            let words = format!("JSON parse error - {words}");
            assert_eq!(read(form, body).await, Err(Refusal::Unreadable(words)));
        }
    }

    #[tokio::test]
    async fn both_forms_of_html_give_the_same_fields() {
        let urlencoded = b"comment=a+b&limit_events=x&limit_events=y&comment=%C3%A4";
        let multipart = b"--b\r\nContent-Disposition: form-data; name=\"comment\"\r\n\r\n\
            \xc3\xa4\r\n\
            --b\r\nContent-Disposition: form-data; name=\"limit_events\"\r\n\r\nx\r\n\
            --b\r\nContent-Disposition: form-data; name=\"limit_events\"\r\n\r\ny\r\n\
            --b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"f\"\r\n\r\n\
            z\r\n--b--\r\n";
        let one = read("application/x-www-form-urlencoded", urlencoded)
            .await
            .unwrap();
        let two = read("multipart/form-data; boundary=b", multipart)
            .await
            .unwrap();
        assert_eq!(one, two);
        assert_eq!(one.get("comment"), Some(&JsonValue::text("ä")));
        let limit = JsonValue::List(vec![JsonValue::text("x"), JsonValue::text("y")]);
        assert_eq!(one.get("limit_events"), Some(&limit));
    }

    #[tokio::test]
    async fn broken_multipart_is_refused_and_an_empty_one_is_an_empty_form() {
        let empty = read("multipart/form-data; boundary=b", b"x").await.unwrap();
        assert_eq!(
            empty.get("limit_events"),
            Some(&JsonValue::List(Vec::new()))
        );
        for (form, body) in [
            ("multipart/form-data", b"--b".as_slice()),
            ("multipart/form-data; boundary=", b"--b"),
            (
                "multipart/form-data; boundary=b",
                b"--b\r\nContent-Disposition",
            ),
            ("multipart/form-data; boundary=b", b"--b\r\n\r\nx"),
        ] {
            assert!(
                matches!(read(form, body).await, Err(Refusal::Unreadable(_))),
                "{form}"
            );
        }
    }

    #[tokio::test]
    async fn an_empty_body_is_an_empty_object_whatever_its_form() {
        assert_eq!(read("text/plain", b"").await, Ok(JsonObject::default()));
        assert_eq!(
            read("text/plain; x=1", b"x").await,
            Err(Refusal::UnknownForm("text/plain; x=1".to_owned()))
        );
    }

    mod fuzz;
}
