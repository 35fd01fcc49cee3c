//! Inline deliveries: the unattempted deliveries of recent notifications. They are stored in the
//! notification's own row and nowhere else.
//!
//! Most deliveries are attempted soon after they were accepted, and cost no row before that. The
//! writer keeps them here and so knows which are still unattempted. Readers have them materialized
//! first (`unattempted.rs`). Their number is bounded, and with it what is read again after a crash.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use model::id::{DeliveryId, WebhookId};

/// Webhooks of one notification: one bit for each.
const WEBHOOKS_MAX: usize = 64;
/// Notifications between the latest that is listed and the latest there is: more than are on their
/// way in a busy house, and few enough to be looked through for each question of the engine.
const NOTIFICATIONS_MAX: usize = 2_048;
/// Deliveries of them, tried or not.
const DELIVERIES_MAX: usize = 16_384;
/// So many deliveries leave at once, because it costs a write that says so. Not more, because each
/// that is still fresh is a write, too.
const EVICTED_TOGETHER_MAX: usize = 512;

pub(crate) struct InlineDeliveries {
    /// Up to and with this notification all is listed, and the file says so.
    materialized_upto: i64,
    /// Above `materialized_upto`, by id. Notifications that no webhook wanted or that did not fit
    /// are not in it.
    entries: VecDeque<InlineEntry>,
    /// Of the entries, so many at the front have nothing fresh any more.
    attempted: usize,
    /// Of all entries.
    deliveries: usize,
    /// Counts what is done here.
    changes: u64,
}

pub(crate) struct InlineEntry {
    id: i64,
    wanted: Arc<[WebhookId]>,
    /// A bit for each of `wanted`, in order.
    unattempted: u64,
}

impl InlineDeliveries {
    pub(crate) fn new(materialized_upto: i64) -> Self {
        Self {
            materialized_upto,
            entries: VecDeque::new(),
            attempted: 0,
            deliveries: 0,
            changes: 0,
        }
    }

    /// Moves whenever something is changed here.
    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }

    pub(crate) fn materialized_upto(&self) -> i64 {
        self.materialized_upto
    }

    /// Whether a notification for so many webhooks may be added.
    pub(crate) fn has_room(&self, webhooks: usize) -> bool {
        (1..=WEBHOOKS_MAX).contains(&webhooks) && self.deliveries + webhooks <= DELIVERIES_MAX
    }

    /// Adds a notification that is later than all there are, for these webhooks by id.
    pub(crate) fn add(&mut self, id: i64, wanted: Arc<[WebhookId]>) {
        let others = WEBHOOKS_MAX.saturating_sub(wanted.len());
        let others = u32::try_from(others).unwrap_or(u32::MAX);
        self.deliveries += wanted.len();
        self.changes += 1;
        self.entries.push_back(InlineEntry {
            id,
            wanted,
            unattempted: u64::MAX.checked_shr(others).unwrap_or(0),
        });
    }

    /// Has the delivery be fresh no more. Answers whether it was, and stood here.
    pub(crate) fn take(&mut self, id: DeliveryId) -> bool {
        self.changes += 1;
        let Some(entry) = self.find(id.notification.0) else {
            return false;
        };
        let Ok(at) = entry.wanted.binary_search(&id.webhook) else {
            return false;
        };
        let bit = 1 << at;
        let was_unattempted = entry.unattempted & bit != 0;
        entry.unattempted &= !bit;
        was_unattempted
    }

    /// Takes out the first entries if there are too many. The caller has listed what is fresh of
    /// them, and written down what `materialized_upto` says then, before anything else is done.
    pub(crate) fn evict(&mut self, latest: i64) -> Option<Vec<InlineEntry>> {
        while self
            .entries
            .get(self.attempted)
            .is_some_and(|entry| entry.unattempted == 0)
        {
            self.attempted += 1;
        }
        let between =
            usize::try_from(latest.saturating_sub(self.materialized_upto)).unwrap_or(usize::MAX);
        let is_full = self.deliveries >= DELIVERIES_MAX - WEBHOOKS_MAX;
        if between < NOTIFICATIONS_MAX && !is_full {
            return None;
        }
        let mut deliveries = 0;
        let first = self.entries.iter().take_while(|entry| {
            deliveries += entry.wanted.len();
            deliveries <= EVICTED_TOGETHER_MAX
        });
        let count = first.count().max(self.attempted).max(1);
        Some(self.take_out(count.min(self.entries.len()), latest))
    }

    /// Takes out all entries, in the same way; nothing if the file says so already.
    pub(crate) fn evict_all(&mut self, latest: i64) -> Option<Vec<InlineEntry>> {
        (latest > self.materialized_upto).then(|| self.take_out(self.entries.len(), latest))
    }

    fn take_out(&mut self, count: usize, latest: i64) -> Vec<InlineEntry> {
        let evicted: Vec<InlineEntry> = self.entries.drain(..count).collect();
        self.changes += 1;
        self.attempted = self.attempted.saturating_sub(count);
        self.deliveries -= evicted
            .iter()
            .map(|entry| entry.wanted.len())
            .sum::<usize>();
        self.materialized_upto = match self.entries.front() {
            Some(entry) => entry.id - 1,
            None => latest,
        };
        evicted
    }

    /// What is fresh, by webhook: notifications by id.
    pub(crate) fn unattempted(&self) -> BTreeMap<WebhookId, Vec<i64>> {
        let mut unattempted: BTreeMap<WebhookId, Vec<i64>> = BTreeMap::new();
        let entries = self.entries.iter().skip(self.attempted);
        let some = entries.filter(|entry| entry.unattempted != 0);
        for [webhook, notification] in some.flat_map(InlineEntry::unattempted) {
            unattempted
                .entry(WebhookId(webhook))
                .or_default()
                .push(notification);
        }
        unattempted
    }

    fn find(&mut self, id: i64) -> Option<&mut InlineEntry> {
        // Ids follow each other nearly always.
        let first = self.entries.front()?.id;
        let guess = usize::try_from(id.checked_sub(first)?).ok()?;
        let at = match self.entries.get(guess) {
            Some(entry) if entry.id == id => guess,
            Some(_) | None => self
                .entries
                .binary_search_by_key(&id, |entry| entry.id)
                .ok()?,
        };
        self.entries.get_mut(at)
    }
}

impl InlineEntry {
    /// The keys of what is fresh: webhook and notification.
    pub(crate) fn unattempted(&self) -> impl Iterator<Item = [i64; 2]> + '_ {
        let all = self.wanted.iter().enumerate();
        let unattempted = all.filter(|(at, _)| self.unattempted & (1 << at) != 0);
        unattempted.map(|(_, webhook)| [webhook.0, self.id])
    }
}
