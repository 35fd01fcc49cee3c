//! Reading through a cached statement: all rows of a small answer, or whether there are any.

use rusqlite::{Connection, Params, Row};

use crate::sqlite::job_error::JobError;

/// All rows of a small answer.
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

/// The first row, if there is any.
pub(crate) fn first<T>(
    conn: &Connection,
    sql: &'static str,
    params: impl Params,
    read: impl FnOnce(&Row<'_>) -> Result<T, JobError>,
) -> Result<Option<T>, JobError> {
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    rows.next()?.map(read).transpose()
}

/// Whether there is a row.
pub(crate) fn exists(
    conn: &Connection,
    sql: &'static str,
    params: impl Params,
) -> Result<bool, JobError> {
    Ok(conn.prepare_cached(sql)?.exists(params)?)
}
