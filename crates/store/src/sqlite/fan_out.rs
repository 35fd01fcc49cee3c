//! Fan-out on SQLite: what the writer knows of it, and the rows of a step. What a step is, is in
//! `sql/fan_out.rs`.

use std::sync::Arc;

use model::contract::StoreError;
use model::id::{DeliveryId, NotificationId, TenantId, WebhookId};
use model::limits::INTAKE_BATCH_MAX;
use rusqlite::OptionalExtension;

use crate::sql::fan_out::{FanOutTransaction, NotEnabled, StepDone};
use crate::sql::job_error::JobError;
use crate::sql::{fan_out, webhook_list};
use crate::sqlite::fan_out_cache::{FanOut, OpenBatch, read};
use crate::sqlite::tx::Tx;
use crate::sqlite::unattempted_rows;

statements! {
    BEGIN = "insert into listing (tenant_id, reached, owed) values (?1, 0, 0)";
    FOR = "insert into audience (listing_id, webhooks) values (?1, ?2)";
    ADD = "insert into wide (listing_id, notification_id) values (?1, ?2)";
    OWE = "update listing set owed = owed + ?2 where id = ?1";
    DISABLED = "select disabled_at, disabled_cause from webhook where id = ?1";
}

/// `Busy` for a tenant with too much left to materialize. To be asked before anything is written.
pub(crate) fn vet(tx: &mut Tx<'_>, tenant: TenantId) -> Result<(), JobError> {
    match fan_out(tx)?.has_much(tenant) {
        true => Err(JobError::Refused(StoreError::Busy)),
        false => Ok(()),
    }
}

/// Whether anything is left to materialize.
pub(crate) fn is_left(tx: &mut Tx<'_>) -> Result<bool, JobError> {
    Ok(fan_out(tx)?.is_left())
}

/// Records the deliveries of a new notification, to be materialized in steps.
pub(crate) fn record_owed(
    tx: &mut Tx<'_>,
    tenant: TenantId,
    notification: i64,
    webhooks: &Arc<[WebhookId]>,
) -> Result<(), JobError> {
    let joined = fan_out(tx)?.open.as_mut().and_then(|open| {
        let same = open.tenant == tenant
            && open.notifications < INTAKE_BATCH_MAX
            && (Arc::ptr_eq(&open.webhooks, webhooks) || open.webhooks == *webhooks);
        open.notifications += usize::from(same);
        same.then_some(open.id)
    });
    let id = match joined {
        Some(id) => id,
        None => begin(tx, tenant, webhooks)?,
    };
    tx.hot.get(tx.conn, ADD)?.execute([id, notification])?;
    let count = i64::try_from(webhooks.len()).unwrap_or(i64::MAX);
    tx.hot.get(tx.conn, OWE)?.execute([id, count])?;
    fan_out(tx)?.add(tenant, webhooks.len());
    Ok(())
}

fn begin(tx: &mut Tx<'_>, tenant: TenantId, webhooks: &Arc<[WebhookId]>) -> Result<i64, JobError> {
    let id = tx.insert(BEGIN, [tenant.0])?;
    let text = webhook_list::to_text(webhooks);
    tx.execute(FOR, (id, text))?;
    fan_out(tx)?.open = Some(OpenBatch {
        id,
        tenant,
        webhooks: Arc::clone(webhooks),
        notifications: 1,
    });
    Ok(id)
}

/// One step, for the tenant whose turn it is.
pub(crate) fn step(tx: &mut Tx<'_>) -> Result<(), JobError> {
    let latest = tx.cache.fan_out_turn;
    if let Some(tenant) = fan_out(tx)?.next(latest) {
        tx.cache.fan_out_turn = Some(tenant);
        let done = fan_out::step(tx, tenant, i64::MAX)?;
        note(tx, tenant, done)?;
    }
    Ok(())
}

/// One step of the tenant, if its first notification is not above `upto`. Answers whether it was
/// so.
pub(crate) fn step_before(tx: &mut Tx<'_>, tenant: TenantId, upto: i64) -> Result<bool, JobError> {
    let done = fan_out::step(tx, tenant, upto)?;
    if done.is_some() {
        tx.cache.fan_out_turn = Some(tenant);
        note(tx, tenant, done)?;
    }
    Ok(done.is_some())
}

/// Counts what a step has done; nothing is left if there was nothing to do.
fn note(tx: &mut Tx<'_>, tenant: TenantId, done: Option<StepDone>) -> Result<(), JobError> {
    let (count, is_last) = done.map_or((0, true), |done| (done.materialized, done.is_last));
    fan_out(tx)?.take(tenant, count, is_last);
    Ok(())
}

impl FanOutTransaction for Tx<'_> {
    fn not_enabled(&mut self, webhooks: &[WebhookId]) -> Result<Vec<NotEnabled>, JobError> {
        let mut statement = self.conn.prepare_cached(DISABLED)?;
        let mut found = Vec::new();
        for webhook in webhooks {
            let row = statement.query_row([webhook.0], |row| Ok((row.get(0)?, row.get(1)?)));
            found.extend(match row.optional()? {
                Some((at, cause)) => NotEnabled::of_row(*webhook, at, cause)?,
                None => Some(NotEnabled::gone(*webhook)),
            });
        }
        Ok(found)
    }

    /// The rows of each webhook are neighbours.
    fn write_unattempted(
        &mut self,
        _tenant: TenantId,
        webhooks: &[WebhookId],
        notifications: &[NotificationId],
    ) -> Result<(), JobError> {
        let of_one = |webhook: &WebhookId| {
            let webhook = webhook.0;
            notifications.iter().map(move |id| [webhook, id.0])
        };
        unattempted_rows::materialize_rows(self, webhooks.iter().flat_map(of_one))
    }

    fn write_cancelled(
        &mut self,
        _tenant: TenantId,
        webhook: NotEnabled,
        notifications: &[NotificationId],
    ) -> Result<(), JobError> {
        for notification in notifications {
            let id = DeliveryId {
                notification: *notification,
                webhook: webhook.webhook,
            };
            unattempted_rows::write_cancelled(self, id, webhook.cause, webhook.at)?;
        }
        Ok(())
    }
}

/// The state of the fan-out, read if it is not cached.
fn fan_out<'a>(tx: &'a mut Tx<'_>) -> Result<&'a mut FanOut, JobError> {
    let known = match tx.cache.fan_out.take() {
        Some(known) => known,
        None => read(tx.conn)?,
    };
    Ok(tx.cache.fan_out.insert(known))
}
