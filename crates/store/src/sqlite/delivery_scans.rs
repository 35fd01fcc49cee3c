//! Finds a webhook's deliveries along an index, by status, and makes them due again: what replays
//! and bulk jobs have in common.

use model::limits;
use model::time::Timestamp;
use rusqlite::Params;

use crate::sqlite::job_error::JobError;
use crate::sqlite::query;
use crate::sqlite::tx::Tx;

statements! {
    pub(crate) REPLAY = "
        update delivery
        set state = iif(attempts = 0, 4, 0), cause = null, round = round + 1,
          round_start = attempts,
          round_began_at = null, due_at = ?3, ended_at = null
        where notification_id = ?1 and webhook_id = ?2";
    pub(crate) RETRY_NOW = "
        update delivery set due_at = ?3
        where notification_id = ?1 and webhook_id = ?2";
    // What lies in the future ended or began before the request: the clock was set back since.
    pub(crate) FAILED = "
        select notification_id, ended_at <= ?5 or ended_at > ?6
        from delivery indexed by delivery_state
        where state <> 1 and state = 2 and webhook_id = ?1
          and notification_id > ?2 and notification_id <= ?3
        order by notification_id
        limit ?4";
    pub(crate) CANCELLED = "
        select notification_id, ended_at <= ?5 or ended_at > ?6
        from delivery indexed by delivery_state
        where state <> 1 and state = 3 and webhook_id = ?1
          and notification_id > ?2 and notification_id <= ?3
        order by notification_id
        limit ?4";
    // Not what is due already, nor what was attempted since the bulk job began: that was its turn.
    pub(crate) WAITING = "
        select notification_id, due_at > ?7 and coalesce(began_at <= ?5 or began_at > ?6, 1)
        from delivery indexed by delivery_state
        where state <> 1 and state = 0 and webhook_id = ?1
          and notification_id > ?2 and notification_id <= ?3
        order by notification_id
        limit ?4";
}

/// A time behind this was written while the clock was ahead.
pub(crate) fn ahead_from(now: Timestamp) -> i64 {
    now.plus_ms(limits::CLOCK_AHEAD_MAX_MS).as_millis()
}

pub(crate) fn walk(
    tx: &Tx<'_>,
    sql: &'static str,
    params: impl Params,
) -> Result<Vec<(i64, bool)>, JobError> {
    query::list(tx.conn, sql, params, |row| Ok((row.get(0)?, row.get(1)?)))
}
