//! Several nodes on one store: each sends what lies in its slots, and slots change hands.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use model::contract::{
    Backend, Backlog, BacklogCursor, CommitSubscriber, DuePage, DueQuery, Leases, Outbox,
    PendingWebhook, Settlement, StoreError, StoreFuture, WebhookTarget,
};
use model::delivery::{DeliveryState, DueDelivery};
use model::id::WebhookId;
use model::lease::{Epoch, Lease, Slots};
use model::lease_table::LeaseTable;
use model::limits::LEASE_MS;
use model::rng::SeededRng;
use model::tenant::DialectName;
use model::time::{Clock, Heartbeat, TimeBounds, Timestamp};
use prometheus_client::registry::Registry;

use super::faults::Faults;
use super::world::{Does, World, seconds};
use crate::{Engine, Parts};

/// The store that all nodes share, and who owns what.
struct SharedStore {
    store: Arc<Faults>,
    clock: Clock,
    table: Mutex<LeaseTable>,
    latest: Mutex<u64>,
    /// Those who are told of what was committed.
    told: Mutex<Vec<Arc<dyn CommitSubscriber>>>,
}

/// The store as one node reaches it.
struct NodeStore {
    shared: Arc<SharedStore>,
    /// It is not reached.
    is_cut: AtomicBool,
}

impl SharedStore {
    fn of(world: &World) -> Arc<Self> {
        let shared = Arc::new(Self {
            store: Arc::clone(&world.store),
            clock: world.clock.clone(),
            table: Mutex::default(),
            latest: Mutex::default(),
            told: Mutex::default(),
        });
        world.store.subscribe(Arc::clone(&shared) as _);
        shared
    }

    /// How many slots each lease has, the eldest first.
    fn shares(&self) -> Vec<usize> {
        let table = self.table.lock().unwrap();
        table.rows().iter().map(|row| row.slots.len()).collect()
    }

    fn each(&self, tell: impl Fn(&dyn CommitSubscriber)) {
        let told = self.told.lock().unwrap().clone();
        told.iter().for_each(|one| tell(&**one));
    }
}

impl CommitSubscriber for SharedStore {
    fn on_accepted(&self, deliveries: Vec<DueDelivery>) {
        self.each(|one| one.on_accepted(deliveries.clone()));
    }

    fn on_requested(&self, deliveries: Vec<DueDelivery>) {
        self.each(|one| one.on_requested(deliveries.clone()));
    }

    fn on_skipped(&self, lanes: Vec<PendingWebhook>) {
        self.each(|one| one.on_skipped(lanes.clone()));
    }

    fn on_changed(&self, webhooks: &[WebhookId]) {
        self.each(|one| one.on_changed(webhooks));
    }

    fn on_external_change(&self) {
        self.each(|one| one.on_external_change());
    }

    fn on_bulk_job_started(&self) {
        self.each(|one| one.on_bulk_job_started());
    }
}

impl NodeStore {
    /// What is done under this epoch for these webhooks, if it is not over and they lie in its
    /// slots.
    fn under<T: Send + 'static>(
        &self,
        epoch: Epoch,
        webhooks: impl IntoIterator<Item = WebhookId>,
        work: impl FnOnce(&Faults) -> StoreFuture<T>,
    ) -> StoreFuture<T> {
        if self.is_cut.load(Ordering::Relaxed) {
            return Box::pin(async { Err(StoreError::Busy) });
        }
        let slots = self.shared.table.lock().unwrap().slots(epoch);
        let mut webhooks = webhooks.into_iter();
        if !slots.is_some_and(|slots| webhooks.all(|webhook| slots.has(webhook))) {
            return Box::pin(async { Err(StoreError::Fenced) });
        }
        work(&self.shared.store)
    }

    fn lease(
        &self,
        ask: impl FnOnce(&mut LeaseTable) -> Option<(Epoch, Slots)>,
        now: Timestamp,
    ) -> StoreFuture<Lease> {
        let answer = match self.is_cut.load(Ordering::Relaxed) {
            true => Err(StoreError::Busy),
            false => {
                let lease = ask(&mut self.shared.table.lock().unwrap());
                let lease = lease.map(|(epoch, slots)| Lease {
                    epoch,
                    slots,
                    until: Some(now.plus_ms(LEASE_MS)),
                });
                lease.ok_or(StoreError::Fenced)
            }
        };
        Box::pin(async { answer })
    }
}

impl Leases for NodeStore {
    fn claim(&self, now: Timestamp) -> StoreFuture<Lease> {
        let (at, mut latest) = (self.shared.clock.now(), self.shared.latest.lock().unwrap());
        *latest += 1;
        let epoch = Epoch(*latest);
        drop(latest);
        self.lease(|table| Some((epoch, table.claim(epoch, at))), now)
    }

    fn renew(&self, lease: Lease, beat: Heartbeat) -> StoreFuture<Lease> {
        let (at, epoch) = (self.shared.clock.now(), lease.epoch);
        let renew = |table: &mut LeaseTable| Some((epoch, table.renew(epoch, lease.slots, at)?));
        self.lease(renew, beat.at.wall)
    }

