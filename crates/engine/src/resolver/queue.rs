//! Queue: who waits for which name, and which of them is looked up next.
//!
//! Bookkeeping only: no threads, no clock. Whoever may begin has begun: each change that makes
//! room for one look-up is followed by `next`. A tenant has a share of all places, and names that
//! are not known to be found have a part of that, because a look-up of a name that nobody answers
//! for takes its place for as long as the system tries.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use model::id::TenantId;
use model::limits::{LOOKUPS_MAX, LOOKUPS_TENANT_MAX, NAMES_CACHED_TENANT_MAX};
use tokio::time::Instant;

use super::cache::{Cache, Found, Rank};
use crate::dial::Asker;

/// Look-ups in order, with whom to tell what came of each.
#[derive(Debug)]
pub(super) struct Queue<T> {
    pub(super) cache: Cache,
    names: BTreeMap<Arc<str>, Name<T>>,
    tenants: BTreeMap<TenantId, Tenant>,
    /// Those who wait for a place, each once.
    turns: VecDeque<TenantId>,
    taken: Taken,
    sequence: u64,
}

/// A look-up that is to be made now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Job {
    pub(super) name: Arc<str>,
    /// Whose place it takes.
    pub(super) tenant: TenantId,
    rank: Rank,
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
pub(super) enum Wait {
    /// The system: the look-up runs.
    Answer,
    /// Its tenant's other look-ups.
    Share,
    /// Those of all.
    Place,
}

/// A name that somebody waits for, or that is being looked up.
#[derive(Debug)]
struct Name<T> {
    running_since: Option<Instant>,
    waiting: BTreeMap<TenantId, Waiters<T>>,
}

#[derive(Debug)]
struct Waiters<T> {
    tell: Vec<(u64, T)>,
    /// Where the name waits for a place.
    queued: Option<(Rank, u64)>,
}

#[derive(Debug, Default)]
struct Tenant {
    taken: Taken,
    /// By rank, then in the order in which they came.
    queued: BTreeMap<(Rank, u64), Arc<str>>,
    /// Of new names the latest is next, not the first.
    latest_first: bool,
    in_turns: bool,
}

/// Places that are taken.
#[derive(Debug, Default, Clone, Copy)]
struct Taken {
    all: usize,
    /// By names that are not known to be found.
    doubtful: usize,
}

impl Rank {
    /// How many of so many places it may see taken, of all and by doubtful names, and still begin.
    /// One in eight is kept from names that failed, so that a new one does not wait for those.
    fn bounds(self, places: usize, for_doubtful: usize) -> Taken {
        let doubtful = match self {
            Self::Found => usize::MAX,
            Self::New => for_doubtful,
            Self::Failed => for_doubtful.saturating_sub(places / 8),
        };
        Taken {
            all: places,
            doubtful,
        }
    }
}

impl Taken {
    fn is_below(self, bounds: Self) -> bool {
        self.all < bounds.all && self.doubtful < bounds.doubtful
    }

    fn add(&mut self, rank: Rank) {
        self.all += 1;
        self.doubtful += usize::from(rank != Rank::Found);
    }

    fn remove(&mut self, rank: Rank) {
        self.all = self.all.saturating_sub(1);
        let one = usize::from(rank != Rank::Found);
        self.doubtful = self.doubtful.saturating_sub(one);
    }
}

impl Tenant {
    /// Half of its places are for names that were found.
    fn has_room(&self, rank: Rank) -> bool {
        let bounds = rank.bounds(LOOKUPS_TENANT_MAX, LOOKUPS_TENANT_MAX / 2);
        self.taken.is_below(bounds)
    }

    /// The best of its names that may begin, while so many places are taken by all: three in four
    /// of those are for doubtful names.
    fn first(&self, taken: Taken) -> Option<(Rank, &Arc<str>)> {
        let may_begin = |rank: &Rank| {
            let bounds = rank.bounds(LOOKUPS_MAX, LOOKUPS_MAX / 4 * 3);
            self.has_room(*rank) && taken.is_below(bounds)
        };
        // New names are taken from both ends in turn: one that comes behind a thousand for which
        // nobody answers is not kept by them.
        let first = |rank: Rank| {
            let mut names = self.queued.range((rank, 0)..=(rank, u64::MAX));
            match rank == Rank::New && self.latest_first {
                true => names.next_back(),
                false => names.next(),
            }
        };
        let found = Rank::ALL.into_iter().filter(may_begin).find_map(first);
        found.map(|((rank, _), name)| (*rank, name))
    }
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self {
            cache: Cache::default(),
            names: BTreeMap::new(),
            tenants: BTreeMap::new(),
            turns: VecDeque::new(),
            taken: Taken::default(),
            sequence: 0,
        }
    }
}

