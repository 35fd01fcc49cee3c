//! Lane: what is in memory of one webhook's deliveries, and when the store has more.
//!
//! Bookkeeping only. `stored_due_at` is held low by every doubt: too early costs one read, too
//! late would lose a delivery until the next start.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::contract::DueRead;
use model::delivery::{Delivery, Due};
use model::id::NotificationId;
use model::limits;
use model::time::Timestamp;

use crate::request::Prepared;

/// What all lanes have in memory together.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Load {
    /// Deliveries waiting or in the air.
    pub(crate) held: usize,
    pub(crate) held_bytes: usize,
    pub(crate) flying: usize,
    /// Of these, towards receivers that hang.
    pub(crate) slow: usize,
}

#[derive(Default)]
pub(crate) struct Lane {
    /// Waiting to go, in the order of their due times.
    pub(crate) ready: BTreeMap<(Timestamp, NotificationId), Due>,
    /// Every delivery that must not be taken up again: ready, in the air, or unsettled.
    pub(crate) held: BTreeMap<NotificationId, Held>,
    pub(crate) flying: usize,
    pub(crate) stored_due_at: Option<Timestamp>,
    /// An answer of the store about this lane is outstanding.
    pub(crate) reading: bool,
    /// How `stored_due_at` was lowered since that was asked.
    pub(crate) lowered: Option<Timestamp>,
    /// Settled since that was asked, with their next due times.
    pub(crate) parked: Vec<(NotificationId, Option<Timestamp>)>,
    pub(crate) sight: Sight,
    pub(crate) index: Index,
    pub(crate) in_turns: bool,
    pub(crate) cancelling: bool,
    /// The latest attempt failed.
    pub(crate) failing: bool,
    pub(crate) trust: Trust,
}

/// A delivery as it was when it was taken up.
#[derive(Debug)]
pub(crate) struct Held {
    round: u32,
    attempts: u32,
    pub(crate) body_bytes: usize,
    /// The store was seen to have it due in a later state.
    again_at: Option<Timestamp>,
}

/// What is known of a lane's webhook.
#[derive(Default)]
pub(crate) enum Sight {
    /// Must be read.
    #[default]
    Wanted,
    /// Is being read; `stale` if it changed since it was asked for.
    Asked {
        stale: bool,
    },
    Open(Arc<Prepared>),
    /// Nothing may be sent.
    Shut,
}

/// What the latest attempt says of the receiver.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trust {
    #[default]
    Unknown,
    /// It ended before its limit.
    Answers,
    /// It was ended by its limit: such a receiver holds what it gets for very long.
    Hangs,
}

/// Where a lane stands in the queue for reading.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Index {
    #[default]
    None,
    Wake(Timestamp),
    Hungry,
}

impl Load {
    pub(crate) fn is_full(self) -> bool {
        self.held >= limits::HELD_MAX || self.held_bytes >= limits::HELD_BYTES_MAX
    }

    pub(crate) fn is_crowded(self) -> bool {
        self.held >= limits::HELD_MAX / 2 || self.held_bytes >= limits::HELD_BYTES_MAX / 2
    }

    pub(crate) fn add(&mut self, body_bytes: usize) {
        self.held += 1;
        self.held_bytes += body_bytes;
    }

    pub(crate) fn remove(&mut self, body_bytes: usize) {
        self.held = self.held.saturating_sub(1);
        self.held_bytes = self.held_bytes.saturating_sub(body_bytes);
    }
}

impl Lane {
    /// An attempt begins.
    pub(crate) fn take_off(&mut self, load: &mut Load) {
        self.flying += 1;
        load.flying += 1;
        load.slow += usize::from(self.trust == Trust::Hangs);
    }

    /// An attempt has ended, and says this of the receiver.
    pub(crate) fn land(&mut self, trust: Trust, load: &mut Load) {
        let slow = |lane: &Self| match lane.trust {
            Trust::Hangs => lane.flying,
            Trust::Unknown | Trust::Answers => 0,
        };
        load.slow = load.slow.saturating_sub(slow(self));
        self.flying = self.flying.saturating_sub(1);
        load.flying = load.flying.saturating_sub(1);
        self.trust = trust;
        load.slow += slow(self);
    }

