//! All lanes, one for every webhook that has something waiting or in flight, and the queues that
//! they stand in.
//!
//! Pure bookkeeping: no clock, no store, nothing awaited. `dispatch.rs` says what happened and
//! asks what to do next. Each call costs the logarithm of the number of lanes, never a walk over
//! them, and after each the lanes it touched stand where they belong (`review`).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use model::contract::{DuePage, DueQuery};
use model::delivery::{DispatchState, DueDelivery};
use model::id::{DeliveryId, TenantId, WebhookId};
use model::lease::Slots;
use model::mutation::{Mutation, is_on};
use model::time::Timestamp;
use tokio::time::Instant;

use crate::circuit_breaker::CircuitTransition;
use crate::fair_queue::WaitingLane;
use crate::fair_share::{BySpeed, FairShare, InFlightId, ReceiverSpeed};
use crate::lane::{AfterLoad, AttemptEffect, Begun, Lane, Phase, WebhookLookup};
use crate::lane_stats::{LaneStats, LaneStatus};
use crate::metered_lanes::MeteredLanes;
use crate::request::{PreparedTarget, TargetHash};

/// Lanes asked for in one read, and new rows they may bring together: some milliseconds' work.
const READ_LANES_MAX: usize = 64;
const READ_ROWS_MAX: usize = 256;

/// Webhooks whose targets are read together.
const TARGETS_MAX: usize = 1_000;

/// Lanes with nothing to do that are kept: their next delivery needs no look at the webhook, and
/// finds the concurrency limit they had. About a kilobyte each.
const RESTING_MAX: usize = 1_000;

/// Webhooks of which it is remembered, without their lane, that their receiver was fast: some
/// megabytes.
const FAST_LANES_MAX: usize = 100_000;

pub(crate) struct Lanes {
    lanes: BTreeMap<WebhookId, Entry>,
    /// When lanes want to be read, earliest first.
    read_times: BTreeSet<(Timestamp, WebhookId)>,
    /// What is held and in flight, and who has a turn.
    shares: FairShare,
    /// Webhooks without a lane whose receivers were fast when they had one, and which these were.
    fast: BTreeMap<WebhookId, TargetHash>,
    /// Lanes that have nothing to do, by when they came to it.
    resting: BTreeSet<(u64, WebhookId)>,
    rests: u64,
    counted: LaneStats,
    /// Lanes that are counted anew before anybody asks: more than once happens something to most.
    uncounted: Vec<WebhookId>,
    /// Lanes whose webhook must be loaded.
    unloaded: VecDeque<WebhookId>,
    /// Disabled webhooks whose pending deliveries are still to be cancelled.
    uncancelled: VecDeque<WebhookId>,
    /// Lanes that wait for their rate.
    metered: MeteredLanes,
    max_concurrency: usize,
    read_lanes_max: usize,
}

/// A lane, and where it stands.
struct Entry {
    lane: Lane,
    place: Registration,
}

/// In which queues a lane stands.
#[derive(Default)]
struct Registration {
    /// Waits for a turn, as a lane of this speed. It may wait as several: its speed changes.
    turns: BySpeed<bool>,
    /// Waits for a turn with what somebody asked for.
    asked_turn: bool,
    /// Waits until then for its rate, and for no turn.
    metered: Option<Instant>,
    read: ReadQueue,
    /// The pending deliveries of its webhook are being cancelled, or are to be.
    cancelling: bool,
    /// Its number among lanes that have nothing to do.
    rest: Option<u64>,
    /// As what it is counted.
    counted: Option<LaneStatus>,
    /// Something happened to it since it was counted.
    is_uncounted: bool,
}

/// Where a lane stands in the queue for reading.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum ReadQueue {
    #[default]
    None,
    /// Wants to be read then.
    Scheduled(Timestamp),
    /// Its time has come: it waits for its tenant's turn.
    Waiting,
}

/// A delivery that is to be sent.
pub(crate) struct NextAttempt {
    pub(crate) attempt_id: InFlightId,
    pub(crate) prepared: Arc<PreparedTarget>,
    pub(crate) due: DueDelivery,
    /// What its lane's receiver may have at once.
    pub(crate) concurrency_limit: u32,
    /// Its receiver is to be asked first whether it agrees.
    pub(crate) asks_first: bool,
}

