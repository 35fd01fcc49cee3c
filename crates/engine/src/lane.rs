//! One webhook's deliveries in memory: its state, its receiver, and what the store still has.
//!
//! Bookkeeping only; it knows no queue. Every doubt lowers the time at which the store is asked
//! again: too early costs one read, too late would lose a delivery until the next start. `check`
//! has the invariants; debug builds call it after every step.

mod deliveries;
mod reading;
mod receiver;
mod store_view;

use std::sync::Arc;

use model::call_limits::CallRate;
use model::delivery::DueDelivery;
use model::hold::Drain;
use model::id::{NotificationId, TenantId};
use model::mutation::{Mutation, is_on};
use model::time::Timestamp;
use tokio::time::Instant;

pub(crate) use self::deliveries::Phase;
pub(crate) use self::receiver::{AttemptEffect, Pause, TargetSnapshot, WebhookLookup};

use self::deliveries::Deliveries;
use self::receiver::Receiver;
use self::store_view::StoreView;
use crate::circuit_breaker::CircuitTransition;
use crate::concurrency::{ConcurrencyLimit, INITIAL_LIMIT, LoadSignal};
use crate::fair_queue::HostId;
use crate::fair_share::{FairShare, InFlightAttempt, ReceiverSpeed};
use crate::lane_stats::{LaneStatus, ReceiverHealth};
use crate::meter::Meter;
use crate::request::{PreparedTarget, TargetHash};

/// A webhook that somebody paused waits as if its receiver had asked for it, without an end.
const HELD: Timestamp = Timestamp::MAX;

/// How many more than its limit may be in flight because somebody asked for them.
const ASKED_BESIDE: usize = 2;

pub(crate) struct Lane {
    state: LaneState,
    receiver: Receiver,
    store: StoreView,
    deliveries: Deliveries,
}

/// What is known of the lane's webhook, and so whether anything may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LaneState {
    /// The webhook must be loaded.
    Unloaded,
    /// It is being loaded. `stale`: it changed since that was asked.
    Loading { stale: bool },
    /// It may be called.
    Ready,
    /// Nothing may be sent: the webhook is disabled, or another node's.
    Disabled,
}

/// What follows from a lookup.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum AfterLoad {
    Nothing,
    /// It must be loaded again.
    LoadAgain,
    /// It leads to another host than before.
    HostChanged,
    /// The deliveries of a disabled webhook are to be cancelled.
    Cancel,
}

/// What begins: a delivery, its target, and the lane's concurrency limit.
pub(crate) struct Begun {
    pub(crate) due: DueDelivery,
    pub(crate) prepared: Arc<PreparedTarget>,
    pub(crate) concurrency_limit: usize,
    /// The receiver is to be asked first whether it agrees.
    pub(crate) asks_first: bool,
}

impl Lane {
    /// A lane whose webhook is to be loaded; `fast`: the target that was fast when it had a lane
    /// before.
    pub(crate) fn new(fast: Option<TargetHash>, meter: Meter) -> Self {
        Self {
            state: LaneState::Unloaded,
            receiver: Receiver {
                speed: match fast {
                    Some(_) => ReceiverSpeed::Fast,
                    None => ReceiverSpeed::Unknown,
                },
                was_fast: fast,
                meter,
                ..Receiver::default()
            },
            store: StoreView::Known(None),
            deliveries: Deliveries::default(),
        }
    }

    pub(crate) fn tenant(&self) -> Option<TenantId> {
        self.receiver.target.as_ref().map(|target| target.tenant)
    }

    pub(crate) fn host(&self) -> Option<HostId> {
        self.receiver.host
    }

    pub(crate) fn speed(&self) -> ReceiverSpeed {
        self.receiver.speed
    }

    /// The target, if its receiver is fast.
    pub(crate) fn fast_target(&self) -> Option<TargetHash> {
        match &self.receiver.target {
            _ if self.speed() != ReceiverSpeed::Fast => None,
            Some(target) => Some(target.hash()),
            None => self.receiver.was_fast,
        }
    }

    pub(crate) fn paused_until(&self) -> Option<Timestamp> {
        self.receiver.pause.as_ref().map(|pause| pause.until)
    }

    /// Somebody paused its webhook.
    pub(crate) fn is_held(&self) -> bool {
        self.paused_until() == Some(HELD)
    }

