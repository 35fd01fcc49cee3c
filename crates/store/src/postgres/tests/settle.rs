//! Settling on a real server: a batch is written as if one settlement after the other were,
//! whatever is in it, and whoever else writes.

use std::thread;

use bytes::Bytes;
use model::attempt::{BodyEnd, Failure, FailureKind, HttpResponse, Outcome};
use model::contract::Settlement;
use model::delivery::{CancelCause, DeliveryState};
use model::lease::Lease;
use model::rng::SeededRng;
use model::webhook::Headers;

use crate::postgres::leases::claim;
use crate::postgres::tests::store_database::{
    StoreDatabase, Thread, answered, at, failed, id, settlement, unheard,
};
use crate::postgres::{envelopes, unattempted};

const WEBHOOKS: i64 = 3;
const NOTIFICATIONS: i64 = 4;

/// All that settling writes, without the ids that stand for texts.
const ALL: &str = "
    select 'delivery', webhook_id, notification_id, state, cause, round, attempts, round_start,
      round_began_at, due_at, ended_at, next_due_at, tried_at, d.began_at, duration_ms, e.url,
      e.headers, status, failure, detail, coalesce(d.headers, a.headers), body_end, body
    from delivery d left join envelope e on e.id = envelope_id
    left join envelope a on a.id = answer_id
    order by 2, 3;
    select 'attempt', webhook_id, notification_id, number, t.began_at, duration_ms, e.url,
      e.headers, status, failure, detail, coalesce(t.headers, a.headers), body_end, next_due_at,
      body
    from attempt t join envelope e on e.id = envelope_id
    left join envelope a on a.id = answer_id
    order by 2, 3, 4;
    select 'fresh', webhook_id, notification_id from fresh order by 2, 3;
    select 'standing', standing from standing order by webhook_id;
    select 'tally', tally from tally order by webhook_id, hour;
    select 'webhook', id, disabled_at, disabled_cause, paused_until, version from webhook order by 2;
    select 'audit', webhook_id, action, detail from audit order by id";

fn claimed(node: &Thread) -> Lease {
    node.lease(|conn| unheard(claim(conn, at(0)))).unwrap()
}

fn story(database: &StoreDatabase) -> String {
    database.ask(ALL)
}

/// Deliveries of every kind: unattempted, waiting for a first attempt or another, ended, gone.
fn filled() -> StoreDatabase {
    let database = StoreDatabase::new();
    fill(&database);
    database
}

fn fill(database: &StoreDatabase) {
    database.webhooks(WEBHOOKS);
    database.notify(NOTIFICATIONS, WEBHOOKS);
    database.ask(
        "insert into clock values (1, 500, 1500, 1500, 1500, 1500);
         with taken as (
           delete from fresh where webhook_id = 2 or notification_id = 2
           returning tenant_id, webhook_id, notification_id)
         insert into delivery
           (tenant_id, webhook_id, notification_id, state, round, attempts, round_start, due_at)
         select tenant_id, webhook_id, notification_id, 4, 1, 0, 0, 700 from taken;
         update delivery set state = 3, cause = 4, due_at = null, ended_at = 900
         where notification_id = 3;
         update delivery set round = 2 where webhook_id = 2 and notification_id = 4;
         delete from delivery where webhook_id = 2 and notification_id = 1",
    );
}

fn outcome(rng: &mut SeededRng) -> Outcome {
    let answer = |status, body_end, note: Option<&str>| {
        Outcome::Answered(HttpResponse {
            status,
            headers: Headers::from_pairs([("Server", b"s".as_slice())]),
            body: Bytes::from_static(b"\0\xff"),
            body_end,
            note: note.map(Into::into),
        })
    };
    match rng.below(7) {
        0..3 => answered(200),
        3 => answer(204, BodyEnd::Cut, None),
        4 => answer(200, BodyEnd::Whole, Some("a \0 in it")),
        5 => answer(500, BodyEnd::Whole, None),
        _ => failed(),
    }
}

