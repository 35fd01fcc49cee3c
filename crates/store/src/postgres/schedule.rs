//! How far the schedule has come by the latest heartbeat, which any node may have written: it is
//! read each time, alone or beside other statements. What follows from it is in
//! `sql/heartbeat.rs`.

use model::time::{Moment, Timestamp};
use tokio_postgres::Row;

use crate::postgres::connection::PostgresConnection;
use crate::sql::heartbeat::schedule_at;
use crate::sql::job_error::JobError;
use crate::sql::row::ReadRow;

/// The latest heartbeat, to be asked among other statements. Answers no row before the first.
pub(crate) const LATEST: &str = "select schedule_at, wall_at from clock where id = 1";

/// Schedule time when the wall clock says `now`.
pub(crate) fn at(conn: &PostgresConnection, now: Timestamp) -> Result<Timestamp, JobError> {
    Ok(schedule_at(latest(conn)?, now))
}

/// The latest heartbeat, if there was one.
pub(crate) fn latest(conn: &PostgresConnection) -> Result<Option<Moment>, JobError> {
    latest_of(&conn.session().query(LATEST, &[])?)
}

/// What `LATEST` answered.
pub(crate) fn latest_of(rows: &[Row]) -> Result<Option<Moment>, JobError> {
    let moment = |row: &Row| {
        Ok(Moment {
            schedule: Timestamp::from_millis(row.column(0)?),
            wall: Timestamp::from_millis(row.column(1)?),
        })
    };
    rows.first().map(moment).transpose()
}