    pub(crate) fn is_circuit_open(&self) -> bool {
        self.receiver.circuit.is_open()
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.state == LaneState::Ready
    }

    /// How many calls a second its webhook may have, if it or its receiver says so.
    pub(crate) fn rate(&self) -> Option<CallRate> {
        let own = self.receiver.target.as_ref().and_then(|own| own.rate);
        let agreement = self.receiver.agreement.as_ref();
        let agreed = agreement.and_then(|agreement| agreement.rate);
        let drain = self.drain().map(|drain| drain.rate);
        own.into_iter().chain(agreed).chain(drain).min()
    }

    /// How what waited for the end of a hold is sent, until all of it was begun.
    fn drain(&self) -> Option<Drain> {
        let drain = self.receiver.target.as_ref()?.holds.drain?;
        (self.receiver.drained_since != Some(drain.since)).then_some(drain)
    }

    /// When its next call may begin, if not now.
    pub(crate) fn rate_wait(&mut self, now: Instant) -> Option<Instant> {
        let rate = self.rate()?;
        self.receiver.meter.wait(rate, now)
    }

    /// What outlives the lane, if its webhook has a rate.
    pub(crate) fn meter(&self) -> Meter {
        match self.rate() {
            Some(_) => self.receiver.meter,
            None => Meter::default(),
        }
    }

    /// How far a delivery that is held has come.
    pub(crate) fn phase(&self, notification: NotificationId) -> Option<Phase> {
        self.deliveries.phase(notification)
    }

    // The webhook.

    /// The webhook is to be loaded, again if it is loaded. Returns whether it is to be queued for
    /// that.
    pub(crate) fn reload(&mut self) -> bool {
        match &mut self.state {
            LaneState::Unloaded => false,
            LaneState::Loading { stale } => {
                *stale = true;
                false
            }
            LaneState::Ready | LaneState::Disabled => {
                self.state = LaneState::Unloaded;
                true
            }
        }
    }

    /// Something was accepted for the webhook, so it is not disabled any more. Returns whether it
    /// is to be queued for loading.
    pub(crate) fn reopen(&mut self) -> bool {
        self.state == LaneState::Disabled && self.reload()
    }

    /// Another node sends what its webhook is owed from now on.
    pub(crate) fn disown(&mut self, shares: &mut FairShare) {
        self.state = LaneState::Disabled;
        self.give_back_all(shares);
        self.store.clear();
    }

    /// Loading begins, if it is still needed.
    pub(crate) fn begin_load(&mut self) -> bool {
        let is_needed = self.state == LaneState::Unloaded;
        if is_needed {
            self.state = LaneState::Loading { stale: false };
        }
        is_needed
    }

    /// The store refused. Returns whether the webhook is to be queued for loading.
    pub(crate) fn load_refused(&mut self) -> bool {
        let is_loading = matches!(self.state, LaneState::Loading { .. });
        if is_loading {
            self.state = LaneState::Unloaded;
        }
        is_loading
    }

    pub(crate) fn loaded(&mut self, lookup: WebhookLookup, shares: &mut FairShare) -> AfterLoad {
        match (self.state, lookup) {
            (LaneState::Loading { stale: true }, _) => {
                self.state = LaneState::Unloaded;
                AfterLoad::LoadAgain
            }
            (LaneState::Loading { stale: false }, WebhookLookup::Callable(snapshot)) => {
                match self.open(snapshot, shares) {
                    true => AfterLoad::HostChanged,
                    false => AfterLoad::Nothing,
                }
            }
            (LaneState::Loading { stale: false }, lookup) => {
                self.state = LaneState::Disabled;
                self.give_back_all(shares);
                self.store.clear();
                match matches!(lookup, WebhookLookup::Disabled) {
                    true => AfterLoad::Cancel,
                    false => AfterLoad::Nothing,
                }
            }
            // A receiver that is gone disabled it meanwhile, or it was never asked for.
            (LaneState::Unloaded | LaneState::Ready | LaneState::Disabled, _) => AfterLoad::Nothing,
        }
    }

