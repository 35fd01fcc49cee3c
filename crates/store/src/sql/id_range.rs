//! Ranges of notification ids, and times as their bounds.
//!
//! Times rise with the ids, except where the clock was set back; the store knows where. So a time
//! is found by binary search in each run of ids between two falls. A run whose times are of a clock
//! that was behind has a time after which all of it was accepted, for certain.
//!
//! On PostgreSQL all of this is so within a tenant only, on SQLite within all there is.

use model::id::{NotificationId, TenantId};
use model::limits;
use model::time::Timestamp;

use crate::sql::job_error::JobError;
use crate::sql::{Connection, query, rows};

shared_statements! {
    ACCEPTED_FROM = "
        select id, accepted_at from notification
        where /*postgres tenant_id = ?2 and */ id >= ?1
        order by id
        limit 1";
    LATEST_ID = "select max(id) from notification /*postgres where tenant_id = ?1 */";
    FALLS = "
        select notification_id, coalesce(after_at, 0) from clock_fall
        where /*postgres tenant_id = ?1 and */ notification_id > 0
        order by notification_id";
    REACHED = "
        select max(reached_at) from clock_fall
        where /*postgres tenant_id = ?1 and */ notification_id > 0";
}

/// Ids from `from` up to but without `to`.
#[derive(Clone, Copy)]
pub(crate) struct IdRange {
    pub(crate) from: i64,
    pub(crate) to: i64,
}

/// A part of a webhook's log.
pub(crate) struct LogRange {
    pub(crate) tenant: TenantId,
    pub(crate) webhook: i64,
    pub(crate) ids: IdRange,
}

impl IdRange {
    pub(crate) fn upto(self, id: NotificationId) -> Self {
        self.below(NotificationId(id.0.saturating_add(1)))
    }

    pub(crate) fn below(self, id: NotificationId) -> Self {
        Self {
            to: self.to.min(id.0),
            ..self
        }
    }

    pub(crate) fn above(self, id: NotificationId) -> Self {
        Self {
            from: self.from.max(id.0.saturating_add(1)),
            ..self
        }
    }
}

/// The id of the latest notification that is stored; 0 without any.
pub(crate) fn latest_id(conn: Connection<'_>, tenant: TenantId) -> Result<i64, JobError> {
    let latest: Option<i64> = query::one(conn, LATEST_ID, values![tenant.0])?;
    Ok(latest.unwrap_or(0))
}

/// Whether `accepted_at` may fall once more. Otherwise it stands still while the clock is set back:
/// a clock that jumps all the time must not make searching for a time slow.
pub(crate) fn may_fall(conn: Connection<'_>, tenant: TenantId) -> Result<bool, JobError> {
    Ok(falls(conn, tenant)?.len() < limits::CLOCK_SETBACKS_MAX)
}

/// The latest `accepted_at` before any fall.
pub(crate) fn reached(conn: Connection<'_>, tenant: TenantId) -> Result<Timestamp, JobError> {
    let reached: Option<i64> = query::one(conn, REACHED, values![tenant.0])?;
    Ok(reached.map_or(Timestamp::EPOCH, Timestamp::from_millis))
}

/// The ids at which times fall, in order; empty if the clock was never set back.
pub(crate) fn falls(conn: Connection<'_>, tenant: TenantId) -> Result<Vec<i64>, JobError> {
    let starts = starts(conn, tenant)?.into_iter();
    Ok(starts.map(|(id, _)| id).collect())
}

/// After when the latest run began, for certain; the epoch if that is not known.
pub(crate) fn latest_run_after(
    conn: Connection<'_>,
    tenant: TenantId,
) -> Result<Timestamp, JobError> {
    let latest = starts(conn, tenant)?.pop();
    Ok(latest.map_or(Timestamp::EPOCH, |(_, after)| after))
}

/// The first id of each run but the first, and a time after which all of the run was accepted, for
/// certain; the epoch if there is none.
fn starts(conn: Connection<'_>, tenant: TenantId) -> Result<Vec<(i64, Timestamp)>, JobError> {
    query::list(conn, FALLS, values![tenant.0], |row| {
        Ok((row.get(0)?, rows::time(row, 1)?))
    })
}

