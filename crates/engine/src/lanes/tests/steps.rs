//! Lanes in any order of what may happen to them, beside a store of a few lines. After every step
//! their invariants hold. In the end everything has been sent, and nothing was sent twice.

use std::collections::{BTreeMap, BTreeSet};

use model::contract::RecoveryPage;
use proptest::prelude::*;

use super::*;

const WEBHOOKS: i64 = 4;
const MINUTE_MS: i64 = 60_000;

/// A pending delivery, as the store has it.
#[derive(Clone, Copy)]
struct Pending {
    due_at: i64,
    attempts: u32,
}

/// An answer of the store that is on its way.
struct Read {
    asked: Vec<DueQuery>,
    pages: Option<Vec<DuePage>>,
}

struct World {
    air: Air,
    now: i64,
    pending: BTreeMap<(WebhookId, i64), Pending>,
    /// What has ended and is not written yet, with its next due time.
    unsettled: Vec<(DeliveryId, Option<i64>)>,
    cancelled: BTreeSet<DeliveryId>,
    gone: Vec<WebhookId>,
    read: Option<Read>,
    loading: Vec<WebhookId>,
    enabled: BTreeMap<WebhookId, bool>,
    /// Webhooks that lead to another host than at first.
    moved: BTreeMap<WebhookId, bool>,
    accepted: i64,
    sent: usize,
}

impl World {
    fn new() -> Self {
        Self {
            air: lanes(6, 3),
            now: 1_000,
            pending: BTreeMap::new(),
            unsettled: vec![],
            cancelled: BTreeSet::new(),
            gone: vec![],
            read: None,
            loading: vec![],
            enabled: (0..WEBHOOKS)
                .map(|webhook| (WebhookId(webhook), true))
                .collect(),
            moved: BTreeMap::new(),
            accepted: 0,
            sent: 0,
        }
    }

    fn delivery(&self, webhook: WebhookId, number: i64) -> DueDelivery {
        let pending = self.pending[&(webhook, number)];
        let mut due = due_of(webhook, number, pending.due_at);
        due.delivery.attempts = pending.attempts;
        due
    }

    fn lookup(&self, webhook: WebhookId) -> WebhookLookup {
        if !self.enabled[&webhook] {
            return WebhookLookup::Disabled;
        }
        let host = match self.moved.get(&webhook) {
            Some(true) => "moved.test",
            Some(false) | None => ["a.test", "b.test"][usize::try_from(webhook.0 % 2).unwrap()],
        };
        open_at(1 + webhook.0 / 2, host)
    }

    /// What the store answers now.
    fn page(&self, ask: &DueQuery) -> DuePage {
        let of_webhook = self
            .pending
            .iter()
            .filter(|((webhook, _), _)| *webhook == ask.webhook);
        let mut all: Vec<(i64, i64)> = of_webhook
            .map(|((_, number), pending)| (pending.due_at, *number))
            .collect();
        all.sort_unstable();
        let due = all.iter().filter(|(due_at, _)| *due_at <= self.now);
        let due: Vec<_> = due.take(ask.limit).copied().collect();
        let next_due_at = all.get(due.len()).map(|(due_at, _)| at(*due_at));
        let of = |numbers: Vec<(i64, i64)>| -> Vec<DueDelivery> {
            let of = |(_, number)| self.delivery(ask.webhook, number);
            numbers.into_iter().map(of).collect()
        };
        let early = all[due.len()..].iter().filter(|(due_at, number)| {
            *due_at > self.now && self.pending[&(ask.webhook, *number)].attempts > 0
        });
        let may_be_early = all
            .get(due.len())
            .is_none_or(|(due_at, _)| *due_at > self.now);
        let ahead = ask
            .recovery
            .filter(|_| may_be_early)
            .map(|query| RecoveryPage {
                deliveries: of(early.take(query.limit).copied().collect()),
                next: None,
            });
        DuePage {
            webhook: ask.webhook,
            deliveries: of(due),
            next_due_at,
            recovery: ahead,
        }
    }

    fn accept(&mut self, webhook: WebhookId, is_passed_over: bool) {
        if !self.enabled[&webhook] {
            return;
        }
        self.accepted += 1;
        let pending = Pending {
            due_at: self.now,
            attempts: 0,
        };
        self.pending.insert((webhook, self.accepted), pending);
        match is_passed_over {
            true => self.air.lower(webhook, at(self.now)),
            false => {
                let due = self.delivery(webhook, self.accepted);
                self.air.arrive(due);
            }
        }
    }

