//! Lane: what is in memory of one webhook's deliveries, and when the store has more.
//!
//! Bookkeeping only. `stored_due_at` is held low by every doubt: too early costs one read, too
//! late would lose a delivery until the next start.

use std::collections::VecDeque;
use std::sync::Arc;

use model::contract::{DuePage, DueQuery};
use model::delivery::{Delivery, DueDelivery};
use model::id::{NotificationId, TenantId, WebhookId};
use model::limits;
use model::time::{Moment, Timestamp};

use crate::circuit_breaker::CircuitBreaker;
use crate::concurrency::{ConcurrencyLimit, INITIAL_LIMIT, LoadSignal};
use crate::fair_queue::HostId;
use crate::fair_share::{BySpeed, FairShare, MemoryLoad, ReceiverSpeed};
use crate::lane_stats::{LaneStatus, ReceiverHealth};
use crate::request::PreparedTarget;
use crate::sorted::Sorted;

/// How many more than it is wide may be in the air because somebody asked for them.
const ASKED_BESIDE: usize = 2;

/// No lane holds more than this part of what is free, so that a newcomer always finds room.
const SHARE: usize = 16;

/// A lane is not read while what it holds has more than this in bodies: as much as one read of
/// the largest brings.
const REREAD_BYTES_MAX: usize = limits::LANE_READ_MAX * limits::NOTIFICATION_BODY_BYTES_MAX;

#[derive(Default)]
pub(crate) struct Lane {
    /// Waiting to go, in the order of their due times.
    pub(crate) ready: Sorted<(Timestamp, NotificationId), DueDelivery>,
    /// What somebody asked for and waits for, in that order; goes before all that is ready.
    pub(crate) asked: VecDeque<DueDelivery>,
    /// It waits for a turn with it.
    pub(crate) in_asked: bool,
    /// Every delivery that must not be taken up again: ready, in the air, or unsettled.
    pub(crate) held: Sorted<NotificationId, HeldDelivery>,
    pub(crate) in_flight: usize,
    pub(crate) stored_due_at: Option<Timestamp>,
    /// An answer of the store about this lane is outstanding.
    pub(crate) reading: bool,
    /// How `stored_due_at` was lowered since that was asked.
    pub(crate) lowered: Option<Timestamp>,
    /// Settled since that was asked, with their next due times.
    pub(crate) parked: Vec<(NotificationId, Option<Timestamp>)>,
    pub(crate) target: TargetState,
    pub(crate) read_state: ReadState,
    /// As which kind it waits for a turn.
    pub(crate) in_turns: BySpeed<bool>,
    pub(crate) cancelling: bool,
    pub(crate) pause: Option<Pause>,
    pub(crate) circuit: CircuitBreaker,
    pub(crate) concurrency: ConcurrencyLimit,
    pub(crate) speed: ReceiverSpeed,
    /// Attempts that have been in the air for long.
    pub(crate) slow: usize,
    /// Where its receiver is, if its URL can be called.
    pub(crate) host: Option<HostId>,
    /// What its webhook was when it was looked at last.
    pub(crate) seen: Option<Arc<PreparedTarget>>,
    /// The bodies of what waits or is in the air.
    pub(crate) body_bytes: usize,
    /// The bodies of all that is held: what a read may bring once more.
    pub(crate) held_bytes: usize,
    /// Its place among lanes that have nothing to do.
    pub(crate) resting: Option<u64>,
    /// How it is counted, and with what it waits.
    pub(crate) status: Option<LaneStatus>,
    /// Something happened to it since it was counted.
    pub(crate) uncounted: bool,
}

/// A receiver's request to be left alone: nothing is read or taken up before.
pub(crate) struct Pause {
    pub(crate) until: Timestamp,
    /// Who asked for it.
    pub(crate) by: Arc<PreparedTarget>,
}

/// What a webhook was found to be.
pub(crate) enum WebhookLookup {
    Callable(TargetSnapshot),
    Disabled,
    /// Not there, or nobody here knows how to serve it.
    Unsupported,
}

/// A webhook that may be called, and how its receiver has fared.
pub(crate) struct TargetSnapshot {
    pub(crate) prepared: Arc<PreparedTarget>,
    pub(crate) failing_since: Option<Timestamp>,
    /// On the wall, as the store has it.
    pub(crate) succeeded_at: Option<Timestamp>,
    pub(crate) seen_at: Timestamp,
}

