//! Opening a store: its connections, their settings, and the executor around them.
//!
//! A file is inspected before it is opened for writing (`inspect.rs`), so a refused file is left as
//! it is. A new file gets its schema before its WAL: whoever finds one without a WAL still sees
//! that it is ours.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, MAIN_DB, OpenFlags};
use tokio::time::Instant;

use crate::error::OpenError;
use crate::inspect;
use crate::integrity::mark::MarkWriter;
use crate::integrity::snapshot;
use crate::migrate;
use crate::sql::job_error::JobError;
use crate::sql::post_commit::PostCommit;
use crate::sqlite::contract::Sqlite;
use crate::sqlite::executor::{Executor, READERS};
use crate::sqlite::moved::{self, Opening};
use crate::sqlite::shared::Shared;
use crate::sqlite::statements::statements;
use crate::sqlite::tx::{HotStatements, Tx, WriterCache};
use crate::sqlite::unattempted;
use crate::sqlite::wal_preallocation;
use crate::sqlite::wal_sync::{SyncTarget, WalFile};
use crate::sqlite::writer::{CHECKPOINT, Writer, wal_pages};

/// How long another process may hold the write lock: `willcall apply` holds it for some
/// milliseconds.
const BUSY_LIMIT: Duration = Duration::from_secs(5);

/// SQLite does not wait where that could end in a deadlock. Two processes that create the same file
/// meet this, and one of them has to step back for so long.
const TRY_AFTER: Duration = Duration::from_millis(20);

/// Negative numbers are KiB. Most pages are written and not read again: with a small cache the next
/// page is put into memory that the CPU still has cached.
const WRITER_CACHE: i64 = -1_024;
const READER_CACHE: i64 = -4_096;
// A checkpoint bypasses the page cache.
const CHECKPOINTER_CACHE: i64 = -64;

/// The WAL is cut to this size after a burst.
const WAL_BYTES_KEPT: i64 = 64 * 1024 * 1024;

/// More than there are statements, so that none is ever prepared twice.
const STATEMENTS_CACHED: usize = 256;

/// `pages` limits the file; without it only the disk does. `disk` replaces the WAL's own file.
pub(crate) fn threads(
    path: &Path,
    shared: Shared,
    pages: Option<u32>,
    disk: Option<Box<dyn SyncTarget>>,
) -> Result<Sqlite, OpenError> {
    let (shared, mut writer) = on_file(path, shared)?;
    // SQLite keeps the WAL beside the file that a symbolic link leads to.
    let found = std::fs::canonicalize(path);
    let found = found.map_err(|error| OpenError::NoAccess(path.to_owned(), error.to_string()))?;
    let path = found.as_path();
    let broken = |error: rusqlite::Error| OpenError::of(path, error);
    let conn = writer.conn();
    // The executor syncs the WAL itself, and checkpoints on a thread of its own.
    conn.pragma_update(None, "synchronous", "normal")
        .map_err(broken)?;
    conn.pragma_update(None, "wal_autocheckpoint", 0)
        .map_err(broken)?;
    wal_preallocation::preallocate(conn, path)?;
    if let Some(pages) = pages {
        conn.pragma_update(None, "max_page_count", pages)
            .map_err(broken)?;
    }
    let mark_writer = mark_writer(conn, path)?;
    // Set once: only this store has it.
    drop(shared.mark_writer.set(mark_writer));
    let followed = shared.disk.watch(path);
    followed.map_err(|error| OpenError::of_io(path, &error))?;
    writer.track_wal().map_err(broken)?;
    let readers: Result<Vec<_>, _> = (0..READERS)
        .map(|_| {
            let conn = Connection::open_with_flags(path, flags(false))?;
            configure(&conn, READER_CACHE)?;
            conn.pragma_update(None, "query_only", true)?;
            Ok(conn)
        })
        .collect();
    let checkpoint_conn = Connection::open_with_flags(path, flags(false)).map_err(broken)?;
    configure(&checkpoint_conn, CHECKPOINTER_CACHE).map_err(broken)?;
    let disk = disk.unwrap_or_else(|| Box::new(WalFile::of(path)));
    let executor = Executor::threads(
        writer,
        checkpoint_conn,
        readers.map_err(broken)?,
        disk,
        shared,
    )
    .map_err(|error| OpenError::Broken(path.to_owned(), Arc::new(error)))?;
    Ok(Sqlite {
        executor: Arc::new(executor),
    })
}

fn mark_writer(conn: &Connection, path: &Path) -> Result<MarkWriter, OpenError> {
    let page_bytes = conn.pragma_query_value(None, "page_size", |row| row.get::<_, u32>(0));
    let page_bytes = page_bytes.map_err(|error| OpenError::of(path, error))?;
    MarkWriter::open(path, page_bytes.into()).map_err(|error| OpenError::of_io(path, &error))
}

/// If `is_exclusive`, the one connection keeps the locks of the file, which otherwise cost a tenth
/// of all time.
pub(crate) fn inline_at(path: &Path, is_exclusive: bool) -> Result<Sqlite, OpenError> {
    let (shared, writer) = on_file(path, Shared::default())?;
    if is_exclusive {
        let conn = writer.conn();
        let kept = conn.pragma_update_and_check(None, "locking_mode", "exclusive", |_| Ok(()));
        kept.map_err(|error| OpenError::of(path, error))?;
    }
    Ok(Sqlite {
        executor: Arc::new(Executor::inline(writer, shared)),
    })
}