    pub(crate) fn lower(&mut self, at: Timestamp) {
        let earlier = |known: Option<Timestamp>| Some(known.map_or(at, |known| known.min(at)));
        self.stored_due_at = earlier(self.stored_due_at);
        if self.reading {
            self.lowered = earlier(self.lowered);
        }
    }

    pub(crate) fn hold(&mut self, due: Due, load: &mut Load) {
        let Delivery {
            id,
            round,
            attempts,
            due_at,
            ..
        } = due.delivery;
        let held = Held {
            round,
            attempts,
            body_bytes: due.body.len(),
            again_at: None,
        };
        load.add(held.body_bytes);
        self.held.insert(id.notification, held);
        self.ready.insert((due_at, id.notification), due);
    }

    /// Forgets what is ready beyond the first `kept`; the store has it.
    pub(crate) fn give_back(&mut self, kept: usize, load: &mut Load) {
        while self.ready.len() > kept {
            self.give_back_last(load);
        }
    }

    pub(crate) fn give_back_last(&mut self, load: &mut Load) {
        if let Some(((due_at, notification), due)) = self.ready.pop_last() {
            load.remove(due.body.len());
            self.held.remove(&notification);
            self.lower(due_at);
        }
    }

    pub(crate) fn take_in(&mut self, read: DueRead, now: Timestamp, load: &mut Load) {
        for due in read.deliveries {
            let Delivery {
                id,
                round,
                attempts,
                due_at,
                ..
            } = due.delivery;
            match self.held.get_mut(&id.notification) {
                None => self.hold(due, load),
                Some(held) if (held.round, held.attempts) == (round, attempts) => {}
                Some(held) => held.again_at = Some(due_at),
            }
        }
        let Some(next_due_at) = read.next_due_at else {
            return;
        };
        self.lower(next_due_at);
        // What arrived meanwhile goes behind the older ones that are still in the store.
        if next_due_at <= now {
            while self
                .ready
                .last_key_value()
                .is_some_and(|((at, _), _)| *at > next_due_at)
            {
                self.give_back_last(load);
            }
        }
    }

    pub(crate) fn let_go(&mut self, notification: NotificationId, due_at: Option<Timestamp>) {
        let again_at = self.held.remove(&notification).and_then(|h| h.again_at);
        for at in [due_at, again_at].into_iter().flatten() {
            self.lower(at);
        }
    }

    /// How many more deliveries may be taken up.
    pub(crate) fn room(&self, load: Load) -> usize {
        let left = limits::LANE_HELD_MAX.saturating_sub(self.ready.len() + self.flying);
        if self.trust != Trust::Answers && load.is_crowded() {
            left.min(1_usize.saturating_sub(self.ready.len()))
        } else {
            left.min(limits::LANE_READ_MAX)
        }
    }

    pub(crate) fn may_send(&self, width: usize) -> bool {
        matches!(self.sight, Sight::Open(_)) && !self.ready.is_empty() && self.flying < width
    }

    pub(crate) fn wants_read_at(&self, load: Load) -> Option<Timestamp> {
        let shut = matches!(self.sight, Sight::Shut);
        if shut || self.reading || self.ready.len() >= limits::LANE_READ_MAX {
            return None;
        }
        self.stored_due_at.filter(|_| self.room(load) > 0)
    }

    pub(crate) fn is_idle(&self) -> bool {
        let nothing_due = match self.sight {
            Sight::Wanted | Sight::Asked { .. } => false,
            Sight::Open(_) => self.stored_due_at.is_none(),
            // Whatever the store has for it is told anew when it opens again.
            Sight::Shut => true,
        };
        nothing_due && self.held.is_empty() && !self.reading && !self.cancelling
    }
}
