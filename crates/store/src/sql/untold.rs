//! Untold deliveries: what a transaction that commits now has for the subscriber.
//!
//! Between the commit and the moment when the subscriber is told, another session may read them.
//! An owner that got one from there would send it, write it down, forget it, and then be told of it
//! as something new. So they are left out of what is due until they are told.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use model::contract::DuePage;
use model::id::DeliveryId;

use crate::sync::lock;

/// Those of all transactions of this process.
#[derive(Default)]
pub(crate) struct Untold(Mutex<UntoldInner>);

#[derive(Default)]
struct UntoldInner {
    /// In order, by the transaction.
    lists: BTreeMap<u64, Vec<DeliveryId>>,
    next: u64,
}

/// Held from before the commit until the subscriber was told, or never will be.
pub(crate) struct UntoldGuard {
    untold: Arc<Untold>,
    number: u64,
}

impl Untold {
    pub(crate) fn hold(self: &Arc<Self>, mut deliveries: Vec<DeliveryId>) -> UntoldGuard {
        deliveries.sort_unstable();
        let mut inner = lock(&self.0);
        let number = inner.next;
        inner.next += 1;
        inner.lists.insert(number, deliveries);
        UntoldGuard {
            untold: Arc::clone(self),
            number,
        }
    }

    /// Leaves them out of pages that were read. What was told meanwhile stays.
    pub(crate) fn leave_out(&self, pages: &mut [DuePage]) {
        let inner = lock(&self.0);
        if inner.lists.is_empty() {
            return;
        }
        let is_told = |id: &DeliveryId| {
            let mut lists = inner.lists.values();
            lists.all(|list| list.binary_search(id).is_err())
        };
        for page in pages {
            page.deliveries.retain(|due| is_told(&due.delivery.id));
            if let Some(early) = &mut page.recovery {
                early.deliveries.retain(|due| is_told(&due.delivery.id));
            }
        }
    }
}

impl Drop for UntoldGuard {
    fn drop(&mut self) {
        lock(&self.untold.0).lists.remove(&self.number);
    }
}
