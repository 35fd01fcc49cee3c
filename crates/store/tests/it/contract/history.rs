//! Random histories against a model in plain collections: what the store says of every delivery
//! is what the model says, and states move only as they may.

use std::collections::BTreeMap;

use model::attempt::Outcome;
use model::contract::{ReplayResult, ReplayScope, Settlement};
use model::delivery::{CancelCause, DeliveryState, NextState};
use model::id::{DeliveryId, WebhookId};
use model::rng::SeededRng;
use model::webhook::DisableCause;

use super::harness::{Given, answered, at, delivered, delivery_id, ended, gone, retry, settlement};
use super::harness::{attempt, wait};

#[derive(Debug, Clone, PartialEq, Eq)]
struct Owed {
    state: DeliveryState,
    round: u32,
    attempts: u32,
    round_start: u32,
    due_at: i64,
    accepted_at: i64,
    ended_at: i64,
}

/// What the store should hold, and what time it is.
struct Expected {
    rng: SeededRng,
    now: i64,
    owed: BTreeMap<DeliveryId, Owed>,
    enabled: BTreeMap<WebhookId, Option<DisableCause>>,
    keys: u64,
}

impl Expected {
    fn draw(&mut self, end: usize) -> usize {
        usize::try_from(self.rng.below(end as u64)).unwrap()
    }

    fn any_delivery(&mut self) -> Option<DeliveryId> {
        let index = self.draw(self.owed.len().max(1));
        self.owed.keys().nth(index).copied()
    }

    fn any_webhook(&mut self) -> WebhookId {
        let index = self.draw(self.enabled.len());
        *self.enabled.keys().nth(index).unwrap()
    }

    fn accept(&mut self, given: &Given) {
        let id = given.notified(&self.keys.to_string(), self.now);
        self.keys += 1;
        for (webhook, disabled) in &self.enabled {
            if disabled.is_none() {
                let owed = Owed {
                    state: DeliveryState::Pending,
                    round: 1,
                    attempts: 0,
                    round_start: 0,
                    due_at: self.now,
                    accepted_at: self.now,
                    ended_at: 0,
                };
                self.owed.insert(delivery_id(id, *webhook), owed);
            }
        }
    }

    /// One to three attempts end, of any delivery, in its round or in the one before.
    fn settle(&mut self, given: &Given) {
        let mut batch = Vec::new();
        for _ in 0..=self.draw(3) {
            let Some(id) = self.any_delivery() else {
                return;
            };
            let late = u32::from(self.draw(4) == 0);
            let round = self.owed[&id].round.saturating_sub(late).max(1);
            let (outcome, next): (Outcome, NextState) = match self.draw(8) {
                0..=2 => (answered(200), delivered()),
                3..=5 => (
                    answered(500),
                    retry(self.now + 1 + self.rng.below(90).cast_signed()),
                ),
                6 => (answered(500), ended(DeliveryState::Failed)),
                _ => (answered(410), gone()),
            };
            // Each attempt begins at a moment of its own, so none is taken for a repetition.
            self.now += 1;
            let same = batch.iter().filter(|other: &&Settlement| other.id == id);
            let attempts = self.owed[&id].attempts + u32::try_from(same.count()).unwrap();
            batch.push(Settlement {
                round,
                attempts,
                webhook_version: given.stored(id.webhook).version,
                attempt: attempt(self.now, outcome.clone()),
                ..settlement(id, self.now, outcome, next)
            });
        }
        for settlement in &batch {
            self.settled(settlement);
        }
        wait(given.store.settle(given.epoch(), batch.into())).unwrap();
    }

    fn settled(&mut self, settlement: &Settlement) {
        let next = &settlement.next;
        let now = settlement.ended_at.as_millis();
        let owed = self.owed.get_mut(&settlement.id).unwrap();
        owed.attempts += 1;
        if owed.state == DeliveryState::Pending && owed.round == settlement.round {
            owed.state = next.state;
            match next.due_at {
                Some(due_at) => owed.due_at = due_at.as_millis(),
                None => owed.ended_at = now,
            }
        } else {
            if owed.round != settlement.round {
                owed.round_start += 1;
            }
            if next.state == DeliveryState::Delivered && owed.state != DeliveryState::Delivered {
                owed.state = DeliveryState::Delivered;
                owed.ended_at = now;
            }
        }
        let webhook = settlement.id.webhook;
        if next.disables_webhook && self.enabled[&webhook].is_none() {
            self.enabled.insert(webhook, Some(DisableCause::Gone));
            self.cancelled(webhook, CancelCause::ReceiverGone, now);
        }
    }

    fn cancelled(&mut self, webhook: WebhookId, cause: CancelCause, now: i64) {
        for (id, owed) in &mut self.owed {
            if id.webhook == webhook && owed.state == DeliveryState::Pending {
                owed.state = DeliveryState::Cancelled(cause);
                owed.ended_at = now;
            }
        }
    }

