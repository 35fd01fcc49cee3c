//! The concurrency limit of a lane: how many attempts to one webhook may run at once.
//!
//! AIMD, arithmetic only. The limit starts low and grows while the receiver answers fast and well
//! and the lane makes use of it. It falls on signs of overload; never below 1, never above the
//! setting. `docs/decisions/0017-lanes-that-adapt.md` has the rule and its reasons.

use model::attempt::{FailureKind, Outcome};

/// The limit for a receiver that is not known yet. Also what each lane may use of the attempts that
/// are kept for lanes with few in flight.
pub(crate) const INITIAL_LIMIT: usize = 2;

/// A success that takes longer raises the limit by small steps only.
pub(crate) const FAST_MS: u32 = 2_000;

/// What an attempt says of its receiver's load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LoadSignal {
    /// It succeeded quickly.
    Fast,
    /// It succeeded slowly.
    Slow,
    /// Refused for what it is: that says nothing of the load.
    Ignored,
    /// No connection, no answer, 5xx, 408, 429.
    Overload,
    /// Ended by its time limit.
    Timeout,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ConcurrencyLimit {
    limit: usize,
    /// Successes since the limit last grew.
    earned: usize,
    /// Attempts in flight when the limit was last reached; only their successes count.
    used: usize,
    /// The limit never fell yet: it doubles whenever all that is in flight succeeds, as in TCP.
    slow_start: bool,
    /// Attempts that were in flight when the limit last fell: they say nothing new.
    outdated: usize,
}

impl Default for ConcurrencyLimit {
    fn default() -> Self {
        Self {
            limit: INITIAL_LIMIT,
            earned: 0,
            used: 0,
            slow_start: true,
            outdated: 0,
        }
    }
}

impl ConcurrencyLimit {
    pub(crate) fn get(self) -> usize {
        self.limit
    }

    /// An attempt begins; `in_flight` counts it.
    pub(crate) fn begin(&mut self, in_flight: usize) {
        if in_flight >= self.limit {
            self.used = in_flight;
        }
    }

    /// An attempt ended; `in_flight` others run. The limit stays at or below `most`.
    pub(crate) fn observe(&mut self, signal: LoadSignal, in_flight: usize, most: usize) {
        self.limit = self.limit.min(most.max(1));
        let outdated = self.outdated > 0;
        self.outdated = self.outdated.saturating_sub(1);
        match signal {
            LoadSignal::Timeout => self.fall(1, in_flight),
            LoadSignal::Overload if !outdated => self.fall(self.limit / 2, in_flight),
            LoadSignal::Fast if !outdated => self.grow(self.slow_start, most),
            LoadSignal::Slow if !outdated => self.grow(false, most),
            LoadSignal::Fast | LoadSignal::Slow | LoadSignal::Overload | LoadSignal::Ignored => {}
        }
    }

    fn grow(&mut self, slow_start: bool, most: usize) {
        if self.used == 0 {
            return;
        }
        self.used -= 1;
        self.earned += 1;
        if slow_start || self.earned >= self.limit {
            self.earned = 0;
            self.limit = (self.limit + 1).min(most.max(1));
        }
    }

    fn fall(&mut self, limit: usize, in_flight: usize) {
        *self = Self {
            limit: limit.max(1),
            earned: 0,
            used: 0,
            slow_start: false,
            outdated: in_flight,
        };
    }
}

impl LoadSignal {
    pub(crate) fn of(outcome: &Outcome, duration_ms: u32) -> Self {
        if timed_out(outcome) {
            return Self::Timeout;
        }
        match outcome.status() {
            Some(200..=299) if duration_ms <= FAST_MS => Self::Fast,
            Some(200..=299) => Self::Slow,
            None | Some(408 | 429 | 500..) => Self::Overload,
            Some(_) => Self::Ignored,
        }
    }
}

