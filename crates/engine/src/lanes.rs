//! Lanes: one for every webhook that has something waiting or in the air; their order and limits.
//!
//! Pure bookkeeping: no clock, no store, nothing awaited. `dispatch.rs` says what happened and
//! asks what to do next. Each call costs the logarithm of the number of lanes, never a walk over
//! them, and after each the lanes it touched are where they belong (`review`).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use model::contract::{DuePage, DueQuery};
use model::delivery::{DispatchState, DueDelivery};
use model::id::{DeliveryId, TenantId, WebhookId};
use model::time::Timestamp;
use tokio::time::Instant;

use crate::circuit_breaker::CircuitTransition;
use crate::concurrency::LoadSignal;
use crate::fair_queue::WaitingLane;
use crate::fair_share::{FairShare, InFlightId, ReceiverSpeed};
use crate::lane::{AttemptEffect, Lane, ReadState, TargetState, WebhookLookup};
use crate::lane_stats::LaneStats;
use crate::request::PreparedTarget;

/// Lanes asked for in one read, and new rows they may bring together: some milliseconds' work.
const READ_LANES_MAX: usize = 64;
const READ_ROWS_MAX: usize = 256;

/// Webhooks whose targets are read together.
const TARGETS_MAX: usize = 1_000;

/// Lanes with nothing to do that are kept: their next delivery needs no look at the webhook, and
/// finds the concurrency limit they had. About a kilobyte each.
const RESTING_MAX: usize = 1_000;

/// Webhooks of which it is remembered, without their lane, that their receiver was quick: some
/// megabytes.
const QUICK_MAX: usize = 100_000;

pub(crate) struct Lanes {
    lanes: BTreeMap<WebhookId, Lane>,
    /// When lanes want to be read, earliest first.
    read_times: BTreeSet<(Timestamp, WebhookId)>,
    /// What is held and in the air, and who has a turn.
    shares: FairShare,
    /// Webhooks without a lane whose receivers were quick when they had one.
    quick: BTreeSet<WebhookId>,
    /// Lanes that have nothing to do, by when they came to it.
    resting: BTreeSet<(u64, WebhookId)>,
    rests: u64,
    counted: LaneStats,
    /// Lanes that are counted anew before anybody asks: more than once happens something to most.
    uncounted: Vec<WebhookId>,
    /// Lanes whose target must be read.
    unseen: VecDeque<WebhookId>,
    /// Disabled webhooks whose pending deliveries are still to be cancelled.
    uncancelled: VecDeque<WebhookId>,
    max_concurrency: usize,
    read_lanes_max: usize,
}

/// A delivery that is to be sent.
pub(crate) struct NextAttempt {
    pub(crate) attempt_id: InFlightId,
    pub(crate) prepared: Arc<PreparedTarget>,
    pub(crate) due: DueDelivery,
    /// What its lane's receiver may have at once.
    pub(crate) concurrency_limit: u32,
}

impl Lanes {
    pub(crate) fn new(max_in_flight: usize, max_concurrency: usize) -> Self {
        Self {
            lanes: BTreeMap::new(),
            read_times: BTreeSet::new(),
            shares: FairShare::new(max_in_flight),
            quick: BTreeSet::new(),
            resting: BTreeSet::new(),
            rests: 0,
            counted: LaneStats::default(),
            uncounted: Vec::new(),
            unseen: VecDeque::new(),
            uncancelled: VecDeque::new(),
            max_concurrency: max_concurrency.max(1),
            read_lanes_max: READ_LANES_MAX,
        }
    }

    /// Lanes that wait or have something in the air.
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

    /// Attempts that have been in the air for long.
    pub(crate) fn slow(&self) -> usize {
        self.shares.slow()
    }

    /// Forgets lanes that have nothing to do, with what is known of their webhooks.
    pub(crate) fn forget_resting(&mut self) {
        while let Some((_, webhook)) = self.resting.pop_first() {
            self.forget(webhook);
        }
    }

    pub(crate) fn held(&self) -> usize {
        self.shares.load.held
    }

