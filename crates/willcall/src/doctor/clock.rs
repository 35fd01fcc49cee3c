//! Whether the clock of this machine fits to when the store was last written.

use model::limits::{CLOCK_FAR_MS, CLOCK_STEP_MS};
use model::time::Timestamp;

use super::finding::{Finding, Verdict};

/// A clock before this is certainly wrong: 2026-01-01T00:00:00Z.
const CLOCK_EARLIEST: Timestamp = Timestamp::from_millis(1_767_225_600_000);

/// Judges the clock, which says `now`. The store was last written at `last`, and a server may be
/// running on it.
pub(super) fn judge(now: Timestamp, last: Option<Timestamp>, is_running: bool) -> Finding {
    if now < CLOCK_EARLIEST {
        let words = format!(
            "the clock says {now}, which is in the past; set it, because due times depend on it"
        );
        return Finding::new("clock", Verdict::Wrong, words);
    }
    let Some(last) = last else {
        return Finding::new("clock", Verdict::Good, format!("{now}"));
    };
    let ahead_ms = now.ms_since(last);
    if ahead_ms <= -CLOCK_STEP_MS {
        let words = format!(
            "the clock says {now}, but the store was last written at {last}: the clock is behind, or \
             was ahead then. Set it. Pending deliveries keep their waits, and nothing is removed for \
             an hour"
        );
        return Finding::new("clock", Verdict::Wrong, words);
    }
    if ahead_ms < CLOCK_FAR_MS {
        return Finding::new("clock", Verdict::Good, format!("{now}"));
    }
    match is_running {
        true => {
            let words = format!(
                "the clock says {now}, but the running server last wrote at {last}: the clock was set \
                 ahead just now, or the server cannot write"
            );
            Finding::new("clock", Verdict::Wrong, words)
        }
        false => {
            let words = format!(
                "the clock says {now}, and Willcall last ran at {last}. If it ran later than that, the \
                 clock is ahead: set it before the start. Waits go on where they were"
            );
            Finding::new("clock", Verdict::Odd, words)
        }
    }
}
