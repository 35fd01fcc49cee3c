//! What the caller of a job is told when it was not done.
//!
//! SQLite's codes decide, never a text. What they leave open about the disk is found out by a probe
//! (`disk_probe.rs`).

use std::sync::Arc;

use model::contract::StoreError;
use rusqlite::ErrorCode;

use crate::sql::job_error::JobError;
use crate::sqlite::disk::DiskWatch;
use crate::sqlite::error_codes::{DiskSymptom, code, is_busy, symptom};

impl JobError {
    /// What the caller is told if nothing was written.
    pub(crate) fn into_store_error(self, disk: &DiskWatch) -> StoreError {
        let error = match self {
            Self::Store(error) | Self::Refused(error) => return error,
            Self::Sqlite(error) => error,
            Self::Postgres(error) => return StoreError::Broken(Arc::new(error)),
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
    JobError::Sqlite(error).into_store_error(disk)
}
