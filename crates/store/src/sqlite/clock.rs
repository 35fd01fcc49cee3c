//! Schedule time: how far it has come, and the wall-clock time that goes with it.
//!
//! The engine reports both in heartbeats (`Leases::renew`). Between two heartbeats both
//! clocks are assumed to run at the same rate. So a wall-clock time in the future is wrong by as
//! much as the wall clock is set until then.

use model::limits::{CLOCK_STEP_MS, IDLE_HEARTBEAT_MS};
use model::time::{Heartbeat, Moment, TimeBounds, Timestamp};
use rusqlite::{Connection, OptionalExtension};

use crate::sqlite::job_error::JobError;
use crate::sqlite::tx::Tx;

statements! {
    SET_HEARTBEAT = "
        insert into clock (id, schedule_at, wall_at, earliest_at, latest_at, reached_at)
        values (1, ?1, ?2, ?3, ?4, ?5)
        on conflict (id) do update
        set schedule_at = ?1, wall_at = ?2, earliest_at = ?3, latest_at = ?4, reached_at = ?5";
    BOUNDS = "
        select coalesce(earliest_at, wall_at), coalesce(latest_at, wall_at) from clock
        where id = 1";
    LAST = "select schedule_at, wall_at from clock where id = 1";
    REACHED = "select coalesce(reached_at, earliest_at, wall_at) from clock where id = 1";
    // The newest time in a store without a heartbeat. `standing` has a row for each webhook.
    NEWEST = "
        select max(at) from (
          select (select accepted_at from notification order by id desc limit 1) as at
          union all
          select max(ended_at) from standing)";
}

const HAS_HEARTBEATS: &str = "select 1 from sqlite_schema where type = 'table' and name = 'clock'";

/// Two clocks whose difference changed by less than this are taken to run at the same rate.
const JITTER_MS: i64 = CLOCK_STEP_MS / 3;

pub(crate) fn record(tx: &mut Tx<'_>, heartbeat: Heartbeat) -> Result<(), JobError> {
    let Heartbeat { mut at, bounds } = heartbeat;
    // Wall-clock times that were shown stay the same from one heartbeat to the next, unless there
    // is a reason.
    if let Some(before) = tx.heartbeat()?
        && behind_ms(at).saturating_sub(behind_ms(before)).abs() < JITTER_MS
    {
        at.wall = at.schedule.plus_ms(behind_ms(before));
    }
    let reached = tx.reached_for_certain()?.max(bounds.earliest);
    let times = [
        at.schedule,
        at.wall,
        bounds.earliest,
        bounds.latest,
        reached,
    ];
    tx.execute(SET_HEARTBEAT, times.map(Timestamp::as_millis))?;
    tx.cache.heartbeat = Some(Some(at));
    tx.cache.reached_for_certain = Some(reached);
    Ok(())
}

/// The latest heartbeat; the newest time of a store that has none.
pub(crate) fn last(conn: &Connection) -> Result<Option<Heartbeat>, rusqlite::Error> {
    let Some(at) = read_heartbeat(conn)? else {
        return Ok(newest(conn)?.map(Heartbeat::certain));
    };
    let bounds = |row: &rusqlite::Row<'_>| {
        Ok(TimeBounds {
            earliest: Timestamp::from_millis(row.get(0)?),
            latest: Timestamp::from_millis(row.get(1)?),
        })
    };
    let bounds = conn.prepare_cached(BOUNDS)?.query_row([], bounds)?;
    Ok(Some(Heartbeat { at, bounds }))
}

fn newest(conn: &Connection) -> Result<Option<Moment>, rusqlite::Error> {
    let newest: Option<i64> = conn
        .prepare_cached(NEWEST)?
        .query_row([], |row| row.get(0))?;
    Ok(newest.map(|at| Moment::same(Timestamp::from_millis(at))))
}

