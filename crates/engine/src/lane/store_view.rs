//! What the store has of a webhook that its lane does not hold, as far as is known.

use model::id::NotificationId;
use model::time::Timestamp;

/// Held low by every doubt.
pub(super) enum StoreView {
    /// The earliest due time of what is not held, if there is anything.
    Known(Option<Timestamp>),
    /// A read is outstanding.
    Reading {
        /// As before, and lowered since. If the read is refused, it counts again.
        due_at: Option<Timestamp>,
        /// How it was lowered since the read was asked.
        lowered: Option<Timestamp>,
        /// Settled since then, with their next due times: the answer may still show them.
        settled: Vec<(NotificationId, Option<Timestamp>)>,
    },
}

/// Deliveries that were settled while a read was outstanding, with their next due times.
type Settled = Vec<(NotificationId, Option<Timestamp>)>;

impl StoreView {
    /// The earliest due time.
    pub(super) fn due_at(&self) -> Option<Timestamp> {
        let (Self::Known(due_at) | Self::Reading { due_at, .. }) = self;
        *due_at
    }

    /// There is something that is due at `at`.
    pub(super) fn lower(&mut self, at: Timestamp) {
        let lower = |known: &mut Option<Timestamp>| {
            *known = Some(known.map_or(at, |known| known.min(at)));
        };
        match self {
            Self::Known(due_at) => lower(due_at),
            Self::Reading {
                due_at, lowered, ..
            } => {
                lower(due_at);
                lower(lowered);
            }
        }
    }

    /// Nothing is there that counts.
    pub(super) fn clear(&mut self) {
        let (Self::Known(due_at) | Self::Reading { due_at, .. }) = self;
        *due_at = None;
    }

    pub(super) fn begin_read(&mut self) {
        *self = Self::Reading {
            due_at: self.due_at(),
            lowered: None,
            settled: Vec::new(),
        };
    }

    /// A read was answered, which lowers this again by what it tells, or was refused.
    pub(super) fn end_read(&mut self, is_refused: bool) -> Option<Settled> {
        let Self::Reading {
            due_at,
            lowered,
            settled,
        } = self
        else {
            return None;
        };
        let settled = std::mem::take(settled);
        *self = Self::Known(match is_refused {
            true => *due_at,
            false => *lowered,
        });
        Some(settled)
    }
}
