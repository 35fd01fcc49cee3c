//! Fortune: how a webhook's receiver has fared, and what follows for the lane.
//!
//! An outage is a time in which every attempt failed. A short one is for the schedule alone. The
//! first success after a longer one wakes what waits; a receiver that has failed for long is
//! probed by one delivery at a time. `docs/decisions/0017-lanes-that-adapt.md` has the reasons.

use model::contract::{DueCursor, RecoveryQuery};
use model::time::{Moment, Timestamp};

/// Failures over less than this are for the schedule alone: its first retries come soon.
const OUTAGE_MS: i64 = 30_000;

/// A receiver that fails for so long, and so often in a row, is probed.
const PROBED_AFTER_MS: i64 = 5 * 60_000;
const PROBED_AFTER_FAILURES: u32 = 5;

/// The wait between the end of a probe and the next.
const PROBE_EVERY_MS: i64 = 10_000;

/// What was passed over for so long is tried whatever probes came to, so that it ends.
const PASSED_OVER_MS: i64 = 3_600_000;

/// So many failures in a row end the waking until the next success: the outage goes on.
const WAKING_FAILURES: u32 = 3;

#[derive(Debug, Default)]
pub(crate) struct Fortune {
    failing_since: Option<Timestamp>,
    failures: u32,
    probed: bool,
    next_probe_at: Option<Timestamp>,
    waking: Option<Waking>,
}

/// Going through what waits for a retry, to send it ahead of its time.
#[derive(Debug)]
struct Waking {
    /// On the wall, as attempts are in the store.
    tried_by: Timestamp,
    after: Option<DueCursor>,
    /// The next answer is about this.
    asked: bool,
    /// All of it was read.
    read: bool,
}

/// How a lane's fortune turned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turned {
    Failing,
    /// It has failed for so long that it is probed.
    Probed,
    Recovered,
}

impl Fortune {
    /// What the store knows of the time before this lane; `succeeded_at` on the wall, all else in
    /// the schedule.
    pub(crate) fn recall(
        &mut self,
        failing_since: Option<Timestamp>,
        succeeded_at: Option<Timestamp>,
        now: Timestamp,
    ) {
        if self.failures > 0 || self.failing_since.is_some() {
            return;
        }
        self.failing_since = failing_since;
        if failing_since.is_some_and(|since| now.ms_since(since) >= PROBED_AFTER_MS) {
            self.failures = PROBED_AFTER_FAILURES;
            self.probed = true;
        }
        // An earlier process may have ended while it woke what waited.
        if let Some(succeeded_at) = succeeded_at {
            self.wake(succeeded_at);
        }
    }

    pub(crate) fn failed(&mut self, began_at: Timestamp, ended_at: Timestamp) -> Option<Turned> {
        let first = self.failures == 0;
        self.failures = self.failures.saturating_add(1);
        let since = *self.failing_since.get_or_insert(began_at);
        let was_probed = self.probed;
        self.probed |=
            self.failures >= PROBED_AFTER_FAILURES && ended_at.ms_since(since) >= PROBED_AFTER_MS;
        if self.probed {
            self.next_probe_at = Some(ended_at.plus_ms(PROBE_EVERY_MS));
        }
        match (was_probed, self.probed) {
            (false, true) => Some(Turned::Probed),
            _ if first => Some(Turned::Failing),
            _ => None,
        }
    }

    pub(crate) fn succeeded(&mut self, began: Moment) -> Option<Turned> {
        let since = self.failing_since.take();
        let turned = (self.failures > 0).then_some(Turned::Recovered);
        self.failures = 0;
        self.probed = false;
        self.next_probe_at = None;
        if since.is_some_and(|since| began.schedule.ms_since(since) >= OUTAGE_MS) {
            self.wake(began.wall);
        }
        turned
    }

    /// Somebody changed the webhook or wants something sent again: it is tried without a wait.
    pub(crate) fn stirred(&mut self) {
        self.next_probe_at = None;
    }

    /// Another receiver is called. Its first success wakes what the one before left, and a waking
    /// goes on.
    pub(crate) fn moved(&mut self) {
        *self = Self {
            failing_since: self.failing_since,
            waking: self.waking.take(),
            ..Self::default()
        };
    }

    pub(crate) fn is_failing(&self) -> bool {
        self.failures > 0
    }

    pub(crate) fn is_probed(&self) -> bool {
        self.probed
    }

    /// When a lane that is probed may be read whose first delivery is due at `due_at`;
    /// `busy` while a probe waits or is in the air.
    pub(crate) fn probe_at(&self, due_at: Timestamp, busy: bool) -> Timestamp {
        let overdue_at = due_at.plus_ms(PASSED_OVER_MS);
        match busy {
            true => overdue_at,
            false => overdue_at.min(self.next_probe_at.unwrap_or(Timestamp::EPOCH)),
        }
    }

    /// Whether a delivery that is due since then was passed over for as long as may be.
    pub(crate) fn is_overdue(due_at: Timestamp, now: Timestamp) -> bool {
        now.ms_since(due_at) >= PASSED_OVER_MS
    }

    /// What is to be read ahead of its time, and is being asked for.
    pub(crate) fn ask_ahead(&mut self, limit: usize) -> Option<RecoveryQuery> {
        let ahead = self.ahead(limit)?;
        if let Some(waking) = &mut self.waking {
            waking.asked = true;
        }
        Some(ahead)
    }

