//! Single facts about a notification: that it is stored, and when it was accepted.

use crate::sql::Connection;
use model::id::{NotificationId, TenantId};
use model::time::Timestamp;

use crate::sql::job_error::JobError;
use crate::sql::query;
use crate::sql::rows;

shared_statements! {
    EXISTS = "select 1 from notification where id = ?1 and tenant_id = ?2";
    ACCEPTED_AT = "
        select accepted_at from notification
        where /*postgres tenant_id = ?2 and */ id = ?1";
}

/// Whether the tenant has the notification.
pub(crate) fn exists(
    conn: Connection<'_>,
    tenant: TenantId,
    id: NotificationId,
) -> Result<bool, JobError> {
    query::exists(conn, EXISTS, values![id.0, tenant.0])
}

/// The tenant is one whose notification it is, as far as it is stored.
pub(crate) fn accepted_at(
    conn: Connection<'_>,
    tenant: TenantId,
    id: NotificationId,
) -> Result<Option<Timestamp>, JobError> {
    query::first(conn, ACCEPTED_AT, values![id.0, tenant.0], |row| {
        rows::time(row, 0)
    })
}
