//! What can go wrong inside a piece of work, and what its caller is told of it.
//!
//! Decided by SQLite's codes, never by a text. What they leave open of the disk is found out by
//! trying it (`disk.rs`).

use std::sync::Arc;

use model::contract::{DiskFault, StoreError};
use rusqlite::{ErrorCode, ffi};

use crate::sqlite::disk::DiskWatch;

/// Why a piece of work was not done.
#[derive(Debug)]
pub(crate) enum Fault {
    /// SQLite could not.
    Sql(rusqlite::Error),
    /// We would not.
    Told(StoreError),
    /// We would not, and this was decided before the job wrote or remembered anything: there is
    /// nothing to undo.
    Refused(StoreError),
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

/// What a code of SQLite says of the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sign {
    Certain(DiskFault),
    /// Something could not be written, for whatever reason.
    Unwritten,
    /// Something could not be read, or is not what it should be.
    Unread,
}

impl Fault {
    /// What the caller is told, if nothing was written.
    pub(crate) fn told(self, disk: &DiskWatch) -> StoreError {
        let error = match self {
            Self::Told(error) | Self::Refused(error) => return error,
            Self::Sql(error) => error,
        };
        match sign(&error) {
            Some(sign) => StoreError::Disk(disk.met(sign)),
            None if busy(&error) => StoreError::Busy,
            None => StoreError::Broken(Arc::new(error)),
        }
    }
}

/// What callers are told when the commit itself failed.
pub(crate) fn told_of_commit(error: rusqlite::Error, disk: &DiskWatch) -> StoreError {
    // The last write may have reached the disk, and a crash would find it there.
    let sign = sign(&error);
    if code(&error) == Some(ErrorCode::SystemIoFailure) && sign != Some(Sign::Unwritten) {
        sign.map(|sign| disk.met(sign));
        return StoreError::Unknown;
    }
    Fault::Sql(error).told(disk)
}

/// What an error has to do with the disk, if it has.
pub(crate) fn sign(error: &rusqlite::Error) -> Option<Sign> {
    let (code, extended) = (code(error)?, error.sqlite_error()?.extended_code);
    let certain = |fault| Some(Sign::Certain(fault));
    if code == ErrorCode::DiskFull {
        return certain(DiskFault::Full);
    }
    if code == ErrorCode::ReadOnly {
        return certain(match extended {
            ffi::SQLITE_READONLY_DBMOVED => DiskFault::Moved,
            _ => DiskFault::ReadOnly,
        });
    }
    // What the system says while it reads is told as damage, too.
    if [ErrorCode::DatabaseCorrupt, ErrorCode::NotADatabase].contains(&code) {
        return Some(Sign::Unread);
    }
    if code != ErrorCode::SystemIoFailure {
        return None;
    }
    match extended {
        // SQLite reports ENOSPC as full, but all else as a failed write, and no room for the
        // shared memory file of the write-ahead log as one of these two.
        ffi::SQLITE_IOERR_WRITE | ffi::SQLITE_IOERR_SHMSIZE | ffi::SQLITE_IOERR_SHMMAP => {
            Some(Sign::Unwritten)
        }
        ffi::SQLITE_IOERR_READ
        | ffi::SQLITE_IOERR_SHORT_READ
        | ffi::SQLITE_IOERR_FSTAT
        | ffi::SQLITE_IOERR_CORRUPTFS
        | ffi::SQLITE_IOERR_DATA => Some(Sign::Unread),
        ffi::SQLITE_IOERR_NOMEM => None,
        _ => certain(DiskFault::Failing),
    }
}

pub(crate) fn broken(words: &'static str) -> StoreError {
    StoreError::Broken(Arc::new(std::io::Error::other(words)))
}

pub(crate) fn code(error: &rusqlite::Error) -> Option<ErrorCode> {
    error.sqlite_error_code()
}

/// Whether something could not be written.
pub(crate) fn unwritten(error: &rusqlite::Error) -> bool {
    match sign(error) {
        Some(Sign::Certain(_) | Sign::Unwritten) => true,
        Some(Sign::Unread) | None => false,
    }
}

pub(crate) fn busy(error: &rusqlite::Error) -> bool {
    matches!(
        code(error),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
    )
}
