//! Shares: what each tenant, and each receiver's host, has of the flights and of the memory, and
//! who is next by that.
//!
//! A share is a part of what is free, so a newcomer always finds some, and nothing is kept from
//! whoever is alone but a reserve. Pure bookkeeping; each call costs the logarithm of what there
//! is. `docs/decisions/0028-shares-of-what-is-free.md` has the rules and their reasons.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::id::{TenantId, WebhookId};
use model::limits;
use tokio::time::Instant;

use crate::concurrency::FAST_MS;
use crate::dial::Place;
use crate::sorted::Sorted;
use crate::turns::{Entry, Turns};

/// A tenant may have so many times what is free: of all flights; of those for receivers that may
/// hold them for long, if this one is not known yet, or is known to; and of the memory.
const OF_FLIGHTS: usize = 7;
const OF_UNKNOWN: usize = 4;
const OF_SLOW: usize = 2;
const OF_MEMORY: usize = 15;

/// For what somebody asks for a tenant may have this part of what is free, beside all that; and at
/// one host all tenants together that part of what is free there.
const ASKED_PART: usize = 16;
const ASKED_HOST_PART: usize = 8;

/// Lanes of a tenant that wait for a turn with what somebody asked for. What is asked of others
/// then goes in its turn.
const ASKED_LANES_MAX: usize = 64;

/// While they are young, first attempts count for so many: not all that a tenant may have begin in
/// the same moment, to be in the air together for half a minute, in which nothing new is tried.
const YOUNG_FOR: usize = 7;

/// Bodies up to this size count by their number in the memory's shares, longer ones by their size.
const USUAL_BODY_BYTES: usize = limits::BUFFERED_BYTES_MAX / limits::BUFFERED_MAX;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct HostId(u64);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FlightId(u64);

/// What the latest attempt says of the receiver.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trust {
    #[default]
    Unknown,
    /// It ended soon, and none has been in the air for long since.
    Quick,
    /// It took long, or takes long at this moment: such a receiver holds what it gets.
    Slow,
}

/// Something for each kind of trust.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct OfEach<T> {
    quick: T,
    unknown: T,
    slow: T,
}

/// What all lanes have in memory and in the air together.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Load {
    /// Deliveries waiting or in the air.
    pub(crate) held: usize,
    pub(crate) held_bytes: usize,
    pub(crate) flying: usize,
    /// Of these, those that began at receivers that are not known to be quick, and those that have
    /// been in the air for long.
    pub(crate) doubtful: usize,
}

/// An attempt that is in the air.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flight {
    pub(crate) webhook: WebhookId,
    pub(crate) host: Option<HostId>,
    tenant: Option<TenantId>,
    began: Instant,
    doubtful: bool,
    /// Somebody asked for it.
    asked: bool,
    /// Its receiver was not known, and it has not been in the air for long.
    young: bool,
    /// It has been in the air for long.
    pub(crate) slow: bool,
}

pub(crate) struct Shares {
    pub(crate) load: Load,
    bounds: Bounds,
    tenants: BTreeMap<Option<TenantId>, Tenant>,
    hosts: BTreeMap<HostId, Host>,
    places: BTreeMap<Arc<Place>, HostId>,
    hosts_seen: u64,
    /// Those that began lately, the oldest first, and those that have been in the air for long.
    young: Sorted<FlightId, Flight>,
    slow: BTreeMap<FlightId, Flight>,
    flights_seen: u64,
    /// Lanes that may be ready to send.
    turns: OfEach<Turns>,
    /// Those with something that somebody asked for.
    asked: Turns,
    /// Which kind is looked at first.
    first: Trust,
    /// Lanes whose time to be read has come.
    pub(crate) hungry: Turns,
    at_hosts: usize,
}

/// What follows from the setting.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    flights: usize,
    /// Of these, doubtful ones before no more begin.
    doubtful: usize,
    /// At one host; of these doubtful ones; and of these before no more of the slow ones begin.
    host: usize,
    host_doubtful: usize,
    host_slow: usize,
    /// Doubtful ones of tenants that have no other: so many flights are left free by them.
    spare: usize,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Tenant {
    held: usize,
    held_bytes: usize,
    flying: usize,
    doubtful: usize,
    young: usize,
    asked: usize,
}

