//! Unattempted deliveries: never attempted, and due since they were accepted.
//!
//! Those of recent notifications are in the notifications' own rows (`inline_deliveries.rs`). All
//! others have rows in the table `fresh`; those of very many webhooks get them in steps
//! (`fan_out.rs`). To materialize inline deliveries is a job of the writer. It is run before a
//! reader looks for unattempted deliveries and before any is removed.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::delivery::CancelCause;
use model::id::{DeliveryId, NotificationId, TenantId, WebhookId};
use model::time::Timestamp;
use rusqlite::Connection;
use rusqlite::types::{Value, ValueRef};

use crate::sql::job_error::{CorruptRow, JobError};
use crate::sql::{rows, webhook_list};
use crate::sqlite::fan_out;
use crate::sqlite::inline_deliveries::{InlineDeliveries, InlineEntry};
use crate::sqlite::tx::Tx;
use crate::sqlite::unattempted_rows;

statements! {
    REMOVE = "delete from fresh where webhook_id = ?1 and notification_id = ?2";
    SET_MATERIALIZED_UPTO = "
        insert into counted (what, latest) values ('listed', ?1)
        on conflict (what) do update set latest = ?1";
    NOT_MATERIALIZED = "
        select id, wanted_by from notification
        where id > ?1 and wanted_by is not null
        order by id";
    WAS_TRIED = "
        select 1 from delivery where webhook_id = ?1 and notification_id = ?2";
    CANCEL_SOME = "
        update delivery
        set state = 3, cause = ?2, round_began_at = null, due_at = null, ended_at = ?3
        where (webhook_id, notification_id) in (
          select webhook_id, notification_id from delivery indexed by delivery_due
          where state in (0, 4) and webhook_id = ?1
          limit ?4)";
    CANCEL_SOME_UNATTEMPTED = "
        insert into delivery
          (webhook_id, notification_id, state, cause, round, attempts, round_start, ended_at)
        select webhook_id, notification_id, 3, ?2, 1, 0, 0, ?3 from fresh
        where webhook_id = ?1
        order by notification_id
        limit ?4";
    REMOVE_SOME = "
        delete from fresh where (webhook_id, notification_id) in (
          select webhook_id, notification_id from fresh
          where webhook_id = ?1
          order by notification_id
          limit ?2)";
    DEFER = "
        insert into delivery
          (webhook_id, notification_id, state, round, attempts, round_start, due_at)
        values (?1, ?2, 4, 1, 0, 0, ?3)";
}

/// The webhooks of a notification as its own row has them; `None` if their deliveries are to be
/// materialized at once.
pub(crate) fn wanted_by(tx: &mut Tx<'_>, wanted: &[WebhookId]) -> Result<Option<Value>, JobError> {
    if !inline_deliveries(tx)?.has_room(wanted.len()) {
        return Ok(None);
    }
    if let [webhook] = wanted {
        return Ok(Some(Value::Integer(webhook.0)));
    }
    Ok(Some(Value::Text(webhook_list::to_text(wanted))))
}

/// Records the deliveries of a new notification. `in_row`: they are inline. Answers whether the
/// subscriber may be told now; those of the fan-out are told with their step.
pub(crate) fn record_owed(
    tx: &mut Tx<'_>,
    tenant: TenantId,
    id: i64,
    wanted: &Arc<[WebhookId]>,
    in_row: bool,
) -> Result<bool, JobError> {
    let is_wide = !in_row && !tx.has_time_for(wanted.len());
    if in_row {
        inline_deliveries(tx)?.add(id, Arc::clone(wanted));
    } else if is_wide {
        fan_out::record_owed(tx, tenant, id, wanted)?;
    } else {
        unattempted_rows::materialize_rows(tx, wanted.iter().map(|webhook| [webhook.0, id]))?;
    }
    // Once there is no time left, eviction waits for the next transaction.
    if tx.has_time_for(1)
        && let Some(evicted) = inline_deliveries(tx)?.evict(id)
    {
        materialize_entries(tx, &evicted)?;
    }
    Ok(!is_wide)
}

/// The delivery is no longer unattempted; the caller writes what it is instead. Answers whether it
/// was.
pub(crate) fn take(tx: &mut Tx<'_>, id: DeliveryId) -> Result<bool, JobError> {
    if inline_deliveries(tx)?.take(id) {
        return Ok(true);
    }
    let keys = [id.webhook.0, id.notification.0];
    let taken = tx.hot.get(tx.conn, REMOVE)?.execute(keys)?;
    Ok(taken > 0)
}

