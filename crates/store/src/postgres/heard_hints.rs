//! Which hints of other nodes were heard. A sequence numbers hints, after what they are about was
//! committed; so one that was lost shows by its number, and whoever then looks through everything
//! finds what it was about.

use std::collections::BTreeSet;

pub(crate) struct HeardHints {
    /// All up to this one were heard, or do not matter any more.
    known: i64,
    /// Those that were heard beyond.
    beyond: BTreeSet<i64>,
    /// The number of the latest that had been told at the latest look.
    told: i64,
}

impl HeardHints {
    /// For a session that listens since then: `told` is the number of the latest.
    pub(crate) fn after(told: i64) -> Self {
        Self {
            known: told,
            beyond: BTreeSet::new(),
            told,
        }
    }

    pub(crate) fn hear(&mut self, number: i64) {
        if number > self.known {
            self.beyond.insert(number);
        }
        while self.beyond.first() == Some(&(self.known + 1)) {
            self.beyond.pop_first();
            self.known += 1;
        }
    }

    /// Takes in what has been told by now. Answers whether one is missing, for which everything has
    /// to be looked through. What was told since the look before may still be on its way.
    pub(crate) fn misses(&mut self, told: i64) -> bool {
        let misses = self.known < self.told || told < self.told;
        if misses {
            self.known = told;
            self.beyond = self.beyond.split_off(&(told + 1));
        }
        self.told = told;
        misses
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_is_missing_if_it_was_told_before_the_latest_look_and_not_heard() {
        let mut heard = HeardHints::after(7);
        assert!(!heard.misses(7));
        // They come in any order, and one may be under way for a moment.
        heard.hear(9);
        assert!(!heard.misses(9));
        heard.hear(8);
        assert!(!heard.misses(10));
        assert!(heard.misses(11));
        // Each is missed once.
        assert!(!heard.misses(11));
        heard.hear(10);
        heard.hear(13);
        assert!(!heard.misses(13));
        assert!(heard.misses(13));
        assert!(!heard.misses(13));
        heard.hear(14);
        assert!(!heard.misses(14));
        // A standby that was promoted may have counted less far.
        assert!(heard.misses(3));
        heard.hear(4);
        assert!(!heard.misses(4));
        assert!(!heard.misses(4));
    }

    #[test]
    fn what_is_heard_beyond_a_missing_one_still_counts() {
        let mut heard = HeardHints::after(0);
        heard.hear(2);
        assert!(!heard.misses(2));
        heard.hear(4);
        assert!(heard.misses(3));
        heard.hear(5);
        assert!(!heard.misses(5));
        assert!(!heard.misses(5));
    }
}