struct Host {
    place: Arc<Place>,
    /// Lanes that lead there.
    lanes: usize,
    flying: usize,
    doubtful: usize,
    young: usize,
    asked: usize,
    /// Lanes that were called from `waiting` and had no turn yet.
    called: OfEach<usize>,
    /// Lanes that wait for room there. While there are some, all room is taken, or kept for those
    /// that were called.
    waiting: Option<Box<OfEach<Turns>>>,
}

impl Trust {
    const ALL: [Self; 3] = [Self::Quick, Self::Unknown, Self::Slow];

    fn next(self) -> Self {
        match self {
            Self::Quick => Self::Unknown,
            Self::Unknown => Self::Slow,
            Self::Slow => Self::Quick,
        }
    }

    fn is_doubtful(self) -> bool {
        match self {
            Self::Quick => false,
            Self::Unknown | Self::Slow => true,
        }
    }
}

impl<T> OfEach<T> {
    pub(crate) fn of(&self, trust: Trust) -> &T {
        match trust {
            Trust::Quick => &self.quick,
            Trust::Unknown => &self.unknown,
            Trust::Slow => &self.slow,
        }
    }

    pub(crate) fn of_mut(&mut self, trust: Trust) -> &mut T {
        match trust {
            Trust::Quick => &mut self.quick,
            Trust::Unknown => &mut self.unknown,
            Trust::Slow => &mut self.slow,
        }
    }
}

impl OfEach<Turns> {
    fn len(&self) -> usize {
        self.quick.len() + self.unknown.len() + self.slow.len()
    }
}

impl Load {
    pub(crate) fn is_full(self) -> bool {
        self.held >= limits::BUFFERED_MAX || self.held_bytes >= limits::BUFFERED_BYTES_MAX
    }

    pub(crate) fn is_crowded(self) -> bool {
        self.held >= limits::BUFFERED_MAX / 2 || self.held_bytes >= limits::BUFFERED_BYTES_MAX / 2
    }
}

impl Bounds {
    fn of(flights_max: usize) -> Self {
        let flights = flights_max.max(1);
        let doubtful = flights.div_ceil(2);
        let host_doubtful = doubtful.div_ceil(2);
        Self {
            flights,
            doubtful,
            host: flights - flights / 4,
            host_doubtful,
            host_slow: host_doubtful - host_doubtful / 4,
            spare: flights / 16,
        }
    }
}

impl Tenant {
    /// What it has of the memory.
    fn memory(&self) -> usize {
        self.held.max(self.held_bytes / USUAL_BODY_BYTES)
    }

    /// What it has in the air, as it counts among lanes of this kind.
    fn weight(&self, trust: Trust) -> usize {
        match trust {
            Trust::Quick => self.flying,
            Trust::Unknown => self.doubtful + self.young * (YOUNG_FOR - 1),
            Trust::Slow => self.doubtful,
        }
    }
}

impl Host {
    /// Whether one more may be in the air there.
    fn has_room(&self, bounds: Bounds, trust: Trust) -> bool {
        let OfEach {
            quick,
            unknown,
            slow,
        } = self.called;
        let doubtful = self.doubtful + unknown + slow;
        let has_room = match trust {
            Trust::Quick => true,
            // As few at once as there are left for later.
            Trust::Unknown => {
                (self.young + unknown) * 2 < bounds.host_doubtful.saturating_sub(doubtful)
            }
            Trust::Slow => doubtful < bounds.host_slow,
        };
        has_room && self.flying + quick + unknown + slow < bounds.host
    }

    /// Whether one more of what somebody asked for may be in the air there.
    fn has_room_for_asked(&self, bounds: Bounds) -> bool {
        self.asked * ASKED_HOST_PART < bounds.host.saturating_sub(self.flying)
    }

    fn is_idle(&self) -> bool {
        let OfEach {
            quick,
            unknown,
            slow,
        } = self.called;
        self.lanes + self.flying + quick + unknown + slow == 0 && self.waiting.is_none()
    }
}

