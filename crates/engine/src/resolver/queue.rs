//! The queue of lookups: who waits for which name, and which name is looked up next.
//!
//! Bookkeeping only: no threads, no clock. Whatever may begin has begun: each change that frees a
//! thread is followed by `next`. A tenant has a share of all threads, and names that are not known
//! to be found have a part of that, because a lookup of a name that nobody answers for occupies its
//! thread for as long as the system tries.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use model::id::TenantId;
use model::limits::{LOOKUPS_MAX, LOOKUPS_TENANT_MAX, NAMES_CACHED_TENANT_MAX};
use tokio::time::Instant;

use super::cache::{Cache, LookupPriority, LookupResult};
use crate::transport::LookupContext;

/// Look-ups in order, with whom to tell what came of each.
#[derive(Debug)]
pub(super) struct LookupQueue<T> {
    pub(super) cache: Cache,
    names: BTreeMap<Arc<str>, PendingName<T>>,
    tenants: BTreeMap<TenantId, TenantLookups>,
    /// Those who wait for a place, each once.
    turns: VecDeque<TenantId>,
    in_use: ThreadUsage,
    sequence: u64,
}

/// A look-up that is to be made now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lookup {
    pub(super) name: Arc<str>,
    /// Whose place it takes.
    pub(super) tenant: TenantId,
    priority: LookupPriority,
}

/// One who waits for a name.
#[derive(Debug, Clone)]
pub(super) struct Ticket {
    pub(super) name: Arc<str>,
    tenant: TenantId,
    number: u64,
}

/// For what somebody waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LookupWait {
    /// The system: the look-up runs.
    Answer,
    /// A thread: its tenant's other look-ups have those it may use.
    TenantThreads,
    /// A thread: the look-ups of all tenants have them.
    Threads,
}

/// A name that somebody waits for, or that is being looked up.
#[derive(Debug)]
struct PendingName<T> {
    running_since: Option<Instant>,
    waiting: BTreeMap<TenantId, Waiters<T>>,
}

#[derive(Debug)]
struct Waiters<T> {
    tell: Vec<(u64, T)>,
    /// Where the name waits for a place.
    queued: Option<(LookupPriority, u64)>,
}

#[derive(Debug, Default)]
struct TenantLookups {
    in_use: ThreadUsage,
    /// By rank, then in the order in which they came.
    queued: BTreeMap<(LookupPriority, u64), Arc<str>>,
    /// Of new names the latest is next, not the first.
    latest_first: bool,
    in_turns: bool,
}

/// Places that are taken.
#[derive(Debug, Default, Clone, Copy)]
struct ThreadUsage {
    all: usize,
    /// By names that are not known to be found.
    doubtful: usize,
}

impl LookupPriority {
    /// How many of so many places it may see taken, of all and by doubtful names, and still begin.
    /// One in eight is kept from names that failed, so that a new one does not wait for those.
    fn bounds(self, places: usize, for_doubtful: usize) -> ThreadUsage {
        let doubtful = match self {
            Self::Found => usize::MAX,
            Self::New => for_doubtful,
            Self::Failed => for_doubtful.saturating_sub(places / 8),
        };
        ThreadUsage {
            all: places,
            doubtful,
        }
    }
}

impl ThreadUsage {
    fn is_below(self, bounds: Self) -> bool {
        self.all < bounds.all && self.doubtful < bounds.doubtful
    }

    fn add(&mut self, priority: LookupPriority) {
        self.all += 1;
        self.doubtful += usize::from(priority != LookupPriority::Found);
    }

    fn remove(&mut self, priority: LookupPriority) {
        self.all = self.all.saturating_sub(1);
        let one = usize::from(priority != LookupPriority::Found);
        self.doubtful = self.doubtful.saturating_sub(one);
    }
}

impl TenantLookups {
    /// Half of its places are for names that were found.
    fn has_room(&self, priority: LookupPriority) -> bool {
        let bounds = priority.bounds(LOOKUPS_TENANT_MAX, LOOKUPS_TENANT_MAX / 2);
        self.in_use.is_below(bounds)
    }

