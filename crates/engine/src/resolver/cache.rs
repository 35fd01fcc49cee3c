//! The cache of names: the results of each tenant's lookups.
//!
//! Bookkeeping only. An answer is used for some seconds. Whether a name was found is remembered
//! longer, because it decides who gets a thread. Each tenant has a cache of its own, which depends
//! on nobody else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use model::id::TenantId;
use model::limits;
use tokio::time::Instant;

use super::{Addresses, NameError};
use crate::transport::LookupContext;

/// What comes of a look-up.
pub(super) type LookupResult = Result<Addresses, NameError>;

/// Addresses change, and a receiver that moves should not miss many calls.
const FOUND_KEPT: Duration = Duration::from_secs(10);

/// Somebody may just be adding the name.
const MISSING_KEPT: Duration = Duration::from_secs(5);

/// Each such look-up holds a thread for long.
const NO_ANSWER_KEPT: Duration = Duration::from_secs(30);

/// What speaks for a look-up, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum LookupPriority {
    /// The name was found last time.
    Found,
    /// Nothing is known of it.
    New,
    /// It was not found last time.
    Failed,
}

#[derive(Debug)]
pub(super) struct Cache {
    tenants: BTreeMap<TenantId, TenantCache>,
    /// How many each tenant has; the last has the most.
    sizes: BTreeSet<(usize, TenantId)>,
    count: usize,
    sequence: u64,
    count_max: usize,
    tenant_max: usize,
}

#[derive(Debug, Default)]
struct TenantCache {
    names: BTreeMap<Arc<str>, CacheEntry>,
    /// By when they were put; the oldest in front.
    order: BTreeMap<u64, Arc<str>>,
}

#[derive(Debug)]
struct CacheEntry {
    found: LookupResult,
    found_at: Instant,
    kept_until: Instant,
    sequence: u64,
}

impl LookupPriority {
    pub(super) const ALL: [Self; 3] = [Self::Found, Self::New, Self::Failed];
}

impl Default for Cache {
    fn default() -> Self {
        Self::new(limits::NAMES_CACHED_MAX, limits::NAMES_CACHED_TENANT_MAX)
    }
}

impl Cache {
    fn new(count_max: usize, tenant_max: usize) -> Self {
        Self {
            tenants: BTreeMap::new(),
            sizes: BTreeSet::new(),
            count: 0,
            sequence: 0,
            count_max,
            tenant_max,
        }
    }

    /// What is known well enough to be used.
    pub(super) fn get(
        &self,
        context: LookupContext,
        name: &str,
        now: Instant,
    ) -> Option<&LookupResult> {
        let entry = self.entry(context.tenant, name)?;
        (now < entry.kept_until && !entry.is_before(context.since)).then_some(&entry.found)
    }

    /// A name that failed before somebody asked for it anew is as good as a new one.
    pub(super) fn priority(&self, context: LookupContext, name: &str) -> LookupPriority {
        match self.entry(context.tenant, name) {
            None if context.succeeded => LookupPriority::Found,
            None => LookupPriority::New,
            Some(entry) if entry.found.is_ok() => LookupPriority::Found,
            Some(entry) if entry.is_before(context.since) => LookupPriority::New,
            Some(_) => LookupPriority::Failed,
        }
    }

    fn entry(&self, tenant: TenantId, name: &str) -> Option<&CacheEntry> {
        self.tenants.get(&tenant)?.names.get(name)
    }

    pub(super) fn put(
        &mut self,
        tenant: TenantId,
        name: &Arc<str>,
        found: &LookupResult,
        now: Instant,
    ) {
        let kept = match found {
            Ok(_) => FOUND_KEPT,
            Err(NameError::NoSuchName | NameError::NoAddress | NameError::Refused(_)) => {
                MISSING_KEPT
            }
            Err(NameError::NoAnswer) => NO_ANSWER_KEPT,
            // That says nothing of the name.
            Err(NameError::Ours(_)) => return,
        };
        self.remove(tenant, name);
        let sequence = self.sequence;
        self.sequence += 1;
        let entry = CacheEntry {
            found: found.clone(),
            found_at: now,
            kept_until: now + kept,
            sequence,
        };
        self.change(tenant, |entries| {
            entries.names.insert(Arc::clone(name), entry);
            entries.order.insert(sequence, Arc::clone(name));
        });
        self.make_room(tenant);
    }

    /// Within the bound of a tenant its own oldest go; within that of all, those of whoever has
    /// the most.
    fn make_room(&mut self, tenant: TenantId) {
        let own = self.tenants.get(&tenant).map_or(0, TenantCache::len);
        if own > self.tenant_max {
            self.change(tenant, TenantCache::pop_oldest);
        }
        if self.count > self.count_max
            && let Some((_, largest)) = self.sizes.last().copied()
        {
            self.change(largest, TenantCache::pop_oldest);
        }
    }

    fn remove(&mut self, tenant: TenantId, name: &str) {
        self.change(tenant, |entries| {
            if let Some(entry) = entries.names.remove(name) {
                entries.order.remove(&entry.sequence);
            }
        });
    }

    fn change(&mut self, tenant: TenantId, change: impl FnOnce(&mut TenantCache)) {
        let entries = self.tenants.entry(tenant).or_default();
        let before = entries.len();
        change(entries);
        let after = entries.len();
        if after == 0 {
            self.tenants.remove(&tenant);
        }
        self.count = self.count + after - before;
        self.sizes.remove(&(before, tenant));
        if after > 0 {
            self.sizes.insert((after, tenant));
        }
    }
}

impl CacheEntry {
    fn is_before(&self, since: Option<Instant>) -> bool {
        since.is_some_and(|since| self.found_at < since)
    }
}

impl TenantCache {
    fn len(&self) -> usize {
        self.names.len()
    }

    fn pop_oldest(&mut self) {
        if let Some((_, name)) = self.order.pop_first() {
            self.names.remove(&name);
        }
    }
}

#[cfg(test)]
mod tests;