impl Lanes {
    pub(crate) fn new(max_in_flight: usize, max_concurrency: usize) -> Self {
        Self {
            lanes: BTreeMap::new(),
            read_times: BTreeSet::new(),
            shares: FairShare::new(max_in_flight),
            fast: BTreeMap::new(),
            resting: BTreeSet::new(),
            rests: 0,
            counted: LaneStats::default(),
            uncounted: Vec::new(),
            unloaded: VecDeque::new(),
            uncancelled: VecDeque::new(),
            metered: MeteredLanes::default(),
            max_concurrency: max_concurrency.max(1),
            read_lanes_max: READ_LANES_MAX,
        }
    }

    /// Lanes that wait or have something in flight.
    pub(crate) fn count(&self) -> usize {
        self.lanes.len().saturating_sub(self.resting.len())
    }

    /// Lanes that have something ready and wait for a turn.
    pub(crate) fn queued(&self) -> usize {
        self.shares.queued()
    }

    /// Those of them that wait because their tenant or their host has its share.
    pub(crate) fn queued_by_share(&self) -> usize {
        self.shares.queued_by_share()
    }

    /// Attempts that have been in flight for long.
    pub(crate) fn slow(&self) -> usize {
        self.shares.slow()
    }

    /// Forgets lanes that have nothing to do, with what is known of their webhooks.
    pub(crate) fn forget_resting(&mut self) {
        self.metered.forget(Instant::now());
        while let Some((_, webhook)) = self.resting.pop_first() {
            self.forget(webhook);
        }
    }

    pub(crate) fn held(&self) -> usize {
        self.shares.load.held
    }

    /// Lanes counted by health, and the longest waits.
    pub(crate) fn counted(&mut self) -> &LaneStats {
        for webhook in self.uncounted.drain(..) {
            if let Some(Entry { lane, place }) = self.lanes.get_mut(&webhook) {
                place.is_uncounted = false;
                let mut status = lane.status();
                // What waits for its rate is late for no fault of anybody's.
                status.due_at = status.due_at.filter(|_| place.metered.is_none());
                let status = Some(status);
                self.counted.change(webhook, place.counted, status);
                place.counted = status;
            }
        }
        &self.counted
    }

    /// When the first lane wants to be read.
    pub(crate) fn next_read_at(&self) -> Option<Timestamp> {
        self.read_times.first().map(|(at, _)| *at)
    }

    /// The store has something for this webhook that is due at `at`.
    pub(crate) fn lower(&mut self, webhook: WebhookId, at: Timestamp) {
        self.entry(webhook).lane.lower(at);
        self.review(webhook);
    }

    /// A delivery that was just accepted. It goes without being read back if there is room and
    /// nothing in the store is due before it.
    pub(crate) fn arrive(&mut self, due: DueDelivery) {
        let webhook = due.delivery.id.webhook;
        let former = (&mut self.fast, &mut self.metered);
        let Entry { lane, place } = entry_in(&mut self.lanes, webhook, &mut self.unloaded, former);
        if lane.phase(due.delivery.id.notification).is_some() {
            return;
        }
        if lane.reopen() {
            self.unloaded.push_back(webhook);
        }
        lane.arrive(due, &mut self.shares);
        if lane.speed() == ReceiverSpeed::Unknown && *place.turns.of(ReceiverSpeed::Unknown) {
            self.shares.renew(lane.host(), lane.tenant(), webhook);
        }
        self.review(webhook);
    }

    /// Somebody asked for this delivery and waits for it: it is the next of its lane, and its lane
    /// has a turn of its own. If the circuit is open, it is the probe.
    pub(crate) fn ask_for(&mut self, due: DueDelivery) {
        let webhook = due.delivery.id.webhook;
        // Who asks may have mended something: webhook and name are looked up again.
        self.reload(webhook);
        if let Some(Entry { lane, .. }) = self.lanes.get_mut(&webhook) {
            lane.ask_for(due, &mut self.shares);
        }
        self.review(webhook);
    }

