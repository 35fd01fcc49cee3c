//! What shared changes ask of a transaction, on PostgreSQL.

use model::delivery::{CancelCause, DueDelivery};
use model::id::{DeliveryId, TenantId, WebhookId};
use model::idempotency::IdempotencyKey;
use model::lease::Slots;
use model::notification::{AcceptResult, NewNotification};
use model::time::{TimeBounds, Timestamp};

use crate::postgres::tx::PostgresTx;
use crate::postgres::{accept, due, envelopes, fan_out, locks, many, prune, schedule, unattempted};
use crate::sql::job_error::JobError;
use crate::sql::post_commit::PostCommit;
use crate::sql::row_budget::RowBudget;
use crate::sql::transaction::{PruneCursor, Transaction};
use crate::sql::{self, Connection};

impl Transaction for PostgresTx<'_> {
    fn conn(&self) -> Connection<'_> {
        Connection::Postgres(self.conn)
    }

    fn post_commit(&mut self) -> &mut PostCommit {
        self.post_commit
    }

    /// Later transactions see by the catalog's version that what is cached is out of date.
    fn forget_subscriptions(&mut self) {
        self.cache.accept.forget();
    }

    /// Nothing is kept that more events make wrong.
    fn forget_events(&mut self) {}

    fn lock_tenant(&mut self, tenant: TenantId) -> Result<(), JobError> {
        locks::take(self.conn, &locks::of_change(tenant))
    }

    fn schedule(&mut self, now: Timestamp) -> Result<Timestamp, JobError> {
        schedule::at(self.conn, now)
    }

    fn accept(&mut self, batch: &[NewNotification]) -> Result<Vec<AcceptResult>, JobError> {
        accept::accept(self, batch)
    }

    fn due_delivery(&mut self, id: DeliveryId) -> Result<Option<DueDelivery>, JobError> {
        due::one(self.conn, id)
    }

    fn defer_unattempted(&mut self, id: DeliveryId, due_at: Timestamp) -> Result<bool, JobError> {
        unattempted::defer(self.conn, id, due_at)
    }

    fn cancel_unattempted(
        &mut self,
        id: DeliveryId,
        cause: CancelCause,
        at: Timestamp,
    ) -> Result<bool, JobError> {
        unattempted::cancel(self.conn, id, cause, at)
    }

    fn cancel_some(
        &mut self,
        webhook: WebhookId,
        cause: CancelCause,
        at: Timestamp,
        limit: i64,
    ) -> Result<usize, JobError> {
        many::cancel_some(self.conn, webhook, cause, at, limit)
    }

    fn materialize(&mut self) -> Result<(), JobError> {
        Ok(())
    }

    fn materialized_upto(&mut self) -> Result<i64, JobError> {
        Ok(i64::MAX)
    }

    fn is_owed_inline(&mut self, _webhook: WebhookId) -> Result<bool, JobError> {
        Ok(false)
    }

    fn is_fan_out_left(&mut self) -> Result<bool, JobError> {
        fan_out::is_left(self.conn)
    }

    fn fan_out_before(&mut self, tenant: TenantId, upto: i64) -> Result<bool, JobError> {
        fan_out::step_before(self, tenant, upto)
    }

    fn may_owe(&mut self, tenant: TenantId, webhook: WebhookId) -> Result<bool, JobError> {
        sql::fan_out::may_owe(self.conn(), tenant, webhook)
    }

    /// A sequence gives none twice.
    fn keep_latest_id(&mut self) -> Result<(), JobError> {
        Ok(())
    }

    fn lock_idempotency_key(&mut self, key: &IdempotencyKey) -> Result<(), JobError> {
        locks::take(self.conn, &[locks::idempotency_key(key)])
    }

    fn slots(&self) -> Slots {
        self.slots.unwrap_or(Slots::NONE)
    }

    fn prune_cursor(&mut self) -> &mut Option<PruneCursor> {
        &mut self.cache.prune_cursor
    }

    fn drop_leftovers_of(
        &mut self,
        tenant: TenantId,
        budget: &mut RowBudget,
    ) -> Result<(), JobError> {
        prune::drop_leftovers_of(self.conn, tenant, budget)
    }

    fn drop_leftovers(&mut self, _: TimeBounds, budget: &mut RowBudget) -> Result<(), JobError> {
        budget.take(envelopes::drop_old(self.conn, budget.rows())?);
        Ok(())
    }
}
