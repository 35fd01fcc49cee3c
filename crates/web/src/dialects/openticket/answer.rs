//! Responses in JSON, and links between pages.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, LINK};
use http::{HeaderValue, StatusCode};
use model::refusal::Refusal;
use serde::Serialize;

use crate::gateway::api::{AdmittedRequest, ApiResponse, RequestHead, ResponseFuture};

pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Result<ApiResponse, Refusal> {
    let body = serde_json::to_vec(body).map_err(|error| {
        tracing::error!(%error, "an answer cannot be written as JSON");
        Refusal::Internal
    })?;
    let mut answer = ApiResponse::new(Bytes::from(body));
    *answer.status_mut() = status;
    let form = HeaderValue::from_static("application/json");
    answer.headers_mut().insert(CONTENT_TYPE, form);
    // A nonce may be in it.
    let secret = HeaderValue::from_static("no-store");
    answer.headers_mut().insert(CACHE_CONTROL, secret);
    Ok(answer)
}

pub(super) fn ok(body: &impl Serialize) -> Result<ApiResponse, Refusal> {
    json(StatusCode::OK, body)
}

pub(super) fn empty() -> ApiResponse {
    let mut answer = ApiResponse::new(Bytes::new());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    answer
}

/// Every authenticated request is admitted.
pub(super) fn admit(_: &RequestHead) -> Result<(), Refusal> {
    Ok(())
}

/// Answers OPTIONS; the methods are in the `Allow` header.
pub(super) fn describe(_: AdmittedRequest) -> ResponseFuture {
    Box::pin(async { Ok(empty()) })
}

/// Adds the link to the next page: this route with another value for one parameter of its query.
pub(super) fn link_next(
    mut answer: ApiResponse,
    head: &RequestHead,
    name: &str,
    value: &str,
) -> ApiResponse {
    let others = head.query.iter().filter(|(own, _)| *own != name);
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    let query = query.extend_pairs(others.chain([(name, value)])).finish();
    let link = format!("<{}{}?{query}>; rel=\"next\"", head.origin(), head.path());
    if let Ok(link) = HeaderValue::try_from(link) {
        answer.headers_mut().insert(LINK, link);
    }
    answer
}

/// Whether the caller wants warnings.
pub(super) fn wants_hints(head: &RequestHead) -> bool {
    head.query.get("hints").is_some_and(|value| value == "1")
}