impl Shares {
    pub(crate) fn new(flights_max: usize) -> Self {
        let mut turns = OfEach::<Turns>::default();
        turns.unknown.take_from_both_ends();
        Self {
            load: Load::default(),
            bounds: Bounds::of(flights_max),
            tenants: BTreeMap::new(),
            hosts: BTreeMap::new(),
            places: BTreeMap::new(),
            hosts_seen: 0,
            young: Sorted::default(),
            slow: BTreeMap::new(),
            flights_seen: 0,
            turns,
            asked: Turns::default(),
            first: Trust::Quick,
            hungry: Turns::default(),
            at_hosts: 0,
        }
    }

    // Memory.

    pub(crate) fn hold(&mut self, tenant: Option<TenantId>, count: usize, body_bytes: usize) {
        self.load.held += count;
        self.load.held_bytes += body_bytes;
        let own = self.tenants.entry(tenant).or_default();
        own.held += count;
        own.held_bytes += body_bytes;
        let weight = own.memory();
        self.hungry.weigh(tenant, weight);
    }

    pub(crate) fn let_go(&mut self, tenant: Option<TenantId>, count: usize, body_bytes: usize) {
        self.load.held = self.load.held.saturating_sub(count);
        self.load.held_bytes = self.load.held_bytes.saturating_sub(body_bytes);
        let Some(own) = self.tenants.get_mut(&tenant) else {
            return;
        };
        own.held = own.held.saturating_sub(count);
        own.held_bytes = own.held_bytes.saturating_sub(body_bytes);
        let weight = own.memory();
        self.forget_idle(tenant);
        self.hungry.weigh(tenant, weight);
    }

    /// How many more deliveries the tenant may have in memory.
    pub(crate) fn memory_left(&self, tenant: Option<TenantId>) -> usize {
        let own = self.tenants.get(&tenant).map_or(0, Tenant::memory);
        self.memory_share().saturating_sub(own)
    }

    /// What a tenant may have in memory at most, as things are.
    pub(crate) fn memory_share(&self) -> usize {
        let count = limits::BUFFERED_MAX.saturating_sub(self.load.held);
        let bytes = limits::BUFFERED_BYTES_MAX.saturating_sub(self.load.held_bytes);
        OF_MEMORY * count.min(bytes / USUAL_BODY_BYTES)
    }

    /// The lane's time to be read has come.
    pub(crate) fn is_hungry(&mut self, tenant: Option<TenantId>, webhook: WebhookId) {
        let weight = self.tenants.get(&tenant).map_or(0, Tenant::memory);
        self.hungry.push(tenant, weight, Entry::of(webhook));
    }

    // Hosts.

    /// A lane leads there.
    pub(crate) fn enter(&mut self, place: &Arc<Place>) -> HostId {
        let id = match self.places.get(place) {
            Some(id) => *id,
            None => {
                self.hosts_seen += 1;
                let id = HostId(self.hosts_seen);
                self.places.insert(Arc::clone(place), id);
                self.hosts.insert(id, Host::at(Arc::clone(place)));
                id
            }
        };
        if let Some(host) = self.hosts.get_mut(&id) {
            host.lanes += 1;
        }
        id
    }

    /// A lane does not lead there any more.
    pub(crate) fn leave(&mut self, id: HostId) {
        if let Some(host) = self.hosts.get_mut(&id) {
            host.lanes = host.lanes.saturating_sub(1);
            self.forget_host(id);
        }
    }

    fn forget_host(&mut self, id: HostId) {
        if self.hosts.get(&id).is_some_and(Host::is_idle)
            && let Some(host) = self.hosts.remove(&id)
        {
            self.places.remove(&host.place);
        }
    }

    // Turns.

    /// Lanes that wait for a turn.
    pub(crate) fn queued(&self) -> usize {
        self.turns.len() + self.asked.len() + self.at_hosts
    }

    /// Those of them that wait though there are flights: the rest is not for them.
    pub(crate) fn queued_by_share(&self) -> usize {
        match self.free() {
            0 => self.at_hosts,
            _ => self.queued(),
        }
    }

