//! Request bodies to fields: JSON, and the two media types of HTML forms, in which every value is a
//! text. Also the numbers of a query.

use bytes::Bytes;
use http::HeaderMap;
use model::refusal::Refusal;
use serde_json::{Map, Value};

use super::members::{self, Members};
use crate::gateway::api::RequestHead;
use crate::transport::media_type::MediaType;
use crate::transport::query::Query;

pub(super) const JSON: &str = "application/json";

/// The fields that a body gives a webhook. Lists and objects among them are empty: no field is
/// one, and what is in them is told by no answer.
pub(super) async fn read_fields(
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<Map<String, Value>, Refusal> {
    let form = MediaType::of(headers);
    match form.kind().as_ref() {
        JSON => {
            let no_object = || Refusal::Unreadable("The body must be a JSON object.".to_owned());
            let members = Members::read(text(body)?)?.ok_or_else(no_object)?;
            bounded(members.count())?;
            members.fields()
        }
        "application/x-www-form-urlencoded" => {
            let query = Query::read(text(body)?)?;
            bounded(query.iter().count())?;
            Ok(from_form(query.iter()))
        }
        "multipart/form-data" => {
            let parts = form.parts(body).await.map_err(|words| {
                Refusal::Unreadable(format!("The body is not a sound multipart form: {words}."))
            })?;
            bounded(parts.len())?;
            let parts = parts.iter();
            Ok(from_form(
                parts.map(|(name, value)| (name.as_str(), value.as_str())),
            ))
        }
        _ => Err(form.unknown()),
    }
}

fn bounded(count: usize) -> Result<(), Refusal> {
    members::bounded("A webhook", count).map_err(Refusal::BadRequest)
}

/// The text of a body: UTF-8, without the mark some put before it.
pub(super) fn text(body: &Bytes) -> Result<&str, Refusal> {
    let text = std::str::from_utf8(body)
        .map_err(|_| Refusal::Unreadable("The body is not UTF-8.".to_owned()))?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// Of a field that is given twice, the last counts, as in PHP.
fn from_form<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Map<String, Value> {
    pairs
        .map(|(name, value)| (name.to_owned(), Value::String(value.to_owned())))
        .collect()
}

/// A number of the query from 1 to `most`.
pub(super) fn number(
    head: &RequestHead,
    name: &str,
    usual: u64,
    most: u64,
) -> Result<u64, Refusal> {
    let Some(text) = head.query.get(name).filter(|text| !text.is_empty()) else {
        return Ok(usual);
    };
    let number = text.parse().ok();
    number
        .filter(|number| (1..=most).contains(number))
        .ok_or_else(|| {
            let bound = match most {
                u64::MAX => "at least 1".to_owned(),
                most => format!("between 1 and {most}"),
            };
            Refusal::invalid(name, format!("The {name} must be an integer {bound}."))
        })
}