    fn switch(&mut self, given: &Given) {
        let webhook = self.any_webhook();
        if self.enabled[&webhook].is_none() {
            given.disable(webhook, self.now);
            self.enabled.insert(webhook, Some(DisableCause::Requested));
            self.cancelled(webhook, CancelCause::WebhookDisabled, self.now);
        } else {
            given.enable(webhook, self.now);
            self.enabled.insert(webhook, None);
        }
    }

    fn replay_one(&mut self, given: &Given) {
        let Some(id) = self.any_delivery() else {
            return;
        };
        let answer = given.replay(id.webhook, ReplayScope::One(id), self.now);
        if self.enabled[&id.webhook].is_some() {
            assert_eq!(answer, ReplayResult::Disabled);
            return;
        }
        let now = self.now;
        let owed = self.owed.get_mut(&id).unwrap();
        if owed.state == DeliveryState::Pending {
            owed.due_at = owed.due_at.min(now);
        } else {
            owed.again(now);
        }
        let (count, more) = (1, false);
        assert_eq!(answer, ReplayResult::Done { count, more });
    }

    fn replay_failed(&mut self, given: &Given) {
        let webhook = self.any_webhook();
        let (now, began_at) = (self.now, at(self.now));
        let answer = given.replay(webhook, ReplayScope::Undelivered { began_at }, now);
        if self.enabled[&webhook].is_some() {
            assert_eq!(answer, ReplayResult::Disabled);
            return;
        }
        let mut count = 0;
        for (id, owed) in &mut self.owed {
            if id.webhook != webhook {
                continue;
            }
            match owed.state {
                DeliveryState::Failed | DeliveryState::Cancelled(_) => owed.again(now),
                DeliveryState::Pending if owed.attempts > 0 && owed.due_at > now => {
                    owed.due_at = now;
                }
                DeliveryState::Pending | DeliveryState::Delivered => continue,
            }
            count += 1;
        }
        let more = false;
        assert_eq!(answer, ReplayResult::Done { count, more });
    }

    fn prune(&mut self, given: &Given) {
        let before = self.now - self.rng.below(300).cast_signed();
        while wait(given.prune(before, 0)).unwrap() {}
        self.owed
            .retain(|_, owed| owed.state == DeliveryState::Pending || owed.accepted_at >= before);
    }

    fn check(&self, given: &Given) {
        for (id, owed) in &self.owed {
            let story = given.story(*id);
            let row = &story.row;
            assert_eq!(
                (row.state, row.attempts),
                (owed.state, owed.attempts),
                "{id}"
            );
            let pending = owed.state == DeliveryState::Pending;
            assert_eq!(row.due_at, pending.then_some(at(owed.due_at)), "{id}");
            assert_eq!(
                row.ended_at,
                (!pending).then_some(at(owed.ended_at)),
                "{id}"
            );
            assert_eq!(story.attempts.len(), owed.attempts as usize, "{id}");
        }
        for webhook in self.enabled.keys() {
            let mut due: Vec<(i64, DeliveryId)> = self
                .owed
                .iter()
                .filter(|(id, owed)| id.webhook == *webhook && owed.state == DeliveryState::Pending)
                .map(|(id, owed)| (owed.due_at, *id))
                .collect();
            due.sort_unstable();
            let (found, next) = given.due(*webhook, 100_000, i64::MAX);
            assert_eq!(next, None);
            let ids: Vec<_> = found
                .iter()
                .map(|due| (due.delivery.due_at.as_millis(), due.delivery.id))
                .collect();
            assert_eq!(ids, due);
            for due in found {
                let owed = &self.owed[&due.delivery.id];
                let round_attempts = owed.attempts - owed.round_start;
                let (found, expected) = (&due.delivery, (owed.round, round_attempts));
                assert_eq!((found.round, found.round_attempts), expected);
            }
        }
    }
}

impl Owed {
    fn again(&mut self, now: i64) {
        self.state = DeliveryState::Pending;
        self.round += 1;
        self.round_start = self.attempts;
        self.due_at = now;
    }
}

#[test]
fn every_history_leaves_what_the_model_says() {
    for seed in 0..12 {
        let given = Given::new();
        let mut expected = Expected {
            rng: SeededRng::from_seed([seed; 32]),
            now: 1_000,
            owed: BTreeMap::new(),
            enabled: (0..3).map(|_| (given.paid_webhook(), None)).collect(),
            keys: 0,
        };
        for _ in 0..150 {
            expected.now += expected.rng.below(20).cast_signed();
            match expected.draw(20) {
                0..=6 => expected.accept(&given),
                7..=13 => expected.settle(&given),
                14..=15 => expected.replay_one(&given),
                16 => expected.replay_failed(&given),
                17..=18 => expected.switch(&given),
                _ => expected.prune(&given),
            }
        }
        expected.check(&given);
        assert!(expected.keys > 20, "seed {seed}");
    }
}
