//! Room for long answers. A short one has room of its own; what is longer takes from what all
//! attempts in the air have together, until its outcome is written down. Where there is none left,
//! less of an answer is kept: its status counts all the same.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use model::attempt::{Answer, Outcome};
use model::webhook::Headers;
use prometheus_client::metrics::counter::Counter;

/// Head and body together may have so many bytes without taking any.
pub(crate) const OWN_BYTES: usize = 8 * 1024;

/// Taken at a time, so that not every piece of an answer asks for it.
pub(crate) const STEP_BYTES: usize = 8 * 1024;

pub(crate) struct Room {
    left: AtomicUsize,
    shortened: Counter,
}

/// What one answer has taken; given back when it is dropped.
pub(crate) struct Taken<'a> {
    room: &'a Arc<Room>,
    bytes: usize,
}

/// Bytes of an answer, with the room that the answer has.
struct Roomy {
    bytes: Bytes,
    room: Arc<Room>,
    taken: usize,
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
        self.left.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Taken<'_> {
    /// How many bytes may be held where `wanted` are to be.
    pub(crate) fn afford(&mut self, wanted: usize) -> usize {
        while OWN_BYTES + self.bytes < wanted {
            if !self.room.take_step() {
                self.room.shortened.inc();
                return OWN_BYTES + self.bytes;
            }
            self.bytes += STEP_BYTES;
        }
        wanted
    }

    /// Has the room stay taken for as long as the answer is held.
    pub(crate) fn keep(mut self, outcome: Outcome) -> Outcome {
        let Outcome::Answered(answer) = outcome else {
            return outcome;
        };
        let taken = std::mem::take(&mut self.bytes);
        if taken == 0 {
            return Outcome::Answered(answer);
        }
        let roomy = |bytes| {
            let room = Arc::clone(self.room);
            Bytes::from_owner(Roomy { bytes, room, taken })
        };
        // Both are let go of together, so it is enough that one of them has it.
        Outcome::Answered(match answer.body.is_empty() {
            true => Answer {
                headers: Headers(roomy(answer.headers.0)),
                ..answer
            },
            false => Answer {
                body: roomy(answer.body),
                ..answer
            },
        })
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.room.give_back(self.bytes);
        }
    }
}

impl AsRef<[u8]> for Roomy {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Roomy {
    fn drop(&mut self) {
        self.room.give_back(self.taken);
    }
}

#[cfg(test)]
mod tests {
    use model::attempt::BodyEnd;

    use super::*;

    fn answered(headers: &'static [u8], body: &'static [u8]) -> Outcome {
        Outcome::Answered(Answer {
            status: 200,
            headers: Headers(Bytes::from_static(headers)),
            body: Bytes::from_static(body),
            body_end: BodyEnd::Whole,
        })
    }

    fn left(room: &Room) -> usize {
        room.left.load(Ordering::Relaxed)
    }

    #[test]
    fn a_short_answer_takes_nothing_and_a_long_one_what_there_is() {
        let room = Room::new(3 * STEP_BYTES, Counter::default());
        let (mut one, mut other) = (room.nothing(), room.nothing());
        assert_eq!(one.afford(OWN_BYTES), OWN_BYTES);
        assert_eq!(left(&room), 3 * STEP_BYTES);
        assert_eq!(
            one.afford(OWN_BYTES + STEP_BYTES + 1),
            OWN_BYTES + STEP_BYTES + 1
        );
        assert_eq!(left(&room), STEP_BYTES);
        assert_eq!(room.shortened.get(), 0);
        assert_eq!(other.afford(100_000), OWN_BYTES + STEP_BYTES);
        assert_eq!((left(&room), room.shortened.get()), (0, 1));
        drop((one, other));
        assert_eq!(left(&room), 3 * STEP_BYTES);
    }

    #[test]
    fn room_stays_taken_until_the_answer_is_let_go_of() {
        for (headers, body) in [
            (&b"a: b\r\n"[..], &b""[..]),
            (b"", b"body"),
            (b"a: b\r\n", b"c"),
        ] {
            let room = Room::new(STEP_BYTES, Counter::default());
            let mut taken = room.nothing();
            taken.afford(OWN_BYTES + 1);
            let kept = taken.keep(answered(headers, body));
            assert_eq!(kept, answered(headers, body));
            let clone = kept.clone();
            drop(kept);
            assert_eq!(left(&room), 0);
            drop(clone);
            assert_eq!(left(&room), STEP_BYTES);
        }
    }
}
