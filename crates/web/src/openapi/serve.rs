//! Serving the OpenAPI document: without a sign-in, and so that caches may keep it. It says nothing
//! of this server but its version.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::{HeaderValue, Method, Request, Response, StatusCode, request};
use model::refusal::Refusal;
use model::tenant::TokenHash;
use tokio::time::Instant;

use super::document;
use crate::gateway::api::Api;
use crate::gateway::metrics::RequestMetrics;
use crate::transport::body::Body;
use crate::transport::host::vet_headers;

pub(crate) const PATH: &str = "/openapi.json";

/// For so long it need not be asked for again: it changes with the program only.
const AGE: &str = "public, max-age=300";

/// The document as it is served.
pub(crate) struct OpenApi {
    text: Bytes,
    /// What names this text.
    tag: String,
    /// Names under which this server is reached, beside addresses and names without a dot.
    hosts: Vec<String>,
    metrics: Arc<RequestMetrics>,
}

impl OpenApi {
    pub(crate) fn new(apis: &[Arc<Api>], hosts: Vec<String>, metrics: Arc<RequestMetrics>) -> Self {
        let text = document(apis).to_string();
        let hash = TokenHash::of(&text).0;
        let short = hash
            .first_chunk::<9>()
            .map(|bytes| BASE64_URL_SAFE_NO_PAD.encode(bytes));
        Self {
            text: Bytes::from(text),
            tag: format!("\"{}\"", short.unwrap_or_default()),
            hosts,
            metrics,
        }
    }
}

pub(crate) async fn serve(document: Arc<OpenApi>, request: Request<Body>) -> Response<Body> {
    let began = Instant::now();
    let (head, _) = request.into_parts();
    let mut answer = answer(&document, &head);
    let allow = HeaderValue::from_static("GET,HEAD");
    answer.headers_mut().insert(ALLOW, allow);
    let (status, took) = (answer.status(), began.elapsed());
    document.metrics.request("openapi", status, took);
    answer
}

fn answer(document: &OpenApi, head: &request::Parts) -> Response<Body> {
    let vetted = vet_headers(&head.headers, &head.uri, &document.hosts);
    if let Err(Refusal::BadRequest(words)) = vetted {
        return detail(StatusCode::BAD_REQUEST, &words);
    }
    if ![Method::GET, Method::HEAD].contains(&head.method) {
        return detail(StatusCode::METHOD_NOT_ALLOWED, "Only GET and HEAD.");
    }
    let mut answer = match has(head, &document.tag) {
        true => {
            let mut answer = Response::new(Body::empty());
            *answer.status_mut() = StatusCode::NOT_MODIFIED;
            answer
        }
        false => json(StatusCode::OK, document.text.clone()),
    };
    let headers = answer.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(AGE));
    headers.extend(
        HeaderValue::try_from(&document.tag)
            .ok()
            .map(|tag| (ETAG, tag)),
    );
    answer
}

/// Whether the caller has the text of this tag. Proxies that compress make it a weak one.
fn has(head: &request::Parts, tag: &str) -> bool {
    let lines = head.headers.get_all(IF_NONE_MATCH).iter();
    let mut named = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(str::trim);
    named.any(|own| own == "*" || own.strip_prefix("W/").unwrap_or(own) == tag)
}

/// What nobody may keep.
fn detail(status: StatusCode, words: &str) -> Response<Body> {
    let body = serde_json::json!({ "detail": words }).to_string();
    let mut answer = json(status, Bytes::from(body));
    let never = HeaderValue::from_static("no-store");
    answer.headers_mut().insert(CACHE_CONTROL, never);
    answer
}

fn json(status: StatusCode, text: Bytes) -> Response<Body> {
    let mut answer = Response::new(Body::from(text));
    *answer.status_mut() = status;
    let form = HeaderValue::from_static("application/json");
    answer.headers_mut().insert(CONTENT_TYPE, form);
    answer
}
