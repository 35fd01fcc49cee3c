//! Single columns of a notification: whose it is, and when it was accepted.

use model::id::{NotificationId, TenantId};
use model::time::Timestamp;
use rusqlite::Connection;

use crate::sqlite::job_error::JobError;
use crate::sqlite::{query, rows};

statements! {
    TENANT_OF = "select tenant_id from notification where id = ?1";
    ACCEPTED_AT = "select accepted_at from notification where id = ?1";
}

pub(crate) fn tenant_of(
    conn: &Connection,
    id: NotificationId,
) -> Result<Option<TenantId>, JobError> {
    query::first(conn, TENANT_OF, [id.0], |row| Ok(TenantId(row.get(0)?)))
}

pub(crate) fn accepted_at(
    conn: &Connection,
    id: NotificationId,
) -> Result<Option<Timestamp>, JobError> {
    query::first(conn, ACCEPTED_AT, [id.0], |row| rows::time(row, 0))
}

/// The first of these notifications that is still stored, and when it was accepted.
pub(crate) fn first_accepted(
    conn: &Connection,
    ids: impl Iterator<Item = i64>,
) -> Result<Option<(NotificationId, Timestamp)>, JobError> {
    for id in ids {
        let id = NotificationId(id);
        if let Some(accepted_at) = accepted_at(conn, id)? {
            return Ok(Some((id, accepted_at)));
        }
    }
    Ok(None)
}
