//! Finds a webhook's deliveries along an index, by status, and makes them due again: what replays
//! and bulk jobs have in common.

use model::id::{DeliveryId, NotificationId, WebhookId};
use model::limits;
use model::time::Timestamp;

use crate::postgres;
use crate::sql::delivery_change::DeliveryChange;
use crate::sql::job_error::JobError;
use crate::sql::query;
use crate::sql::transaction::Transaction;
use crate::sql::value::Value;
use crate::sql::{Connection, Statement, cancel};

shared_statements! {
    pub(crate) REPLAY = "
        update delivery
        set state = case when attempts = 0 then 4 else 0 end, cause = null, round = round + 1,
          round_start = attempts,
          round_began_at = null, due_at = ?3, ended_at = null
        where /*postgres tenant_id = (select tenant_id from webhook where id = ?2) and */
          notification_id = ?1 and webhook_id = ?2 and state in (1, 2, 3)";
    // With `+ 0` no index of what is pending is taken for that of the keys.
    pub(crate) RETRY_NOW = "
        update delivery set due_at = ?3
        where /*postgres tenant_id = (select tenant_id from webhook where id = ?2) and */
          notification_id = ?1 and webhook_id = ?2 and state + 0 in (0, 4)";
    // What lies in the future ended or began before the request: the clock was set back since.
    pub(crate) FAILED = "
        select notification_id, ended_at <= ?5 or ended_at > ?6
        from delivery indexed by delivery_state
        where /*postgres tenant_id = (select tenant_id from webhook where id = ?1) and */
          state <> 1 and state = 2 and webhook_id = ?1
          and notification_id > ?2 and notification_id <= ?3
        order by notification_id
        limit ?4";
    pub(crate) CANCELLED = "
        select notification_id, ended_at <= ?5 or ended_at > ?6
        from delivery indexed by delivery_state
        where /*postgres tenant_id = (select tenant_id from webhook where id = ?1) and */
          state <> 1 and state = 3 and webhook_id = ?1
          and notification_id > ?2 and notification_id <= ?3
        order by notification_id
        limit ?4";
    // Most of a log is delivered, so no index has it: each row says whether it is.
    pub(crate) DELIVERED = "
        select notification_id, state = 1 and (ended_at <= ?5 or ended_at > ?6)
        from delivery
        where /*postgres tenant_id = (select tenant_id from webhook where id = ?1) and */
          webhook_id = ?1 and notification_id > ?2 and notification_id <= ?3
        order by notification_id
        limit ?4";
    // Not what is due already, nor what was attempted since the bulk job began: that was its turn.
    pub(crate) WAITING = "
        select notification_id, due_at > ?7 and coalesce(began_at <= ?5 or began_at > ?6, true)
        from delivery indexed by delivery_state
        where /*postgres tenant_id = (select tenant_id from webhook where id = ?1) and */
          state <> 1 and state = 0 and webhook_id = ?1
          and notification_id > ?2 and notification_id <= ?3
        order by notification_id
        limit ?4";
}

/// Changes those of the webhook's deliveries that are in a state for it. Answers how many.
pub(crate) fn change_many(
    tx: &mut dyn Transaction,
    change: DeliveryChange,
    webhook: WebhookId,
    notifications: &[i64],
    at: Timestamp,
) -> Result<usize, JobError> {
    let time = match change {
        DeliveryChange::RetryNow | DeliveryChange::Replay => tx.schedule(at)?,
        DeliveryChange::Cancel => at,
    };
    if let Connection::Postgres(conn) = tx.conn() {
        return postgres::many::change(conn, change, webhook, notifications, time);
    }
    let (mut count, millis) = (0, time.as_millis());
    for notification in notifications {
        let keys = values![notification, webhook.0, millis];
        let id = DeliveryId {
            notification: NotificationId(*notification),
            webhook,
        };
        count += match change {
            DeliveryChange::RetryNow => tx.execute(RETRY_NOW, keys)?,
            DeliveryChange::Replay => tx.execute(REPLAY, keys)?,
            DeliveryChange::Cancel => usize::from(cancel::cancel_one(tx, id, time)?),
        };
    }
    Ok(count)
}

/// A time behind this was written while the clock was ahead.
pub(crate) fn ahead_from(now: Timestamp) -> i64 {
    now.plus_ms(limits::CLOCK_AHEAD_MAX_MS).as_millis()
}

pub(crate) fn walk(
    conn: Connection<'_>,
    sql: Statement,
    values: &[Value<'_>],
) -> Result<Vec<(i64, bool)>, JobError> {
    query::list(conn, sql, values, |row| Ok((row.get(0)?, row.get(1)?)))
}
