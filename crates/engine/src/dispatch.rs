//! The dispatcher: a loop that takes all results, settles, hands out, reads what is due, sleeps.
//!
//! One task owns all state. Attempts run in tasks of their own and hand back their results; the
//! store gets one call of a kind at a time. Nothing here waits for one thing only.
//!
//! Why nothing is sent twice while this process lives. A delivery is taken up from two sources,
//! the mailbox (just accepted) and answers of `due`, and never while its lane holds it.
//! It is let go only when its outcome is known to be written, or it was not sent.
//! 1. The store tells what it took on after it is durable, and before anybody who asked for it is
//!    answered; in an order in which a delivery is told before any answer of `due` that could
//!    contain it (`CommitSubscriber`). So when an answer is there, the mailbox has all that it can
//!    contain, and is emptied first (`take_due`). Nothing comes out of the mailbox after it went
//!    through `due`, was sent, and was forgotten.
//! 2. One `due` is outstanding at a time. It may have been answered before a settlement that was
//!    learnt of first; so what is settled meanwhile stays held until the answer is in
//!    (`Phase::Parked`).
//! 3. A refused settlement is repeated, and what it is about stays held.
//!
//! Why nothing is forgotten: whatever is pending and not held is due at or after the time in its
//! lane's `StoreView`. An answer of `due` replaces that by what lies beyond it, lowered by all that
//! was learnt since it was asked. What was accepted and passed over, by the store or the mailbox,
//! is learnt like any other: the mailbox has its webhook and its time. A held delivery that an
//! answer shows in a later state than the one it was taken up in (settled or sent again meanwhile)
//! is read again once it is let go.

mod leases;
mod messages;
mod receiver_log;
mod states;

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use model::attempt::Attempt;
use model::contract::{Backend, DuePage, PendingWebhook, Settlement, StoreFuture, WebhookTarget};
use model::delivery::{Delivery, DeliveryState};
use model::gate::Gate;
use model::id::WebhookId;
use model::lease::Slots;
use model::limits;
use model::policy::Policy;
use model::rng::SeededRng;
use model::signing::Keyring;
use model::tenant::DialectName;
use model::time::{Clock, Timestamp};
use tokio::sync::oneshot;
use tokio::task::coop::has_budget_remaining;
use tokio::time::{Instant, Sleep};

use self::receiver_log::ReceiverLog;
use self::states::{ScanState, ShutdownState};
use crate::attempt::{AttemptResult, AttemptRunner};
use crate::concurrency::{FAST_MS, LoadSignal, timed_out};
use crate::fair_share::InFlightId;
use crate::health::{Health, Stall};
use crate::lane::{AttemptEffect, Pause, TargetSnapshot, WebhookLookup};
use crate::lanes::Lanes;
use crate::mailbox::{Mail, Mailbox, StateQuery};
use crate::metrics::{Metrics, class};
use crate::ownership::{AskedAt, Ownership};
use crate::renewal::Renewal;
use crate::request::{Agreement, PreparedTarget};
use crate::schedule_clock::{BEAT, ScheduleClock};
use crate::settlement::SettlementQueue;
use crate::shortage::{Shortage, shortage_of};
use crate::store_call::StoreCall;
use crate::tallies::Tallies;
use crate::tasks::Swarm;

/// So often it is looked whether the wall clock was set.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Lanes of one page of the scan at the start.
const SCAN_PAGE: usize = 1_000;

/// Results of attempts taken in before anything else is looked at.
const LANDED_MAX: usize = limits::SETTLE_BATCH_MAX;

/// After the last attempt the store gets this long to take the last outcomes.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// It gets this long from when the loop is told to stop, if the last attempt ends earlier: as long
/// as a database takes to restart.
const UNWRITTEN_LIMIT: Duration = Duration::from_secs(10);

