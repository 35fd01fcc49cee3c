//! A fair queue of lanes: who is next. The tenant with the least goes first; tenants with equally
//! little take turns. So many webhooks of one tenant together get what a single webhook of another
//! gets. The lanes of a tenant take turns.
//!
//! The caller says what a tenant has (`weigh`). Each call costs the logarithm of the number of
//! tenants.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use model::id::{TenantId, WebhookId};

/// The number of an endpoint that lanes lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct HostId(pub(crate) u64);

/// A lane that waits for a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WaitingLane {
    pub(crate) webhook: WebhookId,
    /// It waited at this host, which keeps room for it.
    pub(crate) called_by: Option<HostId>,
}

#[derive(Default)]
pub(crate) struct FairQueue {
    /// Each tenant that has a lane here, once. Lanes whose tenant is not known yet count as one's.
    order: BTreeSet<TurnOrder>,
    tenants: BTreeMap<Option<TenantId>, TenantQueue>,
    /// One that was emptied, for the next tenant that comes: mostly it is the same one.
    spare: VecDeque<WaitingLane>,
    turns: u64,
    count: usize,
    both_ends: bool,
}

/// Lanes of a tenant that are remembered as the latest to get a delivery.
const RECENT_MAX: usize = 64;

/// What a tenant has, when it had its latest turn, and which it is.
type TurnOrder = (usize, u64, Option<TenantId>);

struct TenantQueue {
    weight: usize,
    turn: u64,
    /// Those that go before the others.
    first: VecDeque<WaitingLane>,
    lanes: VecDeque<WaitingLane>,
    /// Those of `lanes` that got a delivery since they came, the latest last.
    recent: VecDeque<WaitingLane>,
    /// The next is the one that came last, or got a delivery last.
    latest_next: bool,
}

impl WaitingLane {
    pub(crate) fn of(webhook: WebhookId) -> Self {
        Self {
            webhook,
            called_by: None,
        }
    }
}

impl FairQueue {
    /// From now on the lanes of a tenant are taken from both ends in turn, so that a lane behind
    /// thousands does not wait for all of them, nor does the first.
    pub(crate) fn take_from_both_ends(&mut self) {
        self.both_ends = true;
    }

    /// Puts a lane behind the others of its tenant, which has `weight`.
    pub(crate) fn push(&mut self, tenant: Option<TenantId>, weight: usize, entry: WaitingLane) {
        self.queue(tenant, weight).lanes.push_back(entry);
    }

    /// Puts a lane before the others of its tenant, and behind those that were put there.
    pub(crate) fn push_first(
        &mut self,
        tenant: Option<TenantId>,
        weight: usize,
        entry: WaitingLane,
    ) {
        self.queue(tenant, weight).first.push_back(entry);
    }

    fn queue(&mut self, tenant: Option<TenantId>, weight: usize) -> &mut TenantQueue {
        self.count += 1;
        self.tenants.entry(tenant).or_insert_with(|| {
            self.turns += 1;
            self.order.insert((weight, self.turns, tenant));
            TenantQueue {
                weight,
                turn: self.turns,
                first: VecDeque::new(),
                lanes: std::mem::take(&mut self.spare),
                recent: VecDeque::new(),
                latest_next: false,
            }
        })
    }

    /// The least that a tenant of these has.
    pub(crate) fn least(&self) -> Option<usize> {
        self.order.first().map(|(weight, ..)| *weight)
    }

    pub(crate) fn pop(&mut self) -> Option<WaitingLane> {
        let (weight, _, tenant) = self.order.pop_first()?;
        let queue = self.tenants.get_mut(&tenant)?;
        let first = queue.first.pop_front();
        let is_latest = first.is_none() && std::mem::take(&mut queue.latest_next);
        queue.latest_next |= first.is_none() && self.both_ends && !is_latest;
        // It keeps its place among the others, and is skipped there later.
        let recent = match is_latest {
            true => queue.recent.pop_back(),
            false => None,
        };
        self.count = self.count.saturating_sub(usize::from(recent.is_none()));
        let entry = recent.or_else(|| match is_latest {
            true => queue.lanes.pop_back(),
            false => first.or_else(|| queue.lanes.pop_front()),
        });
        if queue.first.is_empty() && queue.lanes.is_empty() {
            let emptied = self.tenants.remove(&tenant);
            self.spare = emptied.map(|queue| queue.lanes).unwrap_or_default();
        } else {
            self.turns += 1;
            queue.turn = self.turns;
            self.order.insert((weight, self.turns, tenant));
        }
        entry
    }