    fn begin(&mut self) -> bool {
        let Some(call) = self.air.lanes.next_call(self.air.now) else {
            return false;
        };
        let id = call.due.delivery.id;
        assert!(!self.air.in_flight.contains_key(&id), "{id} is in flight");
        let is_unsettled = self.unsettled.iter().any(|(unsettled, _)| *unsettled == id);
        assert!(!is_unsettled, "{id} is not settled");
        match self.pending.get(&(id.webhook, id.notification.0)) {
            Some(pending) => assert_eq!(pending.attempts, call.due.delivery.attempts, "{id}"),
            // A read may be older than the cancelling.
            None => assert!(self.cancelled.contains(&id), "{id} is not pending"),
        }
        assert!(self.enabled[&id.webhook], "{id} is for a disabled webhook");
        self.air.in_flight.insert(id, call.attempt_id);
        self.sent += 1;
        true
    }

    /// One of those in flight ends.
    fn end(&mut self, pick: usize, how: usize) {
        let Some(id) = pick_of(self.air.in_flight.keys().copied(), pick) else {
            return;
        };
        let Some(pending) = self.pending.get(&(id.webhook, id.notification.0)).copied() else {
            // It was cancelled meanwhile.
            self.air.landed(id, well());
            self.unsettled.push((id, None));
            return;
        };
        if how == 0 {
            let attempt = self.air.in_flight.remove(&id).unwrap();
            self.air.lanes.unsent(attempt, id, at(pending.due_at));
            return;
        }
        let ended = |effect| AttemptEffect {
            began_at: at(self.now),
            ended_at: at(self.now),
            ..effect
        };
        let effect = match how {
            1..=3 => ended(well()),
            4 => ended(hung()),
            5 => ended(AttemptEffect {
                gone: true,
                failed: true,
                ..well()
            }),
            6 => ended(AttemptEffect {
                failed: true,
                pause: self.pause(id.webhook),
                ..well()
            }),
            _ => ended(AttemptEffect {
                failed: true,
                signal: LoadSignal::Overload,
                ..well()
            }),
        };
        let next = effect
            .failed
            .then_some(self.now + MINUTE_MS * i64::from(pending.attempts + 1));
        if effect.gone {
            self.gone.push(id.webhook);
        }
        self.air.landed(id, effect);
        self.unsettled.push((id, next.filter(|_| how != 5)));
    }

    fn pause(&self, webhook: WebhookId) -> Option<Pause> {
        let WebhookLookup::Callable(snapshot) = self.lookup(webhook) else {
            return None;
        };
        Some(Pause {
            until: at(self.now + MINUTE_MS),
            by: snapshot.prepared,
        })
    }

    fn settle(&mut self, pick: usize) {
        if self.unsettled.is_empty() {
            return;
        }
        let index = pick % self.unsettled.len();
        let (id, next) = self.unsettled.swap_remove(index);
        let key = (id.webhook, id.notification.0);
        match (self.pending.get_mut(&key), next) {
            (Some(pending), Some(due_at)) => {
                pending.due_at = due_at;
                pending.attempts += 1;
            }
            (Some(_), None) => drop(self.pending.remove(&key)),
            (None, _) => {}
        }
        self.air.settled(id, next.map(at));
        if let Some(index) = self.gone.iter().position(|webhook| *webhook == id.webhook) {
            self.gone.swap_remove(index);
            self.enabled.insert(id.webhook, false);
            self.air.changed(id.webhook, at(self.now));
        }
    }

    fn read(&mut self, is_refused: bool) {
        let pages = |world: &Self, asked: &[DueQuery]| -> Vec<DuePage> {
            asked.iter().map(|ask| world.page(ask)).collect()
        };
        match self.read.take() {
            None => {
                let asked = self.air.ask_due(at(self.now));
                self.read = (!asked.is_empty()).then_some(Read { asked, pages: None });
            }
            Some(Read { asked, pages: None }) => {
                let pages = Some(pages(self, &asked));
                self.read = Some(Read { asked, pages });
            }
            Some(Read {
                asked,
                pages: Some(pages),
            }) => {
                let webhooks: Vec<_> = asked.iter().map(|ask| ask.webhook).collect();
                match is_refused {
                    true => self.air.unasked_due(&webhooks, self.now % 2 == 0),
                    false => self.air.answer_due(&webhooks, pages, at(self.now)),
                }
            }
        }
    }

