//! The database that is copied into: the mark that a copy is under way, how far it has come, and
//! the rows.
//!
//! Each batch is one transaction that also says how far the copy has come, so that one which was
//! ended at any moment goes on behind the last batch that is there.

use std::time::Duration;

use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::copy::datum::{self, Checksum, Datum};
use crate::copy::error::CopyError;
use crate::copy::table::{CopiedTable, Kind};
use crate::copy::tables::TABLES;
use crate::error::OpenError;
use crate::postgres::copy_mark::{self, UnfinishedCopy};
use crate::postgres::session::{Committed, Session, TransactionMode};
use crate::postgres::session_error::{Loss, SessionError, SqlFault};
use crate::postgres::settings::DatabaseSettings;
use crate::postgres::{locks, migrate};
use crate::sql::job_error::{CorruptRow, JobError};
use crate::sql::row::ReadRow;
use crate::sql::value::Value;

/// How long a statement may take: the longest empties the tables of a large copy.
const LIMIT: Duration = Duration::from_secs(3_600);

// Held by the session until it ends. Who sends takes the same one for each change of leases.
const LOCK: &str = "select pg_advisory_lock($1) is not null";

const NODES: &str = "
    select 1 from lease where until > extract(epoch from clock_timestamp()) * 1000 limit 1";

const BEGIN: &str = "insert into willcall_copy (id, copy, source) values (1, $1, $2)";
const RENUMBER: &str = "
    update willcall_copy set copy = $1, previous = $2, source = $3 where id = 1";
const FORGET_PROGRESS: &str = "delete from willcall_copied";

const PROGRESS: &str = "
    select row_count, checksum, reached, ended from willcall_copied where name = $1";
const SET_PROGRESS: &str = "
    insert into willcall_copied (name, row_count, checksum, reached, ended)
    values ($1, $2, $3, $4, $5)
    on conflict (name) do update set row_count = excluded.row_count,
      checksum = excluded.checksum, reached = excluded.reached, ended = excluded.ended";

const COUNT_NOTIFICATIONS_FROM: &str = "select setval('notification_id', $1::bigint)";

// Servers that run forget what they know of tenants and webhooks.
const RENEW_CATALOG: &str = "update catalog set version = version + 1 where id = 1";

/// How far a table has come.
#[derive(Debug, Clone, Default)]
pub(crate) struct Progress {
    pub(crate) copied: Checksum,
    /// The key of the last row in the source.
    pub(crate) reached: Option<Vec<Datum>>,
    pub(crate) is_ended: bool,
}

pub(crate) struct Target {
    session: Session,
    address: String,
}

impl Target {
    /// Migrates the schema, and keeps every server and every other copy away.
    pub(crate) fn open(settings: &DatabaseSettings) -> Result<Self, CopyError> {
        let schema = Session::open(settings, "willcall migrate")?;
        migrate::migrate_for_copy(&schema)?;
        drop(schema);
        let target = Self {
            session: Session::open(settings, "willcall copy")?,
            address: Self::address_of(settings),
        };
        target.take()?;
        Ok(target)
    }

    /// What a database is called in messages.
    pub(crate) fn address_of(settings: &DatabaseSettings) -> String {
        format!("the database {}", settings.address())
    }

    fn take(&self) -> Result<(), CopyError> {
        let in_use = || CopyError::TargetInUse(self.address.clone());
        let key = locks::LEASES.number();
        match self.session.query(LOCK, &[&key]) {
            Err(SessionError::Refused(refused)) if refused.fault == SqlFault::LockTimeout => {
                return Err(in_use());
            }
            locked => drop(locked.map_err(|error| self.failed(error))?),
        }
        let nodes = self.session.query(NODES, &[]);
        match nodes.map_err(|error| self.failed(error))?.is_empty() {
            true => self
                .session
                .limit_statements(LIMIT)
                .map_err(|error| self.failed(error).into()),
            false => Err(in_use()),
        }
    }

