//! WAL preallocation: the WAL gets its disk space before it is written to.
//!
//! While a file grows, each sync also writes the file system's metadata, which costs a second wait
//! for the disk. A WAL that was restarted does not grow. With this it never does, unless more is
//! written at once than usual.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;

use rusqlite::{Connection, Transaction, TransactionBehavior};

use crate::error::OpenError;
use crate::files::wal_of;

/// The size of a WAL before it is checkpointed and restarted, with what is written meanwhile.
pub(crate) const WAL_BYTES: u64 = 24 * 1024 * 1024;

/// Written at once. The page cache keeps it as one piece and walks through the whole piece for each
/// page written into it: with pieces of 1 MiB writing to the WAL takes twice as long.
const PIECE: usize = 64 * 1024;

/// Preallocates the WAL of the store at `path`, if there is enough space on the disk. SQLite
/// ignores zeros behind the end of the WAL.
pub(crate) fn preallocate(conn: &Connection, path: &Path) -> Result<(), OpenError> {
    // While this transaction is open nobody writes to the WAL.
    let tx = Transaction::new_unchecked(conn, TransactionBehavior::Immediate);
    let tx = tx.map_err(|error| OpenError::of(path, error))?;
    let log = OpenOptions::new().write(true).open(wal_of(path));
    let broken = |error| OpenError::Broken(path.to_owned(), Arc::new(error));
    let mut log = log.map_err(broken)?;
    if let Err(error) = fill(&mut log) {
        tracing::debug!(%error, "the write-ahead log is not preallocated: it grows as needed");
    }
    // From now on readers see what a killed process has left in the WAL, so it has to be durable.
    log.sync_all().map_err(broken)?;
    tx.rollback().map_err(|error| OpenError::of(path, error))
}

fn fill(log: &mut File) -> io::Result<()> {
    let before = log.metadata()?.len();
    let filled = fill_from(log, before);
    if filled.is_err() {
        log.set_len(before)?;
    }
    filled
}

fn fill_from(log: &mut File, before: u64) -> io::Result<()> {
    let zeros = vec![0; PIECE];
    let mut at = log.seek(SeekFrom::Start(before))?;
    while at < WAL_BYTES {
        let rest = usize::try_from(WAL_BYTES - at).unwrap_or(PIECE);
        let written = log.write(zeros.get(..rest.min(PIECE)).unwrap_or(&zeros))?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        at += u64::try_from(written).unwrap_or(0);
    }
    Ok(())
}