pub(crate) struct Dispatcher {
    store: Arc<dyn Backend>,
    ownership: Ownership,
    renewal: Renewal,
    /// The store said that the lease is over.
    fenced: bool,
    clock: Clock,
    schedule_clock: ScheduleClock,
    /// When it is looked next whether the clock was set.
    look_at: Instant,
    rng: SeededRng,
    policies: std::collections::BTreeMap<DialectName, Arc<Policy>>,
    keyring: Arc<Keyring>,
    runner: Arc<AttemptRunner>,
    mailbox: Arc<Mailbox>,
    metrics: Arc<Metrics>,
    health: Health,
    lanes: Lanes,
    /// In a box, because a result is moved ten times on its way here.
    in_flight: Swarm<Box<FinishedAttempt>>,
    max_in_flight: usize,
    max_concurrency: usize,
    shortage: Arc<Shortage>,
    settlements: SettlementQueue,
    tallies: Tallies,
    due: StoreCall<Vec<DuePage>>,
    due_asked: Vec<WebhookId>,
    targets: StoreCall<Vec<WebhookTarget>>,
    targets_asked: Vec<WebhookId>,
    scan: ScanState,
    /// Go through them once more, when this time is over.
    rescan: bool,
    scanned: StoreCall<Vec<PendingWebhook>>,
    cancelled: StoreCall<usize>,
    cancelling: Option<WebhookId>,
    receiver_log: ReceiverLog,
    stop: oneshot::Receiver<Duration>,
    stopping: Option<ShutdownState>,
    /// An attempt began since it was last asked.
    begun: bool,
    stalled_since: Option<Instant>,
    /// What was counted when it was reported last.
    reported: Option<u64>,
    alarm: Pin<Box<Sleep>>,
    /// The alarm was set anew and is to be listened to.
    alarm_set: bool,
    /// The latest turn was left to other tasks.
    gave_way: bool,
}

/// What the loop is made from.
pub(crate) struct DispatcherParts {
    pub(crate) store: Arc<dyn Backend>,
    pub(crate) ownership: Ownership,
    pub(crate) clock: Clock,
    pub(crate) rng: SeededRng,
    pub(crate) policies: model::policy::Policies,
    pub(crate) runner: Arc<AttemptRunner>,
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) health: Health,
    pub(crate) stop: oneshot::Receiver<Duration>,
    pub(crate) max_in_flight: usize,
    pub(crate) shortage: Arc<Shortage>,
    pub(crate) max_concurrency_per_webhook: usize,
    pub(crate) gate: Gate,
    pub(crate) keyring: Arc<Keyring>,
}

/// What a finished attempt hands back.
struct FinishedAttempt {
    attempt_id: InFlightId,
    /// When it was handed out, in the schedule.
    begun_at: Timestamp,
    delivery: Delivery,
    prepared: Arc<PreparedTarget>,
    result: AttemptResult,
}

/// What stopping left undone. All of it is repeated by the next start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShutdownReport {
    /// Attempts that did not end in time.
    pub attempts_dropped: usize,
    /// Outcomes that the store did not take.
    pub outcomes_unwritten: usize,
    /// The loop had fallen over before it was stopped.
    pub fell_over: bool,
}

impl Dispatcher {
    pub(crate) fn new(parts: DispatcherParts) -> Self {
        let policies = parts.policies.into_iter();
        let now = Instant::now();
        Self {
            schedule_clock: ScheduleClock::after(
                parts.store.last_heartbeat().map(|last| last.at),
                parts.clock.now(),
                now,
            ),
            look_at: now,
            settlements: SettlementQueue::new(Arc::clone(&parts.store), parts.max_in_flight),
            tallies: Tallies::new(
                Arc::clone(&parts.store),
                parts.rng.split("tallies"),
                Arc::clone(&parts.metrics),
            ),
            store: parts.store,
            ownership: parts.ownership,
            renewal: Renewal::new(AskedAt::now(&parts.clock)),
            fenced: false,
            clock: parts.clock,
            rng: parts.rng,
            policies: policies.map(|(name, p)| (name, Arc::new(p))).collect(),
            keyring: parts.keyring,
            runner: parts.runner,
            mailbox: parts.mailbox,
            metrics: parts.metrics,
            health: parts.health,
            lanes: Lanes::new(parts.max_in_flight, parts.max_concurrency_per_webhook),
            in_flight: Swarm::new(parts.gate),
            max_in_flight: parts.max_in_flight.max(1),
            max_concurrency: parts.max_concurrency_per_webhook,
            shortage: parts.shortage,
            due: StoreCall::new("reading what is due"),
            due_asked: Vec::new(),
            targets: StoreCall::new("reading webhooks"),
            targets_asked: Vec::new(),
            scan: ScanState::After(None),
            rescan: false,
            scanned: StoreCall::new("listing webhooks with something due"),
            cancelled: StoreCall::new("cancelling deliveries"),
            cancelling: None,
            receiver_log: ReceiverLog::new(),
            stop: parts.stop,
            stopping: None,
            begun: false,
            stalled_since: None,
            reported: None,
            alarm_set: true,
            gave_way: false,
            alarm: Box::pin(tokio::time::sleep(Duration::ZERO)),
        }
    }

