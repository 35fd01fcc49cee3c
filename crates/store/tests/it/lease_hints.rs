//! What nodes on one PostgreSQL tell each other of their leases.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use model::contract::{CommitSubscriber, PendingWebhook, Store};
use model::dashboard::{BulkJobKind, NewBulkJob};
use model::delivery::{DeliveryState, DueDelivery};
use model::delivery_filter::DeliveryFilter;
use model::id::WebhookId;
use model::lease::{Lease, Slots};
use model::time::{Heartbeat, Moment};

use crate::databases::TestDatabase;
use crate::postgres::harness::{Given, Told, answered, at, delivery_id, ended, settlement, wait};

const PATIENCE: Duration = Duration::from_secs(60);

/// Hears of leases, and of nothing else.
struct Ear(Sender<()>);

impl CommitSubscriber for Ear {
    fn on_accepted(&self, _: Vec<DueDelivery>) {}

    fn on_requested(&self, _: Vec<DueDelivery>) {}

    fn on_skipped(&self, _: Vec<PendingWebhook>) {}

    fn on_changed(&self, _: &[WebhookId]) {}

    fn on_external_change(&self) {}

    fn on_bulk_job_started(&self) {}

    fn on_leases_changed(&self) {
        self.0.send(()).unwrap();
    }
}

fn node(database: &TestDatabase) -> (Arc<dyn Store>, Receiver<()>) {
    let store = database.open();
    let (tell, told) = channel();
    store.subscribe(Arc::new(Ear(tell)));
    (store, told)
}

fn beat(ms: i64) -> Heartbeat {
    let (wall, schedule) = (at(ms), at(ms));
    Heartbeat::certain(Moment { schedule, wall })
}

/// Claims until the other one hears of it: it may not listen yet.
fn claim_aloud(node: &dyn Store, other: &Receiver<()>) {
    wait(node.claim(at(0))).unwrap();
    while other.recv_timeout(Duration::from_millis(500)).is_err() {
        wait(node.claim(at(0))).unwrap();
    }
}

#[test]
fn a_node_hears_at_once_of_slots_that_others_want_give_up_or_leave() {
    let database = TestDatabase::new();
    let (one, heard_by_one) = node(&database);
    let (two, heard_by_two) = node(&database);
    claim_aloud(&*two, &heard_by_one);
    claim_aloud(&*one, &heard_by_two);
    database.ask("delete from lease");
    let lease = wait(one.claim(at(0))).unwrap();
    heard_by_two.recv_timeout(PATIENCE).unwrap();
    wait(two.claim(at(0))).unwrap();
    heard_by_one.recv_timeout(PATIENCE).unwrap();

    let half = Lease {
        slots: Slots::ALL.scattered(128),
        ..lease
    };
    wait(one.renew(half, beat(2))).unwrap();
    heard_by_two.recv_timeout(PATIENCE).unwrap();
    wait(one.leave(half, beat(3))).unwrap();
    heard_by_two.recv_timeout(PATIENCE).unwrap();
    // It ends right behind, and is heard all the same.
    wait(one.release(half, beat(4))).unwrap();
    wait(one.close()).unwrap();
    heard_by_two.recv_timeout(PATIENCE).unwrap();
}

#[test]
fn a_replay_of_all_webhooks_is_handed_to_whoever_owns_the_next_one() {
    let given = Given::kept();
    let webhooks: Vec<WebhookId> = (0..6).map(|_| given.paid_webhook()).collect();
    let id = given.notified("k", 10);
    for webhook in &webhooks {
        let end = ended(DeliveryState::Failed);
        given.settle(settlement(
            delivery_id(id, *webhook),
            20,
            answered(500),
            end,
        ));
    }
    let beside = given.beside();
    let second = wait(beside.store.claim(at(30))).unwrap();
    let half = wait(given.store.renew(given.lease, beat(30))).unwrap();
    let first = wait(given.store.renew(half, beat(31))).unwrap();
    let second = wait(beside.store.renew(second, beat(32))).unwrap();
    let of_first = webhooks.iter().filter(|id| first.slots.has(**id)).count();
    let of_second = webhooks.iter().filter(|id| second.slots.has(**id)).count();
    assert!(of_first > 0 && of_second > 0 && of_first + of_second == 6);
    let new = NewBulkJob {
        tenant: given.tenant,
        webhook: None,
        what: BulkJobKind::ReplayMatching,
        filter: Some(DeliveryFilter {
            statuses: DeliveryFilter::REPLAYED.to_vec(),
            ..DeliveryFilter::default()
        }),
        expected: 2,
        actor: "anna".to_owned(),
    };
    let begun = wait(given.store.start_bulk_job(new, at(50))).unwrap();
    let step =
        |given: &Given, lease: Lease| wait(given.store.step_bulk_job(lease.epoch, at(60))).unwrap();
    let done = || {
        let found = wait(given.store.bulk_job(given.tenant, begun.id)).unwrap();
        let found = found.unwrap();
        (found.done, found.ended_at.is_some())
    };
    given.heard.take();
    let mut handed_over = 0;
    while !done().1 {
        let before = done().0;
        while step(&given, first) {}
        assert!(!step(&given, first), "the rest is another's");
        handed_over += u32::from(given.heard.take().contains(&Told::BulkJobStarted));
        while step(&beside, second) {}
        assert!(done().0 > before);
    }
    assert_eq!(done(), (6, true));
    assert!(handed_over > 0);
}