/// The first id of a notification accepted at `at` or later, if a time is given. The next unused id
/// if there is none.
pub(crate) fn id_at(
    conn: Connection<'_>,
    tenant: TenantId,
    at: Option<Timestamp>,
) -> Result<Option<i64>, JobError> {
    let Some(at) = at else {
        return Ok(None);
    };
    let end = latest_id(conn, tenant)?.saturating_add(1);
    for (run, _) in runs(conn, tenant, end)? {
        if let (id, Some(_)) = halve(conn, tenant, run, at)? {
            return Ok(Some(id));
        }
    }
    Ok(Some(end))
}

/// The first id that has to be kept, if what was accepted at `at` or later has: never one behind
/// such a notification. Times later than `upto` are unknown, because the clock was ahead. Such
/// notifications count as accepted when the next run begins.
pub(crate) fn first_kept(
    conn: Connection<'_>,
    tenant: TenantId,
    at: Timestamp,
    upto: Timestamp,
) -> Result<i64, JobError> {
    let end = latest_id(conn, tenant)?.saturating_add(1);
    let mut ahead = None;
    for (run, after) in runs(conn, tenant, end)? {
        if (at..=upto).contains(&after) {
            return Ok(ahead.unwrap_or(run.from));
        }
        let (id, found_at) = halve(conn, tenant, run, at)?;
        if id > run.from {
            // The run begins before `at`, and so does everything in front of it.
            ahead = None;
        }
        match found_at {
            Some(found_at) if found_at <= upto => return Ok(ahead.unwrap_or(id)),
            Some(_) => ahead = ahead.or(Some(id)),
            None => {}
        }
    }
    Ok(ahead.unwrap_or(end))
}

/// The id behind the last notification accepted before `at`, if a time is given.
pub(crate) fn end_at(
    conn: Connection<'_>,
    tenant: TenantId,
    at: Option<Timestamp>,
) -> Result<Option<i64>, JobError> {
    let Some(at) = at else {
        return Ok(None);
    };
    let end = latest_id(conn, tenant)?.saturating_add(1);
    for (run, _) in runs(conn, tenant, end)?.into_iter().rev() {
        let (id, _) = halve(conn, tenant, run, at)?;
        if id > run.from {
            return Ok(Some(id));
        }
    }
    Ok(Some(0))
}

/// The runs of ids within which times never fall, each with a time after which it was accepted.
fn runs(
    conn: Connection<'_>,
    tenant: TenantId,
    end: i64,
) -> Result<Vec<(IdRange, Timestamp)>, JobError> {
    let falls = starts(conn, tenant)?;
    let starts = std::iter::once((0, Timestamp::EPOCH)).chain(falls.iter().copied());
    let ends = falls.iter().map(|(id, _)| *id).chain([end]);
    let runs = starts.zip(ends);
    let runs = runs.map(|((from, after), to)| (IdRange { from, to }, after));
    Ok(runs.filter(|(run, _)| run.from < run.to).collect())
}

/// The first id of a run that was accepted at `at` or later, and its time; the end of the run if
/// there is none.
fn halve(
    conn: Connection<'_>,
    tenant: TenantId,
    run: IdRange,
    at: Timestamp,
) -> Result<(i64, Option<Timestamp>), JobError> {
    // All below `low` are earlier than `at`; none from `high` on is.
    let (mut low, mut high, mut found_at) = (run.from, run.to, None);
    while low < high {
        let middle = low + (high - low) / 2;
        let found: Option<(i64, i64)> =
            query::first(conn, ACCEPTED_FROM, values![middle, tenant.0], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?;
        match found.filter(|(id, _)| *id < run.to) {
            Some((id, accepted_at)) if accepted_at < at.as_millis() => low = id.saturating_add(1),
            found => {
                high = middle;
                found_at = found.map_or(found_at, |(_, at)| Some(Timestamp::from_millis(at)));
            }
        }
    }
    Ok((low, found_at))
}
