//! Idempotency keys: the first answer under a key is kept, and given again for the same request.
//!
//! A key belongs to whoever holds the token. While its first request runs, others with the key
//! are turned away; that is known to this process only. What the request does to the store is
//! written together with the key: if the process ends before there is an answer, the repetition
//! does nothing a second time and makes the answer of what was done.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use model::contract::{Conflict, Frontend, ReplayRequest, ReplayResult, StoreError};
use model::idempotency::{IdempotencyKey, IdempotentOperation, IdempotentResult};
use model::limits::{IDEMPOTENCY_KEY_CHARS_MAX, STORED_RESPONSE_BYTES_MAX};
use model::notification::{AcceptResult, NewNotification};
use model::query::StoredResponse;
use model::refusal::Refusal;
use model::tenant::TokenHash;
use model::time::Timestamp;
use model::webhook::{Headers, NewWebhook, Webhook};

use crate::route::{AdmittedRequest, ApiResponse};
use crate::state::{Shared, refused};
use crate::sync::lock;

static HEADER: HeaderName = HeaderName::from_static("x-idempotency-key");

/// Answers that tell of a moment, not of the request: they are given afresh each time.
const NOT_KEPT: [StatusCode; 5] = [
    StatusCode::CONFLICT,
    StatusCode::TOO_MANY_REQUESTS,
    StatusCode::INTERNAL_SERVER_ERROR,
    StatusCode::SERVICE_UNAVAILABLE,
    StatusCode::REQUEST_TIMEOUT,
];

/// How often keeping an answer is tried when the store is busy, and the wait between.
const KEEP_TRIES: usize = 5;
const KEEP_PAUSE: Duration = Duration::from_millis(100);

/// The keys whose first request is running.
#[derive(Default)]
pub(crate) struct RunningKeys(Mutex<BTreeSet<(TokenHash, String)>>);

/// Holds a key while its request runs.
struct KeyGuard {
    running: Arc<RunningKeys>,
    key: (TokenHash, String),
}

/// The key a request carries, if it carries one.
pub(crate) fn key_of(headers: &HeaderMap) -> Result<Option<String>, Refusal> {
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

/// Gives the answer kept for `key`, or runs the request and keeps what it answers.
pub(crate) async fn respond_once(
    shared: &Shared,
    key: &IdempotencyKey,
    run: impl Future<Output = ApiResponse>,
) -> Result<ApiResponse, Refusal> {
    let hold = KeyGuard::take(&shared.running, key).ok_or(Refusal::KeyRunning)?;
    let kept = shared.ask(|store| store.stored_response(key.key.clone(), key.holder));
    match kept.await? {
        Some(kept) if kept.request != key.request => return Err(Refusal::KeyReused),
        Some(kept) if kept.status != 0 => return Ok(replayed(kept)),
        // It had its effect, and nobody lived to answer.
        Some(_) | None => {}
    }
    let answer = run.await;
    if !NOT_KEPT.contains(&answer.status()) && answer.body().len() <= STORED_RESPONSE_BYTES_MAX {
        keep(shared, kept_form(&answer, key)).await;
    }
    drop(hold);
    Ok(answer)
}

/// Hands in notifications under a key, once; answers under which names, and what became of each.
/// `part` counts how often the request had to try with other names.
pub(crate) async fn accept(
    shared: &Shared,
    key: &IdempotencyKey,
    batch: Vec<NewNotification>,
    part: u32,
) -> Result<Vec<(String, AcceptResult)>, StoreError> {
    let (at, count) = (shared.clock.now(), batch.len());
    let effect = IdempotentOperation::Accept { batch, part };
    match effected(shared, key, effect, at).await? {
        // Other entries of the same request were sound then: settings have changed.
        IdempotentResult::Accepted(all) if all.len() != count => Err(OTHER),
        IdempotentResult::Accepted(all) => Ok(all),
        IdempotentResult::Created(_)
        | IdempotentResult::Saved(_)
        | IdempotentResult::Replayed(_) => Err(OTHER),
    }
}

/// Makes a webhook, once if the request has a key. Without one it is not repeated if the answer is
/// lost: that could make two.
pub(crate) async fn create_webhook(
    request: &AdmittedRequest,
    webhook: NewWebhook,
    actor: String,
    at: Timestamp,
) -> Result<Webhook, StoreError> {
    let shared = &request.shared;
    let Some(key) = &request.key else {
        return shared.store.create_webhook(webhook, actor, at).await;
    };
    let effect = IdempotentOperation::CreateWebhook { webhook, actor };
    match effected(shared, key, effect, at).await? {
        IdempotentResult::Created(webhook) => Ok(*webhook),
        IdempotentResult::Accepted(_)
        | IdempotentResult::Saved(_)
        | IdempotentResult::Replayed(_) => Err(OTHER),
    }
}

/// Changes a webhook, once if the request has a key. With `answer` that is what is answered, where
/// a second request would not find the webhook.
pub(crate) async fn save_webhook(
    request: &AdmittedRequest,
    webhook: Webhook,
    actor: String,
    at: Timestamp,
    answer: Option<&ApiResponse>,
) -> Result<Webhook, StoreError> {
    let shared = &request.shared;
    let Some(key) = &request.key else {
        let ask = |store: &dyn Frontend| store.save_webhook(webhook.clone(), actor.clone(), at);
        return shared.try_ask(ask).await;
    };
    let answer = answer.map(|answer| Box::new(kept_form(answer, key)));
    let effect = IdempotentOperation::SaveWebhook {
        webhook: Box::new(webhook),
        actor,
        answer,
    };
    match effected(shared, key, effect, at).await? {
        IdempotentResult::Saved(webhook) => Ok(*webhook),
        IdempotentResult::Accepted(_)
        | IdempotentResult::Created(_)
        | IdempotentResult::Replayed(_) => Err(OTHER),
    }
}

/// Has deliveries sent again, once if the request has a key. Answers with those of steps before.
pub(crate) async fn replay(
    request: &AdmittedRequest,
    ask: ReplayRequest,
    counted: usize,
) -> Result<ReplayResult, StoreError> {
    let shared = &request.shared;
    let at = shared.clock.now();
    let Some(key) = &request.key else {
        let done = shared.try_ask(|store| store.replay(ask.clone(), at)).await;
        return done.map(|done| done.with(counted));
    };
    let effect = IdempotentOperation::Replay { ask, counted };
    match effected(shared, key, effect, at).await? {
        IdempotentResult::Replayed(done) => Ok(done),
        IdempotentResult::Accepted(_)
        | IdempotentResult::Created(_)
        | IdempotentResult::Saved(_) => Err(OTHER),
    }
}

/// What is known under the key came of something else.
const OTHER: StoreError = StoreError::Conflict(Conflict::IdempotencyKey);

async fn effected(
    shared: &Shared,
    key: &IdempotencyKey,
    effect: IdempotentOperation,
    at: Timestamp,
) -> Result<IdempotentResult, StoreError> {
    let once = |store: &dyn Frontend| store.run_idempotent(key.clone(), effect.clone(), at);
    shared.try_ask(once).await
}

async fn keep(shared: &Shared, answer: StoredResponse) {
    for _ in 0..KEEP_TRIES {
        let at = shared.clock.certain();
        match shared
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

fn kept_form(answer: &ApiResponse, key: &IdempotencyKey) -> StoredResponse {
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

fn replayed(kept: StoredResponse) -> ApiResponse {
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