/// How an attempt ended, as far as its lane is concerned.
pub(crate) struct AttemptEffect {
    pub(crate) began: Moment,
    /// In the schedule, as all else here that is due or was.
    pub(crate) ended_at: Timestamp,
    pub(crate) failed: bool,
    pub(crate) signal: LoadSignal,
    /// It held its flight for long.
    pub(crate) slow: bool,
    /// The receiver wants nothing more.
    pub(crate) gone: bool,
    /// The receiver wants nothing for a while.
    pub(crate) pause: Option<Pause>,
}

/// A delivery as it was when it was taken up.
#[derive(Debug)]
pub(crate) struct HeldDelivery {
    round: u32,
    attempts: u32,
    pub(crate) body_bytes: usize,
    /// The store was seen to have it due in a later state.
    again_at: Option<Timestamp>,
}

/// What is known of a lane's webhook.
#[derive(Default)]
pub(crate) enum TargetState {
    /// Must be read.
    #[default]
    Unloaded,
    /// Is being read; `stale` if it changed since it was asked for.
    Loading {
        stale: bool,
    },
    Ready(Arc<PreparedTarget>),
    /// Nothing may be sent.
    Disabled,
}

/// Where a lane stands in the queue for reading.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadState {
    #[default]
    None,
    Scheduled(Timestamp),
    Waiting,
}

/// How many deliveries one lane may hold, and how many bytes of them.
fn share(load: MemoryLoad) -> (usize, usize) {
    let count = limits::BUFFERED_MAX.saturating_sub(load.held) / SHARE;
    let bytes = limits::BUFFERED_BYTES_MAX.saturating_sub(load.held_bytes) / SHARE;
    (count, bytes)
}

impl Lane {
    pub(crate) fn lower(&mut self, at: Timestamp) {
        let earlier = |known: Option<Timestamp>| Some(known.map_or(at, |known| known.min(at)));
        self.stored_due_at = earlier(self.stored_due_at);
        if self.reading {
            self.lowered = earlier(self.lowered);
        }
    }

    pub(crate) fn hold(&mut self, due: DueDelivery, shares: &mut FairShare) {
        self.note_held(&due, shares);
        let Delivery { id, due_at, .. } = due.delivery;
        self.ready.insert((due_at, id.notification), due);
    }

    /// What somebody asked for, if it is not held yet, or was not begun yet. Answers whether it
    /// goes before the others.
    pub(crate) fn hold_asked(&mut self, due: DueDelivery, shares: &mut FairShare) -> bool {
        let id = due.delivery.id.notification;
        let is_full = self.asked.len() >= limits::LANE_PRIORITY_MAX || shares.load.is_full();
        if is_full || self.pause.is_some() {
            return false;
        }
        if !self.held.contains(id) {
            self.note_held(&due, shares);
            self.asked.push_back(due);
            return true;
        }
        let Some(at) = self.ready.key_of(|(_, ready)| *ready == id) else {
            return self
                .asked
                .iter()
                .any(|asked| asked.delivery.id.notification == id);
        };
        self.asked.extend(self.ready.remove(at));
        true
    }

    fn note_held(&mut self, due: &DueDelivery, shares: &mut FairShare) {
        let Delivery {
            id,
            round,
            attempts,
            ..
        } = due.delivery;
        let held = HeldDelivery {
            round,
            attempts,
            body_bytes: due.body.len(),
            again_at: None,
        };
        shares.hold(self.tenant(), 1, held.body_bytes);
        self.body_bytes += held.body_bytes;
        self.held_bytes += held.body_bytes;
        self.held.insert(id.notification, held);
    }