/// Whether the attempt was ended by its time limit: such a receiver holds what it gets for long.
pub(crate) fn timed_out(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Failed(failure) if failure.kind == FailureKind::TimeLimit)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use model::attempt::{BodyEnd, Failure, HttpResponse};
    use model::webhook::Headers;

    use super::*;

    /// One round: as many attempts as it is wide, and how each of them ended.
    fn round(limit: &mut ConcurrencyLimit, signal: LoadSignal, most: usize) {
        let count = limit.get();
        limit.begin(count);
        for ended in 0..count {
            limit.observe(signal, count - ended - 1, most);
        }
    }

    #[test]
    fn it_doubles_with_every_round_of_successes_until_the_setting() {
        let mut limit = ConcurrencyLimit::default();
        let mut limits = vec![];
        for _ in 0..5 {
            round(&mut limit, LoadSignal::Fast, 32);
            limits.push(limit.get());
        }
        assert_eq!(limits, [4, 8, 16, 32, 32]);
    }

    #[test]
    fn a_slow_receiver_gets_one_more_with_every_round() {
        let mut limit = ConcurrencyLimit::default();
        let mut limits = vec![];
        for _ in 0..4 {
            round(&mut limit, LoadSignal::Slow, 32);
            limits.push(limit.get());
        }
        assert_eq!(limits, [3, 4, 5, 6]);
    }

    #[test]
    fn after_a_fall_it_grows_by_one_with_every_round_of_successes() {
        let mut limit = ConcurrencyLimit::default();
        for _ in 0..4 {
            round(&mut limit, LoadSignal::Fast, 32);
        }
        limit.observe(LoadSignal::Overload, 0, 32);
        let mut limits = vec![limit.get()];
        for _ in 0..3 {
            round(&mut limit, LoadSignal::Fast, 32);
            limits.push(limit.get());
        }
        assert_eq!(limits, [16, 17, 18, 19]);
    }

    #[test]
    fn who_does_not_use_it_all_is_not_known_to_bear_more() {
        let mut limit = ConcurrencyLimit::default();
        for _ in 0..100 {
            limit.begin(INITIAL_LIMIT - 1);
            limit.observe(LoadSignal::Fast, INITIAL_LIMIT - 2, 32);
        }
        assert_eq!(limit.get(), INITIAL_LIMIT);
    }

    #[test]
    fn what_was_in_the_air_when_it_fell_makes_it_neither_fall_nor_grow_again() {
        let mut limit = ConcurrencyLimit::default();
        for _ in 0..3 {
            round(&mut limit, LoadSignal::Fast, 32);
        }
        limit.observe(LoadSignal::Overload, 15, 32);
        assert_eq!(limit.get(), 8);
        for signal in [LoadSignal::Overload, LoadSignal::Fast, LoadSignal::Ignored].repeat(5) {
            limit.observe(signal, 0, 32);
            assert_eq!(limit.get(), 8);
        }
        limit.observe(LoadSignal::Overload, 0, 32);
        assert_eq!(limit.get(), 4);
    }

    #[test]
    fn it_is_never_below_one_nor_above_the_setting() {
        let mut limit = ConcurrencyLimit::default();
        for _ in 0..10 {
            limit.observe(LoadSignal::Overload, 0, 32);
        }
        assert_eq!(limit.get(), 1);
        limit.observe(LoadSignal::Timeout, 0, 32);
        assert_eq!(limit.get(), 1);
        let mut limit = ConcurrencyLimit::default();
        round(&mut limit, LoadSignal::Fast, 1);
        assert_eq!(limit.get(), 1);
    }

    #[test]
    fn a_time_limit_takes_it_to_one_at_once() {
        let mut limit = ConcurrencyLimit::default();
        limit.observe(LoadSignal::Timeout, 3, 32);
        assert_eq!(limit.get(), 1);
    }

    #[test]
    fn a_refusal_of_one_delivery_says_nothing_of_the_load() {
        let answered = |status| {
            Outcome::Answered(HttpResponse {
                status,
                headers: Headers::default(),
                body: Bytes::new(),
                body_end: BodyEnd::Whole,
                note: None,
            })
        };
        for (status, signal) in [
            (204, LoadSignal::Fast),
            (302, LoadSignal::Ignored),
            (404, LoadSignal::Ignored),
            (408, LoadSignal::Overload),
            (429, LoadSignal::Overload),
            (500, LoadSignal::Overload),
            (999, LoadSignal::Overload),
        ] {
            assert_eq!(LoadSignal::of(&answered(status), 0), signal, "{status}");
        }
        assert_eq!(LoadSignal::of(&answered(200), 2_001), LoadSignal::Slow);
        let failed = |kind| LoadSignal::of(&Outcome::Failed(Failure::new(kind, "")), 0);
        assert_eq!(failed(FailureKind::Connect), LoadSignal::Overload);
        assert_eq!(failed(FailureKind::TimeLimit), LoadSignal::Timeout);
    }
}
