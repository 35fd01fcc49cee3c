//! Lanes counted by the health of their receivers, and the longest wait of each kind. Counted as
//! lanes change, so that reading it costs no walk over the lanes.
//!
//! Each change costs the logarithm of the number of lanes.

use std::collections::BTreeSet;

use model::id::WebhookId;
use model::time::Timestamp;

/// How the receiver of a lane does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReceiverHealth {
    /// Its webhook is not loaded yet.
    Unknown,
    Healthy,
    Failing,
    /// It has failed for so long that only probes are sent.
    Open,
    /// It asked for a pause.
    Paused,
    /// Nothing may be sent.
    Disabled,
}

/// How a lane is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LaneStatus {
    pub(crate) health: ReceiverHealth,
    /// The number of its dialect.
    pub(crate) class: usize,
    /// When the first of what waits, here or in the store, is due.
    pub(crate) due_at: Option<Timestamp>,
}

#[derive(Default)]
pub(crate) struct LaneStats {
    lanes: ByHealth<usize>,
    /// Those that wait for something, by the number of their dialect.
    waiting: ByHealth<Vec<BTreeSet<(Timestamp, WebhookId)>>>,
    waiting_count: usize,
    changes: u64,
}

/// A value for each health.
#[derive(Default)]
struct ByHealth<T> {
    unknown: T,
    healthy: T,
    failing: T,
    open: T,
    paused: T,
    disabled: T,
}

impl ReceiverHealth {
    pub(crate) const ALL: [Self; 6] = [
        Self::Unknown,
        Self::Healthy,
        Self::Failing,
        Self::Open,
        Self::Paused,
        Self::Disabled,
    ];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Healthy => "healthy",
            Self::Failing => "failing",
            Self::Open => "circuit_open",
            Self::Paused => "paused",
            Self::Disabled => "disabled",
        }
    }
}

impl LaneStats {
    /// The lane is counted as `after`, and was as `before`.
    pub(crate) fn change(
        &mut self,
        webhook: WebhookId,
        before: Option<LaneStatus>,
        after: Option<LaneStatus>,
    ) {
        if before == after {
            return;
        }
        self.changes += 1;
        if let Some(status) = before {
            let count = self.lanes.of_mut(status.health);
            *count = count.saturating_sub(1);
            if let Some(due_at) = status.due_at {
                let was = self.waiting_mut(status).remove(&(due_at, webhook));
                self.waiting_count = self.waiting_count.saturating_sub(usize::from(was));
            }
        }
        if let Some(status) = after {
            *self.lanes.of_mut(status.health) += 1;
            if let Some(due_at) = status.due_at {
                let is_new = self.waiting_mut(status).insert((due_at, webhook));
                self.waiting_count += usize::from(is_new);
            }
        }
    }

    /// Differs from what it was when there may be something new to say: something was counted
    /// since, or waits, and so has waited for longer.
    pub(crate) fn news(&self) -> Option<u64> {
        (self.waiting_count == 0).then_some(self.changes)
    }

    pub(crate) fn lanes(&self, health: ReceiverHealth) -> usize {
        *self.lanes.of(health)
    }

    /// For how long the first of what waits there has been due, in ms.
    pub(crate) fn overdue_ms(&self, health: ReceiverHealth, class: usize, now: Timestamp) -> i64 {
        let first = self.waiting.of(health).get(class);
        let first = first.and_then(BTreeSet::first);
        first.map_or(0, |(due_at, _)| now.ms_since(*due_at).max(0))
    }

    /// Whether something is due for a healthy receiver.
    pub(crate) fn is_due(&self, now: Timestamp) -> bool {
        let mut firsts = self.waiting.healthy.iter().filter_map(BTreeSet::first);
        firsts.any(|(due_at, _)| *due_at <= now)
    }

    fn waiting_mut(&mut self, status: LaneStatus) -> &mut BTreeSet<(Timestamp, WebhookId)> {
        let classes = self.waiting.of_mut(status.health);
        if classes.len() <= status.class {
            classes.resize_with(status.class + 1, BTreeSet::new);
        }
        classes
            .get_mut(status.class)
            .unwrap_or_else(|| unreachable!("there are as many as were asked for"))
    }
}

impl<T> ByHealth<T> {
    fn of(&self, health: ReceiverHealth) -> &T {
        match health {
            ReceiverHealth::Unknown => &self.unknown,
            ReceiverHealth::Healthy => &self.healthy,
            ReceiverHealth::Failing => &self.failing,
            ReceiverHealth::Open => &self.open,
            ReceiverHealth::Paused => &self.paused,
            ReceiverHealth::Disabled => &self.disabled,
        }
    }

    fn of_mut(&mut self, health: ReceiverHealth) -> &mut T {
        match health {
            ReceiverHealth::Unknown => &mut self.unknown,
            ReceiverHealth::Healthy => &mut self.healthy,
            ReceiverHealth::Failing => &mut self.failing,
            ReceiverHealth::Open => &mut self.open,
            ReceiverHealth::Paused => &mut self.paused,
            ReceiverHealth::Disabled => &mut self.disabled,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(health: ReceiverHealth, due_at: Option<i64>) -> Option<LaneStatus> {
        Some(LaneStatus {
            health,
            class: 1,
            due_at: due_at.map(Timestamp::from_millis),
        })
    }

    #[test]
    fn what_is_counted_is_uncounted_when_it_changes() {
        let mut counted = LaneStats::default();
        let now = Timestamp::from_millis(1_000);
        let steps = [
            None,
            status(ReceiverHealth::Unknown, None),
            status(ReceiverHealth::Healthy, Some(400)),
            status(ReceiverHealth::Failing, Some(400)),
            status(ReceiverHealth::Healthy, Some(1_001)),
            status(ReceiverHealth::Healthy, None),
            None,
        ];
        let mut seen = vec![];
        for pair in steps.windows(2) {
            counted.change(WebhookId(1), pair[0], pair[1]);
            let lanes = ReceiverHealth::ALL.map(|health| counted.lanes(health));
            let overdue = counted.overdue_ms(ReceiverHealth::Healthy, 1, now);
            seen.push((lanes[..3].to_vec(), overdue, counted.is_due(now)));
            assert_eq!(
                counted.news().is_none(),
                pair[1].is_some_and(|status| status.due_at.is_some())
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
        let mut counted = LaneStats::default();
        for number in 0..10 {
            counted.change(
                WebhookId(number),
                None,
                status(ReceiverHealth::Healthy, Some(number)),
            );
        }
        counted.change(WebhookId(0), status(ReceiverHealth::Healthy, Some(0)), None);
        let now = Timestamp::from_millis(100);
        assert_eq!(counted.overdue_ms(ReceiverHealth::Healthy, 1, now), 99);
        assert_eq!(counted.overdue_ms(ReceiverHealth::Healthy, 0, now), 0);
    }
}
