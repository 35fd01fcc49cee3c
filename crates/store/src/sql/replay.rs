//! Replay: makes deliveries due again, one or many. Each step is bounded by
//! `limits::BULK_STEP_MAX`; repeating it goes on where it stopped.

use model::contract::{ReplayFilter, ReplayRequest, ReplayResult, ReplayScope};
use model::delivery::DeliveryState;
use model::id::{DeliveryId, NotificationId};
use model::limits;
use model::query::DeliveryStatus;
use model::time::Timestamp;
use serde_json::{Value, json};

use crate::postgres;
use crate::sql::audit::AuditRecord;
use crate::sql::delivery_change::DeliveryChange;
use crate::sql::delivery_scans::{self, REPLAY, RETRY_NOW, ahead_from, change_many, walk};
use crate::sql::job_error::JobError;
use crate::sql::rows;
use crate::sql::transaction::Transaction;
use crate::sql::webhook_rows;
use crate::sql::{Connection, Statement};
use crate::sql::{id_range, query};

shared_statements! {
    FIND = "
        select state, cause, due_at from delivery
        where /*postgres tenant_id = (select tenant_id from webhook where id = ?2) and */
          notification_id = ?1 and webhook_id = ?2
        union all
        select 4, null, 0 from fresh
        where /*postgres tenant_id = (select tenant_id from webhook where id = ?2) and */
          notification_id = ?1 and webhook_id = ?2";
    // What lies in the future ended or began before the request: the clock was set back since.
    FAILED = "
        select notification_id from delivery indexed by delivery_state
        where /*postgres tenant_id = (select tenant_id from webhook where id = ?1) and */
          state <> 1 and state = 2 and webhook_id = ?1 and (ended_at <= ?2 or ended_at > ?4)
        order by notification_id
        limit ?3";
    CANCELLED = "
        select notification_id from delivery indexed by delivery_state
        where /*postgres tenant_id = (select tenant_id from webhook where id = ?1) and */
          state <> 1 and state = 3 and webhook_id = ?1 and (ended_at <= ?2 or ended_at > ?4)
        order by notification_id
        limit ?3";
    // Not what was attempted since the request: every step would find it again.
    RETRYING = "
        select notification_id
        from delivery indexed by delivery_due
        where /*postgres tenant_id = (select tenant_id from webhook where id = ?1) and */
          state in (0, 4) and webhook_id = ?1 and due_at > ?5
          and (began_at <= ?2 or began_at > ?4)
        order by due_at
        limit ?3";
    MATCHES_FILTER = "
        select action_type = coalesce(?2, action_type) and accepted_at >= ?3 and accepted_at < ?4
        from notification
        where /*postgres tenant_id = ?5 and */ id = ?1";
}

pub(crate) fn replay(
    tx: &mut dyn Transaction,
    request: &ReplayRequest,
    at: Timestamp,
) -> Result<ReplayResult, JobError> {
    let Some(webhook) = webhook_rows::find(tx.conn(), request.tenant, request.webhook)? else {
        return Ok(ReplayResult::Unknown);
    };
    match &request.which {
        ReplayScope::One(id) => replay_one(tx, request, *id, webhook.enabled(), at),
        ReplayScope::Undelivered { .. } | ReplayScope::Failed { .. } | ReplayScope::Filtered(_)
            if !webhook.enabled() =>
        {
            Ok(ReplayResult::Disabled)
        }
        ReplayScope::Undelivered { began_at } => {
            let kinds = [
                (FAILED, DeliveryChange::Replay),
                (CANCELLED, DeliveryChange::Replay),
                (RETRYING, DeliveryChange::RetryNow),
            ];
            replay_all(tx, request, &kinds, *began_at, at)
        }
        ReplayScope::Failed { began_at } => {
            let kinds = [(FAILED, DeliveryChange::Replay)];
            replay_all(tx, request, &kinds, *began_at, at)
        }
        ReplayScope::Filtered(filter) => replay_filtered(tx, request, filter, at),
    }
}

