//! A store that runs each operation on the calling thread, and whose only owner is for ever.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use model::contract::{StoreError, StoreFuture};
use model::id::NotificationId;
use model::lease::{Epoch, Lease, Slots};
use model::notification::AcceptResult;
use model::time::{Heartbeat, Moment};

use crate::sqlite::harness::{Given, at, wait};

#[test]
fn inline_replies_are_ready_at_once() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let accepted = now(given.store.accept(vec![given.new_notification("1", 5)])).unwrap();
    let id = NotificationId(1);
    assert_eq!(accepted, [AcceptResult::Accepted { id, deliveries: 1 }]);
    assert_eq!(
        now(given.store.pending_webhooks(Epoch::FIRST, None, 10)).unwrap()[0].webhook,
        webhook
    );
    now(given.store.ping()).unwrap();
    now(given.store.close()).unwrap();
    let closed = now(given.store.ping());
    assert!(matches!(closed, Err(StoreError::Broken(_))), "{closed:?}");
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
fn what_was_handed_in_before_takes_no_id() {
    let given = Given::new();
    let first = given.notified("1", 1_000);
    for _ in 0..5 {
        let again = given.accept(given.new_notification("1", 90_000));
        assert!(matches!(again, AcceptResult::Duplicate { .. }), "{again:?}");
    }
    assert_eq!(given.notified("2", 1_000), first + 1);
}

/// The answer of a store whose replies are ready at once.
pub(crate) fn now<T>(reply: StoreFuture<T>) -> Result<T, StoreError> {
    match pin!(reply).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer,
        Poll::Pending => panic!("an inline reply is ready at once"),
    }
}