    /// What is to be read ahead of its time, if anything is.
    pub(crate) fn ahead(&self, limit: usize) -> Option<RecoveryQuery> {
        let waking = self.waking.as_ref()?;
        (!waking.read && self.failures < WAKING_FAILURES).then_some(RecoveryQuery {
            tried_by: waking.tried_by,
            after: waking.after,
            limit,
        })
    }

    /// Whether what was read ahead of its time should not be sent any more.
    pub(crate) fn stops_waking(&self) -> bool {
        self.failures >= WAKING_FAILURES
    }

    /// It was read up to `next`, or all of it.
    pub(crate) fn was_read(&mut self, next: Option<DueCursor>) {
        if let Some(waking) = self.waking.as_mut().filter(|waking| waking.asked) {
            waking.asked = false;
            waking.read = next.is_none();
            waking.after = next;
        }
    }

    /// What was read was given back, so it is read from the beginning again.
    pub(crate) fn was_given_back(&mut self) {
        if let Some(waking) = &mut self.waking {
            waking.asked = false;
            waking.read = false;
            waking.after = None;
        }
    }

    fn wake(&mut self, tried_by: Timestamp) {
        self.waking = Some(Waking {
            tried_by,
            after: None,
            asked: false,
            read: false,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    fn failing(seconds: &[i64]) -> Fortune {
        let mut fortune = Fortune::default();
        for second in seconds {
            fortune.failed(at(*second), at(*second));
        }
        fortune
    }

    #[test]
    fn the_first_success_after_an_outage_wakes_and_after_less_it_does_not() {
        for (seconds, wakes) in [(29, false), (30, true), (4_000, true)] {
            let mut fortune = failing(&[100]);
            assert_eq!(
                fortune.succeeded(Moment::same(at(100 + seconds))),
                Some(Turned::Recovered)
            );
            assert_eq!(fortune.ahead(5).is_some(), wakes, "{seconds}");
            assert_eq!(fortune.succeeded(Moment::same(at(9_000))), None);
        }
    }

    #[test]
    fn three_failures_in_a_row_stop_the_waking_until_the_next_success() {
        let mut fortune = failing(&[0]);
        fortune.succeeded(Moment::same(at(60)));
        for second in 61..63 {
            fortune.failed(at(second), at(second));
            assert!(fortune.ahead(5).is_some());
        }
        fortune.failed(at(63), at(63));
        assert!(fortune.ahead(5).is_none() && fortune.stops_waking());
        // So short a failure is no outage of its own; the waking goes on with what it woke for.
        fortune.succeeded(Moment::same(at(64)));
        assert_eq!(fortune.ahead(5).map(|ahead| ahead.tried_by), Some(at(60)));
    }

    #[test]
    fn it_wakes_until_all_was_read() {
        let mut fortune = failing(&[0]);
        fortune.succeeded(Moment::same(at(60)));
        fortune.was_read(None);
        assert!(fortune.ask_ahead(5).is_some());
        fortune.was_read(None);
        assert!(fortune.ahead(5).is_none());
        fortune.was_given_back();
        assert!(fortune.ahead(5).is_some());
    }

    #[test]
    fn it_is_probed_after_five_minutes_and_five_failures() {
        let mut fortune = failing(&[0, 10, 20, 30]);
        assert!(!fortune.is_probed());
        assert_eq!(fortune.failed(at(299), at(299)), None);
        assert_eq!(fortune.failed(at(300), at(301)), Some(Turned::Probed));
        assert_eq!(fortune.failed(at(310), at(311)), None);
        assert!(failing(&[0, 300]).failures < PROBED_AFTER_FAILURES);
        assert!(!failing(&[0, 300]).is_probed());
        assert_eq!(
            fortune.succeeded(Moment::same(at(400))),
            Some(Turned::Recovered)
        );
        assert!(!fortune.is_probed() && !fortune.is_failing());
    }

    #[test]
    fn probes_come_every_ten_seconds_and_overlook_nothing_for_longer_than_an_hour() {
        let mut fortune = failing(&[0, 0, 0, 0, 300]);
        assert_eq!(fortune.probe_at(at(200), false), at(310));
        assert_eq!(fortune.probe_at(at(200), true), at(3_800));
        assert_eq!(fortune.probe_at(at(-3_400), false), at(200));
        assert!(Fortune::is_overdue(at(0), at(3_600)));
        assert!(!Fortune::is_overdue(at(1), at(3_600)));
        fortune.stirred();
        assert_eq!(fortune.probe_at(at(200), false), Timestamp::EPOCH);
    }

    #[test]
    fn what_the_store_knows_is_taken_up_once() {
        let mut fortune = Fortune::default();
        fortune.recall(Some(at(0)), None, at(300));
        assert!(fortune.is_probed());
        assert_eq!(
            fortune.succeeded(Moment::same(at(400))),
            Some(Turned::Recovered)
        );
        assert!(fortune.ahead(5).is_some());
        let mut fortune = failing(&[10]);
        fortune.recall(Some(at(0)), None, at(300));
        assert!(!fortune.is_probed());
        let mut fortune = Fortune::default();
        fortune.recall(None, Some(at(100)), at(300));
        assert_eq!(fortune.ahead(5).map(|ahead| ahead.tried_by), Some(at(100)));
    }

    #[test]
    fn another_target_is_not_probed_and_its_first_success_wakes() {
        let mut fortune = failing(&[0, 0, 0, 0, 300]);
        fortune.moved();
        assert!(!fortune.is_probed());
        fortune.succeeded(Moment::same(at(400)));
        assert!(fortune.ahead(5).is_some());
    }
}
