//! Expiry: removes old sessions, links (of users and portals), sign-in failures and bulk
//! jobs.
//!
//! None of them may end later than its own lifetime from now: times written while the clock was
//! ahead are put right.

use model::limits;
use model::time::TimeBounds;

use crate::sql::Statement;
use crate::sql::job_error::JobError;
use crate::sql::row_budget::RowBudget;
use crate::sql::transaction::Transaction;
use crate::sql::transaction::drop_some;

shared_statements! {
    SESSIONS = "
        delete from session where hash in (
          select hash from session indexed by session_age
          where until < ?1
          limit ?2)";
    LINKS = "
        delete from link where hash in (
          select hash from link indexed by link_age
          where until < ?1
          limit ?2)";
    PORTAL_LINKS = "
        delete from portal where hash in (
          select hash from portal indexed by portal_age
          where is_session = 0 and until < ?1
          limit ?2)" | "
        delete from portal where hash in (
          select hash from portal where is_session = false and until < ?1 limit ?2)";
    PORTAL_SESSIONS = "
        delete from portal where hash in (
          select hash from portal indexed by portal_age
          where is_session = 1 and until < ?1
          limit ?2)" | "
        delete from portal where hash in (
          select hash from portal where is_session = true and until < ?1 limit ?2)";
    FAILURES = "
        delete from failure where id in (
          select id from failure indexed by failure_age
          where latest_at < ?1
          limit ?2)";
    BULK_JOBS = "
        delete from errand where id in (
          select id from errand indexed by errand_age
          where ended_at < ?1
          limit ?2)";
    SESSIONS_AHEAD = "
        update session set until = ?1 where hash in (
          select hash from session indexed by session_age
          where until > ?2
          limit ?3)";
    LINKS_AHEAD = "
        update link set until = ?1 where hash in (
          select hash from link indexed by link_age
          where until > ?2
          limit ?3)";
    PORTAL_LINKS_AHEAD = "
        update portal set until = ?1 where hash in (
          select hash from portal indexed by portal_age
          where is_session = 0 and until > ?2
          limit ?3)" | "
        update portal set until = ?1 where hash in (
          select hash from portal where is_session = false and until > ?2 limit ?3)";
    PORTAL_SESSIONS_AHEAD = "
        update portal set until = ?1 where hash in (
          select hash from portal indexed by portal_age
          where is_session = 1 and until > ?2
          limit ?3)" | "
        update portal set until = ?1 where hash in (
          select hash from portal where is_session = true and until > ?2 limit ?3)";
    FAILURES_AHEAD = "
        update failure set latest_at = ?1 where id in (
          select id from failure indexed by failure_age
          where latest_at > ?2
          limit ?3)";
    BULK_JOBS_AHEAD = "
        update errand set ended_at = ?1 where id in (
          select id from errand indexed by errand_age
          where ended_at > ?2
          limit ?3)";
}

pub(crate) fn prune(
    tx: &dyn Transaction,
    now: TimeBounds,
    budget: &mut RowBudget,
) -> Result<(), JobError> {
    let kept = |ms: i64| now.earliest.plus_ms(-ms).as_millis();
    drop_some(tx, SESSIONS, kept(0), budget)?;
    drop_some(tx, LINKS, kept(0), budget)?;
    drop_some(tx, PORTAL_LINKS, kept(0), budget)?;
    drop_some(tx, PORTAL_SESSIONS, kept(0), budget)?;
    drop_some(
        tx,
        FAILURES,
        kept(limits::SIGN_IN_FAILURE_RETENTION_MS),
        budget,
    )?;
    drop_some(tx, BULK_JOBS, kept(limits::BULK_JOB_RETENTION_MS), budget)?;
    put_right(tx, SESSIONS_AHEAD, now, limits::SESSION_MS, budget)?;
    put_right(tx, LINKS_AHEAD, now, limits::LINK_MS, budget)?;
    put_right(
        tx,
        PORTAL_LINKS_AHEAD,
        now,
        limits::PORTAL_LINK_MS_MAX,
        budget,
    )?;
    put_right(tx, PORTAL_SESSIONS_AHEAD, now, limits::SESSION_MS, budget)?;
    put_right(tx, FAILURES_AHEAD, now, 0, budget)?;
    put_right(tx, BULK_JOBS_AHEAD, now, 0, budget)
}

/// Moves times beyond `ahead_ms` from now to where they would be if they began now.
fn put_right(
    tx: &dyn Transaction,
    sql: Statement,
    now: TimeBounds,
    ahead_ms: i64,
    budget: &mut RowBudget,
) -> Result<(), JobError> {
    let to = now.latest.plus_ms(ahead_ms);
    let from = to.plus_ms(limits::CLOCK_AHEAD_MAX_MS);
    let moved = tx.execute(
        sql,
        values![to.as_millis(), from.as_millis(), budget.rows()],
    )?;
    budget.take(moved);
    Ok(())
}
