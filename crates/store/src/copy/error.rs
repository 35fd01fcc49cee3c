//! Why a store was not copied, and what to do about it.

use crate::error::OpenError;
use crate::sql::job_error::JobError;

/// Why a copy has not ended. The source is usable as before, unless it says otherwise.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The source or the target cannot be opened.
    #[error("{0}")]
    Open(#[from] OpenError),
    #[error(
        "{target} is not empty: it has rows in {table}, and was not changed. Copy into an empty \
         database, or into one that only `willcall migrate` has worked on"
    )]
    NotEmpty { target: String, table: &'static str },
    #[error("{0} is in use by a server or by another copy, and was not changed: end that first")]
    TargetInUse(String),
    #[error(
        "{target} has an unfinished copy of {source_file} that this file knows nothing of, and was not \
         changed: finish that one, or name an empty database"
    )]
    OtherCopy { target: String, source_file: String },
    #[error(
        "the copy stopped at {table} ({words}): nothing is used of it yet, and the file is as it \
         was. Run the command again; it goes on where it stopped"
    )]
    Stopped { table: &'static str, words: String },
    #[error(
        "the copy of {table} is not what was copied ({found} rows in {target}, {copied} in the \
         file{same_count}): somebody else wrote to it. Nothing is used of it, and the file is as it \
         was. Empty the database and copy again",
        same_count = if found == copied { ", with other values" } else { "" }
    )]
    Differs {
        table: &'static str,
        target: String,
        found: i64,
        copied: i64,
    },
    #[error("the copy was given up: {0}")]
    GivenUp(String),
}

impl CopyError {
    pub(crate) fn stopped(table: &'static str, error: JobError) -> Self {
        let words = match error {
            JobError::Sqlite(error) => error.to_string(),
            JobError::Postgres(error) => error.to_string(),
            JobError::Store(error) | JobError::Refused(error) => error.to_string(),
        };
        Self::Stopped { table, words }
    }
}