    /// Attempts that have been in the air for long.
    pub(crate) fn slow(&self) -> usize {
        self.slow.len()
    }

    fn free(&self) -> usize {
        self.bounds.flights.saturating_sub(self.load.flying)
    }

    /// Whether the flights that are left for its kind are kept for lanes that have little in the
    /// air.
    pub(crate) fn is_crowded(&self, trust: Trust) -> bool {
        let Load {
            flying, doubtful, ..
        } = self.load;
        match trust {
            Trust::Unknown | Trust::Slow => doubtful * 2 >= self.bounds.doubtful,
            Trust::Quick => {
                let left = self.bounds.flights.saturating_sub(doubtful);
                flying.saturating_sub(doubtful) * 2 >= left
            }
        }
    }

    /// What the tenant has, as it counts among lanes of this kind.
    fn weight(&self, tenant: Option<TenantId>, trust: Trust) -> usize {
        let own = self.tenants.get(&tenant);
        own.map_or(0, |own| own.weight(trust))
    }

    pub(crate) fn queue(&mut self, trust: Trust, tenant: Option<TenantId>, entry: Entry) {
        let weight = self.weight(tenant, trust);
        self.turns.of_mut(trust).push(tenant, weight, entry);
    }

    pub(crate) fn queue_first(&mut self, trust: Trust, tenant: Option<TenantId>, entry: Entry) {
        let weight = self.weight(tenant, trust);
        self.turns.of_mut(trust).push_first(tenant, weight, entry);
    }

    /// Has the lane wait with what somebody asked for. Answers whether it does: of a tenant only
    /// some may.
    pub(crate) fn queue_asked(&mut self, tenant: Option<TenantId>, webhook: WebhookId) -> bool {
        let may_wait = self.asked.count_of(tenant) < ASKED_LANES_MAX;
        if may_wait {
            let weight = self.asked_by(tenant);
            self.asked.push(tenant, weight, Entry::of(webhook));
        }
        may_wait
    }

    /// What the tenant has in the air because somebody asked for it.
    fn asked_by(&self, tenant: Option<TenantId>) -> usize {
        self.tenants.get(&tenant).map_or(0, |own| own.asked)
    }

    /// The next lane whose tenant may have one more in the air, and as which kind it waited; none
    /// if it is for something that somebody asked for.
    pub(crate) fn next(&mut self) -> Option<(Option<Trust>, Entry)> {
        // Somebody looks at the page. Whatever is in the air besides, some is free for it.
        let least = self.asked.least();
        if least.is_some_and(|weight| weight * ASKED_PART < self.free())
            && let Some(entry) = self.asked.pop()
        {
            return Some((None, entry));
        }
        for _ in Trust::ALL {
            let trust = self.first;
            self.first = trust.next();
            let least = self.turns.of(trust).least();
            if least.is_some_and(|weight| self.may_begin(trust, weight)) {
                let entry = self.turns.of_mut(trust).pop()?;
                if let Some(host) = entry.called_by.and_then(|id| self.hosts.get_mut(&id)) {
                    let called = host.called.of_mut(trust);
                    *called = called.saturating_sub(1);
                }
                return Some((Some(trust), entry));
            }
        }
        None
    }

    /// Whether a tenant that has so much may have one more.
    fn may_begin(&self, trust: Trust, weight: usize) -> bool {
        let free = self.free();
        let doubtful = self.bounds.doubtful.saturating_sub(self.load.doubtful);
        match trust {
            Trust::Quick => weight < OF_FLIGHTS * free,
            Trust::Unknown | Trust::Slow if weight == 0 && free > self.bounds.spare => true,
            Trust::Unknown => weight < OF_UNKNOWN * doubtful.min(free),
            Trust::Slow => weight < OF_SLOW * doubtful.min(free),
        }
    }

    /// Whether one more of this tenant may be in the air at this host.
    pub(crate) fn may_go(
        &self,
        host: Option<HostId>,
        tenant: Option<TenantId>,
        trust: Trust,
    ) -> bool {
        let host = host.and_then(|id| self.hosts.get(&id));
        // Of somebody else's receiver there, nothing is known by those of another tenant.
        let is_first = trust == Trust::Unknown
            && self.weight(tenant, trust) == 0
            && self.free() > self.bounds.spare;
        is_first || host.is_none_or(|host| host.has_room(self.bounds, trust))
    }