/// The delivery waits until `due_at`, if it is unattempted. Answers whether it was.
pub(crate) fn defer(tx: &mut Tx<'_>, id: DeliveryId, due_at: Timestamp) -> Result<bool, JobError> {
    let was_unattempted = take(tx, id)?;
    if was_unattempted {
        let keys = (id.webhook.0, id.notification.0, due_at.as_millis());
        tx.execute(DEFER, keys)?;
    }
    Ok(was_unattempted)
}

/// Cancels the delivery, if it is unattempted. Answers whether it was.
pub(crate) fn cancel(
    tx: &mut Tx<'_>,
    id: DeliveryId,
    cause: CancelCause,
    at: Timestamp,
) -> Result<bool, JobError> {
    let was_unattempted = take(tx, id)?;
    if was_unattempted {
        unattempted_rows::write_cancelled(tx, id, cause, at)?;
    }
    Ok(was_unattempted)
}

/// Cancels at most `limit` of the deliveries that a webhook has pending, unattempted ones last.
/// Answers how many.
pub(crate) fn cancel_some(
    tx: &mut Tx<'_>,
    webhook: WebhookId,
    cause: CancelCause,
    at: Timestamp,
    limit: i64,
) -> Result<usize, JobError> {
    let (cause, at) = (rows::cause_number(cause), at.as_millis());
    let cancelled = tx.execute(CANCEL_SOME, (webhook.0, cause, at, limit))?;
    materialize(tx)?;
    let limit = limit.saturating_sub(rows::bound(cancelled));
    tx.execute(CANCEL_SOME_UNATTEMPTED, (webhook.0, cause, at, limit))?;
    let unattempted = tx.execute(REMOVE_SOME, [webhook.0, limit])?;
    Ok(cancelled + unattempted)
}

/// Materializes all inline deliveries.
pub(crate) fn materialize(tx: &mut Tx<'_>) -> Result<(), JobError> {
    let latest = tx.latest_id()?;
    match inline_deliveries(tx)?.evict_all(latest) {
        Some(evicted) => materialize_entries(tx, &evicted),
        None => Ok(()),
    }
}

/// Materializes entries that were taken out, and stores how far everything is materialized.
fn materialize_entries(tx: &mut Tx<'_>, evicted: &[InlineEntry]) -> Result<(), JobError> {
    unattempted_rows::materialize_rows(tx, evicted.iter().flat_map(InlineEntry::unattempted))?;
    let materialized_upto = inline_deliveries(tx)?.materialized_upto();
    tx.execute(SET_MATERIALIZED_UPTO, [materialized_upto])?;
    Ok(())
}

/// The inline deliveries by webhook, each a notification id.
pub(crate) fn not_materialized(tx: &mut Tx<'_>) -> Result<BTreeMap<WebhookId, Vec<i64>>, JobError> {
    Ok(inline_deliveries(tx)?.unattempted())
}

/// Up to and with which notification everything is materialized.
pub(crate) fn materialized_upto(tx: &mut Tx<'_>) -> Result<i64, JobError> {
    Ok(inline_deliveries(tx)?.materialized_upto())
}

/// The inline deliveries, read from the notifications' rows if they are not cached.
pub(crate) fn inline_deliveries<'a>(
    tx: &'a mut Tx<'_>,
) -> Result<&'a mut InlineDeliveries, JobError> {
    let known = match tx.cache.inline_deliveries.take() {
        Some(known) => known,
        None => read(tx.conn)?,
    };
    Ok(tx.cache.inline_deliveries.insert(known))
}

/// The reverse of `wanted_by`.
fn wanted(value: ValueRef<'_>) -> Option<Arc<[WebhookId]>> {
    match value {
        ValueRef::Integer(webhook) => Some(Arc::from([WebhookId(webhook)])),
        ValueRef::Text(text) => webhook_list::of_text(str::from_utf8(text).ok()?).ok(),
        ValueRef::Null | ValueRef::Real(_) | ValueRef::Blob(_) => None,
    }
}

fn read(conn: &Connection) -> Result<InlineDeliveries, JobError> {
    let mut inline_deliveries =
        InlineDeliveries::new(unattempted_rows::materialized_upto(conn.into())?);
    let mut not_materialized = conn.prepare_cached(NOT_MATERIALIZED)?;
    let mut was_tried = conn.prepare_cached(WAS_TRIED)?;
    let mut found = not_materialized.query([inline_deliveries.materialized_upto()])?;
    while let Some(row) = found.next()? {
        let notification = NotificationId(row.get(0)?);
        let wanted = wanted(row.get_ref(1)?).ok_or(CorruptRow("list of webhooks"))?;
        inline_deliveries.add(notification.0, Arc::clone(&wanted));
        for &webhook in wanted.iter() {
            if was_tried.exists([webhook.0, notification.0])? {
                inline_deliveries.take(DeliveryId {
                    notification,
                    webhook,
                });
            }
        }
    }
    Ok(inline_deliveries)
}
