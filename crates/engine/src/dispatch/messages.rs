//! What the loop logs about the clock. What it logs about receivers is in `receiver_log.rs`.

use model::time::ClockDoubt;

/// Says that the clock is not trusted for a while.
pub(super) fn doubted(doubt: ClockDoubt) {
    match doubt {
        ClockDoubt::Stepped { by_ms } | ClockDoubt::BehindStore { by_ms } => tracing::warn!(
            by_ms,
            "{doubt}; waits go on as they were, and for an hour nothing is removed or ended by what \
             it says: set it right if it is wrong"
        ),
        ClockDoubt::AheadOfStore { by_ms } => tracing::info!(
            by_ms,
            "{doubt}; waits go on where they were, and for an hour nothing is removed or ended by \
             what it says"
        ),
    }
}
