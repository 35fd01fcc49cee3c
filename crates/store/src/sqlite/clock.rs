//! Schedule time: how far it has come, and the wall-clock time that goes with it.
//!
//! The engine reports both in heartbeats (`Leases::renew`). What follows from the latest is in
//! `sql/heartbeat.rs`. A wall-clock time in the future is wrong by as much as the wall clock is set
//! until then.

use model::time::{Heartbeat, Moment, TimeBounds, Timestamp};
use rusqlite::{Connection, OptionalExtension};

use crate::sql::heartbeat::{self, UnattemptedDue};
use crate::sql::job_error::JobError;
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

pub(crate) fn record(tx: &mut Tx<'_>, beat: Heartbeat) -> Result<(), JobError> {
    let Heartbeat { at, bounds } = beat;
    let at = heartbeat::steady(tx.heartbeat()?, at);
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

    /// Schedule time when the wall clock says `now`.
    pub(crate) fn schedule_at(&mut self, now: Timestamp) -> Result<Timestamp, JobError> {
        Ok(heartbeat::schedule_at(self.heartbeat()?, now))
    }

    /// The wall-clock time that goes with this schedule time.
    pub(crate) fn wall(&mut self, schedule: Timestamp) -> Result<Timestamp, JobError> {
        Ok(heartbeat::wall_at(self.heartbeat()?, schedule))
    }

    pub(crate) fn unattempted_due(&mut self) -> Result<UnattemptedDue, JobError> {
        Ok(UnattemptedDue::of(self.heartbeat()?))
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
