//! Every answer that any test of this crate gets from an API is held against the document: its
//! status, its form, and every key in it. So is every body that was taken.

use std::sync::OnceLock;

use http::{HeaderMap, Method, StatusCode};
use serde_json::Value;

use super::schema::{faults, resolved};
use crate::dashboard;
use crate::openapi;
use crate::tests::harness::{Arrived, every_api};
use crate::transport::well_known;

const KEY_SET: &str = "/.well-known/willcall/{key_set}/jwks.json";

pub(super) fn document() -> &'static Value {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    DOCUMENT.get_or_init(|| openapi::document(&every_api()))
}

/// The path that stands for this one in the document, if any does.
fn documented(method: &Method, path: &str) -> Option<&'static str> {
    if well_known::key_set_at(path).is_some() {
        return Some(KEY_SET);
    }
    let paths = document()["paths"].as_object().unwrap();
    if let Some((own, _)) = paths.get_key_value(path).filter(|_| path != "/") {
        return Some(own);
    }
    if dashboard::is_for_pages(method, path) {
        return None;
    }
    let root = path.strip_prefix('/')?.split('/').next()?;
    let apis = every_api();
    let api = apis.iter().find(|api| api.roots.contains(&root))?;
    Some(api.route_at(method, path)?.path)
}

fn operation(method: &Method, path: &str) -> Option<(&'static str, &'static Value)> {
    let path = documented(method, path)?;
    let method = match *method == Method::HEAD {
        true => Method::GET,
        false => method.clone(),
    };
    let item = &document()["paths"][path];
    assert!(item.is_object(), "{path} is not in the document");
    Some((path, item.get(method.as_str().to_ascii_lowercase())?))
}

/// The form of a body without its parameters.
fn form(headers: &HeaderMap) -> &str {
    let form = headers.get("content-type");
    let form = form.map_or("", |form| form.to_str().unwrap());
    form.split(';').next().unwrap()
}

/// Panics if the document does not have this answer.
pub(crate) fn judge_answer(method: &Method, path: &str, arrived: &Arrived) {
    // Both are said of all routes at once.
    let is_aside = [
        StatusCode::MOVED_PERMANENTLY,
        StatusCode::INTERNAL_SERVER_ERROR,
    ];
    if is_aside.contains(&arrived.status) {
        return;
    }
    let Some((place, operation)) = operation(method, path) else {
        return;
    };
    let words = format!("{method} {place}: {arrived:?}");
    let response = &operation["responses"][arrived.status.as_str()];
    assert!(
        response.is_object(),
        "this status is not in the document: {words}"
    );
    if *method == Method::HEAD {
        return;
    }
    let Some(content) = resolved(document(), response).get("content") else {
        assert_eq!(arrived.body, "", "{words}");
        return;
    };
    let form = form(&arrived.headers);
    let content = &content[form];
    assert!(
        content.is_object(),
        "this form is not in the document: {words}"
    );
    // A file of lines has one object in each, and may have none.
    if form.ends_with("json") && !form.ends_with("ndjson") {
        let faults = faults(document(), &content["schema"], &arrived.json());
        assert_eq!(faults, [""; 0], "{words}");
    }
}

/// Panics if a body was taken that the document does not have. Bodies in which more is taken than
/// it says, as platforms do, are not judged.
pub(crate) fn judge_body(method: &Method, path: &str, body: &[u8], arrived: &Arrived) {
    let Some((place, operation)) = operation(method, path) else {
        return;
    };
    let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
    let is_closed = resolved(document(), schema)["additionalProperties"] == false;
    if !arrived.status.is_success() || !is_closed || body.is_empty() {
        return;
    }
    let body = serde_json::from_slice(body).unwrap();
    let faults = faults(document(), schema, &body);
    assert_eq!(faults, [""; 0], "{method} {place}: {body}");
}
