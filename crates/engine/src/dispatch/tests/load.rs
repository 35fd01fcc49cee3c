//! Much at once: lanes do not get in one another's way, and memory is bounded.

use std::collections::BTreeSet;
use std::time::Duration;

use model::contract::{Intake as _, Outbox as _, StoreError};
use model::lease::Epoch;
use model::limits;
use tokio::time::Instant;

use super::world::{Does, World, seconds};
use crate::concurrency::INITIAL_LIMIT;

#[tokio::test(start_paused = true)]
async fn a_receiver_that_hangs_does_not_delay_the_others() {
    let world = World::running().await;
    world.webhook("http://hangs.test/", "paid").await;
    world.webhook("http://a.test/", "paid").await;
    world.net.at("hangs.test", |_, _| Does::Hangs);
    let handed_in_at = world.clock.now();
    world.hand_in("paid", 300).await;
    seconds(29).await;
    let calls = world.net.calls_at("a.test");
    assert_eq!(calls.len(), 300);
    assert!(calls.iter().all(|call| call.at == handed_in_at));
    assert_eq!(world.net.calls_at("hangs.test").len(), INITIAL_LIMIT);
}

#[tokio::test(start_paused = true)]
async fn many_receivers_that_hang_leave_flights_to_the_others() {
    let mut world = World::new().await;
    world.settings.max_in_flight = 40;
    world.start();
    for number in 0..30 {
        let host = format!("hangs-{number}.test");
        world.webhook(&format!("http://{host}/"), "paid").await;
        world.net.at(&host, |_, _| Does::Hangs);
    }
    // One that was quick is, whatever those do that are not known yet.
    world.webhook("http://a.test/", "placed").await;
    world.hand_in("placed", 1).await;
    seconds(1).await;
    world.hand_in("paid", 20).await;
    for _ in 1..60 {
        world.hand_in("placed", 1).await;
        seconds(1).await;
    }
    let calls = world.net.calls_at("a.test");
    assert_eq!(calls.len(), 60);
    let first = calls[0].at;
    for (second, call) in calls.iter().enumerate() {
        let expected = first.plus_ms(1_000 * i64::try_from(second).unwrap());
        assert!(
            call.at.ms_since(expected).abs() <= 1,
            "{second}: {:?}",
            call.at
        );
    }
}

#[tokio::test(start_paused = true)]
async fn no_more_is_in_the_air_than_a_lane_is_wide_and_the_settings_allow() {
    let mut world = World::new().await;
    world.settings.max_in_flight = 20;
    world.start();
    let slow = Does::AnswersAfter(200, Duration::from_millis(700));
    for host in ["a.test", "b.test", "c.test"] {
        world.webhook(&format!("http://{host}/"), "paid").await;
        world.net.at(host, move |_, _| slow);
    }
    world.hand_in("paid", 200).await;
    seconds(120).await;
    assert_eq!(world.net.calls().len(), 600);
    for host in ["a.test", "b.test", "c.test"] {
        assert!(world.net.most_at_once(host) <= world.settings.max_concurrency_per_webhook);
    }
    // The other half is for lanes that have little in the air.
    assert_eq!(world.net.most_at_once(""), 10);
    world.webhook("http://alone.test/", "placed").await;
    world.net.at("alone.test", move |_, _| slow);
    world.hand_in("placed", 200).await;
    seconds(120).await;
    assert_eq!(
        world.net.most_at_once("alone.test"),
        world.settings.max_concurrency_per_webhook
    );
}

#[tokio::test(start_paused = true)]
async fn a_busy_webhook_does_not_starve_another() {
    let mut world = World::new().await;
    world.settings.max_in_flight = 8;
    world.start();
    let slow = Does::AnswersAfter(200, Duration::from_millis(100));
    for host in ["busy.test", "calm.test"] {
        world.net.at(host, move |_, _| slow);
    }
    world.webhook("http://busy.test/", "paid").await;
    world.webhook("http://calm.test/", "placed").await;
    world.hand_in("placed", 1).await;
    seconds(1).await;
    world.hand_in("paid", 1_000).await;
    world.hand_in("placed", 20).await;
    seconds(1).await;
    assert_eq!(world.net.calls_at("calm.test").len(), 21);
}

