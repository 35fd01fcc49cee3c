//! Notifications and deliveries.

use std::collections::BTreeMap;

use model::attempt::Attempt;
use model::contract::{
    DueQuery, RecoveryQuery, ReplayFilter, ReplayRequest, ReplayScope, Settlement,
};
use model::dashboard::{BulkJobKind, NewBulkJob};
use model::delivery::{CancelCause, DeliveryState, DueDelivery, NextState};
use model::delivery_filter::{DeliveryFilter, ResponseFilter};
use model::id::{BulkJobId, DeliveryId, NotificationId, WebhookId};
use model::notification::{AcceptResult, NewNotification};
use model::query::DeliveryStatus;
use model::tenant::DialectName;
use model::time::{Heartbeat, Moment, TimeBounds, Timestamp};

use super::history::{History, Kind, STEPS_MAX};
use super::pair::Side;
use super::sameness::Made;
use crate::sqlite::harness::{at, wait};

impl History {
    pub(super) fn new_notification(&mut self) -> impl Fn(&Side) -> NewNotification + use<> {
        let tenant = self.tenant();
        let key = format!("k{}", self.draw.below(60));
        let body = match self.draw.once_in(4) {
            true => self.draw.body(),
            false => bytes::Bytes::from(key.clone()),
        };
        let (match_keys, headers) = (self.draw.match_keys(), self.draw.headers());
        let action_type = self.draw.of(&["order.paid", "order.placed"]).to_owned();
        let event = self
            .draw
            .of(&[None, Some("democon".to_owned()), Some("new".to_owned())]);
        let only = match self.draw.once_in(10) {
            true => Some(self.turn_of::<WebhookId>()),
            false => None,
        };
        let digest = self.draw.once_in(6).then_some(7);
        let now = self.now;
        move |side| NewNotification {
            tenant: side.made.get(tenant),
            key: key.clone(),
            action_type: action_type.clone(),
            match_keys: match_keys.clone(),
            event: event.clone(),
            headers: headers.clone(),
            body: body.clone(),
            digest,
            match_context: digest.map(|digest| digest.to_string()),
            only_webhook: only.map(|turn| side.webhook(turn)),
            at: at(now),
        }
    }

    pub(super) fn accept(&mut self) {
        let count = match self.kind {
            Kind::OneTenant | Kind::SeveralTenants => 1 + self.draw.below(4),
            Kind::Crowd => 1 + self.draw.below(30),
        };
        self.times.push(self.now);
        let batch: Vec<_> = (0..count).map(|_| self.new_notification()).collect();
        let batch = |side: &Side| batch.iter().map(|new| new(side)).collect::<Vec<_>>();
        let what = format!("accept {:?}", batch(&self.pair.sides[0]));
        self.pair
            .make(&what, |side| side.store.accept(batch(side)), note_accepted);
        if self.kind == Kind::Crowd {
            self.pair.fan_out();
        }
    }

    /// Deliveries that are due, on each side in the same order.
    pub(super) fn due(&mut self, turn: usize) -> [Vec<DueDelivery>; 2] {
        let (schedule, limit) = (self.schedule, 1 + self.draw.below(6));
        let ahead = self.draw.of(&[0, 0, 5_000, 1_000_000]);
        let recovery = self.draw.once_in(3).then(|| RecoveryQuery {
            tried_by: at(schedule),
            after: None,
            limit: 3,
        });
        if self.kind == Kind::OneTenant {
            // Where times fall, those in notifications' own rows and those in `fresh` are each in
            // the order of their ids, and a page merges them.
            self.materialize();
        }
        let what = format!("{limit} due of webhook {turn} in {ahead} ms, {recovery:?}");
        let found = self.pair.ask(&what, |side| {
            let query = DueQuery {
                recovery,
                ..DueQuery::new(side.webhook(turn), limit)
            };
            side.store
                .due(side.lease.epoch, vec![query], at(schedule + ahead))
        });
        found.map(|pages| {
            let pages = pages.unwrap_or_default().into_iter();
            let due = pages.flat_map(|page| {
                let recovered = page.recovery.into_iter().flat_map(|found| found.deliveries);
                page.deliveries.into_iter().chain(recovered)
            });
            let mut due: Vec<DueDelivery> = due.collect();
            let mut seen = Vec::new();
            due.retain(|one| {
                let is_new = !seen.contains(&one.delivery.id);
                seen.push(one.delivery.id);
                is_new
            });
            due
        })
    }

    pub(super) fn settle(&mut self) {
        let (turn, tenant) = self.webhook();
        let due = self.due(turn);
        let count = due[0].len();
        if count == 0 {
            return;
        }
        let version = {
            let side = &self.pair.sides[0];
            let found = side
                .store
                .webhook(side.made.get(tenant), side.webhook(turn));
            wait(found).unwrap().map_or(1, |webhook| webhook.version)
        };
        let drawn: Vec<_> = (0..count)
            .map(|place| self.settlement(place, version))
            .collect();
        let batches = due.map(|due| {
            let all = drawn.iter().zip(&due).map(|(make, due)| make(due));
            all.collect::<Vec<Settlement>>()
        });
        for _ in 0..=usize::from(self.draw.once_in(6)) {
            let what = format!("settle {:?}", batches[0]);
            self.pair.tell(&what, |side| {
                let own = batches[side.place].clone();
                let settled = side.store.settle(side.lease.epoch, own.into());
                side.store.flush();
                settled
            });
        }
    }

