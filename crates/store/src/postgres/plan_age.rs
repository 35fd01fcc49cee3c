//! When a session's plans are made anew.
//!
//! A prepared statement keeps the plan that was made when it was first run. Of a table that was
//! empty then, the server sees no difference between an index that finds a row and one that leads
//! through all of a tenant, and keeps the wrong one while the table grows, until its statistics are
//! gathered (`autovacuum_naptime`, a minute, or never where autovacuum is off). So plans are thrown
//! away: soon after the session began, when tables may just have been created, and then rarely. A
//! new plan takes the server a fraction of a millisecond.

use std::cell::Cell;
use std::time::Duration;

use tokio::time::Instant;

/// Has the server forget a session's plans. Its prepared statements stay.
pub(crate) const DISCARD: &str = "DISCARD PLANS";

/// The first plans are kept for so long, the next ones twice as long, and so on.
const FIRST: Duration = Duration::from_secs(1);

/// How old a session's plans are, and how old they may become.
#[derive(Debug)]
pub(crate) struct PlanAge {
    made_at: Cell<Instant>,
    kept_for: Cell<Duration>,
    longest: Duration,
}

impl PlanAge {
    /// Of a session that begins. No plan is kept for longer than `longest`.
    pub(crate) fn new(longest: Duration, now: Instant) -> Self {
        Self {
            made_at: Cell::new(now),
            kept_for: Cell::new(FIRST.min(longest)),
            longest,
        }
    }

    /// Whether plans have to be made anew now.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.made_at.get()) >= self.kept_for.get()
    }

    /// They are.
    pub(crate) fn renew(&self, now: Instant) {
        self.made_at.set(now);
        let next = self.kept_for.get().saturating_mul(2);
        self.kept_for.set(next.min(self.longest));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_are_made_anew_soon_after_the_session_began_and_then_rarely() {
        let began = Instant::now();
        let after = |seconds| began + Duration::from_secs(seconds);
        let plans = PlanAge::new(Duration::from_secs(5), began);
        let mut renewed = Vec::new();
        for second in 0..20 {
            if plans.is_over(after(second)) {
                plans.renew(after(second));
                renewed.push(second);
            }
        }
        assert_eq!(renewed, [1, 3, 7, 12, 17]);
    }
}
