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
pub(crate) enum JobError {
    /// SQLite could not.
    Sql(rusqlite::Error),
    /// We would not.
    Store(StoreError),
    /// We would not, and this was decided before the job wrote or remembered anything: there is
    /// nothing to undo.
    Refused(StoreError),
}

/// A row holds what no version of this program writes.
#[derive(Debug, thiserror::Error)]
#[error("the store holds a {0} that cannot be one")]
pub(crate) struct CorruptRow(pub(crate) &'static str);

impl From<rusqlite::Error> for JobError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<StoreError> for JobError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<CorruptRow> for JobError {
    fn from(error: CorruptRow) -> Self {
        Self::Store(StoreError::Broken(Arc::new(error)))
    }
}

impl From<serde_json::Error> for JobError {
    fn from(error: serde_json::Error) -> Self {
        Self::Store(StoreError::Broken(Arc::new(error)))
    }
}

/// What a code of SQLite says of the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DiskSymptom {
    Certain(DiskFault),
    /// Something could not be written, for whatever reason.
    Unwritten,
    /// Something could not be read, or is not what it should be.
    Unread,
}

impl JobError {
    /// What the caller is told, if nothing was written.
    pub(crate) fn into_store_error(self, disk: &DiskWatch) -> StoreError {
        let error = match self {
            Self::Store(error) | Self::Refused(error) => return error,
            Self::Sql(error) => error,
        };
        match symptom(&error) {
            Some(symptom) => StoreError::Disk(disk.report(symptom)),
            None if is_busy(&error) => StoreError::Busy,
            None => StoreError::Broken(Arc::new(error)),
        }
    }
}

/// What callers are told when the commit itself failed.
pub(crate) fn commit_error(error: rusqlite::Error, disk: &DiskWatch) -> StoreError {
    // The last write may have reached the disk, and a crash would find it there.
    let symptom = symptom(&error);
    if code(&error) == Some(ErrorCode::SystemIoFailure) && symptom != Some(DiskSymptom::Unwritten) {
        symptom.map(|symptom| disk.report(symptom));
        return StoreError::Unknown;
    }
    JobError::Sql(error).into_store_error(disk)
}

/// What an error has to do with the disk, if it has.
pub(crate) fn symptom(error: &rusqlite::Error) -> Option<DiskSymptom> {
    let (code, extended) = (code(error)?, error.sqlite_error()?.extended_code);
    let certain = |fault| Some(DiskSymptom::Certain(fault));
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
        return Some(DiskSymptom::Unread);
    }
    if code != ErrorCode::SystemIoFailure {
        return None;
    }
    match extended {
        // SQLite reports ENOSPC as full, but all else as a failed write, and no room for the
        // shared memory file of the write-ahead log as one of these two.
        ffi::SQLITE_IOERR_WRITE | ffi::SQLITE_IOERR_SHMSIZE | ffi::SQLITE_IOERR_SHMMAP => {
            Some(DiskSymptom::Unwritten)
        }
        ffi::SQLITE_IOERR_READ
        | ffi::SQLITE_IOERR_SHORT_READ
        | ffi::SQLITE_IOERR_FSTAT
        | ffi::SQLITE_IOERR_CORRUPTFS
        | ffi::SQLITE_IOERR_DATA => Some(DiskSymptom::Unread),
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
pub(crate) fn is_write_failure(error: &rusqlite::Error) -> bool {
    match symptom(error) {
        Some(DiskSymptom::Certain(_) | DiskSymptom::Unwritten) => true,
        Some(DiskSymptom::Unread) | None => false,
    }
}

pub(crate) fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(
        code(error),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
    )
}
