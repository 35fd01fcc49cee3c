//! Intake: what any node takes in. Each is durable when it is answered.

use crate::contract::StoreFuture;
use crate::id::{DeliveryId, TenantId};
use crate::idempotency::{IdempotencyKey, IdempotentOperation, IdempotentResult};
use crate::notification::{AcceptResult, NewNotification};
use crate::query::StoredResponse;
use crate::replay::{ReplayRequest, ReplayResult};
use crate::tenant::TokenHash;
use crate::time::Timestamp;

/// What any node takes in. All of it is safe to repeat.
pub trait Intake: Send + Sync {
    /// Writes down notifications and all their deliveries, in the order given; one answer each. A
    /// repetition and a contradiction are answers, not errors.
    ///
    /// Errors: those of a change. `Busy` also while more than `limits::UNMATERIALIZED_MAX`
    /// deliveries of one of the tenants are still to be spread over its webhooks.
    fn accept(&self, batch: Vec<NewNotification>) -> StoreFuture<Vec<AcceptResult>>;

    /// Makes deliveries due at `at` once more; those that had ended begin a new round. For all but
    /// `One` at most `limits::BULK_STEP_MAX` deliveries: repeat while there is more. An unknown
    /// or disabled webhook is an answer.
    ///
    /// Errors: those of a change.
    fn replay(&self, ask: ReplayRequest, at: Timestamp) -> StoreFuture<ReplayResult>;

    /// Cancels these pending deliveries because somebody asked, and writes that into the audit
    /// log; at most `limits::BULK_STEP_MAX`. Those that are not pending, or not the tenant's,
    /// stay as they are. Answers how many it was done to.
    ///
    /// Errors: those of a change.
    fn cancel_deliveries(
        &self,
        tenant: TenantId,
        deliveries: Vec<DeliveryId>,
        actor: String,
        at: Timestamp,
    ) -> StoreFuture<usize>;

    /// Does something and keeps what came of it under the key, in one transaction. What is known
    /// under the key already is answered, and nothing is done. A key is known for
    /// `limits::IDEMPOTENCY_RETENTION_MS` of the schedule's time, however clocks are set.
    ///
    /// Errors: those of a change; `Conflict(IdempotencyKey)` if the key came with another request;
    /// those of its operation.
    fn run_idempotent(
        &self,
        key: IdempotencyKey,
        effect: IdempotentOperation,
        at: Timestamp,
    ) -> StoreFuture<IdempotentResult>;

    /// The answer that was given under a key, if one is kept.
    ///
    /// Errors: those of a read.
    fn stored_response(
        &self,
        key: String,
        holder: TokenHash,
    ) -> StoreFuture<Option<StoredResponse>>;

    /// Keeps the first answer given under a key, be the key known or not; a second changes nothing.
    ///
    /// Errors: those of a change.
    fn store_response(&self, answer: StoredResponse, at: Timestamp) -> StoreFuture<()>;
}
