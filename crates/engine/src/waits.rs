//! Waits: how lanes stand, and with what each waits, counted as it changes; so that saying it
//! costs no walk over the lanes.
//!
//! Each change costs the logarithm of the number of lanes.

use std::collections::{BTreeMap, BTreeSet};

use model::id::WebhookId;
use model::time::Timestamp;

/// How the receiver of a lane stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Standing {
    /// Its webhook is still to be looked at.
    Unseen,
    Well,
    Failing,
    /// It has failed for so long that it is probed.
    Probed,
    /// It asked to be left alone.
    Paused,
    /// Nothing may be sent.
    Shut,
}

/// How a lane is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Waits {
    pub(crate) standing: Standing,
    /// The number of its dialect.
    pub(crate) class: usize,
    /// When the first of what waits, here or in the store, is due.
    pub(crate) due_at: Option<Timestamp>,
}

#[derive(Default)]
pub(crate) struct Counted {
    lanes: BTreeMap<Standing, usize>,
    waiting: BTreeMap<(Standing, usize), BTreeSet<(Timestamp, WebhookId)>>,
}

impl Standing {
    pub(crate) const ALL: [Self; 6] = [
        Self::Unseen,
        Self::Well,
        Self::Failing,
        Self::Probed,
        Self::Paused,
        Self::Shut,
    ];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Unseen => "unseen",
            Self::Well => "well",
            Self::Failing => "failing",
            Self::Probed => "probed",
            Self::Paused => "paused",
            Self::Shut => "shut",
        }
    }
}

impl Counted {
    /// The lane is counted as `after`, and was as `before`.
    pub(crate) fn change(
        &mut self,
        webhook: WebhookId,
        before: Option<Waits>,
        after: Option<Waits>,
    ) {
        if before == after {
            return;
        }
        if let Some(waits) = before {
            if let Some(count) = self.lanes.get_mut(&waits.standing) {
                *count = count.saturating_sub(1);
            }
            if let Some(due_at) = waits.due_at
                && let Some(all) = self.waiting.get_mut(&waits.key())
            {
                all.remove(&(due_at, webhook));
            }
        }
        if let Some(waits) = after {
            *self.lanes.entry(waits.standing).or_default() += 1;
            if let Some(due_at) = waits.due_at {
                let all = self.waiting.entry(waits.key()).or_default();
                all.insert((due_at, webhook));
            }
        }
    }

    pub(crate) fn lanes(&self, standing: Standing) -> usize {
        self.lanes.get(&standing).copied().unwrap_or(0)
    }

    /// How long the first of what waits there has been due.
    pub(crate) fn overdue_ms(&self, standing: Standing, class: usize, now: Timestamp) -> i64 {
        let first = self.waiting.get(&(standing, class));
        let first = first.and_then(BTreeSet::first);
        first.map_or(0, |(due_at, _)| now.ms_since(*due_at).max(0))
    }

    /// Whether something is due for a receiver that is well.
    pub(crate) fn is_due(&self, now: Timestamp) -> bool {
        let well = self
            .waiting
            .range((Standing::Well, 0)..=(Standing::Well, usize::MAX));
        let mut firsts = well.filter_map(|(_, all)| all.first());
        firsts.any(|(due_at, _)| *due_at <= now)
    }
}

impl Waits {
    fn key(self) -> (Standing, usize) {
        (self.standing, self.class)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(standing: Standing, due_at: Option<i64>) -> Option<Waits> {
        Some(Waits {
            standing,
            class: 1,
            due_at: due_at.map(Timestamp::from_millis),
        })
    }

    #[test]
    fn what_is_counted_is_uncounted_when_it_changes() {
        let mut counted = Counted::default();
        let now = Timestamp::from_millis(1_000);
        let steps = [
            None,
            waits(Standing::Unseen, None),
            waits(Standing::Well, Some(400)),
            waits(Standing::Failing, Some(400)),
            waits(Standing::Well, Some(1_001)),
            waits(Standing::Well, None),
            None,
        ];
        let mut seen = vec![];
        for pair in steps.windows(2) {
            counted.change(WebhookId(1), pair[0], pair[1]);
            let lanes = Standing::ALL.map(|standing| counted.lanes(standing));
            let overdue = counted.overdue_ms(Standing::Well, 1, now);
            seen.push((lanes[..3].to_vec(), overdue, counted.is_due(now)));
        }
        assert_eq!(
            seen,
            [
                (vec![1, 0, 0], 0, false),
                (vec![0, 1, 0], 600, true),
                (vec![0, 0, 1], 0, false),
                (vec![0, 1, 0], 0, false),
                (vec![0, 1, 0], 0, false),
                (vec![0, 0, 0], 0, false),
            ]
        );
    }

    #[test]
    fn the_longest_wait_of_many_is_told() {
        let mut counted = Counted::default();
        for number in 0..10 {
            counted.change(WebhookId(number), None, waits(Standing::Well, Some(number)));
        }
        counted.change(WebhookId(0), waits(Standing::Well, Some(0)), None);
        let now = Timestamp::from_millis(100);
        assert_eq!(counted.overdue_ms(Standing::Well, 1, now), 99);
        assert_eq!(counted.overdue_ms(Standing::Well, 0, now), 0);
    }
}
