//! What a lane asks the store for, when, and what it takes up of the answer.

use model::contract::{DuePage, DueQuery};
use model::delivery::DueDelivery;
use model::id::WebhookId;
use model::limits;
use model::mutation::{Mutation, is_on};
use model::time::Timestamp;

use super::{Lane, LaneState, StoreView};
use crate::circuit_breaker::CircuitBreaker;
use crate::concurrency::INITIAL_LIMIT;
use crate::fair_share::{FairShare, MemoryLoad, ReceiverSpeed};

/// No lane holds more than this part of what is free, so that a newcomer always finds room.
const SHARE: usize = 16;

/// A lane is not read while what it holds has more than this in bodies: as much as one read of
/// the largest brings.
const REREAD_BYTES_MAX: usize = limits::LANE_READ_MAX * limits::NOTIFICATION_BODY_BYTES_MAX;

impl Lane {
    /// When it is to be read next. It reads on when half of what it read before is gone.
    pub(crate) fn wants_read_at(&self, load: MemoryLoad) -> Option<Timestamp> {
        let StoreView::Known(Some(stored_due_at)) = self.store else {
            return None;
        };
        let is_disabled = self.state == LaneState::Disabled;
        if is_disabled || self.deliveries.ready() > limits::LANE_READ_MAX / 2 {
            return None;
        }
        // The store still has what is held as due, and an answer brings its bodies again. Sending
        // and settling need no read, and whatever is let go has the lane reviewed.
        if self.deliveries.held_bytes() > REREAD_BYTES_MAX {
            return None;
        }
        let room = self.room(load);
        if room == 0 {
            return None;
        }
        let circuit = &self.receiver.circuit;
        let mut at = stored_due_at;
        if circuit.next_recovery(room).is_some() {
            at = Timestamp::EPOCH;
        }
        if circuit.is_open() {
            at = at.max(circuit.probe_at(stored_due_at, self.is_busy()));
        }
        Some(self.paused_until().map_or(at, |until| until.max(at)))
    }

    /// Begins a read, if its time has come. Returns what is to be read, and how many new
    /// deliveries that may bring.
    pub(crate) fn begin_read(
        &mut self,
        webhook: WebhookId,
        now: Timestamp,
        shares: &FairShare,
    ) -> Option<(DueQuery, usize)> {
        let load = shares.load;
        let StoreView::Known(Some(due_at)) = self.store else {
            return None;
        };
        if self.wants_read_at(load)? > now {
            return None;
        }
        let mut room = self
            .room(load)
            .min(shares.memory_left(self.tenant()))
            .max(1);
        let circuit = &mut self.receiver.circuit;
        if circuit.is_open() && !CircuitBreaker::is_overdue(due_at, now) {
            room = room.min(1);
        }
        let query = DueQuery {
            webhook,
            limit: self.deliveries.held() + room,
            held: self.deliveries.held_unattempted(),
            recovery: circuit.request_recovery(room),
        };
        self.store.begin_read();
        Some((query, room))
    }

    /// The answer to a read; `page` is missing if the store knows nothing of the webhook.
    pub(crate) fn end_read(
        &mut self,
        page: Option<DuePage>,
        now: Timestamp,
        shares: &mut FairShare,
    ) {
        let Some(settled) = self.store.end_read(false) else {
            return;
        };
        if let Some(page) = page.filter(|_| self.state != LaneState::Disabled) {
            self.take_in(page, now, shares);
            self.keep_probe(now, shares);
            self.end_pause(now);
            if self.receiver.pause.is_some() {
                self.give_back_all(shares);
            }
        }
        for (notification, due_at) in settled {
            self.let_go(notification, due_at);
        }
    }

    /// The store refused a read: everything is as it was before.
    pub(crate) fn read_refused(&mut self) {
        let settled = self.store.end_read(true).unwrap_or_default();
        for (notification, due_at) in settled {
            self.let_go(notification, due_at);
        }
    }

    fn take_in(&mut self, page: DuePage, now: Timestamp, shares: &mut FairShare) {
        for due in page.deliveries {
            self.take_up(due, shares);
        }
        if let Some(early) = page.recovery
            && !self.receiver.circuit.stops_recovery()
        {
            self.receiver.circuit.recovery_read(early.next);
            for due in early.deliveries {
                self.take_up(due, shares);
            }
        }
        let Some(next_due_at) = page.next_due_at else {
            return;
        };
        self.lower(next_due_at);
        // What arrived meanwhile goes behind the older ones that are still in the store.
        if next_due_at <= now {
            self.give_back_after(next_due_at, shares);
        }
    }

    fn take_up(&mut self, due: DueDelivery, shares: &mut FairShare) {
        if !self.deliveries.is_seen_again(&due.delivery) {
            self.hold(due, shares);
        }
    }

    /// Forgets what a probe has no need of.
    fn keep_probe(&mut self, now: Timestamp, shares: &mut FairShare) {
        let first = self.deliveries.first_ready_at();
        if self.is_circuit_open() && !first.is_some_and(|at| CircuitBreaker::is_overdue(at, now)) {
            self.give_back(1_usize.saturating_sub(self.deliveries.in_flight()), shares);
        }
    }

    /// How many more deliveries may be taken up.
    pub(super) fn room(&self, load: MemoryLoad) -> usize {
        if is_on(Mutation::UnboundedFetch) {
            return limits::BUFFERED_MAX;
        }
        let own = self.deliveries.waiting();
        let left = limits::LANE_BUFFERED_MAX.saturating_sub(own);
        if self.is_circuit_open() {
            return INITIAL_LIMIT.saturating_sub(own);
        }
        if self.receiver.speed != ReceiverSpeed::Fast && load.is_crowded() {
            return left.min(1_usize.saturating_sub(self.deliveries.ready()));
        }
        let (count, bytes) = share(load);
        let own_bytes = self.deliveries.waiting_bytes();
        let each = own_bytes.checked_div(own).unwrap_or(0).max(1);
        let fits = (bytes.saturating_sub(own_bytes) / each).min(count.saturating_sub(own));
        // Who has nothing yet may have something, whatever the others hold.
        let fits = fits.max(1_usize.saturating_sub(own));
        left.min(limits::LANE_READ_MAX).min(fits)
    }
}

/// How many deliveries one lane may hold, and how many bytes of them.
fn share(load: MemoryLoad) -> (usize, usize) {
    let count = limits::BUFFERED_MAX.saturating_sub(load.held) / SHARE;
    let bytes = limits::BUFFERED_BYTES_MAX.saturating_sub(load.held_bytes) / SHARE;
    (count, bytes)
}
