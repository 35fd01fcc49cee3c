//! Leases: who sends. A node becomes the owner of slots, stays it, and gives it up.

use crate::contract::StoreFuture;
use crate::lease::Lease;
use crate::time::{Heartbeat, Timestamp};

/// Ownership of slots, and how far the schedule has come under it. An owner has one lease at a
/// time.
///
/// A store that one process has to itself gives it [`Lease::SOLE`]: all slots, for ever.
pub trait Leases: Send + Sync {
    /// Makes the caller the owner of slots, under an epoch that nobody had before. Whoever owned
    /// them is fenced from then on. Asked for again it gives another lease.
    ///
    /// Errors: those of a change.
    fn claim(&self, now: Timestamp) -> StoreFuture<Lease>;

    /// Keeps the lease, and writes down how far the schedule has come, and what the wall clock says
    /// then: where the schedule goes on after a start, and how its times are told in wall time.
    /// Safe to repeat.
    ///
    /// The lease handed in names the slots that the caller still uses. The answer has those that it
    /// is to use from now on: others as well, that nobody owned; or fewer, because others have less
    /// than their share. What is missing stays its own until a renewal no longer names it: so no
    /// slot has two senders. [`crate::lease_table`] has the rule.
    ///
    /// Errors: those of an owner.
    fn renew(&self, lease: Lease, beat: Heartbeat) -> StoreFuture<Lease>;

    /// The same for a node that stops: it keeps what it names, gets nothing more, and others divide
    /// up the rest as if it were not there. The answer has what it still owns. Safe to repeat.
    ///
    /// Errors: those of an owner.
    fn leave(&self, lease: Lease, beat: Heartbeat) -> StoreFuture<Lease>;

    /// Gives the lease up, with a last heartbeat: the next owner goes on exactly there. Nothing may
    /// be asked under it any more. Safe to repeat.
    ///
    /// Errors: those of an owner.
    fn release(&self, lease: Lease, beat: Heartbeat) -> StoreFuture<()>;

    /// What `renew` or `release` wrote down last; of a store without it, the newest time in it as
    /// both.
    ///
    /// Errors: none.
    fn last_heartbeat(&self) -> Option<Heartbeat>;
}
