//! Rows of unattempted deliveries: how far there are some for all, and writing them, and those that
//! are cancelled before any attempt.

use model::contract::DiskFault;
use model::delivery::CancelCause;
use model::id::{DeliveryId, NotificationId};
use model::time::Timestamp;
use rusqlite::Connection;

use crate::sql::job_error::JobError;
use crate::sql::read_horizon::ReadHorizon;
use crate::sql::{self, Statement, query, rows};
use crate::sqlite::tx::Tx;

statements! {
    MATERIALIZED_UPTO = "select latest from counted where what = 'listed'";
    LATER = "
        select id from notification
        where id > coalesce((select latest from counted where what = 'listed'), 0)
        limit 1";
    ACCEPTED_AT = "select accepted_at from notification where id = ?1";
    MATERIALIZE = "insert into fresh (webhook_id, notification_id) values (?1, ?2)";
    CANCEL = "
        insert into delivery
          (webhook_id, notification_id, state, cause, round, attempts, round_start, ended_at)
        values (?1, ?2, 3, ?3, 1, 0, 0, ?4)";
}

/// What a reader sees. `lacks` says why inline deliveries could not be materialized.
pub(crate) fn read_horizon(
    conn: sql::Connection<'_>,
    lacks: Option<DiskFault>,
) -> Result<ReadHorizon, JobError> {
    let is_all = !query::exists(conn, Statement::of_both(LATER), values![])?;
    let upto = match is_all {
        true => i64::MAX,
        false => materialized_upto(conn)?,
    };
    Ok(ReadHorizon {
        upto: NotificationId(upto),
        lacks,
    })
}

/// Up to and with which notification everything but the fan-out has a row.
pub(crate) fn materialized_upto(conn: sql::Connection<'_>) -> Result<i64, JobError> {
    let sql = Statement::of_both(MATERIALIZED_UPTO);
    let upto: Option<i64> = query::first(conn, sql, values![], |row| row.get(0))?;
    Ok(upto.unwrap_or(0))
}

/// The first of these notifications that is still stored, and when it was accepted.
pub(crate) fn first_accepted(
    conn: &Connection,
    ids: impl Iterator<Item = i64>,
) -> Result<Option<(NotificationId, Timestamp)>, JobError> {
    let sql = Statement::of_both(ACCEPTED_AT);
    for id in ids {
        if let Some(accepted_at) = query::first(conn, sql, values![id], |row| rows::time(row, 0))? {
            return Ok(Some((NotificationId(id), accepted_at)));
        }
    }
    Ok(None)
}

/// Inserts rows for deliveries, each given as a webhook and a notification.
pub(crate) fn materialize_rows(
    tx: &mut Tx<'_>,
    keys: impl Iterator<Item = [i64; 2]>,
) -> Result<(), JobError> {
    let list = tx.hot.get(tx.conn, MATERIALIZE)?;
    for keys in keys {
        list.execute(keys)?;
        tx.cache.rows_materialized += 1;
    }
    Ok(())
}

/// Writes a delivery that is cancelled before it was attempted.
pub(crate) fn write_cancelled(
    tx: &mut Tx<'_>,
    id: DeliveryId,
    cause: CancelCause,
    at: Timestamp,
) -> Result<(), JobError> {
    tx.hot.get(tx.conn, CANCEL)?.execute((
        id.webhook.0,
        id.notification.0,
        rows::cause_number(cause),
        at.as_millis(),
    ))?;
    Ok(())
}
