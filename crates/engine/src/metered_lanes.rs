//! Lanes that wait because their webhook had as many calls a second as it may. They have no turn
//! meanwhile and nothing in flight for it, and all of them wait by the one alarm of the loop.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::id::WebhookId;
use model::lease::Slots;
use model::limits::{CALL_RATE_MICROS_MIN, METERS_REMEMBERED_MAX};
use tokio::time::Instant;

use crate::meter::Meter;

/// The longest that one call keeps the next waiting.
const INTERVAL_MAX: Duration = Duration::from_secs(1_000_000 / CALL_RATE_MICROS_MIN as u64);

#[derive(Default)]
pub(crate) struct MeteredLanes {
    /// When they may go on, earliest first.
    times: BTreeSet<(Instant, WebhookId)>,
    /// The latest calls of webhooks with a rate that have no lane at present.
    remembered: BTreeMap<WebhookId, Instant>,
    /// Waits that began since somebody asked.
    begun: u64,
}

impl MeteredLanes {
    pub(crate) fn enter(&mut self, at: Instant, webhook: WebhookId) {
        self.begun += 1;
        self.times.insert((at, webhook));
    }

    pub(crate) fn leave(&mut self, at: Instant, webhook: WebhookId) {
        self.times.remove(&(at, webhook));
    }

    /// Its lane is forgotten.
    pub(crate) fn remember(&mut self, webhook: WebhookId, meter: Meter) {
        if let Some(latest) = meter.latest() {
            self.remembered.insert(webhook, latest);
            if self.remembered.len() > METERS_REMEMBERED_MAX {
                self.remembered.pop_first();
            }
        }
    }

    /// It has a lane again.
    pub(crate) fn recall(&mut self, webhook: WebhookId) -> Meter {
        Meter::after(self.remembered.remove(&webhook))
    }

    pub(crate) fn disown(&mut self, slots: Slots) {
        self.remembered.retain(|webhook, _| !slots.has(*webhook));
    }

    /// Forgets calls that keep nothing waiting any more.
    pub(crate) fn forget(&mut self, now: Instant) {
        self.remembered
            .retain(|_, latest| now.duration_since(*latest) < INTERVAL_MAX);
    }

    /// A lane whose time has come.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<WebhookId> {
        let first = self.times.first().filter(|(at, _)| *at <= now).copied()?;
        self.times.remove(&first);
        Some(first.1)
    }

    /// When the first of them may go on.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.times.first().map(|(at, _)| *at)
    }

    pub(crate) fn len(&self) -> usize {
        self.times.len()
    }

    /// Waits that began since this was asked last.
    pub(crate) fn take_begun(&mut self) -> u64 {
        std::mem::take(&mut self.begun)
    }

    #[cfg(test)]
    pub(crate) fn times(&self) -> &BTreeSet<(Instant, WebhookId)> {
        &self.times
    }
}