    /// Where a delivery that is owed stands.
    pub(crate) fn dispatch_state(&self, id: DeliveryId) -> DispatchState {
        let Some(Entry { lane, place }) = self.lanes.get(&id.webhook) else {
            return DispatchState::Ready;
        };
        let is_asked = match lane.phase(id.notification) {
            Some(Phase::InFlight | Phase::Unsettled | Phase::Parked) => {
                return DispatchState::InFlight;
            }
            Some(Phase::Asked) => true,
            Some(Phase::Ready(_)) | None => false,
        };
        let crowded = self.shares.is_crowded(lane.speed());
        if lane.is_held() {
            DispatchState::Held
        } else if let Some(until) = lane.paused_until() {
            DispatchState::Paused { until }
        } else if lane.is_circuit_open() && !is_asked {
            DispatchState::CircuitOpen
        } else if let Some(rate) = lane.rate().filter(|_| place.metered.is_some()) {
            DispatchState::RateLimited { rate }
        } else if lane.is_at_limit(self.max_concurrency, crowded) && !is_asked {
            DispatchState::ConcurrencyLimited
        } else if !place.waits_for_turn() {
            DispatchState::Ready
        } else if self.shares.queued_by_share() > 0 {
            DispatchState::ShareLimited
        } else {
            DispatchState::InFlightLimited
        }
    }

    /// The webhook changed, or what it is owed did: what was ready may be cancelled by now.
    pub(crate) fn changed(&mut self, webhook: WebhookId, now: Timestamp) {
        if !is_on(Mutation::StaleTarget) {
            self.reload(webhook);
        }
        if let Some(Entry { lane, .. }) = self.lanes.get_mut(&webhook) {
            lane.changed(now, &mut self.shares);
        }
        self.review(webhook);
    }

    /// Any webhook may have changed.
    pub(crate) fn all_changed(&mut self) {
        self.forget_resting();
        let all: Vec<WebhookId> = self.lanes.keys().copied().collect();
        for webhook in all {
            self.reload(webhook);
            self.review(webhook);
        }
    }

    /// Others send for these slots from now on: nothing more begins, and what is in flight ends.
    pub(crate) fn disown(&mut self, slots: Slots) {
        self.fast.retain(|webhook, _| !slots.has(*webhook));
        self.metered.disown(slots);
        self.uncancelled.retain(|webhook| !slots.has(*webhook));
        for webhook in self.lanes_in(slots) {
            if let Some(Entry { lane, place }) = self.lanes.get_mut(&webhook) {
                lane.disown(&mut self.shares);
                place.cancelling = false;
            }
            self.review(webhook);
        }
    }

    /// This node sends for these slots from now on. What they are owed has to be told.
    pub(crate) fn own(&mut self, slots: Slots) {
        for webhook in self.lanes_in(slots) {
            self.reload(webhook);
            self.review(webhook);
        }
    }

    /// Those of these slots, given up, of which something is in flight, not written, or asked for.
    pub(crate) fn busy(&self, slots: Slots) -> Slots {
        let lanes = self.lanes_in(slots).into_iter();
        lanes.map(Slots::of).fold(Slots::NONE, Slots::or)
    }

    fn lanes_in(&self, slots: Slots) -> Vec<WebhookId> {
        let all = self.lanes.keys().copied();
        all.filter(|webhook| slots.has(*webhook)).collect()
    }

    /// Attempts that have been in flight for long by now count as such.
    pub(crate) fn age(&mut self, now: Instant) {
        while let Some(attempt) = self.shares.age(now) {
            if let Some(Entry { lane, .. }) = self.lanes.get_mut(&attempt.webhook) {
                lane.aged(attempt.host);
            }
            if let Some(host) = attempt.host {
                self.shares.call(host, tenant_in(&self.lanes));
            }
        }
    }

    /// When `age` makes room for a lane that waits, if any does.
    pub(crate) fn next_age(&self) -> Option<Instant> {
        self.shares.next_age()
    }

    /// Lanes whose time has come have turns again.
    pub(crate) fn end_metered(&mut self, now: Instant) {
        while let Some(webhook) = self.metered.pop(now) {
            if let Some(Entry { place, .. }) = self.lanes.get_mut(&webhook) {
                place.metered = None;
            }
            self.review(webhook);
        }
    }