impl<T> Queue<T> {
    /// Somebody waits for a name, and is to be told through `tell`. If it can be looked up at once,
    /// that is to be done.
    pub(super) fn join(
        &mut self,
        asker: Asker,
        name: &str,
        tell: T,
        now: Instant,
    ) -> (Ticket, Option<Job>) {
        let (tenant, rank) = (asker.tenant, self.cache.rank(asker, name));
        self.sequence += 1;
        let number = self.sequence;
        let name: Arc<str> = match self.names.get_key_value(name) {
            Some((name, _)) => Arc::clone(name),
            None => name.into(),
        };
        let entry = self
            .names
            .entry(Arc::clone(&name))
            .or_insert_with(Name::new);
        let is_running = entry.running_since.is_some();
        let waiters = entry.waiting.entry(tenant).or_insert_with(Waiters::new);
        waiters.tell.push((number, tell));
        let ticket = Ticket {
            name: Arc::clone(&name),
            tenant,
            number,
        };
        if is_running || waiters.queued.is_some_and(|(queued, _)| queued <= rank) {
            return (ticket, None);
        }
        let replaced = waiters.queued.replace((rank, number));
        let of_tenant = self.tenants.entry(tenant).or_default();
        if let Some(replaced) = replaced {
            of_tenant.queued.remove(&replaced);
        }
        of_tenant.queued.insert((rank, number), name);
        if !of_tenant.in_turns {
            of_tenant.in_turns = true;
            self.turns.push_back(tenant);
        }
        // Nobody else waits for anything but room, and there is no more of it than before.
        let job = self.begin_one_of(tenant, now);
        (ticket, job)
    }

    /// Who waited does not any more: what for, unless it has been told. The name has its turn all
    /// the same, within bounds: else one of very many would never be looked up, because each
    /// attempt ends before that.
    pub(super) fn leave(&mut self, ticket: &Ticket) -> Option<Wait> {
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
    pub(super) fn finish(&mut self, job: &Job, found: &Found, now: Instant) -> Vec<T> {
        self.taken.remove(job.rank);
        if let Some(tenant) = self.tenants.get_mut(&job.tenant) {
            tenant.taken.remove(job.rank);
        }
        self.drop_if_idle(job.tenant);
        self.cache.put(job.tenant, &job.name, found, now);
        let waiting = self.names.remove(&job.name).map(|name| name.waiting);
        let mut told = Vec::new();
        for (tenant, waiters) in waiting.unwrap_or_default() {
            if tenant != job.tenant {
                self.cache.put(tenant, &job.name, found, now);
            }
            told.extend(waiters.tell.into_iter().map(|(_, tell)| tell));
        }
        told
    }

    /// A look-up that may begin, if there is one: tenants take turns.
    pub(super) fn next(&mut self, now: Instant) -> Option<Job> {
        for _ in 0..self.turns.len() {
            let tenant = self.turns.pop_front()?;
            self.turns.push_back(tenant);
            if let Some(job) = self.begin_one_of(tenant, now) {
                return Some(job);
            }
        }
        None
    }

    /// Look-ups that run, and names that wait for a place.
    pub(super) fn counts(&self) -> (usize, usize) {
        let is_waiting = |name: &&Name<T>| name.running_since.is_none();
        let waiting = self.names.values().filter(is_waiting).count();
        (self.taken.all, waiting)
    }

    /// Since when the look-ups run.
    pub(super) fn running_since(&self) -> impl Iterator<Item = Instant> {
        self.names.values().filter_map(|name| name.running_since)
    }

    fn begin_one_of(&mut self, tenant: TenantId, now: Instant) -> Option<Job> {
        let of_tenant = self.tenants.get_mut(&tenant)?;
        let job = of_tenant.first(self.taken).map(|(rank, name)| Job {
            name: Arc::clone(name),
            tenant,
            rank,
        })?;
        of_tenant.taken.add(job.rank);
        of_tenant.latest_first ^= job.rank == Rank::New;
        self.taken.add(job.rank);
        let entry = self.names.get_mut(&job.name)?;
        entry.running_since = Some(now);
        let waiting = entry.waiting.iter_mut();
        let queued =
            waiting.filter_map(|(tenant, waiters)| Some((*tenant, waiters.queued.take()?)));
        for (tenant, place) in queued.collect::<Vec<_>>() {
            self.unqueue(tenant, place);
        }
        Some(job)
    }

    fn wait(&self, tenant: TenantId, queued: Option<(Rank, u64)>) -> Wait {
        let Some((rank, _)) = queued else {
            return Wait::Answer;
        };
        let of_tenant = self.tenants.get(&tenant);
        match of_tenant.is_some_and(|of_tenant| of_tenant.has_room(rank)) {
            true => Wait::Place,
            false => Wait::Share,
        }
    }

    fn queued_of(&self, tenant: TenantId) -> usize {
        let of_tenant = self.tenants.get(&tenant);
        of_tenant.map_or(0, |of_tenant| of_tenant.queued.len())
    }

    /// Of this tenant nobody waits for the name any more.
    fn forget(&mut self, ticket: &Ticket, queued: Option<(Rank, u64)>) {
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

    fn unqueue(&mut self, tenant: TenantId, place: (Rank, u64)) {
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
        let is_idle = |of: &Tenant| of.taken.all == 0 && of.queued.is_empty();
        if self.tenants.get(&tenant).is_some_and(is_idle) {
            self.tenants.remove(&tenant);
        }
    }
}

impl<T> Name<T> {
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
