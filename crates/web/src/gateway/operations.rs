//! Writes of handlers that run once for each idempotency key. Without a key they run each time.

use model::contract::{Conflict, Frontend, ReplayRequest, ReplayResult, StoreError};
use model::idempotency::{IdempotencyKey, IdempotentOperation, IdempotentResult};
use model::notification::{AcceptResult, NewNotification};
use model::refusal::Refusal;
use model::time::Timestamp;
use model::webhook::{NewWebhook, Webhook};

use super::api::{AdmittedRequest, ApiResponse};
use super::context::Context;
use super::idempotency::stored_form;
use super::store::refused;

/// How often a change is retried because somebody else changed the webhook meanwhile.
pub(crate) const SAVE_TRIES: usize = 8;

/// Accepts notifications once for a key. Returns the name and the result of each. `part` counts how
/// often the request had to try with other names.
pub(crate) async fn accept(
    context: &Context,
    key: &IdempotencyKey,
    batch: Vec<NewNotification>,
    part: u32,
) -> Result<Vec<(String, AcceptResult)>, StoreError> {
    let (at, count) = (context.clock.now(), batch.len());
    let effect = IdempotentOperation::Accept { batch, part };
    match effected(context, key, effect, at).await? {
        // Other entries of the same request were sound then: settings have changed.
        IdempotentResult::Accepted(all) if all.len() != count => Err(OTHER),
        IdempotentResult::Accepted(all) => Ok(all),
        IdempotentResult::Created(_)
        | IdempotentResult::Saved(_)
        | IdempotentResult::Replayed(_) => Err(OTHER),
    }
}

/// Creates a webhook. Without a key it is not repeated if the answer is lost: that could create
/// two.
pub(crate) async fn create_webhook(
    request: &AdmittedRequest,
    webhook: NewWebhook,
    actor: String,
    at: Timestamp,
) -> Result<Webhook, StoreError> {
    let context = &request.context;
    let Some(key) = &request.key else {
        return context.store.get().create_webhook(webhook, actor, at).await;
    };
    let effect = IdempotentOperation::CreateWebhook { webhook, actor };
    match effected(context, key, effect, at).await? {
        IdempotentResult::Created(webhook) => Ok(*webhook),
        IdempotentResult::Accepted(_)
        | IdempotentResult::Saved(_)
        | IdempotentResult::Replayed(_) => Err(OTHER),
    }
}

/// Saves a webhook. `answer` is the response to store where a repeated request would not find the
/// webhook.
async fn save_webhook(
    request: &AdmittedRequest,
    webhook: Webhook,
    actor: String,
    at: Timestamp,
    answer: Option<&ApiResponse>,
) -> Result<Webhook, StoreError> {
    let context = &request.context;
    let Some(key) = &request.key else {
        let ask = |store: &dyn Frontend| store.save_webhook(webhook.clone(), actor.clone(), at);
        return context.store.try_ask(ask).await;
    };
    let answer = answer.map(|answer| Box::new(stored_form(answer, key)));
    let effect = IdempotentOperation::SaveWebhook {
        webhook: Box::new(webhook),
        actor,
        answer,
    };
    match effected(context, key, effect, at).await? {
        IdempotentResult::Saved(webhook) => Ok(*webhook),
        IdempotentResult::Accepted(_)
        | IdempotentResult::Created(_)
        | IdempotentResult::Replayed(_) => Err(OTHER),
    }
}

/// Reads the webhook, applies `edit`, and saves it if that changed it; again if somebody else
/// changed it meanwhile.
pub(crate) async fn edit_webhook(
    request: &AdmittedRequest,
    find: impl AsyncFn(&AdmittedRequest) -> Result<Webhook, Refusal>,
    edit: impl Fn(&Webhook, Timestamp) -> Result<Webhook, Refusal>,
    answer: Option<&ApiResponse>,
) -> Result<Webhook, Refusal> {
    for _ in 0..SAVE_TRIES {
        let old = find(request).await?;
        let at = request.context.clock.now();
        let new = edit(&old, at)?;
        if new == old {
            return Ok(old);
        }
        match save_webhook(request, new, request.editor_of(&old), at, answer).await {
            Err(StoreError::Stale) => {}
            saved => return saved.map_err(|error| refused(&error)),
        }
    }
    Err(refused(&StoreError::Stale))
}

/// Replays deliveries. The count includes `counted`, those of earlier steps.
pub(crate) async fn replay(
    request: &AdmittedRequest,
    ask: ReplayRequest,
    counted: usize,
) -> Result<ReplayResult, StoreError> {
    let context = &request.context;
    let at = context.clock.now();
    let Some(key) = &request.key else {
        let done = context
            .store
            .try_ask(|store| store.replay(ask.clone(), at))
            .await;
        return done.map(|done| done.with(counted));
    };
    let effect = IdempotentOperation::Replay { ask, counted };
    match effected(context, key, effect, at).await? {
        IdempotentResult::Replayed(done) => Ok(done),
        IdempotentResult::Accepted(_)
        | IdempotentResult::Created(_)
        | IdempotentResult::Saved(_) => Err(OTHER),
    }
}

/// The key was used for another operation.
const OTHER: StoreError = StoreError::Conflict(Conflict::IdempotencyKey);

async fn effected(
    context: &Context,
    key: &IdempotencyKey,
    effect: IdempotentOperation,
    at: Timestamp,
) -> Result<IdempotentResult, StoreError> {
    let once = |store: &dyn Frontend| store.run_idempotent(key.clone(), effect.clone(), at);
    context.store.try_ask(once).await
}
