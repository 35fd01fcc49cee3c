//! Turns: who is next. Tenants take turns, and the lanes of each tenant take turns, so that many
//! webhooks of one tenant get together what one webhook of another gets alone.
//!
//! Each call costs the logarithm of the number of tenants.

use std::collections::{BTreeMap, VecDeque};

use model::id::{TenantId, WebhookId};

#[derive(Default)]
pub(crate) struct Turns {
    /// Each tenant that has a lane here, once. Lanes whose tenant is not known yet count as one's.
    tenants: VecDeque<Option<TenantId>>,
    lanes: BTreeMap<Option<TenantId>, VecDeque<WebhookId>>,
    /// One that was emptied, for the next tenant that comes: mostly it is the same one.
    spare: VecDeque<WebhookId>,
    count: usize,
}

impl Turns {
    pub(crate) fn push(&mut self, tenant: Option<TenantId>, webhook: WebhookId) {
        let lanes = self.lanes.entry(tenant);
        let lanes = lanes.or_insert_with(|| std::mem::take(&mut self.spare));
        if lanes.is_empty() {
            self.tenants.push_back(tenant);
        }
        lanes.push_back(webhook);
        self.count += 1;
    }

    pub(crate) fn pop(&mut self) -> Option<WebhookId> {
        let tenant = self.tenants.pop_front()?;
        let lanes = self.lanes.get_mut(&tenant)?;
        let webhook = lanes.pop_front();
        self.count = self.count.saturating_sub(1);
        if lanes.is_empty() {
            self.spare = self.lanes.remove(&tenant).unwrap_or_default();
        } else {
            self.tenants.push_back(tenant);
        }
        webhook
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

    #[test]
    fn a_tenant_with_many_webhooks_gets_every_other_turn_beside_one_with_one() {
        let mut turns = Turns::default();
        let (big, small) = (Some(TenantId(1)), Some(TenantId(2)));
        for webhook in 0..100 {
            turns.push(big, WebhookId(webhook));
        }
        let own = WebhookId(1_000);
        let mut order = vec![];
        turns.push(small, own);
        for _ in 0..8 {
            let webhook = turns.pop().unwrap();
            order.push(webhook.0);
            if webhook == own {
                turns.push(small, own);
            }
        }
        assert_eq!(order, [0, 1_000, 1, 1_000, 2, 1_000, 3, 1_000]);
        assert_eq!(turns.len(), 97);
    }

    #[test]
    fn whoever_is_popped_last_leaves_nothing_behind() {
        let mut turns = Turns::default();
        for tenant in [None, Some(TenantId(1)), None] {
            turns.push(tenant, WebhookId(7));
        }
        while turns.pop().is_some() {}
        assert!(turns.is_empty() && turns.lanes.is_empty() && turns.tenants.is_empty());
    }
}
