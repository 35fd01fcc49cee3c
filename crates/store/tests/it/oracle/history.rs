//! A history: operations of the contract in an order that is drawn, each done to both stores.
//!
//! In a file times rise over all tenants, in a database within each. So the clock is set back only
//! where there is one tenant.

use std::collections::BTreeMap;

use model::attempt::Attempt;
use model::contract::{
    DueQuery, RecoveryQuery, ReplayFilter, ReplayRequest, ReplayScope, Settlement,
};
use model::dashboard::{BulkJobKind, NewBulkJob};
use model::delivery::{CancelCause, DeliveryState, DueDelivery, NextState};
use model::id::{BulkJobId, DeliveryId, NotificationId, TenantId, TokenId, UserId, WebhookId};
use model::idempotency::{IdempotencyKey, IdempotentOperation, IdempotentResult};
use model::notification::{AcceptResult, NewNotification};
use model::query::{
    Declaration, DeclaredWebhook, DeliveryStatus, LogQuery, StoredResponse, WebhookDefaults,
    WebhookQuery,
};
use model::tenant::{DialectName, Event, NewToken, Permission, TokenHash, TokenKind};
use model::time::{Heartbeat, Moment, TimeBounds, Timestamp};
use model::users::{NewUser, PasswordHash, Role, UserChange};
use model::webhook::{DisableCause, Disablement, Headers, NewWebhook, Webhook};

use super::draw::{Draw, HASHES};
use super::pair::{Pair, Side};
use super::sameness::Made;
use crate::sqlite::harness::{at, declaration, wait};

/// Operations between two times at which everything is asked.
const BETWEEN_INTERVIEWS: usize = 40;

/// Steps in which anything has come to its end.
const STEPS_MAX: usize = 1_000;

pub(super) struct History {
    pair: Pair,
    draw: Draw,
    /// What the wall clock says, and the schedule.
    now: i64,
    schedule: i64,
    has_one_tenant: bool,
}

/// Runs a history of so many operations.
pub(super) fn run(seed: u64, operations: usize) {
    let mut history = History {
        pair: Pair::new(seed),
        draw: Draw::new(seed),
        now: 1_000_000,
        schedule: 1_000_000,
        has_one_tenant: seed.is_multiple_of(2),
    };
    history.apply();
    for number in 1..=operations {
        history.pass_time();
        history.step();
        if number % BETWEEN_INTERVIEWS == 0 {
            history.interview();
        }
    }
    history.interview();
}

impl History {
    fn pass_time(&mut self) {
        let passed = match self.draw.once_in(20) {
            true => self.draw.number(400_000),
            false => self.draw.number(2_000),
        };
        self.now += passed;
        self.schedule += passed;
        if self.has_one_tenant && self.draw.once_in(25) {
            // By more than is waited for.
            self.now -= 2_000 + self.draw.number(300_000);
        }
    }

    fn step(&mut self) {
        match self.draw.below(40) {
            0..=8 => self.accept(),
            9..=18 => self.settle(),
            19..=20 => self.create_webhook(),
            21..=23 => self.save_webhook(),
            24 => self.apply(),
            25..=26 => self.replay(),
            27 => self.cancel_deliveries(),
            28 => self.cancel_pending(),
            29..=30 => self.bulk_job(),
            31 => self.prune(),
            32 => self.beat(),
            33..=34 => self.people(),
            35 => self.tokens(),
            36..=37 => self.idempotent(),
            38 => self.response(),
            _ => self.retention(),
        }
    }

    fn interview(&mut self) {
        let hashes: Vec<TokenHash> = (0..HASHES).map(|n| TokenHash([n; 32])).collect();
        let keys: Vec<String> = (0..6).map(|n| format!("n{n}")).collect();
        self.pair.interview(self.now, &hashes, &keys);
    }

    fn made(&self) -> &Made {
        &self.pair.sides[0].made
    }

    fn turn_of<T: super::sameness::Given>(&mut self) -> usize {
        let count = self.made().count::<T>();
        // Sometimes one that there is not.
        match self.draw.once_in(15) {
            true => count,
            false => self.draw.below(count.max(1)),
        }
    }

    fn tenant(&mut self) -> usize {
        let count = self.made().count::<TenantId>();
        self.draw.below(count)
    }