    fn load(&mut self, is_refused: bool) {
        let loading = std::mem::take(&mut self.loading);
        if loading.is_empty() {
            self.loading = self.air.ask_targets();
        } else if is_refused {
            self.air.unasked_targets(&loading);
        } else {
            for webhook in loading {
                let lookup = self.lookup(webhook);
                self.air.answer_target(webhook, lookup);
            }
        }
    }

    fn cancel(&mut self) {
        let Some(webhook) = self.air.next_cancel() else {
            return;
        };
        if !self.enabled[&webhook] {
            let of_webhook = self.pending.keys().filter(|(of, _)| *of == webhook);
            self.cancelled
                .extend(of_webhook.map(|(_, number)| id_of(webhook, *number)));
            self.pending.retain(|(of, _), _| *of != webhook);
        }
        self.air.cancelled(webhook, false);
    }

    fn pass(&mut self, ms: i64) {
        self.now += ms;
        pass(&mut self.air, u64::try_from(ms).unwrap());
    }

    fn step(&mut self, step: u8, pick: usize) {
        let webhook = WebhookId(i64::try_from(pick % 4).unwrap());
        match step {
            0..=3 => self.accept(webhook, pick.is_multiple_of(5)),
            4..=8 => drop(self.begin()),
            9..=12 => self.end(pick, pick / 7 % 9),
            13..=16 => self.settle(pick),
            17..=21 => self.read(pick.is_multiple_of(6)),
            22..=24 => self.load(pick.is_multiple_of(6)),
            25 => self.cancel(),
            26..=27 => self.pass(i64::try_from(pick % 5_000).unwrap()),
            28 => self.pass(MINUTE_MS),
            29 => {
                let is_enabled = self.enabled[&webhook];
                match pick % 3 {
                    0 => drop(self.moved.insert(webhook, pick.is_multiple_of(2))),
                    _ => drop(self.enabled.insert(webhook, !is_enabled)),
                }
                self.air.changed(webhook, at(self.now));
            }
            30 => {
                let pending = self
                    .pending
                    .keys()
                    .copied()
                    .filter(|(of, _)| self.enabled[of]);
                if let Some((webhook, number)) = pick_of(pending, pick) {
                    let mut due = self.delivery(webhook, number);
                    due.delivery.due_at = due.delivery.due_at.min(at(self.now));
                    self.air.ask_for(due);
                }
            }
            _ => match pick % 2 {
                0 => self.air.forget_resting(),
                _ => self.air.all_changed(),
            },
        }
    }

    /// From now on all is well, until nothing is left.
    fn calm(&mut self) {
        for (webhook, enabled) in &self.enabled {
            if !enabled {
                self.air.changed(*webhook, at(self.now));
            }
        }
        self.enabled
            .values_mut()
            .for_each(|enabled| *enabled = true);
        for _ in 0..2_000 {
            self.air.check();
            self.load(false);
            self.cancel();
            self.read(false);
            while self.begin() {}
            while !self.air.in_flight.is_empty() {
                self.end(0, 1);
            }
            while !self.unsettled.is_empty() {
                self.settle(0);
            }
            if self.pending.is_empty() && self.air.count() == 0 {
                // Turns of lanes that have nothing to send any more.
                assert!(!self.begin());
                return;
            }
            self.pass(MINUTE_MS);
        }
        panic!(
            "{} deliveries are left, {} lanes",
            self.pending.len(),
            self.air.count()
        );
    }
}

fn pick_of<T>(all: impl Iterator<Item = T>, pick: usize) -> Option<T> {
    let all: Vec<T> = all.collect();
    let index = pick.checked_rem(all.len())?;
    all.into_iter().nth(index)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 600,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn whatever_happens_all_is_sent_and_nothing_twice(
        steps in proptest::collection::vec((0..32_u8, 0..10_000_usize), 0..250),
    ) {
        let mut world = World::new();
        for (step, pick) in steps {
            world.step(step, pick);
            world.air.check();
        }
        world.calm();
        world.air.forget_resting();
        prop_assert!(world.air.shares.is_idle());
    }
}