    /// When the first of them may go on.
    pub(crate) fn next_metered(&self) -> Option<Instant> {
        self.metered.next()
    }

    /// Lanes that wait for their rate.
    pub(crate) fn metered(&self) -> usize {
        self.metered.len()
    }

    /// Waits for a rate that began since this was asked last.
    pub(crate) fn take_metered_count(&mut self) -> u64 {
        self.metered.take_begun()
    }

    /// Whether the lane waits for its rate from now on.
    fn waits_for_rate(&mut self, webhook: WebhookId, now: Instant) -> bool {
        let Some(Entry { lane, place }) = self.lanes.get_mut(&webhook) else {
            return false;
        };
        let Some(at) = lane.rate_wait(now) else {
            return false;
        };
        if place.metered.is_none() {
            place.metered = Some(at);
            self.metered.enter(at, webhook);
        }
        true
    }

    /// It is looked at anew, because its rate may be another one.
    fn end_wait_for_rate(&mut self, webhook: WebhookId) {
        if let Some(Entry { place, .. }) = self.lanes.get_mut(&webhook)
            && let Some(at) = place.metered.take()
        {
            self.metered.leave(at, webhook);
        }
    }

    /// The next delivery to be sent, if there is one and one more attempt may be in flight.
    pub(crate) fn next_call(&mut self, now: Instant) -> Option<NextAttempt> {
        while let Some((speed, entry)) = self.shares.next() {
            let call = match speed {
                Some(speed) => self.begin(speed, entry.webhook, now),
                None => self.begin_asked(entry.webhook, now),
            };
            if let Some(host) = entry.called_by {
                self.shares.call(host, tenant_in(&self.lanes));
            }
            if call.is_some() {
                return call;
            }
        }
        None
    }

    /// A lane has its turn among those of a speed.
    fn begin(
        &mut self,
        speed: ReceiverSpeed,
        webhook: WebhookId,
        now: Instant,
    ) -> Option<NextAttempt> {
        let Entry { lane, place } = self.lanes.get_mut(&webhook)?;
        let turn = place.turns.of_mut(speed);
        if speed != lane.speed() {
            *turn = false;
            self.review(webhook);
            return None;
        }
        // One that is at its limit gets its turn back when an attempt of its ends.
        let crowded = self.shares.is_crowded(speed);
        let (host, tenant) = (lane.host(), lane.tenant());
        if !lane.may_send(self.max_concurrency, crowded) {
            *turn = false;
            return None;
        }
        if !self.shares.may_go(host, tenant, speed) {
            self.shares.wait(host, tenant, speed, webhook);
            return None;
        }
        *turn = false;
        if self.waits_for_rate(webhook, now) {
            return None;
        }
        self.take_off(webhook, false, now)
    }

    /// A lane has its turn with what somebody asked for.
    fn begin_asked(&mut self, webhook: WebhookId, now: Instant) -> Option<NextAttempt> {
        let Entry { lane, place } = self.lanes.get_mut(&webhook)?;
        place.asked_turn = false;
        if !lane.may_send_asked(self.max_concurrency) {
            return None;
        }
        if self.waits_for_rate(webhook, now) {
            return None;
        }
        let Entry { lane, .. } = self.lanes.get_mut(&webhook)?;
        if !self.shares.may_go_asked(lane.host(), lane.tenant()) {
            lane.give_back_asked(&mut self.shares);
            self.review(webhook);
            return None;
        }
        self.take_off(webhook, true, now)
    }

    fn take_off(&mut self, webhook: WebhookId, asked: bool, now: Instant) -> Option<NextAttempt> {
        let Entry { lane, .. } = self.lanes.get_mut(&webhook)?;
        let (host, tenant, kind) = (lane.host(), lane.tenant(), (lane.speed(), asked));
        let Begun {
            due,
            prepared,
            concurrency_limit,
            asks_first,
        } = lane.begin(asked, now)?;
        let attempt_id = self.shares.take_off(webhook, tenant, host, kind, now);
        self.review(webhook);
        Some(NextAttempt {
            attempt_id,
            prepared,
            due,
            concurrency_limit: u32::try_from(concurrency_limit).unwrap_or(u32::MAX),
            asks_first,
        })
    }