    /// The same for what somebody asked for.
    pub(crate) fn may_go_asked(&self, host: Option<HostId>, tenant: Option<TenantId>) -> bool {
        let host = host.and_then(|id| self.hosts.get(&id));
        self.asked_by(tenant) == 0 || host.is_none_or(|host| host.has_room_for_asked(self.bounds))
    }

    /// The lane waits until there is room at the host.
    pub(crate) fn wait(
        &mut self,
        host: Option<HostId>,
        tenant: Option<TenantId>,
        trust: Trust,
        webhook: WebhookId,
    ) {
        if let Some(host) = host.and_then(|id| self.hosts.get_mut(&id)) {
            self.at_hosts += 1;
            let waiting = host.waiting.get_or_insert_default();
            waiting.unknown.take_from_both_ends();
            waiting.of_mut(trust).push(tenant, 0, Entry::of(webhook));
        }
    }

    /// A lane that nothing is known of, and that waits for a turn, got something.
    pub(crate) fn renew(
        &mut self,
        host: Option<HostId>,
        tenant: Option<TenantId>,
        webhook: WebhookId,
    ) {
        let host = host.and_then(|id| self.hosts.get_mut(&id));
        let waiting = host.and_then(|host| host.waiting.as_mut());
        if !waiting.is_some_and(|waiting| waiting.unknown.renew(tenant, webhook)) {
            self.turns.unknown.renew(tenant, webhook);
        }
    }

    /// Calls as many of those that wait at the host as there is room for; `tenant_of` a lane.
    pub(crate) fn call(&mut self, id: HostId, tenant_of: impl Fn(WebhookId) -> Option<TenantId>) {
        let Some(host) = self.hosts.get_mut(&id) else {
            return;
        };
        let Some(mut waiting) = host.waiting.take() else {
            return self.forget_host(id);
        };
        let (before, mut called) = (waiting.len(), Vec::new());
        for trust in Trust::ALL.into_iter().cycle() {
            let is_done = |trust: &Trust| {
                waiting.of(*trust).is_empty() || !host.has_room(self.bounds, *trust)
            };
            if Trust::ALL.iter().all(is_done) {
                break;
            }
            if !is_done(&trust)
                && let Some(entry) = waiting.of_mut(trust).pop()
            {
                *host.called.of_mut(trust) += 1;
                called.push((trust, entry.webhook));
            }
        }
        if Trust::ALL
            .iter()
            .any(|trust| !waiting.of(*trust).is_empty())
        {
            host.waiting = Some(waiting);
        }
        self.at_hosts = self.at_hosts.saturating_sub(before);
        self.at_hosts += host.waiting.as_ref().map_or(0, |waiting| waiting.len());
        for (trust, webhook) in called {
            let called_by = Some(id);
            self.queue_first(trust, tenant_of(webhook), Entry { webhook, called_by });
        }
    }

    // Flights.

    pub(crate) fn take_off(
        &mut self,
        webhook: WebhookId,
        tenant: Option<TenantId>,
        host: Option<HostId>,
        (trust, asked): (Trust, bool),
        now: Instant,
    ) -> FlightId {
        self.flights_seen += 1;
        let id = FlightId(self.flights_seen);
        let doubtful = trust.is_doubtful();
        let flight = Flight {
            webhook,
            host,
            tenant,
            began: now,
            doubtful,
            asked,
            young: trust == Trust::Unknown,
            slow: false,
        };
        self.young.insert(id, flight);
        self.load.flying += 1;
        let (young, asked) = (usize::from(flight.young), usize::from(asked));
        let own = self.tenants.entry(tenant).or_default();
        own.flying += 1;
        own.young += young;
        own.asked += asked;
        if let Some(host) = host.and_then(|id| self.hosts.get_mut(&id)) {
            host.flying += 1;
            host.young += young;
            host.asked += asked;
        }
        if doubtful {
            self.doubt(&flight);
        }
        self.weigh(tenant);
        id
    }

