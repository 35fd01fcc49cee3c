//! Waits: how lanes stand, and with what each waits, counted as it changes; so that saying it
//! costs no walk over the lanes.
//!
//! Each change costs the logarithm of the number of lanes.

use std::collections::BTreeSet;

use model::id::WebhookId;
use model::time::Timestamp;

/// How the receiver of a lane stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    lanes: OfEach<usize>,
    /// Those that wait for something, by the number of their dialect.
    waiting: OfEach<Vec<BTreeSet<(Timestamp, WebhookId)>>>,
    waiting_count: usize,
    changes: u64,
}

/// Something for each standing.
#[derive(Default)]
struct OfEach<T> {
    unseen: T,
    well: T,
    failing: T,
    probed: T,
    paused: T,
    shut: T,
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
        self.changes += 1;
        if let Some(waits) = before {
            let count = self.lanes.of_mut(waits.standing);
            *count = count.saturating_sub(1);
            if let Some(due_at) = waits.due_at {
                let was = self.waiting_mut(waits).remove(&(due_at, webhook));
                self.waiting_count = self.waiting_count.saturating_sub(usize::from(was));
            }
        }
        if let Some(waits) = after {
            *self.lanes.of_mut(waits.standing) += 1;
            if let Some(due_at) = waits.due_at {
                let is_new = self.waiting_mut(waits).insert((due_at, webhook));
                self.waiting_count += usize::from(is_new);
            }
        }
    }

    /// Differs from what it was when there may be something new to say: something was counted
    /// since, or waits, and so has waited for longer.
    pub(crate) fn news(&self) -> Option<u64> {
        (self.waiting_count == 0).then_some(self.changes)
    }

    pub(crate) fn lanes(&self, standing: Standing) -> usize {
        *self.lanes.of(standing)
    }

    /// How long the first of what waits there has been due.
    pub(crate) fn overdue_ms(&self, standing: Standing, class: usize, now: Timestamp) -> i64 {
        let first = self.waiting.of(standing).get(class);
        let first = first.and_then(BTreeSet::first);
        first.map_or(0, |(due_at, _)| now.ms_since(*due_at).max(0))
    }

    /// Whether something is due for a receiver that is well.
    pub(crate) fn is_due(&self, now: Timestamp) -> bool {
        let mut firsts = self.waiting.well.iter().filter_map(BTreeSet::first);
        firsts.any(|(due_at, _)| *due_at <= now)
    }

    fn waiting_mut(&mut self, waits: Waits) -> &mut BTreeSet<(Timestamp, WebhookId)> {
        let classes = self.waiting.of_mut(waits.standing);
        if classes.len() <= waits.class {
            classes.resize_with(waits.class + 1, BTreeSet::new);
        }
        classes
            .get_mut(waits.class)
            .unwrap_or_else(|| unreachable!("there are as many as were asked for"))
    }
}

impl<T> OfEach<T> {
    fn of(&self, standing: Standing) -> &T {
        match standing {
            Standing::Unseen => &self.unseen,
            Standing::Well => &self.well,
            Standing::Failing => &self.failing,
            Standing::Probed => &self.probed,
            Standing::Paused => &self.paused,
            Standing::Shut => &self.shut,
        }
    }

    fn of_mut(&mut self, standing: Standing) -> &mut T {
        match standing {
            Standing::Unseen => &mut self.unseen,
            Standing::Well => &mut self.well,
            Standing::Failing => &mut self.failing,
            Standing::Probed => &mut self.probed,
            Standing::Paused => &mut self.paused,
            Standing::Shut => &mut self.shut,
        }
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
            assert_eq!(
                counted.news().is_none(),
                pair[1].is_some_and(|waits| waits.due_at.is_some())
            );
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
