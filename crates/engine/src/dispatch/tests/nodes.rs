//! Several nodes on one store: each sends what lies in its slots, and slots change hands.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use model::contract::{Backend, DashboardStore as _, Leases as _, Store, StoreError, StoreFuture};
use model::dashboard::{BulkJobKind, NewBulkJob};
use model::delivery::{CancelCause, DeliveryState};
use model::delivery_filter::DeliveryFilter;
use model::gate::Gate;
use model::id::WebhookId;
use model::leased_store::LeasedStore;
use model::rng::SeededRng;
use model::wrapper::{StoreCall, StoreWrapper};
use prometheus_client::registry::Registry;

use super::world::{Does, World, seconds};
use crate::{Engine, Parts};

/// A path to the store that may be cut.
struct Path {
    store: Arc<dyn Store>,
    /// It is not reached.
    is_cut: AtomicBool,
    /// Nothing is answered.
    hangs: AtomicBool,
}

impl StoreWrapper for Path {
    fn inner(&self) -> &Arc<dyn Store> {
        &self.store
    }

    fn around<T: Send + 'static>(
        &self,
        _: StoreCall,
        work: impl FnOnce() -> StoreFuture<T> + Send + 'static,
    ) -> StoreFuture<T> {
        let is_cut = self.is_cut.load(Ordering::Relaxed);
        match (is_cut, self.hangs.load(Ordering::Relaxed)) {
            (true, _) => Box::pin(async { Err(StoreError::Busy) }),
            (_, true) => Box::pin(std::future::pending()),
            (false, false) => work(),
        }
    }
}

/// The store of this world, for several nodes, each of which hears at once what others commit.
fn shared(world: &World) -> LeasedStore {
    let posted: Arc<OnceLock<LeasedStore>> = Arc::default();
    let (clock, post) = (world.clock.clone(), Arc::clone(&posted));
    let store = Arc::clone(&world.store) as Arc<dyn Store>;
    let shared = LeasedStore::new(
        store,
        move || clock.now(),
        move |node, hint| post.get().unwrap().hint(node, &hint),
    );
    posted.set(shared.clone()).ok().unwrap();
    shared
}

/// How many slots each lease has, the eldest first.
fn shares(shared: &LeasedStore) -> Vec<usize> {
    let table = shared.table();
    table.rows().iter().map(|row| row.slots.len()).collect()
}

/// A node that begins now.
async fn node(world: &World, shared: &LeasedStore) -> (Arc<Path>, Engine) {
    measured_node(world, shared, &mut Registry::default()).await
}