/// A settlement of any delivery and any attempt of it.
fn any_settlement(rng: &mut SeededRng, number: i64) -> Settlement {
    let below =
        |rng: &mut SeededRng, bound: i64| i64::try_from(rng.below(bound.unsigned_abs())).unwrap();
    let webhook = 1 + below(rng, WEBHOOKS);
    let id = id(1 + below(rng, NOTIFICATIONS), webhook);
    let mut one = settlement(id, 2_000 + number, outcome(rng));
    one.round = 1 + u32::from(rng.below(5) == 0);
    one.attempts = u32::try_from(rng.below(3)).unwrap();
    if rng.below(5) == 0 {
        let kind = FailureKind::Stale;
        one.stale = Some(Box::new(model::attempt::Attempt {
            began_at: at(1_990 + number),
            outcome: Outcome::Failed(Failure::new(kind, "")),
            ..one.attempt.clone()
        }));
    }
    if one.next.state == DeliveryState::Pending {
        match rng.below(6) {
            0 => {
                one.next.state = DeliveryState::Cancelled(CancelCause::ReceiverGone);
                one.next.due_at = None;
                one.next.disables_webhook = rng.below(2) == 0;
            }
            1 => one.next.pauses_until = Some(at(70_000 + number * 7 % 5)),
            2 => one.next.early = true,
            3 => one.next.due_at = None,
            _ => {}
        }
    }
    one
}

#[test]
fn a_batch_is_written_as_one_settlement_after_the_other() {
    let (together, apart) = (StoreDatabase::new(), StoreDatabase::new());
    let (mut one, mut other) = (together.thread(), apart.thread());
    let mut stories = String::new();
    for seed in 0..30 {
        for database in [&together, &apart] {
            database.empty();
            fill(database);
        }
        let (lease, other_lease) = (claimed(&one), claimed(&other));
        let mut rng = SeededRng::from_seed([seed; 32]);
        for batch in 0..3 {
            let count = i64::try_from(rng.below(16)).unwrap();
            let numbers = 0..count;
            let mut batch: Vec<Settlement> = numbers
                .map(|number| any_settlement(&mut rng, batch * 100 + number))
                .collect();
            // What was asked for before, once more.
            if rng.below(3) == 0 {
                batch.extend(batch.first().cloned());
            }
            one.write(lease, &batch).unwrap();
            for settlement in &batch {
                let alone = std::slice::from_ref(settlement);
                other.write(other_lease, alone).unwrap();
            }
            let found = story(&together);
            assert_eq!(found, story(&apart), "seed {seed}: {batch:#?}");
            stories.push_str(&found);
        }
    }
    for part in ["attempt|", "webhook.disabled", "|10|", "a \u{1}\u{1} in it"] {
        assert!(stories.contains(part), "nothing has {part:?}");
    }
}

#[test]
fn two_nodes_that_settle_the_same_at_once_write_it_once() {
    let database = filled();
    let (mut one, mut other) = (database.thread(), database.thread());
    let lease = claimed(&one);
    let batch: Vec<Settlement> = [(1, 1), (4, 1), (2, 3)]
        .into_iter()
        .map(|(notification, webhook)| settlement(id(notification, webhook), 2_000, failed()))
        .collect();
    one.settle(lease, &batch).unwrap();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| other.write(lease, &batch));
        database.until_waiting();
        one.commit();
        waiting.join().unwrap().unwrap();
    });
    let attempts =
        "select string_agg(attempts::text, ' ') from delivery where began_at is not null";
    assert_eq!(database.ask(attempts), "1 1 1");
    assert_eq!(database.ask("select count(*) from attempt"), "0");
}

#[test]
fn what_is_cancelled_while_it_is_settled_is_either() {
    let database = filled();
    let (mut one, other) = (database.thread(), database.thread());
    let lease = claimed(&one);
    other.begin();
    let cancelled = unattempted::cancel(&other.conn, id(1, 1), CancelCause::Requested, at(2_000));
    assert!(cancelled.unwrap());
    thread::scope(|scope| {
        let batch = [settlement(id(1, 1), 2_100, failed())];
        let waiting = scope.spawn(move || one.write(lease, &batch));
        database.until_waiting();
        other.commit();
        waiting.join().unwrap().unwrap();
    });
    let found = "select state, cause, attempts, ended_at, status is null from delivery
        where webhook_id = 1 and notification_id = 1";
    assert_eq!(database.ask(found), "3|4|1|2000|t");
}

