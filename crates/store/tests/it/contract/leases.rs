//! Leases: no other epoch than the owner's may ask or change anything.

use std::collections::BTreeMap;

use model::contract::{DueQuery, StoreError, StoreFuture};
use model::id::WebhookId;
use model::lease::{Epoch, Lease};
use model::time::{Heartbeat, Moment, TimeBounds};

use super::harness::{Given, answered, at, delivered, delivery_id, is_postgres, settlement, wait};

fn fenced<T>(reply: StoreFuture<T>) {
    assert!(matches!(wait(reply), Err(StoreError::Fenced)));
}

#[test]
fn an_epoch_that_is_not_the_owners_is_told_nothing_and_changes_nothing() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let id = delivery_id(given.notified("1", 1_000), webhook);
    let epoch = Epoch(given.epoch().0 + 1);
    let lease = Lease {
        epoch,
        ..given.lease
    };
    let store = &given.store;
    let before = store.last_heartbeat();
    let beat = Heartbeat::certain(Moment::same(at(90_000)));
    fenced(store.renew(lease, beat));
    fenced(store.release(lease, beat));
    assert_eq!(store.last_heartbeat(), before);

    let ask = DueQuery {
        webhook,
        limit: 10,
        held: [].into(),
        recovery: None,
    };
    let done = settlement(id, 1_100, answered(200), delivered());
    fenced(store.pending_webhooks(epoch, None, 10));
    fenced(store.webhook_targets(epoch, vec![webhook]));
    fenced(store.due(epoch, vec![ask], at(1_000)));
    fenced(store.settle(epoch, [done].into()));
    fenced(store.cancel_pending(epoch, WebhookId(1), at(1_000)));
    fenced(store.step_bulk_job(epoch, at(1_000)));
    fenced(store.backlog(epoch, None));
    fenced(store.prune(epoch, BTreeMap::new(), TimeBounds::exactly(at(9_000))));
    assert_eq!(given.due(webhook, 10, 1_000).0.len(), 1);
}

#[test]
fn who_claims_anew_goes_on_where_the_schedule_has_come_through_others() {
    let given = Given::kept();
    let beats = |ms: i64| Heartbeat::certain(Moment::same(at(ms)));
    wait(given.store.renew(given.lease, beats(5_000))).unwrap();
    let other = given.beside();
    wait(other.store.claim(at(5_000))).unwrap();
    wait(given.store.renew(given.lease, beats(9_000))).unwrap();
    wait(other.store.claim(at(9_000))).unwrap();
    let expected = match is_postgres() {
        true => beats(9_000),
        // A file has one owner, who knows.
        false => beats(5_000),
    };
    assert_eq!(other.store.last_heartbeat(), Some(expected));
}
