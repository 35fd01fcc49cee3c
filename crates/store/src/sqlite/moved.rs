//! The row `moved`: whether the store was copied into a database, and is used there from now on.

use model::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

/// A copy that was begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CopyMark {
    /// Drawn by chance.
    pub(crate) id: String,
    /// The database, without secrets.
    pub(crate) target: String,
    /// Whether the store was opened since.
    pub(crate) is_stale: bool,
    /// When it ended; none if it did not.
    pub(crate) ended_at: Option<Timestamp>,
}

/// What a file is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opening {
    /// Not if it was moved.
    ForUse,
    ForCopying,
}

const HAS_MARKS: &str = "select 1 from sqlite_schema where type = 'table' and name = 'moved'";
const FIND: &str = "select copy, target, stale, ended_at from moved where id = 1";
const BEGIN: &str = "
    insert into moved (id, copy, target, stale) values (1, ?1, ?2, 0)
    on conflict (id) do update set copy = ?1, target = ?2, stale = 0, ended_at = null";
const END: &str = "update moved set ended_at = ?1 where id = 1";
const MAKE_STALE: &str = "update moved set stale = 1 where id = 1";
const FORGET: &str = "delete from moved";

/// The latest copy that was begun, also of a store that knows of none.
pub(crate) fn find(conn: &Connection) -> Result<Option<CopyMark>, rusqlite::Error> {
    if !conn.prepare(HAS_MARKS)?.exists([])? {
        return Ok(None);
    }
    let found = conn.query_row(FIND, [], |row| {
        Ok(CopyMark {
            id: row.get(0)?,
            target: row.get(1)?,
            is_stale: row.get(2)?,
            ended_at: row.get::<_, Option<i64>>(3)?.map(Timestamp::from_millis),
        })
    });
    found.optional()
}

/// The store is being opened: what a copy has of it may be old from now on.
pub(crate) fn note_opened(conn: &Connection) -> Result<(), rusqlite::Error> {
    if find(conn)?.is_some_and(|mark| !mark.is_stale) {
        conn.execute(MAKE_STALE, [])?;
    }
    Ok(())
}

pub(crate) fn begin(conn: &Connection, id: &str, target: &str) -> Result<(), rusqlite::Error> {
    conn.execute(BEGIN, params![id, target]).map(drop)
}

pub(crate) fn end(conn: &Connection, at: Timestamp) -> Result<(), rusqlite::Error> {
    conn.execute(END, [at.as_millis()]).map(drop)
}

/// The store is used again.
pub(crate) fn forget(conn: &Connection) -> Result<(), rusqlite::Error> {
    conn.execute(FORGET, []).map(drop)
}
