//! The node's time: the world's, as long as the node runs, and a wall clock that may be wrong.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// Time, as the node has it.
pub(crate) struct NodeTime {
    pub(crate) start: Instant,
    /// The world's time at `start`; later if the steady clock stood still since.
    pub(crate) base: AtomicI64,
    /// By how much the wall clock is ahead.
    pub(crate) lead: Arc<AtomicI64>,
}

impl NodeTime {
    pub(crate) fn now(&self) -> i64 {
        self.base.load(Ordering::Relaxed) + self.steady_ms()
    }

    pub(crate) fn steady_ms(&self) -> i64 {
        i64::try_from(self.start.elapsed().as_millis()).unwrap_or(i64::MAX)
    }

    pub(crate) fn at(&self, world_ms: i64) -> Instant {
        let ms = world_ms - self.base.load(Ordering::Relaxed);
        self.start + Duration::from_millis(u64::try_from(ms).unwrap_or(0))
    }
}
