//! Leases: one process has all slots for ever, and no other epoch may ask or change anything.

use std::collections::BTreeMap;

use model::contract::{DueQuery, StoreError, StoreFuture};
use model::id::WebhookId;
use model::lease::{Epoch, Lease, Slots};
use model::time::{Heartbeat, Moment, TimeBounds};

use crate::harness::{Given, answered, at, delivered, delivery_id, settlement, wait};

fn fenced<T>(reply: StoreFuture<T>) {
    assert!(matches!(wait(reply), Err(StoreError::Fenced)));
}

#[test]
fn all_slots_are_owned_for_ever_by_whoever_opened_the_store() {
    let given = Given::new();
    let lease = wait(given.store.claim(at(1_000))).unwrap();
    assert_eq!(lease, Lease::SOLE);
    assert_eq!((lease.slots, lease.until), (Slots::ALL, None));
    let beat = Heartbeat::certain(Moment::same(at(2_000)));
    assert_eq!(wait(given.store.renew(lease, beat)).unwrap(), lease);
    assert_eq!(given.store.last_heartbeat(), Some(beat));
    let last = Heartbeat::certain(Moment::same(at(3_000)));
    wait(given.store.release(lease, last)).unwrap();
    assert_eq!(given.store.last_heartbeat(), Some(last));
}

#[test]
fn an_epoch_that_is_not_the_owners_is_told_nothing_and_changes_nothing() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let id = delivery_id(given.notified("1", 1_000), webhook);
    let epoch = Epoch(2);
    let lease = Lease {
        epoch,
        ..Lease::SOLE
    };
    let store = &given.store;
    let before = store.last_heartbeat();
    let beat = Heartbeat::certain(Moment::same(at(90_000)));
    fenced(store.renew(lease, beat));
    fenced(store.release(lease, beat));
    assert_eq!(store.last_heartbeat(), before);

    let ask = DueQuery::new(webhook, 10);
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
