//! What the threads of the executor and the contract share.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};

use model::contract::CommitSubscriber;
use model::lease::Slots;
use model::time::Heartbeat;

use crate::postgres::fan_out_waker::FanOutWaker;
use crate::postgres::faults::Faults;
use crate::postgres::hints::{Hint, Hints};
use crate::postgres::hold_ups::HoldUps;
use crate::postgres::metrics::Metrics;
use crate::postgres::session::SessionWaker;
use crate::sql::untold::Untold;
use crate::sync::lock;

#[derive(Default)]
pub(crate) struct Shared {
    pub(crate) subscriber: OnceLock<std::sync::Arc<dyn CommitSubscriber>>,
    /// The version of the catalog, as far as this process knows.
    pub(crate) version: AtomicU64,
    /// Moves with every commit of this process, and whenever others may have written.
    pub(crate) changes: AtomicU64,
    /// The number of the latest hint before this process read anything else.
    pub(crate) told_at_start: AtomicI64,
    pub(crate) metrics: Metrics,
    pub(crate) fan_out: FanOutWaker,
    pub(crate) last_heartbeat: Mutex<Option<Heartbeat>>,
    /// The slots that this process owns, as far as it knows.
    own: Mutex<Option<Slots>>,
    pub(crate) faults: Faults,
    pub(crate) hold_ups: HoldUps,
    telling: Mutex<Telling>,
    pub(crate) untold: std::sync::Arc<Untold>,
}

/// What others are to be told, and who tells it.
#[derive(Default)]
struct Telling {
    hints: Hints,
    waker: Option<SessionWaker>,
}

impl Shared {
    pub(crate) fn own_slots(&self) -> Slots {
        lock(&self.own).unwrap_or(Slots::NONE)
    }

    pub(crate) fn set_own_slots(&self, slots: Slots) {
        *lock(&self.own) = Some(slots);
    }

    pub(crate) fn changed(&self) {
        self.changes.fetch_add(1, Ordering::AcqRel);
    }

    /// The owners of other slots are to be told this.
    pub(crate) fn hint(&self, hints: Hints) {
        if hints.is_empty() {
            return;
        }
        let mut telling = lock(&self.telling);
        if telling.hints.add(hints)
            && let Some(waker) = &telling.waker
        {
            waker.wake();
        }
    }

    /// Anything may be due: a hint that could not be told was at some of it.
    pub(crate) fn hint_at_all(&self) {
        lock(&self.telling).hints.tell_all();
    }

    /// Who is woken when there is a hint.
    pub(crate) fn set_hint_waker(&self, waker: SessionWaker) {
        lock(&self.telling).waker = Some(waker);
    }

    /// What is to be told since this was last asked.
    pub(crate) fn take_hints(&self) -> Vec<Hint> {
        std::mem::take(&mut lock(&self.telling).hints).told()
    }
}