    /// An attempt has ended. Its delivery stays held until that is settled.
    pub(crate) fn landed(
        &mut self,
        attempt_id: InFlightId,
        id: DeliveryId,
        effect: AttemptEffect,
    ) -> Option<CircuitTransition> {
        let attempt = self.shares.land(attempt_id)?;
        if let Some(host) = attempt.host {
            self.shares.call(host, tenant_in(&self.lanes));
        }
        let Entry { lane, .. } = self.lanes.get_mut(&id.webhook)?;
        let (most, shares) = (self.max_concurrency, &mut self.shares);
        let transition = lane.ended(&attempt, id.notification, effect, most, shares);
        self.review(id.webhook);
        transition
    }

    /// An attempt could not be made, for want of something of our own. It is as if it had not
    /// begun: the store has the delivery as it was.
    pub(crate) fn unsent(&mut self, attempt_id: InFlightId, id: DeliveryId, due_at: Timestamp) {
        let Some(attempt) = self.shares.land(attempt_id) else {
            return;
        };
        if let Some(host) = attempt.host {
            self.shares.call(host, tenant_in(&self.lanes));
        }
        if let Some(Entry { lane, .. }) = self.lanes.get_mut(&id.webhook) {
            lane.forget_body(&attempt, id.notification, &mut self.shares);
        }
        self.settled(id, Some(due_at));
    }

    /// An outcome is written, and the delivery is due again at `due_at`, if at all.
    pub(crate) fn settled(&mut self, id: DeliveryId, due_at: Option<Timestamp>) {
        if let Some(Entry { lane, .. }) = self.lanes.get_mut(&id.webhook) {
            lane.settled(id.notification, due_at);
            self.review(id.webhook);
        }
    }

    /// What is to be read now. One such question at a time.
    pub(crate) fn ask_due(&mut self, now: Timestamp) -> Vec<DueQuery> {
        while let Some(&(at, webhook)) = self.read_times.first()
            && at <= now
        {
            self.read_times.pop_first();
            if let Some(Entry { lane, place }) = self.lanes.get_mut(&webhook)
                && place.read == ReadQueue::Scheduled(at)
            {
                place.read = ReadQueue::Waiting;
                lane.end_pause(now);
                self.shares.queue_read(lane.tenant(), webhook);
            }
        }
        let (mut asks, mut rows) = (Vec::new(), 0);
        while asks.len() < self.read_lanes_max
            && rows < READ_ROWS_MAX
            && !self.shares.load.is_full()
            && let Some(least) = self.shares.unread.least()
        {
            // Whoever has the least in memory has its share, and so have the others.
            if least >= self.shares.memory_share() {
                break;
            }
            let Some(WaitingLane { webhook, .. }) = self.shares.unread.pop() else {
                break;
            };
            // The lane may be another one than the one that queued here.
            let Some(Entry { lane, place }) = self.lanes.get_mut(&webhook) else {
                continue;
            };
            if place.read != ReadQueue::Waiting {
                continue;
            }
            place.read = ReadQueue::None;
            if let Some((ask, room)) = lane.begin_read(webhook, now, &self.shares) {
                rows += room;
                asks.push(ask);
            }
            self.review(webhook);
        }
        asks
    }

    /// The store's answer to `ask_due`. Everything it told before must have been taken in.
    pub(crate) fn answer_due(&mut self, asked: &[WebhookId], reads: Vec<DuePage>, now: Timestamp) {
        self.read_lanes_max = (self.read_lanes_max * 2).min(READ_LANES_MAX);
        let mut reads: BTreeMap<WebhookId, DuePage> =
            reads.into_iter().map(|read| (read.webhook, read)).collect();
        for webhook in asked {
            if let Some(Entry { lane, .. }) = self.lanes.get_mut(webhook) {
                lane.end_read(reads.remove(webhook), now, &mut self.shares);
                self.review(*webhook);
            }
        }
    }

