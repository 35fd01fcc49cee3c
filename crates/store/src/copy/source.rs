//! The file that is copied. While this has it, nobody else has it open.

use std::path::{Path, PathBuf};

use model::time::Timestamp;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension};

use crate::copy::datum::Datum;
use crate::copy::table::CopiedTable;
use crate::error::OpenError;
use crate::integrity::snapshot;
use crate::sql::job_error::JobError;
use crate::sqlite::moved::{self, CopyMark};
use crate::sqlite::open;

/// A batch ends with the row that goes beyond this.
const BATCH_BYTES: usize = 4 * 1024 * 1024;

// The highest that autoincrement has given.
const HIGHEST: &str = "
    select max(highest) from (
      select seq as highest from sqlite_sequence where name = ?1
      union all
      select 0)";

const HIGHEST_NOTIFICATION: &str = "
    select max(highest) from (
      select max(id) as highest from notification
      union all
      select latest from counted where what = 'notification'
      union all
      select 0)";

pub(crate) struct Source {
    conn: Connection,
    path: PathBuf,
}

/// Some rows, in the order of the source's key.
pub(crate) struct Batch {
    pub(crate) rows: Vec<Vec<Datum>>,
    /// Whether there are no more.
    pub(crate) is_last: bool,
}

impl Source {
    /// Takes the file for itself, with all it has in its tables and the schema that is known.
    pub(crate) fn open(path: &Path) -> Result<Self, OpenError> {
        if !path.metadata().is_ok_and(|found| found.len() > 0) {
            return Err(OpenError::NoStore(path.to_owned()));
        }
        let path = std::fs::canonicalize(path).map_err(|error| OpenError::of_io(path, &error))?;
        let conn = open::for_copying(&path)?;
        Ok(Self { conn, path })
    }

    fn failed(&self, error: rusqlite::Error) -> OpenError {
        OpenError::of(&self.path, error)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The copy that was begun last.
    pub(crate) fn mark(&self) -> Result<Option<CopyMark>, OpenError> {
        moved::find(&self.conn).map_err(|error| self.failed(error))
    }

    pub(crate) fn begin(&self, id: &str, target: &str) -> Result<(), OpenError> {
        moved::begin(&self.conn, id, target).map_err(|error| self.failed(error))
    }

    /// From now on nobody opens it to use it.
    pub(crate) fn end(&self, at: Timestamp) -> Result<(), OpenError> {
        moved::end(&self.conn, at).map_err(|error| self.failed(error))
    }

    /// It is used again, whatever was copied of it.
    pub(crate) fn forget_copy(&self) -> Result<(), OpenError> {
        moved::forget(&self.conn).map_err(|error| self.failed(error))
    }

    /// The rows behind this key, or the first ones.
    pub(crate) fn read(
        &self,
        table: &CopiedTable,
        behind: Option<&[Datum]>,
        rows_max: usize,
    ) -> Result<Batch, JobError> {
        let mut statement = self.conn.prepare_cached(&table.read(behind.is_none()))?;
        let limit = i64::try_from(rows_max).unwrap_or(i64::MAX);
        let values = behind.unwrap_or_default().iter().map(to_value);
        let values = values.chain([Value::Integer(limit)]);
        let mut found = statement.query(rusqlite::params_from_iter(values))?;
        let (mut rows, mut bytes) = (Vec::new(), 0_usize);
        while let Some(row) = found.next()? {
            let columns = 0..table.columns.len();
            let row: Result<Vec<Datum>, JobError> = columns
                .map(|at| Datum::of_sqlite(row.get_ref(at)?))
                .collect();
            let row = row?;
            bytes = row
                .iter()
                .map(Datum::bytes)
                .fold(bytes, usize::saturating_add);
            rows.push(row);
            if bytes > BATCH_BYTES {
                let is_last = found.next()?.is_none() && rows.len() < rows_max;
                return Ok(Batch { rows, is_last });
            }
        }
        let is_last = rows.len() < rows_max;
        Ok(Batch { rows, is_last })
    }

    /// The highest id that was ever given in a table, as far as that is known.
    pub(crate) fn highest_id(&self, table: &CopiedTable) -> Result<i64, JobError> {
        let given: Option<i64> = self
            .conn
            .query_row(HIGHEST, [table.name], |row| row.get(0))
            .optional()?;
        let sql = format!("select coalesce(max(id), 0) from {}", table.quoted());
        let sql = match table.from {
            Some(from) => format!("select coalesce(max(id), 0) from {from}"),
            None => sql,
        };
        let there: i64 = self.conn.query_row(&sql, [], |row| row.get(0))?;
        Ok(there.max(given.unwrap_or(0)))
    }

    pub(crate) fn highest_notification(&self) -> Result<i64, JobError> {
        Ok(self
            .conn
            .query_row(HIGHEST_NOTIFICATION, [], |row| row.get(0))?)
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        snapshot::close(&self.conn, &self.path);
    }
}

fn to_value(datum: &Datum) -> Value {
    match datum {
        Datum::Null => Value::Null,
        Datum::Integer(number) => Value::Integer(*number),
        Datum::Text(text) => Value::Text(text.clone()),
        Datum::Blob(blob) => Value::Blob(blob.clone()),
    }
}