    /// A webhook's turn, and the turn of its tenant.
    fn webhook(&mut self) -> (usize, usize) {
        let turn = self.turn_of::<WebhookId>();
        let tenants = self.made().count::<TenantId>();
        for tenant in 0..tenants {
            let side = &self.pair.sides[0];
            let id: TenantId = side.made.get(tenant);
            let found = wait(side.store.webhook(id, side.webhook(turn))).unwrap();
            if found.is_some() {
                return (turn, tenant);
            }
        }
        (turn, self.draw.below(tenants))
    }

    fn dialect(tenant: usize) -> DialectName {
        DialectName::new(["pretix", "openticket"][tenant % 2])
    }

    /// SQLite gives rows to all deliveries, as it does whenever somebody looks at a log.
    fn materialize(&mut self) {
        let query = LogQuery {
            limit: 3,
            ..LogQuery::default()
        };
        self.pair.tell("log of tenant 0", |side| {
            side.store.log(side.made.get(0), query.clone())
        });
    }

    /// Notes webhooks and tokens that were made on the side.
    fn note_all(&mut self) {
        for turn in 0..self.made().count::<TenantId>() {
            let query = WebhookQuery {
                enabled: None,
                newest_first: false,
                offset: 0,
                limit: 500,
            };
            self.pair.make(
                &format!("webhooks of tenant {turn}"),
                |side| side.store.webhooks(vec![side.made.get(turn)], query),
                |made, page| page.webhooks.iter().for_each(|one| made.note(one.id)),
            );
            self.pair.make(
                &format!("tokens of tenant {turn}"),
                |side| side.store.tokens(Some(side.made.get(turn))),
                |made, tokens| {
                    let mut ids: Vec<TokenId> = tokens.iter().map(|one| one.id).collect();
                    ids.sort_unstable();
                    ids.into_iter().for_each(|id| made.note(id));
                },
            );
        }
    }
}

/// Webhooks, tenants and what belongs to them.
impl History {
    fn apply(&mut self) {
        let tenant = match self.has_one_tenant {
            true => 0,
            false => self.draw.below(3),
        };
        let declared = Declaration {
            dialect: Self::dialect(tenant),
            name: self.draw.name(3),
            events: (0..self.draw.below(3))
                .map(|n| Event {
                    slug: ["democon", "other", ""][n].to_owned(),
                    name: self.draw.name(3),
                    date_from: self.draw.once_in(2).then(|| at(self.draw.number(1_000))),
                })
                .collect(),
            webhooks: (0..self.draw.below(3))
                .map(|n| DeclaredWebhook {
                    key: self.draw.once_in(2).then(|| format!("declared {n}")),
                    target_url: format!("https://a{}.example/", self.draw.below(3)),
                    enabled: self.draw.of(&[None, None, Some(true), Some(false)]),
                    filter: self.draw.filter(),
                    settings: "{}".to_owned(),
                    headers: self.draw.once_in(2).then(Headers::default),
                    retries_max: None,
                    fresh: WebhookDefaults::default(),
                })
                .collect(),
            ..declaration(&format!("tenant {tenant}"))
        };
        let now = self.now;
        let key = declared.key.clone();
        let dialect = declared.dialect.clone();
        self.pair.tell(&format!("apply {declared:?}"), |side| {
            side.store
                .apply(vec![declared.clone()], "file".to_owned(), at(now))
        });
        self.pair.make(
            &format!("tenant {key}"),
            |side| side.store.tenant(dialect.clone(), key.clone()),
            |made, tenant| tenant.iter().for_each(|tenant| made.note(tenant.id)),
        );
        self.note_all();
    }

    fn new_webhook(&mut self) -> impl Fn(&Side) -> NewWebhook + use<> {
        let tenant = self.tenant();
        let key = self.draw.once_in(4).then(|| self.draw.name(6));
        let (filter, headers) = (self.draw.filter(), self.draw.headers());
        let retries_max = self.draw.once_in(3).then_some(3);
        let target_url = format!("https://user:pw@h{}.example/hook", self.draw.below(4));
        move |side| NewWebhook {
            tenant: side.made.get(tenant),
            key: key.clone(),
            target_url: target_url.clone(),
            disabled: None,
            filter: filter.clone(),
            settings: "{}".to_owned(),
            headers: headers.clone(),
            retries_max,
        }
    }

