//! Fair shares: what each tenant, and each receiver's host, may have in flight and in memory, and
//! who is next by that.
//!
//! A share is a fraction of what is free, so a newcomer always finds some, and a tenant that is
//! alone may have all but a reserve. Pure bookkeeping; each call costs the logarithm of what there
//! is. `docs/decisions/0028-shares-of-what-is-free.md` has the rules and their reasons.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::id::{TenantId, WebhookId};
use model::limits;
use model::mutation::{Mutation, is_on};
use tokio::time::Instant;

use crate::concurrency::FAST_MS;
use crate::fair_queue::{FairQueue, HostId, WaitingLane};
use crate::sorted::Sorted;
use crate::transport::Endpoint;

/// A tenant may have so many times what is free: of all attempts in flight; of those at
/// receivers that may take long, if this one is not known yet, or is known to; and of the memory.
const OF_IN_FLIGHT: usize = 7;
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

/// A first attempt counts for this many while it is young. So not all that a tenant may have begin
/// at the same moment and stay in flight for half a minute, in which nothing new is tried.
const YOUNG_FOR: usize = 7;

/// Bodies up to this size count by their number in the memory's shares, longer ones by their size.
const USUAL_BODY_BYTES: usize = limits::BUFFERED_BYTES_MAX / limits::BUFFERED_MAX;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct InFlightId(u64);

/// What the latest attempt says of the receiver.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReceiverSpeed {
    #[default]
    Unknown,
    /// It ended soon, and none has been in flight for long since.
    Fast,
    /// It took long, or one takes long at this moment: such a receiver holds what it gets.
    Slow,
}

/// A value for each speed.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct BySpeed<T> {
    fast: T,
    unknown: T,
    slow: T,
}

/// What all lanes have in memory and in flight together.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct MemoryLoad {
    /// Deliveries waiting or in flight.
    pub(crate) held: usize,
    pub(crate) held_bytes: usize,
    pub(crate) in_flight: usize,
    /// Of these, those that began at receivers that are not known to be fast, and those that have
    /// been in flight for long.
    pub(crate) doubtful: usize,
}

/// An attempt that is in flight.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InFlightAttempt {
    pub(crate) webhook: WebhookId,
    pub(crate) host: Option<HostId>,
    tenant: Option<TenantId>,
    began: Instant,
    doubtful: bool,
    /// Somebody asked for it.
    asked: bool,
    /// Its receiver was not known, and it has not been in flight for long.
    young: bool,
    /// It has been in flight for long.
    pub(crate) slow: bool,
}

pub(crate) struct FairShare {
    pub(crate) load: MemoryLoad,
    limits: ShareLimits,
    tenants: BTreeMap<Option<TenantId>, TenantUsage>,
    hosts: BTreeMap<HostId, HostUsage>,
    endpoints: BTreeMap<Arc<Endpoint>, HostId>,
    hosts_seen: u64,
    /// Those that began lately, the oldest first, and those that have been in flight for long.
    young: Sorted<InFlightId, InFlightAttempt>,
    slow: BTreeMap<InFlightId, InFlightAttempt>,
    attempts_seen: u64,
    /// Lanes that may be ready to send.
    turns: BySpeed<FairQueue>,
    /// Those with something that somebody asked for.
    asked: FairQueue,
    /// Which speed is looked at first.
    first: ReceiverSpeed,
    /// Lanes whose time to be read has come.
    pub(crate) unread: FairQueue,
    at_hosts: usize,
}

/// What follows from the setting.
#[derive(Debug, Clone, Copy)]
struct ShareLimits {
    in_flight: usize,
    /// Of these, doubtful ones before no more begin.
    doubtful: usize,
    /// At one host; of these doubtful ones; and of these before no more of the slow ones begin.
    host: usize,
    host_doubtful: usize,
    host_slow: usize,
    /// Doubtful ones of tenants that have no other: they leave so many attempts free.
    spare: usize,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct TenantUsage {
    held: usize,
    held_bytes: usize,
    in_flight: usize,
    doubtful: usize,
    young: usize,
    asked: usize,
}

struct HostUsage {
    endpoint: Arc<Endpoint>,
    /// Lanes that lead there.
    lanes: usize,
    in_flight: usize,
    doubtful: usize,
    young: usize,
    asked: usize,
    /// Lanes that were called from `waiting` and had no turn yet.
    called: BySpeed<usize>,
    /// Lanes that wait for room there. While there are some, all room is taken, or kept for those
    /// that were called.
    waiting: Option<Box<BySpeed<FairQueue>>>,
}

impl ReceiverSpeed {
    pub(crate) const ALL: [Self; 3] = [Self::Fast, Self::Unknown, Self::Slow];