/// The same, with its metrics.
async fn measured_node(
    world: &World,
    shared: &LeasedStore,
    metrics: &mut Registry,
) -> (Arc<Path>, Engine) {
    let store = Arc::new(Path {
        store: Arc::new(shared.node()),
        is_cut: AtomicBool::new(false),
        hangs: AtomicBool::new(false),
    });
    let parts = Parts {
        lease: store.claim(world.clock.now()).await.unwrap(),
        store: Arc::clone(&store) as Arc<dyn Backend>,
        dial: Arc::new(Arc::clone(&world.net)),
        clock: world.clock.clone(),
        rng: SeededRng::from_seed([7; 32]),
        policies: world.policies(),
        settings: world.settings,
        gate: Gate::default(),
        keyring: Arc::default(),
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
    let shared = shared(&world);
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
    assert_eq!(shares(&shared), [129, 127]);
    ids.extend(world.hand_in("paid", 3).await);
    let three = node(&world, &shared).await;
    seconds(60).await;
    assert_eq!(shares(&shared), [86, 85, 85]);
    ids.extend(world.hand_in("paid", 3).await);
    seconds(200).await;
    assert_delivered_to_all(&world, &ids, &webhooks).await;
    assert_eq!(world.net.calls().len(), ids.len() * webhooks.len());
    drop((one, two, three));
}

#[tokio::test(start_paused = true)]
async fn every_node_tells_how_many_slots_it_sends_for() {
    let world = World::new().await;
    let shared = shared(&world);
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
    let shared = shared(&world);
    let webhooks = webhooks(&world, 200).await;
    let (_, one) = node(&world, &shared).await;
    let two = node(&world, &shared).await;
    seconds(1).await;
    assert_eq!(shares(&shared), [128, 128]);
    assert!(one.stop(Duration::from_secs(30)).await.is_clean());
    let ids = world.hand_in("paid", 2).await;
    seconds(1).await;
    assert_eq!(shares(&shared), [256]);
    assert_delivered_to_all(&world, &ids, &webhooks).await;
    assert_eq!(world.net.calls().len(), 400);
    drop(two);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_a_stopping_node_waits_for_holds_up_its_own_webhook_only() {
    let world = World::new().await;
    let shared = shared(&world);
    let webhooks = webhooks(&world, 200).await;
    let slow = |_: &_, _| Does::AnswersAfter(200, Duration::from_secs(20));
    world.net.at("r2.test", slow);
    let (_, one) = node(&world, &shared).await;
    let two = node(&world, &shared).await;
    seconds(1).await;
    let mut ids = world.hand_in("paid", 1).await;
    seconds(1).await;
    let meanwhile = async {
        seconds(1).await;
        assert_eq!(shares(&shared), [1, 255]);
        ids.extend(world.hand_in("paid", 1).await);
        seconds(1).await;
        assert_eq!(world.net.calls().len(), 399);
    };
    let (stopped, ()) = tokio::join!(one.stop(Duration::from_secs(30)), meanwhile);
    assert!(stopped.is_clean());
    seconds(1).await;
    assert_eq!(shares(&shared), [256]);
    seconds(20).await;
    assert_delivered_to_all(&world, &ids, &webhooks).await;
    assert_eq!(world.net.calls().len(), 400);
    drop(two);
}

#[tokio::test(start_paused = true)]
async fn what_a_node_that_is_cut_off_had_in_flight_is_sent_again_and_nothing_else() {
    let world = World::new().await;
    let shared = shared(&world);
    let webhooks = webhooks(&world, 200).await;
    let (store, one) = node(&world, &shared).await;
    let two = node(&world, &shared).await;
    seconds(9).await;
    let slow = |_: &_, _| Does::AnswersAfter(200, Duration::from_secs(20));
    world.net.at("r2.test", slow);
    let mut ids = world.hand_in("paid", 1).await;
    seconds(1).await;
    store.is_cut.store(true, Ordering::Relaxed);
    // A lease holds for 10 s from the latest renewal, which was 3 s ago at most.
    seconds(14).await;
    assert_eq!(shares(&shared), [256]);
    ids.extend(world.hand_in("paid", 2).await);
    seconds(60).await;
    assert_delivered_to_all(&world, &ids, &webhooks).await;
    assert_eq!(world.net.calls_at("r2.test").len(), ids.len() + 1);
    assert_eq!(world.net.calls().len(), ids.len() * webhooks.len() + 1);
    assert!(one.health().check().is_err());
    store.is_cut.store(false, Ordering::Relaxed);
    seconds(15).await;
    assert_eq!(shares(&shared), [128, 128]);
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
    let shared = shared(&world);
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

#[tokio::test(start_paused = true)]
async fn what_is_in_flight_ends_with_its_lease() {
    let world = World::new().await;
    let shared = shared(&world);
    world.webhook("http://a.test/", "paid").await;
    let slow = |_: &_, _| Does::AnswersAfter(200, Duration::from_secs(25));
    world.net.at("a.test", slow);
    let (store, one) = node(&world, &shared).await;
    seconds(8).await;
    world.hand_in("paid", 1).await;
    seconds(1).await;
    store.hangs.store(true, Ordering::Relaxed);
    let until = shared.table().rows()[0].until;
    tokio::time::sleep(Duration::from_millis(500)).await;
    for _ in 0..30 {
        let left_ms = until.ms_since(world.clock.now());
        assert_eq!(world.net.open() > 0, left_ms > 0, "{left_ms} ms");
        seconds(1).await;
    }
    drop(one);
}

/// Begins to cancel all that a webhook is owed, by whoever.
async fn begin_to_cancel(world: &World, shared: &LeasedStore, webhook: WebhookId) {
    let new = NewBulkJob {
        tenant: world.tenant,
        webhook: Some(webhook),
        what: BulkJobKind::CancelPending,
        filter: None,
        expected: 0,
        actor: "test".to_owned(),
    };
    let began = shared.node().start_bulk_job(new, world.clock.now());
    began.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_bulk_job_of_a_webhook_of_others_is_done_even_if_its_owner_is_told_nothing() {
    let world = World::new().await;
    let shared = LeasedStore::new(
        Arc::clone(&world.store) as Arc<dyn Store>,
        {
            let clock = world.clock.clone();
            move || clock.now()
        },
        |_, _| {},
    );
    let webhook = world.webhook("http://a.test/", "paid").await;
    world.net.at("a.test", |_, _| Does::Answers(500));
    let (_, one) = node(&world, &shared).await;
    let ids = world.hand_in("paid", 3).await;
    seconds(70).await;
    begin_to_cancel(&world, &shared, webhook).await;
    seconds(70).await;
    let stopped = DeliveryState::Cancelled(CancelCause::Requested);
    for id in ids {
        assert_eq!(world.state(id, webhook).await, stopped);
    }
    drop(one);
}

#[tokio::test(start_paused = true)]
async fn a_bulk_job_of_a_node_that_is_gone_is_gone_on_with_by_who_has_its_slots() {
    let world = World::new().await;
    let shared = shared(&world);
    let webhook = world.webhook("http://a.test/", "paid").await;
    world.net.at("a.test", |_, _| Does::Answers(500));
    let (_, one) = node(&world, &shared).await;
    let two = node(&world, &shared).await;
    let ids = world.hand_in("paid", 3).await;
    seconds(9).await;
    drop(one);
    begin_to_cancel(&world, &shared, webhook).await;
    seconds(15).await;
    let stopped = DeliveryState::Cancelled(CancelCause::Requested);
    for id in ids {
        assert_eq!(world.state(id, webhook).await, stopped);
    }
    drop(two);
}

#[tokio::test(start_paused = true)]
async fn a_replay_of_all_webhooks_goes_from_node_to_node_until_it_is_done() {
    let world = World::new().await;
    let shared = shared(&world);
    let mut webhooks = Vec::new();
    for host in ["a.test", "b.test", "c.test", "d.test"] {
        let url = format!("http://{host}/");
        webhooks.push(world.webhook(&url, "paid").await);
        world.net.at(host, |_, _| Does::Answers(500));
    }
    let one = node(&world, &shared).await;
    let two = node(&world, &shared).await;
    seconds(9).await;
    let owns = |slots: &model::lease::Slots| webhooks.iter().filter(|id| slots.has(**id)).count();
    let shares: Vec<usize> = shared
        .table()
        .rows()
        .iter()
        .map(|row| owns(&row.slots))
        .collect();
    assert!(shares.iter().all(|count| *count > 0), "{shares:?}");
    let ids = world.hand_in("paid", 3).await;
    seconds(5).await;
    let filter = DeliveryFilter {
        statuses: DeliveryFilter::REPLAYED.to_vec(),
        ..DeliveryFilter::default()
    };
    let new = NewBulkJob {
        tenant: world.tenant,
        webhook: None,
        what: BulkJobKind::ReplayMatching,
        filter: Some(filter),
        expected: 12,
        actor: "test".to_owned(),
    };
    let began = shared.node().start_bulk_job(new, world.clock.now());
    let began = began.await.unwrap();
    for host in ["a.test", "b.test", "c.test", "d.test"] {
        world.net.at(host, |_, _| Does::Answers(200));
    }
    seconds(3).await;
    let done = world.store.bulk_job(world.tenant, began.id).await.unwrap();
    let done = done.unwrap();
    assert!(done.ended_at.is_some(), "{done:?}");
    for (id, webhook) in ids
        .iter()
        .flat_map(|id| webhooks.iter().map(move |w| (*id, *w)))
    {
        assert_eq!(world.state(id, webhook).await, DeliveryState::Delivered);
    }
    drop((one, two));
}
