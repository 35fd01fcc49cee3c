//! The times of a tenant's new notifications. They rise with the ids, except where the clock was
//! set back. Decided while the tenant is locked, since any node may have written the latest.

use model::limits::{CLOCK_SETBACKS_MAX, CLOCK_STEP_MS};
use model::time::Timestamp;

/// What decides the `accepted_at` of the next notification of a tenant.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TenantTimes {
    /// `accepted_at` of the latest notification; the epoch if there is none.
    latest: Timestamp,
    /// The latest time that had come for certain by any heartbeat; the epoch without one.
    reached: Timestamp,
    falls: KnownFalls,
}

/// Where times fell, as far as it is known: it is asked for only where one may fall again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KnownFalls {
    pub(crate) count: usize,
    /// The highest `accepted_at` before any.
    pub(crate) highest: Timestamp,
    /// After when the latest run of times began, for certain.
    pub(crate) run_after: Timestamp,
}

/// A run of times that begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fall {
    /// What times had reached before.
    pub(crate) reached_at: Timestamp,
    /// The run was accepted after this time, for certain.
    pub(crate) after_at: Timestamp,
}

impl KnownFalls {
    /// Of a tenant for which the clock was never set back.
    pub(crate) const NONE: Self = Self {
        count: 0,
        highest: Timestamp::EPOCH,
        run_after: Timestamp::EPOCH,
    };
}

impl TenantTimes {
    /// Earlier falls are not known yet.
    pub(crate) fn new(latest: Timestamp, reached: Timestamp) -> Self {
        Self {
            latest,
            reached,
            falls: KnownFalls::NONE,
        }
    }

    /// Whether times may fall for what came between these times, so that earlier falls have to be
    /// known.
    pub(crate) fn may_fall(&self, earliest: Timestamp, latest: Timestamp) -> bool {
        let highest = self.latest.max(latest).max(self.reached);
        highest.ms_since(earliest) >= CLOCK_STEP_MS
    }

    pub(crate) fn know(&mut self, falls: KnownFalls) {
        self.falls = falls;
    }

    /// The `accepted_at` to write for a notification that came at `at`, and the run of times that
    /// begins with it because the clock was set back: times fall, or what it says now is over for
    /// certain. If it was set back by less than `CLOCK_STEP_MS`, the time stands still until the
    /// clock has caught up.
    pub(crate) fn accepted_at(&mut self, at: Timestamp) -> (Timestamp, Option<Fall>) {
        let falls = self.latest.ms_since(at) >= CLOCK_STEP_MS || self.is_over(at);
        let falls = falls && self.falls.count < CLOCK_SETBACKS_MAX;
        let written = match falls {
            true => at,
            false => self.latest.max(at),
        };
        self.falls.highest = self.falls.highest.max(self.latest).max(written);
        self.latest = written;
        let fall = falls.then(|| self.fall());
        (written, fall)
    }

    fn fall(&mut self) -> Fall {
        self.falls.count += 1;
        self.falls.run_after = self.reached;
        Fall {
            reached_at: self.falls.highest,
            after_at: self.reached,
        }
    }

    /// Whether this time is over for certain, and the latest run does not say so yet.
    fn is_over(&self, at: Timestamp) -> bool {
        self.reached.ms_since(at) >= CLOCK_STEP_MS
            && self.reached.ms_since(self.falls.run_after) >= CLOCK_STEP_MS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    fn written(times: &mut TenantTimes, all: &[i64]) -> Vec<(i64, bool)> {
        let written = all.iter().map(|ms| times.accepted_at(at(*ms)));
        written
            .map(|(at, fall)| (at.as_millis(), fall.is_some()))
            .collect()
    }

    #[test]
    fn times_stand_still_for_a_small_step_back_and_begin_anew_for_a_large_one() {
        let mut times = TenantTimes::new(Timestamp::EPOCH, Timestamp::EPOCH);
        let asked = [9_000_000, 8_999_000, 5_000_000, 5_001_000, 9_500_000];
        let meant = [
            (9_000_000, false),
            (9_000_000, false),
            (5_000_000, true),
            (5_001_000, false),
            (9_500_000, false),
        ];
        assert_eq!(written(&mut times, &asked), meant);
    }

    #[test]
    fn a_run_begins_once_for_a_time_that_is_over_for_certain() {
        let mut times = TenantTimes::new(Timestamp::EPOCH, at(100_000));
        let meant = [(10_000, true), (11_000, false)];
        assert_eq!(written(&mut times, &[10_000, 11_000]), meant);
    }

    #[test]
    fn a_fall_says_what_was_reached_before_and_what_was_certain() {
        let mut times = TenantTimes::new(at(50_000), at(7_000));
        times.know(KnownFalls {
            count: 1,
            highest: at(90_000),
            run_after: at(6_000),
        });
        let (_, fall) = times.accepted_at(at(20_000));
        let meant = Fall {
            reached_at: at(90_000),
            after_at: at(7_000),
        };
        assert_eq!(fall, Some(meant));
    }

    #[test]
    fn after_very_many_falls_times_stand_still() {
        let mut times = TenantTimes::new(at(50_000), Timestamp::EPOCH);
        times.know(KnownFalls {
            count: CLOCK_SETBACKS_MAX,
            ..KnownFalls::NONE
        });
        assert_eq!(written(&mut times, &[20_000]), [(50_000, false)]);
    }

    #[test]
    fn earlier_falls_have_to_be_known_only_if_a_clock_was_set_back() {
        let times = TenantTimes::new(at(50_000), at(49_000));
        assert!(!times.may_fall(at(50_000), at(50_900)));
        assert!(!times.may_fall(at(48_501), at(49_000)));
        assert!(times.may_fall(at(48_500), at(49_000)));
        assert!(times.may_fall(at(50_000), at(51_500)));
        let certain = TenantTimes::new(at(50_000), at(90_000));
        assert!(certain.may_fall(at(60_000), at(60_000)));
    }
}
