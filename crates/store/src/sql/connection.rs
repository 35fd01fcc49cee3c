//! A connection to either engine, as a question or a change is given it.

use rusqlite::params_from_iter;

use crate::postgres::connection::PostgresConnection;
use crate::sql::job_error::JobError;
use crate::sql::value::Value;
use crate::sql::{Row, Statement};

/// A connection, in a transaction that whoever lends it begins and ends. Values behind the last
/// that a statement names are left out, so that statements which need more can stand beside others.
#[derive(Clone, Copy)]
pub(crate) enum Connection<'a> {
    Sqlite(&'a rusqlite::Connection),
    Postgres(&'a PostgresConnection),
}

impl<'a> From<&'a rusqlite::Connection> for Connection<'a> {
    fn from(conn: &'a rusqlite::Connection) -> Self {
        Self::Sqlite(conn)
    }
}

impl<'a> From<&'a PostgresConnection> for Connection<'a> {
    fn from(conn: &'a PostgresConnection) -> Self {
        Self::Postgres(conn)
    }
}

/// A statement that is run several times.
pub(crate) enum PreparedStatement<'a> {
    Sqlite(rusqlite::CachedStatement<'a>),
    Postgres(&'a PostgresConnection, Statement),
}

impl<'a> Connection<'a> {
    pub(crate) fn prepare(self, statement: Statement) -> Result<PreparedStatement<'a>, JobError> {
        Ok(match self {
            Self::Sqlite(conn) => PreparedStatement::Sqlite(conn.prepare_cached(statement.sqlite)?),
            Self::Postgres(conn) => PreparedStatement::Postgres(conn, statement),
        })
    }

    /// Hands the rows of an answer to `each`, until it says no.
    pub(crate) fn rows(
        self,
        statement: Statement,
        values: &[Value<'_>],
        each: impl FnMut(&Row<'_>) -> Result<bool, JobError>,
    ) -> Result<(), JobError> {
        self.prepare(statement)?.rows(values, each)
    }

    /// Runs a change. Answers how many rows it changed.
    pub(crate) fn execute(
        self,
        statement: Statement,
        values: &[Value<'_>],
    ) -> Result<usize, JobError> {
        self.prepare(statement)?.execute(values)
    }

    /// Inserts a row into a table with a column `id`. Answers the row's.
    pub(crate) fn insert(
        self,
        statement: Statement,
        values: &[Value<'_>],
    ) -> Result<i64, JobError> {
        match self {
            // No `returning` here: with it SQLite prepares to look through all tables that refer to
            // this one.
            Self::Sqlite(conn) => {
                let mut statement = conn.prepare_cached(statement.sqlite)?;
                Ok(statement.insert(params_from_iter(values))?)
            }
            Self::Postgres(conn) => conn.insert(statement, values),
        }
    }
}

impl PreparedStatement<'_> {
    pub(crate) fn rows(
        &mut self,
        values: &[Value<'_>],
        mut each: impl FnMut(&Row<'_>) -> Result<bool, JobError>,
    ) -> Result<(), JobError> {
        match self {
            Self::Sqlite(statement) => {
                let values = values.iter().take(statement.parameter_count());
                let mut rows = statement.query(params_from_iter(values))?;
                while let Some(row) = rows.next()? {
                    if !each(&Row::Sqlite(row))? {
                        break;
                    }
                }
            }
            Self::Postgres(conn, statement) => {
                for row in &conn.query(*statement, values)? {
                    if !each(&Row::Postgres(row))? {
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    pub(crate) fn execute(&mut self, values: &[Value<'_>]) -> Result<usize, JobError> {
        match self {
            Self::Sqlite(statement) => {
                let values = values.iter().take(statement.parameter_count());
                Ok(statement.execute(params_from_iter(values))?)
            }
            Self::Postgres(conn, statement) => conn.execute(*statement, values),
        }
    }
}
