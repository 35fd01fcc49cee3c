//! Style sheet, script and icon. They are part of the binary, and their URLs change with their
//! content, so that browsers cache them for good.

use crate::transport::body::Body;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use http::{HeaderValue, Response};
use model::tenant::TokenHash;

use super::brand::Brand;
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

/// The path of the operator's own style sheet, if there is one.
pub(super) fn brand_style_path(brand: &Brand) -> Option<String> {
    let sheet = brand.style.as_ref()?;
    Some(path("brand.css", sheet))
}

/// The path of the operator's logo, if there is one.
pub(super) fn logo_path(brand: &Brand) -> Option<String> {
    let logo = brand.logo.as_ref()?;
    Some(path_of("logo", TokenHash::of_parts(&[&logo.bytes])))
}

fn path(name: &str, content: &str) -> String {
    path_of(name, TokenHash::of(content))
}

fn path_of(name: &str, hash: TokenHash) -> String {
    let hash = hash.0;
    let short = hash
        .first_chunk::<9>()
        .map(|bytes| BASE64_URL_SAFE_NO_PAD.encode(bytes));
    format!("/assets/{name}?{}", short.unwrap_or_default())
}

async fn show(visit: Visit) -> Result<PageResponse, PageError> {
    const CSS: &str = "text/css; charset=utf-8";
    let brand = &visit.context.brand;
    let (kind, content) = match (visit.param("name"), &brand.style, &brand.logo) {
        ("app.css", _, _) => (CSS, Bytes::from_static(STYLE.as_bytes())),
        ("app.js", _, _) => (
            "text/javascript; charset=utf-8",
            Bytes::from_static(SCRIPT.as_bytes()),
        ),
        ("icon.svg", _, _) => ("image/svg+xml", Bytes::from_static(ICON.as_bytes())),
        ("brand.css", Some(sheet), _) => (CSS, Bytes::copy_from_slice(sheet.as_bytes())),
        ("logo", _, Some(logo)) => (logo.kind, logo.bytes.clone()),
        _ => return Err(PageError::NotFound),
    };
    let mut response = Response::new(Body::from(content));
    let headers = response.headers_mut();
    if visit.param("name") == "logo" {
        // Of an SVG that is asked for by itself no script runs, and it fetches nothing.
        let policy = "default-src 'none'; style-src 'unsafe-inline'; sandbox";
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    let long = HeaderValue::from_static("public, max-age=31536000, immutable");
    headers.insert(CACHE_CONTROL, long);
    Ok(response)
}
