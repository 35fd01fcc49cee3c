//! Recovery of a store whose WAL is lost or damaged: makes one that opens, and says what is lost.
//! The old files are kept.
//!
//! The WAL is read up to its first bad page: later commits depend on the ones before.

use std::path::{Path, PathBuf};

use crate::error::OpenError;
use crate::inspect::{self, Inspection};
use crate::integrity::fault::WalFault;
use crate::integrity::snapshot::StoreSnapshot;
use crate::integrity::wal::WalState;
use crate::replace;

/// What `recover` did.
#[derive(Debug, Clone)]
pub struct RecoveryReport {
    pub fault: WalFault,
    /// Pages that were read from the WAL.
    pub read: u32,
    /// Pages of the WAL that are lost; `None` if that is unknown.
    pub lost: Option<u32>,
    /// Of the recovered store.
    pub inspection: Inspection,
    /// The old files under their new names.
    pub kept: Vec<PathBuf>,
}

/// Recovers the store at `path`; `Ok(None)` if nothing is wrong with its WAL. The old files get the
/// suffix `aside`. Nobody may have the store open.
pub fn recover(path: &Path, aside: &str) -> Result<Option<RecoveryReport>, OpenError> {
    if !path.exists() {
        return Err(OpenError::NoStore(path.to_owned()));
    }
    let path = &std::fs::canonicalize(path).map_err(|error| OpenError::of_io(path, &error))?;
    let snapshot = StoreSnapshot::at(path).map_err(|error| OpenError::of_io(path, &error))?;
    let fault = match snapshot.judge() {
        Ok(_) => return inspect::inspect(path).map(|_| None),
        Err(fault @ WalFault::FileShort { .. }) => {
            return Err(OpenError::Damaged(path.to_owned(), fault.to_string()));
        }
        Err(fault) => fault,
    };
    let with_log = !matches!(fault, WalFault::Foreign | WalFault::Needless);
    let staged = replace::stage(path, with_log && snapshot.has_log(), path)?;
    let read = staged.frames;
    let inspection = staged.inspection.clone();
    let kept = staged.install(path, aside)?;
    Ok(Some(RecoveryReport {
        fault,
        read,
        lost: snapshot.lost(fault, read),
        inspection,
        kept,
    }))
}

impl StoreSnapshot {
    fn has_log(&self) -> bool {
        matches!(self.log, WalState::Read(_) | WalState::Headless)
    }

    /// How many pages of the WAL are lost if `read` of them were read.
    fn lost(&self, fault: WalFault, read: u32) -> Option<u32> {
        let expected = self.marked();
        match fault {
            WalFault::Needless => Some(0),
            WalFault::Broken { good_behind, .. } => {
                // The bad page counts, too.
                let held = read.saturating_add(good_behind).saturating_add(1);
                Some(held.max(expected.unwrap_or(0)).saturating_sub(read))
            }
            WalFault::Foreign => expected,
            WalFault::Missing
            | WalFault::Empty
            | WalFault::Headless
            | WalFault::Short { .. }
            | WalFault::Cut
            | WalFault::FileShort { .. } => expected.map(|expected| expected.saturating_sub(read)),
        }
    }
}

/// What `restore` did.
#[derive(Debug, Clone)]
pub struct RestoreReport {
    /// The copy was made of a store in use: its header does not say that it was closed.
    pub is_open_copy: bool,
    pub inspection: Inspection,
    /// The files that were there before, under their new names.
    pub kept: Vec<PathBuf>,
}

/// Whether the file `from`, with the WAL beside it if there is one, can replace a store.
pub fn inspect_copy(from: &Path) -> Result<(), OpenError> {
    let from = &real(from)?;
    inspect_snapshot(from).map(drop)
}

/// Puts a copy of a store, the file `from` with the WAL beside it if there is one, in the place of
/// the store at `path`. Nobody may have that store open. The files that were there get the suffix
/// `aside`.
pub fn restore(from: &Path, path: &Path, aside: &str) -> Result<RestoreReport, OpenError> {
    let from = &real(from)?;
    let path = &std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if from == path {
        return Err(OpenError::InUse(from.to_owned()));
    }
    let (snapshot, is_open_copy) = inspect_snapshot(from)?;
    let staged = replace::stage(from, snapshot.has_log(), path)?;
    let inspection = staged.inspection.clone();
    let kept = staged.install(path, aside)?;
    Ok(RestoreReport {
        is_open_copy,
        inspection,
        kept,
    })
}

fn real(path: &Path) -> Result<PathBuf, OpenError> {
    if !path.is_file() {
        return Err(match path.exists() {
            true => OpenError::NotAStore(path.to_owned()),
            false => OpenError::NoCopy(path.to_owned()),
        });
    }
    std::fs::canonicalize(path).map_err(|error| OpenError::of_io(path, &error))
}

/// A snapshot of the copy, and whether its header does not say that it was closed.
fn inspect_snapshot(from: &Path) -> Result<(StoreSnapshot, bool), OpenError> {
    let snapshot = StoreSnapshot::at(from).map_err(|error| OpenError::of_io(from, &error))?;
    if snapshot.has_journal() {
        let what = "it was copied while it was written: a journal lies beside it".to_owned();
        return Err(OpenError::Damaged(from.to_owned(), what));
    }
    match snapshot.judge() {
        Ok(_) => Ok((snapshot, false)),
        // SQLite's `.backup` makes such a copy. Nothing says where a WAL that was copied along
        // should end.
        Err(WalFault::Missing | WalFault::Empty | WalFault::Cut) => Ok((snapshot, true)),
        Err(fault @ WalFault::FileShort { .. }) => {
            Err(OpenError::Damaged(from.to_owned(), fault.to_string()))
        }
        Err(fault) => Err(OpenError::Copy(from.to_owned(), fault)),
    }
}
