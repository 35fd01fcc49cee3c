//! Lanes: one for every webhook that has something waiting or in the air; their order and width.
//!
//! Pure bookkeeping: no clock, no store, nothing awaited. `dispatch.rs` says what happened and
//! asks what to do next. Each call costs the logarithm of the number of lanes, never a walk over
//! them, and after each the lanes it touched are where they belong (`review`).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use model::contract::{DueAsk, DueRead};
use model::delivery::Due;
use model::id::{DeliveryId, WebhookId};
use model::time::Timestamp;

use crate::fortune::Turned;
use crate::lane::{Index, Lane, Load, Pause, Sight, Trust};
use crate::request::Prepared;
use crate::turns::Turns;
use crate::waits::Counted;
use crate::width::Felt;

/// Lanes asked for in one read, and new rows they may bring together: some milliseconds' work.
const READ_LANES_MAX: usize = 64;
const READ_ROWS_MAX: usize = 256;

/// Webhooks whose targets are read together.
const TARGETS_MAX: usize = 1_000;

/// Lanes with nothing to do that are kept: their next delivery needs no look at the webhook, and
/// finds the width they had. About a kilobyte each.
const RESTING_MAX: usize = 1_000;

pub(crate) struct Lanes {
    lanes: BTreeMap<WebhookId, Lane>,
    /// When lanes want to be read, earliest first.
    wakes: BTreeSet<(Timestamp, WebhookId)>,
    /// Lanes whose time to be read has come.
    hungry: Turns,
    /// Lanes that may be ready to send.
    turns: Turns,
    /// The same for lanes whose receivers hang.
    slow_turns: Turns,
    slow_next: bool,
    /// Lanes that have nothing to do, by when they came to it.
    resting: BTreeSet<(u64, WebhookId)>,
    rests: u64,
    counted: Counted,
    /// Lanes that are counted anew before anybody asks: more than once happens something to most.
    uncounted: Vec<WebhookId>,
    /// Lanes whose target must be read.
    unseen: VecDeque<WebhookId>,
    /// Disabled webhooks whose pending deliveries are still to be cancelled.
    uncancelled: VecDeque<WebhookId>,
    load: Load,
    flights_max: usize,
    width: usize,
    read_lanes_max: usize,
}

/// What a webhook was found to be.
pub(crate) enum Seen {
    Open(Sighting),
    Disabled,
    /// Not there, or nobody here knows how to serve it.
    Unserved,
}

/// A delivery that is to be sent.
pub(crate) struct Call {
    pub(crate) prepared: Arc<Prepared>,
    pub(crate) due: Due,
    /// How many its receiver is thought to bear at once.
    pub(crate) width: u32,
}

/// A webhook that may be called, and how its receiver has fared.
pub(crate) struct Sighting {
    pub(crate) prepared: Arc<Prepared>,
    pub(crate) failing_since: Option<Timestamp>,
    pub(crate) succeeded_at: Option<Timestamp>,
    pub(crate) seen_at: Timestamp,
}

/// How an attempt ended, as far as its lane is concerned.
pub(crate) struct Landing {
    pub(crate) began_at: Timestamp,
    pub(crate) ended_at: Timestamp,
    pub(crate) failed: bool,
    pub(crate) felt: Felt,
    /// The receiver wants nothing more.
    pub(crate) gone: bool,
    /// The receiver wants nothing for a while.
    pub(crate) pause: Option<Pause>,
}

impl Lanes {
    pub(crate) fn new(flights_max: usize, width: usize) -> Self {
        Self {
            lanes: BTreeMap::new(),
            wakes: BTreeSet::new(),
            hungry: Turns::default(),
            turns: Turns::default(),
            slow_turns: Turns::default(),
            slow_next: false,
            resting: BTreeSet::new(),
            rests: 0,
            counted: Counted::default(),
            uncounted: Vec::new(),
            unseen: VecDeque::new(),
            uncancelled: VecDeque::new(),
            load: Load::default(),
            flights_max: flights_max.max(1),
            width: width.max(1),
            read_lanes_max: READ_LANES_MAX,
        }
    }

