//! The retention worker: removes what is past its retention, counts what is owed.
//!
//! Steps are small and have pauses between them, so that intake and settling never wait for them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::contract::{Backend, StoreError};
use model::mutation::{Mutation, is_on};
use model::tenant::DialectName;
use model::time::{Clock, TimeBounds};
use tokio::time::{Instant, sleep, sleep_until};

use crate::metrics::Metrics;
use crate::ownership::CurrentEpoch;

/// Logs are kept for days, and a round looks at each webhook there is.
const PRUNE_EVERY: Duration = Duration::from_secs(30 * 60);

/// The backlog is counted again after this long, at the earliest.
const COUNT_EVERY: Duration = Duration::from_secs(60);

/// Counting takes at most this part of all time, however much there is to count.
const COUNT_SHARE: u32 = 400;

/// Between two steps of pruning or counting the store belongs to others.
const PAUSE: Duration = Duration::from_millis(50);

pub(crate) struct RetentionWorker {
    pub(crate) store: Arc<dyn Backend>,
    pub(crate) epoch: CurrentEpoch,
    pub(crate) clock: Clock,
    pub(crate) metrics: Arc<Metrics>,
    /// The retention of each dialect's log.
    pub(crate) retention_ms: BTreeMap<DialectName, i64>,
}

impl RetentionWorker {
    pub(crate) async fn run(self) {
        let mut failing = false;
        let mut count_at = Instant::now();
        loop {
            let next = Instant::now() + PRUNE_EVERY;
            self.prune(&mut failing).await;
            while Instant::now() < next {
                if Instant::now() >= count_at {
                    let took = self.count().await;
                    count_at = Instant::now() + rest_after(took);
                }
                sleep_until(next.min(count_at)).await;
            }
        }
    }

    /// Counts what is owed, in steps, and says how long the store took for it. What the store
    /// refuses to count stays as it was told last: that it refuses is told elsewhere.
    async fn count(&self) -> Duration {
        let (mut counts, mut after) = (BTreeMap::new(), None);
        let mut took = Duration::ZERO;
        loop {
            let asked_at = Instant::now();
            let step = self.store.backlog(self.epoch.get(), after).await;
            took += asked_at.elapsed();
            let Ok(step) = step else {
                return took;
            };
            for (dialect, count) in step.counts {
                *counts.entry(dialect).or_default() += count;
            }
            after = step.next;
            if after.is_none() {
                break;
            }
            sleep(PAUSE).await;
        }
        self.metrics.pending(&counts);
        took
    }

    async fn prune(&self, failing: &mut bool) {
        loop {
            // Nothing is removed by a clock that was set.
            let now = match is_on(Mutation::PruneInDoubt) {
                true => TimeBounds::exactly(self.clock.now()),
                false => self.clock.bounds(),
            };
            let before = self.retention_ms.iter().map(|(dialect, retention_ms)| {
                let before = now.earliest.plus_ms(retention_ms.saturating_neg());
                (dialect.clone(), before)
            });
            let before = before.collect();
            match self.store.prune(self.epoch.get(), before, now).await {
                Ok(more) => {
                    *failing = false;
                    self.metrics.retention_steps.inc();
                    if !more {
                        return;
                    }
                }
                Err(error) => {
                    // The store itself logs these, once for all callers.
                    let is_said = matches!(error, StoreError::Disk(_) | StoreError::Ended);
                    if !*failing && !is_said {
                        tracing::warn!(%error, "old deliveries cannot be removed; will try again");
                    }
                    *failing = true;
                    return;
                }
            }
            sleep(PAUSE).await;
        }
    }
}

/// How long to wait after counting that took this long.
fn rest_after(took: Duration) -> Duration {
    COUNT_EVERY.max(took.saturating_mul(COUNT_SHARE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counting_takes_a_bounded_share_of_all_time_however_much_there_is() {
        let ms = Duration::from_millis;
        assert_eq!(rest_after(ms(3)), COUNT_EVERY);
        for took in [ms(150), ms(1_000), ms(3_600_000)] {
            assert!(took * COUNT_SHARE <= rest_after(took), "{took:?}");
        }
        assert!(rest_after(Duration::MAX) > COUNT_EVERY);
    }
}
