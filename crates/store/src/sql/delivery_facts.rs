//! What a filter asks of a delivery, as it is read.

use model::delivery_filter::DeliveryFacts;
use model::time::Timestamp;

use crate::sql::job_error::JobError;
use crate::sql::row::ReadRow;

/// The facts of a delivery, and how long its body is.
pub(crate) struct FactsRow {
    pub(crate) notification: i64,
    action_type: String,
    event: Option<String>,
    accepted_at: Timestamp,
    pub(crate) body_bytes: usize,
    attempted: bool,
    response: Option<u16>,
}

impl FactsRow {
    /// Its columns, in the order of the fields.
    pub(crate) fn read(row: &impl ReadRow) -> Result<Self, JobError> {
        Ok(Self {
            notification: row.column(0)?,
            action_type: row.column(1)?,
            event: row.column(2)?,
            accepted_at: Timestamp::from_millis(row.column(3)?),
            body_bytes: usize::try_from(row.column::<u32>(4)?).unwrap_or(usize::MAX),
            attempted: row.column(5)?,
            response: row.column(6)?,
        })
    }

    pub(crate) fn facts(&self) -> DeliveryFacts<'_> {
        DeliveryFacts {
            action_type: &self.action_type,
            event: self.event.as_deref(),
            accepted_at: self.accepted_at,
            attempted: self.attempted,
            response: self.response,
        }
    }
}