    /// Lanes that wait or have something in the air.
    pub(crate) fn count(&self) -> usize {
        self.lanes.len().saturating_sub(self.resting.len())
    }

    /// Lanes that have something ready and wait for a turn.
    pub(crate) fn queued(&self) -> usize {
        self.turns.len() + self.slow_turns.len()
    }

    /// Forgets lanes that have nothing to do, with what is known of their webhooks.
    pub(crate) fn forget_resting(&mut self) {
        while let Some((_, webhook)) = self.resting.pop_first() {
            self.forget(webhook);
        }
    }

    pub(crate) fn held(&self) -> usize {
        self.load.held
    }

    /// How lanes stand, and with what they wait.
    pub(crate) fn counted(&mut self) -> &Counted {
        for webhook in self.uncounted.drain(..) {
            if let Some(lane) = self.lanes.get_mut(&webhook) {
                lane.uncounted = false;
                let waits = Some(lane.waits());
                self.counted.change(webhook, lane.waits, waits);
                lane.waits = waits;
            }
        }
        &self.counted
    }

    /// When the first lane wants to be read.
    pub(crate) fn next_wake(&self) -> Option<Timestamp> {
        self.wakes.first().map(|(at, _)| *at)
    }

    /// The store has something for this webhook that is due at `at`.
    pub(crate) fn lower(&mut self, webhook: WebhookId, at: Timestamp) {
        self.lane(webhook).lower(at);
        self.review(webhook);
    }

    /// A delivery that was just accepted. It goes without being read back if there is room and
    /// nothing in the store is due before it.
    pub(crate) fn arrive(&mut self, due: Due) {
        let webhook = due.delivery.id.webhook;
        let load = self.load;
        let lane = self.lanes.entry(webhook).or_insert_with(|| {
            self.unseen.push_back(webhook);
            Lane::default()
        });
        if lane.held.contains(due.delivery.id.notification) {
            return;
        }
        if matches!(lane.sight, Sight::Shut) {
            lane.sight = Sight::Wanted;
            self.unseen.push_back(webhook);
        }
        let due_at = due.delivery.due_at;
        lane.end_pause(due_at);
        let held_back = lane.is_held_back(due_at);
        let in_order = lane.reading || lane.stored_due_at.is_none_or(|at| at > due_at);
        if in_order && !held_back && !load.is_full() && lane.room(load) > 0 {
            lane.hold(due, &mut self.load);
        } else {
            lane.lower(due_at);
        }
        self.review(webhook);
    }

