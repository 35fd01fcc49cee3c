//! Tenants that another node accepts for, too: what is handed in of them is left to the thread that
//! waits (`intake.rs`).

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::Duration;

use model::id::TenantId;
use tokio::time::Instant;

/// A tenant that had to be waited for is expected to be held for so long by others who still accept
/// for it. To try in vain costs a transaction.
const HELD_FOR: Duration = Duration::from_millis(100);

/// More are not remembered beyond their jobs.
const REMEMBERED_MAX: usize = 1_000;

#[derive(Default)]
pub(crate) struct HeldTenants(BTreeMap<TenantId, HeldTenant>);

#[derive(Default)]
struct HeldTenant {
    /// Jobs that wait for it, or are being accepted by the thread that waits.
    jobs: usize,
    until: Option<Instant>,
}

impl HeldTenants {
    /// Whether more of it is to wait as well.
    pub(crate) fn has(&self, tenant: TenantId, now: Instant) -> bool {
        self.0.get(&tenant).is_some_and(|held| held.is_held(now))
    }

    /// A job of these tenants waits.
    pub(crate) fn wait(&mut self, tenants: &[TenantId]) {
        for tenant in tenants {
            self.0.entry(*tenant).or_default().jobs += 1;
        }
    }

    /// So many jobs of these wait no longer. `waited`: others had the tenant until then.
    pub(crate) fn release(
        &mut self,
        tenants: &[TenantId],
        count: usize,
        waited: bool,
        now: Instant,
    ) {
        let until = (waited && self.0.len() <= REMEMBERED_MAX).then_some(now + HELD_FOR);
        for tenant in tenants {
            if let Entry::Occupied(mut held) = self.0.entry(*tenant) {
                let jobs = held.get().jobs.saturating_sub(count);
                held.insert(HeldTenant { jobs, until });
            }
        }
        self.0.retain(|_, held| held.is_held(now));
    }

    #[cfg(test)]
    pub(crate) fn jobs(&self, tenant: TenantId) -> usize {
        self.0.get(&tenant).map_or(0, |held| held.jobs)
    }
}

impl HeldTenant {
    fn is_held(&self, now: Instant) -> bool {
        self.jobs > 0 || self.until.is_some_and(|until| until > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: TenantId = TenantId(1);
    const B: TenantId = TenantId(2);

    #[test]
    fn a_tenant_that_was_waited_for_is_expected_to_be_held_for_a_moment_more() {
        let (mut held, began) = (HeldTenants::default(), Instant::now());
        assert!(!held.has(A, began));
        held.wait(&[A, B]);
        held.wait(&[A]);
        held.release(&[A, B], 1, false, began);
        assert!(held.has(A, began) && !held.has(B, began));
        held.release(&[A], 1, true, began);
        let (soon, later) = (began + HELD_FOR / 2, began + HELD_FOR);
        assert!(held.has(A, soon) && !held.has(A, later));
        // Each wait renews it, and what comes without one ends it.
        held.wait(&[A]);
        held.release(&[A], 1, false, soon);
        assert!(!held.has(A, soon));
    }

    #[test]
    fn what_is_remembered_stays_bounded_and_goes() {
        let (mut held, began) = (HeldTenants::default(), Instant::now());
        for number in 0..3_000 {
            held.wait(&[TenantId(number)]);
            held.release(&[TenantId(number)], 1, true, began);
        }
        assert!(held.0.len() <= REMEMBERED_MAX + 1);
        held.wait(&[A]);
        held.release(&[A], 1, false, began + HELD_FOR);
        assert!(held.0.is_empty());
    }
}
