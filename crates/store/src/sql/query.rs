//! Reading through a statement that is kept prepared: all rows of a small answer, the first, or
//! whether there are any.

use crate::sql::job_error::{CorruptRow, JobError};
use crate::sql::value::{Column, Value};
use crate::sql::{Connection, Row, Statement};

/// All rows of a small answer.
pub(crate) fn list<'a, T>(
    conn: impl Into<Connection<'a>>,
    statement: Statement,
    values: &[Value<'_>],
    read: impl Fn(&Row<'_>) -> Result<T, JobError>,
) -> Result<Vec<T>, JobError> {
    let mut found = Vec::new();
    conn.into().rows(statement, values, |row| {
        found.push(read(row)?);
        Ok(true)
    })?;
    Ok(found)
}

/// The first row, if there is any.
pub(crate) fn first<'a, T>(
    conn: impl Into<Connection<'a>>,
    statement: Statement,
    values: &[Value<'_>],
    read: impl Fn(&Row<'_>) -> Result<T, JobError>,
) -> Result<Option<T>, JobError> {
    let mut found = None;
    conn.into().rows(statement, values, |row| {
        found = Some(read(row)?);
        Ok(false)
    })?;
    Ok(found)
}

/// The only column of the only row.
pub(crate) fn one<'a, T: Column>(
    conn: impl Into<Connection<'a>>,
    statement: Statement,
    values: &[Value<'_>],
) -> Result<T, JobError> {
    let found = first(conn, statement, values, |row| row.get(0))?;
    found.ok_or_else(|| CorruptRow("answer").into())
}

/// Whether there is a row.
pub(crate) fn exists<'a>(
    conn: impl Into<Connection<'a>>,
    statement: Statement,
    values: &[Value<'_>],
) -> Result<bool, JobError> {
    Ok(first(conn, statement, values, |_| Ok(()))?.is_some())
}
