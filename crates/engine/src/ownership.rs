//! Ownership: for which webhooks this node sends, under which epoch, and until when.
//!
//! The store decides (`Leases`); this remembers what it said. A slot that is given up stays named
//! as used until nothing of it is in flight or unwritten, so that it never has two senders.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use model::id::WebhookId;
use model::lease::{Epoch, Lease, Slots};
use model::limits::LEASE_MARGIN_MS;
use model::time::{Clock, Timestamp};
use tokio::time::Instant;

/// The epoch that this node's questions go with now. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct CurrentEpoch(Arc<AtomicU64>);

pub(crate) struct Ownership {
    lease: Lease,
    /// Slots that were given up and are still used.
    draining: Slots,
    /// This node stops: it gets no other slots.
    leaves: bool,
    /// When the lease ends by this process' clock, if it does.
    ends_at: Option<Instant>,
    epoch: CurrentEpoch,
}

/// When the store was asked for a lease, by both clocks: it may have answered much later.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AskedAt {
    pub(crate) at: Instant,
    pub(crate) wall: Timestamp,
}

/// What a renewal changed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SlotChange {
    /// Nothing more is begun for these.
    pub(crate) lost: Slots,
    /// These are to be looked through for what they are owed.
    pub(crate) gained: Slots,
}

impl AskedAt {
    pub(crate) fn now(clock: &Clock) -> Self {
        Self {
            at: Instant::now(),
            wall: clock.now(),
        }
    }
}

impl CurrentEpoch {
    pub(crate) fn get(&self) -> Epoch {
        Epoch(self.0.load(Ordering::Relaxed))
    }
}

impl Ownership {
    /// With a lease that was claimed by `asked`.
    pub(crate) fn of(lease: Lease, asked: AskedAt) -> Self {
        Self {
            lease,
            draining: Slots::NONE,
            leaves: false,
            ends_at: ends_at(lease, asked),
            epoch: CurrentEpoch(Arc::new(AtomicU64::new(lease.epoch.0))),
        }
    }

    pub(crate) fn epoch(&self) -> Epoch {
        self.lease.epoch
    }

    /// For those who ask beside the loop.
    pub(crate) fn current_epoch(&self) -> CurrentEpoch {
        self.epoch.clone()
    }

    pub(crate) fn slots(&self) -> Slots {
        self.lease.slots
    }

    /// Whether this node sends what the webhook is owed.
    pub(crate) fn has(&self, webhook: WebhookId) -> bool {
        self.lease.slots.has(webhook)
    }

    /// Whether the lease has to be renewed.
    pub(crate) fn is_limited(&self) -> bool {
        self.ends_at.is_some()
    }

    /// Whether the lease holds for long enough that something may begin. One renewal may fail, and
    /// another be late.
    pub(crate) fn may_begin(&self, now: Instant) -> bool {
        const MARGIN: Duration = Duration::from_millis(LEASE_MARGIN_MS);
        self.ends_at.is_none_or(|at| at > now + MARGIN)
    }

    /// When others may own its slots, unless the lease is renewed.
    pub(crate) fn ends_at(&self) -> Option<Instant> {
        self.ends_at
    }

    /// Whether others may own its slots by now.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        self.ends_at.is_some_and(|at| at <= now)
    }

    /// What a renewal names: all that is used. `busy` answers which of the slots given up still
    /// are.
    pub(crate) fn named(&mut self, busy: impl FnOnce(Slots) -> Slots) -> Lease {
        if !self.draining.is_empty() {
            self.draining = busy(self.draining);
        }
        Lease {
            slots: self.lease.slots.or(self.draining),
            ..self.lease
        }
    }

    /// Whether slots were given up that may still be used.
    pub(crate) fn drains(&self) -> bool {
        !self.draining.is_empty()
    }

    /// Gives everything up, because this node stops. Answers what that is.
    pub(crate) fn leave(&mut self) -> Slots {
        let slots = std::mem::replace(&mut self.lease.slots, Slots::NONE);
        self.draining = self.draining.or(slots);
        self.leaves = true;
        slots
    }

    /// Whether this node has given everything up.
    pub(crate) fn leaves(&self) -> bool {
        self.leaves
    }

    /// The lease as the store wants it from now on.
    pub(crate) fn renewed(&mut self, lease: Lease, asked: AskedAt) -> SlotChange {
        let before = self.lease.slots;
        let now = match self.leaves {
            true => Slots::NONE,
            false => lease.slots,
        };
        let change = SlotChange {
            lost: before.without(now),
            gained: now.without(before),
        };
        self.draining = self.draining.or(change.lost).without(now);
        self.lease = Lease {
            slots: now,
            ..lease
        };
        self.ends_at = ends_at(lease, asked);
        change
    }

    /// The lease is over: nothing is owned until another one is claimed.
    pub(crate) fn lose(&mut self) {
        self.lease.slots = Slots::NONE;
        self.draining = Slots::NONE;
        self.leaves = false;
        self.ends_at = None;
    }

    /// Another lease, after one was lost.
    pub(crate) fn claimed(&mut self, lease: Lease, asked: AskedAt) {
        self.lease = lease;
        self.ends_at = ends_at(lease, asked);
        self.epoch.0.store(lease.epoch.0, Ordering::Relaxed);
    }
}

