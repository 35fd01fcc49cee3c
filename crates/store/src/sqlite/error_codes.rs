//! What an error of SQLite says, by its codes. Never decided by a text.

use model::contract::DiskFault;
use rusqlite::{ErrorCode, ffi};

/// What a code of SQLite says of the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DiskSymptom {
    Certain(DiskFault),
    /// Something could not be written, for whatever reason.
    Unwritten,
    /// Something could not be read, or is not what it should be.
    Unread,
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
    // A failed read of the system is reported as damage, too.
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
