//! What was committed, and not told yet, on PostgreSQL: others may read it already.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use model::contract::{CommitSubscriber, DueQuery, PendingWebhook, ReplayScope};
use model::delivery::DueDelivery;
use model::id::{DeliveryId, WebhookId};
use prometheus_client::registry::Registry;

use crate::databases::TestDatabase;
use crate::postgres::harness::{Given, answered, at, delivered, delivery_id, settlement, wait};

const PATIENCE: Duration = Duration::from_secs(60);

/// Takes its time to hear of a delivery: until it may.
struct SlowEar {
    begins: Sender<Vec<DeliveryId>>,
    may: Mutex<Receiver<()>>,
}

impl SlowEar {
    fn hear(&self, deliveries: &[DueDelivery]) {
        let ids = deliveries.iter().map(|due| due.delivery.id);
        self.begins.send(ids.collect()).unwrap();
        self.may.lock().unwrap().recv_timeout(PATIENCE).unwrap();
    }
}

impl CommitSubscriber for SlowEar {
    fn on_accepted(&self, deliveries: Vec<DueDelivery>) {
        self.hear(&deliveries);
    }

    fn on_requested(&self, deliveries: Vec<DueDelivery>) {
        self.hear(&deliveries);
    }

    fn on_skipped(&self, _: Vec<PendingWebhook>) {}

    fn on_changed(&self, _: &[WebhookId]) {}

    fn on_external_change(&self) {}

    fn on_bulk_job_started(&self) {}

    fn on_leases_changed(&self) {}
}

/// Which deliveries an owner would be given now.
fn due(given: &Given, webhook: WebhookId) -> Vec<DeliveryId> {
    let query = vec![DueQuery::new(webhook, 10)];
    let mut pages = wait(given.store.due(given.epoch(), query, at(9_000_000))).unwrap();
    let page = pages.remove(0).deliveries.into_iter();
    page.map(|due| due.delivery.id).collect()
}

#[test]
fn no_answer_of_what_is_due_has_a_delivery_that_the_owner_was_not_told_of() {
    let database = TestDatabase::new();
    let store = store::open_postgres(&database.settings(), &mut Registry::default()).unwrap();
    let ((begins, begun), (allow, may)) = (channel(), channel());
    let may = Mutex::new(may);
    store.subscribe(Arc::new(SlowEar { begins, may }));
    let mut given = Given::unheard(Arc::clone(&store));
    given.lease = wait(store.claim(at(0))).unwrap();
    let webhook = given.paid_webhook();
    let id = delivery_id(1, webhook);
    let while_told = |change: &mut (dyn FnMut() + Send)| {
        thread::scope(|scope| {
            let changing = scope.spawn(change);
            assert_eq!(begun.recv_timeout(PATIENCE).unwrap(), [id]);
            assert_eq!(due(&given, webhook), []);
            allow.send(()).unwrap();
            changing.join().unwrap();
        });
        assert_eq!(due(&given, webhook), [id]);
    };

    while_told(&mut || {
        wait(store.accept(vec![given.new_notification("1", 1_000)])).unwrap();
    });
    let done = settlement(id, 1_100, answered(200), delivered());
    let settled = store.settle(given.epoch(), [done].into());
    store.flush();
    wait(settled).unwrap();
    while_told(&mut || {
        given.replay(webhook, ReplayScope::One(id), 2_000);
    });
    wait(store.close()).unwrap();
}
