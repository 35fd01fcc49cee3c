//! The deliveries that a lane holds, and how far each of them has come.
//!
//! What is held must not be taken up again: it waits, is in flight, or is not settled yet.

use std::collections::VecDeque;
use std::sync::Arc;

use model::delivery::{Delivery, DueDelivery};
use model::id::NotificationId;
use model::limits;
use model::time::Timestamp;

use crate::sorted::Sorted;

/// Of lanes that hold more, `check` looks at the sums only.
const CHECKED_MAX: usize = 64;

#[derive(Default)]
pub(super) struct Deliveries {
    /// Waiting to go, in the order of their due times.
    ready: Sorted<(Timestamp, NotificationId), DueDelivery>,
    /// What somebody asked for and waits for, in that order; goes before all that is ready.
    asked: VecDeque<DueDelivery>,
    held: Sorted<NotificationId, HeldDelivery>,
    in_flight: usize,
    /// The bodies of what waits or is in flight.
    waiting_bytes: usize,
    /// The bodies of all that is held: what a read may bring once more.
    held_bytes: usize,
}

/// A delivery as it was when it was taken up.
#[derive(Debug)]
struct HeldDelivery {
    round: u32,
    attempts: u32,
    body_bytes: usize,
    /// The store was seen to have it due in a later state.
    again_at: Option<Timestamp>,
    phase: Phase,
}

/// How far a delivery has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Waits to go; the time is when it is due.
    Ready(Timestamp),
    /// Waits to go before all that is ready.
    Asked,
    InFlight,
    /// Its outcome is not written yet.
    Unsettled,
    /// Its outcome is written, and a read that may be older is outstanding.
    Parked,
}

impl Deliveries {
    /// Deliveries that are ready.
    pub(super) fn ready(&self) -> usize {
        self.ready.len()
    }

    pub(super) fn has_asked(&self) -> bool {
        !self.asked.is_empty()
    }