#[tokio::test(start_paused = true)]
async fn a_backlog_larger_than_memory_is_sent_completely_and_in_order() {
    let mut world = World::new().await;
    world.settings.max_concurrency_per_webhook = 1;
    world.webhook("http://a.test/", "paid").await;
    let count = 4 * limits::LANE_BUFFERED_MAX;
    for number in 0..count {
        world
            .hand_in_with(world.tenant, "paid", 1, |_| number.to_string())
            .await;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let quick = Does::AnswersAfter(200, Duration::from_millis(2));
    world.net.at("a.test", move |_, _| quick);
    world.start();
    // More comes in while the backlog is worked off; it goes behind.
    for number in count..2 * count {
        world
            .hand_in_with(world.tenant, "paid", 1, |_| number.to_string())
            .await;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    seconds(60).await;
    let bodies: Vec<_> = world
        .net
        .calls()
        .into_iter()
        .map(|call| call.body)
        .collect();
    let expected: Vec<_> = (0..2 * count).map(|number| number.to_string()).collect();
    assert!(
        bodies == expected,
        "{:?}",
        bodies.iter().zip(&expected).find(|(a, b)| a != b)
    );
    // Reads are bounded, whatever waits.
    let most = world.store.due_asked().into_iter().max().unwrap();
    assert!(
        most <= limits::LANE_BUFFERED_MAX + limits::LANE_READ_MAX,
        "{most}"
    );
    assert!(
        world
            .store
            .pending_webhooks(Epoch::FIRST, None, 1)
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test(start_paused = true)]
async fn more_deliveries_than_fit_into_memory_are_all_sent_once() {
    let world = World::running().await;
    for number in 0..60 {
        world
            .webhook(&format!("http://r{number}.test/"), "paid")
            .await;
    }
    let slow = Does::AnswersAfter(200, Duration::from_millis(50));
    for number in 0..60 {
        world.net.at(&format!("r{number}.test"), move |_, _| slow);
    }
    // 18,000 deliveries told of in one breath; 16,384 fit into memory.
    world.hand_in("paid", 300).await;
    let began = Instant::now();
    while world.net.calls().len() < 18_000 && began.elapsed().as_secs() < 600 {
        seconds(1).await;
    }
    seconds(10).await;
    let calls = world.net.calls();
    assert_eq!(calls.len(), 18_000);
    let each: BTreeSet<_> = calls.iter().map(|call| (&call.host, &call.body)).collect();
    assert_eq!(each.len(), 18_000);
}

#[tokio::test(start_paused = true)]
async fn a_webhook_of_which_no_delivery_was_told_gets_all_it_is_owed_once() {
    let world = World::running().await;
    for number in 0..32 {
        world
            .webhook(&format!("http://r{number}.test/"), "paid")
            .await;
    }
    world.webhook("http://last.test/", "placed").await;
    // By then it has looked at all webhooks, and does not look again on its own for a minute.
    seconds(1).await;
    // Only with what comes last in the commit there is more than is told.
    let paid = limits::BUFFERED_MAX / 32;
    let mut batch = world.batch(world.tenant, "paid", paid, |n| n.to_string());
    batch.extend(world.batch(world.tenant, "placed", 100, |n| n.to_string()));
    world.store.accept(batch).await.unwrap();
    seconds(30).await;
    let calls = world.net.calls_at("last.test");
    assert_eq!(calls.len(), 100);
    let each: BTreeSet<_> = calls.iter().map(|call| &call.body).collect();
    assert_eq!(each.len(), 100);
    assert_eq!(world.net.calls().len(), 32 * paid + 100);
}

#[tokio::test(start_paused = true)]
async fn large_bodies_fill_the_memory_before_their_number_does() {
    let mut world = World::new().await;
    world.settings.max_concurrency_per_webhook = 4;
    world.start();
    let slow = Does::AnswersAfter(200, Duration::from_millis(100));
    for number in 0..4 {
        world
            .webhook(&format!("http://r{number}.test/"), "paid")
            .await;
        world.net.at(&format!("r{number}.test"), move |_, _| slow);
    }
    let largest = "x".repeat(limits::NOTIFICATION_BODY_BYTES_MAX);
    world
        .hand_in_with(world.tenant, "paid", 150, |_| largest.clone())
        .await;
    seconds(60).await;
    assert_eq!(world.net.calls().len(), 600);
}

#[tokio::test(start_paused = true)]
async fn large_bodies_that_are_not_settled_yet_are_not_read_over_and_over() {
    let mut world = World::new().await;
    world.settings.max_in_flight = 1_024;
    world.settings.max_concurrency_per_webhook = 64;
    world.start();
    world.webhook("http://a.test/", "paid").await;
    // What is sent cannot be written down for a while, and so stays held.
    let refused = StoreError::Busy;
    world.store.plan(|plan| plan.settle = Some(refused));
    let count = 4 * limits::LANE_READ_MAX;
    let filling = "x".repeat(limits::NOTIFICATION_BODY_BYTES_MAX - 4);
    world
        .hand_in_with(world.tenant, "paid", count, |n| format!("{n:04}{filling}"))
        .await;
    seconds(20).await;
    let sent = world.net.calls().len();
    assert!((limits::LANE_READ_MAX..count).contains(&sent), "{sent}");
    world.store.plan(|plan| plan.settle = None);
    seconds(60).await;
    // Nothing is forgotten of it, and nothing sent twice.
    let calls = world.net.calls();
    assert_eq!(calls.len(), count);
    let each: BTreeSet<_> = calls.iter().map(|call| &call.body).collect();
    assert_eq!(each.len(), count);
    let most = world.store.due_asked().into_iter().max().unwrap();
    assert!(most <= 2 * limits::LANE_READ_MAX, "{most}");
}