    /// Its webhook may be called. Of a lane that is new the store knows how it has fared. Returns
    /// whether it leads to another host than before.
    fn open(&mut self, snapshot: TargetSnapshot, shares: &mut FairShare) -> bool {
        let TargetSnapshot {
            prepared,
            failing_since,
            succeeded,
            seen_at,
        } = snapshot;
        let endpoint = prepared.endpoint().ok();
        let last = self.receiver.target.as_ref();
        let host_changed = last.is_none_or(|last| last.endpoint().ok() != endpoint);
        if host_changed {
            let host = endpoint.map(|endpoint| shares.enter(endpoint));
            self.leave(shares);
            self.receiver.host = host;
        }
        let is_new = self.receiver.target.is_none();
        match &self.receiver.target {
            None => {
                // Until now it was nobody's. Nothing is in flight yet.
                let count = self.deliveries.waiting();
                let bytes = self.deliveries.waiting_bytes();
                shares.let_go(None, count, bytes);
                shares.hold(Some(prepared.tenant), count, bytes);
                let was_fast = self.receiver.was_fast.take();
                if was_fast.is_some_and(|hash| hash != prepared.hash()) {
                    self.receiver.speed = ReceiverSpeed::Unknown;
                }
                // How soon its latest attempt ended is not stored; that it failed is.
                if failing_since.is_some() && self.receiver.speed == ReceiverSpeed::Unknown {
                    self.receiver.speed = ReceiverSpeed::Slow;
                }
                let circuit = &mut self.receiver.circuit;
                circuit.restore(failing_since, succeeded, seen_at);
            }
            Some(last) if last.same_target(&prepared) => {}
            Some(_) => {
                self.receiver.circuit.target_changed();
                self.receiver.concurrency = ConcurrencyLimit::default();
                self.receiver.speed = ReceiverSpeed::Unknown;
            }
        }
        self.state = LaneState::Ready;
        let known = self.receiver.agreement.take();
        let handshake = prepared.handshake.as_ref();
        self.receiver.agreement = handshake.and_then(|own| own.agreement(known));
        self.receiver.target = Some(Arc::clone(&prepared));
        if is_new && self.is_circuit_open() {
            self.give_back(0, shares);
        }
        let pause = &mut self.receiver.pause;
        // A hold is over unless it is found again.
        pause.take_if(|pause| pause.until == HELD || !pause.by.same_target(&prepared));
        let held = prepared.holds.is_held.then_some(HELD);
        if let Some(until) = held.or(prepared.paused_until) {
            let by = prepared;
            self.take_pause(Pause { until, by }, shares);
        }
        host_changed
    }

    /// It does not lead to its host any more.
    pub(crate) fn leave(&mut self, shares: &mut FairShare) {
        if let Some(host) = self.receiver.host.take() {
            shares.leave(host);
        }
    }

    // What comes.

    /// The store has something that is due at `at`.
    pub(crate) fn lower(&mut self, at: Timestamp) {
        self.store.lower(at);
    }

    /// Takes up a delivery that was just accepted, if there is room and nothing in the store is
    /// due before it. It must not be held.
    pub(crate) fn arrive(&mut self, due: DueDelivery, shares: &mut FairShare) {
        let due_at = due.delivery.due_at;
        self.end_pause(due_at);
        let in_order = match self.store {
            StoreView::Known(stored_due_at) => stored_due_at.is_none_or(|at| at > due_at),
            StoreView::Reading { .. } => true,
        };
        let load = shares.load;
        let has_room =
            !load.is_full() && self.room(load) > 0 && shares.memory_left(self.tenant()) > 0;
        if in_order && has_room && !self.is_held_back(due_at) {
            self.hold(due, shares);
        } else {
            self.lower(due_at);
        }
    }

    /// Somebody asked for this delivery: it goes before the others, if there is room.
    pub(crate) fn ask_for(&mut self, due: DueDelivery, shares: &mut FairShare) {
        let due_at = due.delivery.due_at;
        self.end_pause(due_at);
        if !self.hold_asked(due, shares) {
            self.receiver.circuit.probe_now();
            self.lower(due_at);
        }
    }

    /// The webhook is another one, or what it is owed is: what is ready may be cancelled by now.
    pub(crate) fn changed(&mut self, now: Timestamp, shares: &mut FairShare) {
        self.give_back_all(shares);
        self.receiver.circuit.probe_now();
        self.lower(now);
    }

    fn hold(&mut self, due: DueDelivery, shares: &mut FairShare) {
        shares.hold(self.tenant(), 1, due.body.len());
        self.deliveries.hold(due);
    }

