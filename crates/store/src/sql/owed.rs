//! How much is owed to a webhook, counted up to a bound: by indexes of what is pending, whatever
//! else is stored.

use model::dashboard::BoundedCount;
use model::id::WebhookId;
use model::time::Timestamp;

use crate::sql::job_error::JobError;
use crate::sql::{Connection, Row, Statement, query, rows};

shared_statements! {
    COUNT_OWED = "
        select 1 from delivery indexed by delivery_due
        where /*postgres tenant_id = (select tenant_id from webhook where id = ?1) and */
          state in (0, 4) and webhook_id = ?1
        limit ?2";
    COUNT_UNATTEMPTED = "
        select 1 from fresh
        where /*postgres tenant_id = (select tenant_id from webhook where id = ?1) and */
          webhook_id = ?1
        limit ?2";
}

/// What is owed to a webhook: tried before, and never tried.
pub(crate) const PARTS: &[Statement] = &[COUNT_OWED, COUNT_UNATTEMPTED];

/// How many deliveries are owed to a webhook, counted up to `most`.
pub(crate) fn count(
    conn: Connection<'_>,
    webhook: WebhookId,
    most: usize,
) -> Result<BoundedCount, JobError> {
    count_parts(conn, webhook, PARTS, most, Timestamp::EPOCH)
}

/// What these statements find, up to `most`.
pub(crate) fn count_parts(
    conn: Connection<'_>,
    webhook: WebhookId,
    parts: &[Statement],
    most: usize,
    at: Timestamp,
) -> Result<BoundedCount, JobError> {
    let (mut found, at) = (0_usize, at.as_millis());
    for part in parts {
        let room = rows::bound(most.saturating_add(1).saturating_sub(found));
        let one = |_: &Row<'_>| Ok(());
        let asked = values![webhook.0, room, at];
        found += query::list(conn, *part, asked, one)?.len();
    }
    Ok(BoundedCount {
        count: u64::try_from(found.min(most)).unwrap_or(u64::MAX),
        more: found > most,
    })
}
