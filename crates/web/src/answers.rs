//! Idempotency keys: the first answer under a key is kept, and given again for the same request.
//!
//! A key belongs to whoever holds the token. While its first request runs, others with the key
//! are turned away; that is known to this process only.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use model::contract::StoreError;
use model::limits::{IDEMPOTENCY_KEY_CHARS_MAX, KEPT_ANSWER_BYTES_MAX};
use model::query::KeptAnswer;
use model::refusal::Refusal;
use model::tenant::TokenHash;
use model::webhook::Headers;

use crate::route::Answer;
use crate::state::{Shared, locked, refused};

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
pub(crate) struct Running(Mutex<BTreeSet<(TokenHash, String)>>);

/// Holds a key while its request runs.
struct Hold {
    running: Arc<Running>,
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

/// Gives the answer kept for `key`, or runs the request and keeps what it answers. `request` is
/// what tells one request from another.
pub(crate) async fn once(
    shared: &Shared,
    holder: TokenHash,
    key: String,
    request: TokenHash,
    run: impl Future<Output = Answer>,
) -> Result<Answer, Refusal> {
    let hold = Hold::take(&shared.running, holder, &key).ok_or(Refusal::KeyRunning)?;
    let kept = shared.ask(|store| store.kept_answer(key.clone(), holder));
    if let Some(kept) = kept.await? {
        return if kept.request == request {
            Ok(replayed(kept))
        } else {
            Err(Refusal::KeyReused)
        };
    }
    let answer = run.await;
    if !NOT_KEPT.contains(&answer.status()) && answer.body().len() <= KEPT_ANSWER_BYTES_MAX {
        keep(shared, kept_form(&answer, key, holder, request)).await;
    }
    drop(hold);
    Ok(answer)
}

async fn keep(shared: &Shared, answer: KeptAnswer) {
    for _ in 0..KEEP_TRIES {
        let at = shared.clock.now();
        match shared
            .try_ask(|store| store.keep_answer(answer.clone(), at))
            .await
        {
            Ok(()) => return,
            Err(StoreError::Busy | StoreError::Full | StoreError::Unknown) => {
                tokio::time::sleep(KEEP_PAUSE).await;
            }
            Err(error) => {
                refused(&error);
                return;
            }
        }
    }
    tracing::warn!("an answer could not be kept for its idempotency key: the store is busy");
}

fn kept_form(answer: &Answer, key: String, holder: TokenHash, request: TokenHash) -> KeptAnswer {
    let pairs = answer.headers().iter();
    KeptAnswer {
        key,
        holder,
        request,
        status: answer.status().as_u16(),
        headers: Headers::from_pairs(pairs.map(|(name, value)| (name.as_str(), value.as_bytes()))),
        body: answer.body().clone(),
    }
}

fn replayed(kept: KeptAnswer) -> Answer {
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

impl Hold {
    fn take(running: &Arc<Running>, holder: TokenHash, key: &str) -> Option<Self> {
        let key = (holder, key.to_owned());
        let free = locked(&running.0).insert(key.clone());
        free.then(|| Self {
            running: Arc::clone(running),
            key,
        })
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        locked(&self.running.0).remove(&self.key);
    }
}
