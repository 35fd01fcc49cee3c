//! Leases: who sends.

use crate::contract::StoreFuture;
use crate::time::Heartbeat;

/// Who sends, and how far the schedule has come.
pub trait Leases: Send + Sync {
    /// Writes down how far the schedule has come, and what the wall clock says then: where the
    /// schedule goes on after a start, and how its times are told in wall time.
    ///
    /// Errors: those of an owner.
    fn record_heartbeat(&self, beat: Heartbeat) -> StoreFuture<()>;

    /// What was written down last; of a store without it, the newest time in it as both.
    fn last_heartbeat(&self) -> Option<Heartbeat>;
}
