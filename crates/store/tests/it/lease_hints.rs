//! What nodes on one PostgreSQL tell each other of their leases.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use model::contract::{CommitSubscriber, PendingWebhook, Store};
use model::delivery::DueDelivery;
use model::id::WebhookId;
use model::lease::{Lease, Slots};
use model::time::{Heartbeat, Moment};

use crate::databases::TestDatabase;
use crate::postgres::harness::{at, wait};

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
