//! Width: how many attempts to one webhook may be in the air at once.
//!
//! Arithmetic only. It begins low, grows while the receiver answers quickly and well, and falls
//! when the receiver strains; never below 1, never above the setting.
//! `docs/decisions/0017-lanes-that-adapt.md` has the rule and its reasons.

use model::attempt::Outcome;

use crate::caller::hung;

/// The width of a lane whose receiver is not known yet, and what each lane may have of the flights
/// that are kept for lanes with little in the air.
pub(crate) const START: usize = 4;

/// A success that took longer says that the receiver has enough to do.
const QUICK_MS: u32 = 2_000;

/// What an attempt says of how much its receiver can take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Felt {
    /// It succeeded quickly.
    Well,
    /// It succeeded slowly, or was refused for what it is: that says nothing of the load.
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
            steep: true,
            forgiven: 0,
        }
    }
}

impl Width {
    pub(crate) fn get(self) -> usize {
        self.width
    }

    /// An attempt has ended; so many others are in the air, and so many may be at most.
    pub(crate) fn feel(&mut self, felt: Felt, others: usize, most: usize) {
        self.width = self.width.min(most.max(1));
        let forgiven = self.forgiven > 0;
        self.forgiven = self.forgiven.saturating_sub(1);
        match felt {
            Felt::Hung => self.fall(1, others),
            Felt::Strained if !forgiven => self.fall(self.width / 2, others),
            Felt::Well if !forgiven => self.grow(most),
            Felt::Well | Felt::Strained | Felt::Neither => {}
        }
    }

    fn grow(&mut self, most: usize) {
        self.earned += 1;
        if self.steep || self.earned >= self.width {
            self.earned = 0;
            self.width = (self.width + 1).min(most.max(1));
        }
    }

    fn fall(&mut self, width: usize, others: usize) {
        *self = Self {
            width: width.max(1),
            earned: 0,
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
            None | Some(408 | 429 | 500..) => Self::Strained,
            Some(_) => Self::Neither,
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use model::attempt::{Answer, BodyEnd, Failure, FailureKind};
    use model::webhook::Headers;

    use super::*;

    #[test]
    fn it_doubles_with_every_round_of_successes_until_the_setting() {
        let mut width = Width::default();
        let mut widths = vec![];
        for _ in 0..4 {
            for _ in 0..width.get() {
                width.feel(Felt::Well, 0, 32);
            }
            widths.push(width.get());
        }
        assert_eq!(widths, [8, 16, 32, 32]);
    }

    #[test]
    fn after_a_fall_it_grows_by_one_with_every_round_of_successes() {
        let mut width = Width::default();
        for _ in 0..28 {
            width.feel(Felt::Well, 0, 32);
        }
        width.feel(Felt::Strained, 0, 32);
        assert_eq!(width.get(), 16);
        for expected in 17..20 {
            for _ in 0..expected - 1 {
                assert_eq!(width.get(), expected - 1);
                width.feel(Felt::Well, 0, 32);
            }
            assert_eq!(width.get(), expected);
        }
    }

    #[test]
    fn what_was_in_the_air_when_it_fell_makes_it_neither_fall_nor_grow_again() {
        let mut width = Width::default();
        for _ in 0..12 {
            width.feel(Felt::Well, 0, 32);
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
        width.feel(Felt::Well, 0, 1);
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
            Outcome::Answered(Answer {
                status,
                headers: Headers::default(),
                body: Bytes::new(),
                body_end: BodyEnd::Whole,
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
        assert_eq!(Felt::of(&answered(200), 2_001), Felt::Neither);
        let failed = |kind| Felt::of(&Outcome::Failed(Failure::new(kind, "")), 0);
        assert_eq!(failed(FailureKind::Connect), Felt::Strained);
        assert_eq!(failed(FailureKind::TimeLimit), Felt::Hung);
    }
}
