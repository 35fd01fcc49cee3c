//! Limits on exports that run: for each tenant, and for all together.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use model::id::TenantId;
use model::limits::{EXPORTS_MAX, EXPORTS_TENANT_MAX};

use crate::sync::lock;

/// The exports of each tenant.
#[derive(Default)]
pub(crate) struct ExportSlots(Mutex<BTreeMap<TenantId, usize>>);

/// One export's slot, free again when it is dropped.
pub(crate) struct ExportSlot {
    slots: Arc<ExportSlots>,
    tenant: TenantId,
}

impl ExportSlots {
    pub(crate) fn take(slots: &Arc<Self>, tenant: TenantId) -> Option<ExportSlot> {
        let mut taken = lock(&slots.0);
        let own = taken.get(&tenant).copied().unwrap_or_default();
        if own >= EXPORTS_TENANT_MAX || taken.values().sum::<usize>() >= EXPORTS_MAX {
            return None;
        }
        taken.insert(tenant, own + 1);
        let slots = Arc::clone(slots);
        Some(ExportSlot { slots, tenant })
    }
}

impl Drop for ExportSlot {
    fn drop(&mut self) {
        let mut taken = lock(&self.slots.0);
        match taken.get_mut(&self.tenant) {
            Some(own) if *own > 1 => *own -= 1,
            Some(_) | None => drop(taken.remove(&self.tenant)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_bounded_for_each_tenant_and_for_all_and_come_back() {
        let slots = Arc::new(ExportSlots::default());
        let take = |tenant: usize| {
            let tenant = TenantId(i64::try_from(tenant).unwrap());
            ExportSlots::take(&slots, tenant)
        };
        let mut held: Vec<ExportSlot> = Vec::new();
        while let Some(slot) = take(0) {
            held.push(slot);
        }
        assert_eq!(held.len(), EXPORTS_TENANT_MAX);
        held.extend((1..=EXPORTS_MAX).filter_map(take));
        assert_eq!(held.len(), EXPORTS_MAX);
        drop(held.pop());
        assert!(take(99).is_some());
        drop(held);
        assert!(lock(&slots.0).is_empty());
    }
}