    /// The store refused `ask_due`: everything is as it was before. If it is broken, one lane may
    /// be what it chokes on; ever fewer at a time, in turn, let the others through.
    pub(crate) fn unasked_due(&mut self, asked: &[WebhookId], broken: bool) {
        if broken {
            self.read_lanes_max = (asked.len() / 2).max(1);
        }
        for webhook in asked {
            if let Some(Entry { lane, place }) = self.lanes.get_mut(webhook) {
                lane.read_refused();
                place.read = ReadQueue::Waiting;
                if !is_on(Mutation::LeakLane) {
                    self.shares.queue_read(lane.tenant(), *webhook);
                }
            }
        }
    }

    /// The webhooks whose targets are to be read. One such question at a time.
    pub(crate) fn ask_targets(&mut self) -> Vec<WebhookId> {
        if self.unloaded.is_empty() {
            return Vec::new();
        }
        // Of more than that half is taken from either end, so that whoever comes behind thousands
        // is not kept by them.
        let count = self.unloaded.len().min(TARGETS_MAX);
        let late = match self.unloaded.len() > count {
            true => self.unloaded.split_off(self.unloaded.len() - count / 2),
            false => VecDeque::new(),
        };
        let mut asked = Vec::with_capacity(count);
        for webhook in self.unloaded.drain(..count - late.len()).chain(late) {
            if let Some(Entry { lane, .. }) = self.lanes.get_mut(&webhook)
                && lane.begin_load()
            {
                asked.push(webhook);
            }
        }
        asked
    }

    /// What a webhook was found to be.
    pub(crate) fn answer_target(&mut self, webhook: WebhookId, lookup: WebhookLookup) {
        self.end_wait_for_rate(webhook);
        let Some(Entry { lane, place }) = self.lanes.get_mut(&webhook) else {
            return;
        };
        match lane.loaded(lookup, &mut self.shares) {
            AfterLoad::Nothing => {}
            AfterLoad::LoadAgain => self.unloaded.push_back(webhook),
            // Where it waits for room now, it has no business.
            AfterLoad::HostChanged => place.turns = BySpeed::default(),
            AfterLoad::Cancel if place.cancelling => {}
            AfterLoad::Cancel => {
                place.cancelling = true;
                self.uncancelled.push_back(webhook);
            }
        }
        self.review(webhook);
    }

    /// The store refused `ask_targets`.
    pub(crate) fn unasked_targets(&mut self, asked: &[WebhookId]) {
        for webhook in asked {
            if let Some(Entry { lane, .. }) = self.lanes.get_mut(webhook)
                && lane.load_refused()
            {
                self.unloaded.push_back(*webhook);
            }
        }
    }

    /// A disabled webhook whose deliveries are to be cancelled.
    pub(crate) fn next_cancel(&mut self) -> Option<WebhookId> {
        self.uncancelled.pop_front()
    }

    /// Some deliveries of a disabled webhook were cancelled; whether there may be more.
    pub(crate) fn cancelled(&mut self, webhook: WebhookId, more: bool) {
        if more {
            self.uncancelled.push_back(webhook);
        } else if let Some(Entry { place, .. }) = self.lanes.get_mut(&webhook) {
            place.cancelling = false;
        }
        self.review(webhook);
    }

    fn entry(&mut self, webhook: WebhookId) -> &mut Entry {
        let former = (&mut self.fast, &mut self.metered);
        entry_in(&mut self.lanes, webhook, &mut self.unloaded, former)
    }

    /// Has the webhook loaded, again if need be.
    fn reload(&mut self, webhook: WebhookId) {
        if self.entry(webhook).lane.reload() {
            self.unloaded.push_back(webhook);
        }
    }

    fn forget(&mut self, webhook: WebhookId) {
        self.end_wait_for_rate(webhook);
        let Some(Entry { mut lane, place }) = self.lanes.remove(&webhook) else {
            return;
        };
        self.metered.remember(webhook, lane.meter());
        lane.leave(&mut self.shares);
        self.counted.change(webhook, place.counted, None);
        if let Some(hash) = lane.fast_target() {
            self.fast.insert(webhook, hash);
        }
        if self.fast.len() > FAST_LANES_MAX {
            self.fast.pop_first();
        }
    }

