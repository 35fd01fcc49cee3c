//! Idempotency keys: what is done once under a key, and what came of it.
//!
//! Effect and key are written in one transaction, so that after a crash there are both or none.
//! What came of the effect is kept with the key. The answer is made of it afterwards, as often as
//! it takes until one is kept as well.

use crate::notification::{AcceptResult, NewNotification};
use crate::query::StoredResponse;
use crate::replay::{ReplayRequest, ReplayResult};
use crate::tenant::TokenHash;
use crate::webhook::{NewWebhook, Webhook};

/// A key as one request uses it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey {
    pub key: String,
    /// Whose key it is: a hash of the credentials.
    pub holder: TokenHash,
    /// A hash of method, path and body: the same key must come with the same request.
    pub request: TokenHash,
}

/// What a request may do under a key.
#[derive(Debug, Clone)]
pub enum IdempotentOperation {
    /// As `Intake::accept`. A request that has to try again with other names does so as its second
    /// part, and so on from 0.
    Accept {
        batch: Vec<NewNotification>,
        part: u32,
    },
    /// As `Catalog::create_webhook`.
    CreateWebhook { webhook: NewWebhook, actor: String },
    /// As `Catalog::save_webhook`. Where the request would not find its way here a second time, its
    /// whole answer is kept at once.
    SaveWebhook {
        webhook: Box<Webhook>,
        actor: String,
        answer: Option<Box<StoredResponse>>,
    },
    /// As `Intake::replay`, after steps in which so many were counted. Only the last step is kept.
    Replay { ask: ReplayRequest, counted: usize },
}

/// What came of it, the first time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdempotentResult {
    /// Under which names notifications were handed in, and what became of each.
    Accepted(Vec<(String, AcceptResult)>),
    /// As it stands now.
    Created(Box<Webhook>),
    Saved(Box<Webhook>),
    /// With those of the steps before.
    Replayed(ReplayResult),
}
