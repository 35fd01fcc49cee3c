//! What only notifications older than the oldest one needed: removed once these are gone.

use model::time::Timestamp;

use crate::sql::envelope_cache::EnvelopeCache;
use crate::sql::job_error::JobError;
use crate::sql::row_budget::RowBudget;
use crate::sql::transaction::drop_some;
use crate::sql::{Statement, query, rows};
use crate::sqlite::tx::Tx;

statements! {
    OLDEST = "
        select id, accepted_at from notification
        where id >= 0
        order by id
        limit 1";
    DROP_HISTORY = "
        delete from webhook_past where (webhook_id, until) in (
          select webhook_id, until from webhook_past indexed by webhook_past_age
          where until < ?1
          limit ?2)";
    DROP_FALLS = "
        delete from clock_fall where notification_id in (
          select notification_id from clock_fall
          where notification_id < ?1
          limit ?2)";
    DROP_ENVELOPES = "
        delete from envelope where id in (
          select id from envelope indexed by envelope_hash
          where day < ?1
          limit ?2)";
}

/// Removes envelopes without an attempt, former states of webhooks, and falls of the clock.
pub(crate) fn drop_all(tx: &mut Tx<'_>, budget: &mut RowBudget) -> Result<(), JobError> {
    let sql = Statement::of_both(OLDEST);
    let oldest: Option<(i64, i64)> = query::first(tx.conn, sql, values![], |row| {
        Ok((row.get(0)?, row.get(1)?))
    })?;
    let first = oldest.map_or(i64::MAX, |(id, _)| id);
    drop_some(tx, Statement::of_both(DROP_HISTORY), first, budget)?;
    drop_some(tx, Statement::of_both(DROP_FALLS), first, budget)?;
    let day = match oldest {
        Some((_, at)) => rows::envelope_day(Timestamp::from_millis(at)),
        None => {
            // Nothing is left at all, so the cache is emptied, too.
            tx.cache.envelopes = EnvelopeCache::default();
            i64::MAX
        }
    };
    drop_some(tx, Statement::of_both(DROP_ENVELOPES), day, budget)
}
