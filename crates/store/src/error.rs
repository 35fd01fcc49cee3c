//! Why a store cannot be opened: the error of opening, inspecting, copying and replacing one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::contract::DiskFault;
use model::time::Timestamp;
use rusqlite::ErrorCode;

use crate::integrity::fault::WalFault;
use crate::postgres::{HostFailure, HostFault, host_fault};
use crate::sqlite::{disk_probe, error_codes};

/// Why a store cannot be opened, and what to do about it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum OpenError {
    #[error("the folder {} does not exist: create it, or name another one", .0.display())]
    NoFolder(PathBuf),
    #[error("there is no store at {} yet: `willcall serve` makes one", .0.display())]
    NoStore(PathBuf),
    #[error(
        "{} is not a Willcall store and was not changed: move it away, or name another folder",
        .0.display()
    )]
    NotAStore(PathBuf),
    #[error(
        "{} is damaged ({}) and was not changed: restore it from a backup, or move it away to \
         start with an empty store",
        .0.display(), .1
    )]
    Damaged(PathBuf, String),
    #[error(
        "{} was not closed, and {fault}: the latest notifications would be lost, so nothing was \
         changed. Put the write-ahead log back if you have it, or run `willcall recover`, which \
         says what is lost and keeps the old files",
        .path.display()
    )]
    Wal { path: PathBuf, fault: WalFault },
    #[error("there is no file {}", .0.display())]
    NoCopy(PathBuf),
    #[error("{} is not a complete copy of a store: {}. Nothing was changed", .0.display(), .1)]
    Copy(PathBuf, WalFault),
    #[error(
        "{} was written by a newer Willcall (its schema has version {found}, this program knows \
         {known}) and was not changed: start the newer program",
        .path.display()
    )]
    Newer {
        path: PathBuf,
        found: u32,
        known: u32,
    },
    #[error(
        "{} may not be read or written ({}): give this user access to the file and its folder",
        .0.display(), .1
    )]
    NoAccess(PathBuf, String),
    #[error("{} is locked by another program: end that program first", .0.display())]
    InUse(PathBuf),
    #[error("there is no room left for {}: free some on its disk", .0.display())]
    Full(PathBuf),
    #[error("{} cannot be opened: {fault}. {}", .path.display(), .fault.to_do())]
    Disk { path: PathBuf, fault: DiskFault },
    #[error("{} cannot be opened: {}", .0.display(), .1)]
    Broken(PathBuf, Arc<dyn std::error::Error + Send + Sync>),
    #[error(
        "{} was moved to {target} at {at} and is not used any more: name that with the setting \
         database_url. To use the file again, without what came after, run `willcall copy --undo`",
        .path.display()
    )]
    Moved {
        path: PathBuf,
        target: String,
        at: Timestamp,
    },
    #[error(
        "the database has an unfinished copy of {source_file} and cannot be used before it is \
         finished: run `willcall copy --from sqlite --to postgres` again, which goes on where it \
         stopped; or make an empty database"
    )]
    UnfinishedCopy { source_file: String },
    #[error(
        "the schema {schema} of the database has {} of another application, and was not changed: \
         make a schema or a database for Willcall, and name that",
        foreign(.names)
    )]
    ForeignSchema { schema: String, names: Vec<String> },
    #[error(
        "the tables in schema {schema} of the database were written by a newer Willcall (their \
         version is {found}, this program knows {known}) and were not changed: start the newer \
         program"
    )]
    NewerSchema {
        schema: String,
        found: u32,
        known: u32,
    },
    #[error(
        "the tables in schema {schema} of the database cannot be read or migrated, and were not \
         changed: {words}"
    )]
    Migration { schema: String, words: String },
    #[error("this process may not start more threads ({0}): raise its limit of tasks")]
    NoThreads(String),
    /// No host of a database can be used: why not, one by one.
    #[error("{}", host_fault::sentence(.0))]
    NoHost(Vec<HostFailure>),
}

impl OpenError {
    /// What is wrong with the database, if it is one, to whoever asks something of the store.
    pub(crate) fn database_fault(&self) -> DiskFault {
        let Self::NoHost(failures) = self else {
            return DiskFault::NoDatabase;
        };
        let faults = || failures.iter().map(|failure| &failure.fault);
        if faults().any(|fault| matches!(fault, HostFault::ReadOnly)) {
            DiskFault::ReadOnlyDatabase
        } else if faults().any(|fault| matches!(fault, HostFault::TooManyConnections(_))) {
            DiskFault::NoConnection
        } else {
            DiskFault::NoDatabase
        }
    }

    pub(crate) fn of(path: &Path, error: rusqlite::Error) -> Self {
        let path = path.to_owned();
        match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => Self::NotAStore(path),
            Some(ErrorCode::DatabaseCorrupt) => Self::Damaged(path, error.to_string()),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::InUse(path),
            Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::ReadOnly) => {
                match disk_probe::bars_opening(&path) {
                    Some(fault) => Self::Disk { path, fault },
                    None => Self::NoAccess(path, error.to_string()),
                }
            }
            _ => {
                match error_codes::symptom(&error).map(|symptom| disk_probe::judge(symptom, &path))
                {
                    Some(DiskFault::Full) => Self::Full(path),
                    Some(fault) => Self::Disk { path, fault },
                    None => Self::Broken(path, Arc::new(error)),
                }
            }
        }
    }

    pub(crate) fn of_io(path: &Path, error: &std::io::Error) -> Self {
        let path = path.to_owned();
        match disk_probe::fault_of(error) {
            Some(DiskFault::Full) => Self::Full(path),
            Some(fault) => Self::Disk { path, fault },
            None => Self::NoAccess(path, error.to_string()),
        }
    }

    /// The same error about another file, of which the first one was made.
    pub(crate) fn about(self, path: &Path) -> Self {
        let path = path.to_owned();
        match self {
            Self::NotAStore(_) | Self::NoStore(_) => Self::NotAStore(path),
            Self::Damaged(_, what) => Self::Damaged(path, what),
            Self::Newer { found, known, .. } => Self::Newer { path, found, known },
            error @ (Self::NoFolder(_)
            | Self::NoCopy(_)
            | Self::Copy(..)
            | Self::Wal { .. }
            | Self::NoAccess(..)
            | Self::InUse(_)
            | Self::Full(_)
            | Self::Disk { .. }
            | Self::Broken(..)
            | Self::Moved { .. }
            | Self::UnfinishedCopy { .. }
            | Self::ForeignSchema { .. }
            | Self::NewerSchema { .. }
            | Self::Migration { .. }
            | Self::NoThreads(_)
            | Self::NoHost(_)) => error,
        }
    }
}

/// Some names of what is not ours.
fn foreign(names: &[String]) -> String {
    const SHOWN: usize = 3;
    let shown: Vec<&str> = names.iter().take(SHOWN).map(String::as_str).collect();
    let more = match names.len() > SHOWN {
        true => ", …",
        false => "",
    };
    format!("tables or types ({}{more})", shown.join(", "))
}