    /// Its webhook may be called. Of a lane that is new the store knows how it has fared.
    pub(crate) fn open(&mut self, snapshot: TargetSnapshot, shares: &mut FairShare) {
        let TargetSnapshot {
            prepared,
            failing_since,
            succeeded_at,
            seen_at,
        } = snapshot;
        let endpoint = prepared.endpoint().ok();
        let seen = self.seen.as_ref();
        if seen.is_none_or(|seen| seen.endpoint().ok() != endpoint) {
            let host = endpoint.map(|endpoint| shares.enter(endpoint));
            self.leave(shares);
            self.host = host;
            // Where it waits for room now, it has no business.
            self.in_turns = BySpeed::default();
        }
        match &self.seen {
            None => {
                // Until now it was nobody's.
                shares.let_go(None, self.own() - self.in_flight, self.body_bytes);
                shares.hold(
                    Some(prepared.tenant),
                    self.own() - self.in_flight,
                    self.body_bytes,
                );
                // How soon its latest attempt ended is not stored; that it failed is.
                if failing_since.is_some() && self.speed == ReceiverSpeed::Unknown {
                    self.speed = ReceiverSpeed::Slow;
                }
                self.circuit.restore(failing_since, succeeded_at, seen_at);
            }
            Some(seen) if seen.same_target(&prepared) => {}
            Some(_) => {
                self.circuit.target_changed();
                self.concurrency = ConcurrencyLimit::default();
                self.speed = ReceiverSpeed::Unknown;
            }
        }
        let is_new = self.seen.is_none();
        self.target = TargetState::Ready(Arc::clone(&prepared));
        self.seen = Some(Arc::clone(&prepared));
        if is_new && self.circuit.is_open() {
            self.give_back(0, shares);
        }
        self.pause.take_if(|pause| !pause.by.same_target(&prepared));
        if let Some(until) = prepared.paused_until {
            let by = prepared;
            self.take_pause(Pause { until, by }, shares);
        }
    }

    /// It does not lead to its host any more.
    pub(crate) fn leave(&mut self, shares: &mut FairShare) {
        if let Some(host) = self.host.take() {
            shares.leave(host);
        }
    }

    /// A delivery was sent; its body is not needed any more.
    pub(crate) fn forget_body(&mut self, notification: NotificationId, shares: &mut FairShare) {
        if let Some(held) = self.held.get_mut(notification) {
            let tenant = self.seen.as_ref().map(|seen| seen.tenant);
            shares.let_go(tenant, 1, held.body_bytes);
            self.body_bytes = self.body_bytes.saturating_sub(held.body_bytes);
        }
    }

    pub(crate) fn tenant(&self) -> Option<TenantId> {
        self.seen.as_ref().map(|seen| seen.tenant)
    }

    /// Whether what is due at `at` must wait in the store: for the end of a pause, or for the
    /// next probe.
    pub(crate) fn is_held_back(&self, at: Timestamp) -> bool {
        let paused = self.pause.as_ref().is_some_and(|pause| pause.until > at);
        let probed = self.circuit.is_open() && self.circuit.probe_at(at, self.is_busy()) > at;
        paused || probed
    }

    pub(crate) fn end_pause(&mut self, now: Timestamp) {
        self.pause.take_if(|pause| pause.until <= now);
    }

    /// What it has in memory that is to be sent, or in the air.
    fn own(&self) -> usize {
        self.ready.len() + self.asked.len() + self.in_flight
    }

    fn is_busy(&self) -> bool {
        self.own() > 0
    }

    /// Takes a request up, unless somebody else is called by now or a longer one is there.
    pub(crate) fn take_pause(&mut self, pause: Pause, shares: &mut FairShare) {
        if let TargetState::Ready(current) = &self.target
            && !current.same_target(&pause.by)
        {
            return;
        }
        let same = |old: &Pause| old.by.same_target(&pause.by);
        let longer = |old: &Pause| same(old) && old.until >= pause.until;
        if !self.pause.as_ref().is_some_and(longer) {
            self.pause = Some(pause);
        }
        self.give_back_all(shares);
    }

    /// Forgets all that is to be sent; the store has it.
    pub(crate) fn give_back_all(&mut self, shares: &mut FairShare) {
        self.give_back(0, shares);
        self.forget_asked(shares);
    }

    /// What somebody asked for goes in its turn; a receiver that is probed is probed at once.
    pub(crate) fn give_back_asked(&mut self, shares: &mut FairShare) {
        self.circuit.probe_now();
        self.forget_asked(shares);
    }

    fn forget_asked(&mut self, shares: &mut FairShare) {
        while let Some(due) = self.asked.pop_back() {
            self.forget_unsent(due.delivery.due_at, &due, shares);
        }
    }

    /// Forgets what is ready beyond the first `kept`; the store has it.
    pub(crate) fn give_back(&mut self, kept: usize, shares: &mut FairShare) {
        while self.ready.len() > kept {
            self.give_back_last(shares);
        }
    }

    /// Forgets what is ready ahead of its time.
    pub(crate) fn give_back_ahead(&mut self, now: Timestamp, shares: &mut FairShare) {
        while self.ready.last().is_some_and(|(at, _)| at > now) {
            self.give_back_last(shares);
        }
    }

