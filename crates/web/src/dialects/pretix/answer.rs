//! Responses in pretix's JSON: the format that the caller accepts, and links between pages.

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use model::limits::PAGE_ROWS_MAX;
use model::refusal::Refusal;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::json::JsonValue;
use super::python;
use crate::gateway::api::{AdmittedRequest, ApiResponse, RequestHead};
use crate::transport::media_type::text_of;

/// What routes that answer with a file are about.
pub(super) const EXPORT: &str = "Export";

const INDENT_MAX: i128 = 8;

pub(super) fn json(head: &RequestHead, status: StatusCode, value: &JsonValue<'_>) -> ApiResponse {
    let indent = accepted(head).unwrap_or(0);
    let mut answer = ApiResponse::new(Bytes::from(value.answered(indent)));
    *answer.status_mut() = status;
    let form = HeaderValue::from_static("application/json");
    answer.headers_mut().insert(CONTENT_TYPE, form);
    answer
}

pub(super) fn ok(request: &AdmittedRequest, value: &JsonValue<'_>) -> ApiResponse {
    json(&request.head, StatusCode::OK, value)
}

pub(super) fn empty(status: StatusCode) -> ApiResponse {
    let mut answer = ApiResponse::new(Bytes::new());
    *answer.status_mut() = status;
    answer
}

/// What is judged once it is known who asks: the query, and the form of the answer.
pub(super) fn admit(head: &RequestHead) -> Result<(), Refusal> {
    let mut pairs = head.query.iter();
    if pairs.any(|(name, value)| name.contains('\0') || value.contains('\0')) {
        let words = "Null characters are not allowed in the query.";
        return Err(Refusal::bad_request(words));
    }
    if is_export(head) {
        return Ok(());
    }
    let wanted = head.suffix.as_deref().or_else(|| head.query.get("format"));
    if wanted.is_some_and(|form| !form.is_empty() && form != "json") {
        return Err(Refusal::NotAName);
    }
    accepted(head).map(|_| ())
}

/// Whether a file is asked for, whose form is judged by whoever makes it.
fn is_export(head: &RequestHead) -> bool {
    let route = head.route.as_ref();
    route.is_some_and(|route| route.object == EXPORT)
}

/// By how many spaces the answer is to be indented, if JSON is accepted at all.
fn accepted(head: &RequestHead) -> Result<usize, Refusal> {
    let mut best: Option<(u8, usize)> = None;
    if !head.headers.contains_key(ACCEPT) {
        return Ok(0);
    }
    let headers = head.headers.get_all(ACCEPT).iter();
    let texts = headers.map(text_of);
    let text = texts.collect::<Vec<_>>().join(",");
    for media_type in text.split(',') {
        let mut parts = media_type.split(';');
        let name = parts.next().unwrap_or_default().trim().to_ascii_lowercase();
        let params: Vec<(&str, &str)> = parts.filter_map(|part| part.split_once('=')).collect();
        let plain = params.iter().all(|(name, _)| name.trim() == "q");
        let precedence = match name.as_str() {
            "*/*" => 0,
            "application/*" | "*/json" => 1,
            "application/json" => 2 + u8::from(!plain),
            _ => continue,
        };
        if best.is_none_or(|(highest, _)| precedence > highest) {
            best = Some((precedence, indent(&params)));
        }
    }
    best.map(|(_, indent)| indent).ok_or(Refusal::NotAcceptable)
}

fn indent(params: &[(&str, &str)]) -> usize {
    let wanted = params.iter().find(|(name, _)| name.trim() == "indent");
    let wanted = wanted.and_then(|(_, value)| python::int(value));
    usize::try_from(wanted.unwrap_or(0).clamp(0, INDENT_MAX)).unwrap_or(0)
}

/// How many rows a page has: as asked for, if that is a sensible number.
pub(super) fn page_size(head: &RequestHead) -> usize {
    let wanted = head.query.get("page_size").and_then(python::int);
    match wanted.and_then(|size| usize::try_from(size).ok()) {
        Some(size @ 1..=PAGE_ROWS_MAX) => size,
        Some(_) | None => PAGE_ROWS_MAX,
    }
}

/// This route with another value for one parameter of its query, or without it.
pub(super) fn link(head: &RequestHead, name: &str, value: Option<&str>) -> JsonValue<'static> {
    let others = head.query.iter().filter(|(own, _)| *own != name);
    let mut pairs: Vec<(&str, &str)> = others.collect();
    pairs.extend(value.map(|value| (name, value)));
    // Stable: several values of one name keep their order.
    pairs.sort_by(|one, other| one.0.cmp(other.0));
    let pair = |(name, value): (&str, &str)| format!("{}={}", quoted(name), quoted(value));
    let query: Vec<String> = pairs.into_iter().map(pair).collect();
    let mut link = format!("{}{}", head.origin(), head.path());
    if !query.is_empty() {
        link.push('?');
        link.push_str(&query.join("&"));
    }
    JsonValue::text(link)
}

/// As Python's `quote_plus`.
fn quoted(text: &str) -> String {
    const KEPT: &AsciiSet = &NON_ALPHANUMERIC
        .remove(b'_')
        .remove(b'.')
        .remove(b'-')
        .remove(b'~')
        .remove(b' ');
    utf8_percent_encode(text, KEPT)
        .to_string()
        .replace(' ', "+")
}
