//! Recent notifications: their fresh deliveries stand in their own rows, and nowhere else.
//!
//! A delivery that is tried soon, as most are, so costs no row before that. The writer remembers
//! them here and so knows which are still fresh; readers have them listed first (`fresh.rs`). How
//! many there are is bounded, and so is what has to be looked through after a crash.

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
const LEAVE_TOGETHER: usize = 512;

pub(crate) struct Recent {
    /// Up to and with this notification all is listed, and the file says so.
    listed: i64,
    /// Behind `listed`, by id. Those that nobody wanted, or that found no room, are not there.
    entries: VecDeque<Entry>,
    /// Of the entries, so many at the front have nothing fresh any more.
    tried: usize,
    /// Of all entries.
    deliveries: usize,
    /// Counts what is done here.
    changes: u64,
}

pub(crate) struct Entry {
    id: i64,
    wanted: Arc<[WebhookId]>,
    /// A bit for each of `wanted`, in order.
    fresh: u64,
}

impl Recent {
    pub(crate) fn new(listed: i64) -> Self {
        Self {
            listed,
            entries: VecDeque::new(),
            tried: 0,
            deliveries: 0,
            changes: 0,
        }
    }

    /// Moves whenever something is changed here.
    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }

    pub(crate) fn listed(&self) -> i64 {
        self.listed
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
        self.entries.push_back(Entry {
            id,
            wanted,
            fresh: u64::MAX.checked_shr(others).unwrap_or(0),
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
        let was_fresh = entry.fresh & bit != 0;
        entry.fresh &= !bit;
        was_fresh
    }

    /// Takes out the first entries if there are too many. The caller has listed what is fresh of
    /// them, and written down what `listed` says then, before anything else is done.
    pub(crate) fn leave(&mut self, latest: i64) -> Option<Vec<Entry>> {
        while self
            .entries
            .get(self.tried)
            .is_some_and(|entry| entry.fresh == 0)
        {
            self.tried += 1;
        }
        let between = usize::try_from(latest.saturating_sub(self.listed)).unwrap_or(usize::MAX);
        let is_full = self.deliveries >= DELIVERIES_MAX - WEBHOOKS_MAX;
        if between < NOTIFICATIONS_MAX && !is_full {
            return None;
        }
        let mut deliveries = 0;
        let first = self.entries.iter().take_while(|entry| {
            deliveries += entry.wanted.len();
            deliveries <= LEAVE_TOGETHER
        });
        let count = first.count().max(self.tried).max(1);
        Some(self.take_out(count.min(self.entries.len()), latest))
    }

    /// Takes out all entries, in the same way; nothing if the file says so already.
    pub(crate) fn leave_all(&mut self, latest: i64) -> Option<Vec<Entry>> {
        (latest > self.listed).then(|| self.take_out(self.entries.len(), latest))
    }

    fn take_out(&mut self, count: usize, latest: i64) -> Vec<Entry> {
        let out: Vec<Entry> = self.entries.drain(..count).collect();
        self.changes += 1;
        self.tried = self.tried.saturating_sub(count);
        self.deliveries -= out.iter().map(|entry| entry.wanted.len()).sum::<usize>();
        self.listed = match self.entries.front() {
            Some(entry) => entry.id - 1,
            None => latest,
        };
        out
    }

    /// What is fresh, by webhook: notifications by id.
    pub(crate) fn fresh(&self) -> BTreeMap<WebhookId, Vec<i64>> {
        let mut fresh: BTreeMap<WebhookId, Vec<i64>> = BTreeMap::new();
        let entries = self.entries.iter().skip(self.tried);
        let some = entries.filter(|entry| entry.fresh != 0);
        for [webhook, notification] in some.flat_map(Entry::fresh) {
            fresh
                .entry(WebhookId(webhook))
                .or_default()
                .push(notification);
        }
        fresh
    }

    fn find(&mut self, id: i64) -> Option<&mut Entry> {
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

impl Entry {
    /// The keys of what is fresh: webhook and notification.
    pub(crate) fn fresh(&self) -> impl Iterator<Item = [i64; 2]> + '_ {
        let all = self.wanted.iter().enumerate();
        let fresh = all.filter(|(at, _)| self.fresh & (1 << at) != 0);
        fresh.map(|(_, webhook)| [webhook.0, self.id])
    }
}