    fn next(self) -> Self {
        match self {
            Self::Fast => Self::Unknown,
            Self::Unknown => Self::Slow,
            Self::Slow => Self::Fast,
        }
    }

    fn is_doubtful(self) -> bool {
        match self {
            Self::Fast => false,
            Self::Unknown | Self::Slow => true,
        }
    }
}

impl<T> BySpeed<T> {
    pub(crate) fn of(&self, speed: ReceiverSpeed) -> &T {
        match speed {
            ReceiverSpeed::Fast => &self.fast,
            ReceiverSpeed::Unknown => &self.unknown,
            ReceiverSpeed::Slow => &self.slow,
        }
    }

    pub(crate) fn of_mut(&mut self, speed: ReceiverSpeed) -> &mut T {
        match speed {
            ReceiverSpeed::Fast => &mut self.fast,
            ReceiverSpeed::Unknown => &mut self.unknown,
            ReceiverSpeed::Slow => &mut self.slow,
        }
    }
}

impl BySpeed<FairQueue> {
    fn len(&self) -> usize {
        self.fast.len() + self.unknown.len() + self.slow.len()
    }
}

impl MemoryLoad {
    pub(crate) fn is_full(self) -> bool {
        self.held >= limits::BUFFERED_MAX || self.held_bytes >= limits::BUFFERED_BYTES_MAX
    }

    pub(crate) fn is_crowded(self) -> bool {
        self.held >= limits::BUFFERED_MAX / 2 || self.held_bytes >= limits::BUFFERED_BYTES_MAX / 2
    }
}

impl ShareLimits {
    fn of(max_in_flight: usize) -> Self {
        let in_flight = max_in_flight.max(1);
        let doubtful = in_flight.div_ceil(2);
        let host_doubtful = doubtful.div_ceil(2);
        Self {
            in_flight,
            doubtful,
            host: in_flight - in_flight / 4,
            host_doubtful,
            host_slow: host_doubtful - host_doubtful / 4,
            spare: in_flight / 16,
        }
    }
}

impl TenantUsage {
    /// What it has of the memory.
    fn memory(&self) -> usize {
        self.held.max(self.held_bytes / USUAL_BODY_BYTES)
    }

    /// What it has in flight, as it counts among lanes of this kind.
    fn weight(&self, speed: ReceiverSpeed) -> usize {
        match speed {
            ReceiverSpeed::Fast => self.in_flight,
            ReceiverSpeed::Unknown => self.doubtful + self.young * (YOUNG_FOR - 1),
            ReceiverSpeed::Slow => self.doubtful,
        }
    }
}

impl HostUsage {
    /// Whether one more may be in flight there.
    fn has_room(&self, limits: ShareLimits, speed: ReceiverSpeed) -> bool {
        let BySpeed {
            fast,
            unknown,
            slow,
        } = self.called;
        let doubtful = self.doubtful + unknown + slow;
        let has_room = match speed {
            ReceiverSpeed::Fast => true,
            // As few at once as there are left for later.
            ReceiverSpeed::Unknown => {
                (self.young + unknown) * 2 < limits.host_doubtful.saturating_sub(doubtful)
            }
            ReceiverSpeed::Slow => doubtful < limits.host_slow,
        };
        has_room && self.in_flight + fast + unknown + slow < limits.host
    }

    /// Whether one more of what somebody asked for may be in flight there.
    fn has_room_for_asked(&self, limits: ShareLimits) -> bool {
        self.asked * ASKED_HOST_PART < limits.host.saturating_sub(self.in_flight)
    }