    /// The flight counts as one that may stay for long.
    fn doubt(&mut self, flight: &Flight) {
        self.load.doubtful += 1;
        self.tenants.entry(flight.tenant).or_default().doubtful += 1;
        if let Some(host) = flight.host.and_then(|id| self.hosts.get_mut(&id)) {
            host.doubtful += 1;
        }
    }

    /// The next flight that has been in the air for long by now; each once.
    pub(crate) fn age(&mut self, now: Instant) -> Option<Flight> {
        let began = self.young.peek()?.began;
        if now.saturating_duration_since(began) < slow_after() {
            return None;
        }
        let (id, mut flight) = self.young.pop_first()?;
        if !flight.doubtful {
            self.doubt(&flight);
        }
        self.grow_up(&flight);
        self.weigh(flight.tenant);
        (flight.doubtful, flight.young, flight.slow) = (true, false, true);
        self.slow.insert(id, flight);
        Some(flight)
    }

    fn grow_up(&mut self, flight: &Flight) {
        let young = usize::from(flight.young);
        if let Some(own) = self.tenants.get_mut(&flight.tenant) {
            own.young = own.young.saturating_sub(young);
        }
        if let Some(host) = flight.host.and_then(|id| self.hosts.get_mut(&id)) {
            host.young = host.young.saturating_sub(young);
        }
    }

    /// When the next flight will have been in the air for long, if that makes room for a lane.
    pub(crate) fn next_age(&self) -> Option<Instant> {
        let waits = self.at_hosts > 0 || !self.turns.unknown.is_empty();
        let first = self.young.peek().filter(|_| waits)?;
        Some(first.began + slow_after())
    }

    pub(crate) fn land(&mut self, id: FlightId) -> Option<Flight> {
        let flight = self.young.remove(id).or_else(|| self.slow.remove(&id))?;
        self.grow_up(&flight);
        let doubtful = usize::from(flight.doubtful);
        let asked = usize::from(flight.asked);
        self.load.flying = self.load.flying.saturating_sub(1);
        self.load.doubtful = self.load.doubtful.saturating_sub(doubtful);
        if let Some(own) = self.tenants.get_mut(&flight.tenant) {
            own.flying = own.flying.saturating_sub(1);
            own.doubtful = own.doubtful.saturating_sub(doubtful);
            own.asked = own.asked.saturating_sub(asked);
        }
        if let Some(host) = flight.host.and_then(|id| self.hosts.get_mut(&id)) {
            host.flying = host.flying.saturating_sub(1);
            host.doubtful = host.doubtful.saturating_sub(doubtful);
            host.asked = host.asked.saturating_sub(asked);
        }
        self.weigh(flight.tenant);
        self.forget_idle(flight.tenant);
        Some(flight)
    }

    fn weigh(&mut self, tenant: Option<TenantId>) {
        let Some(own) = self.tenants.get(&tenant) else {
            return;
        };
        for trust in Trust::ALL {
            self.turns.of_mut(trust).weigh(tenant, own.weight(trust));
        }
        self.asked.weigh(tenant, own.asked);
    }

    fn forget_idle(&mut self, tenant: Option<TenantId>) {
        if self.tenants.get(&tenant) == Some(&Tenant::default()) {
            self.tenants.remove(&tenant);
        }
    }
}

fn slow_after() -> Duration {
    Duration::from_millis(u64::from(FAST_MS))
}

impl Host {
    fn at(place: Arc<Place>) -> Self {
        Self {
            place,
            lanes: 0,
            flying: 0,
            doubtful: 0,
            young: 0,
            asked: 0,
            called: OfEach::default(),
            waiting: None,
        }
    }
}

#[cfg(test)]
impl Shares {
    pub(crate) fn is_idle(&self) -> bool {
        let Load {
            held,
            held_bytes,
            flying,
            doubtful,
        } = self.load;
        held + held_bytes + flying + doubtful + self.queued() == 0
            && self.tenants.is_empty()
            && self.hosts.is_empty()
            && self.places.is_empty()
            && self.young.is_empty()
            && self.slow.is_empty()
    }
}
