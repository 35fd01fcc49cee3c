//! Style sheet, script and icon. They are part of the binary, and their URLs change with their
//! content, so that browsers cache them for good.

use crate::transport::body::Body;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response};
use model::tenant::TokenHash;

use super::page::{PageAccess, PageRoute, get};
use super::response::{PageError, PageResponse};
use super::visit::Visit;

const STYLE: &str = include_str!("../../assets/app.css");
const SCRIPT: &str = include_str!("../../assets/app.js");
const ICON: &str = include_str!("../../assets/icon.svg");

pub(super) fn routes() -> Vec<PageRoute> {
    vec![get("asset", "/assets/{name}", PageAccess::Nothing, show)]
}

pub(super) fn style_path() -> String {
    path("app.css", STYLE)
}

pub(super) fn script_path() -> String {
    path("app.js", SCRIPT)
}

fn path(name: &str, content: &str) -> String {
    let hash = TokenHash::of(content).0;
    let short = hash
        .first_chunk::<9>()
        .map(|bytes| BASE64_URL_SAFE_NO_PAD.encode(bytes));
    format!("/assets/{name}?{}", short.unwrap_or_default())
}

async fn show(visit: Visit) -> Result<PageResponse, PageError> {
    let (kind, content) = match visit.param("name") {
        "app.css" => ("text/css; charset=utf-8", STYLE),
        "app.js" => ("text/javascript; charset=utf-8", SCRIPT),
        "icon.svg" => ("image/svg+xml", ICON),
        _ => return Err(PageError::NotFound),
    };
    let mut response = Response::new(Body::from(content));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    let long = HeaderValue::from_static("public, max-age=31536000, immutable");
    headers.insert(CACHE_CONTROL, long);
    Ok(response)
}