    pub(super) fn settlement(
        &mut self,
        place: usize,
        version: i64,
    ) -> impl Fn(&DueDelivery) -> Settlement + use<> {
        let (now, schedule) = (self.now, self.schedule + i64::try_from(place).unwrap());
        let (outcome, headers) = (self.draw.outcome(), self.draw.headers());
        let stale = self.draw.once_in(8).then(|| self.draw.outcome());
        let wait_ms = 1 + self.draw.number(300_000);
        let (kind, early) = (self.draw.below(8), self.draw.once_in(10));
        let pauses = self.draw.once_in(8);
        let is_late = self.draw.once_in(15);
        move |due| {
            let delivery = &due.delivery;
            let attempt = |outcome| Attempt {
                began_at: at(now - 5),
                duration_ms: 5,
                url: "https://***@h.example/hook".into(),
                request_headers: headers.clone(),
                outcome,
            };
            let (state, disables_webhook) = match kind {
                0..=2 => (DeliveryState::Delivered, false),
                3 => (DeliveryState::Failed, false),
                4 if place == 0 => (DeliveryState::Cancelled(CancelCause::ReceiverGone), true),
                _ => (DeliveryState::Pending, false),
            };
            let is_pending = state == DeliveryState::Pending;
            Settlement {
                id: delivery.id,
                round: delivery.round + u32::from(is_late),
                attempts: delivery.attempts,
                webhook_version: version,
                ended_at: at(now),
                stale: stale.clone().map(|outcome| Box::new(attempt(outcome))),
                attempt: attempt(outcome.clone()),
                next: NextState {
                    state,
                    due_at: is_pending.then(|| at(schedule + wait_ms)),
                    began_at: at(schedule - 5),
                    round_began_at: delivery.round_began_at.unwrap_or_else(|| at(schedule - 5)),
                    disables_webhook,
                    pauses_until: (pauses && is_pending).then(|| at(schedule + wait_ms)),
                    early: early && is_pending,
                },
                handshake: None,
            }
        }
    }

    pub(super) fn replay(&mut self) {
        let (turn, tenant) = self.webhook();
        let notification = self.turn_of::<NotificationId>();
        let now = self.now;
        let began_at = at(now - self.draw.number(100_000));
        let which = self.draw.below(4);
        let status = self.draw.of(&[
            DeliveryStatus::Retrying,
            DeliveryStatus::Failed,
            DeliveryStatus::Cancelled,
        ]);
        let action_type = self.draw.once_in(2).then(|| "order.paid".to_owned());
        let since = self.draw.once_in(2).then(|| at(self.some_time()));
        let until = self.draw.once_in(3).then(|| at(self.some_time()));
        let (after, last) = (self.turn_of::<NotificationId>(), self.draw.once_in(2));
        let from_start = self.draw.once_in(2);
        let ask = |side: &Side| ReplayRequest {
            tenant: side.made.get(tenant),
            webhook: side.webhook(turn),
            which: match which {
                0 => ReplayScope::One(DeliveryId {
                    notification: side.made.get(notification),
                    webhook: side.webhook(turn),
                }),
                1 => ReplayScope::Undelivered { began_at },
                2 => ReplayScope::Failed { began_at },
                _ => ReplayScope::Filtered(ReplayFilter {
                    status,
                    began_at,
                    since,
                    until,
                    action_type: action_type.clone(),
                    after: match from_start {
                        true => NotificationId(0),
                        false => side.made.get(after),
                    },
                    last,
                }),
            },
            actor: "anna".to_owned(),
        };
        let what = format!("replay {:?}", ask(&self.pair.sides[0]));
        self.pair
            .tell(&what, |side| side.store.replay(ask(side), at(now)));
    }

    pub(super) fn cancel_deliveries(&mut self) {
        let (turn, tenant) = self.webhook();
        let count = 1 + self.draw.below(4);
        let turns: Vec<usize> = (0..count)
            .map(|_| self.turn_of::<NotificationId>())
            .collect();
        let now = self.now;
        let what = format!("cancel {turns:?} of webhook {turn}");
        self.pair.tell(&what, |side| {
            let deliveries = turns.iter().map(|notification| DeliveryId {
                notification: side.made.get(*notification),
                webhook: side.webhook(turn),
            });
            let deliveries = deliveries.collect();
            let tenant = side.made.get(tenant);
            side.store
                .cancel_deliveries(tenant, deliveries, "anna".to_owned(), at(now))
        });
    }

