//! The circuit breaker of a lane, and recovery after an outage.
//!
//! An outage is a time in which every attempt failed. A short one is left to the retry schedule.
//! The first success after a longer one starts recovery: what waits for a retry is sent early.
//! A receiver that has failed for long opens the circuit, and one delivery at a time probes it.
//! `docs/decisions/0017-lanes-that-adapt.md` has the reasons.

use model::contract::{DueCursor, RecoveryQuery};
use model::limits::{CIRCUIT_OPENS_AFTER_MS, OVERDUE_AFTER_MS, PROBE_INTERVAL_MS};
use model::time::Timestamp;

/// Shorter outages are left to the retry schedule: its first retries come soon.
const OUTAGE_MS: i64 = 30_000;

/// The circuit opens after so many failures in a row, if they last long enough.
const OPENS_AFTER_FAILURES: u32 = 5;

/// So many failures in a row suspend recovery until the next success: the outage goes on.
const RECOVERY_FAILURES_MAX: u32 = 3;

/// Closed, open, or half-open: open while a probe runs.
#[derive(Debug, Default)]
pub(crate) struct CircuitBreaker {
    failing_since: Option<Timestamp>,
    failures: u32,
    open: bool,
    next_probe_at: Option<Timestamp>,
    recovery: Option<Recovery>,
}

/// Reads what waits for a retry, page by page, to send it early.
#[derive(Debug)]
struct Recovery {
    /// Latest attempt at or before this.
    tried_by: Timestamp,
    after: Option<DueCursor>,
    /// The outstanding read is for this.
    asked: bool,
    /// All of it was read.
    read: bool,
}

/// What an attempt changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CircuitTransition {
    FailuresBegan,
    /// It has failed for so long that only probes are sent.
    Opened,
    Closed,
}

impl CircuitBreaker {
    /// Takes over what the store knows from before this lane; `succeeded`: its latest attempt was
    /// a success. Times here are schedule time, which nobody can set back.
    pub(crate) fn restore(
        &mut self,
        failing_since: Option<Timestamp>,
        succeeded: bool,
        now: Timestamp,
    ) {
        if self.failures > 0 || self.failing_since.is_some() {
            return;
        }
        self.failing_since = failing_since;
        if failing_since.is_some_and(|since| now.ms_since(since) >= CIRCUIT_OPENS_AFTER_MS) {
            self.failures = OPENS_AFTER_FAILURES;
            self.open = true;
        }
        // An earlier process may have ended during a recovery. Nothing has failed since that
        // success, so all that was tried before this lane may go early.
        if succeeded {
            self.start_recovery(now.plus_ms(-1));
        }
    }

    pub(crate) fn failed(
        &mut self,
        began_at: Timestamp,
        ended_at: Timestamp,
    ) -> Option<CircuitTransition> {
        let first = self.failures == 0;
        self.failures = self.failures.saturating_add(1);
        let since = *self.failing_since.get_or_insert(began_at);
        let was_open = self.open;
        self.open |= self.failures >= OPENS_AFTER_FAILURES
            && ended_at.ms_since(since) >= CIRCUIT_OPENS_AFTER_MS;
        if self.open {
            self.next_probe_at = Some(ended_at.plus_ms(PROBE_INTERVAL_MS));
        }
        match (was_open, self.open) {
            (false, true) => Some(CircuitTransition::Opened),
            _ if first => Some(CircuitTransition::FailuresBegan),
            _ => None,
        }
    }

    pub(crate) fn succeeded(&mut self, began_at: Timestamp) -> Option<CircuitTransition> {
        let since = self.failing_since.take();
        let transition = (self.failures > 0).then_some(CircuitTransition::Closed);
        self.failures = 0;
        self.open = false;
        self.next_probe_at = None;
        if since.is_some_and(|since| began_at.ms_since(since) >= OUTAGE_MS) {
            self.start_recovery(began_at);
        }
        transition
    }

    /// Allows a probe at once: somebody changed the webhook or replays a delivery.
    pub(crate) fn probe_now(&mut self) {
        self.next_probe_at = None;
    }

    /// The webhook has another target. The first success of the new one starts recovery of what
    /// the old one left, and a recovery that runs goes on.
    pub(crate) fn target_changed(&mut self) {
        *self = Self {
            failing_since: self.failing_since,
            recovery: self.recovery.take(),
            ..Self::default()
        };
    }

    pub(crate) fn is_failing(&self) -> bool {
        self.failures > 0
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open
    }

    /// When an open circuit lets through a delivery due at `due_at`; `busy` while a probe waits or
    /// runs.
    pub(crate) fn probe_at(&self, due_at: Timestamp, busy: bool) -> Timestamp {
        let overdue_at = due_at.plus_ms(OVERDUE_AFTER_MS);
        match busy {
            true => overdue_at,
            false => overdue_at.min(self.next_probe_at.unwrap_or(Timestamp::EPOCH)),
        }
    }

    /// Whether a delivery due at `due_at` is tried whatever the circuit says.
    pub(crate) fn is_overdue(due_at: Timestamp, now: Timestamp) -> bool {
        now.ms_since(due_at) >= OVERDUE_AFTER_MS
    }

    /// The next page of the recovery, which the caller reads now.
    pub(crate) fn request_recovery(&mut self, limit: usize) -> Option<RecoveryQuery> {
        let page = self.next_recovery(limit)?;
        if let Some(recovery) = &mut self.recovery {
            recovery.asked = true;
        }
        Some(page)
    }

