//! What can go wrong inside a piece of work, and what its caller is told of it.
//!
//! Decided by SQLite's codes, never by a text. Errors of the disk while writing count as a full
//! one: callers wait and repeat, which is right for both.

use std::sync::Arc;

use model::contract::StoreError;
use rusqlite::{ErrorCode, ffi};

/// Why a piece of work was not done.
#[derive(Debug)]
pub(crate) enum Fault {
    /// SQLite could not.
    Sql(rusqlite::Error),
    /// We would not.
    Told(StoreError),
}

/// A row holds what no version of this program writes.
#[derive(Debug, thiserror::Error)]
#[error("the store holds a {0} that cannot be one")]
pub(crate) struct Unreadable(pub(crate) &'static str);

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Told(error)
    }
}

impl From<Unreadable> for Fault {
    fn from(error: Unreadable) -> Self {
        Self::Told(StoreError::Broken(Arc::new(error)))
    }
}

impl From<serde_json::Error> for Fault {
    fn from(error: serde_json::Error) -> Self {
        Self::Told(StoreError::Broken(Arc::new(error)))
    }
}

impl Fault {
    /// What the caller is told, if nothing was written.
    pub(crate) fn told(self) -> StoreError {
        match self {
            Self::Told(error) => error,
            Self::Sql(error) if no_room(&error) => StoreError::Full,
            Self::Sql(error) if busy(&error) => StoreError::Busy,
            Self::Sql(error) => StoreError::Broken(Arc::new(error)),
        }
    }
}

/// What callers are told when the commit itself failed.
pub(crate) fn told_of_commit(error: rusqlite::Error) -> StoreError {
    // The last write may have reached the disk, and a crash would find it there.
    if code(&error) == Some(ErrorCode::SystemIoFailure) && !no_room(&error) {
        return StoreError::Unknown;
    }
    Fault::Sql(error).told()
}

pub(crate) fn broken(words: &'static str) -> StoreError {
    StoreError::Broken(Arc::new(std::io::Error::other(words)))
}

pub(crate) fn code(error: &rusqlite::Error) -> Option<ErrorCode> {
    error.sqlite_error_code()
}

pub(crate) fn no_room(error: &rusqlite::Error) -> bool {
    let extended = error.sqlite_error().map(|error| error.extended_code);
    // SQLite reports ENOSPC as full, but quotas and file size limits as a failed write, and no
    // room for the shared memory file of the write-ahead log as one of these two.
    code(error) == Some(ErrorCode::DiskFull)
        || extended.is_some_and(|extended| {
            [
                ffi::SQLITE_IOERR_WRITE,
                ffi::SQLITE_IOERR_SHMSIZE,
                ffi::SQLITE_IOERR_SHMMAP,
            ]
            .contains(&extended)
        })
}

pub(crate) fn busy(error: &rusqlite::Error) -> bool {
    matches!(
        code(error),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
    )
}