    /// Holds what somebody asked for, if it is not held yet, or was not begun yet. Returns whether
    /// it goes before the others.
    fn hold_asked(&mut self, due: DueDelivery, shares: &mut FairShare) -> bool {
        if self.deliveries.is_asked_full() || shares.load.is_full() || self.receiver.pause.is_some()
        {
            return false;
        }
        let notification = due.delivery.id.notification;
        if self.phase(notification).is_some() {
            return self.deliveries.prefer(notification);
        }
        shares.hold(self.tenant(), 1, due.body.len());
        self.deliveries.hold_asked(due);
        true
    }

    /// Whether what is due at `at` must wait in the store: for the end of a pause, or for the
    /// next probe.
    fn is_held_back(&self, at: Timestamp) -> bool {
        let paused = self.paused_until().is_some_and(|until| until > at);
        let circuit = &self.receiver.circuit;
        let probed = circuit.is_open() && circuit.probe_at(at, self.is_busy()) > at;
        paused || probed
    }

    pub(crate) fn end_pause(&mut self, now: Timestamp) {
        self.receiver.pause.take_if(|pause| pause.until <= now);
    }

    fn is_busy(&self) -> bool {
        self.deliveries.waiting() > 0
    }

    /// Takes a request up, unless somebody else is called by now or a longer one is there.
    fn take_pause(&mut self, pause: Pause, shares: &mut FairShare) {
        let current = self.receiver.target.as_ref().filter(|_| self.is_ready());
        if current.is_some_and(|current| !current.same_target(&pause.by)) {
            return;
        }
        let same = |old: &Pause| old.by.same_target(&pause.by);
        let longer = |old: &Pause| same(old) && old.until >= pause.until;
        if !self.receiver.pause.as_ref().is_some_and(longer) {
            self.receiver.pause = Some(pause);
        }
        self.give_back_all(shares);
    }

    // What goes back to the store.

    /// Forgets all that is to be sent; the store has it.
    fn give_back_all(&mut self, shares: &mut FairShare) {
        self.give_back(0, shares);
        self.forget_asked(shares);
    }

    /// What somebody asked for goes in its turn; an open circuit lets a probe through at once.
    pub(crate) fn give_back_asked(&mut self, shares: &mut FairShare) {
        self.receiver.circuit.probe_now();
        self.forget_asked(shares);
    }

    fn forget_asked(&mut self, shares: &mut FairShare) {
        while let Some(due) = self.deliveries.pop_last_asked() {
            self.forget_unsent(&due, shares);
        }
    }

    /// Forgets what is ready beyond the first `kept`; the store has it.
    fn give_back(&mut self, kept: usize, shares: &mut FairShare) {
        while self.deliveries.ready() > kept {
            self.give_back_last(shares);
        }
    }

    /// Forgets what is ready and due after `at`.
    fn give_back_after(&mut self, at: Timestamp, shares: &mut FairShare) {
        while self
            .deliveries
            .last_ready_at()
            .is_some_and(|due_at| due_at > at)
        {
            self.give_back_last(shares);
        }
    }

    fn give_back_last(&mut self, shares: &mut FairShare) {
        if let Some(due) = self.deliveries.pop_last_ready() {
            self.forget_unsent(&due, shares);
        }
    }

    fn forget_unsent(&mut self, due: &DueDelivery, shares: &mut FairShare) {
        shares.let_go(self.tenant(), 1, due.body.len());
        self.lower(due.delivery.due_at);
        self.receiver.circuit.recovery_reset();
    }

    // Sending.

    /// How many may be in flight. Of receivers nobody knows yet, all might hang; and the last half
    /// of what may be in flight for its kind is for lanes that have little.
    fn concurrency_limit(&self, most: usize, crowded: bool) -> usize {
        let own = match self.is_circuit_open() {
            true => INITIAL_LIMIT,
            false => self.receiver.concurrency.get(),
        };
        let limit = match (crowded, self.receiver.speed) {
            (true, ReceiverSpeed::Unknown) => 1,
            (true, ReceiverSpeed::Fast | ReceiverSpeed::Slow) => own.min(INITIAL_LIMIT),
            (false, _) => own,
        };
        limit.min(self.most(most))
    }

    /// The most that its webhook may have in flight.
    fn most(&self, most: usize) -> usize {
        let own = self.receiver.calls_at_a_time();
        own.map_or(most, |own| own.min(most))
    }

