//! The disk below the store: what is wrong with it, how much space is left, and whether the store's
//! files are still where they were opened.
//!
//! Each fault is logged once a minute at most, however many jobs meet it.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use model::contract::{DiskFault, StoreError};
use model::limits::FREE_BYTES_LOW;
use rustix::fs::statvfs;
use tokio::time::Instant;

use crate::files::beside;
use crate::sqlite::disk_probe::{FILES, fault_beside, judge_by};
use crate::sqlite::error_codes::DiskSymptom;
use crate::sqlite::metrics::Metrics;
use crate::sync::lock;

/// A lasting fault is logged this often.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// Files and free space are looked at this often, and the result of a probe counts for as long.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A failed read is reported for so long.
const UNREAD_REPORTED: Duration = Duration::from_secs(10 * 60);

/// What is known about the disk.
#[derive(Default)]
pub(crate) struct DiskWatch {
    /// Where the store is; unset if it is in memory.
    path: OnceLock<PathBuf>,
    /// Its files as they were opened.
    files: OnceLock<Vec<(PathBuf, FileId)>>,
    /// One of them is not where it was opened. Nothing may be written then.
    is_moved: AtomicBool,
    /// A fault prevents writing.
    is_failing: AtomicBool,
    state: Mutex<DiskState>,
}

#[derive(Default)]
struct DiskState {
    /// The fault that prevents writing.
    fault: Option<DiskFault>,
    logged_at: BTreeMap<DiskFault, Instant>,
    /// When a read last failed.
    unread_at: Option<Instant>,
    /// When the disk was last probed, and the fault that was found.
    probed: Option<(Instant, Option<DiskFault>)>,
    looked_at: Option<Instant>,
    /// Free bytes, if there are few.
    low: Option<u64>,
}

/// The identity of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileId {
    device: u64,
    inode: u64,
}

impl DiskWatch {
    /// Sets where the store is.
    pub(crate) fn set_path(&self, path: &Path) {
        self.path.get_or_init(|| path.to_owned());
    }

    /// From now on the files are expected to stay where they are. They are open.
    pub(crate) fn watch(&self, path: &Path) -> io::Result<()> {
        let files = FILES.map(|ending| {
            let file = beside(path, ending);
            let id = FileId::of(&std::fs::metadata(&file)?);
            Ok((file, id))
        });
        let files = files.into_iter().collect::<io::Result<_>>()?;
        self.files.get_or_init(|| files);
        Ok(())
    }

    /// A job met `symptom`. Answers which fault it is, and has it logged.
    pub(crate) fn report(&self, symptom: DiskSymptom) -> DiskFault {
        let fault = judge_by(symptom, || self.probed());
        self.note(fault, None);
        fault
    }

    /// Something was written.
    pub(crate) fn wrote(&self) {
        if self.is_failing.swap(false, Ordering::Relaxed) {
            lock(&self.state).fault = None;
        }
    }

    /// Why nothing may be written, if that is known beforehand.
    pub(crate) fn blocks_writes(&self) -> Option<StoreError> {
        let is_moved = self.is_moved.load(Ordering::Relaxed);
        is_moved.then_some(StoreError::Disk(DiskFault::Moved))
    }

    /// Looks at files and free space, unless that was done within the last second.
    pub(crate) fn look(&self, metrics: &Metrics) {
        let now = Instant::now();
        let mut state = lock(&self.state);
        let is_early = |at: Instant| now.duration_since(at) < LOOK_EVERY;
        if state.looked_at.is_some_and(is_early) {
            return;
        }
        state.looked_at = Some(now);
        let fault = state.fault;
        drop(state);
        let Some(path) = self.path.get() else {
            return;
        };
        if let Ok(room) = statvfs(path) {
            let free = room.f_bavail.saturating_mul(room.f_frsize);
            metrics.disk_free(free);
            self.note_room(free);
        }
        if let Some(file) = self.moved() {
            self.is_moved.store(true, Ordering::Relaxed);
            self.note(DiskFault::Moved, Some(file));
        } else if self.is_moved.swap(false, Ordering::Relaxed)
            || fault.is_some() && self.probed().is_none()
        {
            self.wrote();
        }
    }

    /// The first file that is not where it was opened.
    pub(crate) fn moved(&self) -> Option<&Path> {
        let mut files = self.files.get()?.iter();
        let moved = files.find(|(file, id)| match std::fs::metadata(file) {
            Ok(found) => FileId::of(&found) != *id,
            Err(error) => error.kind() == ErrorKind::NotFound,
        });
        moved.map(|(file, _)| file.as_path())
    }

    /// One sentence for each thing worth knowing; an error if nothing can be written.
    pub(crate) fn judge(&self) -> Result<Vec<String>, StoreError> {
        let state = lock(&self.state);
        if let Some(fault) = state.fault {
            return Err(StoreError::Disk(fault));
        }
        let low = state.low.map(|free| {
            let free = free / (1024 * 1024);
            format!("The disk of the store is nearly full: {free} MiB are free.")
        });
        let unread = state.unread_at.map(|at| at.elapsed());
        let unread = unread
            .filter(|since| *since < UNREAD_REPORTED)
            .map(|since| {
                let (seconds, fault) = (since.as_secs(), DiskFault::Unreadable);
                format!("A read failed {seconds} s ago: {fault}. {}", fault.to_do())
            });
        Ok(low.into_iter().chain(unread).collect())
    }

    fn note(&self, fault: DiskFault, file: Option<&Path>) {
        let now = Instant::now();
        let mut state = lock(&self.state);
        match fault.stops_all() {
            true => {
                state.fault = Some(fault);
                self.is_failing.store(true, Ordering::Relaxed);
            }
            false => state.unread_at = Some(now),
        }
        let logged_at = state.logged_at.get(&fault);
        if logged_at.is_some_and(|at| now.duration_since(*at) < LOG_EVERY) {
            return;
        }
        state.logged_at.insert(fault, now);
        drop(state);
        let file = file.or_else(|| self.path.get().map(PathBuf::as_path));
        let file = file.unwrap_or_else(|| Path::new(":memory:")).display();
        let to_do = fault.to_do();
        match fault.stops_all() {
            true => {
                tracing::warn!(
                    %file,
                    to_do,
                    "{fault}: intake is refused until this is over"
                );
            }
            false => tracing::warn!(%file, to_do, "{fault}: operations that need it are refused"),
        }
    }

    fn note_room(&self, free: u64) {
        let is_low = free < FREE_BYTES_LOW;
        let mut state = lock(&self.state);
        let was_low = state.low.is_some();
        // A disk that fills and empties a little at a time is logged once.
        state.low = (is_low || was_low && free < 2 * FREE_BYTES_LOW).then_some(free);
        drop(state);
        if is_low && !was_low {
            let free_mib = free / (1024 * 1024);
            tracing::warn!(
                free_mib,
                "the disk of the store is nearly full: once it is full, intake is refused"
            );
        }
    }

    /// Why nothing can be written beside the store, if so.
    fn probed(&self) -> Option<DiskFault> {
        let path = self.path.get()?;
        let known = lock(&self.state).probed;
        if let Some((at, found)) = known
            && at.elapsed() < LOOK_EVERY
        {
            return found;
        }
        let found = fault_beside(path);
        lock(&self.state).probed = Some((Instant::now(), found));
        found
    }
}

impl FileId {
    fn of(found: &Metadata) -> Self {
        Self {
            device: found.dev(),
            inode: found.ino(),
        }
    }
}