    /// How lanes stand, and with what they wait.
    pub(crate) fn counted(&mut self) -> &LaneStats {
        for webhook in self.uncounted.drain(..) {
            if let Some(lane) = self.lanes.get_mut(&webhook) {
                lane.uncounted = false;
                let status = Some(lane.status());
                self.counted.change(webhook, lane.status, status);
                lane.status = status;
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
        self.lane(webhook).lower(at);
        self.review(webhook);
    }

    /// A delivery that was just accepted. It goes without being read back if there is room and
    /// nothing in the store is due before it.
    pub(crate) fn arrive(&mut self, due: DueDelivery) {
        let webhook = due.delivery.id.webhook;
        let load = self.shares.load;
        let lane = self.lanes.entry(webhook).or_insert_with(|| {
            self.unseen.push_back(webhook);
            begun(webhook, &mut self.quick)
        });
        if lane.held.contains(due.delivery.id.notification) {
            return;
        }
        if matches!(lane.target, TargetState::Disabled) {
            lane.target = TargetState::Unloaded;
            self.unseen.push_back(webhook);
        }
        let due_at = due.delivery.due_at;
        lane.end_pause(due_at);
        let held_back = lane.is_held_back(due_at);
        let in_order = lane.reading || lane.stored_due_at.is_none_or(|at| at > due_at);
        let has_room =
            !load.is_full() && lane.room(load) > 0 && self.shares.memory_left(lane.tenant()) > 0;
        if in_order && !held_back && has_room {
            lane.hold(due, &mut self.shares);
        } else {
            lane.lower(due_at);
        }
        if lane.speed == ReceiverSpeed::Unknown && *lane.in_turns.of(ReceiverSpeed::Unknown) {
            self.shares.renew(lane.host, lane.tenant(), webhook);
        }
        self.review(webhook);
    }

    /// Somebody asked for this delivery and waits for it: it is the next of its lane, and its lane
    /// has a turn of its own. A receiver that is probed is probed with it.
    pub(crate) fn ask_for(&mut self, due: DueDelivery) {
        let webhook = due.delivery.id.webhook;
        let due_at = due.delivery.due_at;
        // Who asks may have mended something: neither the webhook nor its name is as remembered.
        self.look_again(webhook);
        if let Some(lane) = self.lanes.get_mut(&webhook) {
            lane.end_pause(due_at);
            if !lane.hold_asked(due, &mut self.shares) {
                lane.circuit.probe_now();
                lane.lower(due_at);
            }
        }
        self.review(webhook);
    }

    /// Where a delivery that is owed stands.
    pub(crate) fn dispatch_state(&self, id: DeliveryId) -> DispatchState {
        let Some(lane) = self.lanes.get(&id.webhook) else {
            return DispatchState::Ready;
        };
        let waits = lane.waits_with(id.notification);
        if lane.held.contains(id.notification) && waits.is_none() {
            return DispatchState::InFlight;
        }
        let is_asked = waits == Some(true);
        let crowded = self.shares.is_crowded(lane.speed);
        if let Some(pause) = &lane.pause {
            DispatchState::Paused { until: pause.until }
        } else if lane.circuit.is_open() && !is_asked {
            DispatchState::CircuitOpen
        } else if lane.in_flight >= lane.concurrency_limit(self.max_concurrency, crowded)
            && !is_asked
        {
            DispatchState::ConcurrencyLimited
        } else if !lane.is_queued() {
            DispatchState::Ready
        } else if self.shares.queued_by_share() > 0 {
            DispatchState::ShareLimited
        } else {
            DispatchState::InFlightLimited
        }
    }

    /// The webhook is another one, or what it is owed is another: what was ready may be stopped.
    pub(crate) fn changed(&mut self, webhook: WebhookId, now: Timestamp) {
        // Its receiver may be another one.
        self.quick.remove(&webhook);
        self.look_again(webhook);
        if let Some(lane) = self.lanes.get_mut(&webhook) {
            lane.give_back_all(&mut self.shares);
        }
        self.lane(webhook).circuit.probe_now();
        self.lower(webhook, now);
    }

    /// Any webhook may be another one.
    pub(crate) fn all_changed(&mut self) {
        self.forget_resting();
        let all: Vec<WebhookId> = self.lanes.keys().copied().collect();
        for webhook in all {
            self.look_again(webhook);
            self.review(webhook);
        }
    }

    /// Attempts that have been in the air for long by now count as such.
    pub(crate) fn age(&mut self, now: Instant) {
        while let Some(attempt) = self.shares.age(now) {
            if let Some(lane) = self.lanes.get_mut(&attempt.webhook) {
                lane.slow += 1;
                if lane.host == attempt.host {
                    lane.speed = ReceiverSpeed::Slow;
                }
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

    /// The next delivery to be sent, if there is one and one more attempt may be in the air.
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

    /// A lane has its turn among those of a kind.
    fn begin(
        &mut self,
        speed: ReceiverSpeed,
        webhook: WebhookId,
        now: Instant,
    ) -> Option<NextAttempt> {
        let lane = self.lanes.get_mut(&webhook)?;
        if speed != lane.speed {
            *lane.in_turns.of_mut(speed) = false;
            self.review(webhook);
            return None;
        }
        // One that is as wide as it may be gets its turn back when an attempt of its ends.
        let crowded = self.shares.is_crowded(speed);
        let (host, tenant) = (lane.host, lane.tenant());
        if !lane.may_send(self.max_concurrency, crowded) {
            *lane.in_turns.of_mut(speed) = false;
            return None;
        }
        if !self.shares.may_go(host, tenant, speed) {
            self.shares.wait(host, tenant, speed, webhook);
            return None;
        }
        *lane.in_turns.of_mut(speed) = false;
        let (_, due) = lane.ready.pop_first()?;
        self.take_off(webhook, due, false, now)
    }

    /// A lane has its turn with what somebody asked for.
    fn begin_asked(&mut self, webhook: WebhookId, now: Instant) -> Option<NextAttempt> {
        let lane = self.lanes.get_mut(&webhook)?;
        lane.in_asked = false;
        if !lane.may_send_asked(self.max_concurrency) {
            return None;
        }
        if !self.shares.may_go_asked(lane.host, lane.tenant()) {
            lane.give_back_asked(&mut self.shares);
            self.review(webhook);
            return None;
        }
        let due = lane.asked.pop_front()?;
        self.take_off(webhook, due, true, now)
    }

    fn take_off(
        &mut self,
        webhook: WebhookId,
        due: DueDelivery,
        asked: bool,
        now: Instant,
    ) -> Option<NextAttempt> {
        let lane = self.lanes.get_mut(&webhook)?;
        let TargetState::Ready(prepared) = &lane.target else {
            return None;
        };
        let prepared = Arc::clone(prepared);
        let (host, tenant, kind) = (lane.host, lane.tenant(), (lane.speed, asked));
        let concurrency_limit = u32::try_from(lane.concurrency.get()).unwrap_or(u32::MAX);
        lane.in_flight += 1;
        lane.concurrency.begin(lane.in_flight);
        let attempt_id = self.shares.take_off(webhook, tenant, host, kind, now);
        self.review(webhook);
        Some(NextAttempt {
            attempt_id,
            prepared,
            due,
            concurrency_limit,
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
        let lane = self.lanes.get_mut(&id.webhook)?;
        lane.in_flight = lane.in_flight.saturating_sub(1);
        lane.slow = lane.slow.saturating_sub(usize::from(attempt.slow));
        // Of another receiver it says nothing.
        if lane.host == attempt.host {
            lane.speed = match effect.slow || lane.slow > 0 {
                true => ReceiverSpeed::Slow,
                false => ReceiverSpeed::Fast,
            };
        }
        lane.concurrency
            .observe(effect.signal, lane.in_flight, self.max_concurrency);
        lane.forget_body(id.notification, &mut self.shares);
        let transition = match effect.failed {
            true => lane.circuit.failed(effect.began.schedule, effect.ended_at),
            false => lane.circuit.succeeded(effect.began),
        };
        if effect.gone {
            lane.target = TargetState::Disabled;
            lane.give_back_all(&mut self.shares);
        } else if transition == Some(CircuitTransition::Opened) {
            lane.give_back(0, &mut self.shares);
        } else if effect.signal == LoadSignal::Timeout && self.shares.load.is_crowded() {
            lane.give_back(1, &mut self.shares);
        }
        if lane.circuit.stops_recovery() {
            lane.give_back_ahead(effect.ended_at, &mut self.shares);
        }
        if let Some(pause) = effect.pause {
            lane.take_pause(pause, &mut self.shares);
        }
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
        if let Some(lane) = self.lanes.get_mut(&id.webhook) {
            lane.in_flight = lane.in_flight.saturating_sub(1);
            lane.slow = lane.slow.saturating_sub(usize::from(attempt.slow));
            lane.forget_body(id.notification, &mut self.shares);
        }
        self.settled(id, Some(due_at));
    }

    /// An outcome is written down, and the delivery is due again at `due_at`, if at all.
    pub(crate) fn settled(&mut self, id: DeliveryId, due_at: Option<Timestamp>) {
        let Some(lane) = self.lanes.get_mut(&id.webhook) else {
            return;
        };
        if lane.reading {
            lane.parked.push((id.notification, due_at));
        } else {
            lane.let_go(id.notification, due_at);
        }
        self.review(id.webhook);
    }

    /// What is to be read now. One such question at a time.
    pub(crate) fn ask_due(&mut self, now: Timestamp) -> Vec<DueQuery> {
        while let Some(&(at, webhook)) = self.read_times.first()
            && at <= now
        {
            self.read_times.pop_first();
            if let Some(lane) = self.lanes.get_mut(&webhook)
                && lane.read_state == ReadState::Scheduled(at)
            {
                lane.read_state = ReadState::Waiting;
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
            let Some(lane) = self.lanes.get_mut(&webhook) else {
                continue;
            };
            if lane.read_state != ReadState::Waiting {
                continue;
            }
            lane.read_state = ReadState::None;
            if let Some(ask) = lane.ask(webhook, now, &self.shares) {
                lane.reading = true;
                rows += ask.limit.saturating_sub(lane.held.len());
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
            let Some(lane) = self.lanes.get_mut(webhook) else {
                continue;
            };
            let read = reads.remove(webhook);
            lane.reading = false;
            lane.stored_due_at = lane.lowered.take();
            if let Some(read) = read.filter(|_| !matches!(lane.target, TargetState::Disabled)) {
                lane.take_in(read, now, &mut self.shares);
                lane.keep_probe(now, &mut self.shares);
                lane.end_pause(now);
                if lane.pause.is_some() {
                    lane.give_back_all(&mut self.shares);
                }
            }
            for (notification, due_at) in std::mem::take(&mut lane.parked) {
                lane.let_go(notification, due_at);
            }
            self.review(*webhook);
        }
    }

    /// The store refused `ask_due`: everything is as it was before. If it is broken, one lane may
    /// be what it chokes on; ever fewer at a time, in turn, let the others through.
    pub(crate) fn unasked_due(&mut self, asked: &[WebhookId], broken: bool) {
        if broken {
            self.read_lanes_max = (asked.len() / 2).max(1);
        }
        for webhook in asked {
            if let Some(lane) = self.lanes.get_mut(webhook) {
                lane.reading = false;
                lane.lowered = None;
                for (notification, due_at) in std::mem::take(&mut lane.parked) {
                    lane.let_go(notification, due_at);
                }
                lane.read_state = ReadState::Waiting;
                self.shares.queue_read(lane.tenant(), *webhook);
            }
        }
    }

    /// The webhooks whose targets are to be read. One such question at a time.
    pub(crate) fn ask_targets(&mut self) -> Vec<WebhookId> {
        if self.unseen.is_empty() {
            return Vec::new();
        }
        // Of more than that half is taken from either end, so that whoever comes behind thousands
        // is not kept by them.
        let count = self.unseen.len().min(TARGETS_MAX);
        let late = match self.unseen.len() > count {
            true => self.unseen.split_off(self.unseen.len() - count / 2),
            false => VecDeque::new(),
        };
        let mut asked = Vec::with_capacity(count);
        for webhook in self.unseen.drain(..count - late.len()).chain(late) {
            if let Some(lane) = self.lanes.get_mut(&webhook)
                && matches!(lane.target, TargetState::Unloaded)
            {
                lane.target = TargetState::Loading { stale: false };
                asked.push(webhook);
            }
        }
        asked
    }

    /// What a webhook was found to be.
    pub(crate) fn answer_target(&mut self, webhook: WebhookId, seen: WebhookLookup) {
        let Some(lane) = self.lanes.get_mut(&webhook) else {
            return;
        };
        match (&lane.target, seen) {
            (TargetState::Loading { stale: true }, _) => {
                lane.target = TargetState::Unloaded;
                self.unseen.push_back(webhook);
            }
            (TargetState::Loading { stale: false }, WebhookLookup::Callable(snapshot)) => {
                lane.open(snapshot, &mut self.shares);
            }
            (TargetState::Loading { stale: false }, seen) => {
                lane.target = TargetState::Disabled;
                lane.give_back_all(&mut self.shares);
                lane.stored_due_at = None;
                if matches!(seen, WebhookLookup::Disabled) && !lane.cancelling {
                    lane.cancelling = true;
                    self.uncancelled.push_back(webhook);
                }
            }
            // A receiver that is gone shut the lane meanwhile, or it was never asked for.
            (TargetState::Unloaded | TargetState::Ready(_) | TargetState::Disabled, _) => {}
        }
        self.review(webhook);
    }

    /// The store refused `ask_targets`.
    pub(crate) fn unasked_targets(&mut self, asked: &[WebhookId]) {
        for webhook in asked {
            if let Some(lane) = self.lanes.get_mut(webhook)
                && matches!(lane.target, TargetState::Loading { .. })
            {
                lane.target = TargetState::Unloaded;
                self.unseen.push_back(*webhook);
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
        } else if let Some(lane) = self.lanes.get_mut(&webhook) {
            lane.cancelling = false;
        }
        self.review(webhook);
    }

    fn lane(&mut self, webhook: WebhookId) -> &mut Lane {
        self.lanes.entry(webhook).or_insert_with(|| {
            self.unseen.push_back(webhook);
            begun(webhook, &mut self.quick)
        })
    }

    fn look_again(&mut self, webhook: WebhookId) {
        let lane = self.lane(webhook);
        match &mut lane.target {
            TargetState::Unloaded => {}
            TargetState::Loading { stale } => *stale = true,
            TargetState::Ready(_) | TargetState::Disabled => {
                lane.target = TargetState::Unloaded;
                self.unseen.push_back(webhook);
            }
        }
    }

    fn forget(&mut self, webhook: WebhookId) {
        let Some(mut lane) = self.lanes.remove(&webhook) else {
            return;
        };
        lane.leave(&mut self.shares);
        self.counted.change(webhook, lane.status, None);
        if lane.speed == ReceiverSpeed::Fast {
            self.quick.insert(webhook);
        }
        if self.quick.len() > QUICK_MAX {
            self.quick.pop_first();
        }
    }

    /// Puts a lane that something happened to where it belongs.
    fn review(&mut self, webhook: WebhookId) {
        let Some(lane) = self.lanes.get_mut(&webhook) else {
            return;
        };
        let speed = lane.speed;
        if !lane.in_turns.of(speed)
            && lane.may_send(self.max_concurrency, self.shares.is_crowded(speed))
        {
            *lane.in_turns.of_mut(speed) = true;
            let tenant = lane.tenant();
            self.shares.queue(speed, tenant, WaitingLane::of(webhook));
        }
        if !lane.in_asked && lane.may_send_asked(self.max_concurrency) {
            lane.in_asked = self.shares.queue_asked(lane.tenant(), webhook);
            if !lane.in_asked {
                lane.give_back_asked(&mut self.shares);
            }
        }
        let wants = lane.wants_read_at(self.shares.load);
        match lane.read_state {
            ReadState::Scheduled(at) if wants == Some(at) => {}
            // It is looked at again when its turn comes.
            ReadState::Waiting => {}
            ReadState::Scheduled(_) | ReadState::None => {
                if let ReadState::Scheduled(at) = lane.read_state {
                    self.read_times.remove(&(at, webhook));
                }
                lane.read_state = match wants {
                    Some(at) => {
                        self.read_times.insert((at, webhook));
                        ReadState::Scheduled(at)
                    }
                    None => ReadState::None,
                };
            }
        }
        if !lane.uncounted {
            lane.uncounted = true;
            self.uncounted.push(webhook);
        }
        // A lane that has nothing to do rests for a while, if its webhook may be called.
        match (lane.is_idle(), lane.resting) {
            (true, None) if matches!(lane.target, TargetState::Ready(_)) => {
                self.rests += 1;
                lane.resting = Some(self.rests);
                lane.ready.rest();
                lane.held.rest();
                self.resting.insert((self.rests, webhook));
            }
            (true, None) => self.forget(webhook),
            (false, Some(rest)) => {
                lane.resting = None;
                self.resting.remove(&(rest, webhook));
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

/// A lane of which it may be remembered that its receiver was quick.
fn begun(webhook: WebhookId, quick: &mut BTreeSet<WebhookId>) -> Lane {
    let speed = match quick.remove(&webhook) {
        true => ReceiverSpeed::Fast,
        false => ReceiverSpeed::Unknown,
    };
    Lane {
        speed,
        ..Lane::default()
    }
}

fn tenant_in(lanes: &BTreeMap<WebhookId, Lane>) -> impl Fn(WebhookId) -> Option<TenantId> + '_ {
    |webhook| lanes.get(&webhook).and_then(Lane::tenant)
}

#[cfg(test)]
mod tests;
