//! Room for long answers. A short one has room of its own; what is longer takes from what all
//! attempts have together, from when it comes until its outcome is written down. Where there is
//! none left, less of an answer is kept: its status counts all the same.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use model::limits::RESPONSE_FREE_BYTES;
use prometheus_client::metrics::counter::Counter;

/// Taken at a time, so that not every piece of an answer asks for it.
pub(crate) const STEP_BYTES: usize = 8 * 1024;

pub(crate) struct Room {
    left: AtomicUsize,
    shortened: Counter,
}

/// What an answer takes while it is read; given back when it is dropped.
pub(crate) struct Taken<'a> {
    room: &'a Arc<Room>,
    bytes: usize,
}

/// What an answer takes once it was read; given back when it is dropped.
pub(crate) struct Held {
    room: Arc<Room>,
    bytes: usize,
}

impl Room {
    /// Counts in `shortened` the answers of which less was kept.
    pub(crate) fn new(bytes: usize, shortened: Counter) -> Arc<Self> {
        let left = AtomicUsize::new(bytes);
        Arc::new(Self { left, shortened })
    }

    pub(crate) fn nothing(self: &Arc<Self>) -> Taken<'_> {
        Taken {
            room: self,
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

impl Taken<'_> {
    /// How many bytes an answer may have that is to have `wanted`.
    pub(crate) fn afford(&mut self, wanted: usize) -> usize {
        while RESPONSE_FREE_BYTES + self.bytes < wanted {
            if !self.room.take_step() {
                return RESPONSE_FREE_BYTES + self.bytes;
            }
            self.bytes += STEP_BYTES;
        }
        wanted
    }

    /// Counts the answer as one of which less is kept.
    pub(crate) fn shorten(&self) {
        self.room.shortened.inc();
    }

    /// What stays taken by an answer that came to `bytes`; most take nothing.
    pub(crate) fn held(mut self, bytes: usize) -> Option<Held> {
        let needed = bytes.saturating_sub(RESPONSE_FREE_BYTES);
        let needed = needed.next_multiple_of(STEP_BYTES).min(self.bytes);
        self.bytes -= needed;
        (needed > 0).then(|| Held {
            room: Arc::clone(self.room),
            bytes: needed,
        })
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.room.give_back(self.bytes);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.room.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(room: &Room) -> usize {
        room.left.load(Ordering::Relaxed)
    }

    #[test]
    fn a_short_answer_takes_nothing_and_a_long_one_what_there_is() {
        let room = Room::new(3 * STEP_BYTES, Counter::default());
        let (mut one, mut other) = (room.nothing(), room.nothing());
        assert_eq!(one.afford(RESPONSE_FREE_BYTES), RESPONSE_FREE_BYTES);
        assert_eq!(left(&room), 3 * STEP_BYTES);
        let wanted = RESPONSE_FREE_BYTES + STEP_BYTES + 1;
        assert_eq!(one.afford(wanted), wanted);
        assert_eq!(left(&room), STEP_BYTES);
        assert_eq!(other.afford(100_000), RESPONSE_FREE_BYTES + STEP_BYTES);
        assert_eq!(left(&room), 0);
        drop((one, other));
        assert_eq!(left(&room), 3 * STEP_BYTES);
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
            let room = Room::new(4 * STEP_BYTES, Counter::default());
            let mut taken = room.nothing();
            taken.afford(RESPONSE_FREE_BYTES + 3 * STEP_BYTES);
            let held = taken.held(bytes);
            assert_eq!(left(&room), (4 - stays) * STEP_BYTES, "{bytes}");
            drop(held);
            assert_eq!(left(&room), 4 * STEP_BYTES);
        }
    }
}
