//! Ids for notifications that come without one.

use std::sync::atomic::{AtomicI64, Ordering};

use model::time::Timestamp;

use crate::rng::SharedRng;

/// 2020-01-01T00:00:00Z: ids made here count microseconds from then, and stay below 2^53 until
/// the year 2305, so that every language can hold them.
const IDS_BEGIN_MS: i64 = 1_577_836_800_000;

/// Makes ids for notifications that come without one.
#[derive(Debug, Default)]
pub(super) struct NotificationIds(AtomicI64);

impl NotificationIds {
    /// The next id: larger than all before, and random enough to differ from those of other
    /// processes.
    pub(super) fn next(&self, rng: &SharedRng, at: Timestamp) -> String {
        let offset = i64::try_from(rng.below(1_000)).unwrap_or(0);
        let micros = at.as_millis().saturating_sub(IDS_BEGIN_MS).max(0);
        let fresh = micros.saturating_mul(1_000).saturating_add(offset);
        let next = |last: i64| fresh.max(last.saturating_add(1));
        let step = |last| Some(next(last));
        let last = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, step);
        next(last.unwrap_or_default()).to_string()
    }
}
