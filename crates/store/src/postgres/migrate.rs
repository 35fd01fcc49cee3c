//! Migrations: numbered SQL files, forward only. All that are missing run in one transaction under
//! a lock. The table `willcall` has the version of the schema that the tables are in.
//!
//! Other tables may be in the schema, as long as none has a name of ours. Anything else is refused,
//! and nothing is changed by then.

use std::time::Duration;

use tokio_postgres::Row;

use crate::OpenError;
use crate::postgres::copy_mark;
use crate::postgres::host_fault::{HostFailure, HostFault};
use crate::postgres::locks;
use crate::postgres::open;
use crate::postgres::session::{Committed, Session, TransactionMode};
use crate::postgres::session_error::SessionError;

const MIGRATIONS: &[Migration] = &[
    Migration {
        sql: include_str!("../../migrations/postgres/0001_init.sql"),
        oldest: 1,
    },
    // A program that does not know signatures would send unsigned what is to be signed.
    Migration {
        sql: include_str!("../../migrations/postgres/0002_signature.sql"),
        oldest: 2,
    },
    // One that does not know own headers would send without them.
    Migration {
        sql: include_str!("../../migrations/postgres/0003_own_header.sql"),
        oldest: 3,
    },
    // Nor does one know how to sign by profiles that came later.
    Migration {
        sql: include_str!("../../migrations/postgres/0004_key_set.sql"),
        oldest: 4,
    },
    // Nor in which form a call is to go out.
    Migration {
        sql: include_str!("../../migrations/postgres/0005_cloud_events.sql"),
        oldest: 5,
    },
    // One that does not know client certificates would call without them, and trust more CAs.
    Migration {
        sql: include_str!("../../migrations/postgres/0006_webhook_tls.sql"),
        oldest: 6,
    },
    // Nor how often a webhook may be called.
    Migration {
        sql: include_str!("../../migrations/postgres/0007_call_limits.sql"),
        oldest: 7,
    },
    // An index more disturbs nobody.
    Migration {
        sql: include_str!("../../migrations/postgres/0008_failing.sql"),
        oldest: 7,
    },
    // Nor that a receiver is to agree before it is called.
    Migration {
        sql: include_str!("../../migrations/postgres/0009_handshake.sql"),
        oldest: 9,
    },
    // A program that counts no attempts disturbs nobody.
    Migration {
        sql: include_str!("../../migrations/postgres/0010_statistic.sql"),
        oldest: 9,
    },
    // Nor how alerts are delivered.
    Migration {
        sql: include_str!("../../migrations/postgres/0011_incident.sql"),
        oldest: 11,
    },
    // A server that does not know portal links makes none and ends none. It works otherwise.
    Migration {
        sql: include_str!("../../migrations/postgres/0012_portal.sql"),
        oldest: 11,
    },
    // One that does not know filters would replay all that failed.
    Migration {
        sql: include_str!("../../migrations/postgres/0013_bulk_filter.sql"),
        oldest: 13,
    },
    // One that does not know holds would send.
    Migration {
        sql: include_str!("../../migrations/postgres/0014_hold.sql"),
        oldest: 14,
    },
];

/// One step of the schema.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Migration {
    pub(crate) sql: &'static str,
    /// The oldest version of the schema whose programs go on working on this one, and may start on
    /// it: during an upgrade they run side by side. A step that such a program does not bear comes
    /// one release after the program that does.
    pub(crate) oldest: u32,
}

/// How long a statement of a migration may take, and how long another node's is waited for.
const LIMIT: Duration = Duration::from_secs(3_600);

statements! {
    USER = "select current_user::text";
    // Tables, indexes and sequences share their names, and each table has a type of its name.
    TAKEN = "
        select name from unnest($1::text[]) as name
        where exists (
            select 1 from pg_class c join pg_namespace n on n.oid = c.relnamespace
            where n.nspname = current_schema() and c.relname = name)
          or exists (
            select 1 from pg_type t join pg_namespace n on n.oid = t.typnamespace
            where n.nspname = current_schema() and t.typname = name)
        order by name";
    // Whether there is a table `willcall`, and whether it is ours.
    MARK = "
        select count(*) filter (where a.attname = 'id' and a.atttypid = 'int2'::regtype) = 1
          and count(*) filter (where a.attname = 'version' and a.atttypid = 'int4'::regtype) = 1
          and count(*) filter (where a.attname = 'oldest' and a.atttypid = 'int4'::regtype) = 1
          and count(*) = 3
        from pg_class c
        join pg_namespace n on n.oid = c.relnamespace
        left join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        where n.nspname = current_schema() and c.relname = 'willcall'
        group by c.oid";
    VERSION = "select version, oldest from willcall where id = 1";
    SET_VERSION = "
        insert into willcall (id, version, oldest) values (1, $1, $2)
        on conflict (id) do update set version = excluded.version, oldest = excluded.oldest";
}