    fn create_webhook(&mut self) {
        let (new, now) = (self.new_webhook(), self.now);
        let what = format!("create {:?}", new(&self.pair.sides[0]));
        self.pair.make(
            &what,
            |side| {
                side.store
                    .create_webhook(new(side), "anna".to_owned(), at(now))
            },
            |made, webhook| made.note(webhook.id),
        );
    }

    fn save_webhook(&mut self) {
        let (turn, tenant) = self.webhook();
        let found = self.pair.ask(&format!("webhook {turn}"), |side| {
            side.store
                .webhook(side.made.get(tenant), side.webhook(turn))
        });
        let [Ok(Some(one)), Ok(Some(other))] = found else {
            return;
        };
        let stored = [one, other];
        let change = self.draw.below(8);
        let filter = self.draw.filter();
        let cause = match self.draw.once_in(5) {
            true => DisableCause::Deleted,
            false => DisableCause::Requested,
        };
        let (now, key) = (self.now, self.draw.name(6));
        let is_stale = self.draw.once_in(10);
        let changed = |webhook: &Webhook| {
            let mut webhook = webhook.clone();
            match change {
                0..=1 => webhook.filter = filter.clone(),
                2..=3 => webhook.disabled = Some(Disablement { at: at(now), cause }),
                4..=5 => webhook.disabled = None,
                6 => webhook.key = Some(key.clone()),
                _ => webhook.settings = format!("{{\"a\": {now}}}"),
            }
            webhook.version -= i64::from(is_stale);
            webhook
        };
        let what = format!("save webhook {turn}: {:?}", changed(&stored[0]));
        let asked = stored.each_ref().map(changed);
        self.pair.tell(&what, |side| {
            let own = asked.iter().find(|one| one.id == side.webhook(turn));
            let own = own.unwrap_or(&asked[0]).clone();
            side.store.save_webhook(own, "anna".to_owned(), at(now))
        });
    }

    fn retention(&mut self) {
        let (tenant, now) = (self.tenant(), self.now);
        let kept = self.draw.of(&[None, Some(60_000), Some(86_400_000)]);
        self.pair
            .tell(&format!("retention {kept:?} of {tenant}"), |side| {
                side.store
                    .set_retention(side.made.get(tenant), kept, "anna".to_owned(), at(now))
            });
    }

    fn tokens(&mut self) {
        let (tenant, now) = (self.tenant(), self.now);
        let (name, hash) = (self.draw.name(5), self.draw.hash());
        let (is_active, turn) = (self.draw.once_in(2), self.turn_of::<TokenId>());
        let of_tenant = !self.draw.once_in(5);
        let whose = move |side: &Side| of_tenant.then(|| side.made.get::<TenantId>(tenant));
        match self.draw.below(3) {
            0 => self
                .pair
                .tell(&format!("revoke token {turn} of {tenant}"), |side| {
                    let id = side.made.get(turn);
                    side.store
                        .revoke_token(whose(side), id, "anna".to_owned(), at(now))
                }),
            1 => self.pair.tell("token used", |side| {
                side.store.note_uses(vec![(hash, at(now))])
            }),
            _ => self
                .pair
                .tell(&format!("create token {name} {:?}", hash.0[0]), |side| {
                    let new = NewToken {
                        tenant: whose(side),
                        name: name.clone(),
                        hash,
                        kind: TokenKind::Program,
                        permissions: [Permission::WebhooksRead].into_iter().collect(),
                        active: is_active,
                        default: is_active,
                    };
                    side.store.create_token(new, "anna".to_owned(), at(now))
                }),
        }
        self.note_all();
    }
}