    /// The webhook is another one, or what it is owed is another: what was ready may be stopped.
    pub(crate) fn changed(&mut self, webhook: WebhookId, now: Timestamp) {
        self.look_again(webhook);
        if let Some(lane) = self.lanes.get_mut(&webhook) {
            lane.give_back(0, &mut self.load);
        }
        self.lane(webhook).fortune.stirred();
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

    /// The next delivery to be sent, if there is one and one more attempt may be in the air.
    pub(crate) fn next_call(&mut self) -> Option<Call> {
        while self.load.flying < self.flights_max {
            // Receivers that hang get every other turn, and at most half of all flights.
            let slow_may = self.load.slow < self.flights_max.div_ceil(2);
            let slow_first = slow_may && (self.slow_next || self.turns.is_empty());
            self.slow_next = !slow_first;
            let webhook = match slow_first {
                true => self.slow_turns.pop().or_else(|| self.turns.pop()),
                false => self.turns.pop(),
            }?;
            let crowded = self.is_crowded();
            let Some(lane) = self.lanes.get_mut(&webhook) else {
                continue;
            };
            if lane.trust == Trust::Hangs && !slow_first {
                self.slow_turns.push(lane.tenant(), webhook);
                continue;
            }
            lane.in_turns = false;
            // One that is as wide as it may be gets its turn back when an attempt of its ends.
            if lane.flying >= lane.width(self.width, crowded) {
                continue;
            }
            let Sight::Open(prepared) = &lane.sight else {
                continue;
            };
            let prepared = Arc::clone(prepared);
            let Some((_, due)) = lane.ready.pop_first() else {
                continue;
            };
            let width = u32::try_from(lane.width.get()).unwrap_or(u32::MAX);
            lane.take_off(&mut self.load);
            self.review(webhook);
            return Some(Call {
                prepared,
                due,
                width,
            });
        }
        None
    }

    /// An attempt has ended. Its delivery stays held until that is settled.
    pub(crate) fn landed(&mut self, id: DeliveryId, landing: Landing) -> Option<Turned> {
        let lane = self.lanes.get_mut(&id.webhook)?;
        let hung = landing.felt == Felt::Hung;
        let trust = match hung {
            true => Trust::Hangs,
            false => Trust::Answers,
        };
        lane.land(trust, &mut self.load);
        lane.width.feel(landing.felt, lane.flying, self.width);
        lane.forget_body(id.notification, &mut self.load);
        let turned = match landing.failed {
            true => lane.fortune.failed(landing.began_at, landing.ended_at),
            false => lane.fortune.succeeded(landing.began_at),
        };
        if landing.gone {
            lane.sight = Sight::Shut;
            lane.give_back(0, &mut self.load);
        } else if turned == Some(Turned::Probed) {
            lane.give_back(0, &mut self.load);
        } else if hung && self.load.is_crowded() {
            lane.give_back(1, &mut self.load);
        }
        if lane.fortune.stops_waking() {
            lane.give_back_ahead(landing.ended_at, &mut self.load);
        }
        if let Some(pause) = landing.pause {
            lane.take_pause(pause, &mut self.load);
        }
        self.review(id.webhook);
        turned
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
    pub(crate) fn ask_due(&mut self, now: Timestamp) -> Vec<DueAsk> {
        while let Some(&(at, webhook)) = self.wakes.first()
            && at <= now
        {
            self.wakes.pop_first();
            if let Some(lane) = self.lanes.get_mut(&webhook)
                && lane.index == Index::Wake(at)
            {
                lane.index = Index::Hungry;
                lane.end_pause(now);
                self.hungry.push(lane.tenant(), webhook);
            }
        }
        let (mut asks, mut rows) = (Vec::new(), 0);
        while asks.len() < self.read_lanes_max && rows < READ_ROWS_MAX && !self.load.is_full() {
            let Some(webhook) = self.hungry.pop() else {
                break;
            };
            // The lane may be another one than the one that queued here.
            let Some(lane) = self.lanes.get_mut(&webhook) else {
                continue;
            };
            if lane.index != Index::Hungry {
                continue;
            }
            lane.index = Index::None;
            if let Some(ask) = lane.ask(webhook, now, self.load) {
                lane.reading = true;
                rows += ask.limit.saturating_sub(lane.held.len());
                asks.push(ask);
            }
            self.review(webhook);
        }
        asks
    }

    /// The store's answer to `ask_due`. Everything it told before must have been taken in.
    pub(crate) fn answer_due(&mut self, asked: &[WebhookId], reads: Vec<DueRead>, now: Timestamp) {
        self.read_lanes_max = (self.read_lanes_max * 2).min(READ_LANES_MAX);
        let mut reads: BTreeMap<WebhookId, DueRead> =
            reads.into_iter().map(|read| (read.webhook, read)).collect();
        for webhook in asked {
            let Some(lane) = self.lanes.get_mut(webhook) else {
                continue;
            };
            let read = reads.remove(webhook);
            lane.reading = false;
            lane.stored_due_at = lane.lowered.take();
            if let Some(read) = read.filter(|_| !matches!(lane.sight, Sight::Shut)) {
                lane.take_in(read, now, &mut self.load);
                lane.keep_probe(now, &mut self.load);
                lane.end_pause(now);
                if lane.pause.is_some() {
                    lane.give_back(0, &mut self.load);
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
                lane.index = Index::Hungry;
                self.hungry.push(lane.tenant(), *webhook);
            }
        }
    }

    /// The webhooks whose targets are to be read. One such question at a time.
    pub(crate) fn ask_targets(&mut self) -> Vec<WebhookId> {
        if self.unseen.is_empty() {
            return Vec::new();
        }
        let count = self.unseen.len().min(TARGETS_MAX);
        let mut asked = Vec::with_capacity(count);
        for webhook in self.unseen.drain(..count) {
            if let Some(lane) = self.lanes.get_mut(&webhook)
                && matches!(lane.sight, Sight::Wanted)
            {
                lane.sight = Sight::Asked { stale: false };
                asked.push(webhook);
            }
        }
        asked
    }

    /// What a webhook was found to be.
    pub(crate) fn answer_target(&mut self, webhook: WebhookId, seen: Seen) {
        let Some(lane) = self.lanes.get_mut(&webhook) else {
            return;
        };
        match (&lane.sight, seen) {
            (Sight::Asked { stale: true }, _) => {
                lane.sight = Sight::Wanted;
                self.unseen.push_back(webhook);
            }
            (Sight::Asked { stale: false }, Seen::Open(sighting)) => {
                lane.open(sighting, &mut self.load);
            }
            (Sight::Asked { stale: false }, seen) => {
                lane.sight = Sight::Shut;
                lane.give_back(0, &mut self.load);
                lane.stored_due_at = None;
                if matches!(seen, Seen::Disabled) && !lane.cancelling {
                    lane.cancelling = true;
                    self.uncancelled.push_back(webhook);
                }
            }
            // A receiver that is gone shut the lane meanwhile, or it was never asked for.
            (Sight::Wanted | Sight::Open(_) | Sight::Shut, _) => {}
        }
        self.review(webhook);
    }

    /// The store refused `ask_targets`.
    pub(crate) fn unasked_targets(&mut self, asked: &[WebhookId]) {
        for webhook in asked {
            if let Some(lane) = self.lanes.get_mut(webhook)
                && matches!(lane.sight, Sight::Asked { .. })
            {
                lane.sight = Sight::Wanted;
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
            Lane::default()
        })
    }

    fn look_again(&mut self, webhook: WebhookId) {
        let lane = self.lane(webhook);
        match &mut lane.sight {
            Sight::Wanted => {}
            Sight::Asked { stale } => *stale = true,
            Sight::Open(_) | Sight::Shut => {
                lane.sight = Sight::Wanted;
                self.unseen.push_back(webhook);
            }
        }
    }

    /// Whether the flights that are left are kept for lanes that have little in the air.
    fn is_crowded(&self) -> bool {
        self.load.flying * 2 >= self.flights_max
    }

    fn forget(&mut self, webhook: WebhookId) {
        if let Some(lane) = self.lanes.remove(&webhook) {
            self.counted.change(webhook, lane.waits, None);
        }
    }

    /// Puts a lane that something happened to where it belongs.
    fn review(&mut self, webhook: WebhookId) {
        let crowded = self.is_crowded();
        let Some(lane) = self.lanes.get_mut(&webhook) else {
            return;
        };
        if !lane.in_turns && lane.may_send(self.width, crowded) {
            lane.in_turns = true;
            let turns = match lane.trust {
                Trust::Hangs => &mut self.slow_turns,
                Trust::Unknown | Trust::Answers => &mut self.turns,
            };
            turns.push(lane.tenant(), webhook);
        }
        let wants = lane.wants_read_at(self.load);
        match lane.index {
            Index::Wake(at) if wants == Some(at) => {}
            // It is looked at again when its turn comes.
            Index::Hungry => {}
            Index::Wake(_) | Index::None => {
                if let Index::Wake(at) = lane.index {
                    self.wakes.remove(&(at, webhook));
                }
                lane.index = match wants {
                    Some(at) => {
                        self.wakes.insert((at, webhook));
                        Index::Wake(at)
                    }
                    None => Index::None,
                };
            }
        }
        if !lane.uncounted {
            lane.uncounted = true;
            self.uncounted.push(webhook);
        }
        // A lane that has nothing to do rests for a while, if its webhook may be called.
        match (lane.is_idle(), lane.resting) {
            (true, None) if matches!(lane.sight, Sight::Open(_)) => {
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

#[cfg(test)]
mod tests;
