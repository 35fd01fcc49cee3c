//! Migrations: numbered SQL files, forward only. All that are missing run in one transaction under
//! the write lock. `user_version` is a file's version, `application_id` its kind.
//!
//! A library does the same except for one thing: it reads the version before it takes the lock, so
//! that two programs that start at once both migrate. Decision 39.

use rusqlite::Connection;

/// "Will" in ASCII: marks a file as ours.
pub(crate) const APPLICATION_ID: i32 = 0x5769_6c6c;

const MIGRATIONS: [&str; 21] = [
    include_str!("../migrations/sqlite/0001_init.sql"),
    include_str!("../migrations/sqlite/0002_wide.sql"),
    include_str!("../migrations/sqlite/0003_closed.sql"),
    include_str!("../migrations/sqlite/0004_clock.sql"),
    include_str!("../migrations/sqlite/0005_doubt.sql"),
    include_str!("../migrations/sqlite/0006_tried.sql"),
    include_str!("../migrations/sqlite/0007_certain.sql"),
    include_str!("../migrations/sqlite/0008_moved.sql"),
    include_str!("../migrations/sqlite/0009_signature.sql"),
    include_str!("../migrations/sqlite/0010_own_header.sql"),
    include_str!("../migrations/sqlite/0011_key_set.sql"),
    include_str!("../migrations/sqlite/0012_cloud_events.sql"),
    include_str!("../migrations/sqlite/0013_webhook_tls.sql"),
    include_str!("../migrations/sqlite/0014_call_limits.sql"),
    include_str!("../migrations/sqlite/0015_failing.sql"),
    include_str!("../migrations/sqlite/0016_handshake.sql"),
    include_str!("../migrations/sqlite/0017_statistic.sql"),
    include_str!("../migrations/sqlite/0018_incident.sql"),
    include_str!("../migrations/sqlite/0019_portal.sql"),
    include_str!("../migrations/sqlite/0020_bulk_filter.sql"),
    include_str!("../migrations/sqlite/0021_hold.sql"),
];

/// The version that this program writes.
pub(crate) const KNOWN: u32 = 21;

const _: () = assert!(MIGRATIONS.len() == KNOWN as usize);

/// Migrates the schema to the known version.
pub(crate) fn migrate(conn: &Connection) -> Result<(), rusqlite::Error> {
    migrate_to(conn, KNOWN)
}

/// Migrates the schema to `version`. Does nothing if it is there already, also if another process
/// was faster: the version is read again under the lock.
pub(crate) fn migrate_to(conn: &Connection, version: u32) -> Result<(), rusqlite::Error> {
    if self::version(conn)? >= version {
        return Ok(());
    }
    conn.execute_batch("begin immediate")?;
    let done = run(conn, version).and_then(|()| conn.execute_batch("commit"));
    if done.is_err() && !conn.is_autocommit() {
        conn.execute_batch("rollback")?;
    }
    done
}

pub(crate) fn version(conn: &Connection) -> Result<u32, rusqlite::Error> {
    conn.pragma_query_value(None, "user_version", |row| row.get(0))
}

pub(crate) fn application_id(conn: &Connection) -> Result<i32, rusqlite::Error> {
    conn.pragma_query_value(None, "application_id", |row| row.get(0))
}

fn run(conn: &Connection, version: u32) -> Result<(), rusqlite::Error> {
    let from = self::version(conn)?;
    for (number, sql) in (1..=version).zip(MIGRATIONS) {
        if number > from {
            conn.execute_batch(sql)?;
            conn.pragma_update(None, "user_version", number)?;
        }
    }
    conn.pragma_update(None, "application_id", APPLICATION_ID)
}