/// Notifications and deliveries.
impl History {
    fn new_notification(&mut self) -> impl Fn(&Side) -> NewNotification + use<> {
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

    fn accept(&mut self) {
        let count = 1 + self.draw.below(4);
        let batch: Vec<_> = (0..count).map(|_| self.new_notification()).collect();
        let batch = |side: &Side| batch.iter().map(|new| new(side)).collect::<Vec<_>>();
        let what = format!("accept {:?}", batch(&self.pair.sides[0]));
        self.pair
            .make(&what, |side| side.store.accept(batch(side)), note_accepted);
    }

    /// Deliveries that are due, on each side in the same order.
    fn due(&mut self, turn: usize) -> [Vec<DueDelivery>; 2] {
        let (schedule, limit) = (self.schedule, 1 + self.draw.below(6));
        let ahead = self.draw.of(&[0, 0, 5_000, 1_000_000]);
        let recovery = self.draw.once_in(3).then(|| RecoveryQuery {
            tried_by: at(schedule),
            after: None,
            limit: 3,
        });
        if self.has_one_tenant {
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

    fn settle(&mut self) {
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
                let own = batches
                    .iter()
                    .find(|batch| batch.iter().all(|one| side.owns(one.id)));
                let own = own.unwrap_or(&batches[0]).clone();
                let settled = side.store.settle(side.lease.epoch, own.into());
                side.store.flush();
                settled
            });
        }
    }