    fn release(&self, lease: Lease, beat: Heartbeat) -> StoreFuture<()> {
        self.shared.table.lock().unwrap().release(lease.epoch);
        self.shared.store.release(Lease::SOLE, beat)
    }

    fn last_heartbeat(&self) -> Option<Heartbeat> {
        self.shared.store.last_heartbeat()
    }
}

impl Outbox for NodeStore {
    fn subscribe(&self, subscriber: Arc<dyn CommitSubscriber>) {
        self.shared.told.lock().unwrap().push(subscriber);
    }

    fn pending_webhooks(
        &self,
        epoch: Epoch,
        after: Option<WebhookId>,
        limit: usize,
    ) -> StoreFuture<Vec<PendingWebhook>> {
        self.under(epoch, [], |store| {
            store.pending_webhooks(Epoch::FIRST, after, limit)
        })
    }

    fn webhook_targets(
        &self,
        epoch: Epoch,
        webhooks: Vec<WebhookId>,
    ) -> StoreFuture<Vec<WebhookTarget>> {
        self.under(epoch, webhooks.clone(), |store| {
            store.webhook_targets(Epoch::FIRST, webhooks)
        })
    }

    fn due(&self, epoch: Epoch, lanes: Vec<DueQuery>, now: Timestamp) -> StoreFuture<Vec<DuePage>> {
        let webhooks: Vec<WebhookId> = lanes.iter().map(|lane| lane.webhook).collect();
        self.under(epoch, webhooks, |store| store.due(Epoch::FIRST, lanes, now))
    }

    fn settle(&self, epoch: Epoch, batch: Arc<[Settlement]>) -> StoreFuture<()> {
        let webhooks: Vec<WebhookId> = batch.iter().map(|one| one.id.webhook).collect();
        self.under(epoch, webhooks, |store| store.settle(Epoch::FIRST, batch))
    }

    fn flush(&self) {
        self.shared.store.flush();
    }

    fn cancel_pending(
        &self,
        epoch: Epoch,
        webhook: WebhookId,
        at: Timestamp,
    ) -> StoreFuture<usize> {
        self.under(epoch, [webhook], |store| {
            store.cancel_pending(Epoch::FIRST, webhook, at)
        })
    }

    fn step_bulk_job(&self, epoch: Epoch, at: Timestamp) -> StoreFuture<bool> {
        self.under(epoch, [], |store| store.step_bulk_job(Epoch::FIRST, at))
    }

    fn backlog(&self, epoch: Epoch, after: Option<BacklogCursor>) -> StoreFuture<Backlog> {
        self.under(epoch, [], |store| store.backlog(Epoch::FIRST, after))
    }

    fn prune(
        &self,
        epoch: Epoch,
        before: BTreeMap<DialectName, Timestamp>,
        now: TimeBounds,
    ) -> StoreFuture<bool> {
        self.under(epoch, [], |store| store.prune(Epoch::FIRST, before, now))
    }
}

/// A node that begins now.
async fn node(world: &World, shared: &Arc<SharedStore>) -> (Arc<NodeStore>, Engine) {
    measured_node(world, shared, &mut Registry::default()).await
}

/// The same, with its metrics.
async fn measured_node(
    world: &World,
    shared: &Arc<SharedStore>,
    metrics: &mut Registry,
) -> (Arc<NodeStore>, Engine) {
    let store = Arc::new(NodeStore {
        shared: Arc::clone(shared),
        is_cut: AtomicBool::new(false),
    });
    let parts = Parts {
        lease: store.claim(world.clock.now()).await.unwrap(),
        store: Arc::clone(&store) as Arc<dyn Backend>,
        dial: Arc::new(Arc::clone(&world.net)),
        clock: world.clock.clone(),
        rng: SeededRng::from_seed([7; 32]),
        policies: world.policies(),
        settings: world.settings,
    };
    (store, Engine::start(parts, metrics))
}

/// A webhook in each of the slots 1 to `count`, at a host named for it.
async fn webhooks(world: &World, count: i64) -> Vec<WebhookId> {
    let mut all = Vec::new();
    for number in 1..=count {
        let url = format!("http://r{number}.test/");
        all.push(world.webhook(&url, "paid").await);
    }
    all
}