    pub(super) fn is_asked_full(&self) -> bool {
        self.asked.len() >= limits::LANE_PRIORITY_MAX
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Deliveries that wait or are in flight.
    pub(super) fn waiting(&self) -> usize {
        self.ready.len() + self.asked.len() + self.in_flight
    }

    pub(super) fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    pub(super) fn held(&self) -> usize {
        self.held.len()
    }

    /// The notifications of those that were unattempted when they were taken up, by id.
    pub(super) fn held_unattempted(&self) -> Arc<[NotificationId]> {
        let held = self.held.iter();
        let unattempted = held.filter(|(_, held)| (held.round, held.attempts) == (1, 0));
        unattempted.map(|(notification, _)| *notification).collect()
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    pub(super) fn first_ready_at(&self) -> Option<Timestamp> {
        self.ready.first().map(|(at, _)| at)
    }

    pub(super) fn last_ready_at(&self) -> Option<Timestamp> {
        self.ready.last().map(|(at, _)| at)
    }

    pub(super) fn phase(&self, notification: NotificationId) -> Option<Phase> {
        self.held.get(notification).map(|held| held.phase)
    }

    /// Takes up a delivery that is not held.
    pub(super) fn hold(&mut self, due: DueDelivery) {
        let Delivery { id, due_at, .. } = due.delivery;
        self.note(&due, Phase::Ready(due_at));
        self.ready.insert((due_at, id.notification), due);
    }

    /// The same for one that goes before those that are ready.
    pub(super) fn hold_asked(&mut self, due: DueDelivery) {
        self.note(&due, Phase::Asked);
        self.asked.push_back(due);
    }

    fn note(&mut self, due: &DueDelivery, phase: Phase) {
        let body_bytes = due.body.len();
        self.waiting_bytes += body_bytes;
        self.held_bytes += body_bytes;
        let held = HeldDelivery {
            round: due.delivery.round,
            attempts: due.delivery.attempts,
            body_bytes,
            again_at: None,
            phase,
        };
        self.held.insert(due.delivery.id.notification, held);
    }

    /// Has one that waits go before those that are ready. Returns whether it waits.
    pub(super) fn prefer(&mut self, notification: NotificationId) -> bool {
        let Some(held) = self.held.get_mut(notification) else {
            return false;
        };
        match held.phase {
            Phase::Ready(due_at) => {
                held.phase = Phase::Asked;
                self.asked.extend(self.ready.remove((due_at, notification)));
                true
            }
            Phase::Asked => true,
            Phase::InFlight | Phase::Unsettled | Phase::Parked => false,
        }
    }

    /// Whether a delivery that a read brought is held. In a later state than the one it was taken
    /// up in, it is due again once it is let go.
    pub(super) fn is_seen_again(&mut self, delivery: &Delivery) -> bool {
        let held = self.held.get_mut(delivery.id.notification);
        let is_held = held.is_some();
        let later =
            held.filter(|held| (held.round, held.attempts) != (delivery.round, delivery.attempts));
        if let Some(held) = later {
            held.again_at = Some(delivery.due_at);
        }
        is_held
    }

    /// The first that waits is in flight from now on.
    pub(super) fn begin(&mut self, asked: bool) -> Option<DueDelivery> {
        let due = match asked {
            true => self.asked.pop_front()?,
            false => self.ready.pop_first()?.1,
        };
        self.in_flight += 1;
        if let Some(held) = self.held.get_mut(due.delivery.id.notification) {
            held.phase = Phase::InFlight;
        }
        Some(due)
    }

    /// It is in flight no more, and its body is gone. Returns the size of that.
    pub(super) fn end(&mut self, notification: NotificationId) -> Option<usize> {
        let held = self.held.get_mut(notification)?;
        held.phase = Phase::Unsettled;
        self.in_flight = self.in_flight.saturating_sub(1);
        self.waiting_bytes = self.waiting_bytes.saturating_sub(held.body_bytes);
        Some(held.body_bytes)
    }

    /// It is settled, and stays until a read that is outstanding is answered.
    pub(super) fn park(&mut self, notification: NotificationId) {
        if let Some(held) = self.held.get_mut(notification) {
            held.phase = Phase::Parked;
        }
    }

    /// It is settled and held no more. Returns when the store was seen to have it due again.
    pub(super) fn let_go(&mut self, notification: NotificationId) -> Option<Timestamp> {
        let held = self.held.remove(notification)?;
        self.held_bytes = self.held_bytes.saturating_sub(held.body_bytes);
        held.again_at
    }

    /// Takes out the last that is ready: it is held no more.
    pub(super) fn pop_last_ready(&mut self) -> Option<DueDelivery> {
        let (_, due) = self.ready.pop_last()?;
        self.forget(&due);
        Some(due)
    }

    /// The same for the last that somebody asked for.
    pub(super) fn pop_last_asked(&mut self) -> Option<DueDelivery> {
        let due = self.asked.pop_back()?;
        self.forget(&due);
        Some(due)
    }

    fn forget(&mut self, due: &DueDelivery) {
        let body_bytes = due.body.len();
        self.waiting_bytes = self.waiting_bytes.saturating_sub(body_bytes);
        self.held_bytes = self.held_bytes.saturating_sub(body_bytes);
        self.held.remove(due.delivery.id.notification);
    }

    /// Gives back memory that nothing needs.
    pub(super) fn shrink(&mut self) {
        self.ready.rest();
        self.held.rest();
    }

    /// Panics if what is noted of each does not agree; `parked` are those that are settled while a
    /// read is outstanding.
    pub(super) fn check(&self, parked: &[(NotificationId, Option<Timestamp>)]) {
        assert!(
            self.waiting() <= self.held.len(),
            "what waits or is in flight is held"
        );
        assert!(
            self.waiting_bytes <= self.held_bytes,
            "and so are its bytes"
        );
        if self.held.len() > CHECKED_MAX {
            return;
        }
        let mut counts = [0; 4];
        let (mut waiting_bytes, mut held_bytes) = (0, 0);
        for (notification, held) in self.held.iter() {
            held_bytes += held.body_bytes;
            let (count, waits) = match held.phase {
                Phase::Ready(at) => {
                    assert!(self.ready.contains((at, *notification)), "it is ready");
                    (0, true)
                }
                Phase::Asked => {
                    let mut asked = self.asked.iter();
                    let is_there = asked.any(|due| due.delivery.id.notification == *notification);
                    assert!(is_there, "somebody asked for it");
                    (1, true)
                }
                Phase::InFlight => (2, true),
                Phase::Unsettled => continue,
                Phase::Parked => {
                    let mut parked = parked.iter();
                    assert!(parked.any(|(id, _)| id == notification), "it is settled");
                    (3, false)
                }
            };
            if let Some(count) = counts.get_mut(count) {
                *count += 1;
            }
            waiting_bytes += if waits { held.body_bytes } else { 0 };
        }
        assert_eq!(
            counts,
            [
                self.ready.len(),
                self.asked.len(),
                self.in_flight,
                parked.len()
            ],
            "each is where its phase says, once"
        );
        assert_eq!(
            (waiting_bytes, held_bytes),
            (self.waiting_bytes, self.held_bytes),
            "the bytes of all"
        );
    }
}
