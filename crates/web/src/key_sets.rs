//! Public keys that calls are signed with, as sets of JSON Web Keys (RFC 7517): one for each
//! signature, under a name that nobody guesses, without a sign-in.
//!
//! Receivers and caches ask for it, so it is told how long it may be kept, and it has what is to be
//! known for as long: the key that signs, the one that will, and one that did until a moment ago.

use std::sync::Arc;

use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Method, Request, Response, StatusCode, request};
use model::contract::Frontend;
use model::limits::KEY_SET_AGE_S;
use model::refusal::Refusal;
use model::signing::key_set;
use model::time::Clock;
use tokio::time::Instant;

use crate::gateway::metrics::RequestMetrics;
use crate::gateway::store::{StoreHandle, refused};
use crate::transport::body::Body;
use crate::transport::host::vet_headers;

const JSON: &str = "application/json";

/// What these sets are made from.
pub(crate) struct KeySets {
    pub(crate) store: StoreHandle,
    pub(crate) clock: Clock,
    /// Names under which this server is reached, beside addresses and names without a dot.
    pub(crate) hosts: Vec<String>,
    pub(crate) metrics: Arc<RequestMetrics>,
}

pub(crate) async fn serve(
    sets: Arc<KeySets>,
    name: String,
    request: Request<Body>,
) -> Response<Body> {
    let began = Instant::now();
    let (head, _) = request.into_parts();
    let answer = answer(&sets, name, &head).await;
    let (status, took) = (answer.status(), began.elapsed());
    sets.metrics.request("key_set", status, took);
    tracing::debug!(status = status.as_u16(), ?took, "answered with public keys");
    answer
}

async fn answer(sets: &KeySets, name: String, head: &request::Parts) -> Response<Body> {
    let vetted = vet_headers(&head.headers, &head.uri, &sets.hosts);
    if let Err(Refusal::BadRequest(words)) = vetted {
        return detail(StatusCode::BAD_REQUEST, &words);
    }
    if ![Method::GET, Method::HEAD].contains(&head.method) {
        let mut answer = detail(StatusCode::METHOD_NOT_ALLOWED, "Only GET and HEAD.");
        let allow = HeaderValue::from_static("GET,HEAD");
        answer.headers_mut().insert(ALLOW, allow);
        return answer;
    }
    let asked = move |store: &dyn Frontend| store.published_signature(name.clone());
    match sets.store.try_ask(asked).await {
        Ok(Some(signature)) => {
            let set = key_set(&signature, sets.clock.now());
            let age = format!("public, max-age={KEY_SET_AGE_S}");
            let age = HeaderValue::try_from(age).ok();
            let form = HeaderValue::from_static("application/jwk-set+json");
            with_form(StatusCode::OK, set, form, age)
        }
        Ok(None) => detail(StatusCode::NOT_FOUND, "Not found."),
        Err(error) => {
            let refusal = refused(&error);
            let (status, seconds) =
                if let Refusal::Busy(seconds) | Refusal::Disk(_, seconds) = refusal {
                    (StatusCode::SERVICE_UNAVAILABLE, Some(seconds))
                } else {
                    (StatusCode::INTERNAL_SERVER_ERROR, None)
                };
            let mut answer = detail(status, "The keys cannot be read now.");
            if let Some(seconds) = seconds {
                let headers = answer.headers_mut();
                headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
            }
            answer
        }
    }
}

/// What nobody may keep.
fn detail(status: StatusCode, words: &str) -> Response<Body> {
    let body = serde_json::json!({ "detail": words }).to_string();
    let form = HeaderValue::from_static(JSON);
    let never = HeaderValue::from_static("no-store");
    with_form(status, body, form, Some(never))
}

fn with_form(
    status: StatusCode,
    body: String,
    form: HeaderValue,
    age: Option<HeaderValue>,
) -> Response<Body> {
    let mut answer = Response::new(Body::from(body));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, form);
    headers.extend(age.map(|age| (CACHE_CONTROL, age)));
    answer
}