    /// The best of its names that may begin, while so many places are taken by all: three in four
    /// of those are for doubtful names.
    fn first(&self, in_use: ThreadUsage) -> Option<(LookupPriority, &Arc<str>)> {
        let may_begin = |priority: &LookupPriority| {
            let bounds = priority.bounds(LOOKUPS_MAX, LOOKUPS_MAX / 4 * 3);
            self.has_room(*priority) && in_use.is_below(bounds)
        };
        // New names are taken from both ends in turn: one that comes behind a thousand for which
        // nobody answers is not kept by them.
        let first = |priority: LookupPriority| {
            let mut names = self.queued.range((priority, 0)..=(priority, u64::MAX));
            match priority == LookupPriority::New && self.latest_first {
                true => names.next_back(),
                false => names.next(),
            }
        };
        let found = LookupPriority::ALL
            .into_iter()
            .filter(may_begin)
            .find_map(first);
        found.map(|((priority, _), name)| (*priority, name))
    }
}

impl<T> Default for LookupQueue<T> {
    fn default() -> Self {
        Self {
            cache: Cache::default(),
            names: BTreeMap::new(),
            tenants: BTreeMap::new(),
            turns: VecDeque::new(),
            in_use: ThreadUsage::default(),
            sequence: 0,
        }
    }
}

impl<T> LookupQueue<T> {
    /// Somebody waits for a name, and is to be told through `tell`. If it can be looked up at once,
    /// that is to be done.
    pub(super) fn join(
        &mut self,
        context: LookupContext,
        name: &str,
        tell: T,
        now: Instant,
    ) -> (Ticket, Option<Lookup>) {
        let (tenant, priority) = (context.tenant, self.cache.priority(context, name));
        self.sequence += 1;
        let number = self.sequence;
        let name: Arc<str> = match self.names.get_key_value(name) {
            Some((name, _)) => Arc::clone(name),
            None => name.into(),
        };
        let entry = self
            .names
            .entry(Arc::clone(&name))
            .or_insert_with(PendingName::new);
        let is_running = entry.running_since.is_some();
        let waiters = entry.waiting.entry(tenant).or_insert_with(Waiters::new);
        waiters.tell.push((number, tell));
        let ticket = Ticket {
            name: Arc::clone(&name),
            tenant,
            number,
        };
        if is_running || waiters.queued.is_some_and(|(queued, _)| queued <= priority) {
            return (ticket, None);
        }
        let replaced = waiters.queued.replace((priority, number));
        let of_tenant = self.tenants.entry(tenant).or_default();
        if let Some(replaced) = replaced {
            of_tenant.queued.remove(&replaced);
        }
        of_tenant.queued.insert((priority, number), name);
        if !of_tenant.in_turns {
            of_tenant.in_turns = true;
            self.turns.push_back(tenant);
        }
        // Nobody else waits for anything but room, and there is no more of it than before.
        let lookup = self.begin_one_of(tenant, now);
        (ticket, lookup)
    }

    /// Who waited does not any more: what for, unless it has been told. The name has its turn all
    /// the same, within bounds: else one of very many would never be looked up, because each
    /// attempt ends before that.
    pub(super) fn leave(&mut self, ticket: &Ticket) -> Option<LookupWait> {
        let entry = self.names.get_mut(&ticket.name)?;
        let waiters = entry.waiting.get_mut(&ticket.tenant)?;
        let place = waiters.tell.iter();
        let mut place = place
            .enumerate()
            .filter(|(_, (number, _))| *number == ticket.number);
        let (place, _) = place.next()?;
        drop(waiters.tell.swap_remove(place));
        let is_last = waiters.tell.is_empty();
        let queued = waiters.queued;
        let wait = self.wait(ticket.tenant, queued);
        if is_last && self.queued_of(ticket.tenant) > NAMES_CACHED_TENANT_MAX {
            self.forget(ticket, queued);
        }
        Some(wait)
    }

    /// What came of a look-up: answers whom to tell.
    pub(super) fn finish(&mut self, lookup: &Lookup, found: &LookupResult, now: Instant) -> Vec<T> {
        self.in_use.remove(lookup.priority);
        if let Some(tenant) = self.tenants.get_mut(&lookup.tenant) {
            tenant.in_use.remove(lookup.priority);
        }
        self.drop_if_idle(lookup.tenant);
        self.cache.put(lookup.tenant, &lookup.name, found, now);
        let waiting = self.names.remove(&lookup.name).map(|name| name.waiting);
        let mut told = Vec::new();
        for (tenant, waiters) in waiting.unwrap_or_default() {
            if tenant != lookup.tenant {
                self.cache.put(tenant, &lookup.name, found, now);
            }
            told.extend(waiters.tell.into_iter().map(|(_, tell)| tell));
        }
        told
    }