fn ends_at(lease: Lease, asked: AskedAt) -> Option<Instant> {
    let until = lease.until?;
    let ms = u64::try_from(until.ms_since(asked.wall)).unwrap_or(0);
    Some(asked.at + Duration::from_millis(ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(slots: Slots, until: i64) -> Lease {
        Lease {
            epoch: Epoch(7),
            slots,
            until: Some(Timestamp::from_millis(until)),
        }
    }

    fn asked(at: Instant, wall: i64) -> AskedAt {
        let wall = Timestamp::from_millis(wall);
        AskedAt { at, wall }
    }

    #[test]
    fn what_is_given_up_is_named_until_nothing_of_it_is_used() {
        let began = Instant::now();
        let mut own = Ownership::of(lease(Slots::ALL, 10_000), asked(began, 0));
        let half = Slots::ALL.scattered(128);
        let change = own.renewed(lease(half, 13_000), asked(began, 3_000));
        let rest = Slots::ALL.without(half);
        assert_eq!((change.lost, change.gained), (rest, Slots::NONE));
        assert!(own.has(WebhookId(0)) && !own.has(WebhookId(128)));
        let busy = Slots::of(WebhookId(128)).or(Slots::of(WebhookId(1)));
        assert_eq!(own.named(|slots| busy.and(slots)).slots, half.or(busy));
        // What comes back is no longer given up.
        let back = half.or(Slots::of(WebhookId(1)));
        let change = own.renewed(lease(back, 16_000), asked(began, 6_000));
        assert_eq!(change.gained, Slots::of(WebhookId(1)));
        let asks = |slots| {
            assert_eq!(slots, Slots::of(WebhookId(128)));
            Slots::NONE
        };
        assert_eq!(own.named(asks).slots, back);
        let nobody = |_| panic!("nothing is given up any more");
        assert_eq!(own.named(nobody).slots, back);
    }

    #[test]
    fn a_node_that_stops_names_what_it_still_uses_and_takes_nothing_that_it_is_offered() {
        let began = Instant::now();
        let half = Slots::ALL.scattered(128);
        let mut own = Ownership::of(lease(half, 10_000), asked(began, 0));
        assert!(!own.drains() && !own.leaves());
        assert_eq!(own.leave(), half);
        assert!(own.drains() && own.leaves() && !own.has(WebhookId(0)));
        let busy = Slots::of(WebhookId(0));
        assert_eq!(own.named(|slots| busy.and(slots)).slots, busy);
        // An answer from before it stopped.
        let change = own.renewed(lease(Slots::ALL, 13_000), asked(began, 3_000));
        assert_eq!((change.lost, change.gained), (Slots::NONE, Slots::NONE));
        assert!(own.drains() && own.slots().is_empty());
        assert_eq!(own.named(|_| Slots::NONE).slots, Slots::NONE);
        assert!(!own.drains());
    }

    #[test]
    fn nothing_begins_under_a_lease_that_may_be_over_before_it_is_renewed() {
        let began = Instant::now();
        let after = |ms| began + Duration::from_millis(ms);
        // Asked for at 100 s by a clock that says 500, and answered whenever.
        let mut own = Ownership::of(lease(Slots::ALL, 510_000), asked(after(100_000), 500_000));
        for (at, may_begin, is_over) in [
            (100_000, true, false),
            (109_999 - LEASE_MARGIN_MS, true, false),
            (110_000 - LEASE_MARGIN_MS, false, false),
            (109_999, false, false),
            (110_000, false, true),
        ] {
            let now = after(at);
            let seen = (own.may_begin(now), own.is_over(now));
            assert_eq!(seen, (may_begin, is_over), "{at}");
        }
        let epoch = own.current_epoch();
        own.lose();
        assert!(!own.has(WebhookId(3)) && !own.is_over(after(999_000)));
        let another = Lease {
            epoch: Epoch(9),
            ..lease(Slots::ALL, 1_010_000)
        };
        own.claimed(another, asked(after(999_000), 1_000_000));
        assert_eq!((own.epoch(), epoch.get()), (Epoch(9), Epoch(9)));
        assert!(own.has(WebhookId(3)) && own.may_begin(after(999_000)));
        let sole = Ownership::of(Lease::SOLE, asked(began, 0));
        assert!(!sole.is_over(after(u32::MAX.into())) && sole.may_begin(after(u32::MAX.into())));
    }
}
