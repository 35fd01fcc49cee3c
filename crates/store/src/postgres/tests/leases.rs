//! Leases on a real server: who is fenced, who waits for whom, and who keeps the time.

use std::thread;

use model::contract::StoreError;
use model::lease::{Epoch, Lease, Slots};
use model::limits::LEASE_MS;
use model::time::{Heartbeat, Moment, TimeBounds, Timestamp};

use crate::postgres::connection::PostgresConnection;
use crate::postgres::leases::{self, last_heartbeat, owned};
use crate::postgres::tests::store_database::{
    StoreDatabase, Thread, answered, at, beat, id, settlement, unheard,
};
use crate::sql::job_error::JobError;
use crate::sql::post_commit::PostCommit;

fn is_fenced<T>(answer: &Result<T, JobError>) -> bool {
    matches!(answer, Err(JobError::Store(StoreError::Fenced)))
}

fn claim(conn: &PostgresConnection, now: Timestamp) -> Result<Lease, JobError> {
    unheard(leases::claim(conn, now))
}

fn renew(conn: &PostgresConnection, lease: Lease, beat: Heartbeat) -> Result<Lease, JobError> {
    unheard(leases::renew(conn, lease, beat))
}

fn release(conn: &PostgresConnection, lease: Lease, beat: Heartbeat) -> Result<(), JobError> {
    unheard(leases::release(conn, lease, beat))
}

fn claimed(node: &Thread) -> Lease {
    node.lease(|conn| claim(conn, at(0))).unwrap()
}

/// Every lease there is becomes overdue.
fn overdue(database: &StoreDatabase) {
    database.ask("update lease set until = 0");
}

fn unattempted(database: &StoreDatabase) -> String {
    database.ask("select count(*) from fresh")
}

#[test]
fn nodes_share_the_slots_and_what_is_overdue_goes_to_who_asks_next() {
    let database = StoreDatabase::new();
    let (one, other) = (database.thread(), database.thread());
    let first = claimed(&one);
    assert_eq!((first.epoch, first.slots), (Epoch(1), Slots::ALL));
    assert_eq!(first.until, Some(at(LEASE_MS)));
    let second = claimed(&other);
    assert_eq!((second.epoch, second.slots), (Epoch(2), Slots::NONE));
    let told = one.lease(|conn| renew(conn, first, beat(3_000))).unwrap();
    assert_eq!(
        (told.slots.len(), told.until),
        (128, Some(at(3_000 + LEASE_MS)))
    );
    // What is no longer named goes to the other.
    one.lease(|conn| renew(conn, told, beat(6_000))).unwrap();
    let second = other
        .lease(|conn| renew(conn, second, beat(6_000)))
        .unwrap();
    assert_eq!(second.slots, Slots::ALL.without(told.slots));
    overdue(&database);
    let second = other
        .lease(|conn| renew(conn, second, beat(9_000)))
        .unwrap();
    assert_eq!(second.slots, Slots::ALL);
    assert!(is_fenced(&one.lease(|conn| renew(conn, told, beat(9_000)))));
    assert!(is_fenced(&leases::begin(&one.conn, told.epoch)));
    one.undo();
    assert!(is_fenced(&one.lease(|conn| owned(conn, told.epoch))));
    let again = claimed(&one);
    assert_eq!((again.epoch, again.slots), (Epoch(3), Slots::NONE));
}

#[test]
fn a_settling_that_waits_for_a_takeover_is_refused_and_leaves_nothing() {
    let database = StoreDatabase::new();
    database.webhooks(1);
    database.notify(1, 1);
    let (mut old, new) = (database.thread(), database.thread());
    let lease = claimed(&old);
    overdue(&database);
    new.begin();
    let taken = claim(&new.conn, at(20_000)).unwrap();
    assert_eq!(taken.slots, Slots::ALL);
    thread::scope(|scope| {
        let batch = [settlement(id(1, 1), 1_100, answered(200))];
        let late = scope.spawn(move || old.write(lease, &batch));
        database.until_waiting();
        new.commit();
        assert!(is_fenced(&late.join().unwrap()));
    });
    assert_eq!(unattempted(&database), "1");
    assert_eq!(database.ask("select count(*) from delivery"), "0");
}

