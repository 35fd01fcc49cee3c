//! Schedule: the time of the next attempt after one that failed.
//!
//! Delays count from the end of the failed attempt. The time of the final attempt counts from the
//! beginning of the first one.

use crate::rng::SeededRng;
use crate::time::Timestamp;

/// When a delivery that failed is tried again, and when that ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// The wait before the first retry, the second, and so on.
    pub delays_ms: Vec<i64>,
    /// Delays at least this long get jitter, so that an outage does not end in a stampede.
    pub jitter_from_ms: i64,
    /// Such a delay grows by up to this many hundredths.
    pub jitter_percent: u32,
    /// The final attempt, this long after the beginning of the first attempt; no wait goes past it.
    pub final_attempt_after_ms: Option<i64>,
}

impl Schedule {
    /// When retry number `retry` (1-based) is due, or `None` if there is to be none.
    ///
    /// `first_began_at` is the beginning of the first attempt of this round, `ended_at` the end
    /// of the one that just failed.
    pub fn due_at(
        &self,
        retry: u32,
        first_began_at: Timestamp,
        ended_at: Timestamp,
        rng: &mut SeededRng,
    ) -> Option<Timestamp> {
        let final_attempt_at = self
            .final_attempt_after_ms
            .map(|ms| first_began_at.plus_ms(ms));
        if final_attempt_at.is_some_and(|at| ended_at >= at) {
            return None;
        }
        let index = usize::try_from(retry).ok()?.checked_sub(1)?;
        let Some(delay_ms) = self.delays_ms.get(index) else {
            return final_attempt_at;
        };
        let due_at = ended_at.plus_ms(delay_ms.saturating_add(self.jitter_ms(*delay_ms, rng)));
        Some(final_attempt_at.map_or(due_at, |at| due_at.min(at)))
    }

    /// About when a delivery is given up whose first attempt began then, if every attempt fails:
    /// jitter and the attempts themselves come on top. `retries_max` is the webhook's.
    pub fn gives_up_at(&self, first_began_at: Timestamp, retries_max: Option<u32>) -> Timestamp {
        let most = retries_max.and_then(|most| usize::try_from(most).ok());
        let most = most.unwrap_or(usize::MAX);
        let waits = self.delays_ms.iter().take(most);
        let all_ms = waits.fold(0_i64, |all, ms| all.saturating_add(*ms));
        let whole = most > self.delays_ms.len();
        let after_ms = match self.final_attempt_after_ms {
            Some(last_ms) if whole => last_ms,
            Some(last_ms) => all_ms.min(last_ms),
            None => all_ms,
        };
        first_began_at.plus_ms(after_ms)
    }

    /// The same schedule with every wait divided by `factor`; for showing it to people.
    #[must_use]
    pub fn accelerated(&self, factor: i64) -> Self {
        let factor = factor.max(1);
        Self {
            delays_ms: self.delays_ms.iter().map(|ms| ms / factor).collect(),
            jitter_from_ms: self.jitter_from_ms / factor,
            jitter_percent: self.jitter_percent,
            final_attempt_after_ms: self.final_attempt_after_ms.map(|ms| ms / factor),
        }
    }

    fn jitter_ms(&self, delay_ms: i64, rng: &mut SeededRng) -> i64 {
        if delay_ms < self.jitter_from_ms {
            return 0;
        }
        let most = delay_ms.saturating_mul(i64::from(self.jitter_percent)) / 100;
        let drawn = rng.below(u64::try_from(most).unwrap_or(0).saturating_add(1));
        i64::try_from(drawn).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    fn schedule() -> Schedule {
        Schedule {
            delays_ms: vec![5_000, HOUR, 12 * HOUR],
            jitter_from_ms: 300_000,
            jitter_percent: 10,
            final_attempt_after_ms: Some(24 * HOUR),
        }
    }

    #[test]
    fn short_delays_are_exact_and_long_ones_are_spread_by_a_tenth_at_most() {
        let mut rng = SeededRng::from_seed([1; 32]);
        let start = Timestamp::from_millis(1_000_000);
        for _ in 0..100 {
            assert_eq!(
                schedule().due_at(1, start, start, &mut rng),
                Some(start.plus_ms(5_000))
            );
            let due_at = schedule().due_at(2, start, start, &mut rng).unwrap();
            let wait_ms = due_at.ms_since(start);
            assert!((HOUR..=HOUR + HOUR / 10).contains(&wait_ms), "{wait_ms}");
        }
    }

    #[test]
    fn after_the_delays_comes_one_last_try_and_then_none() {
        let mut rng = SeededRng::from_seed([2; 32]);
        let first = Timestamp::from_millis(0);
        let last = first.plus_ms(24 * HOUR);
        assert_eq!(
            schedule().due_at(4, first, first.plus_ms(20 * HOUR), &mut rng),
            Some(last)
        );
        assert_eq!(schedule().due_at(5, first, last, &mut rng), None);
        assert_eq!(schedule().due_at(2, first, last.plus_ms(1), &mut rng), None);
    }

    #[test]
    fn a_delivery_is_given_up_with_its_last_retry() {
        let first = Timestamp::from_millis(1_000);
        let after = |retries| schedule().gives_up_at(first, retries).ms_since(first);
        assert_eq!(after(None), 24 * HOUR);
        assert_eq!(after(Some(2)), 5_000 + HOUR);
        assert_eq!(after(Some(0)), 0);
        let endless = Schedule {
            final_attempt_after_ms: None,
            ..schedule()
        };
        assert_eq!(
            endless.gives_up_at(first, None).ms_since(first),
            5_000 + 13 * HOUR
        );
    }

    #[test]
    fn no_wait_goes_past_the_last_try() {
        let mut rng = SeededRng::from_seed([3; 32]);
        let first = Timestamp::from_millis(0);
        let late = first.plus_ms(20 * HOUR);
        assert_eq!(
            schedule().due_at(3, first, late, &mut rng),
            Some(first.plus_ms(24 * HOUR))
        );
    }

    #[test]
    fn without_a_last_try_the_delays_are_all() {
        let mut rng = SeededRng::from_seed([4; 32]);
        let endless = Schedule {
            final_attempt_after_ms: None,
            ..schedule()
        };
        assert_eq!(
            endless.due_at(4, Timestamp::EPOCH, Timestamp::EPOCH, &mut rng),
            None
        );
    }
}