/// The versions that the schema had before and has now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SchemaVersions {
    pub before: u32,
    pub after: u32,
}

/// What `migrate` would do, or why it would refuse. Changes nothing.
pub(crate) fn preview(session: &Session) -> Result<SchemaVersions, OpenError> {
    refuse_unfinished_copy(session)?;
    let missing = missing(session, MIGRATIONS).map(|(before, missing)| SchemaVersions {
        before,
        after: before.saturating_add(u32::try_from(missing.len()).unwrap_or(u32::MAX)),
    });
    missing.map_err(|error| error.into_open_error(session))
}

/// The version that this program writes.
pub(crate) fn known() -> u32 {
    u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX)
}

/// The names of all tables that there are after the last migration.
pub(crate) fn tables() -> impl Iterator<Item = &'static str> {
    let sql = MIGRATIONS.iter().map(|migration| migration.sql);
    sql.flat_map(|sql| names_of(sql, &["table "]))
}

/// The names of all sequences that there are after the last migration.
pub(crate) fn sequences() -> impl Iterator<Item = &'static str> {
    let sql = MIGRATIONS.iter().map(|migration| migration.sql);
    sql.flat_map(|sql| names_of(sql, &["sequence "]))
}

/// Why a migration was not run.
enum MigrationError {
    Session(SessionError),
    Open(OpenError),
}

/// Migrates the schema to the version that this program knows. Does nothing if it is there already,
/// also if another node was faster. The session can be used for nothing else afterwards: its
/// statements may take as long as a migration.
pub(crate) fn migrate(session: &Session) -> Result<SchemaVersions, OpenError> {
    refuse_unfinished_copy(session)?;
    migrate_for_copy(session)
}

/// The same for the copy that is under way, or is to begin.
pub(crate) fn migrate_for_copy(session: &Session) -> Result<SchemaVersions, OpenError> {
    migrate_by(session, MIGRATIONS)
}

/// What is only partly copied is nobody's store.
fn refuse_unfinished_copy(session: &Session) -> Result<(), OpenError> {
    match copy_mark::find(session).map_err(|error| of_session(session, error))? {
        None => Ok(()),
        Some(unfinished) => Err(OpenError::UnfinishedCopy {
            source_file: unfinished.source,
        }),
    }
}

/// Why what was asked of the tables was not done.
pub(crate) fn of_session(session: &Session, error: SessionError) -> OpenError {
    MigrationError::Session(error).into_open_error(session)
}

/// The same by these migrations.
pub(crate) fn migrate_by(
    session: &Session,
    migrations: &[Migration],
) -> Result<SchemaVersions, OpenError> {
    let migrated = missing(session, migrations).and_then(|(before, missing)| {
        if missing.is_empty() {
            return Ok(SchemaVersions {
                before,
                after: before,
            });
        }
        run_missing(session, migrations)
    });
    migrated.map_err(|error| {
        // What is open is undone with the session at the latest.
        drop(session.rollback());
        error.into_open_error(session)
    })
}

