//! Fan-out: a notification for so many webhooks that a transaction has no time for all their rows.
//! They are materialized in steps, with other jobs in between.
//!
//! The notification is accepted at once, with the list of its webhooks. Notifications of a
//! transaction for the same webhooks share one batch. A step takes one webhook after the other,
//! whose rows are neighbours. Tenants take turns. A delivery that is not materialized yet is seen
//! by nobody; the subscriber is told with its step.

use std::sync::Arc;

use model::contract::StoreError;
use model::delivery::CancelCause;
use model::id::{DeliveryId, NotificationId, TenantId, WebhookId};
use model::limits::INTAKE_BATCH_MAX;
use model::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row};

use crate::sqlite::fan_out_cache::{FanOut, OpenBatch, STEP_ROWS, is_much, read};
use crate::sqlite::job_error::{CorruptRow, JobError};
use crate::sqlite::tx::Tx;
use crate::sqlite::{query, rows, unattempted_rows, webhook_health, webhook_history};

statements! {
    BEGIN = "insert into listing (tenant_id, reached, owed) values (?1, 0, 0)";
    FOR = "insert into audience (listing_id, webhooks) values (?1, ?2)";
    ADD = "insert into wide (listing_id, notification_id) values (?1, ?2)";
    OWE = "update listing set owed = owed + ?2 where id = ?1";
    FIRST = "
        select l.id, l.reached, a.webhooks from listing l
        join audience a on a.listing_id = l.id
        where l.tenant_id = ?1
        order by l.id
        limit 1";
    NOTIFICATIONS = "
        select w.notification_id, n.accepted_at from wide w
        join notification n on n.id = w.notification_id
        where w.listing_id = ?1
        order by w.notification_id";
    FIRST_OF = "
        select w.notification_id from listing l
        join wide w on w.listing_id = l.id
        where l.tenant_id = ?1
        order by l.id, w.notification_id
        limit 1";
    AUDIENCES = "
        select l.reached, a.webhooks, (
          select min(notification_id) from wide where listing_id = l.id)
        from listing l
        join audience a on a.listing_id = l.id
        where l.tenant_id = ?1
        order by l.id";
    DISABLED = "select disabled_at, disabled_cause from webhook where id = ?1";
    REACHED = "update listing set reached = ?2, owed = owed - ?3 where id = ?1";
    END = "delete from listing where id = ?1";
    END_AUDIENCE = "delete from audience where listing_id = ?1";
    END_WIDE = "delete from wide where listing_id = ?1";
}

/// So many audiences are searched for a webhook: each takes up to half a millisecond, for which all
/// wait.
const AUDIENCES_READ_MAX: usize = 16;

/// What a step works on.
struct FanOutBatch {
    id: i64,
    reached: i64,
    webhooks: Arc<[WebhookId]>,
}

/// `Busy` for a tenant with too much left to materialize. To be asked before anything is written.
pub(crate) fn vet(tx: &mut Tx<'_>, tenant: TenantId) -> Result<(), JobError> {
    match is_much(fan_out(tx)?.owed.get(&tenant)) {
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
    let text = unattempted_rows::ids_to_text(webhooks);
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
    match fan_out(tx)?.next(latest) {
        Some(tenant) => {
            tx.cache.fan_out_turn = Some(tenant);
            step_of(tx, tenant)
        }
        None => Ok(()),
    }
}

/// One step of the tenant, if its first notification is not above `upto`. Answers whether it was
/// so.
pub(crate) fn step_before(tx: &mut Tx<'_>, tenant: TenantId, upto: i64) -> Result<bool, JobError> {
    let Some(batch) = first(tx, tenant)? else {
        return Ok(false);
    };
    let notifications = notifications(tx, &batch)?;
    let is_meant = notifications.first().is_some_and(|(id, _)| id.0 <= upto);
    if is_meant {
        materialize_step(tx, tenant, &batch, &notifications)?;
    }
    Ok(is_meant)
}

fn step_of(tx: &mut Tx<'_>, tenant: TenantId) -> Result<(), JobError> {
    match first(tx, tenant)? {
        Some(batch) => {
            let notifications = notifications(tx, &batch)?;
            materialize_step(tx, tenant, &batch, &notifications)
        }
        None => {
            fan_out(tx)?.take(tenant, 0, true);
            Ok(())
        }
    }
}

/// The first of the tenant's notifications that is not fully materialized.
pub(crate) fn first_of(
    conn: &Connection,
    tenant: TenantId,
) -> Result<Option<NotificationId>, JobError> {
    query::first(conn, FIRST_OF, [tenant.0], |row| {
        Ok(NotificationId(row.get(0)?))
    })
}

/// Whether the disabled webhook may be owed something that is not materialized yet. No, if all that
/// is left was accepted while it was disabled. Otherwise a few audiences are searched; with more of
/// them the answer is yes.
pub(crate) fn may_owe(tx: &Tx<'_>, tenant: TenantId, webhook: WebhookId) -> Result<bool, JobError> {
    let Some(first) = first_of(tx.conn, tenant)? else {
        return Ok(false);
    };
    let Some(upto) = webhook_history::enabled_upto(tx.conn, webhook, first)? else {
        return Ok(false);
    };
    let mut statement = tx.conn.prepare_cached(AUDIENCES)?;
    let mut rows = statement.query([tenant.0])?;
    let mut read = 0;
    while let Some(row) = rows.next()? {
        // The audiences that follow are for later notifications.
        if row.get::<_, i64>(2)? > upto.0 {
            return Ok(false);
        }
        if read == AUDIENCES_READ_MAX {
            return Ok(true);
        }
        read += 1;
        let is_before_its_turn = row.get::<_, i64>(0)? < webhook.0;
        let words: String = row.get(1)?;
        let webhooks =
            unattempted_rows::ids_of_text(&words).ok_or(CorruptRow("list of webhooks"))?;
        if is_before_its_turn && webhooks.binary_search(&webhook).is_ok() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn first(tx: &Tx<'_>, tenant: TenantId) -> Result<Option<FanOutBatch>, JobError> {
    let found: Option<(i64, i64, String)> = query::first(tx.conn, FIRST, [tenant.0], |row| {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?))
    })?;
    let Some((id, reached, words)) = found else {
        return Ok(None);
    };
    Ok(Some(FanOutBatch {
        id,
        reached,
        webhooks: unattempted_rows::ids_of_text(&words).ok_or(CorruptRow("list of webhooks"))?,
    }))
}

fn notifications(
    tx: &Tx<'_>,
    batch: &FanOutBatch,
) -> Result<Vec<(NotificationId, Timestamp)>, JobError> {
    let read = |row: &Row<'_>| {
        let accepted_at = Timestamp::from_millis(row.get(1)?);
        Ok((NotificationId(row.get(0)?), accepted_at))
    };
    query::list(tx.conn, NOTIFICATIONS, [batch.id], read)
}