fn replay_one(
    tx: &mut dyn Transaction,
    request: &ReplayRequest,
    id: DeliveryId,
    enabled: bool,
    at: Timestamp,
) -> Result<ReplayResult, JobError> {
    tx.materialize()?;
    let keys = values![id.notification.0, id.webhook.0];
    let found: Option<(i64, Option<i64>, Option<i64>)> =
        query::first(tx.conn(), FIND, keys, |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?;
    let Some((state, cause, due_at)) = found.filter(|_| id.webhook == request.webhook) else {
        return Ok(ReplayResult::Unknown);
    };
    if !enabled {
        return Ok(ReplayResult::Disabled);
    }
    let done = ReplayResult::Done {
        count: 1,
        more: false,
    };
    let now = tx.schedule(at)?;
    let change = match rows::state(state, cause)? {
        // Due already: nothing has to change.
        DeliveryState::Pending if due_at.is_some_and(|due_at| due_at <= now.as_millis()) => {
            notify_requested(tx, id)?;
            return Ok(done);
        }
        DeliveryState::Pending if tx.defer_unattempted(id, now)? => None,
        DeliveryState::Pending => Some(RETRY_NOW),
        DeliveryState::Delivered | DeliveryState::Failed | DeliveryState::Cancelled(_) => {
            Some(REPLAY)
        }
    };
    if let Some(sql) = change {
        tx.execute(
            sql,
            values![id.notification.0, id.webhook.0, now.as_millis()],
        )?;
    }
    notify_requested(tx, id)?;
    note(tx, request, at, json!({ "delivery": id.to_string() }))?;
    Ok(done)
}

/// Tells the subscriber that somebody waits for this delivery: it need not wait behind others of
/// its webhook.
fn notify_requested(tx: &mut dyn Transaction, id: DeliveryId) -> Result<(), JobError> {
    if let Some(due) = tx.due_delivery(id)? {
        tx.post_commit().requested(due);
    }
    Ok(())
}

/// Makes the change of each pair to what its statement finds.
fn replay_all(
    tx: &mut dyn Transaction,
    request: &ReplayRequest,
    kinds: &[(Statement, DeliveryChange)],
    began_at: Timestamp,
    at: Timestamp,
) -> Result<ReplayResult, JobError> {
    let (mut found, mut count) = (0, 0);
    let now = tx.schedule(at)?.as_millis();
    let (webhook, until, ahead) = (request.webhook.0, began_at.as_millis(), ahead_from(at));
    // A replayed delivery leaves the index it was found in, so the next step finds the next ones.
    for &(find, change) in kinds {
        let room = rows::bound(limits::BULK_STEP_MAX.saturating_sub(found));
        let all = query::list(
            tx.conn(),
            find,
            values![webhook, until, room, ahead, now],
            |row| row.get::<_, i64>(0),
        )?;
        count += change_many(tx, change, request.webhook, &all, at)?;
        found += all.len();
    }
    if count > 0 {
        tx.post_commit().changed(request.webhook);
        note(tx, request, at, json!({ "count": count }))?;
    }
    Ok(ReplayResult::Done {
        count,
        more: found >= limits::BULK_STEP_MAX,
    })
}

/// One step along all deliveries of a status. Those that the filter leaves out stay where they were
/// found.
fn replay_filtered(
    tx: &mut dyn Transaction,
    request: &ReplayRequest,
    filter: &ReplayFilter,
    at: Timestamp,
) -> Result<ReplayResult, JobError> {
    let now = tx.schedule(at)?.as_millis();
    let from = id_range::id_at(tx.conn(), request.tenant, filter.since)?.unwrap_or(0);
    let upto = id_range::end_at(tx.conn(), request.tenant, filter.until)?
        .map_or(i64::MAX, |id| id.saturating_sub(1));
    let after = filter.after.0.max(from.saturating_sub(1));
    let webhook = request.webhook.0;
    let (began_at, ahead) = (filter.began_at.as_millis(), ahead_from(at));
    let room = rows::bound(limits::BULK_STEP_MAX);
    let asked = values![webhook, after, upto, room, began_at, ahead, now];
    let (found, change) = match filter.status {
        DeliveryStatus::Retrying => {
            let found = walk(tx.conn(), delivery_scans::WAITING, asked)?;
            (found, DeliveryChange::RetryNow)
        }
        DeliveryStatus::Failed => {
            let found = walk(tx.conn(), delivery_scans::FAILED, asked)?;
            (found, DeliveryChange::Replay)
        }
        DeliveryStatus::Cancelled => {
            let found = walk(tx.conn(), delivery_scans::CANCELLED, asked)?;
            (found, DeliveryChange::Replay)
        }
        DeliveryStatus::Pending | DeliveryStatus::Delivered => {
            (Vec::new(), DeliveryChange::RetryNow)
        }
    };
    let meant = found.iter().filter(|(_, meant)| *meant);
    let meant: Vec<i64> = meant.map(|(notification, _)| *notification).collect();
    let meant = matching(tx, request, filter, meant)?;
    let count = change_many(tx, change, request.webhook, &meant, at)?;
    if count > 0 {
        let moment = |at: Option<Timestamp>| at.map(|at| at.to_string());
        let picked = json!({
            "count": count,
            "status": filter.status.as_str(),
            "since": moment(filter.since),
            "until": moment(filter.until),
            "action_type": filter.action_type,
        });
        tx.post_commit().changed(request.webhook);
        note(tx, request, at, picked)?;
    }
    let full = found.len() >= limits::BULK_STEP_MAX;
    let last = found.last().filter(|_| full);
    Ok(ReplayResult::Reached {
        count,
        upto: last.map(|(id, _)| NotificationId(*id)),
    })
}

/// Those of the notifications that the filter means, as far as that is not known from their ids.
fn matching(
    tx: &dyn Transaction,
    request: &ReplayRequest,
    filter: &ReplayFilter,
    notifications: Vec<i64>,
) -> Result<Vec<i64>, JobError> {
    let asks_times = filter.since.is_some() || filter.until.is_some();
    // Ids tell the time unless the clock was set back.
    let by_row = filter.action_type.is_some()
        || asks_times && !id_range::falls(tx.conn(), request.tenant)?.is_empty();
    if !by_row {
        return Ok(notifications);
    }
    if let Connection::Postgres(conn) = tx.conn() {
        return postgres::many::matching(conn, request.tenant, filter, &notifications);
    }
    let since = filter.since.unwrap_or(Timestamp::EPOCH).as_millis();
    let until = filter.until.map_or(i64::MAX, Timestamp::as_millis);
    let mut matching = Vec::new();
    for notification in notifications {
        let asked = values![notification, filter.action_type, since, until];
        let found = query::first(tx.conn(), MATCHES_FILTER, asked, |row| row.get(0))?;
        if found == Some(true) {
            matching.push(notification);
        }
    }
    Ok(matching)
}

fn note(
    tx: &mut dyn Transaction,
    request: &ReplayRequest,
    at: Timestamp,
    detail: Value,
) -> Result<(), JobError> {
    AuditRecord::new(request.tenant, at, &request.actor, "deliveries.retried")
        .about(request.webhook)
        .with(detail)
        .write(tx)
}