    fn is_idle(&self) -> bool {
        let BySpeed {
            fast,
            unknown,
            slow,
        } = self.called;
        self.lanes + self.in_flight + fast + unknown + slow == 0 && self.waiting.is_none()
    }
}

impl FairShare {
    pub(crate) fn new(max_in_flight: usize) -> Self {
        let mut turns = BySpeed::<FairQueue>::default();
        turns.unknown.take_from_both_ends();
        Self {
            load: MemoryLoad::default(),
            limits: ShareLimits::of(max_in_flight),
            tenants: BTreeMap::new(),
            hosts: BTreeMap::new(),
            endpoints: BTreeMap::new(),
            hosts_seen: 0,
            young: Sorted::default(),
            slow: BTreeMap::new(),
            attempts_seen: 0,
            turns,
            asked: FairQueue::default(),
            first: ReceiverSpeed::Fast,
            unread: FairQueue::default(),
            at_hosts: 0,
        }
    }

    // Memory.

    pub(crate) fn hold(&mut self, tenant: Option<TenantId>, count: usize, body_bytes: usize) {
        if count == 0 {
            return;
        }
        self.load.held += count;
        self.load.held_bytes += body_bytes;
        let own = self.tenants.entry(tenant).or_default();
        own.held += count;
        own.held_bytes += body_bytes;
        let weight = own.memory();
        self.unread.weigh(tenant, weight);
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
        self.unread.weigh(tenant, weight);
    }

    /// How many more deliveries the tenant may have in memory.
    pub(crate) fn memory_left(&self, tenant: Option<TenantId>) -> usize {
        let own = self.tenants.get(&tenant).map_or(0, TenantUsage::memory);
        self.memory_share().saturating_sub(own)
    }

    /// What a tenant may have in memory at most, as things are.
    pub(crate) fn memory_share(&self) -> usize {
        let count = limits::BUFFERED_MAX.saturating_sub(self.load.held);
        let bytes = limits::BUFFERED_BYTES_MAX.saturating_sub(self.load.held_bytes);
        OF_MEMORY * count.min(bytes / USUAL_BODY_BYTES)
    }

    /// The lane waits to be read: its time has come.
    pub(crate) fn queue_read(&mut self, tenant: Option<TenantId>, webhook: WebhookId) {
        let weight = self.tenants.get(&tenant).map_or(0, TenantUsage::memory);
        self.unread.push(tenant, weight, WaitingLane::of(webhook));
    }

    // Hosts.

