//! Responses that are stored under idempotency keys, and for how long they count.

use crate::sql::Connection;
use model::limits;
use model::query::StoredResponse;
use model::tenant::TokenHash;
use model::time::Timestamp;

use crate::sql::job_error::JobError;
use crate::sql::query;
use crate::sql::rows;
use crate::sql::transaction::Transaction;

shared_statements! {
    FIND = "
        select key, holder, request, status, headers, body from kept_answer
        where key = ?1 and holder = ?2";
    // A response that is too old counts as gone, pruned or not.
    STORE = "
        insert into kept_answer (key, holder, request, status, headers, body, kept_at)
        values (?1, ?2, ?3, ?4, ?5, ?6, ?7)
        on conflict (key, holder) do update
        set request = excluded.request, status = excluded.status, headers = excluded.headers,
          body = excluded.body, kept_at = excluded.kept_at
        where kept_answer.kept_at < ?8 or kept_answer.status = 0";
}

pub(crate) fn find(
    conn: Connection<'_>,
    key: &str,
    holder: TokenHash,
) -> Result<Option<StoredResponse>, JobError> {
    query::first(conn, FIND, values![key, holder.0], |row| {
        Ok(StoredResponse {
            key: row.get(0)?,
            holder: rows::hash(row, 1)?,
            request: rows::hash(row, 2)?,
            status: row.get(3)?,
            headers: rows::headers(row, 4)?,
            body: rows::bytes(row, 5)?,
        })
    })
}

/// Responses stored before this are forgotten. The time is schedule time: setting the clock makes
/// none older or younger.
pub(crate) fn kept_from(tx: &mut dyn Transaction, now: Timestamp) -> Result<Timestamp, JobError> {
    Ok(tx.schedule(now)?.plus_ms(-limits::IDEMPOTENCY_RETENTION_MS))
}

pub(crate) fn store(
    tx: &mut dyn Transaction,
    answer: &StoredResponse,
    now: Timestamp,
) -> Result<(), JobError> {
    let (at, kept_from) = (tx.schedule(now)?, kept_from(tx, now)?);
    tx.execute(
        STORE,
        values![
            answer.key,
            answer.holder.0,
            answer.request.0,
            answer.status,
            rows::blob(&answer.headers.0),
            &answer.body[..],
            at.as_millis(),
            kept_from.as_millis(),
        ],
    )?;
    Ok(())
}