    fn failed(&self, error: SessionError) -> OpenError {
        migrate::of_session(&self.session, error)
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn mark(&self) -> Result<Option<UnfinishedCopy>, OpenError> {
        copy_mark::find(&self.session).map_err(|error| self.failed(error))
    }

    /// Refuses a database with rows of ours.
    pub(crate) fn check_empty(&self) -> Result<(), CopyError> {
        self.session.refuse_without_right_to_create()?;
        for table in TABLES {
            let found = self.session.query(&table.has_rows(), &[]);
            if !found.map_err(|error| self.failed(error))?.is_empty() {
                return Err(CopyError::NotEmpty {
                    target: self.address.clone(),
                    table: table.name,
                });
            }
        }
        Ok(())
    }

    /// From now on nobody else uses it.
    pub(crate) fn begin(&self, id: &str, source: &str) -> Result<(), OpenError> {
        self.change(|| {
            self.session.batch(copy_mark::CREATE)?;
            self.session.execute(BEGIN, &[&id, &source])?;
            Ok(())
        })
    }

    /// Removes what the copy has, and begins anew under another number.
    pub(crate) fn start_over(
        &self,
        id: &str,
        previous: &str,
        source: &str,
    ) -> Result<(), OpenError> {
        let tables: Vec<String> = TABLES.iter().map(CopiedTable::quoted).collect();
        let truncate = format!("truncate table {}", tables.join(", "));
        self.change(|| {
            self.session.batch(&truncate)?;
            self.session.execute(FORGET_PROGRESS, &[])?;
            self.session.execute(RENUMBER, &[&id, &previous, &source])?;
            Ok(())
        })
    }

    /// From now on it is a store like any other.
    pub(crate) fn end(&self) -> Result<(), OpenError> {
        self.change(|| {
            self.session.execute(RENEW_CATALOG, &[])?;
            self.session.batch(copy_mark::DROP)
        })
    }

    fn change(&self, work: impl Fn() -> Result<(), SessionError>) -> Result<(), OpenError> {
        let changed = self
            .session
            .begin(TransactionMode::ReadWrite)
            .and_then(|()| work())
            .and_then(|()| durable(self.session.commit()?));
        changed.map_err(|error| {
            drop(self.session.rollback());
            self.failed(error)
        })
    }

    pub(crate) fn progress(&self, table: &CopiedTable) -> Result<Progress, JobError> {
        let found = self.session.query(PROGRESS, &[&table.name])?;
        let Some(row) = found.first() else {
            return Ok(Progress::default());
        };
        let sum: String = row.column(1)?;
        let reached: Option<&[u8]> = row.try_get(2)?;
        Ok(Progress {
            copied: Checksum {
                rows: row.column(0)?,
                sum: sum.parse().map_err(|_| CorruptRow("checksum of a copy"))?,
            },
            reached: reached.map(datum::of_bytes).transpose()?,
            is_ended: row.column(3)?,
        })
    }

    /// Writes rows, and that the table has come so far.
    pub(crate) fn write(
        &self,
        table: &CopiedTable,
        rows: &[Vec<Datum>],
        progress: &Progress,
    ) -> Result<(), JobError> {
        let sum = progress.copied.sum.to_string();
        let reached = progress.reached.as_deref().map(datum::to_bytes);
        let progress: [&(dyn ToSql + Sync); 5] = [
            &table.name,
            &progress.copied.rows,
            &sum,
            &reached,
            &progress.is_ended,
        ];
        let columns = columns(table, rows);
        let columns: Vec<&(dyn ToSql + Sync)> = columns.iter().map(|column| column as _).collect();
        let insert = table.insert();
        let statements = [
            (insert.as_str(), columns.as_slice()),
            (SET_PROGRESS, &progress),
        ];
        // Without rows only the second.
        let from = usize::from(rows.is_empty());
        let (_, committed) = self
            .session
            .transaction(statements.get(from..).unwrap_or_default())?;
        Ok(durable(committed)?)
    }

    /// What the rows are that are there now, some at a time. `each` is told how many there were so
    /// far.
    pub(crate) fn checksum(
        &self,
        table: &CopiedTable,
        mut each: impl FnMut(i64) -> Result<(), CopyError>,
    ) -> Result<Checksum, CopyError> {
        let stopped = |error| CopyError::stopped(table.name, error);
        let (first, next) = (table.hashes(true), table.hashes(false));
        let mut checksum = Checksum::default();
        let mut key: Option<Row> = None;
        loop {
            let found = match &key {
                None => self.session.query(&first, &[]),
                Some(row) => {
                    let key = key_of(table, row).map_err(stopped)?;
                    let values: Vec<Value<'_>> = key.iter().map(Datum::value).collect();
                    let values: Vec<&(dyn ToSql + Sync)> =
                        values.iter().map(|value| value as _).collect();
                    self.session.query(&next, &values)
                }
            };
            let mut found = found.map_err(|error| stopped(error.into()))?;
            for row in &found {
                checksum.add_hash(row.column(0).map_err(stopped)?);
            }
            each(checksum.rows)?;
            if found.len() < CopiedTable::HASHES_AT_ONCE {
                return Ok(checksum);
            }
            key = found.pop();
        }
    }

    /// New ids are above these.
    pub(crate) fn count_from(&self, table: &CopiedTable, highest: i64) -> Result<(), JobError> {
        self.set_sequence(&table.count_from(), highest)
    }

    pub(crate) fn count_notifications_from(&self, highest: i64) -> Result<(), JobError> {
        self.set_sequence(COUNT_NOTIFICATIONS_FROM, highest)
    }

    fn set_sequence(&self, sql: &str, highest: i64) -> Result<(), JobError> {
        if highest < 1 {
            return Ok(());
        }
        let (_, committed) = self.session.transaction(&[(sql, &[&highest])])?;
        Ok(durable(committed)?)
    }
}

fn durable(committed: Committed) -> Result<(), SessionError> {
    match committed {
        Committed::Durable => Ok(()),
        Committed::NotReplicated => Err(SessionError::Unknown(Loss::NotReplicated)),
    }
}

/// An array of each column.
fn columns<'a>(table: &CopiedTable, rows: &'a [Vec<Datum>]) -> Vec<Vec<Value<'a>>> {
    let column = |(at, (_, kind)): (usize, &(&str, Kind))| {
        let values = rows.iter().map(|row| match (row.get(at), kind) {
            (None, _) => Value::Null,
            (Some(datum), Kind::Boolean) => datum.yes_or_no(),
            (
                Some(datum),
                Kind::Bigint | Kind::Integer | Kind::Smallint | Kind::Text | Kind::Bytea,
            ) => datum.value(),
        });
        values.collect()
    };
    table.columns.iter().enumerate().map(column).collect()
}

/// The key of a row of `CopiedTable::hashes`.
fn key_of(table: &CopiedTable, row: &Row) -> Result<Vec<Datum>, JobError> {
    let places = 1..=table.target_key.len();
    places.map(|at| Datum::of_cell(row.cell(at)?)).collect()
}
