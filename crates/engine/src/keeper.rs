//! Keeper: removes what is past its retention and closes connections nobody used.
//!
//! It goes in small steps with pauses, so that intake and settling never wait for it.

use std::sync::Arc;
use std::time::Duration;

use model::contract::Store;
use model::time::Clock;
use tokio::time::{Instant, sleep, sleep_until};

use crate::meters::Meters;
use crate::pool::Pool;

const PRUNE_EVERY: Duration = Duration::from_secs(5 * 60);

/// Between two steps of pruning the writer belongs to others.
const PAUSE: Duration = Duration::from_millis(50);

const SWEEP_EVERY: Duration = Duration::from_secs(5);

pub(crate) struct Keeper {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Clock,
    pub(crate) pool: Arc<Pool>,
    pub(crate) meters: Arc<Meters>,
    pub(crate) kept_ms: i64,
}

impl Keeper {
    pub(crate) async fn run(self) {
        let mut failing = false;
        loop {
            let next = Instant::now() + PRUNE_EVERY;
            self.prune(&mut failing).await;
            while Instant::now() < next {
                self.pool.sweep();
                sleep_until(next.min(Instant::now() + SWEEP_EVERY)).await;
            }
        }
    }

    async fn prune(&self, failing: &mut bool) {
        loop {
            let now = self.clock.now();
            let before = now.plus_ms(self.kept_ms.saturating_neg());
            match self.store.prune(before, now).await {
                Ok(more) => {
                    *failing = false;
                    self.meters.pruned.inc();
                    if !more {
                        return;
                    }
                }
                Err(error) => {
                    if !*failing {
                        tracing::warn!(%error, "old deliveries cannot be removed; it is repeated");
                    }
                    *failing = true;
                    return;
                }
            }
            sleep(PAUSE).await;
        }
    }
}