    fn settlement(
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
                    round_began_at: delivery.round_began_at.unwrap_or(at(schedule - 5)),
                    disables_webhook,
                    pauses_until: (pauses && is_pending).then(|| at(schedule + wait_ms)),
                    early: early && is_pending,
                },
            }
        }
    }

    fn replay(&mut self) {
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
        let since = self.draw.once_in(2).then(|| at(now - 500_000));
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
                    until: None,
                    action_type: action_type.clone(),
                    after: NotificationId(0),
                    last: true,
                }),
            },
            actor: "anna".to_owned(),
        };
        let what = format!("replay {:?}", ask(&self.pair.sides[0]));
        self.pair
            .tell(&what, |side| side.store.replay(ask(side), at(now)));
    }

    fn cancel_deliveries(&mut self) {
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

    fn cancel_pending(&mut self) {
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

    fn bulk_job(&mut self) {
        let (turn, tenant) = self.webhook();
        let what = self
            .draw
            .of(&[BulkJobKind::ReplayUndelivered, BulkJobKind::CancelPending]);
        let now = self.now;
        let counted = self
            .pair
            .ask(&format!("{what:?} of webhook {turn}"), |side| {
                let (tenant, webhook) = (side.made.get(tenant), side.webhook(turn));
                side.store.count_bulk_job(tenant, webhook, what, at(now))
            });
        let expected = counted[0].as_ref().map_or(0, |found| found.count);
        self.pair.make(
            &format!("begin {what:?} of webhook {turn}"),
            |side| {
                let new = NewBulkJob {
                    tenant: side.made.get(tenant),
                    webhook: side.webhook(turn),
                    what,
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

    fn prune(&mut self) {
        let before = at(self.now - self.draw.number(400_000));
        let before: BTreeMap<DialectName, Timestamp> = [
            (DialectName::new("pretix"), before),
            (DialectName::new("openticket"), before.plus_ms(-50_000)),
        ]
        .into();
        let now = TimeBounds::exactly(at(self.now));
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

    fn beat(&mut self) {
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

/// Users, and what is done once.
impl History {
    fn people(&mut self) {
        let (now, user, tenant) = (self.now, self.turn_of::<UserId>(), self.tenant());
        let (name, hash, other) = (self.draw.name(5), self.draw.hash(), self.draw.hash());
        let until = at(now + self.draw.number(500_000));
        let is = self.draw.of(&[None, Some(true), Some(false)]);
        let role = self.draw.of(&[None, Some(Role::Look), Some(Role::Edit)]);
        match self.draw.below(8) {
            0..=1 => {
                let new = NewUser {
                    password: PasswordHash(format!("hash of {name}")),
                    administrator: is == Some(true),
                    name,
                };
                self.pair.make(
                    &format!("create user {:?}", new.name),
                    |side| side.store.create_user(new.clone(), at(now)),
                    |made, user| made.note(user.id),
                );
            }
            2 => {
                let change = UserChange {
                    active: is,
                    administrator: is.filter(|_| role.is_some()),
                    password: role.map(|_| PasswordHash("another".to_owned())),
                };
                self.pair
                    .tell(&format!("change user {user}: {is:?}"), |side| {
                        let id = side.made.get(user);
                        side.store.change_user(id, change.clone(), at(now))
                    });
            }
            3 => {
                let what = format!("role {role:?} of user {user} at {tenant}");
                self.pair.tell(&what, |side| {
                    let (tenant, user) = (side.made.get(tenant), side.made.get(user));
                    side.store
                        .set_role(tenant, user, role, "anna".to_owned(), at(now))
                });
            }
            4 => {
                let verified = is.map(|_| PasswordHash(format!("hash of {name}")));
                let what = format!("session {:?} of user {user} until {until:?}", hash.0[0]);
                self.pair.tell(&what, |side| {
                    let user = side.made.get(user);
                    let verified = verified.clone();
                    let counted = Some(other);
                    side.store
                        .begin_session(hash, user, verified, counted, until, at(now))
                });
            }
            5 => {
                self.pair
                    .tell("end of a session", |side| side.store.end_session(hash));
                self.pair.tell(&format!("link of user {user}"), |side| {
                    side.store.create_link(other, side.made.get(user), until)
                });
            }
            6 => {
                self.pair
                    .tell("use of a link", |side| side.store.use_link(hash, at(now)));
            }
            _ => {
                self.pair.tell("try to sign in", |side| {
                    side.store.try_sign_in(hash, at(now))
                });
            }
        }
    }

    fn idempotent(&mut self) {
        let key = IdempotencyKey {
            key: format!("n{}", self.draw.below(6)),
            holder: self.draw.hash(),
            request: TokenHash([u8::try_from(self.draw.below(2)).unwrap(); 32]),
        };
        let (now, turn) = (self.now, self.webhook());
        let new = self.new_notification();
        let webhook = self.new_webhook();
        let part = u32::try_from(self.draw.below(2)).unwrap();
        let kind = self.draw.below(3);
        let operation = |side: &Side| match kind {
            0 => IdempotentOperation::Accept {
                batch: vec![new(side)],
                part,
            },
            1 => IdempotentOperation::CreateWebhook {
                webhook: webhook(side),
                actor: "anna".to_owned(),
            },
            _ => IdempotentOperation::Replay {
                ask: ReplayRequest {
                    tenant: side.made.get(turn.1),
                    webhook: side.webhook(turn.0),
                    which: ReplayScope::Undelivered { began_at: at(now) },
                    actor: "anna".to_owned(),
                },
                counted: 2,
            },
        };
        let what = format!("under {key:?} {:?}", operation(&self.pair.sides[0]));
        self.pair.make(
            &what,
            |side| {
                let operation = operation(side);
                side.store.run_idempotent(key.clone(), operation, at(now))
            },
            |made, result| match result {
                IdempotentResult::Accepted(all) => {
                    let results: Vec<AcceptResult> =
                        all.iter().map(|(_, one)| one.clone()).collect();
                    note_accepted(made, &results);
                }
                IdempotentResult::Created(webhook) | IdempotentResult::Saved(webhook) => {
                    made.note(webhook.id);
                }
                IdempotentResult::Replayed(_) => {}
            },
        );
    }

    fn response(&mut self) {
        let response = StoredResponse {
            key: format!("n{}", self.draw.below(6)),
            holder: self.draw.hash(),
            request: TokenHash([u8::try_from(self.draw.below(2)).unwrap(); 32]),
            status: self.draw.of(&[200, 201, 409]),
            headers: self.draw.headers(),
            body: self.draw.body(),
        };
        let now = self.now;
        self.pair.tell(&format!("keep {response:?}"), |side| {
            side.store.store_response(response.clone(), at(now))
        });
    }
}

impl Side {
    /// Whether the delivery is one of this store.
    fn owns(&self, id: DeliveryId) -> bool {
        self.made.all::<NotificationId>().contains(&id.notification)
            && self.made.all::<WebhookId>().contains(&id.webhook)
    }
}

#[expect(
    clippy::ptr_arg,
    reason = "it is handed to who gives a reference to the answer"
)]
fn note_accepted(made: &mut Made, results: &Vec<AcceptResult>) {
    for result in results {
        match result {
            AcceptResult::Accepted { id, .. }
            | AcceptResult::Duplicate { id, .. }
            | AcceptResult::Conflict { id, .. } => made.note(*id),
        }
    }
}