    /// Runs until it is told to stop and everything is written.
    pub(crate) async fn run(mut self) -> ShutdownReport {
        loop {
            let now = Instant::now();
            self.schedule_clock.turn(now);
            if let Some(stopped) = self.stopped(now) {
                self.health.stopped();
                let last = self.schedule_clock.written(&self.clock, now);
                let lease = self.lease_in_use();
                end(self.store.release(lease, last)).await;
                return stopped;
            }
            if self.has_lost(now) {
                self.lose();
            }
            self.look(now);
            self.receiver_log.turn(now);
            let at = self.schedule_clock.at(now);
            if self.stopping.is_none() {
                self.ask(now, at);
                self.lanes.age(now);
                self.lanes.end_metered(now);
                self.hand_out(now);
            }
            let stops = self.stopping.is_some();
            if let Some(count) = self.settlements.begin(self.ownership.epoch(), now, stops) {
                #[expect(clippy::cast_precision_loss, reason = "at most 512")]
                self.metrics.settle_batch.observe(count as f64);
            }
            self.settlements.hurry(stops);
            self.tallies.begin(now, stops && self.in_flight.len() == 0);
            self.report(now, at);
            self.set_alarm(now, at);
            poll_fn(|cx| self.poll_all(cx)).await;
            #[cfg(test)]
            self.lanes.check_few();
        }
    }

    /// Asks the store what is not being asked already.
    fn ask(&mut self, now: Instant, at: Timestamp) {
        let epoch = self.ownership.epoch();
        if self.scanned.may_ask(now)
            && !self.ownership.slots().is_empty()
            && let Some(after) = self.scan.next(now, self.rescan)
        {
            self.rescan &= after.is_some();
            if after.is_none() {
                // A change that the store could not tell of is not missed for longer than this.
                self.lanes.forget_resting();
            }
            self.scanned
                .ask(self.store.pending_webhooks(epoch, after, SCAN_PAGE));
        }
        if self.targets.may_ask(now) {
            let asked = self.lanes.ask_targets();
            if !asked.is_empty() {
                self.targets
                    .ask(self.store.webhook_targets(epoch, asked.clone()));
                self.targets_asked = asked;
            }
        }
        if self.cancelled.may_ask(now) {
            self.cancelling = self.cancelling.or_else(|| self.lanes.next_cancel());
            if let Some(webhook) = self.cancelling {
                self.cancelled
                    .ask(self.store.cancel_pending(epoch, webhook, self.clock.now()));
            }
        }
        if self.due.may_ask(now) {
            let asks = self.lanes.ask_due(at);
            if !asks.is_empty() {
                self.due_asked = asks.iter().map(|ask| ask.webhook).collect();
                self.due.ask(self.store.due(epoch, asks, at));
            }
        }
    }

    /// Begins as many attempts as may be in flight. An attempt counts until its outcome is
    /// written: so many are repeated at most if the process dies, and if the store refuses,
    /// no more begin.
    fn hand_out(&mut self, now: Instant) {
        if !self.ownership.may_begin(now) {
            return;
        }
        let max_in_flight = self
            .shortage
            .max_in_flight(self.in_flight.len(), self.max_in_flight);
        while !self
            .settlements
            .is_full(self.in_flight.len(), max_in_flight)
        {
            let Some(next) = self.lanes.next_call(now) else {
                break;
            };
            self.begun = true;
            self.metrics.begun(next.concurrency_limit);
            let runner = Arc::clone(&self.runner);
            let begun_at = self.schedule_clock.at(now);
            // In a box, because spawning moves what is spawned several times.
            self.in_flight.spawn(Box::pin(async move {
                let attempting = runner.attempt(&next.prepared, &next.due, next.asks_first);
                let result = attempting.await;
                Box::new(FinishedAttempt {
                    attempt_id: next.attempt_id,
                    begun_at,
                    delivery: next.due.delivery,
                    prepared: next.prepared,
                    result,
                })
            }));
        }
    }

