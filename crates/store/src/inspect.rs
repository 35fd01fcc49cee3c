//! Inspects a file before it is opened for writing, and for `willcall doctor`. Changes no file,
//! ours or not: neither its bytes nor its WAL.
//!
//! Everything is read through SQLite, never by opening the file beside it: closing such a second
//! handle would drop the locks that this process holds on the file (POSIX).

use std::path::Path;
use std::time::Duration;

use model::time::Timestamp;
use rusqlite::{Connection, OpenFlags, OptionalExtension, ffi};

use crate::error::OpenError;
use crate::files::beside;
use crate::integrity::fault::WalFault;
use crate::integrity::snapshot::{self, Integrity};
use crate::migrate;
use crate::postgres::SchemaVersions;
use crate::sqlite::clock;
use crate::sqlite::moved::{self, Opening};

/// Above this size a start does not read all pages: at 100 MiB a second it would take longer than
/// people wait. The header, the schema and the size are always checked.
const QUICK_CHECK_BYTES_MAX: u64 = 64 * 1024 * 1024;

const BUSY_LIMIT: Duration = Duration::from_secs(5);

const SCHEMA: &str = "
    select type, name, sql from sqlite_schema
    where name not like 'sqlite~_%' escape '~'
    order by type, name";

/// What `willcall doctor` shows of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// The version of its schema; lower than `known_version` if it has still to be migrated.
    pub schema_version: u32,
    pub known_version: u32,
    pub file_bytes: u64,
    /// Of the WAL beside the file.
    pub log_bytes: u64,
    /// Within the file, ready to be used again.
    pub free_bytes: u64,
    pub tenants: u64,
    pub tokens: u64,
    pub webhooks: u64,
    pub disabled_webhooks: u64,
    pub oldest_notification: Option<Timestamp>,
    pub latest_notification: Option<Timestamp>,
    /// When it was last written, by its own clock.
    pub last_written_at: Option<Timestamp>,
    /// Where it is used now, if it was moved.
    pub moved: Option<Moved>,
}

/// To which database a store was moved, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    pub target: String,
    pub at: Timestamp,
}

impl Moved {
    /// What whoever opens the store is told.
    pub fn into_open_error(self, path: &Path) -> OpenError {
        OpenError::Moved {
            path: path.to_owned(),
            target: self.target,
            at: self.at,
        }
    }
}

fn moved_to(conn: &Connection) -> Result<Option<Moved>, rusqlite::Error> {
    let mark = moved::find(conn)?;
    Ok(mark.and_then(|mark| {
        let (target, at) = (mark.target, mark.ended_at?);
        Some(Moved { target, at })
    }))
}

/// Inspects a store without changing anything. Reads every page.
pub fn inspect(path: &Path) -> Result<Inspection, OpenError> {
    let conn = for_reading(path)?;
    check_pages(path, &conn)?;
    read(path, &conn).map_err(|error| OpenError::of(path, error))
}

/// The version that the schema of a store has, 0 if there is none yet, and the one that it has
/// after a start. Does not read every page.
pub fn schema_versions(path: &Path) -> Result<SchemaVersions, OpenError> {
    let before = match for_reading(path) {
        Ok(conn) => migrate::version(&conn).map_err(|error| OpenError::of(path, error))?,
        Err(OpenError::NoStore(_)) => 0,
        Err(error) => return Err(error),
    };
    Ok(SchemaVersions {
        before,
        after: migrate::KNOWN,
    })
}

/// A read-only connection to a store that seems whole.
pub(crate) fn for_reading(path: &Path) -> Result<Connection, OpenError> {
    if bytes_of(path)? == 0 {
        return Err(OpenError::NoStore(path.to_owned()));
    }
    let log = wal_of(path)?;
    let open_checked = open_checked(path).map_err(|reason| reason.into_open_error(path));
    prefer_wal_fault(open_checked, log.map(drop))
}

/// What is wrong with its WAL. A missing one is an error at once, since SQLite would create an
/// empty one.
fn wal_of(path: &Path) -> Result<Result<Integrity, OpenError>, OpenError> {
    match snapshot::check(path) {
        Err(
            error @ OpenError::Wal {
                fault: WalFault::Missing | WalFault::Empty,
                ..
            },
        ) => Err(error),
        log => Ok(log),
    }
}

