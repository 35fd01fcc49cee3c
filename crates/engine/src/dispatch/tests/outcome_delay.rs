//! Outcomes that wait for a commit which is made anyway, and when they do not.

use std::time::Duration;

use model::contract::StoreError;
use model::delivery::DeliveryState;
use model::limits::{COMMIT_DELAY_MAX_MS, OUTCOME_DELAY_MAX_MS};

use super::world::{Does, World, seconds};

/// So long the engine gathers successes if nothing else wakes it.
const GATHERED_MS: u64 = OUTCOME_DELAY_MAX_MS - COMMIT_DELAY_MAX_MS;

async fn millis(millis: u64) {
    tokio::time::sleep(Duration::from_millis(millis)).await;
}

#[tokio::test(start_paused = true)]
async fn successes_are_gathered_and_written_together() {
    let mut world = World::new().await;
    world.settings.max_in_flight = 1_024;
    world.start();
    let webhook = world.webhook("http://a.test/", "paid").await;
    let mut ids = Vec::new();
    for _ in 0..20 {
        ids.extend(world.hand_in("paid", 1).await);
        millis(5).await;
    }
    assert_eq!(world.net.calls().len(), 20);
    assert_eq!(world.store.settled().len(), 0);
    // They go when something else wakes the engine.
    millis(30).await;
    ids.extend(world.hand_in("paid", 1).await);
    millis(5).await;
    assert_eq!(world.store.settled().iter().sum::<usize>(), 20);
    assert_eq!(world.store.settled().len(), 1);
    for id in &ids[..20] {
        assert_eq!(world.state(*id, webhook).await, DeliveryState::Delivered);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_left_of_a_flood_is_written_soon() {
    let mut world = World::new().await;
    world.settings.max_in_flight = 1_024;
    world.start();
    let webhook = world.webhook("http://a.test/", "paid").await;
    let mut ids = world.hand_in("paid", 100).await;
    millis(10).await;
    // Few enough to be gathered.
    ids.extend(world.hand_in("paid", 5).await);
    millis(30).await;
    for id in ids {
        assert_eq!(world.state(id, webhook).await, DeliveryState::Delivered);
    }
    // In a quiet house one waits for others again, after some batches.
    for _ in 0..4 {
        world.hand_in("paid", 1).await;
        millis(OUTCOME_DELAY_MAX_MS).await;
    }
    let id = world.hand_in("paid", 1).await[0];
    millis(GATHERED_MS - 10).await;
    assert_eq!(world.state(id, webhook).await, DeliveryState::Pending);
}

#[tokio::test(start_paused = true)]
async fn a_success_with_no_company_is_written_within_its_patience() {
    let world = World::running().await;
    let webhook = world.webhook("http://a.test/", "paid").await;
    let ids = world.hand_in("paid", 1).await;
    millis(GATHERED_MS - 10).await;
    assert_eq!(world.state(ids[0], webhook).await, DeliveryState::Pending);
    millis(20).await;
    assert_eq!(world.state(ids[0], webhook).await, DeliveryState::Delivered);
}

#[tokio::test(start_paused = true)]
async fn successes_that_the_store_refused_are_not_gathered_again() {
    let world = World::running().await;
    let webhook = world.webhook("http://a.test/", "paid").await;
    world
        .store
        .plan(|plan| plan.settle = Some(StoreError::Busy));
    let ids = world.hand_in("paid", 1).await;
    millis(GATHERED_MS + 10).await;
    assert_eq!(world.store.settled(), [1]);
    world.store.plan(|plan| plan.settle = None);
    // The wait after a first refusal.
    millis(60).await;
    assert_eq!(world.state(ids[0], webhook).await, DeliveryState::Delivered);
}

#[tokio::test(start_paused = true)]
async fn one_success_waits_for_company_and_a_stop_ends_that() {
    let mut world = World::running().await;
    let webhook = world.webhook("http://a.test/", "paid").await;
    world.store.plan(|plan| plan.patient = true);
    let ids = world.hand_in("paid", 1).await;
    seconds(60).await;
    assert_eq!(world.net.times_at("a.test"), [0]);
    assert_eq!(world.state(ids[0], webhook).await, DeliveryState::Pending);
    let stopped = world.stop(Duration::from_secs(5)).await;
    assert_eq!(stopped.outcomes_unwritten, 0);
    assert_eq!(world.state(ids[0], webhook).await, DeliveryState::Delivered);
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_written_at_once_with_the_successes_before_it() {
    let world = World::running().await;
    let good = world.webhook("http://good.test/", "paid").await;
    let bad = world.webhook("http://bad.test/", "paid").await;
    world.net.at("bad.test", |_, _| Does::Answers(500));
    world.store.plan(|plan| plan.patient = true);
    let ids = world.hand_in("paid", 1).await;
    seconds(1).await;
    assert_eq!(world.state(ids[0], good).await, DeliveryState::Delivered);
    assert_eq!(world.story(ids[0], bad).await.attempts.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn nothing_waits_for_company_where_few_may_be_in_the_air() {
    let mut world = World::new().await;
    world.settings.max_in_flight = 1;
    world.start();
    let webhook = world.webhook("http://a.test/", "paid").await;
    world.store.plan(|plan| plan.patient = true);
    let ids = world.hand_in("paid", 3).await;
    seconds(1).await;
    for id in ids {
        assert_eq!(world.state(id, webhook).await, DeliveryState::Delivered);
    }
}

#[tokio::test(start_paused = true)]
async fn what_comes_of_many_waits_for_nothing_else() {
    let world = World::running().await;
    let webhook = world.webhook("http://a.test/", "paid").await;
    world.store.plan(|plan| plan.patient = true);
    let ids = world.hand_in("paid", 40).await;
    seconds(1).await;
    let mut waiting = 0;
    for id in ids {
        waiting += usize::from(world.state(id, webhook).await == DeliveryState::Pending);
    }
    assert_eq!(world.net.calls().len(), 40);
    assert!(waiting <= 4, "{waiting}");
}
