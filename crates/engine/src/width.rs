//! Width: how many attempts to one webhook may be in the air at once.
//!
//! Arithmetic only. It begins low, grows while the receiver answers quickly and well, as far as the
//! lane makes use of it, and falls when the receiver strains; never below 1, never above the
//! setting. `docs/decisions/0017-lanes-that-adapt.md` has the rule and its reasons.

use model::attempt::Outcome;

use crate::caller::hung;

/// The width of a lane whose receiver is not known yet, and what each lane may have of the flights
/// that are kept for lanes with little in the air.
pub(crate) const START: usize = 2;

/// A receiver that takes longer gets more to do by small steps only.
pub(crate) const QUICK_MS: u32 = 2_000;

/// What an attempt says of how much its receiver can take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Felt {
    /// It succeeded quickly.
    Well,
    /// It succeeded slowly.
    Slow,
    /// It was refused for what it is: that says nothing of the load.
    Neither,
    /// No connection, no answer, 5xx, 408, 429.
    Strained,
    /// It was ended by its limit.
    Hung,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Width {
    width: usize,
    /// Successes since it grew last.
    earned: usize,
    /// So many attempts were in the air when all of it was used; only their successes count.
    used: usize,
    /// Nothing has made it fall yet: it doubles each time all that is in the air succeeds.
    steep: bool,
    /// Attempts that were in the air when it fell last, and say nothing new.
    forgiven: usize,
}

impl Default for Width {
    fn default() -> Self {
        Self {
            width: START,
            earned: 0,
            used: 0,
            steep: true,
            forgiven: 0,
        }
    }
}

impl Width {
    pub(crate) fn get(self) -> usize {
        self.width
    }

    /// An attempt begins; so many are in the air with it.
    pub(crate) fn begin(&mut self, flying: usize) {
        if flying >= self.width {
            self.used = flying;
        }
    }

    /// An attempt has ended; so many others are in the air, and so many may be at most.
    pub(crate) fn feel(&mut self, felt: Felt, others: usize, most: usize) {
        self.width = self.width.min(most.max(1));
        let forgiven = self.forgiven > 0;
        self.forgiven = self.forgiven.saturating_sub(1);
        match felt {
            Felt::Hung => self.fall(1, others),
            Felt::Strained if !forgiven => self.fall(self.width / 2, others),
            Felt::Well if !forgiven => self.grow(self.steep, most),
            Felt::Slow if !forgiven => self.grow(false, most),
            Felt::Well | Felt::Slow | Felt::Strained | Felt::Neither => {}
        }
    }

    fn grow(&mut self, steep: bool, most: usize) {
        if self.used == 0 {
            return;
        }
        self.used -= 1;
        self.earned += 1;
        if steep || self.earned >= self.width {
            self.earned = 0;
            self.width = (self.width + 1).min(most.max(1));
        }
    }

    fn fall(&mut self, width: usize, others: usize) {
        *self = Self {
            width: width.max(1),
            earned: 0,
            used: 0,
            steep: false,
            forgiven: others,
        };
    }
}

impl Felt {
    pub(crate) fn of(outcome: &Outcome, duration_ms: u32) -> Self {
        if hung(outcome) {
            return Self::Hung;
        }
        match outcome.status() {
            Some(200..=299) if duration_ms <= QUICK_MS => Self::Well,
            Some(200..=299) => Self::Slow,
            None | Some(408 | 429 | 500..) => Self::Strained,
            Some(_) => Self::Neither,
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use model::attempt::{BodyEnd, Failure, FailureKind, HttpResponse};
    use model::webhook::Headers;

    use super::*;

    /// One round: as many attempts as it is wide, and how each of them ended.
    fn round(width: &mut Width, felt: Felt, most: usize) {
        let count = width.get();
        width.begin(count);
        for ended in 0..count {
            width.feel(felt, count - ended - 1, most);
        }
    }

    #[test]
    fn it_doubles_with_every_round_of_successes_until_the_setting() {
        let mut width = Width::default();
        let mut widths = vec![];
        for _ in 0..5 {
            round(&mut width, Felt::Well, 32);
            widths.push(width.get());
        }
        assert_eq!(widths, [4, 8, 16, 32, 32]);
    }

    #[test]
    fn a_slow_receiver_gets_one_more_with_every_round() {
        let mut width = Width::default();
        let mut widths = vec![];
        for _ in 0..4 {
            round(&mut width, Felt::Slow, 32);
            widths.push(width.get());
        }
        assert_eq!(widths, [3, 4, 5, 6]);
    }

    #[test]
    fn after_a_fall_it_grows_by_one_with_every_round_of_successes() {
        let mut width = Width::default();
        for _ in 0..4 {
            round(&mut width, Felt::Well, 32);
        }
        width.feel(Felt::Strained, 0, 32);
        let mut widths = vec![width.get()];
        for _ in 0..3 {
            round(&mut width, Felt::Well, 32);
            widths.push(width.get());
        }
        assert_eq!(widths, [16, 17, 18, 19]);
    }

    #[test]
    fn who_does_not_use_it_all_is_not_known_to_bear_more() {
        let mut width = Width::default();
        for _ in 0..100 {
            width.begin(START - 1);
            width.feel(Felt::Well, START - 2, 32);
        }
        assert_eq!(width.get(), START);
    }

    #[test]
    fn what_was_in_the_air_when_it_fell_makes_it_neither_fall_nor_grow_again() {
        let mut width = Width::default();
        for _ in 0..3 {
            round(&mut width, Felt::Well, 32);
        }
        width.feel(Felt::Strained, 15, 32);
        assert_eq!(width.get(), 8);
        for felt in [Felt::Strained, Felt::Well, Felt::Neither].repeat(5) {
            width.feel(felt, 0, 32);
            assert_eq!(width.get(), 8);
        }
        width.feel(Felt::Strained, 0, 32);
        assert_eq!(width.get(), 4);
    }

    #[test]
    fn it_is_never_below_one_nor_above_the_setting() {
        let mut width = Width::default();
        for _ in 0..10 {
            width.feel(Felt::Strained, 0, 32);
        }
        assert_eq!(width.get(), 1);
        width.feel(Felt::Hung, 0, 32);
        assert_eq!(width.get(), 1);
        let mut width = Width::default();
        round(&mut width, Felt::Well, 1);
        assert_eq!(width.get(), 1);
    }

    #[test]
    fn a_time_limit_takes_it_to_one_at_once() {
        let mut width = Width::default();
        width.feel(Felt::Hung, 3, 32);
        assert_eq!(width.get(), 1);
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
        for (status, felt) in [
            (204, Felt::Well),
            (302, Felt::Neither),
            (404, Felt::Neither),
            (408, Felt::Strained),
            (429, Felt::Strained),
            (500, Felt::Strained),
            (999, Felt::Strained),
        ] {
            assert_eq!(Felt::of(&answered(status), 0), felt, "{status}");
        }
        assert_eq!(Felt::of(&answered(200), 2_001), Felt::Slow);
        let failed = |kind| Felt::of(&Outcome::Failed(Failure::new(kind, "")), 0);
        assert_eq!(failed(FailureKind::Connect), Felt::Strained);
        assert_eq!(failed(FailureKind::TimeLimit), Felt::Hung);
    }
}
