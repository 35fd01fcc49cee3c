//! Holds: somebody paused a webhook. What it is owed waits in the store, and nothing is sent until
//! it is resumed.

use crate::call_limits::CallRate;
use crate::time::Timestamp;

/// Holds of a webhook that are remembered; of more the oldest become one.
pub const HOLDS_MAX: usize = 20;

/// A hold that is not over, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    pub at: Timestamp,
    pub by: String,
}

/// What is done to a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HoldChange {
    Pause,
    /// `drain`: so many calls a second at most, until what had waited was begun.
    Resume {
        drain: Option<CallRate>,
    },
}

/// What sending has to know of the holds of a webhook.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Holds {
    /// Nothing may be sent.
    pub is_held: bool,
    /// When those that are over began and ended, in schedule time; the oldest first.
    pub past: Vec<(Timestamp, Timestamp)>,
    pub drain: Option<Drain>,
}

/// The rate at which what has waited for the end of a hold is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drain {
    pub rate: CallRate,
    /// What was accepted later did not wait. On the wall clock.
    pub since: Timestamp,
}

impl Holds {
    /// How much of the schedule time since then was held. A schedule's final attempt is so much
    /// later.
    pub fn held_ms_since(&self, since: Timestamp) -> i64 {
        let held = self.past.iter();
        held.map(|(from, to)| to.ms_since(since.max(*from)).max(0))
            .fold(0, i64::saturating_add)
    }

    /// Another hold is over.
    pub fn add(&mut self, from: Timestamp, to: Timestamp) {
        self.past.push((from, to.max(from)));
        while self.past.len() > HOLDS_MAX {
            // Both and what lies between: a final attempt is rather too late than too early.
            let (from, _) = self.past.remove(0);
            if let Some(first) = self.past.first_mut() {
                first.0 = from;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    #[test]
    fn only_the_part_of_a_hold_behind_a_time_is_held_since_then() {
        let mut holds = Holds::default();
        holds.add(at(100), at(200));
        holds.add(at(300), at(350));
        for (since, held) in [
            (0, 150),
            (100, 150),
            (150, 100),
            (200, 50),
            (340, 10),
            (400, 0),
        ] {
            assert_eq!(holds.held_ms_since(at(since)), held, "{since}");
        }
    }

    #[test]
    fn many_holds_are_remembered_as_few_and_none_is_forgotten() {
        let mut holds = Holds::default();
        for n in 0..100 {
            holds.add(at(n * 10), at(n * 10 + 5));
        }
        assert_eq!(holds.past.len(), HOLDS_MAX);
        assert!(holds.held_ms_since(at(0)) >= 500);
        assert_eq!(holds.held_ms_since(at(990)), 5);
    }
}
