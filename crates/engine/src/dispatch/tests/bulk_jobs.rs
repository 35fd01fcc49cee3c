//! Bulk jobs: begun at any time, gone on with after a restart and after trouble.

use std::time::Duration;

use model::contract::{DashboardStore, StoreError};
use model::dashboard::{BulkJob, BulkJobKind, NewBulkJob};
use model::delivery::{CancelCause, DeliveryState};
use model::id::WebhookId;

use super::world::{Does, World, seconds};

async fn begin(world: &World, webhook: WebhookId, what: BulkJobKind) -> BulkJob {
    let new = NewBulkJob {
        tenant: world.tenant,
        webhook: Some(webhook),
        what,
        filter: None,
        expected: 0,
        actor: "test".to_owned(),
    };
    let now = world.clock.now();
    world.store.start_bulk_job(new, now).await.unwrap()
}

async fn look(world: &World, bulk_job: &BulkJob) -> BulkJob {
    let found = world.store.bulk_job(world.tenant, bulk_job.id).await;
    found.unwrap().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_bulk_job_is_done_as_soon_as_it_is_begun() {
    let world = World::running().await;
    let webhook = world.webhook("http://a.test/", "paid").await;
    world.net.at("a.test", |_, _| Does::Answers(500));
    let ids = world.hand_in("paid", 30).await;
    seconds(10).await;
    world.net.at("a.test", |_, _| Does::Answers(200));
    let bulk_job = begin(&world, webhook, BulkJobKind::ReplayUndelivered).await;
    seconds(1).await;
    assert_eq!(look(&world, &bulk_job).await.done, 30);
    for id in ids {
        assert_eq!(world.state(id, webhook).await, DeliveryState::Delivered);
    }
}

#[tokio::test(start_paused = true)]
async fn a_bulk_job_of_before_is_gone_on_with_by_the_next_start() {
    let mut world = World::new().await;
    let webhook = world.webhook("http://a.test/", "paid").await;
    let ids = world.hand_in("paid", 3).await;
    let bulk_job = begin(&world, webhook, BulkJobKind::CancelPending).await;
    world.net.at("a.test", |_, _| Does::Hangs);
    world.start();
    seconds(1).await;
    let done = look(&world, &bulk_job).await;
    assert_eq!(done.done, 3);
    assert!(done.ended_at.is_some());
    let stopped = DeliveryState::Cancelled(CancelCause::Requested);
    for id in ids {
        assert_eq!(world.state(id, webhook).await, stopped);
    }
    assert!(world.stop(Duration::ZERO).await.attempts_dropped <= 3);
}

#[tokio::test(start_paused = true)]
async fn what_is_stopped_before_its_turn_is_never_sent() {
    let world = World::running().await;
    let webhook = world.webhook("http://a.test/", "paid").await;
    let late = |_: &_, _| Does::AnswersAfter(200, Duration::from_secs(3));
    world.net.at("a.test", late);
    let ids = world.hand_in("paid", 40).await;
    seconds(1).await;
    let in_the_air = world.net.calls().len();
    assert!(in_the_air < 20);
    let bulk_job = begin(&world, webhook, BulkJobKind::CancelPending).await;
    seconds(60).await;
    assert_eq!(world.net.calls().len(), in_the_air);
    assert_eq!(look(&world, &bulk_job).await.done, 40);
    let mut delivered = 0;
    for id in ids {
        delivered += usize::from(world.state(id, webhook).await == DeliveryState::Delivered);
    }
    assert_eq!(delivered, in_the_air, "a success counts, however late");
}

#[tokio::test(start_paused = true)]
async fn what_the_store_refuses_of_a_bulk_job_is_repeated() {
    let world = World::running().await;
    let webhook = world.webhook("http://a.test/", "paid").await;
    world.store.plan.lock().unwrap().bulk_job = Some(StoreError::Busy);
    let bulk_job = begin(&world, webhook, BulkJobKind::ReplayUndelivered).await;
    seconds(5).await;
    assert_eq!(look(&world, &bulk_job).await.ended_at, None);
    world.store.plan.lock().unwrap().bulk_job = None;
    seconds(2).await;
    assert!(look(&world, &bulk_job).await.ended_at.is_some());
    assert!(world.health().is_ok(), "an errand is no reason to restart");
}