    pub(crate) fn give_back_last(&mut self, shares: &mut FairShare) {
        if let Some(((due_at, _), due)) = self.ready.pop_last() {
            self.forget_unsent(due_at, &due, shares);
        }
    }

    fn forget_unsent(&mut self, due_at: Timestamp, due: &DueDelivery, shares: &mut FairShare) {
        shares.let_go(self.tenant(), 1, due.body.len());
        self.body_bytes = self.body_bytes.saturating_sub(due.body.len());
        self.held_bytes = self.held_bytes.saturating_sub(due.body.len());
        self.held.remove(due.delivery.id.notification);
        self.lower(due_at);
        self.circuit.recovery_reset();
    }

    /// Forgets what a probe has no need of.
    pub(crate) fn keep_probe(&mut self, now: Timestamp, shares: &mut FairShare) {
        let first = self.ready.first().map(|(at, _)| at);
        if self.circuit.is_open() && !first.is_some_and(|at| CircuitBreaker::is_overdue(at, now)) {
            self.give_back(1_usize.saturating_sub(self.in_flight), shares);
        }
    }

    pub(crate) fn take_in(&mut self, read: DuePage, now: Timestamp, shares: &mut FairShare) {
        for due in read.deliveries {
            self.take_up(due, shares);
        }
        if let Some(ahead) = read.recovery
            && !self.circuit.stops_recovery()
        {
            self.circuit.recovery_read(ahead.next);
            for due in ahead.deliveries {
                self.take_up(due, shares);
            }
        }
        let Some(next_due_at) = read.next_due_at else {
            return;
        };
        self.lower(next_due_at);
        // What arrived meanwhile goes behind the older ones that are still in the store.
        if next_due_at <= now {
            while self.ready.last().is_some_and(|(at, _)| at > next_due_at) {
                self.give_back_last(shares);
            }
        }
    }

    fn take_up(&mut self, due: DueDelivery, shares: &mut FairShare) {
        let delivery = &due.delivery;
        match self.held.get_mut(delivery.id.notification) {
            None => self.hold(due, shares),
            Some(held) if (held.round, held.attempts) == (delivery.round, delivery.attempts) => {}
            Some(held) => held.again_at = Some(delivery.due_at),
        }
    }

    pub(crate) fn let_go(&mut self, notification: NotificationId, due_at: Option<Timestamp>) {
        let held = self.held.remove(notification);
        let bytes = held.as_ref().map_or(0, |held| held.body_bytes);
        self.held_bytes = self.held_bytes.saturating_sub(bytes);
        let again_at = held.and_then(|held| held.again_at);
        for at in [due_at, again_at].into_iter().flatten() {
            self.lower(at);
        }
    }

    /// How many more deliveries may be taken up.
    pub(crate) fn room(&self, load: MemoryLoad) -> usize {
        let own = self.own();
        let left = limits::LANE_BUFFERED_MAX.saturating_sub(own);
        if self.circuit.is_open() {
            return INITIAL_LIMIT.saturating_sub(own);
        }
        if self.speed != ReceiverSpeed::Fast && load.is_crowded() {
            return left.min(1_usize.saturating_sub(self.ready.len()));
        }
        let (count, bytes) = share(load);
        let each = self.body_bytes.checked_div(own).unwrap_or(0).max(1);
        let fits = (bytes.saturating_sub(self.body_bytes) / each).min(count.saturating_sub(own));
        // Who has nothing yet may have something, whatever the others hold.
        let fits = fits.max(1_usize.saturating_sub(own));
        left.min(limits::LANE_READ_MAX).min(fits)
    }

    /// How many may be in the air. Of receivers nobody knows yet, all might hang; and the last
    /// half of the flights for its kind is for lanes that have little in the air.
    pub(crate) fn concurrency_limit(&self, most: usize, crowded: bool) -> usize {
        let own = match self.circuit.is_open() {
            true => INITIAL_LIMIT,
            false => self.concurrency.get(),
        };
        let limit = match (crowded, self.speed) {
            (true, ReceiverSpeed::Unknown) => 1,
            (true, ReceiverSpeed::Fast | ReceiverSpeed::Slow) => own.min(INITIAL_LIMIT),
            (false, _) => own,
        };
        limit.min(most)
    }

    pub(crate) fn may_send(&self, most: usize, crowded: bool) -> bool {
        matches!(self.target, TargetState::Ready(_))
            && !self.ready.is_empty()
            && self.in_flight < self.concurrency_limit(most, crowded)
    }

