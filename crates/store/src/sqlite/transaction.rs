//! What shared changes ask of a transaction, on SQLite.

use model::delivery::{CancelCause, DueDelivery};
use model::id::{DeliveryId, TenantId, WebhookId};
use model::idempotency::IdempotencyKey;
use model::lease::Slots;
use model::notification::{AcceptResult, NewNotification};
use model::time::{TimeBounds, Timestamp};

use crate::sql::job_error::JobError;
use crate::sql::post_commit::PostCommit;
use crate::sql::row_budget::RowBudget;
use crate::sql::transaction::{PruneCursor, Transaction};
use crate::sql::{self, Connection};
use crate::sqlite::tx::Tx;
use crate::sqlite::{accept, due, fan_out, leftovers, unattempted};

impl Transaction for Tx<'_> {
    fn conn(&self) -> Connection<'_> {
        Connection::Sqlite(self.conn)
    }

    fn post_commit(&mut self) -> &mut PostCommit {
        self.post_commit
    }

    fn forget_subscriptions(&mut self) {
        self.cache.subscriptions.forget();
    }

    fn forget_events(&mut self) {
        self.cache.events.forget();
    }

    fn schedule(&mut self, now: Timestamp) -> Result<Timestamp, JobError> {
        self.schedule_at(now)
    }

    fn accept(&mut self, batch: &[NewNotification]) -> Result<Vec<AcceptResult>, JobError> {
        accept::accept(self, batch)
    }

    fn due_delivery(&mut self, id: DeliveryId) -> Result<Option<DueDelivery>, JobError> {
        due::one(self.conn, id)
    }

    fn defer_unattempted(&mut self, id: DeliveryId, due_at: Timestamp) -> Result<bool, JobError> {
        unattempted::defer(self, id, due_at)
    }

    fn cancel_unattempted(
        &mut self,
        id: DeliveryId,
        cause: CancelCause,
        at: Timestamp,
    ) -> Result<bool, JobError> {
        unattempted::cancel(self, id, cause, at)
    }

    fn cancel_some(
        &mut self,
        webhook: WebhookId,
        cause: CancelCause,
        at: Timestamp,
        limit: i64,
    ) -> Result<usize, JobError> {
        unattempted::cancel_some(self, webhook, cause, at, limit)
    }

    fn materialize(&mut self) -> Result<(), JobError> {
        unattempted::materialize(self)
    }

    fn materialized_upto(&mut self) -> Result<i64, JobError> {
        unattempted::materialized_upto(self)
    }

    fn is_owed_inline(&mut self, webhook: WebhookId) -> Result<bool, JobError> {
        Ok(unattempted::not_materialized(self)?.contains_key(&webhook))
    }

    fn is_fan_out_left(&mut self) -> Result<bool, JobError> {
        fan_out::is_left(self)
    }

    fn fan_out_before(&mut self, tenant: TenantId, upto: i64) -> Result<bool, JobError> {
        fan_out::step_before(self, tenant, upto)
    }

    fn may_owe(&mut self, tenant: TenantId, webhook: WebhookId) -> Result<bool, JobError> {
        sql::fan_out::may_owe(self.conn(), tenant, webhook)
    }

    fn keep_latest_id(&mut self) -> Result<(), JobError> {
        Tx::keep_latest_id(self)
    }

    /// One transaction writes at a time.
    fn lock_tenant(&mut self, _tenant: TenantId) -> Result<(), JobError> {
        Ok(())
    }

    fn lock_idempotency_key(&mut self, _key: &IdempotencyKey) -> Result<(), JobError> {
        Ok(())
    }

    fn slots(&self) -> Slots {
        Slots::ALL
    }

    fn prune_cursor(&mut self) -> &mut Option<PruneCursor> {
        &mut self.cache.prune_cursor
    }

    /// Ids are those of all tenants, so that nothing can be told of one.
    fn drop_leftovers_of(
        &mut self,
        _tenant: TenantId,
        _budget: &mut RowBudget,
    ) -> Result<(), JobError> {
        Ok(())
    }

    fn drop_leftovers(&mut self, _now: TimeBounds, budget: &mut RowBudget) -> Result<(), JobError> {
        leftovers::drop_all(self, budget)
    }
}