async fn assert_delivered_to_all(
    world: &World,
    ids: &[model::id::NotificationId],
    webhooks: &[WebhookId],
) {
    for notification in ids {
        for webhook in webhooks {
            let state = world.state(*notification, *webhook).await;
            assert_eq!(state, DeliveryState::Delivered, "{webhook:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nodes_that_come_take_their_share_and_everything_is_sent_once() {
    let world = World::new().await;
    let shared = SharedStore::of(&world);
    let webhooks = webhooks(&world, 200).await;
    let slow = |_: &_, _| Does::AnswersAfter(200, Duration::from_secs(20));
    world.net.at("r150.test", slow);
    let one = node(&world, &shared).await;
    let mut ids = world.hand_in("paid", 1).await;
    seconds(1).await;
    let two = node(&world, &shared).await;
    ids.extend(world.hand_in("paid", 3).await);
    seconds(7).await;
    // One slot has something in flight.
    assert_eq!(shared.shares(), [129, 127]);
    ids.extend(world.hand_in("paid", 3).await);
    let three = node(&world, &shared).await;
    seconds(60).await;
    assert_eq!(shared.shares(), [86, 85, 85]);
    ids.extend(world.hand_in("paid", 3).await);
    seconds(200).await;
    assert_delivered_to_all(&world, &ids, &webhooks).await;
    assert_eq!(world.net.calls().len(), ids.len() * webhooks.len());
    drop((one, two, three));
}

#[tokio::test(start_paused = true)]
async fn every_node_tells_how_many_slots_it_sends_for() {
    let world = World::new().await;
    let shared = SharedStore::of(&world);
    let mut metrics = [Registry::default(), Registry::default()];
    let told = |metrics: &[Registry; 2]| {
        metrics.each_ref().map(|registry| {
            let mut text = String::new();
            prometheus_client::encoding::text::encode(&mut text, registry).unwrap();
            let mut lines = text.lines();
            let told = lines.find_map(|line| line.strip_prefix("willcall_slots_owned "));
            told.map(|slots| slots.parse::<usize>().unwrap())
        })
    };
    let (store, one) = measured_node(&world, &shared, &mut metrics[0]).await;
    seconds(1).await;
    assert_eq!(told(&metrics), [Some(256), None]);
    let (_, two) = measured_node(&world, &shared, &mut metrics[1]).await;
    seconds(9).await;
    assert_eq!(told(&metrics), [Some(128), Some(128)]);
    // Whoever cannot renew has nothing left once its lease is over.
    store.is_cut.store(true, Ordering::Relaxed);
    seconds(14).await;
    assert_eq!(told(&metrics), [Some(0), Some(256)]);
    drop((one, two));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_stops_hands_over_at_once() {
    let world = World::new().await;
    let shared = SharedStore::of(&world);
    let webhooks = webhooks(&world, 200).await;
    let (_, one) = node(&world, &shared).await;
    let two = node(&world, &shared).await;
    seconds(9).await;
    assert_eq!(shared.shares(), [128, 128]);
    assert!(one.stop(Duration::from_secs(30)).await.is_clean());
    let ids = world.hand_in("paid", 2).await;
    seconds(4).await;
    assert_eq!(shared.shares(), [256]);
    assert_delivered_to_all(&world, &ids, &webhooks).await;
    assert_eq!(world.net.calls().len(), 400);
    drop(two);
}

#[tokio::test(start_paused = true)]
async fn what_a_node_that_is_cut_off_had_in_flight_is_sent_again_and_nothing_else() {
    let world = World::new().await;
    let shared = SharedStore::of(&world);
    let webhooks = webhooks(&world, 200).await;
    let (store, one) = node(&world, &shared).await;
    let two = node(&world, &shared).await;
    seconds(9).await;
    let slow = |_: &_, _| Does::AnswersAfter(200, Duration::from_secs(20));
    world.net.at("r5.test", slow);
    let mut ids = world.hand_in("paid", 1).await;
    seconds(1).await;
    store.is_cut.store(true, Ordering::Relaxed);
    // A lease holds for 10 s from the latest renewal, which was 3 s ago at most.
    seconds(14).await;
    assert_eq!(shared.shares(), [256]);
    ids.extend(world.hand_in("paid", 2).await);
    seconds(60).await;
    assert_delivered_to_all(&world, &ids, &webhooks).await;
    assert_eq!(world.net.calls_at("r5.test").len(), ids.len() + 1);
    assert_eq!(world.net.calls().len(), ids.len() * webhooks.len() + 1);
    assert!(one.health().check().is_err());
    store.is_cut.store(false, Ordering::Relaxed);
    seconds(15).await;
    assert_eq!(shared.shares(), [128, 128]);
    assert_eq!(one.health().check(), Ok(()));
    ids.extend(world.hand_in("paid", 2).await);
    seconds(60).await;
    assert_delivered_to_all(&world, &ids, &webhooks).await;
    assert_eq!(world.net.calls().len(), ids.len() * webhooks.len() + 1);
    drop(two);
}

#[tokio::test(start_paused = true)]
async fn nothing_begins_under_a_lease_that_cannot_be_renewed() {
    let world = World::new().await;
    let shared = SharedStore::of(&world);
    let webhook = world.webhook("http://a.test/", "paid").await;
    let (store, one) = node(&world, &shared).await;
    seconds(9).await;
    store.is_cut.store(true, Ordering::Relaxed);
    seconds(9).await;
    let ids = world.hand_in("paid", 1).await;
    seconds(60).await;
    assert_eq!(world.net.calls(), []);
    store.is_cut.store(false, Ordering::Relaxed);
    seconds(15).await;
    assert_delivered_to_all(&world, &ids, &[webhook]).await;
    drop(one);
}
