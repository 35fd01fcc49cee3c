//! Where Willcall keeps what it promised: the contract of `model::contract` on a SQLite file.
//!
//! Nothing is answered before it is durable. Knows no dialect, computes no next state, and asks
//! nobody for the time.

mod backup;
mod inspect;
mod integrity;
mod migrate;
mod recover;
mod replace;
mod sqlite;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::contract::{DiskFault, Store};
use prometheus_client::registry::Registry;

pub use crate::backup::{BackupError, BackupProgress, backup};
pub use crate::inspect::{Inspection, inspect};
pub use crate::integrity::WalFault;
pub use crate::recover::{RecoveryReport, RestoreReport, inspect_copy, recover, restore};
use crate::sqlite::open;
use crate::sqlite::writer::Shared;

/// Opens the store with its threads; creates the file if it is missing, migrates it under a lock.
/// The folder must exist.
pub fn open(path: &Path, metrics: &mut Registry) -> Result<Arc<dyn Store>, OpenError> {
    let shared = Shared::default();
    shared.metrics.register(metrics);
    Ok(Arc::new(open::threads(path, shared, None, None)?))
}

/// In memory. Every operation runs on the calling thread, when it is called (or, if it shows
/// deliveries, when it is first polled), and its reply is ready at once: for tests on paused time
/// and for simulation.
pub fn open_inline() -> Result<Arc<dyn Store>, OpenError> {
    Ok(Arc::new(open::inline()?))
}

/// The same on a file.
pub fn open_inline_at(path: &Path) -> Result<Arc<dyn Store>, OpenError> {
    Ok(Arc::new(open::inline_at(path)?))
}

/// Why a store cannot be opened, and what to do.
#[derive(Debug, Clone, thiserror::Error)]
pub enum OpenError {
    #[error("the folder {} does not exist: create it, or name another one", .0.display())]
    NoFolder(PathBuf),
    #[error("there is no store at {} yet: `willcall serve` makes one", .0.display())]
    NoStore(PathBuf),
    #[error(
        "{} is not a Willcall store, and is left as it is: move it away, or name another folder",
        .0.display()
    )]
    NotAStore(PathBuf),
    #[error(
        "{} is damaged ({}), and is left as it is: restore it from a backup, or move it away to \
         begin with an empty store",
        .0.display(), .1
    )]
    Damaged(PathBuf, String),
    #[error(
        "{} was not closed, and {fault}: what was accepted last would be lost, so all is left as \
         it is. Put the log back if you have it, or run `willcall recover`, which says what is \
         lost and keeps the old files",
        .path.display()
    )]
    Wal { path: PathBuf, fault: WalFault },
    #[error("there is no file {}", .0.display())]
    NoCopy(PathBuf),
    #[error("{} is no whole copy of a store: {}. Nothing was changed", .0.display(), .1)]
    Copy(PathBuf, WalFault),
    #[error(
        "{} was written by a newer Willcall (its schema has version {found}, this program knows \
         {known}), and is left as it is: start the newer program",
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
}

/// For the tests of this crate only: what they cannot see from outside.
#[doc(hidden)]
pub mod probe {
    use std::path::Path;
    use std::sync::Arc;

    use model::contract::Store;
    use prometheus_client::registry::Registry;

    use crate::sqlite;
    pub use crate::sqlite::wal_sync::SyncTarget;
    use crate::{BackupError, BackupProgress, Inspection, OpenError, Shared, backup, open};

    /// The version of the schema that this program writes.
    pub const SCHEMA_VERSION: u32 = crate::migrate::KNOWN;

    /// Every statement the store runs.
    pub fn statements() -> Vec<String> {
        sqlite::statements()
    }

    /// `backup` while whose log may grow by so many bytes.
    pub fn backup_within(
        path: &Path,
        to: &Path,
        log_bytes_max: u64,
        watch: &mut dyn FnMut(BackupProgress) -> Result<(), String>,
    ) -> Result<Inspection, BackupError> {
        backup::within(path, to, log_bytes_max, watch)
    }

    /// A store with threads whose file may have so many pages, as if its disk were full then.
    pub fn open_with_room(path: &Path, pages: u32) -> Result<Arc<dyn Store>, OpenError> {
        Ok(Arc::new(open::threads(
            path,
            Shared::default(),
            Some(pages),
            None,
        )?))
    }

    /// A store with threads that is as durable as `disk` says.
    pub fn open_on_disk(
        path: &Path,
        metrics: &mut Registry,
        disk: impl SyncTarget + 'static,
    ) -> Result<Arc<dyn Store>, OpenError> {
        let shared = Shared::default();
        shared.metrics.register(metrics);
        let disk: Box<dyn SyncTarget> = Box::new(disk);
        Ok(Arc::new(open::threads(path, shared, None, Some(disk))?))
    }
}
