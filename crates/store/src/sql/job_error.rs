//! Errors of a job: why a question or a change was not answered.

use std::sync::Arc;

use model::contract::StoreError;

use crate::postgres::session_error::SessionError;

/// Why a job was not done.
#[derive(Debug)]
pub(crate) enum JobError {
    /// SQLite could not.
    Sqlite(rusqlite::Error),
    /// PostgreSQL could not, or is not there.
    Postgres(SessionError),
    /// The job refused, perhaps after writing something.
    Store(StoreError),
    /// The job refused before it wrote or cached anything: there is nothing to undo.
    Refused(StoreError),
}

/// A row holds what no version of this program writes.
#[derive(Debug, thiserror::Error)]
#[error("the store holds an invalid {0}")]
pub(crate) struct CorruptRow(pub(crate) &'static str);

impl From<rusqlite::Error> for JobError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<SessionError> for JobError {
    fn from(error: SessionError) -> Self {
        Self::Postgres(error)
    }
}

impl From<tokio_postgres::Error> for JobError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Store(StoreError::Broken(Arc::new(error)))
    }
}

impl From<StoreError> for JobError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<CorruptRow> for JobError {
    fn from(error: CorruptRow) -> Self {
        Self::Store(StoreError::Broken(Arc::new(error)))
    }
}

impl From<serde_json::Error> for JobError {
    fn from(error: serde_json::Error) -> Self {
        Self::Store(StoreError::Broken(Arc::new(error)))
    }
}

pub(crate) fn broken(words: &'static str) -> StoreError {
    StoreError::Broken(Arc::new(std::io::Error::other(words)))
}
