//! Reading through a cached statement: all rows of a small answer, or whether there are any.

use rusqlite::{Connection, OptionalExtension, Params, Row};

use crate::sqlite::job_error::JobError;

/// All rows of a question whose answer is small.
pub(crate) fn list<T>(
    conn: &Connection,
    sql: &'static str,
    params: impl Params,
    read: impl Fn(&Row<'_>) -> Result<T, JobError>,
) -> Result<Vec<T>, JobError> {
    let mut found = Vec::new();
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    while let Some(row) = rows.next()? {
        found.push(read(row)?);
    }
    Ok(found)
}

pub(crate) fn exists(
    conn: &Connection,
    sql: &'static str,
    params: impl Params,
) -> Result<bool, JobError> {
    let found = conn
        .prepare_cached(sql)?
        .query_row(params, |_| Ok(()))
        .optional()?;
    Ok(found.is_some())
}
