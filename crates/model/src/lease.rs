//! Lease: the ownership of slots, which says who sends.
//!
//! A webhook belongs to one of 256 slots, by its id. Whoever owns a slot sends what its webhooks
//! are owed, and nobody else does. Ownership has an epoch, a fencing token: what is written under
//! an epoch that is over is refused.

use crate::time::Timestamp;

/// Slots owned by one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// Goes with everything that the owner asks.
    pub epoch: Epoch,
    pub slots: Slots,
    /// By when it has to be renewed, of wall time; `None` if it does not end.
    pub until: Option<Timestamp>,
}

/// Grows with each change of owner: a fencing token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Epoch(pub u64);

/// A set of slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slots([u128; 2]);

impl Lease {
    /// All slots, for ever: that of a store which one process has to itself.
    pub const SOLE: Self = Self {
        epoch: Epoch::FIRST,
        slots: Slots::ALL,
        until: None,
    };
}

impl Epoch {
    pub const FIRST: Self = Self(1);
}

impl Slots {
    pub const ALL: Self = Self([u128::MAX; 2]);
}
