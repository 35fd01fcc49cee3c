//! The bulk job runner: has the store take the next step of each bulk job.
//!
//! The store remembers how far each has come, so this may end at any moment. Steps are small and
//! have pauses between them, so that intake and settling never wait for them.

use std::sync::Arc;
use std::time::Duration;

use model::contract::{Backend, StoreError};
use model::time::Clock;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use crate::ownership::CurrentEpoch;

/// Between two steps the writer belongs to others.
const PAUSE: Duration = Duration::from_millis(10);

/// A hint that another node began one may be lost: so often it is looked for.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Least time between two lines about refusals.
const TOLD_EVERY: Duration = Duration::from_secs(60);

/// What the store refuses is repeated after this long.
const REPEAT_AFTER: Duration = Duration::from_secs(1);

pub(crate) struct BulkJobRunner {
    pub(crate) store: Arc<dyn Backend>,
    pub(crate) epoch: CurrentEpoch,
    pub(crate) clock: Clock,
    /// Rung when there may be something to do.
    pub(crate) bell: Arc<Notify>,
}

impl BulkJobRunner {
    /// Looks once at the start: the process may have ended in the middle of a bulk job.
    pub(crate) async fn run(self) {
        let mut told_at: Option<Instant> = None;
        loop {
            match self
                .store
                .step_bulk_job(self.epoch.get(), self.clock.now())
                .await
            {
                Ok(more) => {
                    if more {
                        sleep(PAUSE).await;
                    } else {
                        // Rung or not, there may be something.
                        timeout(LOOK_EVERY, self.bell.notified()).await.ok();
                    }
                }
                Err(error) => {
                    // The store itself says these, once for all who ask.
                    let is_said = matches!(error, StoreError::Disk(_) | StoreError::Ended);
                    if !is_said && told_at.is_none_or(|told| told.elapsed() >= TOLD_EVERY) {
                        tracing::warn!(%error, "a bulk job cannot go on; will try again");
                        told_at = Some(Instant::now());
                    }
                    sleep(REPEAT_AFTER).await;
                }
            }
        }
    }
}
