//! The memory budget of long responses. A short one has memory of its own. What is longer reserves
//! from what all attempts share, from its arrival until its outcome is written. If the budget is
//! used up, less of a response is kept: its status counts all the same.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use model::limits::RESPONSE_FREE_BYTES;
use prometheus_client::metrics::counter::Counter;

/// Reserved at a time, so that not every piece of a response asks for more.
pub(crate) const STEP_BYTES: usize = 8 * 1024;

pub(crate) struct ResponseBudget {
    left: AtomicUsize,
    shortened: Counter,
}

/// What a response takes while it is read; given back when dropped.
pub(crate) struct ReadReservation<'a> {
    budget: &'a Arc<ResponseBudget>,
    bytes: usize,
}

/// What a response takes after it was read; given back when dropped.
pub(crate) struct HeldReservation {
    budget: Arc<ResponseBudget>,
    bytes: usize,
}

impl ResponseBudget {
    /// A budget of `bytes`. `shortened` counts the responses of which less was kept.
    pub(crate) fn new(bytes: usize, shortened: Counter) -> Arc<Self> {
        let left = AtomicUsize::new(bytes);
        Arc::new(Self { left, shortened })
    }

    pub(crate) fn nothing(self: &Arc<Self>) -> ReadReservation<'_> {
        ReadReservation {
            budget: self,
            bytes: 0,
        }
    }

    fn take_step(&self) -> bool {
        let rest = |left: usize| left.checked_sub(STEP_BYTES);
        let order = Ordering::Relaxed;
        self.left.fetch_update(order, order, rest).is_ok()
    }

    fn give_back(&self, bytes: usize) {
        if bytes > 0 {
            self.left.fetch_add(bytes, Ordering::Relaxed);
        }
    }
}

impl ReadReservation<'_> {
    /// Reserves up to `wanted` bytes for the whole response; returns how many it may have.
    pub(crate) fn afford(&mut self, wanted: usize) -> usize {
        while RESPONSE_FREE_BYTES + self.bytes < wanted {
            if !self.budget.take_step() {
                return RESPONSE_FREE_BYTES + self.bytes;
            }
            self.bytes += STEP_BYTES;
        }
        wanted
    }

    /// Counts the response as one of which less is kept.
    pub(crate) fn shorten(&self) {
        self.budget.shortened.inc();
    }

    /// What a response of `bytes` keeps reserved; most keep nothing.
    pub(crate) fn held(mut self, bytes: usize) -> Option<HeldReservation> {
        let needed = bytes.saturating_sub(RESPONSE_FREE_BYTES);
        let needed = needed.next_multiple_of(STEP_BYTES).min(self.bytes);
        self.bytes -= needed;
        (needed > 0).then(|| HeldReservation {
            budget: Arc::clone(self.budget),
            bytes: needed,
        })
    }
}

impl Drop for ReadReservation<'_> {
    fn drop(&mut self) {
        self.budget.give_back(self.bytes);
    }
}

impl Drop for HeldReservation {
    fn drop(&mut self) {
        self.budget.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(budget: &ResponseBudget) -> usize {
        budget.left.load(Ordering::Relaxed)
    }

    #[test]
    fn a_short_answer_takes_nothing_and_a_long_one_what_there_is() {
        let budget = ResponseBudget::new(3 * STEP_BYTES, Counter::default());
        let (mut one, mut other) = (budget.nothing(), budget.nothing());
        assert_eq!(one.afford(RESPONSE_FREE_BYTES), RESPONSE_FREE_BYTES);
        assert_eq!(left(&budget), 3 * STEP_BYTES);
        let wanted = RESPONSE_FREE_BYTES + STEP_BYTES + 1;
        assert_eq!(one.afford(wanted), wanted);
        assert_eq!(left(&budget), STEP_BYTES);
        assert_eq!(other.afford(100_000), RESPONSE_FREE_BYTES + STEP_BYTES);
        assert_eq!(left(&budget), 0);
        drop((one, other));
        assert_eq!(left(&budget), 3 * STEP_BYTES);
    }

    #[test]
    fn what_an_answer_came_to_stays_taken_until_it_is_let_go_of() {
        for (bytes, stays) in [
            (0, 0),
            (RESPONSE_FREE_BYTES, 0),
            (RESPONSE_FREE_BYTES + 1, 1),
            (RESPONSE_FREE_BYTES + STEP_BYTES + 1, 2),
            // It cannot have more than it took.
            (1_000_000, 3),
        ] {
            let budget = ResponseBudget::new(4 * STEP_BYTES, Counter::default());
            let mut taken = budget.nothing();
            taken.afford(RESPONSE_FREE_BYTES + 3 * STEP_BYTES);
            let held = taken.held(bytes);
            assert_eq!(left(&budget), (4 - stays) * STEP_BYTES, "{bytes}");
            drop(held);
            assert_eq!(left(&budget), 4 * STEP_BYTES);
        }
    }
}