    /// The next page of the recovery, if one runs.
    pub(crate) fn next_recovery(&self, limit: usize) -> Option<RecoveryQuery> {
        let recovery = self.recovery.as_ref()?;
        (!recovery.read && self.failures < RECOVERY_FAILURES_MAX).then_some(RecoveryQuery {
            tried_by: recovery.tried_by,
            after: recovery.after,
            limit,
        })
    }

    /// Whether early deliveries that are not yet sent go back to the store.
    pub(crate) fn stops_recovery(&self) -> bool {
        self.failures >= RECOVERY_FAILURES_MAX
    }

    /// A page was read; the rest begins at `next`, if there is more.
    pub(crate) fn recovery_read(&mut self, next: Option<DueCursor>) {
        if let Some(recovery) = self.recovery.as_mut().filter(|recovery| recovery.asked) {
            recovery.asked = false;
            recovery.read = next.is_none();
            recovery.after = next;
        }
    }

    /// What was read has gone back to the store, so recovery begins again.
    pub(crate) fn recovery_reset(&mut self) {
        if let Some(recovery) = &mut self.recovery {
            recovery.asked = false;
            recovery.read = false;
            recovery.after = None;
        }
    }

    fn start_recovery(&mut self, tried_by: Timestamp) {
        self.recovery = Some(Recovery {
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

    fn failing(seconds: &[i64]) -> CircuitBreaker {
        let mut circuit = CircuitBreaker::default();
        for second in seconds {
            circuit.failed(at(*second), at(*second));
        }
        circuit
    }

    #[test]
    fn the_first_success_after_an_outage_starts_recovery_and_after_less_it_does_not() {
        for (seconds, recovers) in [(29, false), (30, true), (4_000, true)] {
            let mut circuit = failing(&[100]);
            assert_eq!(
                circuit.succeeded(at(100 + seconds)),
                Some(CircuitTransition::Closed)
            );
            assert_eq!(circuit.next_recovery(5).is_some(), recovers, "{seconds}");
            assert_eq!(circuit.succeeded(at(9_000)), None);
        }
    }

    #[test]
    fn three_failures_in_a_row_suspend_recovery_until_the_next_success() {
        let mut circuit = failing(&[0]);
        circuit.succeeded(at(60));
        for second in 61..63 {
            circuit.failed(at(second), at(second));
            assert!(circuit.next_recovery(5).is_some());
        }
        circuit.failed(at(63), at(63));
        assert!(circuit.next_recovery(5).is_none() && circuit.stops_recovery());
        // So short a failure is no outage of its own; the recovery goes on as it began.
        circuit.succeeded(at(64));
        assert_eq!(
            circuit.next_recovery(5).map(|page| page.tried_by),
            Some(at(60))
        );
    }

    #[test]
    fn recovery_goes_on_until_all_was_read() {
        let mut circuit = failing(&[0]);
        circuit.succeeded(at(60));
        circuit.recovery_read(None);
        assert!(circuit.request_recovery(5).is_some());
        circuit.recovery_read(None);
        assert!(circuit.next_recovery(5).is_none());
        circuit.recovery_reset();
        assert!(circuit.next_recovery(5).is_some());
    }

    #[test]
    fn it_opens_after_five_minutes_and_five_failures() {
        let mut circuit = failing(&[0, 10, 20, 30]);
        assert!(!circuit.is_open());
        assert_eq!(circuit.failed(at(299), at(299)), None);
        assert_eq!(
            circuit.failed(at(300), at(301)),
            Some(CircuitTransition::Opened)
        );
        assert_eq!(circuit.failed(at(310), at(311)), None);
        assert!(failing(&[0, 300]).failures < OPENS_AFTER_FAILURES);
        assert!(!failing(&[0, 300]).is_open());
        assert_eq!(circuit.succeeded(at(400)), Some(CircuitTransition::Closed));
        assert!(!circuit.is_open() && !circuit.is_failing());
    }

    #[test]
    fn probes_come_every_ten_seconds_and_overlook_nothing_for_longer_than_an_hour() {
        let mut circuit = failing(&[0, 0, 0, 0, 300]);
        assert_eq!(circuit.probe_at(at(200), false), at(310));
        assert_eq!(circuit.probe_at(at(200), true), at(3_800));
        assert_eq!(circuit.probe_at(at(-3_400), false), at(200));
        assert!(CircuitBreaker::is_overdue(at(0), at(3_600)));
        assert!(!CircuitBreaker::is_overdue(at(1), at(3_600)));
        circuit.probe_now();
        assert_eq!(circuit.probe_at(at(200), false), Timestamp::EPOCH);
    }

    #[test]
    fn what_the_store_knows_is_taken_up_once() {
        let mut circuit = CircuitBreaker::default();
        circuit.restore(Some(at(0)), false, at(300));
        assert!(circuit.is_open());
        assert_eq!(circuit.succeeded(at(400)), Some(CircuitTransition::Closed));
        assert!(circuit.next_recovery(5).is_some());
        let mut circuit = failing(&[10]);
        circuit.restore(Some(at(0)), false, at(300));
        assert!(!circuit.is_open());
        let mut circuit = CircuitBreaker::default();
        circuit.restore(None, true, at(300));
        assert_eq!(
            circuit.next_recovery(5).map(|page| page.tried_by),
            Some(at(300).plus_ms(-1))
        );
    }

    #[test]
    fn another_target_closes_it_and_its_first_success_starts_recovery() {
        let mut circuit = failing(&[0, 0, 0, 0, 300]);
        circuit.target_changed();
        assert!(!circuit.is_open());
        circuit.succeeded(at(400));
        assert!(circuit.next_recovery(5).is_some());
    }
}