#[test]
fn a_takeover_waits_for_what_its_owner_has_under_way() {
    let database = StoreDatabase::new();
    database.webhooks(1);
    database.notify(2, 1);
    let (mut old, new) = (database.thread(), database.thread());
    let lease = claimed(&old);
    old.settle(lease, &[settlement(id(1, 1), 1_100, answered(200))])
        .unwrap();
    overdue(&database);
    let (taken, mut new) = thread::scope(|scope| {
        let taking = scope.spawn(move || (claimed(&new), new));
        database.until_waiting();
        // It has not been taken yet.
        assert_eq!(owned(&old.conn, lease.epoch).unwrap(), Slots::ALL);
        old.commit();
        taking.join().unwrap()
    });
    assert_eq!((taken.epoch, taken.slots), (Epoch(2), Slots::ALL));
    assert_eq!(unattempted(&database), "1");
    let next = [settlement(id(2, 1), 1_200, answered(200))];
    assert!(is_fenced(&old.write(lease, &next)));
    assert_eq!(unattempted(&database), "1");
    new.write(taken, &next).unwrap();
    assert_eq!(unattempted(&database), "0");
}

#[test]
fn an_owner_that_is_frozen_within_a_transaction_is_not_waited_for() {
    let database = StoreDatabase::new();
    database.webhooks(1);
    database.notify(1, 1);
    let (mut frozen, mut new) = (database.thread(), database.thread());
    let lease = claimed(&frozen);
    let batch = [settlement(id(1, 1), 1_100, answered(200))];
    frozen.settle(lease, &batch).unwrap();
    overdue(&database);
    let taken = claimed(&new);
    assert_eq!(taken.slots, Slots::ALL);
    assert!(frozen.conn.session().commit().is_err());
    assert_eq!(unattempted(&database), "1");
    new.write(taken, &batch).unwrap();
    assert_eq!(unattempted(&database), "0");
    let mut again = database.thread();
    assert!(is_fenced(&again.write(lease, &batch)));
}

#[test]
fn slots_are_given_up_only_when_nothing_of_their_owner_is_under_way() {
    let database = StoreDatabase::new();
    database.webhooks(1);
    database.notify(1, 1);
    let (mut settling, node) = (database.thread(), database.thread());
    let lease = claimed(&node);
    let fewer = Lease {
        slots: Slots::ALL.scattered(200),
        ..lease
    };
    settling
        .settle(lease, &[settlement(id(1, 1), 1_100, answered(200))])
        .unwrap();
    // One that does not end is waited for in vain, and nothing is given up.
    let kept = node.lease(|conn| renew(conn, fewer, beat(1_000))).unwrap();
    assert_eq!(kept.slots, Slots::ALL);
    let stored = || {
        let slots = owned(&node.conn, lease.epoch).unwrap();
        slots.len()
    };
    assert_eq!(stored(), 256);
    let (told, node) = thread::scope(|scope| {
        let renewing = scope.spawn(move || {
            let told = node.lease(|conn| renew(conn, fewer, beat(2_000)));
            (told.unwrap(), node)
        });
        database.until_waiting();
        settling.commit();
        renewing.join().unwrap()
    });
    // Nobody else is there: it gets them again.
    assert_eq!(told.slots, Slots::ALL);
    let other = database.thread();
    let second = claimed(&other);
    node.lease(|conn| renew(conn, fewer, beat(3_000))).unwrap();
    let second = other
        .lease(|conn| renew(conn, second, beat(3_000)))
        .unwrap();
    assert_eq!(second.slots, Slots::ALL.without(fewer.slots));
}

#[test]
fn what_is_asked_of_a_webhook_of_others_is_fenced() {
    let database = StoreDatabase::new();
    database.webhooks(2);
    database.notify(1, 2);
    let mut node = database.thread();
    let lease = claimed(&node);
    let own = Slots::of(model::id::WebhookId(1));
    let other = database.thread();
    claimed(&other);
    let fewer = Lease {
        slots: own,
        ..lease
    };
    node.lease(|conn| renew(conn, fewer, beat(1_000))).unwrap();
    database.ask(&format!(
        "update lease set slots = '\\x{}' where epoch = 1",
        own.to_bytes().map(|byte| format!("{byte:02x}")).join("")
    ));
    let mixed = [1, 2].map(|webhook| settlement(id(1, webhook), 1_100, answered(200)));
    assert!(is_fenced(&node.write(lease, &mixed)));
    assert_eq!(unattempted(&database), "2");
    let [own, _] = mixed;
    node.write(lease, &[own]).unwrap();
    assert_eq!(unattempted(&database), "1");
}

#[test]
fn a_lease_that_is_lost_cannot_be_given_up_and_leaves_no_heartbeat() {
    let database = StoreDatabase::new();
    let (old, new) = (database.thread(), database.thread());
    let lost = claimed(&old);
    old.lease(|conn| renew(conn, lost, beat(1_000))).unwrap();
    overdue(&database);
    let taken = claimed(&new);
    assert!(is_fenced(&old.lease(|conn| release(
        conn,
        lost,
        beat(90_000)
    ))));
    assert_eq!(last_heartbeat(&new.conn).unwrap(), Some(beat(1_000)));
    assert_eq!(owned(&new.conn, taken.epoch).unwrap(), Slots::ALL);
    new.lease(|conn| release(conn, taken, beat(2_000))).unwrap();
    assert_eq!(last_heartbeat(&new.conn).unwrap(), Some(beat(2_000)));
    assert!(is_fenced(&new.lease(|conn| release(
        conn,
        taken,
        beat(3_000)
    ))));
    assert_eq!(claimed(&old).slots, Slots::ALL);
}

