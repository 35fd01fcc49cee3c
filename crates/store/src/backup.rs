//! Backup: copies a store that is in use into one file, as it was at one moment.
//!
//! One read transaction lasts from the first page to the last, so writers go on and the copy never
//! starts over. Meanwhile the WAL cannot be restarted and grows; past a limit the backup is given
//! up. The file gets its name only when it is complete and on the disk.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use model::limits::BACKUP_LOG_BYTES_MAX;
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use crate::error::OpenError;
use crate::files::{beside, folder_of, sync_folder};
use crate::inspect::{self, Inspection};
use crate::replace::seal;

/// Pages copied between two reports.
const PAGES_AT_ONCE: i32 = 1_024;

/// The progress of a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackupProgress {
    pub pages: u64,
    pub pages_all: u64,
    /// The size of the WAL beside the store.
    pub log_bytes: u64,
}

/// Why there is no backup. The store is unchanged, and nothing is left of the copy.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error("{0}")]
    Store(#[from] OpenError),
    #[error(
        "{} exists already and was not changed: name another file, or move it away",
        .0.display()
    )]
    Exists(PathBuf),
    #[error("the folder {} does not exist: create it, or name another one", .0.display())]
    NoFolder(PathBuf),
    #[error("{} would be taken for a part of the store itself: name another file", .0.display())]
    OfTheStore(PathBuf),
    #[error(
        "there is no room left for the backup {}: free some on its disk, or \
         name a file elsewhere",
        .0.display()
    )]
    Full(PathBuf),
    #[error(
        "the backup {} cannot be written ({}): give this user access to its \
         folder, or name a file elsewhere",
        .0.display(), .1
    )]
    Unwritten(PathBuf, String),
    #[error(
        "the backup {} differs from the store ({}) and was removed: is its disk sound?",
        .0.display(), .1
    )]
    Unsound(PathBuf, String),
    #[error(
        "the backup was given up: more was written to the store meanwhile than its write-ahead \
         log may hold ({} MiB). Try again when there is less load, or on a faster disk",
        BACKUP_LOG_BYTES_MAX / (1024 * 1024)
    )]
    LogTooLong,
    #[error("the backup was given up: {0}")]
    GivenUp(String),
}

/// Copies the store at `path` into the new file `to`, which only its owner may read. `watch` is
/// told the progress, and may give the backup up with a reason.
pub fn backup(
    path: &Path,
    to: &Path,
    watch: &mut dyn FnMut(BackupProgress) -> Result<(), String>,
) -> Result<Inspection, BackupError> {
    within(path, to, BACKUP_LOG_BYTES_MAX, watch)
}

/// The same with another limit for the growth of the WAL.
pub(crate) fn within(
    path: &Path,
    to: &Path,
    log_bytes_max: u64,
    watch: &mut dyn FnMut(BackupProgress) -> Result<(), String>,
) -> Result<Inspection, BackupError> {
    check_name(path, to)?;
    let conn = inspect::for_reading(path)?;
    let partial = PartialFile::new(to)?;
    copy(&conn, path, &partial, log_bytes_max, watch)?;
    drop(conn);
    let inspection = partial.check()?;
    partial.name(to)?;
    Ok(inspection)
}

fn check_name(path: &Path, to: &Path) -> Result<(), BackupError> {
    if fs::symlink_metadata(to).is_ok() {
        return Err(BackupError::Exists(to.to_owned()));
    }
    let folder = folder_of(to);
    if !folder.is_dir() {
        return Err(BackupError::NoFolder(folder.to_owned()));
    }
    let whole = |path: &Path| {
        let folder = fs::canonicalize(folder_of(path)).ok()?;
        Some(folder.join(path.file_name()?))
    };
    let Some(full) = whole(to) else {
        return Err(BackupError::Unwritten(
            to.to_owned(),
            "it has no name".to_owned(),
        ));
    };
    let store = fs::canonicalize(path).ok().or_else(|| whole(path));
    let is_beside = store.is_some_and(|store| {
        let store = store.into_os_string().into_encoded_bytes();
        let full = full.into_os_string().into_encoded_bytes();
        full.strip_prefix(store.as_slice())
            .is_some_and(|rest| rest.starts_with(b"-"))
    });
    match is_beside {
        true => Err(BackupError::OfTheStore(to.to_owned())),
        false => Ok(()),
    }
}

