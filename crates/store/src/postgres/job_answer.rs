//! What the caller of a job is told when it was not done.

use std::sync::Arc;

use model::contract::{DiskFault, StoreError};

use crate::postgres::session_error::{SessionError, SqlFault};
use crate::sql::job_error::JobError;

/// What the caller is told if nothing was written, or if nobody knows.
pub(crate) fn store_error(error: JobError) -> StoreError {
    match error {
        JobError::Store(error) | JobError::Refused(error) => error,
        JobError::Sqlite(error) => StoreError::Broken(Arc::new(error)),
        JobError::Postgres(error) => of_session(error),
    }
}

pub(crate) fn of_session(error: SessionError) -> StoreError {
    match (&error, error.fault()) {
        (SessionError::Unknown(_), _) => StoreError::Unknown,
        (_, Some(SqlFault::ReadOnly)) => StoreError::Disk(DiskFault::ReadOnlyDatabase),
        (_, Some(SqlFault::DiskFull)) => StoreError::Disk(DiskFault::FullDatabase),
        (_, Some(SqlFault::Damaged)) => StoreError::Disk(DiskFault::Unreadable),
        (SessionError::Lost(_) | SessionError::TimedOut(_), _) | (_, Some(SqlFault::Shutdown)) => {
            StoreError::Disk(DiskFault::NoDatabase)
        }
        (
            SessionError::Refused(_),
            Some(
                SqlFault::Conflict
                | SqlFault::LockTimeout
                | SqlFault::Cancelled
                | SqlFault::OutOfMemory
                | SqlFault::TooManyConnections
                | SqlFault::StalePlan,
            ),
        ) => StoreError::Busy,
        (SessionError::Refused(_), _) => StoreError::Broken(Arc::new(error)),
    }
}

/// Whether the whole transaction may be done again at once: nothing was written, and another try
/// may succeed.
pub(crate) fn may_try_again(error: &JobError) -> bool {
    match error {
        JobError::Postgres(error) => {
            let fault = error.fault();
            let is_refused = matches!(error, SessionError::Refused(_));
            // What is lost was not written, and another session may be there at once.
            is_refused && matches!(fault, Some(SqlFault::Conflict | SqlFault::StalePlan))
                || matches!(error, SessionError::Lost(_))
        }
        JobError::Sqlite(_) | JobError::Store(_) | JobError::Refused(_) => false,
    }
}