#[test]
fn a_release_waits_for_what_is_under_way() {
    let database = StoreDatabase::new();
    database.webhooks(1);
    database.notify(1, 1);
    let (mut settling, node) = (database.thread(), database.thread());
    let lease = claimed(&node);
    settling
        .settle(lease, &[settlement(id(1, 1), 1_100, answered(200))])
        .unwrap();
    thread::scope(|scope| {
        let releasing = scope.spawn(move || node.lease(|conn| release(conn, lease, beat(2_000))));
        database.until_waiting();
        settling.commit();
        releasing.join().unwrap().unwrap();
    });
    assert_eq!(database.ask("select count(*) from lease"), "0");
    assert_eq!(unattempted(&database), "0");
}

#[test]
fn the_eldest_keeps_the_time_and_small_differences_are_not_shown() {
    let database = StoreDatabase::new();
    let (one, other) = (database.thread(), database.thread());
    assert_eq!(last_heartbeat(&one.conn).unwrap(), None);
    database.webhooks(1);
    database.notify(1, 1);
    // Without a heartbeat the newest time.
    assert_eq!(last_heartbeat(&one.conn).unwrap(), Some(beat(1_000)));
    let (first, second) = (claimed(&one), claimed(&other));
    let seen = |schedule, wall, earliest| Heartbeat {
        at: Moment {
            schedule: at(schedule),
            wall: at(wall),
        },
        bounds: TimeBounds {
            earliest: at(earliest),
            latest: at(wall),
        },
    };
    one.lease(|conn| renew(conn, first, seen(5_000, 7_000, 7_000)))
        .unwrap();
    other
        .lease(|conn| renew(conn, second, beat(99_000)))
        .unwrap();
    assert_eq!(
        last_heartbeat(&one.conn).unwrap(),
        Some(seen(5_000, 7_000, 7_000))
    );
    one.lease(|conn| renew(conn, first, seen(6_000, 8_300, 6_500)))
        .unwrap();
    let steady = Heartbeat {
        at: seen(6_000, 8_000, 0).at,
        ..seen(6_000, 8_300, 6_500)
    };
    assert_eq!(last_heartbeat(&one.conn).unwrap(), Some(steady));
    assert_eq!(database.ask("select reached_at from clock"), "7000");
    one.lease(|conn| release(conn, first, seen(7_000, 19_000, 19_000)))
        .unwrap();
    other
        .lease(|conn| renew(conn, second, beat(99_000)))
        .unwrap();
    assert_eq!(last_heartbeat(&one.conn).unwrap(), Some(beat(99_000)));
}

#[test]
fn a_node_that_stops_keeps_what_it_names_and_others_have_the_rest_at_once() {
    let database = StoreDatabase::new();
    let (one, two, three) = (database.thread(), database.thread(), database.thread());
    let (first, second) = (claimed(&one), claimed(&two));
    let named = |count| Lease {
        slots: Slots::ALL.scattered(count),
        ..first
    };
    let leave = |count, ms| {
        let mut post_commit = PostCommit::default();
        let left = one.lease(|conn| leases::leave(conn, named(count), beat(ms)));
        let left = left.map(|change| change.tell(&mut post_commit));
        (
            left.map(|lease| lease.slots),
            post_commit.has_news_of_leases(),
        )
    };
    let (left, is_news) = leave(3, 1_000);
    assert_eq!((left.unwrap(), is_news), (named(3).slots, true));
    let rest = two.lease(|conn| renew(conn, second, beat(1_000))).unwrap();
    assert_eq!(rest.slots, Slots::ALL.without(named(3).slots));
    // Who comes now shares with one.
    let third = claimed(&three);
    let told = two.lease(|conn| renew(conn, rest, beat(2_000))).unwrap();
    assert_eq!(told.slots.len(), 128);
    assert!(third.slots.is_empty());
    let (left, is_news) = leave(3, 2_000);
    assert_eq!((left.unwrap(), is_news), (named(3).slots, false));
    let (left, is_news) = leave(1, 3_000);
    assert_eq!((left.unwrap(), is_news), (named(1).slots, true));
    one.lease(|conn| release(conn, first, beat(4_000))).unwrap();
    assert!(is_fenced(&leave(1, 5_000).0));
}
