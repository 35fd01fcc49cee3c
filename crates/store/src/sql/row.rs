//! A row of an answer, whichever engine gave it.

use crate::sql::job_error::{CorruptRow, JobError};
use crate::sql::value::{Cell, Column};

/// A row that is being read.
pub(crate) enum Row<'a> {
    Sqlite(&'a rusqlite::Row<'a>),
    Postgres(&'a tokio_postgres::Row),
}

/// How a column is named: by its place or by its name.
pub(crate) trait ColumnName: rusqlite::RowIndex + PostgresColumn + Copy {}

impl ColumnName for usize {}
impl ColumnName for &str {}

/// The place of a column in a row of PostgreSQL, if it is there.
pub(crate) trait PostgresColumn {
    fn place(self, row: &tokio_postgres::Row) -> Option<usize>;
}

impl PostgresColumn for usize {
    fn place(self, row: &tokio_postgres::Row) -> Option<usize> {
        (self < row.len()).then_some(self)
    }
}

impl PostgresColumn for &str {
    fn place(self, row: &tokio_postgres::Row) -> Option<usize> {
        let mut columns = row.columns().iter();
        columns.position(|column| column.name() == self)
    }
}

/// What rows of both kinds can be asked, so that what reads columns reads them from either.
pub(crate) trait ReadRow {
    fn cell(&self, at: impl ColumnName) -> Result<Cell<'_>, JobError>;

    fn column<T: Column>(&self, at: impl ColumnName) -> Result<T, JobError> {
        T::of_cell(self.cell(at)?)
    }
}

impl ReadRow for rusqlite::Row<'_> {
    fn cell(&self, at: impl ColumnName) -> Result<Cell<'_>, JobError> {
        Cell::of_sqlite(self.get_ref(at)?)
    }
}

impl ReadRow for tokio_postgres::Row {
    fn cell(&self, at: impl ColumnName) -> Result<Cell<'_>, JobError> {
        let place = at.place(self).ok_or(CorruptRow("row"))?;
        Ok(self.try_get(place)?)
    }
}

impl ReadRow for Row<'_> {
    fn cell(&self, at: impl ColumnName) -> Result<Cell<'_>, JobError> {
        match self {
            Self::Sqlite(row) => row.cell(at),
            Self::Postgres(row) => row.cell(at),
        }
    }
}

impl Row<'_> {
    /// The value of a column.
    pub(crate) fn get<I: ColumnName, T: Column>(&self, at: I) -> Result<T, JobError> {
        self.column(at)
    }
}