    /// A look-up that may begin, if there is one: tenants take turns.
    pub(super) fn next(&mut self, now: Instant) -> Option<Lookup> {
        for _ in 0..self.turns.len() {
            let tenant = self.turns.pop_front()?;
            self.turns.push_back(tenant);
            if let Some(lookup) = self.begin_one_of(tenant, now) {
                return Some(lookup);
            }
        }
        None
    }

    /// Look-ups that run, and names that wait for a place.
    pub(super) fn counts(&self) -> (usize, usize) {
        let is_waiting = |name: &&PendingName<T>| name.running_since.is_none();
        let waiting = self.names.values().filter(is_waiting).count();
        (self.in_use.all, waiting)
    }

    /// Since when the look-ups run.
    pub(super) fn running_since(&self) -> impl Iterator<Item = Instant> {
        self.names.values().filter_map(|name| name.running_since)
    }

    fn begin_one_of(&mut self, tenant: TenantId, now: Instant) -> Option<Lookup> {
        let of_tenant = self.tenants.get_mut(&tenant)?;
        let lookup = of_tenant
            .first(self.in_use)
            .map(|(priority, name)| Lookup {
                name: Arc::clone(name),
                tenant,
                priority,
            })?;
        of_tenant.in_use.add(lookup.priority);
        of_tenant.latest_first ^= lookup.priority == LookupPriority::New;
        self.in_use.add(lookup.priority);
        let entry = self.names.get_mut(&lookup.name)?;
        entry.running_since = Some(now);
        let waiting = entry.waiting.iter_mut();
        let queued =
            waiting.filter_map(|(tenant, waiters)| Some((*tenant, waiters.queued.take()?)));
        for (tenant, place) in queued.collect::<Vec<_>>() {
            self.unqueue(tenant, place);
        }
        Some(lookup)
    }

    fn wait(&self, tenant: TenantId, queued: Option<(LookupPriority, u64)>) -> LookupWait {
        let Some((priority, _)) = queued else {
            return LookupWait::Answer;
        };
        let of_tenant = self.tenants.get(&tenant);
        match of_tenant.is_some_and(|of_tenant| of_tenant.has_room(priority)) {
            true => LookupWait::Threads,
            false => LookupWait::TenantThreads,
        }
    }

    fn queued_of(&self, tenant: TenantId) -> usize {
        let of_tenant = self.tenants.get(&tenant);
        of_tenant.map_or(0, |of_tenant| of_tenant.queued.len())
    }

    /// Of this tenant nobody waits for the name any more.
    fn forget(&mut self, ticket: &Ticket, queued: Option<(LookupPriority, u64)>) {
        if let Some(place) = queued {
            self.unqueue(ticket.tenant, place);
        }
        if let Some(entry) = self.names.get_mut(&ticket.name) {
            entry.waiting.remove(&ticket.tenant);
            if entry.waiting.is_empty() && entry.running_since.is_none() {
                self.names.remove(&ticket.name);
            }
        }
    }

    fn unqueue(&mut self, tenant: TenantId, place: (LookupPriority, u64)) {
        let Some(of_tenant) = self.tenants.get_mut(&tenant) else {
            return;
        };
        of_tenant.queued.remove(&place);
        if of_tenant.queued.is_empty() && of_tenant.in_turns {
            of_tenant.in_turns = false;
            self.turns.retain(|waiting| *waiting != tenant);
        }
        self.drop_if_idle(tenant);
    }

    fn drop_if_idle(&mut self, tenant: TenantId) {
        let is_idle = |of: &TenantLookups| of.in_use.all == 0 && of.queued.is_empty();
        if self.tenants.get(&tenant).is_some_and(is_idle) {
            self.tenants.remove(&tenant);
        }
    }
}

impl<T> PendingName<T> {
    fn new() -> Self {
        Self {
            running_since: None,
            waiting: BTreeMap::new(),
        }
    }
}

impl<T> Waiters<T> {
    fn new() -> Self {
        Self {
            tell: Vec::new(),
            queued: None,
        }
    }
}

#[cfg(test)]
mod tests;
