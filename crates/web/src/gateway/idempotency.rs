//! Idempotency keys: the first response under a key is stored, and returned again for the same
//! request.
//!
//! A key belongs to the holder of a token. While its first request runs, others with the key are
//! refused; only this process knows that. What the request writes is committed together with the
//! key: if the process ends before it responds, a repeated request writes nothing and responds
//! with what was done.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use model::contract::StoreError;
use model::idempotency::IdempotencyKey;
use model::limits::{IDEMPOTENCY_KEY_CHARS_MAX, STORED_RESPONSE_BYTES_MAX};
use model::mutation::{Mutation, is_on};
use model::query::StoredResponse;
use model::refusal::Refusal;
use model::tenant::TokenHash;
use model::webhook::Headers;

use super::api::{ApiResponse, RequestHead};
use super::context::Context;
use super::store::refused;
use crate::sync::lock;

static HEADER: HeaderName = HeaderName::from_static("x-idempotency-key");

/// Responses that depend on the moment, not on the request: they are not stored.
const NOT_STORED: [StatusCode; 5] = [
    StatusCode::CONFLICT,
    StatusCode::TOO_MANY_REQUESTS,
    StatusCode::INTERNAL_SERVER_ERROR,
    StatusCode::SERVICE_UNAVAILABLE,
    StatusCode::REQUEST_TIMEOUT,
];

/// How often storing a response is tried when the store is busy, and the wait between.
const KEEP_TRIES: usize = 5;
const KEEP_PAUSE: Duration = Duration::from_millis(100);

/// The keys whose first request is still running.
#[derive(Default)]
pub(super) struct RunningKeys(Mutex<BTreeSet<(TokenHash, String)>>);

/// Holds a key while its request runs.
struct KeyGuard {
    running: Arc<RunningKeys>,
    key: (TokenHash, String),
}

/// The key of a request, if it has one.
pub(super) fn key_of(headers: &HeaderMap) -> Result<Option<String>, Refusal> {
    let Some(value) = headers.get(&HEADER) else {
        return Ok(None);
    };
    // Any byte is some character of Latin-1.
    let key: String = value.as_bytes().iter().copied().map(char::from).collect();
    if key.chars().count() > IDEMPOTENCY_KEY_CHARS_MAX {
        let words = format!(
            "The header X-Idempotency-Key may have at most {IDEMPOTENCY_KEY_CHARS_MAX} characters."
        );
        return Err(Refusal::BadRequest(words));
    }
    Ok((!key.is_empty()).then_some(key))
}

/// Returns the response stored under `key`, or runs the request and stores its response.
pub(super) async fn respond_once(
    context: &Context,
    running: &Arc<RunningKeys>,
    key: &IdempotencyKey,
    run: impl Future<Output = ApiResponse>,
) -> Result<ApiResponse, Refusal> {
    let hold = KeyGuard::take(running, key).ok_or(Refusal::KeyRunning)?;
    let kept = context
        .store
        .ask(|store| store.stored_response(key.key.clone(), key.holder));
    match kept.await? {
        Some(kept) if kept.request != key.request => return Err(Refusal::KeyReused),
        Some(kept) if kept.status != 0 && !is_on(Mutation::RepeatIdempotencyKey) => {
            return Ok(to_response(kept));
        }
        // It was executed, but the process ended before it responded.
        Some(_) | None => {}
    }
    let answer = run.await;
    if !NOT_STORED.contains(&answer.status()) && answer.body().len() <= STORED_RESPONSE_BYTES_MAX {
        keep(context, stored_form(&answer, key)).await;
    }
    drop(hold);
    Ok(answer)
}

/// What tells one request from another under the same idempotency key.
pub(super) fn fingerprint(head: &RequestHead, body: &Bytes) -> TokenHash {
    let path = head.path();
    let path = path.strip_suffix('/').unwrap_or(path);
    let query = head.uri.query().unwrap_or_default();
    let method = head.method.as_str();
    TokenHash::of_parts(&[method.as_bytes(), path.as_bytes(), query.as_bytes(), body])
}

async fn keep(context: &Context, answer: StoredResponse) {
    for _ in 0..KEEP_TRIES {
        let at = context.clock.certain();
        match context
            .store
            .try_ask(|store| store.store_response(answer.clone(), at))
            .await
        {
            Ok(()) => return,
            Err(StoreError::Busy | StoreError::Disk(_) | StoreError::Unknown) => {
                tokio::time::sleep(KEEP_PAUSE).await;
            }
            Err(error) => {
                refused(&error);
                return;
            }
        }
    }
    tracing::warn!(
        "an answer could not be kept for its idempotency key: the store does not take it"
    );
}

/// A response as it is stored under its key.
pub(super) fn stored_form(answer: &ApiResponse, key: &IdempotencyKey) -> StoredResponse {
    let pairs = answer.headers().iter();
    StoredResponse {
        key: key.key.clone(),
        holder: key.holder,
        request: key.request,
        status: answer.status().as_u16(),
        headers: Headers::from_pairs(pairs.map(|(name, value)| (name.as_str(), value.as_bytes()))),
        body: answer.body().clone(),
    }
}

fn to_response(kept: StoredResponse) -> ApiResponse {
    let mut answer: Response<Bytes> = Response::new(kept.body);
    *answer.status_mut() =
        StatusCode::from_u16(kept.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in kept.headers.iter() {
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name), HeaderValue::from_bytes(value))
        {
            answer.headers_mut().append(name, value);
        }
    }
    answer
}

impl KeyGuard {
    fn take(running: &Arc<RunningKeys>, key: &IdempotencyKey) -> Option<Self> {
        let key = (key.holder, key.key.clone());
        let free = lock(&running.0).insert(key.clone());
        free.then(|| Self {
            running: Arc::clone(running),
            key,
        })
    }
}

impl Drop for KeyGuard {
    fn drop(&mut self) {
        lock(&self.running.0).remove(&self.key);
    }
}