pub(crate) fn inline() -> Result<Sqlite, OpenError> {
    let open = || {
        let conn = Connection::open_in_memory()?;
        configure(&conn, WRITER_CACHE)?;
        migrate::migrate(&conn)?;
        let shared = Arc::new(Shared::default());
        let writer = Writer::of(conn, None, Arc::clone(&shared))?;
        Ok(Sqlite {
            executor: Arc::new(Executor::inline(writer, shared)),
        })
    };
    open().map_err(|error| OpenError::of(Path::new(":memory:"), error))
}

/// The writer of a file, which is created or migrated if need be.
fn on_file(path: &Path, shared: Shared) -> Result<(Arc<Shared>, Writer), OpenError> {
    let deadline = Instant::now() + BUSY_LIMIT;
    let mut conn = ready(path, Opening::ForUse);
    while matches!(conn, Err(OpenError::InUse(_))) && Instant::now() < deadline {
        std::thread::park_timeout(TRY_AFTER);
        conn = ready(path, Opening::ForUse);
    }
    shared.disk.set_path(path);
    let shared = Arc::new(shared);
    let writer = Writer::of(conn?, Some(path.to_owned()), Arc::clone(&shared));
    Ok((shared, writer.map_err(|error| OpenError::of(path, error))?))
}

/// A connection to a file that has all of the store in its tables, no WAL, and nobody else who has
/// it open, until the connection is closed. It may have been moved.
pub(crate) fn for_copying(path: &Path) -> Result<Connection, OpenError> {
    let conn = ready(path, Opening::ForCopying)?;
    let materialized = conn
        .execute_batch("begin immediate")
        .map_err(JobError::from);
    let materialized = materialized.and_then(|()| {
        unattempted::materialize(&mut Tx {
            conn: &conn,
            hot: HotStatements::default(),
            cache: &mut WriterCache::default(),
            post_commit: &mut PostCommit::default(),
        })?;
        Ok(conn.execute_batch("commit")?)
    });
    materialized.map_err(|error| match error {
        JobError::Sqlite(error) => OpenError::of(path, error),
        JobError::Postgres(error) => OpenError::Broken(path.to_owned(), Arc::new(error)),
        JobError::Store(error) | JobError::Refused(error) => {
            OpenError::Broken(path.to_owned(), Arc::new(error))
        }
    })?;
    snapshot::close(&conn, path);
    let taken = conn.pragma_update_and_check(None, "journal_mode", "delete", |row| {
        row.get::<_, String>(0)
    });
    if taken.map_err(|error| OpenError::of(path, error))? != "delete" {
        return Err(OpenError::InUse(path.to_owned()));
    }
    let alone = conn
        .pragma_update_and_check(None, "locking_mode", "exclusive", |_| Ok(()))
        .and_then(|()| conn.execute_batch("begin exclusive; commit"));
    alone.map_err(|error| OpenError::of(path, error))?;
    Ok(conn)
}

/// A connection to a file that is whole, migrated and in WAL mode.
fn ready(path: &Path, opening: Opening) -> Result<Connection, OpenError> {
    let integrity = inspect::before_opening(path, opening)?;
    snapshot::write_mark(path, integrity).map_err(|error| OpenError::of_io(path, &error))?;
    let conn = Connection::open_with_flags(path, flags(true));
    let conn = conn.map_err(|error| OpenError::of(path, error))?;
    // SQLite opens a file that it may not write for reading, and fails at the first write.
    if conn.is_readonly(MAIN_DB).is_ok_and(|readonly| readonly) {
        let why = "it can only be read".to_owned();
        return Err(OpenError::NoAccess(path.to_owned(), why));
    }
    let open = || {
        configure(&conn, WRITER_CACHE)?;
        let before = migrate::version(&conn)?;
        migrate::migrate(&conn)?;
        if before < migrate::KNOWN {
            // The version in the file itself decides how it is inspected without its WAL.
            drop(wal_pages(&conn, CHECKPOINT));
        }
        // Answers the mode that it is in then, and fails while somebody else holds the file.
        conn.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
        conn.pragma_update(None, "journal_size_limit", WAL_BYTES_KEPT)?;
        for sql in statements() {
            drop(conn.prepare_cached(sql)?);
        }
        match opening {
            Opening::ForUse => moved::note_opened(&conn),
            Opening::ForCopying => Ok(()),
        }
    };
    open().map_err(|error| OpenError::of(path, error))?;
    Ok(conn)
}

fn flags(create: bool) -> OpenFlags {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    if create {
        flags | OpenFlags::SQLITE_OPEN_CREATE
    } else {
        flags
    }
}

pub(crate) fn configure(conn: &Connection, cache: i64) -> Result<(), rusqlite::Error> {
    conn.busy_timeout(BUSY_LIMIT)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    // We close the store ourselves, so that its header says so.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DDL, false)?;
    // A plan that depends on values is made again each time they change, which takes a tenth of a
    // millisecond.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    conn.pragma_update(None, "synchronous", "full")?;
    conn.pragma_update(None, "foreign_keys", true)?;
    conn.pragma_update(None, "trusted_schema", false)?;
    conn.pragma_update(None, "cell_size_check", true)?;
    conn.pragma_update(None, "temp_store", "memory")?;
    conn.pragma_update(None, "mmap_size", 0)?;
    conn.pragma_update(None, "cache_size", cache)
}