    /// Whether as many are in flight as may be.
    pub(crate) fn is_at_limit(&self, most: usize, crowded: bool) -> bool {
        self.deliveries.in_flight() >= self.concurrency_limit(most, crowded)
    }

    /// Whether something that is ready may go.
    pub(crate) fn may_send(&self, most: usize, crowded: bool) -> bool {
        self.is_ready() && self.deliveries.ready() > 0 && !self.is_at_limit(most, crowded)
    }

    /// Whether something that somebody asked for may go.
    pub(crate) fn may_send_asked(&self, most: usize) -> bool {
        self.is_ready()
            && self.deliveries.has_asked()
            && self.deliveries.in_flight() < self.asked_limit(most)
    }

    /// How many may be in flight if somebody asks for more: never more than the webhook says.
    fn asked_limit(&self, most: usize) -> usize {
        let beside = self.concurrency_limit(most, false) + ASKED_BESIDE;
        let own = self.receiver.calls_at_a_time();
        own.map_or(beside, |own| own.min(beside))
    }

    /// Begins the first that is ready, or that somebody asked for. It must be one that may go.
    pub(crate) fn begin(&mut self, asked: bool, now: Instant) -> Option<Begun> {
        let prepared = Arc::clone(self.receiver.target.as_ref().filter(|_| self.is_ready())?);
        let due = self.deliveries.begin(asked)?;
        let is_new = |drain: &Drain| !asked && due.accepted_at > drain.since;
        if let Some(drain) = self.drain().filter(is_new) {
            self.receiver.drained_since = Some(drain.since);
        }
        let asks_first = self.receiver.is_to_agree();
        // What is asked may set a rate, from this call on.
        if self.rate().is_some() || asks_first {
            self.receiver.meter.begin(now);
        }
        let concurrency = &mut self.receiver.concurrency;
        let concurrency_limit = concurrency.get();
        concurrency.begin(self.deliveries.in_flight());
        Some(Begun {
            due,
            prepared,
            concurrency_limit,
            asks_first,
        })
    }

    /// An attempt at this host has been in flight for long by now.
    pub(crate) fn aged(&mut self, host: Option<HostId>) {
        self.receiver.slow += 1;
        if self.receiver.host == host {
            self.receiver.speed = ReceiverSpeed::Slow;
        }
    }

    /// An attempt has ended. Its delivery stays held until that is settled.
    pub(crate) fn ended(
        &mut self,
        attempt: &InFlightAttempt,
        notification: NotificationId,
        effect: AttemptEffect,
        max_concurrency: usize,
        shares: &mut FairShare,
    ) -> Option<CircuitTransition> {
        self.forget_body(attempt, notification, shares);
        let receiver = &mut self.receiver;
        // Of another receiver it says nothing.
        if receiver.host == attempt.host {
            receiver.speed = match effect.slow || receiver.slow > 0 {
                true => ReceiverSpeed::Slow,
                false => ReceiverSpeed::Fast,
            };
        }
        if let Some(agreement) = effect.agreement {
            receiver.agreed(agreement);
        }
        let in_flight = self.deliveries.in_flight();
        let own = receiver.calls_at_a_time();
        let most = own.map_or(max_concurrency, |own| own.min(max_concurrency));
        let concurrency = &mut receiver.concurrency;
        concurrency.observe(effect.signal, in_flight, most);
        let circuit = &mut receiver.circuit;
        let transition = match effect.failed {
            true => circuit.failed(effect.began_at, effect.ended_at),
            false => circuit.succeeded(effect.began_at),
        };
        let stops_recovery = circuit.stops_recovery();
        if effect.gone {
            self.state = LaneState::Disabled;
            self.give_back_all(shares);
        } else if transition == Some(CircuitTransition::Opened) {
            self.give_back(0, shares);
        } else if effect.signal == LoadSignal::Timeout && shares.load.is_crowded() {
            self.give_back(1, shares);
        }
        if stops_recovery {
            self.give_back_after(effect.ended_at, shares);
        }
        if let Some(pause) = effect.pause {
            self.take_pause(pause, shares);
        }
        transition
    }

