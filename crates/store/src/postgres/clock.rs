//! The row `clock`: how far the schedule has come, and what the wall clock said then. The node
//! whose lease is the oldest keeps it.

use model::time::{Heartbeat, Moment, TimeBounds, Timestamp};

use crate::postgres::batch::Parameter;
use crate::postgres::connection::PostgresConnection;
use crate::postgres::schedule;
use crate::sql::heartbeat::steady;
use crate::sql::job_error::JobError;
use crate::sql::row::ReadRow;
use crate::sql::rows;

statements! {
    SET_HEARTBEAT = "
        insert into clock (id, schedule_at, wall_at, earliest_at, latest_at, reached_at)
        values (1, $1, $2, $3, $4, $3)
        on conflict (id) do update
        set schedule_at = $1, wall_at = $2, earliest_at = $3, latest_at = $4,
          reached_at = greatest(clock.reached_at, $3)";
    LAST = "
        select schedule_at, wall_at, earliest_at, latest_at from clock
        where id = 1";
    // The newest time in a store without a heartbeat. `standing` has a row for each webhook.
    NEWEST = "
        select max(at) from (
          select latest.accepted_at as at from tenant cross join lateral (
            select accepted_at from notification
            where tenant_id = tenant.id
            order by id desc
            limit 1) as latest
          union all
          select max(ended_at) from standing) as times";
}

/// Writes a heartbeat down. The caller has the turn of leases.
pub(crate) fn record(conn: &PostgresConnection, beat: Heartbeat) -> Result<(), JobError> {
    let at = steady(schedule::latest(conn)?, beat.at);
    let times = [
        at.schedule,
        at.wall,
        beat.bounds.earliest,
        beat.bounds.latest,
    ];
    let times = times.map(Timestamp::as_millis);
    let values: Vec<Parameter<'_>> = times.iter().map(|time| time as _).collect();
    conn.session().execute(SET_HEARTBEAT, &values)?;
    Ok(())
}

/// The latest heartbeat; the newest time of a store that has none.
pub(crate) fn last(conn: &PostgresConnection) -> Result<Option<Heartbeat>, JobError> {
    let session = conn.session();
    if let Some(row) = session.query(LAST, &[])?.first() {
        return Ok(Some(Heartbeat {
            at: Moment {
                schedule: rows::time(row, 0)?,
                wall: rows::time(row, 1)?,
            },
            bounds: TimeBounds {
                earliest: rows::time(row, 2)?,
                latest: rows::time(row, 3)?,
            },
        }));
    }
    let found = session.query(NEWEST, &[])?;
    let newest: Option<i64> = match found.first() {
        Some(row) => row.column(0)?,
        None => None,
    };
    Ok(newest.map(|at| Heartbeat::certain(Moment::same(Timestamp::from_millis(at)))))
}