fn materialize_step(
    tx: &mut Tx<'_>,
    tenant: TenantId,
    batch: &FanOutBatch,
    notifications: &[(NotificationId, Timestamp)],
) -> Result<(), JobError> {
    let done = batch
        .webhooks
        .partition_point(|webhook| webhook.0 <= batch.reached);
    let rest = batch.webhooks.get(done..).unwrap_or_default();
    let (mut materialized, mut reached) = (0, batch.reached);
    for webhook in rest {
        if materialized > 0 && materialized + notifications.len() > STEP_ROWS {
            break;
        }
        materialize_for(tx, *webhook, notifications)?;
        materialized += notifications.len();
        reached = webhook.0;
    }
    let is_last = batch.webhooks.last().is_none_or(|last| last.0 <= reached);
    if is_last {
        for sql in [END, END_AUDIENCE, END_WIDE] {
            tx.execute(sql, [batch.id])?;
        }
    } else {
        let count = i64::try_from(materialized).unwrap_or(i64::MAX);
        let reached = [batch.id, reached, count];
        tx.execute(REACHED, reached)?;
    }
    let is_last_of_tenant = is_last && first(tx, tenant)?.is_none();
    tx.cache.fan_out_turn = Some(tenant);
    fan_out(tx)?.take(tenant, materialized, is_last_of_tenant);
    Ok(())
}

/// Materializes what the notifications owe to one webhook, which may have been disabled meanwhile.
fn materialize_for(
    tx: &mut Tx<'_>,
    webhook: WebhookId,
    notifications: &[(NotificationId, Timestamp)],
) -> Result<(), JobError> {
    let found: Option<(Option<i64>, Option<i64>)> = tx
        .hot
        .get(tx.conn, DISABLED)?
        .query_row([webhook.0], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let cancelled = match found {
        Some((None, _)) => None,
        Some((Some(at), cause)) => {
            let cause = cause.ok_or(CorruptRow("reason for being disabled"))?;
            let cause = rows::cancel_cause(rows::disabled_cause(cause)?);
            Some((Timestamp::from_millis(at), cause))
        }
        None => Some((Timestamp::EPOCH, CancelCause::WebhookDeleted)),
    };
    let Some((at, cause)) = cancelled else {
        let rows = notifications.iter().map(|(id, _)| [webhook.0, id.0]);
        unattempted_rows::materialize_rows(tx, rows)?;
        if let Some((_, due_at)) = notifications.first() {
            tx.post_commit.skipped(webhook, *due_at);
        }
        return Ok(());
    };
    for (id, _) in notifications {
        let id = DeliveryId {
            notification: *id,
            webhook,
        };
        unattempted_rows::write_cancelled(tx, id, cause, at)?;
    }
    webhook_health::count_failed(tx, webhook, at, notifications.len())
}

/// The state of the fan-out, read if it is not cached.
fn fan_out<'a>(tx: &'a mut Tx<'_>) -> Result<&'a mut FanOut, JobError> {
    let known = match tx.cache.fan_out.take() {
        Some(known) => known,
        None => read(tx.conn)?,
    };
    Ok(tx.cache.fan_out.insert(known))
}
