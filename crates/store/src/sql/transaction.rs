//! The transaction that a change runs in, whichever engine has it.

use model::delivery::{CancelCause, DueDelivery};
use model::id::{DeliveryId, NotificationId, TenantId, WebhookId};
use model::idempotency::IdempotencyKey;
use model::lease::Slots;
use model::notification::{AcceptResult, NewNotification};
use model::time::{TimeBounds, Timestamp};

use crate::sql::job_error::JobError;
use crate::sql::post_commit::PostCommit;
use crate::sql::row_budget::RowBudget;
use crate::sql::value::Value;
use crate::sql::{Connection, Statement};

/// What shared changes ask of the transaction they run in. Changes of the catalog take turns: what
/// one reads no other changes before it has ended.
pub(crate) trait Transaction {
    fn conn(&self) -> Connection<'_>;

    /// What is told once it is durable.
    fn post_commit(&mut self) -> &mut PostCommit;

    /// The filter of a webhook changes: nothing that is known of subscriptions holds.
    fn forget_subscriptions(&mut self);

    /// An event was added: nothing that is known of events holds.
    fn forget_events(&mut self);

    /// Schedule time when the wall clock says `now`.
    fn schedule(&mut self, now: Timestamp) -> Result<Timestamp, JobError>;

    /// Takes in notifications, in the order given.
    fn accept(&mut self, batch: &[NewNotification]) -> Result<Vec<AcceptResult>, JobError>;

    /// A pending delivery; `None` if it is not pending.
    fn due_delivery(&mut self, id: DeliveryId) -> Result<Option<DueDelivery>, JobError>;

    /// The delivery waits until `due_at`, if it is unattempted. Answers whether it was.
    fn defer_unattempted(&mut self, id: DeliveryId, due_at: Timestamp) -> Result<bool, JobError>;

    /// Cancels the delivery, if it is unattempted. Answers whether it was.
    fn cancel_unattempted(
        &mut self,
        id: DeliveryId,
        cause: CancelCause,
        at: Timestamp,
    ) -> Result<bool, JobError>;

    /// Cancels at most `limit` of the deliveries that a webhook has pending. Answers how many it
    /// did: fewer if those were all.
    fn cancel_some(
        &mut self,
        webhook: WebhookId,
        cause: CancelCause,
        at: Timestamp,
        limit: i64,
    ) -> Result<usize, JobError>;

    /// Every unattempted delivery but those of the fan-out has a row from here on.
    fn materialize(&mut self) -> Result<(), JobError>;

    /// Up to and with which notification every delivery has a row, but for those of the fan-out.
    fn materialized_upto(&mut self) -> Result<i64, JobError>;

    /// Whether the webhook is owed a delivery that has no row, but for those of the fan-out.
    fn is_owed_inline(&mut self, webhook: WebhookId) -> Result<bool, JobError>;

    /// Whether any notification is still to be spread over its webhooks.
    fn is_fan_out_left(&mut self) -> Result<bool, JobError>;

    /// One step of the tenant's fan-out, if its first notification is not above `upto`. Answers
    /// whether it was so.
    fn fan_out_before(&mut self, tenant: TenantId, upto: i64) -> Result<bool, JobError>;

    /// Whether the disabled webhook may be owed something that is still to be spread.
    fn may_owe(&mut self, tenant: TenantId, webhook: WebhookId) -> Result<bool, JobError>;

    /// No id of a notification is given again, whatever is removed.
    fn keep_latest_id(&mut self) -> Result<(), JobError>;

    /// Nobody changes who wants what of the tenant, and nothing is accepted for it, until the
    /// transaction has ended.
    fn lock_tenant(&mut self, tenant: TenantId) -> Result<(), JobError>;

    /// Nobody else runs or looks for a request under this key until the transaction has ended.
    fn lock_idempotency_key(&mut self, key: &IdempotencyKey) -> Result<(), JobError>;

    /// The slots that whoever runs it may work on.
    fn slots(&self) -> Slots;

    /// Where pruning goes on.
    fn prune_cursor(&mut self) -> &mut Option<PruneCursor>;

    /// Removes what only notifications older than the tenant's oldest one needed, where that can be
    /// told tenant by tenant.
    fn drop_leftovers_of(
        &mut self,
        tenant: TenantId,
        budget: &mut RowBudget,
    ) -> Result<(), JobError>;

    /// Removes what only notifications older than the oldest one of all needed.
    fn drop_leftovers(&mut self, now: TimeBounds, budget: &mut RowBudget) -> Result<(), JobError>;
}

/// Where the next step of pruning goes on.
#[derive(Debug, Clone, Copy)]
pub(crate) enum PruneCursor {
    /// In the log of this webhook, with this notification.
    Log(WebhookId, NotificationId),
    /// Among notifications of this tenant that no webhook wanted.
    Unwanted(TenantId),
    /// Among tallies of attempts, after so many steps.
    Tallies(u32),
}

impl dyn Transaction + '_ {
    /// Runs a change that is kept prepared. Answers how many rows it changed.
    pub(crate) fn execute(
        &self,
        statement: Statement,
        values: &[Value<'_>],
    ) -> Result<usize, JobError> {
        self.conn().execute(statement, values)
    }

    /// Inserts a row. Answers its id.
    pub(crate) fn insert(
        &self,
        statement: Statement,
        values: &[Value<'_>],
    ) -> Result<i64, JobError> {
        self.conn().insert(statement, values)
    }
}

/// Removes some rows by a statement that takes a time or an id, before which they are, and how many
/// rows at most.
pub(crate) fn drop_some(
    tx: &dyn Transaction,
    sql: Statement,
    before: i64,
    budget: &mut RowBudget,
) -> Result<(), JobError> {
    let dropped = tx.execute(sql, values![before, budget.rows()])?;
    budget.take(dropped);
    Ok(())
}