/// The fault of the WAL, if it has one: what is read without the WAL may be wrong for that reason.
fn prefer_wal_fault<T>(
    file: Result<T, OpenError>,
    log: Result<(), OpenError>,
) -> Result<T, OpenError> {
    match (file, log) {
        (Ok(_) | Err(OpenError::Damaged(..) | OpenError::Broken(..)), Err(fault)) => Err(fault),
        (file, _) => file,
    }
}

/// Whether the file may be opened for writing: it is ours and whole, or there is none yet.
pub(crate) fn before_opening(path: &Path, opening: Opening) -> Result<Integrity, OpenError> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    if !folder.is_dir() {
        return Err(OpenError::NoFolder(folder.to_owned()));
    }
    let bytes = bytes_of(path)?;
    if bytes == 0 {
        // SQLite would throw such a WAL away, and with it what was accepted last.
        if bytes_of(&beside(path, "-wal"))? > 0 {
            let what = "it is empty or gone, but its write-ahead log (-wal) is there".to_owned();
            return Err(OpenError::Damaged(path.to_owned(), what));
        }
        return Ok(Integrity::Closed);
    }
    let log = wal_of(path)?;
    let conn = match open_checked(path) {
        Ok(conn) => prefer_wal_fault(Ok(conn), log.clone().map(drop))?,
        // SQLite takes a file of one byte for an empty one, too.
        Err(NotReadable::Empty) if bytes > 1 => return Ok(Integrity::Unknown),
        // Ours have a journal only while they are created: if that process died, the journal leads
        // back to an empty file.
        Err(NotReadable::Journal) if id_without_journal(path) == Some(migrate::APPLICATION_ID) => {
            return Ok(Integrity::Unknown);
        }
        Err(reason) => prefer_wal_fault(Err(reason.into_open_error(path)), log.clone().map(drop))?,
    };
    if opening == Opening::ForUse
        && let Some(moved) = moved_to(&conn).map_err(|error| OpenError::of(path, error))?
    {
        return Err(moved.into_open_error(path));
    }
    if bytes <= QUICK_CHECK_BYTES_MAX {
        check_pages(path, &conn)?;
    }
    log
}

/// Why a file cannot be read as it is.
enum NotReadable {
    /// It is empty: perhaps somebody is about to create a store.
    Empty,
    /// A journal has to be rolled back first.
    Journal,
    Refused(OpenError),
}

impl NotReadable {
    fn of(path: &Path, error: rusqlite::Error) -> Self {
        let extended = error.sqlite_error().map(|error| error.extended_code);
        if extended == Some(ffi::SQLITE_READONLY_ROLLBACK) {
            Self::Journal
        } else {
            Self::Refused(OpenError::of(path, error))
        }
    }

    fn into_open_error(self, path: &Path) -> OpenError {
        match self {
            Self::Refused(error) => error,
            Self::Empty | Self::Journal => OpenError::NotAStore(path.to_owned()),
        }
    }
}

/// A connection that can neither write nor checkpoint, to a file that is ours and has the right
/// schema.
fn open_checked(path: &Path) -> Result<Connection, NotReadable> {
    let refused = |error| Err(NotReadable::Refused(error));
    if path.is_dir() {
        return refused(OpenError::NotAStore(path.to_owned()));
    }
    let opened = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    );
    let read = opened.and_then(|conn| {
        conn.busy_timeout(BUSY_LIMIT)?;
        // One transaction, so that all of this is about the same state.
        conn.execute_batch("begin")?;
        let id = migrate::application_id(&conn)?;
        let version = migrate::version(&conn)?;
        let pages: u32 = conn.pragma_query_value(None, "page_count", |row| row.get(0))?;
        conn.execute_batch("commit")?;
        Ok((conn, id, version, pages))
    });
    let (conn, id, version, pages) = read.map_err(|error| NotReadable::of(path, error))?;
    if pages == 0 {
        return Err(NotReadable::Empty);
    }
    if id != migrate::APPLICATION_ID {
        return refused(OpenError::NotAStore(path.to_owned()));
    }
    if version > migrate::KNOWN {
        return refused(OpenError::Newer {
            path: path.to_owned(),
            found: version,
            known: migrate::KNOWN,
        });
    }
    let checked = check_schema(path, &conn, version).and_then(|()| check_size(path, &conn));
    checked.map(|()| conn).map_err(NotReadable::Refused)
}