/// The version of the schema, and the migrations that it lacks.
fn missing<'a>(
    session: &Session,
    migrations: &'a [Migration],
) -> Result<(u32, &'a [Migration]), MigrationError> {
    let (before, oldest) = version(session)?;
    let known = u32::try_from(migrations.len()).unwrap_or(u32::MAX);
    let schema = || session.facts().schema.clone();
    if before > known && oldest <= known {
        return Ok((before, &[]));
    }
    let done = usize::try_from(before).unwrap_or(usize::MAX);
    let Some(missing) = migrations.get(done..) else {
        return Err(MigrationError::Open(OpenError::NewerSchema {
            schema: schema(),
            found: before,
            known,
        }));
    };
    let names: Vec<&str> = missing.iter().flat_map(|one| names(one.sql)).collect();
    let taken = session.query(TAKEN, &[&names])?;
    if !taken.is_empty() {
        let taken: Result<Vec<String>, _> = taken.iter().map(|row| row.try_get(0)).collect();
        return Err(MigrationError::Open(OpenError::ForeignSchema {
            schema: schema(),
            names: taken.unwrap_or_default(),
        }));
    }
    if !missing.is_empty() && !session.facts().may_create {
        let user = session.query(USER, &[])?;
        let user: Option<String> = user.first().and_then(|row| row.try_get(0).ok());
        let fault = HostFault::NoCreateRight {
            user: user.unwrap_or_default(),
            schema: schema(),
        };
        return Err(MigrationError::Open(failure(session, fault)));
    }
    Ok((before, missing))
}

/// The version that the schema has, and the oldest one whose programs work on it; 0 if none of its
/// tables is there.
fn version(session: &Session) -> Result<(u32, u32), MigrationError> {
    let mark = session.query(MARK, &[])?;
    let Some(mark) = mark.first() else {
        return Ok((0, 0));
    };
    let is_ours = mark.try_get(0).unwrap_or(false);
    let found = match is_ours {
        true => session.query(VERSION, &[])?,
        false => Vec::new(),
    };
    let number = |row: &Row, place: usize| {
        let number: Option<i32> = row.try_get(place).ok();
        u32::try_from(number?).ok()
    };
    let found = found.first();
    let found = found.and_then(|row| Some((number(row, 0)?, number(row, 1)?)));
    found.ok_or_else(|| {
        MigrationError::Open(OpenError::ForeignSchema {
            schema: session.facts().schema.clone(),
            names: vec!["willcall".to_owned()],
        })
    })
}

/// Runs all that are missing under the lock, where the version is read again.
fn run_missing(
    session: &Session,
    migrations: &[Migration],
) -> Result<SchemaVersions, MigrationError> {
    session.limit_statements(LIMIT)?;
    session.begin(TransactionMode::ReadWrite)?;
    session.batch(&format!("set local lock_timeout = {}", LIMIT.as_millis()))?;
    session.query(locks::TAKE, &[&vec![locks::MIGRATION.number()]])?;
    let (before, missing) = missing(session, migrations)?;
    let mut after = before;
    for migration in missing {
        session.batch(migration.sql)?;
        after = after.saturating_add(1);
        let number = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
        let (version, oldest) = (number(after), number(migration.oldest));
        session.execute(SET_VERSION, &[&version, &oldest])?;
    }
    match session.commit()? {
        // A standby that lags behind runs no migration: it gets this one.
        Committed::Durable | Committed::NotReplicated => Ok(SchemaVersions { before, after }),
    }
}

/// The names of what a migration makes.
fn names(sql: &str) -> impl Iterator<Item = &str> {
    names_of(sql, &["table ", "index ", "unique index ", "sequence "])
}

/// The names of what a migration makes of these kinds.
fn names_of<'a>(sql: &'a str, kinds: &'static [&str]) -> impl Iterator<Item = &'a str> {
    sql.lines().filter_map(move |line| {
        let rest = line.strip_prefix("create ")?;
        let rest = kinds.iter().find_map(|kind| rest.strip_prefix(kind))?;
        let name = rest.split([' ', ';']).next()?;
        Some(name.trim_matches('"'))
    })
}

pub(crate) fn failure(session: &Session, fault: HostFault) -> OpenError {
    let host = session.facts().host.clone();
    OpenError::NoHost(vec![HostFailure { host, fault }])
}

impl MigrationError {
    fn into_open_error(self, session: &Session) -> OpenError {
        match self {
            Self::Open(error) => error,
            Self::Session(SessionError::Refused(refused)) => OpenError::Migration {
                schema: session.facts().schema.clone(),
                words: refused.to_string(),
            },
            Self::Session(error) => failure(session, open::broken(error)),
        }
    }
}

impl From<SessionError> for MigrationError {
    fn from(error: SessionError) -> Self {
        Self::Session(error)
    }
}
