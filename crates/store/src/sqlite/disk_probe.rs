//! Finds out what is wrong with a disk by writing to it.
//!
//! A write fails for many reasons, and SQLite passes on few of them. So a file is written beside
//! the store, and the system's own error decides.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use model::contract::DiskFault;
use rustix::io::Errno;

use crate::files::beside;
use crate::sqlite::error_codes::DiskSymptom;

/// The size of the write: more than a small job takes.
const PROBE_BYTES: usize = 1024 * 1024;

/// The files that an open store has, as suffixes of its path.
pub(crate) const FILES: [&str; 3] = ["", "-wal", "-shm"];

/// The disk fault that an error stands for, if it is about the disk.
pub(crate) fn fault_of(error: &io::Error) -> Option<DiskFault> {
    match Errno::from_io_error(error)? {
        Errno::NOSPC | Errno::DQUOT | Errno::FBIG => Some(DiskFault::Full),
        Errno::ROFS => Some(DiskFault::ReadOnly),
        Errno::IO => Some(DiskFault::Failing),
        _ => None,
    }
}

/// The disk fault that keeps the store at `path` from being opened, if it is one.
pub(crate) fn bars_opening(path: &Path) -> Option<DiskFault> {
    write_beside(path).err().as_ref().and_then(fault_of)
}

/// The fault behind a symptom that was met at `path`.
pub(crate) fn judge(symptom: DiskSymptom, path: &Path) -> DiskFault {
    judge_by(symptom, || fault_beside(path))
}

pub(crate) fn judge_by(
    symptom: DiskSymptom,
    probed: impl FnOnce() -> Option<DiskFault>,
) -> DiskFault {
    match symptom {
        DiskSymptom::Certain(fault) => fault,
        DiskSymptom::Unwritten => probed().unwrap_or(DiskFault::Failing),
        // A full or read-only disk can still be read.
        DiskSymptom::Unread => match probed() {
            Some(DiskFault::Failing) => DiskFault::Failing,
            _ => DiskFault::Unreadable,
        },
    }
}

/// Why nothing can be written beside the store, if so.
pub(crate) fn fault_beside(path: &Path) -> Option<DiskFault> {
    let error = write_beside(path).err()?;
    Some(fault_of(&error).unwrap_or(DiskFault::Failing))
}

/// Writes a file of its own at the offset where the store's files end, and syncs it.
pub(crate) fn write_beside(path: &Path) -> io::Result<()> {
    let probe = beside(path, "-probe");
    let mut options = OpenOptions::new();
    let options = options.write(true).create(true).truncate(true).mode(0o600);
    let end = FILES.map(|ending| {
        let found = std::fs::metadata(beside(path, ending));
        found.map_or(0, |found| found.len())
    });
    let written = options.open(&probe).and_then(|file| {
        // A process may have a limit for the length of files.
        let end = end.into_iter().max().unwrap_or(0);
        file.write_all_at(&vec![0; PROBE_BYTES], end)?;
        file.sync_data()
    });
    drop(std::fs::remove_file(&probe));
    written
}
