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
/// Notifications between the last materialized one and the latest: more than are in flight under
/// load, and few enough to be searched for each question of the engine.
const NOTIFICATIONS_MAX: usize = 2_048;
/// Their deliveries, attempted or not.
const DELIVERIES_MAX: usize = 16_384;
/// So many deliveries are evicted at once, because each eviction writes how far it went. Not more,
/// because each unattempted one costs a row.
const EVICTED_TOGETHER_MAX: usize = 512;

pub(crate) struct InlineDeliveries {
    /// Up to and with this notification everything is materialized; the file says so, too.
    materialized_upto: i64,
    /// Above `materialized_upto`, by id. Notifications that no webhook wanted or that did not fit
    /// are not in it.
    entries: VecDeque<InlineEntry>,
    /// So many entries at the front have nothing unattempted left.
    attempted: usize,
    /// Of all entries.
    deliveries: usize,
    /// Counts changes.
    changes: u64,
}

pub(crate) struct InlineEntry {
    id: i64,
    wanted: Arc<[WebhookId]>,
    /// A bit for each of `wanted`, in order.
    unattempted: u64,
}

/// The first unattempted deliveries of a webhook, each a notification id; all that there are if
/// these are fewer than `limit`.
#[derive(Default)]
pub(crate) struct FirstUnattempted {
    notifications: Vec<i64>,
    limit: usize,
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

    /// Changes with every change.
    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }

    pub(crate) fn materialized_upto(&self) -> i64 {
        self.materialized_upto
    }

    /// Whether a notification for so many webhooks fits.
    pub(crate) fn has_room(&self, webhooks: usize) -> bool {
        (1..=WEBHOOKS_MAX).contains(&webhooks) && self.deliveries + webhooks <= DELIVERIES_MAX
    }

    /// Adds a notification with a higher id than all before, for these webhooks in the order of
    /// their ids.
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

    /// The delivery is no longer unattempted. Answers whether it was, and was inline.
    pub(crate) fn take(&mut self, id: DeliveryId) -> bool {
        self.changes += 1;
        let Some(entry) = self.find(id.notification.0) else {
            return false;
        };
        let bit = entry.bit(id.webhook);
        let was_unattempted = entry.unattempted & bit != 0;
        entry.unattempted &= !bit;
        was_unattempted
    }

    /// Takes out the first entries if there are too many. The caller has to materialize what is
    /// unattempted of them and store the new `materialized_upto` before anything else.
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

    /// Takes out all entries, in the same way; `None` if everything is materialized.
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

    /// The unattempted deliveries by webhook, each a notification id.
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

    /// The first unattempted deliveries of some webhooks, of each at most as many as it says.
    pub(crate) fn first_unattempted(
        &self,
        limits: impl Iterator<Item = (WebhookId, usize)>,
    ) -> BTreeMap<WebhookId, FirstUnattempted> {
        let mut found: BTreeMap<WebhookId, FirstUnattempted> = BTreeMap::new();
        for (webhook, limit) in limits {
            let first = found.entry(webhook).or_default();
            first.limit = first.limit.max(limit);
        }
        let mut open = found.values().filter(|first| first.limit > 0).count();
        let mut entries = self.entries.range(self.attempted.min(self.entries.len())..);
        while open > 0
            && let Some(entry) = entries.next()
        {
            if entry.unattempted == 0 {
                continue;
            }
            for [webhook, notification] in entry.unattempted() {
                if let Some(first) = found.get_mut(&WebhookId(webhook))
                    && first.notifications.len() < first.limit
                {
                    first.notifications.push(notification);
                    open -= usize::from(first.notifications.len() == first.limit);
                }
            }
        }
        found
    }

    /// All unattempted deliveries of a webhook, each a notification id. It costs nothing to stop
    /// after those of `first`.
    pub(crate) fn unattempted_of<'a>(
        &'a self,
        webhook: WebhookId,
        first: &'a FirstUnattempted,
    ) -> impl Iterator<Item = i64> + 'a {
        let is_all = first.notifications.len() < first.limit;
        let last = first.notifications.last().filter(|_| !is_all);
        let rest = last.into_iter().flat_map(move |last| {
            let from = self.entries.partition_point(|entry| entry.id <= *last);
            let entries = self.entries.range(from..);
            entries.filter(move |entry| entry.is_unattempted(webhook))
        });
        let first = first.notifications.iter().copied();
        first.chain(rest.map(|entry| entry.id))
    }

    fn find(&mut self, id: i64) -> Option<&mut InlineEntry> {
        // Ids are consecutive nearly always.
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
    /// The bit of a webhook; none if it is not wanted by that.
    fn bit(&self, webhook: WebhookId) -> u64 {
        match self.wanted.binary_search(&webhook) {
            Ok(at) => 1 << at,
            Err(_) => 0,
        }
    }

    fn is_unattempted(&self, webhook: WebhookId) -> bool {
        self.unattempted & self.bit(webhook) != 0
    }

    /// The unattempted deliveries of the entry, as webhook and notification ids.
    pub(crate) fn unattempted(&self) -> impl Iterator<Item = [i64; 2]> + '_ {
        let all = self.wanted.iter().enumerate();
        let unattempted = all.filter(|(at, _)| self.unattempted & (1 << at) != 0);
        unattempted.map(|(_, webhook)| [webhook.0, self.id])
    }
}
