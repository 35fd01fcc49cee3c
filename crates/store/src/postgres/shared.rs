//! What the threads of the executor and the contract share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};

use model::contract::{CommitSubscriber, DiskFault};
use model::lease::Slots;
use model::time::Heartbeat;

use crate::postgres::fan_out_waker::FanOutWaker;
use crate::postgres::hints::{Hint, Hints};
use crate::postgres::metrics::Metrics;
use crate::postgres::session::SessionWaker;
use crate::sync::lock;

#[derive(Default)]
pub(crate) struct Shared {
    pub(crate) subscriber: OnceLock<std::sync::Arc<dyn CommitSubscriber>>,
    /// The version of the catalog, as far as this process knows.
    pub(crate) version: AtomicU64,
    /// Moves with every commit of this process, and whenever others may have written.
    pub(crate) changes: AtomicU64,
    pub(crate) metrics: Metrics,
    pub(crate) fan_out: FanOutWaker,
    pub(crate) last_heartbeat: Mutex<Option<Heartbeat>>,
    /// The slots that this process owns, as far as it knows.
    own: Mutex<Option<Slots>>,
    /// What is wrong with the database.
    fault: Mutex<Option<DiskFault>>,
    telling: Mutex<Telling>,
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

    pub(crate) fn fault(&self) -> Option<DiskFault> {
        *lock(&self.fault)
    }

    /// Notes what is wrong with the database, or that nothing is. Says it once.
    pub(crate) fn set_fault(&self, fault: Option<DiskFault>, words: &str) {
        let before = std::mem::replace(&mut *lock(&self.fault), fault);
        match (before, fault) {
            (before, Some(fault)) if before != Some(fault) => {
                tracing::error!("{fault} ({words}). {}", fault.to_do());
            }
            (Some(_), None) => tracing::info!("the database answers again"),
            _ => {}
        }
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

    /// Who is woken when there is a hint.
    pub(crate) fn set_hint_waker(&self, waker: SessionWaker) {
        lock(&self.telling).waker = Some(waker);
    }

    /// What is to be told since this was last asked.
    pub(crate) fn take_hints(&self) -> Vec<Hint> {
        std::mem::take(&mut lock(&self.telling).hints).told()
    }
}
