//! What the threads of the executor and the contract share.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};

use model::contract::{CommitSubscriber, DiskFault};
use model::id::WebhookId;
use model::lease::Slots;
use model::time::Heartbeat;

use crate::postgres::fan_out_waker::FanOutWaker;
use crate::postgres::metrics::Metrics;
use crate::postgres::session::SessionWaker;
use crate::sync::lock;

/// More webhooks than this are not named in a hint: whoever owns them looks through all it has.
const HINTS_MAX: usize = 1_000;

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
    hints: Mutex<Hints>,
}

/// Webhooks of other owners that got something due.
#[derive(Default)]
struct Hints {
    webhooks: BTreeSet<WebhookId>,
    all: bool,
    waker: Option<SessionWaker>,
}

/// What is to be told to the owners of other slots.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Hint {
    Webhooks(Vec<WebhookId>),
    All,
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

    /// These webhooks of others got something due.
    pub(crate) fn hint(&self, webhooks: impl Iterator<Item = WebhookId>) {
        let mut hints = lock(&self.hints);
        let before = hints.webhooks.len();
        hints.webhooks.extend(webhooks);
        if hints.webhooks.len() > HINTS_MAX {
            hints.webhooks.clear();
            hints.all = true;
        }
        if (hints.all || hints.webhooks.len() > before)
            && let Some(waker) = &hints.waker
        {
            waker.wake();
        }
    }

    /// Anything may be different for others.
    pub(crate) fn hint_at_all(&self) {
        let mut hints = lock(&self.hints);
        hints.all = true;
        if let Some(waker) = &hints.waker {
            waker.wake();
        }
    }

    /// Who is woken when there is a hint.
    pub(crate) fn set_hint_waker(&self, waker: SessionWaker) {
        lock(&self.hints).waker = Some(waker);
    }

    /// What is to be told since this was last asked.
    pub(crate) fn take_hint(&self) -> Option<Hint> {
        let mut hints = lock(&self.hints);
        let webhooks = std::mem::take(&mut hints.webhooks);
        match (std::mem::take(&mut hints.all), webhooks.is_empty()) {
            (true, _) => Some(Hint::All),
            (false, true) => None,
            (false, false) => Some(Hint::Webhooks(webhooks.into_iter().collect())),
        }
    }
}
