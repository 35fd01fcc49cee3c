//! What the latest heartbeat says of schedule time, for both engines: how far it has come, and what
//! goes with it on the wall. Which heartbeat is the latest each engine knows for itself.
//!
//! Between two heartbeats both clocks are assumed to run at the same rate.

use model::limits::{CLOCK_STEP_MS, IDLE_HEARTBEAT_MS};
use model::time::{Moment, Timestamp};

use crate::sql::job_error::JobError;
use crate::sql::{Connection, query};

shared_statements! {
    LAG = "select coalesce(max(wall_at - schedule_at), 0) from clock where id = 1";
}

/// Two clocks whose difference changed by less than this are taken to run at the same rate.
const JITTER_MS: i64 = CLOCK_STEP_MS / 3;

/// How far schedule time is behind the wall clock.
pub(crate) fn lag_ms(conn: Connection<'_>) -> Result<i64, JobError> {
    query::one(conn, LAG, values![])
}

/// How far schedule time is behind the wall clock at a heartbeat.
pub(crate) fn behind_ms(at: Moment) -> i64 {
    at.wall.ms_since(at.schedule)
}

/// A heartbeat as it is written down after `latest`: wall-clock times that were shown stay the same
/// from one to the next, unless there is a reason.
pub(crate) fn steady(latest: Option<Moment>, at: Moment) -> Moment {
    match latest {
        Some(latest) if behind_ms(at).saturating_sub(behind_ms(latest)).abs() < JITTER_MS => {
            Moment {
                wall: at.schedule.plus_ms(behind_ms(latest)),
                ..at
            }
        }
        Some(_) | None => at,
    }
}

/// Schedule time when the wall clock says `now`. It is ahead of the true one by no more than the
/// time between two heartbeats, however the clock was set since the latest.
pub(crate) fn schedule_at(latest: Option<Moment>, now: Timestamp) -> Timestamp {
    let Some(latest) = latest else {
        return now;
    };
    let since_ms = now.ms_since(latest.wall);
    let since_ms = match since_ms {
        0..=IDLE_HEARTBEAT_MS => since_ms,
        _ => 0,
    };
    latest.schedule.plus_ms(since_ms)
}

/// The wall-clock time that goes with this schedule time.
pub(crate) fn wall_at(latest: Option<Moment>, schedule: Timestamp) -> Timestamp {
    schedule.plus_ms(latest.map_or(0, behind_ms))
}

/// When unattempted deliveries are due: at the time they were accepted, in schedule time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UnattemptedDue {
    lag_ms: i64,
    /// No due time is later than this, since it has come; the end of time without a heartbeat.
    by: Timestamp,
}

impl UnattemptedDue {
    pub(crate) fn of(latest: Option<Moment>) -> Self {
        Self {
            lag_ms: latest.map_or(0, behind_ms),
            by: latest.map_or(Timestamp::MAX, |latest| latest.schedule),
        }
    }

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