    /// A lane leads there.
    pub(crate) fn enter(&mut self, endpoint: &Arc<Endpoint>) -> HostId {
        let id = match self.endpoints.get(endpoint) {
            Some(id) => *id,
            None => {
                self.hosts_seen += 1;
                let id = HostId(self.hosts_seen);
                self.endpoints.insert(Arc::clone(endpoint), id);
                self.hosts.insert(id, HostUsage::at(Arc::clone(endpoint)));
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
        if self.hosts.get(&id).is_some_and(HostUsage::is_idle)
            && let Some(host) = self.hosts.remove(&id)
        {
            self.endpoints.remove(&host.endpoint);
        }
    }

    // Turns.

    /// Lanes that wait for a turn.
    pub(crate) fn queued(&self) -> usize {
        self.turns.len() + self.asked.len() + self.at_hosts
    }

    /// Those of them that wait though more attempts may begin: the rest is not for them.
    pub(crate) fn queued_by_share(&self) -> usize {
        match self.free() {
            0 => self.at_hosts,
            _ => self.queued(),
        }
    }

    /// Attempts that have been in flight for long.
    pub(crate) fn slow(&self) -> usize {
        self.slow.len()
    }

    fn free(&self) -> usize {
        self.limits.in_flight.saturating_sub(self.load.in_flight)
    }

    /// Whether what is left for this speed is kept for lanes that have little in flight.
    pub(crate) fn is_crowded(&self, speed: ReceiverSpeed) -> bool {
        let MemoryLoad {
            in_flight,
            doubtful,
            ..
        } = self.load;
        match speed {
            ReceiverSpeed::Unknown | ReceiverSpeed::Slow => doubtful * 2 >= self.limits.doubtful,
            ReceiverSpeed::Fast => {
                let left = self.limits.in_flight.saturating_sub(doubtful);
                in_flight.saturating_sub(doubtful) * 2 >= left
            }
        }
    }

    /// What the tenant has, as it counts among lanes of this kind.
    fn weight(&self, tenant: Option<TenantId>, speed: ReceiverSpeed) -> usize {
        let own = self.tenants.get(&tenant);
        own.map_or(0, |own| own.weight(speed))
    }

    pub(crate) fn queue(
        &mut self,
        speed: ReceiverSpeed,
        tenant: Option<TenantId>,
        entry: WaitingLane,
    ) {
        let weight = self.weight(tenant, speed);
        self.turns.of_mut(speed).push(tenant, weight, entry);
    }

    pub(crate) fn queue_first(
        &mut self,
        speed: ReceiverSpeed,
        tenant: Option<TenantId>,
        entry: WaitingLane,
    ) {
        let weight = self.weight(tenant, speed);
        self.turns.of_mut(speed).push_first(tenant, weight, entry);
    }

    /// Has the lane wait with what somebody asked for. Returns whether it does: of a tenant only
    /// some may.
    pub(crate) fn queue_asked(&mut self, tenant: Option<TenantId>, webhook: WebhookId) -> bool {
        let may_wait = self.asked.count_of(tenant) < ASKED_LANES_MAX;
        if may_wait {
            let weight = self.asked_by(tenant);
            self.asked.push(tenant, weight, WaitingLane::of(webhook));
        }
        may_wait
    }

    /// What the tenant has in flight because somebody asked for it.
    fn asked_by(&self, tenant: Option<TenantId>) -> usize {
        self.tenants.get(&tenant).map_or(0, |own| own.asked)
    }

    /// The next lane whose tenant may have one more in flight, and as which kind it waited; none
    /// if it is for something that somebody asked for.
    pub(crate) fn next(&mut self) -> Option<(Option<ReceiverSpeed>, WaitingLane)> {
        // Somebody looks at the page. Whatever is in flight besides, some is free for it.
        let least = self.asked.least();
        if least.is_some_and(|weight| weight * ASKED_PART < self.free())
            && let Some(entry) = self.asked.pop()
        {
            return Some((None, entry));
        }
        for _ in ReceiverSpeed::ALL {
            let speed = self.first;
            self.first = speed.next();
            let least = self.turns.of(speed).least();
            if least.is_some_and(|weight| self.may_begin(speed, weight)) {
                let entry = self.turns.of_mut(speed).pop()?;
                if let Some(host) = entry.called_by.and_then(|id| self.hosts.get_mut(&id)) {
                    let called = host.called.of_mut(speed);
                    *called = called.saturating_sub(1);
                }
                return Some((Some(speed), entry));
            }
        }
        None
    }

    /// Whether a tenant that has `weight` may have one more.
    fn may_begin(&self, speed: ReceiverSpeed, weight: usize) -> bool {
        let free = self.free();
        let doubtful = self.limits.doubtful.saturating_sub(self.load.doubtful);
        match speed {
            _ if is_on(Mutation::IgnoreShare) => free > 0,
            ReceiverSpeed::Fast => weight < OF_IN_FLIGHT * free,
            ReceiverSpeed::Unknown | ReceiverSpeed::Slow
                if weight == 0 && free > self.limits.spare =>
            {
                true
            }
            ReceiverSpeed::Unknown => weight < OF_UNKNOWN * doubtful.min(free),
            ReceiverSpeed::Slow => weight < OF_SLOW * doubtful.min(free),
        }
    }

    /// Whether one more of this tenant may be in flight at this host.
    pub(crate) fn may_go(
        &self,
        host: Option<HostId>,
        tenant: Option<TenantId>,
        speed: ReceiverSpeed,
    ) -> bool {
        let host = host.and_then(|id| self.hosts.get(&id));
        // Of somebody else's receiver there, nothing is known by those of another tenant.
        let is_first = speed == ReceiverSpeed::Unknown
            && self.weight(tenant, speed) == 0
            && self.free() > self.limits.spare;
        is_first || host.is_none_or(|host| host.has_room(self.limits, speed))
    }

    /// The same for what somebody asked for.
    pub(crate) fn may_go_asked(&self, host: Option<HostId>, tenant: Option<TenantId>) -> bool {
        let host = host.and_then(|id| self.hosts.get(&id));
        self.asked_by(tenant) == 0 || host.is_none_or(|host| host.has_room_for_asked(self.limits))
    }

    /// The lane waits until there is room at the host.
    pub(crate) fn wait(
        &mut self,
        host: Option<HostId>,
        tenant: Option<TenantId>,
        speed: ReceiverSpeed,
        webhook: WebhookId,
    ) {
        if let Some(host) = host.and_then(|id| self.hosts.get_mut(&id)) {
            self.at_hosts += 1;
            let waiting = host.waiting.get_or_insert_default();
            waiting.unknown.take_from_both_ends();
            waiting
                .of_mut(speed)
                .push(tenant, 0, WaitingLane::of(webhook));
        }
    }

    /// A lane of unknown speed that waits for a turn got a delivery.
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
        for speed in ReceiverSpeed::ALL.into_iter().cycle() {
            let is_done = |speed: &ReceiverSpeed| {
                waiting.of(*speed).is_empty() || !host.has_room(self.limits, *speed)
            };
            if ReceiverSpeed::ALL.iter().all(is_done) {
                break;
            }
            if !is_done(&speed)
                && let Some(entry) = waiting.of_mut(speed).pop()
            {
                *host.called.of_mut(speed) += 1;
                called.push((speed, entry.webhook));
            }
        }
        if ReceiverSpeed::ALL
            .iter()
            .any(|speed| !waiting.of(*speed).is_empty())
        {
            host.waiting = Some(waiting);
        }
        self.at_hosts = self.at_hosts.saturating_sub(before);
        self.at_hosts += host.waiting.as_ref().map_or(0, |waiting| waiting.len());
        for (speed, webhook) in called {
            let called_by = Some(id);
            self.queue_first(
                speed,
                tenant_of(webhook),
                WaitingLane { webhook, called_by },
            );
        }
    }

    // Flights.

    pub(crate) fn take_off(
        &mut self,
        webhook: WebhookId,
        tenant: Option<TenantId>,
        host: Option<HostId>,
        (speed, asked): (ReceiverSpeed, bool),
        now: Instant,
    ) -> InFlightId {
        self.attempts_seen += 1;
        let id = InFlightId(self.attempts_seen);
        let doubtful = speed.is_doubtful();
        let attempt = InFlightAttempt {
            webhook,
            host,
            tenant,
            began: now,
            doubtful,
            asked,
            young: speed == ReceiverSpeed::Unknown,
            slow: false,
        };
        self.young.insert(id, attempt);
        self.load.in_flight += 1;
        let (young, asked) = (usize::from(attempt.young), usize::from(asked));
        let own = self.tenants.entry(tenant).or_default();
        own.in_flight += 1;
        own.young += young;
        own.asked += asked;
        if let Some(host) = host.and_then(|id| self.hosts.get_mut(&id)) {
            host.in_flight += 1;
            host.young += young;
            host.asked += asked;
        }
        if doubtful {
            self.doubt(&attempt);
        }
        self.weigh(tenant);
        id
    }

    /// The attempt counts as one that may take long.
    fn doubt(&mut self, attempt: &InFlightAttempt) {
        self.load.doubtful += 1;
        self.tenants.entry(attempt.tenant).or_default().doubtful += 1;
        if let Some(host) = attempt.host.and_then(|id| self.hosts.get_mut(&id)) {
            host.doubtful += 1;
        }
    }

    /// The next attempt that has been in flight for long by now; each once.
    pub(crate) fn age(&mut self, now: Instant) -> Option<InFlightAttempt> {
        let began = self.young.peek()?.began;
        if now.saturating_duration_since(began) < slow_after() {
            return None;
        }
        let (id, mut attempt) = self.young.pop_first()?;
        if !attempt.doubtful {
            self.doubt(&attempt);
        }
        self.grow_up(&attempt);
        self.weigh(attempt.tenant);
        (attempt.doubtful, attempt.young, attempt.slow) = (true, false, true);
        self.slow.insert(id, attempt);
        Some(attempt)
    }

    fn grow_up(&mut self, attempt: &InFlightAttempt) {
        let young = usize::from(attempt.young);
        if let Some(own) = self.tenants.get_mut(&attempt.tenant) {
            own.young = own.young.saturating_sub(young);
        }
        if let Some(host) = attempt.host.and_then(|id| self.hosts.get_mut(&id)) {
            host.young = host.young.saturating_sub(young);
        }
    }

    /// When the next attempt will have been in flight for long, if that makes room for a lane.
    pub(crate) fn next_age(&self) -> Option<Instant> {
        let waits = self.at_hosts > 0 || !self.turns.unknown.is_empty();
        let first = self.young.peek().filter(|_| waits)?;
        Some(first.began + slow_after())
    }

    pub(crate) fn land(&mut self, id: InFlightId) -> Option<InFlightAttempt> {
        let attempt = self.young.remove(id).or_else(|| self.slow.remove(&id))?;
        self.grow_up(&attempt);
        let doubtful = usize::from(attempt.doubtful);
        let asked = usize::from(attempt.asked);
        self.load.in_flight = self.load.in_flight.saturating_sub(1);
        self.load.doubtful = self.load.doubtful.saturating_sub(doubtful);
        if let Some(own) = self.tenants.get_mut(&attempt.tenant) {
            own.in_flight = own.in_flight.saturating_sub(1);
            own.doubtful = own.doubtful.saturating_sub(doubtful);
            own.asked = own.asked.saturating_sub(asked);
        }
        if let Some(host) = attempt.host.and_then(|id| self.hosts.get_mut(&id)) {
            host.in_flight = host.in_flight.saturating_sub(1);
            host.doubtful = host.doubtful.saturating_sub(doubtful);
            host.asked = host.asked.saturating_sub(asked);
        }
        self.weigh(attempt.tenant);
        self.forget_idle(attempt.tenant);
        Some(attempt)
    }

    fn weigh(&mut self, tenant: Option<TenantId>) {
        let Some(own) = self.tenants.get(&tenant) else {
            return;
        };
        for speed in ReceiverSpeed::ALL {
            self.turns.of_mut(speed).weigh(tenant, own.weight(speed));
        }
        self.asked.weigh(tenant, own.asked);
    }

    fn forget_idle(&mut self, tenant: Option<TenantId>) {
        if self.tenants.get(&tenant) == Some(&TenantUsage::default()) {
            self.tenants.remove(&tenant);
        }
    }
}

fn slow_after() -> Duration {
    Duration::from_millis(u64::from(FAST_MS))
}

impl HostUsage {
    fn at(endpoint: Arc<Endpoint>) -> Self {
        Self {
            endpoint,
            lanes: 0,
            in_flight: 0,
            doubtful: 0,
            young: 0,
            asked: 0,
            called: BySpeed::default(),
            waiting: None,
        }
    }
}

#[cfg(test)]
impl FairShare {
    /// What each tenant has in memory and in flight: deliveries, bytes, attempts.
    pub(crate) fn usage(&self) -> BTreeMap<Option<TenantId>, (usize, usize, usize)> {
        let usage = |own: &TenantUsage| (own.held, own.held_bytes, own.in_flight);
        let tenants = self.tenants.iter();
        tenants.map(|(tenant, own)| (*tenant, usage(own))).collect()
    }

    /// How many lanes lead to each host.
    pub(crate) fn lanes_at_hosts(&self) -> BTreeMap<HostId, usize> {
        let hosts = self.hosts.iter();
        hosts.map(|(id, host)| (*id, host.lanes)).collect()
    }

    pub(crate) fn is_idle(&self) -> bool {
        let MemoryLoad {
            held,
            held_bytes,
            in_flight,
            doubtful,
        } = self.load;
        held + held_bytes + in_flight + doubtful + self.queued() == 0
            && self.tenants.is_empty()
            && self.hosts.is_empty()
            && self.endpoints.is_empty()
            && self.young.len() == 0
            && self.slow.is_empty()
    }
}