    /// Everything that has come is taken in one turn, so that nothing can starve the rest.
    fn poll_all(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.gives_way(cx) {
            return Poll::Pending;
        }
        // Before anything is judged by the time that it took.
        self.schedule_clock.turn(Instant::now());
        let mut stirred = self.take_stop(cx);
        stirred |= self.take_settled(cx);
        stirred |= self.take_finished(cx);
        stirred |= self.take_targets(cx);
        if let Poll::Ready(mail) = self.mailbox.poll(cx) {
            self.take_mail(mail);
            stirred = true;
        }
        stirred |= self.take_due(cx);
        stirred |= self.take_scanned(cx);
        stirred |= self.take_cancelled(cx);
        stirred |= self.tallies.poll(cx);
        stirred |= self.take_renewed(cx);
        stirred |= self.hear_alarm(cx);
        match stirred {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    /// An attempt that ends wakes this loop, which then runs before all tasks that wait. Once it
    /// lets them go first: several attempts end meanwhile, and a turn costs the same for all. While
    /// only one is in flight there is nobody to wait for.
    fn gives_way(&mut self, cx: &Context<'_>) -> bool {
        self.gave_way = !self.gave_way && self.in_flight.len() > 1 && self.in_flight.has_landed();
        if self.gave_way {
            cx.waker().wake_by_ref();
        }
        self.gave_way
    }

    /// Polling a timer costs more than all else that is polled here. This one belongs to one task,
    /// so once is enough for each setting; but not if the task had no budget left for it.
    fn hear_alarm(&mut self, cx: &mut Context<'_>) -> bool {
        if self.alarm_set {
            self.alarm_set = !has_budget_remaining();
            return self.alarm.as_mut().poll(cx).is_ready();
        }
        self.alarm.is_elapsed()
    }

    fn take_stop(&mut self, cx: &mut Context<'_>) -> bool {
        if self.stopping.is_some() {
            return false;
        }
        let Poll::Ready(within) = Pin::new(&mut self.stop).poll(cx) else {
            return false;
        };
        let now = Instant::now();
        self.stopping = Some(ShutdownState {
            deadline: now + within.unwrap_or(Duration::ZERO),
            write_deadline: now + UNWRITTEN_LIMIT,
            dropped: 0,
        });
        self.leave();
        true
    }

    fn take_settled(&mut self, cx: &mut Context<'_>) -> bool {
        match self.settlements.poll(cx) {
            Poll::Pending => return false,
            Poll::Ready(Err(error)) => self.refused(&error),
            Poll::Ready(Ok(batch)) => {
                for settlement in batch.iter() {
                    self.lanes.settled(settlement.id, settlement.next.due_at);
                    let is_own = self.ownership.has(settlement.id.webhook);
                    if settlement.next.disables_webhook && is_own {
                        let now = self.schedule_clock.at(Instant::now());
                        self.lanes.changed(settlement.id.webhook, now);
                    }
                }
            }
        }
        true
    }

    fn take_finished(&mut self, cx: &mut Context<'_>) -> bool {
        for count in 0..LANDED_MAX {
            match self.in_flight.poll_next(cx) {
                Poll::Ready(finished) => self.finish(*finished),
                Poll::Pending => return count > 0,
            }
        }
        true
    }

    fn count(&self, calls: [Option<&Attempt>; 2], state: DeliveryState, is_ahead: bool) {
        for call in calls.into_iter().flatten() {
            self.metrics.attempted(&call.outcome, call.duration_ms);
        }
        if is_ahead {
            self.metrics.recovery_attempts.inc();
        }
        match state {
            DeliveryState::Pending => self.metrics.retries.inc(),
            DeliveryState::Failed => self.metrics.failed.inc(),
            DeliveryState::Delivered | DeliveryState::Cancelled(_) => 0,
        };
    }

    /// Decides what an attempt makes of its delivery.
    fn finish(&mut self, finished: FinishedAttempt) {
        let FinishedAttempt {
            attempt_id,
            begun_at,
            delivery,
            prepared,
            result,
        } = finished;
        let AttemptResult {
            attempt,
            ended_at,
            stale,
            held,
            handshake,
        } = result;
        let (id, outcome) = (delivery.id, &attempt.outcome);
        if shortage_of(outcome).is_some() {
            self.metrics.deferred.inc();
            self.lanes.unsent(attempt_id, id, delivery.due_at);
            return;
        }
        let (began_at, ended) =
            self.schedule_clock
                .of_attempt(&attempt, begun_at, ended_at, Instant::now());
        // While it was held its schedule did not go on.
        let since = delivery.round_began_at;
        let held_ms = since.map_or(0, |since| prepared.holds.held_ms_since(since));
        let policy = prepared.policy.held(held_ms);
        let next = delivery.transition(
            outcome,
            began_at,
            ended,
            policy.as_ref().unwrap_or(&prepared.policy),
            prepared.retries_max,
            &mut self.rng,
        );
        let class = class(outcome);
        tracing::debug!(%id, attempt = delivery.attempts.saturating_add(1), class,
            duration_ms = attempt.duration_ms, state = next.state.as_str(), "attempt ended");
        let is_ahead = delivery.is_early_at(began_at);
        self.count([stale.as_deref(), Some(&attempt)], next.state, is_ahead);
        let (whose, now) = ((prepared.tenant, id.webhook), Instant::now());
        self.tallies.count(whose, &attempt, ended_at, now);
        let effect = AttemptEffect {
            began_at,
            ended_at: ended.schedule,
            failed: !outcome.is_success(),
            signal: LoadSignal::of(outcome, attempt.duration_ms),
            slow: attempt.duration_ms > FAST_MS || timed_out(outcome),
            gone: next.disables_webhook,
            pause: next.pauses_until.map(|until| Pause {
                until,
                by: Arc::clone(&prepared),
            }),
            agreement: handshake.as_deref().and_then(Agreement::of),
        };
        let transition = self.lanes.landed(attempt_id, id, effect);
        let whose = (id.webhook, &*prepared);
        self.receiver_log
            .effect(&self.metrics, whose, &next, (class, transition));
        let settlement = Settlement {
            id,
            round: delivery.round,
            attempts: delivery.attempts,
            webhook_version: prepared.version,
            ended_at,
            stale,
            attempt,
            next,
            handshake,
        };
        self.settlements.push(settlement, held, now);
    }

    fn take_mail(&mut self, mail: Mail) {
        let mail = match self.ownership.slots() == Slots::ALL {
            true => mail,
            false => mail.of(|webhook| self.ownership.has(webhook)),
        };
        if mail.leases_changed {
            self.renewal.hasten();
        }
        if mail.changed_elsewhere {
            self.lanes.all_changed();
            self.rescan = true;
        }
        // Changes first: what was accepted may be for a webhook that was just enabled.
        let now = self.schedule_clock.at(Instant::now());
        for webhook in mail.changed {
            self.lanes.changed(webhook, now);
        }
        // What is accepted is due at once, whatever the wall clock said.
        for mut due in mail.accepted {
            due.delivery.due_at = now;
            self.lanes.arrive(due);
        }
        for mut due in mail.asked {
            due.delivery.due_at = due.delivery.due_at.min(now);
            self.lanes.ask_for(due);
        }
        for (webhook, _) in mail.passed_over {
            self.lanes.lower(webhook, now);
        }
        for StateQuery { id, answer } in mail.questions {
            // Who asked may have gone.
            answer.send(self.lanes.dispatch_state(id)).ok();
        }
    }

    fn take_due(&mut self, cx: &mut Context<'_>) -> bool {
        let Poll::Ready(answer) = self.due.poll(cx) else {
            return false;
        };
        let asked = std::mem::take(&mut self.due_asked);
        match answer {
            Ok(reads) => {
                self.take_mail(self.mailbox.take());
                self.lanes
                    .answer_due(&asked, reads, self.schedule_clock.at(Instant::now()));
            }
            Err(error) => {
                self.refused(&error);
                self.lanes.unasked_due(&asked, error.is_of_a_part());
            }
        }
        true
    }

    fn take_targets(&mut self, cx: &mut Context<'_>) -> bool {
        let Poll::Ready(answer) = self.targets.poll(cx) else {
            return false;
        };
        let asked = std::mem::take(&mut self.targets_asked);
        match answer {
            Ok(targets) => {
                let mut unknown: BTreeSet<WebhookId> = asked.into_iter().collect();
                for target in targets {
                    unknown.remove(&target.webhook);
                    let seen = self.seen(&target);
                    self.lanes.answer_target(target.webhook, seen);
                }
                unknown.retain(|webhook| self.ownership.has(*webhook));
                for webhook in unknown {
                    tracing::warn!(%webhook, "deliveries are pending for an unknown webhook");
                    self.lanes
                        .answer_target(webhook, WebhookLookup::Unsupported);
                }
            }
            Err(error) => {
                self.refused(&error);
                self.lanes.unasked_targets(&asked);
            }
        }
        true
    }

    fn seen(&mut self, target: &WebhookTarget) -> WebhookLookup {
        if !target.enabled {
            return WebhookLookup::Disabled;
        }
        if let Some(policy) = self.policies.get(&target.dialect) {
            let seen = self.schedule_clock.moment(self.clock.now(), Instant::now());
            let now = seen.schedule;
            // Another version's request makes no pause longer.
            let paused_until = policy.retry_after_max_ms.and_then(|most| {
                let until = target.paused_until.filter(|until| *until > now);
                until.map(|until| until.min(now.plus_ms(most)))
            });
            self.receiver_log.missing_schedule(target, policy);
            let mut prepared = PreparedTarget::new(target, Arc::clone(policy), &self.keyring);
            prepared.paused_until = paused_until;
            prepared.class = self
                .policies
                .keys()
                .take_while(|name| **name != target.dialect)
                .count();
            return WebhookLookup::Callable(TargetSnapshot {
                prepared: Arc::new(prepared),
                failing_since: target
                    .failing_since
                    .map(|since| self.schedule_clock.of(since, seen)),
                succeeded: target.succeeded_at.is_some(),
                seen_at: now,
            });
        }
        self.receiver_log.unserved(target);
        WebhookLookup::Unsupported
    }

    fn take_scanned(&mut self, cx: &mut Context<'_>) -> bool {
        let Poll::Ready(answer) = self.scanned.poll(cx) else {
            return false;
        };
        match answer {
            Ok(page) => {
                self.scan = match page.last() {
                    Some(last) if page.len() >= SCAN_PAGE => ScanState::After(Some(last.webhook)),
                    _ => ScanState::DoneAt(Instant::now()),
                };
                // A page may be older than the slots.
                let own = page
                    .iter()
                    .filter(|start| self.ownership.has(start.webhook));
                for start in own {
                    self.lanes.lower(start.webhook, start.due_at);
                }
            }
            Err(error) => {
                // What was not looked through for a change elsewhere still has to be.
                self.rescan |= matches!(self.scan, ScanState::DoneAt(_));
                self.refused(&error);
            }
        }
        true
    }

    fn take_cancelled(&mut self, cx: &mut Context<'_>) -> bool {
        let Poll::Ready(answer) = self.cancelled.poll(cx) else {
            return false;
        };
        match answer {
            Ok(count) => {
                if let Some(webhook) = self.cancelling.take() {
                    let more = count >= limits::BULK_STEP_MAX && self.ownership.has(webhook);
                    self.lanes.cancelled(webhook, more);
                }
            }
            Err(error) => self.refused(&error),
        }
        true
    }

    fn report(&mut self, now: Instant, at: Timestamp) {
        let counted = self.lanes.counted();
        let news = counted.news();
        if news.is_none() || news != self.reported {
            self.reported = news;
            self.metrics.report_waits(counted, at);
        }
        let in_flight = self.in_flight.len();
        self.metrics
            .report(&mut self.lanes, in_flight, self.settlements.len());
        self.metrics.slots_owned(self.ownership.slots().len());
        let troubles = [
            self.renewal.trouble(now),
            self.settlements.trouble(now),
            self.due.trouble(now),
            self.targets.trouble(now),
            self.scanned.trouble(now),
        ];
        // One that stops all is told of before others.
        let trouble = troubles.into_iter().flatten();
        let trouble = trouble.min_by_key(|trouble| !trouble.stops_all);
        // What cannot be written or read cannot be sent: that uses up no schedule.
        let stops_all = trouble.as_ref().is_some_and(|trouble| trouble.stops_all);
        self.schedule_clock.hold(stops_all, now);
        let trouble = trouble.or_else(|| self.cancelled.trouble(now));
        let stall = self.stall(at);
        self.health.beat(trouble, stall);
    }

    /// Since when nothing was begun though something is due for receivers that are well.
    fn stall(&mut self, at: Timestamp) -> Option<Stall> {
        let stalls = !std::mem::take(&mut self.begun) && self.lanes.counted().is_due(at);
        self.stalled_since = match stalls {
            true => Some(self.stalled_since.unwrap_or_else(Instant::now)),
            false => None,
        };
        self.stalled_since.map(|since| Stall {
            since,
            in_flight: self.in_flight.len(),
            unwritten: self.settlements.len(),
        })
    }

    /// The next time something is to be done though nothing comes.
    fn set_alarm(&mut self, now: Instant, at: Timestamp) {
        let mut until = now + BEAT;
        if let Some(stopping) = self.stopping {
            until = until.min(stopping.next_deadline(now));
        } else if let Some(due_at) = self.lanes.next_read_at()
            && self.due.may_ask(now)
        {
            let wait_ms = u64::try_from(due_at.ms_since(at)).unwrap_or(0);
            until = until.min(now + Duration::from_millis(wait_ms));
        }
        let waits = [
            self.lanes.next_age().filter(|_| self.stopping.is_none()),
            self.lanes
                .next_metered()
                .filter(|_| self.stopping.is_none()),
            self.settlements.waits_until(now),
            self.due.waits_until(now),
            self.targets.waits_until(now),
            self.scanned.waits_until(now),
            self.cancelled.waits_until(now),
            self.tallies.waits_until(now),
            self.renewal.waits_until(now, self.lease_stage()),
            // What is in flight then is dropped at once: others may send it.
            self.ownership.ends_at(),
        ];
        for wait in waits.into_iter().flatten() {
            until = until.min(wait);
        }
        // One that goes off before is left as it is: coming round for nothing now and then costs
        // less than setting it anew in each turn.
        let set = self.alarm.deadline();
        if set <= now || set > until || self.alarm.is_elapsed() {
            self.alarm.as_mut().reset(until);
            self.alarm_set = true;
        }
    }

    /// What stopping came to, once it has.
    fn stopped(&mut self, now: Instant) -> Option<ShutdownReport> {
        let stopping = self.stopping.as_mut()?;
        if now >= stopping.deadline {
            stopping.dropped += self.in_flight.drop_all();
        }
        let (in_flight, outcomes_unwritten) = (self.in_flight.len(), self.settlements.len());
        if in_flight > 0 {
            stopping.write_deadline = stopping.write_deadline.max(now + LAST_WORDS);
        }
        let is_written = outcomes_unwritten == 0 && self.tallies.is_empty();
        let is_over = is_written || now >= stopping.write_deadline;
        (in_flight == 0 && is_over).then_some(ShutdownReport {
            attempts_dropped: stopping.dropped,
            outcomes_unwritten,
            fell_over: false,
        })
    }
}

/// Has the time written, so that the next start goes on exactly here.
async fn end(last: StoreFuture<()>) {
    if !matches!(tokio::time::timeout(LAST_WORDS, last).await, Ok(Ok(()))) {
        tracing::warn!("the store did not record the time at the end: waits may be seconds longer");
    }
}

#[cfg(test)]
mod tests;