fn copy(
    conn: &Connection,
    path: &Path,
    partial: &PartialFile,
    log_bytes_max: u64,
    watch: &mut dyn FnMut(BackupProgress) -> Result<(), String>,
) -> Result<(), BackupError> {
    let of_store = |error: rusqlite::Error| BackupError::Store(OpenError::of(path, error));
    let tx = conn.unchecked_transaction().map_err(of_store)?;
    // From here on the transaction sees one state.
    let pages = "select page_count from pragma_page_count, (select 1 from tenant limit 1)";
    let seen = tx.query_row(pages, [], |_| Ok(()));
    if let Err(error) = seen
        && error != rusqlite::Error::QueryReturnedNoRows
    {
        return Err(of_store(error));
    }
    let mut target = partial.open()?;
    let unwritten = |error| partial.failed(error);
    let log = beside(
        &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()),
        "-wal",
    );
    let log_bytes = || fs::metadata(&log).map_or(0, |log| log.len());
    let log_bytes_before = log_bytes();
    let copy = Backup::new(&tx, &mut target).map_err(unwritten)?;
    loop {
        let step = copy.step(PAGES_AT_ONCE).map_err(unwritten)?;
        let progress = copy.progress();
        let number = |pages| u64::try_from(pages).unwrap_or(0);
        let now = BackupProgress {
            pages: number(progress.pagecount - progress.remaining),
            pages_all: number(progress.pagecount),
            log_bytes: log_bytes(),
        };
        watch(now).map_err(BackupError::GivenUp)?;
        if step == StepResult::Done {
            return Ok(());
        }
        if now.log_bytes.saturating_sub(log_bytes_before) > log_bytes_max {
            return Err(BackupError::LogTooLong);
        }
        if step != StepResult::More {
            // Another process is recovering the WAL, which takes a moment.
            std::thread::yield_now();
        }
    }
}

/// The copy until it has its name. Removed if it never gets one.
struct PartialFile {
    at: PathBuf,
    to: PathBuf,
}

impl PartialFile {
    fn new(to: &Path) -> Result<Self, BackupError> {
        let at = beside(to, &format!(".part-{}", std::process::id()));
        let made = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&at);
        let partial = Self {
            at,
            to: to.to_owned(),
        };
        match made {
            Ok(_) => Ok(partial),
            Err(error) => Err(partial.failed_io(&error)),
        }
    }

    fn open(&self) -> Result<Connection, BackupError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let opened = Connection::open_with_flags(&self.at, flags).and_then(|conn| {
            // It counts only once it is complete, and is synced then.
            conn.pragma_update(None, "synchronous", "off")?;
            Ok(conn)
        });
        opened.map_err(|error| self.failed(error))
    }

    /// Reads all of it again.
    fn check(&self) -> Result<Inspection, BackupError> {
        let sealed = OpenOptions::new().write(true).open(&self.at);
        let sealed = sealed.and_then(|file| {
            seal(&file)?;
            file.sync_all()
        });
        sealed.map_err(|error| self.failed_io(&error))?;
        inspect::inspect(&self.at)
            .map_err(|error| BackupError::Unsound(self.to.clone(), error.to_string()))
    }

    fn name(&self, to: &Path) -> Result<(), BackupError> {
        // Unlike a rename, a link does not replace what has come there meanwhile.
        let named = match fs::hard_link(&self.at, to) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(BackupError::Exists(to.to_owned()));
            }
            Err(_) => fs::rename(&self.at, to),
            Ok(()) => Ok(()),
        };
        let named = named.and_then(|()| sync_folder(to));
        named.map_err(|error| self.failed_io(&error))
    }

    fn failed(&self, error: rusqlite::Error) -> BackupError {
        self.backup_error(&OpenError::of(&self.to, error))
    }

    fn failed_io(&self, error: &io::Error) -> BackupError {
        self.backup_error(&OpenError::of_io(&self.to, error))
    }

    fn backup_error(&self, error: &OpenError) -> BackupError {
        let why = match error {
            OpenError::Full(to) => return BackupError::Full(to.clone()),
            OpenError::NoAccess(_, why) | OpenError::Damaged(_, why) => why.clone(),
            OpenError::Broken(_, why) => why.to_string(),
            OpenError::NoFolder(_)
            | OpenError::NoStore(_)
            | OpenError::NotAStore(_)
            | OpenError::NoCopy(_)
            | OpenError::Copy(..)
            | OpenError::Wal { .. }
            | OpenError::Newer { .. }
            | OpenError::Disk { .. }
            | OpenError::InUse(_)
            | OpenError::Moved { .. }
            | OpenError::UnfinishedCopy { .. }
            | OpenError::ForeignSchema { .. }
            | OpenError::NewerSchema { .. }
            | OpenError::Migration { .. }
            | OpenError::NoThreads(_)
            | OpenError::NoHost(_) => error.to_string(),
        };
        BackupError::Unwritten(self.to.clone(), why)
    }
}

impl Drop for PartialFile {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.at));
        drop(fs::remove_file(beside(&self.at, "-journal")));
    }
}