/// SQLite takes the missing end of the last page for zeros.
fn check_size(path: &Path, conn: &Connection) -> Result<(), OpenError> {
    let page: u64 = conn
        .pragma_query_value(None, "page_size", |row| row.get::<_, u32>(0))
        .map_err(|error| OpenError::of(path, error))?
        .into();
    // With a WAL the end may still be in it.
    if bytes_of(path)? % page == 0 || bytes_of(&beside(path, "-wal"))? > 0 {
        return Ok(());
    }
    let what = "it ends within a page".to_owned();
    Err(OpenError::Damaged(path.to_owned(), what))
}

/// Every table and index of that version has to be as the migrations made it.
fn check_schema(path: &Path, conn: &Connection, version: u32) -> Result<(), OpenError> {
    let failed = |error| OpenError::of(path, error);
    let wanted = Connection::open_in_memory()
        .and_then(|memory| {
            migrate::migrate_to(&memory, version)?;
            schema(&memory)
        })
        .map_err(failed)?;
    let found = schema(conn).map_err(failed)?;
    match wanted.iter().find(|wanted| !found.contains(wanted)) {
        None if version > 0 => Ok(()),
        None => Err(OpenError::NotAStore(path.to_owned())),
        Some((kind, name, _)) => {
            let what = format!("the {kind} \"{name}\" is missing or not as it should be");
            Err(OpenError::Damaged(path.to_owned(), what))
        }
    }
}

fn schema(conn: &Connection) -> Result<Vec<(String, String, Option<String>)>, rusqlite::Error> {
    conn.prepare(SCHEMA)?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect()
}

fn check_pages(path: &Path, conn: &Connection) -> Result<(), OpenError> {
    let found: String = conn
        .query_row("pragma quick_check(1)", [], |row| row.get(0))
        .map_err(|error| OpenError::of(path, error))?;
    if found == "ok" {
        Ok(())
    } else {
        Err(OpenError::Damaged(path.to_owned(), found))
    }
}

/// The application id in the file itself, read past locks and journals.
fn id_without_journal(path: &Path) -> Option<i32> {
    let escaped = path
        .to_str()?
        .replace('%', "%25")
        .replace('?', "%3f")
        .replace('#', "%23");
    let opened = Connection::open_with_flags(
        format!("file:{escaped}?immutable=1"),
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI,
    );
    let id = opened.and_then(|conn| {
        // Otherwise SQLite would not read a file that lacks pages, and this one may.
        conn.pragma_update(None, "writable_schema", true)?;
        migrate::application_id(&conn)
    });
    id.ok()
}

fn read(path: &Path, conn: &Connection) -> Result<Inspection, rusqlite::Error> {
    let number = |sql: &str| conn.query_row(sql, [], |row| row.get::<_, i64>(0));
    let count = |sql: &str| number(sql).map(|count| u64::try_from(count).unwrap_or(0));
    let time = |sql: &str| {
        let found = conn.query_row(sql, [], |row| row.get(0)).optional();
        found.map(|at| at.map(Timestamp::from_millis))
    };
    let free_pages = count("select freelist_count from pragma_freelist_count")?;
    let page_bytes = count("select page_size from pragma_page_size")?;
    Ok(Inspection {
        schema_version: migrate::version(conn)?,
        known_version: migrate::KNOWN,
        file_bytes: bytes_of(path).unwrap_or(0),
        log_bytes: bytes_of(&beside(path, "-wal")).unwrap_or(0),
        free_bytes: free_pages.saturating_mul(page_bytes),
        tenants: count("select count(*) from tenant")?,
        tokens: count("select count(*) from token")?,
        webhooks: count("select count(*) from webhook where disabled_cause is not 3")?,
        disabled_webhooks: count("select count(*) from webhook where disabled_cause < 3")?,
        oldest_notification: time("select accepted_at from notification order by id limit 1")?,
        latest_notification: time("select accepted_at from notification order by id desc limit 1")?,
        last_written_at: clock::last_of_any(conn)?.map(|last| last.wall),
        moved: moved_to(conn)?,
    })
}

/// The size of a file, 0 if there is none.
fn bytes_of(path: &Path) -> Result<u64, OpenError> {
    match std::fs::metadata(path) {
        Ok(found) => Ok(found.len()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(OpenError::NoAccess(path.to_owned(), error.to_string())),
    }
}