    /// Puts a lane that something happened to where it belongs.
    fn review(&mut self, webhook: WebhookId) {
        let Some(Entry { lane, place }) = self.lanes.get_mut(&webhook) else {
            return;
        };
        let speed = lane.speed();
        let crowded = self.shares.is_crowded(speed);
        let is_metered = place.metered.is_some();
        if !is_metered && !place.turns.of(speed) && lane.may_send(self.max_concurrency, crowded) {
            *place.turns.of_mut(speed) = true;
            let tenant = lane.tenant();
            self.shares.queue(speed, tenant, WaitingLane::of(webhook));
        }
        if !is_metered && !place.asked_turn && lane.may_send_asked(self.max_concurrency) {
            place.asked_turn = self.shares.queue_asked(lane.tenant(), webhook);
            if !place.asked_turn {
                lane.give_back_asked(&mut self.shares);
            }
        }
        let wants = lane.wants_read_at(self.shares.load);
        match place.read {
            ReadQueue::Scheduled(at) if wants == Some(at) => {}
            // It is looked at again when its turn comes.
            ReadQueue::Waiting => {}
            ReadQueue::Scheduled(_) | ReadQueue::None => {
                if let ReadQueue::Scheduled(at) = place.read {
                    self.read_times.remove(&(at, webhook));
                }
                place.read = match wants {
                    Some(at) => {
                        self.read_times.insert((at, webhook));
                        ReadQueue::Scheduled(at)
                    }
                    None => ReadQueue::None,
                };
            }
        }
        if !place.is_uncounted {
            place.is_uncounted = true;
            self.uncounted.push(webhook);
        }
        if cfg!(debug_assertions) {
            lane.check();
        }
        self.rest(webhook);
    }

    /// A lane that has nothing to do rests for a while, if its webhook may be called; else it is
    /// forgotten.
    fn rest(&mut self, webhook: WebhookId) {
        let Some(Entry { lane, place }) = self.lanes.get_mut(&webhook) else {
            return;
        };
        match (lane.is_idle() && !place.cancelling, place.rest) {
            (true, None) if lane.is_ready() => {
                self.rests += 1;
                place.rest = Some(self.rests);
                lane.shrink();
                self.resting.insert((self.rests, webhook));
            }
            (true, None) => self.forget(webhook),
            (false, Some(rest)) => {
                place.rest = None;
                self.resting.remove(&(rest, webhook));
            }
            (true, Some(rest)) if !lane.is_ready() => {
                self.resting.remove(&(rest, webhook));
                self.forget(webhook);
            }
            (true, Some(_)) | (false, None) => {}
        }
        if self.resting.len() > RESTING_MAX
            && let Some((_, longest)) = self.resting.pop_first()
        {
            self.forget(longest);
        }
    }
}

impl Registration {
    fn waits_for_turn(&self) -> bool {
        let of = |speed: &ReceiverSpeed| *self.turns.of(*speed);
        self.asked_turn || ReceiverSpeed::ALL.iter().any(of)
    }
}

/// The lane of the webhook. If there is none, one begins: its webhook is to be loaded, and it may
/// be remembered that its receiver was fast, and when it was called.
fn entry_in<'a>(
    lanes: &'a mut BTreeMap<WebhookId, Entry>,
    webhook: WebhookId,
    unloaded: &mut VecDeque<WebhookId>,
    (fast, metered): (&mut BTreeMap<WebhookId, TargetHash>, &mut MeteredLanes),
) -> &'a mut Entry {
    lanes.entry(webhook).or_insert_with(|| {
        unloaded.push_back(webhook);
        Entry {
            lane: Lane::new(fast.remove(&webhook), metered.recall(webhook)),
            place: Registration::default(),
        }
    })
}

fn tenant_in(lanes: &BTreeMap<WebhookId, Entry>) -> impl Fn(WebhookId) -> Option<TenantId> + '_ {
    |webhook| lanes.get(&webhook).and_then(|entry| entry.lane.tenant())
}

#[cfg(test)]
mod check;

#[cfg(test)]
mod tests;
