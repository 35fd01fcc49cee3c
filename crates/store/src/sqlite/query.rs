//! Reading through a cached statement: the first row, or whether there is one.

use rusqlite::{Connection, Params, Row};

use crate::sql::job_error::JobError;

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