    pub(super) fn cancel_pending(&mut self) {
        let (turn, _) = self.webhook();
        let now = self.now;
        let counts = self.pair.sides.each_ref().map(|side| {
            let step = || {
                let webhook = side.webhook(turn);
                wait(
                    side.store
                        .cancel_pending(side.lease.epoch, webhook, at(now)),
                )
                .unwrap()
            };
            let steps = std::iter::repeat_with(step).take(STEPS_MAX);
            steps.take_while(|count| *count > 0).sum::<usize>()
        });
        self.pair
            .compare_counts(&format!("cancel what webhook {turn} is owed"), counts);
    }

    pub(super) fn bulk_job(&mut self) {
        let (turn, tenant) = self.webhook();
        let what = self.draw.of(&BulkJobKind::ALL);
        let filter = (what == BulkJobKind::ReplayMatching).then(|| self.some_filter());
        let of_all = filter.is_some() && self.draw.once_in(2);
        let now = self.now;
        let counted = self
            .pair
            .ask(&format!("{what:?} of webhook {turn}"), |side| {
                let (tenant, webhook) = (side.made.get(tenant), side.webhook(turn));
                side.store.count_bulk_job(tenant, webhook, what, at(now))
            });
        let expected = counted[0].as_ref().map_or(0, |found| found.count);
        if let Some(filter) = &filter {
            let _same = self.pair.ask(&format!("what {filter:?} means"), |side| {
                let webhook = (!of_all).then(|| side.webhook(turn));
                let tenant = side.made.get(tenant);
                side.store
                    .count_matching(tenant, webhook, filter.clone(), at(now))
            });
        }
        self.pair.make(
            &format!("begin {what:?} of webhook {turn}"),
            |side| {
                let new = NewBulkJob {
                    tenant: side.made.get(tenant),
                    webhook: (!of_all).then(|| side.webhook(turn)),
                    what,
                    filter: filter.clone(),
                    expected,
                    actor: "anna".to_owned(),
                };
                side.store.start_bulk_job(new, at(now))
            },
            |made, job| made.note::<BulkJobId>(job.id),
        );
        if !self.draw.once_in(3) {
            let later = now + 10;
            let ended = self.pair.sides.each_ref().map(|side| {
                let step = || wait(side.store.step_bulk_job(side.lease.epoch, at(later))).unwrap();
                let steps = std::iter::repeat_with(step).take(STEPS_MAX);
                usize::from(steps.take_while(|more| *more).count() < STEPS_MAX)
            });
            self.pair.compare_counts("bulk jobs end", ended);
        }
    }

    fn some_filter(&mut self) -> DeliveryFilter {
        let response = self.draw.of(&[
            None,
            None,
            Some(ResponseFilter::Class(5)),
            Some(ResponseFilter::Missing),
        ]);
        let some = |is: bool, text: &str| {
            if is {
                vec![text.to_owned()]
            } else {
                Vec::new()
            }
        };
        DeliveryFilter {
            statuses: match self.draw.once_in(2) {
                true => DeliveryFilter::REPLAYED.to_vec(),
                false => vec![self.draw.of(&DeliveryFilter::REPLAYED)],
            },
            action_types: some(self.draw.once_in(4), "order.paid"),
            events: some(self.draw.once_in(4), "democon"),
            responses: response.into_iter().collect(),
            since: self.draw.once_in(3).then(|| at(self.some_time())),
            until: self.draw.once_in(3).then(|| at(self.some_time())),
            text: self.draw.of(&["", "", "k1"]).to_owned(),
        }
    }

    pub(super) fn prune(&mut self) {
        let before = at(self.now - self.draw.number(400_000));
        let before: BTreeMap<DialectName, Timestamp> = [
            (DialectName::new("pretix"), before),
            (DialectName::new("openticket"), before.plus_ms(-50_000)),
        ]
        .into();
        let doubt = self.draw.of(&[0, 0, 50_000]);
        let now = TimeBounds {
            earliest: at(self.now - doubt),
            latest: at(self.now + doubt),
        };
        // What SQLite has in notifications' own rows is removed once it has rows.
        self.materialize();
        let ended = self.pair.sides.each_ref().map(|side| {
            let step = || {
                let step = side.store.prune(side.lease.epoch, before.clone(), now);
                wait(step).unwrap()
            };
            let steps = std::iter::repeat_with(step).take(STEPS_MAX);
            usize::from(steps.take_while(|more| *more).count() < STEPS_MAX)
        });
        self.pair
            .compare_counts(&format!("prune {before:?}"), ended);
    }

    pub(super) fn beat(&mut self) {
        self.schedule -= self.draw.number(1_000);
        let beat = Heartbeat::certain(Moment {
            schedule: at(self.schedule),
            wall: at(self.now),
        });
        let what = format!("heartbeat {beat:?}");
        self.pair.tell(&what, |side| {
            let renewed = side.store.renew(side.lease, beat);
            Box::pin(async move { renewed.await.map(drop) })
        });
    }
}

pub(super) fn note_accepted(made: &mut Made, results: &Vec<AcceptResult>) {
    for result in results {
        match result {
            AcceptResult::Accepted { id, .. }
            | AcceptResult::Duplicate { id, .. }
            | AcceptResult::Conflict { id, .. } => made.note(*id),
        }
    }
}