    /// An attempt is not in flight any more, and its body is not needed.
    pub(crate) fn forget_body(
        &mut self,
        attempt: &InFlightAttempt,
        notification: NotificationId,
        shares: &mut FairShare,
    ) {
        let receiver = &mut self.receiver;
        receiver.slow = receiver.slow.saturating_sub(usize::from(attempt.slow));
        if let Some(body_bytes) = self.deliveries.end(notification) {
            shares.let_go(self.tenant(), 1, body_bytes);
        }
    }

    /// An outcome is written, and the delivery is due again at `due_at`, if at all. While a read is
    /// outstanding it stays held: the answer may be older.
    pub(crate) fn settled(&mut self, notification: NotificationId, due_at: Option<Timestamp>) {
        match &mut self.store {
            StoreView::Known(_) => self.let_go(notification, due_at),
            _ if is_on(Mutation::TrustOldRead) => self.let_go(notification, due_at),
            StoreView::Reading { settled, .. } => {
                settled.push((notification, due_at));
                self.deliveries.park(notification);
            }
        }
    }

    fn let_go(&mut self, notification: NotificationId, due_at: Option<Timestamp>) {
        let again_at = self.deliveries.let_go(notification);
        for at in [due_at, again_at].into_iter().flatten() {
            self.lower(at);
        }
    }

    // What is said of it.

    /// How its receiver does, and when the first of what waits is due, if that is known.
    pub(crate) fn status(&self) -> LaneStatus {
        let health = match self.state {
            LaneState::Unloaded | LaneState::Loading { .. } => ReceiverHealth::Unknown,
            LaneState::Disabled => ReceiverHealth::Disabled,
            LaneState::Ready if self.receiver.pause.is_some() => ReceiverHealth::Paused,
            LaneState::Ready if self.is_circuit_open() => ReceiverHealth::Open,
            LaneState::Ready if self.receiver.circuit.is_failing() => ReceiverHealth::Failing,
            LaneState::Ready => ReceiverHealth::Healthy,
        };
        let first = [self.deliveries.first_ready_at(), self.store.due_at()];
        let first = first.into_iter().flatten().min();
        LaneStatus {
            health,
            class: self
                .receiver
                .target
                .as_ref()
                .map_or(0, |target| target.class),
            due_at: first.filter(|_| self.is_ready()),
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        let StoreView::Known(stored_due_at) = self.store else {
            return false;
        };
        let nothing_due = match self.state {
            LaneState::Unloaded | LaneState::Loading { .. } => false,
            LaneState::Ready => stored_due_at.is_none(),
            // Whatever the store has for it is told anew when it is ready again.
            LaneState::Disabled => true,
        };
        nothing_due && self.deliveries.held() == 0
    }

    /// Gives back memory that a lane without work does not need.
    pub(crate) fn shrink(&mut self) {
        self.deliveries.shrink();
    }

    /// Panics if an invariant does not hold.
    pub(crate) fn check(&self) {
        let (parked, is_reading) = match &self.store {
            StoreView::Known(_) => (&[] as &[_], false),
            StoreView::Reading { settled, .. } => (&**settled, true),
        };
        self.deliveries.check(parked);
        let nothing_waits = self.deliveries.ready() == 0 && !self.deliveries.has_asked();
        let Receiver {
            target,
            host,
            concurrency,
            slow,
            pause,
            ..
        } = &self.receiver;
        assert!(
            nothing_waits || (self.state != LaneState::Disabled && pause.is_none()),
            "a lane that is disabled or paused has nothing to send"
        );
        let in_flight = self.deliveries.in_flight();
        assert!(
            target.is_some() || (!self.is_ready() && host.is_none() && in_flight == 0),
            "only a lane whose webhook was loaded sends"
        );
        assert!(*slow <= in_flight, "what is slow is in flight");
        assert!(concurrency.get() > 0, "one attempt may always run");
        assert!(
            !(self.is_idle() && is_reading),
            "a lane that is read is not idle"
        );
    }
}

#[cfg(test)]
impl Lane {
    /// Deliveries and bytes that count against the shares, and what of them is in flight.
    pub(crate) fn usage(&self) -> (usize, usize, usize) {
        let of = &self.deliveries;
        (of.waiting(), of.waiting_bytes(), of.in_flight())
    }

    pub(crate) fn is_unloaded(&self) -> bool {
        self.state == LaneState::Unloaded
    }

    pub(crate) fn is_reading(&self) -> bool {
        matches!(self.store, StoreView::Reading { .. })
    }
}
