//! The loop and its lease: what it does when slots come and go, and when the lease is lost.

use std::task::{Context, Poll};

use model::contract::StoreError;
use model::lease::Lease;
use tokio::time::Instant;

use super::states::ScanState;
use super::{Dispatcher, LOOK_EVERY, messages};
use crate::lanes::Lanes;
use crate::ownership::{AskedAt, SlotChange};
use crate::renewal::{LeaseStage, Renewed};
use crate::schedule_clock::ScheduleClock;
use crate::settlement::SettlementQueue;
use crate::store_call::StoreCall;

impl Dispatcher {
    /// Notices that the wall clock was set, which moves nothing that waits, and has the lease
    /// renewed and the time written now and then.
    pub(super) fn look(&mut self, now: Instant) {
        if now >= self.look_at {
            self.look_at = now + LOOK_EVERY;
            let doubts = self.clock.look();
            for doubt in &doubts {
                self.metrics.clock_steps.inc();
                messages::doubted(*doubt);
                self.renewal.hurry();
            }
            self.metrics.clock_untrusted(self.clock.doubt().is_some());
        }
        let wait_ms = self.first_wait_ms(now);
        if self.renewal.is_due(now, wait_ms, self.lease_stage()) {
            let lease = (self.lease_in_use(), self.ownership.leaves());
            let beat = self.schedule_clock.written(&self.clock, now);
            self.renewal.renew(&*self.store, lease, beat, now);
        }
        self.renewal.claim(&*self.store, &self.clock, now);
    }

    /// The lease with all slots that are still used.
    pub(super) fn lease_in_use(&mut self) -> Lease {
        let lanes = &self.lanes;
        self.ownership.named(|slots| lanes.busy(slots))
    }

    pub(super) fn lease_stage(&self) -> LeaseStage {
        match (self.ownership.is_limited(), self.ownership.drains()) {
            (false, _) => LeaseStage::Endless,
            (true, false) => LeaseStage::Kept,
            (true, true) => LeaseStage::Draining,
        }
    }

    /// Gives up all slots, except while something of them is in flight or unwritten: others need
    /// not wait for what ends last.
    pub(super) fn leave(&mut self) {
        if self.ownership.is_limited() {
            let slots = self.ownership.leave();
            self.lanes.disown(slots);
        }
    }

    /// How long until something is due; `None` if nothing waits.
    fn first_wait_ms(&self, now: Instant) -> Option<i64> {
        if self.lanes.held() > 0 {
            return Some(0);
        }
        let at = self.lanes.next_read_at()?;
        Some(at.ms_since(self.schedule_clock.at(now)))
    }

    pub(super) fn take_renewed(&mut self, cx: &mut Context<'_>) -> bool {
        let Poll::Ready(answer) = self.renewal.poll(cx) else {
            return false;
        };
        match answer {
            Ok(Renewed::Kept(lease, asked)) => self.obey(lease, asked),
            Ok(Renewed::Claimed(lease, asked)) => self.resume(lease, asked),
            Err(error) => self.refused(&error),
        }
        true
    }

    /// The store wants the lease to be so from now on.
    fn obey(&mut self, lease: Lease, asked: AskedAt) {
        let SlotChange { lost, gained } = self.ownership.renewed(lease, asked);
        if !lost.is_empty() {
            tracing::info!(
                slots = lost.len(),
                "other nodes send for these slots from now on"
            );
            self.lanes.disown(lost);
        }
        if !gained.is_empty() {
            tracing::info!(
                slots = gained.len(),
                "this node sends for these slots from now on"
            );
            self.lanes.own(gained);
            self.scan = ScanState::After(None);
            self.mailbox.ring();
        }
    }

    /// The store refused something.
    pub(super) fn refused(&mut self, error: &StoreError) {
        self.metrics.store_errors.inc();
        self.fenced |= matches!(error, StoreError::Fenced);
    }

    /// Whether others may send for this node's slots by now.
    pub(super) fn has_lost(&self, now: Instant) -> bool {
        self.fenced || self.ownership.is_over(now)
    }

    /// The lease is over. Whoever has the slots now repeats what is in flight, and its outcomes
    /// would be refused; so all of it is dropped, and slots are claimed anew.
    pub(super) fn lose(&mut self) {
        let (in_flight, unwritten) = (self.in_flight.drop_all(), self.settlements.len());
        tracing::warn!(
            in_flight,
            unwritten,
            "this node lost its slots, because it did not renew its lease in time: what was in \
             flight is sent again by their owner; it claims others"
        );
        self.fenced = false;
        self.ownership.lose();
        self.renewal.begin_claim(Instant::now());
        self.lanes = Lanes::new(self.max_in_flight, self.max_concurrency);
        self.settlements = SettlementQueue::new(self.store.clone(), self.max_in_flight);
        self.due = StoreCall::new("reading what is due");
        self.due_asked.clear();
        self.targets = StoreCall::new("reading webhooks");
        self.targets_asked.clear();
        self.scanned = StoreCall::new("listing webhooks with something due");
        self.cancelled = StoreCall::new("cancelling deliveries");
        self.cancelling = None;
    }

    /// Begins anew under another lease.
    fn resume(&mut self, lease: Lease, asked: AskedAt) {
        tracing::info!(slots = lease.slots.len(), "this node has slots again");
        self.ownership.claimed(lease, asked);
        let last = self.store.last_heartbeat().map(|last| last.at);
        self.schedule_clock = ScheduleClock::after(last, self.clock.now(), Instant::now());
        self.scan = ScanState::After(None);
        self.mailbox.ring();
    }
}
