//! Errors of a job, and what its caller is told.
//!
//! SQLite's codes decide, never a text. What they leave open about the disk is found out by a probe
//! (`disk_probe.rs`).

use std::sync::Arc;

use model::contract::StoreError;
use rusqlite::ErrorCode;

use crate::sqlite::disk::DiskWatch;
use crate::sqlite::error_codes::{DiskSymptom, code, is_busy, symptom};

/// Why a job was not done.
#[derive(Debug)]
pub(crate) enum JobError {
    /// SQLite could not.
    Sql(rusqlite::Error),
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
        Self::Sql(error)
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

impl JobError {
    /// What the caller is told if nothing was written.
    pub(crate) fn into_store_error(self, disk: &DiskWatch) -> StoreError {
        let error = match self {
            Self::Store(error) | Self::Refused(error) => return error,
            Self::Sql(error) => error,
        };
        match symptom(&error) {
            Some(symptom) => StoreError::Disk(disk.report(symptom)),
            None if is_busy(&error) => StoreError::Busy,
            None => StoreError::Broken(Arc::new(error)),
        }
    }
}

/// What callers are told if the commit failed.
pub(crate) fn commit_error(error: rusqlite::Error, disk: &DiskWatch) -> StoreError {
    // The last write may have reached the disk, where a crash would find it.
    let symptom = symptom(&error);
    if code(&error) == Some(ErrorCode::SystemIoFailure) && symptom != Some(DiskSymptom::Unwritten) {
        symptom.map(|symptom| disk.report(symptom));
        return StoreError::Unknown;
    }
    JobError::Sql(error).into_store_error(disk)
}

pub(crate) fn broken(words: &'static str) -> StoreError {
    StoreError::Broken(Arc::new(std::io::Error::other(words)))
}
