//! Single columns of a notification: whose it is, and when it was accepted.

use model::id::{NotificationId, TenantId};
use model::time::Timestamp;
use rusqlite::{Connection, OptionalExtension};

use crate::sqlite::job_error::JobError;

statements! {
    TENANT_OF = "select tenant_id from notification where id = ?1";
    ACCEPTED_AT = "select accepted_at from notification where id = ?1";
}

pub(crate) fn tenant_of(
    conn: &Connection,
    id: NotificationId,
) -> Result<Option<TenantId>, JobError> {
    let found = conn
        .prepare_cached(TENANT_OF)?
        .query_row([id.0], |row| row.get(0).map(TenantId))
        .optional()?;
    Ok(found)
}

pub(crate) fn accepted_at(
    conn: &Connection,
    id: NotificationId,
) -> Result<Option<Timestamp>, JobError> {
    let found = conn
        .prepare_cached(ACCEPTED_AT)?
        .query_row([id.0], |row| row.get(0).map(Timestamp::from_millis))
        .optional()?;
    Ok(found)
}

/// The first of these notifications that is still there, and when it was accepted.
pub(crate) fn first_accepted(
    conn: &Connection,
    ids: &mut std::slice::Iter<'_, i64>,
) -> Result<Option<(NotificationId, Timestamp)>, JobError> {
    for id in ids {
        let id = NotificationId(*id);
        if let Some(accepted_at) = accepted_at(conn, id)? {
            return Ok(Some((id, accepted_at)));
        }
    }
    Ok(None)
}