/// The moment of `last`, also for a store from before heartbeats.
pub(crate) fn last_of_any(conn: &Connection) -> Result<Option<Moment>, rusqlite::Error> {
    let last = match conn.prepare(HAS_HEARTBEATS)?.exists([])? {
        true => read_heartbeat(conn)?,
        false => None,
    };
    match last {
        None => newest(conn),
        last => Ok(last),
    }
}

fn read_heartbeat(conn: &Connection) -> Result<Option<Moment>, rusqlite::Error> {
    let row = |row: &rusqlite::Row<'_>| {
        Ok(Moment {
            schedule: Timestamp::from_millis(row.get(0)?),
            wall: Timestamp::from_millis(row.get(1)?),
        })
    };
    conn.prepare_cached(LAST)?.query_row([], row).optional()
}

/// How far schedule time is behind the wall clock.
pub(crate) fn lag_ms(conn: &Connection) -> Result<i64, JobError> {
    Ok(read_heartbeat(conn)?.map_or(0, behind_ms))
}

/// When unattempted deliveries are due: at the time they were accepted, in schedule time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UnattemptedDue {
    lag_ms: i64,
    /// No due time is later than this, since it has come; the end of time without a heartbeat.
    by: Timestamp,
}

impl UnattemptedDue {
    pub(crate) fn due_at(self, accepted_at: Timestamp) -> Timestamp {
        accepted_at
            .plus_ms(self.lag_ms.saturating_neg())
            .min(self.by)
    }

    /// The same once schedule time has come to `now`.
    pub(crate) fn by(self, now: Timestamp) -> Self {
        match self.by {
            Timestamp::MAX => self,
            _ => Self { by: now, ..self },
        }
    }
}

impl Tx<'_> {
    /// The latest time that had come for certain by any heartbeat; the epoch without one. A clock
    /// that is set back does not change it.
    pub(crate) fn reached_for_certain(&mut self) -> Result<Timestamp, JobError> {
        if let Some(reached) = self.cache.reached_for_certain {
            return Ok(reached);
        }
        let reached = self
            .conn
            .prepare_cached(REACHED)?
            .query_row([], |row| row.get(0))
            .optional()?;
        let reached = reached.map_or(Timestamp::EPOCH, Timestamp::from_millis);
        self.cache.reached_for_certain = Some(reached);
        Ok(reached)
    }

    /// Schedule time when the wall clock says `now`. It is ahead of the true one by no more than
    /// the time between two heartbeats, however the clock was set since the latest.
    pub(crate) fn schedule(&mut self, now: Timestamp) -> Result<Timestamp, JobError> {
        let Some(heartbeat) = self.heartbeat()? else {
            return Ok(now);
        };
        let since_ms = now.ms_since(heartbeat.wall);
        let since_ms = match since_ms {
            0..=IDLE_HEARTBEAT_MS => since_ms,
            _ => 0,
        };
        Ok(heartbeat.schedule.plus_ms(since_ms))
    }

    /// The wall-clock time that goes with this schedule time.
    pub(crate) fn wall(&mut self, schedule: Timestamp) -> Result<Timestamp, JobError> {
        Ok(schedule.plus_ms(self.heartbeat()?.map_or(0, behind_ms)))
    }

    pub(crate) fn unattempted_due(&mut self) -> Result<UnattemptedDue, JobError> {
        let heartbeat = self.heartbeat()?;
        Ok(UnattemptedDue {
            lag_ms: heartbeat.map_or(0, behind_ms),
            by: heartbeat.map_or(Timestamp::MAX, |heartbeat| heartbeat.schedule),
        })
    }

    fn heartbeat(&mut self) -> Result<Option<Moment>, JobError> {
        if let Some(known) = self.cache.heartbeat {
            return Ok(known);
        }
        let found = read_heartbeat(self.conn)?;
        self.cache.heartbeat = Some(found);
        Ok(found)
    }
}

fn behind_ms(at: Moment) -> i64 {
    at.wall.ms_since(at.schedule)
}