    /// Whether it waits for a turn.
    pub(crate) fn is_queued(&self) -> bool {
        let [quick, unknown, slow] = [
            ReceiverSpeed::Fast,
            ReceiverSpeed::Unknown,
            ReceiverSpeed::Slow,
        ]
        .map(|speed| *self.in_turns.of(speed));
        self.in_asked || quick || unknown || slow
    }

    /// If the delivery waits here to be sent, whether it was asked for.
    pub(crate) fn waits_with(&self, notification: NotificationId) -> Option<bool> {
        let mut asked = self.asked.iter();
        if asked.any(|due| due.delivery.id.notification == notification) {
            return Some(true);
        }
        let ready = self.ready.key_of(|(_, ready)| *ready == notification);
        ready.map(|_| false)
    }

    /// Whether something that somebody asked for may go.
    pub(crate) fn may_send_asked(&self, most: usize) -> bool {
        matches!(self.target, TargetState::Ready(_))
            && !self.asked.is_empty()
            && self.in_flight < self.concurrency_limit(most, false) + ASKED_BESIDE
    }

    /// When it is to be read next. It reads on when half of what it read before is gone.
    pub(crate) fn wants_read_at(&self, load: MemoryLoad) -> Option<Timestamp> {
        let stored_due_at = self.stored_due_at?;
        let shut = matches!(self.target, TargetState::Disabled);
        if shut || self.reading || self.ready.len() > limits::LANE_READ_MAX / 2 {
            return None;
        }
        // The store still has what is held as due, and an answer brings its bodies again. Sending
        // and settling need no read, and whatever is let go has the lane reviewed.
        if self.held_bytes > REREAD_BYTES_MAX {
            return None;
        }
        let room = self.room(load);
        if room == 0 {
            return None;
        }
        let mut at = stored_due_at;
        if self.circuit.next_recovery(room).is_some() {
            at = Timestamp::EPOCH;
        }
        if self.circuit.is_open() {
            at = at.max(self.circuit.probe_at(stored_due_at, self.is_busy()));
        }
        let pause = self.pause.as_ref();
        Some(pause.map_or(at, |pause| pause.until.max(at)))
    }

    /// What is to be read, if its time has come; of this tenant so many more may be held.
    pub(crate) fn ask(
        &mut self,
        webhook: WebhookId,
        now: Timestamp,
        shares: &FairShare,
    ) -> Option<DueQuery> {
        let load = shares.load;
        let due_at = self.stored_due_at?;
        if self.wants_read_at(load)? > now {
            return None;
        }
        let mut room = self
            .room(load)
            .min(shares.memory_left(self.tenant()))
            .max(1);
        if self.circuit.is_open() && !CircuitBreaker::is_overdue(due_at, now) {
            room = room.min(1);
        }
        Some(DueQuery {
            webhook,
            limit: self.held.len() + room,
            recovery: self.circuit.request_recovery(room),
        })
    }

    /// How its receiver stands, and when the first of what waits is due, if that is known.
    pub(crate) fn status(&self) -> LaneStatus {
        let health = match &self.target {
            TargetState::Unloaded | TargetState::Loading { .. } => ReceiverHealth::Unknown,
            TargetState::Disabled => ReceiverHealth::Disabled,
            TargetState::Ready(_) if self.pause.is_some() => ReceiverHealth::Paused,
            TargetState::Ready(_) if self.circuit.is_open() => ReceiverHealth::Open,
            TargetState::Ready(_) if self.circuit.is_failing() => ReceiverHealth::Failing,
            TargetState::Ready(_) => ReceiverHealth::Healthy,
        };
        let ready = self.ready.first().map(|(at, _)| at);
        let first = [ready, self.stored_due_at].into_iter().flatten().min();
        LaneStatus {
            health,
            class: self.seen.as_ref().map_or(0, |seen| seen.class),
            due_at: first.filter(|_| matches!(self.target, TargetState::Ready(_))),
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        let nothing_due = match self.target {
            TargetState::Unloaded | TargetState::Loading { .. } => false,
            TargetState::Ready(_) => self.stored_due_at.is_none(),
            // Whatever the store has for it is told anew when it opens again.
            TargetState::Disabled => true,
        };
        nothing_due && self.held.is_empty() && !self.reading && !self.cancelling
    }
}