#[test]
fn envelopes_that_were_removed_are_never_referred_to() {
    let database = StoreDatabase::new();
    database.webhooks(1);
    database.notify(2, 1);
    let (mut settling, pruning) = (database.thread(), database.thread());
    let lease = claimed(&settling);
    let mut settle = |notification| {
        let batch = [settlement(id(notification, 1), 2_000, answered(200))];
        settling.write(lease, &batch).unwrap();
    };
    settle(1);
    settle(2);
    let drop_old = || {
        pruning
            .lease(|conn| envelopes::drop_old(conn, 100))
            .unwrap()
    };
    let missing = "select count(*) from delivery
        where envelope_id not in (select id from envelope) or answer_id is not null
          and answer_id not in (select id from envelope)";
    // Something of that time is left.
    database.ask(
        "delete from delivery where notification_id = 1; delete from notification where id = 1",
    );
    assert_eq!(drop_old(), 0);
    assert_eq!(database.ask("select count(*) from envelope"), "2");
    database.ask("delete from delivery; delete from notification");
    // A notification that was accepted before, and is seen only now.
    database.ask(
        "insert into notification
           (tenant_id, id, key, action_type, body, accepted_at, delivery_count)
         values (1, 1, '1', 'paid', '', 1000, 1);
         delete from notification",
    );
    assert_eq!(drop_old(), 2);
    assert_eq!(database.ask("select count(*) from envelope_day"), "0");
    database.ask(
        "insert into notification
           (tenant_id, id, key, action_type, body, accepted_at, delivery_count)
         select 1, n, n::text, 'paid', '', 1000, 1 from generate_series(1, 3) n;
         insert into fresh select 1, 1, n from generate_series(1, 3) n",
    );
    settle(1);
    assert_eq!(database.ask(missing), "0");
    assert_eq!(drop_old(), 0);
    settle(2);
    settle(3);
    assert_eq!(database.ask(missing), "0");
    assert_eq!(database.ask("select count(*) from envelope_day"), "1");
}

#[test]
fn envelopes_that_a_transaction_refers_to_are_not_removed_meanwhile() {
    let database = StoreDatabase::new();
    database.webhooks(1);
    database.notify(2, 1);
    let (mut settling, pruning) = (database.thread(), database.thread());
    let lease = claimed(&settling);
    settling
        .write(lease, &[settlement(id(1, 1), 2_000, answered(200))])
        .unwrap();
    // All is gone for whoever prunes but what it cannot see yet.
    database.ask("delete from delivery; delete from notification where id = 1");
    database.ask("delete from notification");
    settling
        .settle(lease, &[settlement(id(2, 1), 2_000, answered(200))])
        .unwrap();
    let dropped = pruning.lease(|conn| envelopes::drop_old(conn, 100));
    assert_eq!(dropped.unwrap(), 0);
    settling.commit();
    let dropped = pruning.lease(|conn| envelopes::drop_old(conn, 100));
    assert!(dropped.unwrap() > 0);
}

#[test]
fn nodes_that_write_the_same_for_the_first_time_do_not_wait_for_each_other() {
    let database = StoreDatabase::new();
    database.webhooks(1);
    database.notify(2, 1);
    let (mut one, mut other) = (database.thread(), database.thread());
    let lease = claimed(&one);
    one.settle(lease, &[settlement(id(1, 1), 2_000, failed())])
        .unwrap();
    other.begin();
    // Their texts are the same; the webhook's health is written by one after the other.
    let calls = [settlement(id(2, 1), 2_000, failed()).attempt];
    let cache = &mut other.cache.settle.envelopes;
    let calls: Vec<_> = calls.iter().collect();
    let latest = model::id::NotificationId(2);
    envelopes::intern(&other.conn, cache, &calls, latest, at(2_000)).unwrap();
    other.commit();
    one.commit();
    assert_eq!(database.ask("select count(*) from envelope"), "2");
}
