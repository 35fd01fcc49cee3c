//! Room: the write-ahead log gets its room on the disk before it is written to.
//!
//! While a log grows, each sync has the file system write down that it did, which costs a second
//! wait for the disk. Once it was begun anew it does not grow; with this it never does, unless more
//! is written at once than is usual.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;

use rusqlite::{Connection, Transaction, TransactionBehavior};

use crate::error::OpenError;
use crate::files::wal_of;

/// What a log takes before it is moved and begun anew, with what is written meanwhile.
pub(crate) const WAL_BYTES: u64 = 24 * 1024 * 1024;

/// Written at once. The system keeps it in memory as one piece, and goes through all of a piece for
/// each page that is written into it: a log of pieces of 1 MiB costs twice the time to write to.
const PIECE: usize = 64 * 1024;

/// Makes room for the log of the store at `path`, if there is enough on the disk. SQLite takes the
/// zeros behind the log's end for nothing.
pub(crate) fn preallocate(conn: &Connection, path: &Path) -> Result<(), OpenError> {
    // While this is open nobody writes to the log.
    let tx = Transaction::new_unchecked(conn, TransactionBehavior::Immediate);
    let tx = tx.map_err(|error| OpenError::of(path, error))?;
    let log = OpenOptions::new().write(true).open(wal_of(path));
    let broken = |error| OpenError::Broken(path.to_owned(), Arc::new(error));
    let mut log = log.map_err(broken)?;
    if let Err(error) = fill(&mut log) {
        tracing::debug!(%error, "no room was made for the log: it grows when it has to");
    }
    // What a process that was killed has left in the log is told from now on.
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