    /// One of the tenant's lanes here got a delivery. Returns whether any of its lanes is here.
    pub(crate) fn renew(&mut self, tenant: Option<TenantId>, webhook: WebhookId) -> bool {
        let Some(queue) = self.tenants.get_mut(&tenant) else {
            return false;
        };
        if self.both_ends {
            queue.recent.push_back(WaitingLane::of(webhook));
            if queue.recent.len() > RECENT_MAX {
                queue.recent.pop_front();
            }
        }
        true
    }

    /// The tenant has `weight` by now.
    pub(crate) fn weigh(&mut self, tenant: Option<TenantId>, weight: usize) {
        let Some(queue) = self.tenants.get_mut(&tenant) else {
            return;
        };
        if queue.weight != weight {
            self.order.remove(&(queue.weight, queue.turn, tenant));
            self.order.insert((weight, queue.turn, tenant));
            queue.weight = weight;
        }
    }

    /// Lanes of the tenant that wait here.
    pub(crate) fn count_of(&self, tenant: Option<TenantId>) -> usize {
        let queue = self.tenants.get(&tenant);
        queue.map_or(0, |queue| queue.first.len() + queue.lanes.len())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BIG: Option<TenantId> = Some(TenantId(1));
    const SMALL: Option<TenantId> = Some(TenantId(2));

    fn entry(webhook: i64) -> WaitingLane {
        WaitingLane::of(WebhookId(webhook))
    }

    fn pop(turns: &mut FairQueue) -> Option<i64> {
        turns.pop().map(|entry| entry.webhook.0)
    }

    #[test]
    fn a_tenant_with_many_webhooks_gets_every_other_turn_beside_one_with_one() {
        let mut turns = FairQueue::default();
        for webhook in 0..100 {
            turns.push(BIG, 0, entry(webhook));
        }
        let mut order = vec![];
        turns.push(SMALL, 0, entry(1_000));
        for _ in 0..8 {
            let webhook = pop(&mut turns).unwrap();
            order.push(webhook);
            if webhook == 1_000 {
                turns.push(SMALL, 0, entry(1_000));
            }
        }
        assert_eq!(order, [0, 1_000, 1, 1_000, 2, 1_000, 3, 1_000]);
        assert_eq!(turns.len(), 97);
    }

    #[test]
    fn who_has_the_least_goes_first_however_long_the_others_wait() {
        let mut turns = FairQueue::default();
        for webhook in 0..3 {
            turns.push(BIG, 5, entry(webhook));
            turns.push(SMALL, 5, entry(10 + webhook));
        }
        turns.weigh(SMALL, 4);
        assert_eq!(turns.least(), Some(4));
        assert_eq!((pop(&mut turns), pop(&mut turns)), (Some(10), Some(11)));
        turns.weigh(SMALL, 9);
        assert_eq!((pop(&mut turns), pop(&mut turns)), (Some(0), Some(1)));
        turns.push_first(BIG, 5, entry(7));
        assert_eq!((pop(&mut turns), pop(&mut turns)), (Some(7), Some(2)));
        assert_eq!((pop(&mut turns), pop(&mut turns)), (Some(12), None));
    }

    #[test]
    fn whoever_comes_behind_many_is_not_kept_by_them_where_both_ends_are_taken() {
        let mut turns = FairQueue::default();
        turns.take_from_both_ends();
        for webhook in 0..6 {
            turns.push(BIG, 0, entry(webhook));
        }
        let order: Vec<_> = std::iter::from_fn(|| pop(&mut turns)).collect();
        assert_eq!(order, [0, 5, 1, 4, 2, 3]);
    }

    #[test]
    fn whoever_gets_something_among_many_is_among_the_latest() {
        let mut turns = FairQueue::default();
        turns.take_from_both_ends();
        for webhook in 0..1_000 {
            turns.push(BIG, 0, entry(webhook));
        }
        for webhook in 300..500 {
            assert!(turns.renew(BIG, WebhookId(webhook)));
        }
        assert!(!turns.renew(SMALL, WebhookId(1)));
        assert_eq!((pop(&mut turns), pop(&mut turns)), (Some(0), Some(499)));
        assert_eq!((pop(&mut turns), pop(&mut turns)), (Some(1), Some(498)));
        // Those keep their places, and no more than some are remembered.
        assert_eq!(turns.len(), 998);
        let rest: Vec<_> = std::iter::from_fn(|| pop(&mut turns)).collect();
        assert_eq!(rest.iter().filter(|webhook| **webhook == 499).count(), 1);
        assert!(turns.is_empty());
    }

    #[test]
    fn whoever_is_popped_last_leaves_nothing_behind() {
        let mut turns = FairQueue::default();
        for tenant in [None, BIG, None] {
            turns.push(tenant, 1, entry(7));
        }
        turns.weigh(BIG, 3);
        while turns.pop().is_some() {}
        assert!(turns.is_empty() && turns.tenants.is_empty() && turns.order.is_empty());
        assert_eq!(turns.least(), None);
    }
}
