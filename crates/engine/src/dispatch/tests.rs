//! The loop on paused time: what is sent when, and what is written down of it.

mod bulk_jobs;
mod chaos;
mod clocks;
mod fair_share;
mod fairness;
mod faults;
mod handshakes;
mod holds;
mod hostile;
mod kept_connections;
mod load;
mod names;
mod nodes;
mod outages;
mod outcome_delay;
mod pauses;
mod real;
mod shortage;
mod statistics;
mod store_trouble;
mod world;

use std::time::Duration;

use model::contract::{
    Catalog as _, Intake as _, Outbox as _, ReplayRequest, ReplayResult, ReplayScope,
};
use model::delivery::{CancelCause, DeliveryState};
use model::id::{DeliveryId, NotificationId, WebhookId};
use model::lease::Epoch;
use world::{Does, HOUR_MS, World, seconds};

use crate::concurrency::INITIAL_LIMIT;

fn id(notification: NotificationId, webhook: WebhookId) -> DeliveryId {
    DeliveryId {
        notification,
        webhook,
    }
}

async fn send_again(world: &World, webhook: WebhookId, which: ReplayScope) -> ReplayResult {
    let ask = ReplayRequest {
        tenant: world.tenant,
        webhook,
        which,
        actor: "test".to_owned(),
    };
    world.store.replay(ask, world.clock.now()).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_new_delivery_goes_at_once_without_being_read_back() {
    let world = World::running().await;
    let webhook = world.webhook("http://a.test/hook", "paid").await;
    seconds(1).await;
    let reads = world.store.due_asked().len();
    let handed_in_at = world.clock.now();
    let ids = world.hand_in("paid", 3).await;
    seconds(1).await;
    let calls = world.net.calls();
    let bodies: Vec<_> = calls.iter().map(|call| &*call.body).collect();
    assert_eq!(bodies, ["0", "1", "2"]);
    assert!(
        calls
            .iter()
            .all(|call| call.at == handed_in_at && call.path == "/hook")
    );
    for notification in ids {
        let story = world.story(notification, webhook).await;
        assert_eq!(
            (story.row.state, story.attempts.len()),
            (DeliveryState::Delivered, 1)
        );
    }
    assert_eq!(world.store.due_asked().len(), reads);
    assert_eq!(world.health(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_fails_twice_is_called_again_after_5_and_30_seconds() {
    let world = World::running().await;
    let webhook = world.webhook("http://a.test/", "paid").await;
    world.net.at("a.test", |_, number| {
        Does::Answers(if number < 2 { 503 } else { 200 })
    });
    let ids = world.hand_in("paid", 1).await;
    seconds(3_600).await;
    assert_eq!(world.net.times_at("a.test"), [0, 5_000, 35_000]);
    assert_eq!(world.state(ids[0], webhook).await, DeliveryState::Delivered);
}

#[tokio::test(start_paused = true)]
async fn the_whole_schedule_is_13_attempts_of_which_the_last_is_at_72_hours() {
    let world = World::running().await;
    let webhook = world.webhook("http://a.test/", "paid").await;
    world.net.at("a.test", |_, _| Does::Answers(500));
    let ids = world.hand_in("paid", 1).await;
    seconds(80 * 3_600).await;
    let times = world.net.times_at("a.test");
    assert_eq!(times.len(), 13);
    assert_eq!(times[..4], [0, 5_000, 35_000, 95_000]);
    assert_eq!(times[12], 72 * HOUR_MS);
    let delays = [
        300_000,
        1_200_000,
        HOUR_MS,
        4 * HOUR_MS,
        6 * HOUR_MS,
        12 * HOUR_MS,
    ];
    for (index, delay_ms) in delays.into_iter().enumerate() {
        let wait_ms = times[index + 4] - times[index + 3];
        assert!(
            (delay_ms..=delay_ms + delay_ms / 10).contains(&wait_ms),
            "{index}: {wait_ms}"
        );
    }
    let story = world.story(ids[0], webhook).await;
    assert_eq!(
        (story.row.state, story.row.attempts),
        (DeliveryState::Failed, 13)
    );
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_is_gone_gets_nothing_more() {
    let world = World::running().await;
    let webhook = world.webhook("http://a.test/", "paid").await;
    world.net.at("a.test", |_, number| {
        Does::Answers(if number == 0 { 500 } else { 410 })
    });
    let first = world.hand_in("paid", 1).await;
    seconds(2).await;
    let others = world.hand_in("paid", 500).await;
    seconds(2 * 3_600).await;
    // As many as were in the air when the first of them ended.
    assert!(
        world.net.calls().len() <= 1 + world.settings.max_concurrency_per_webhook,
        "{:?}",
        world.net.calls().len()
    );
    let gone = DeliveryState::Cancelled(CancelCause::ReceiverGone);
    for notification in first.into_iter().chain(others) {
        assert_eq!(world.state(notification, webhook).await, gone);
    }
    let stored = world
        .store
        .webhook(world.tenant, webhook)
        .await
        .unwrap()
        .unwrap();
    assert!(!stored.enabled());
    assert_eq!(world.hand_in("paid", 1).await.len(), 1);
    seconds(60).await;
    assert!(world.net.calls().len() <= 1 + world.settings.max_concurrency_per_webhook);
}

#[tokio::test(start_paused = true)]
async fn a_disabled_webhook_gets_nothing_and_what_it_had_is_cancelled() {
    let world = World::running().await;
    let webhook = world.webhook("http://a.test/", "paid").await;
    world.net.at("a.test", |_, _| Does::Answers(500));
    let ids = world.hand_in("paid", 3).await;
    seconds(1).await;
    assert_eq!(world.net.calls().len(), 3);
    world.disable(webhook).await;
    world.hand_in("paid", 3).await;
    seconds(2 * 3_600).await;
    assert_eq!(world.net.calls().len(), 3);
    let cancelled = DeliveryState::Cancelled(CancelCause::WebhookDisabled);
    for notification in ids {
        assert_eq!(world.state(notification, webhook).await, cancelled);
    }
    world.enable(webhook).await;
    world.net.at("a.test", |_, _| Does::Answers(200));
    world.hand_in("paid", 1).await;
    seconds(1).await;
    assert_eq!(world.net.calls().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn disabling_while_much_is_in_memory_stops_it_at_once() {
    let world = World::running().await;
    let webhook = world.webhook("http://a.test/", "paid").await;
    let slow = Does::AnswersAfter(200, Duration::from_secs(10));
    world.net.at("a.test", move |_, _| slow);
    world.hand_in("paid", 200).await;
    seconds(1).await;
    world.disable(webhook).await;
    seconds(3_600).await;
    assert_eq!(world.net.calls().len(), INITIAL_LIMIT);
}

#[tokio::test(start_paused = true)]
async fn more_than_one_sweep_of_a_disabled_webhook_is_cancelled() {
    let mut world = World::new().await;
    let webhook = world.webhook("http://a.test/", "paid").await;
    let mut ids = Vec::new();
    for _ in 0..6 {
        ids.extend(world.hand_in("paid", 1_000).await);
    }
    // Disabled while nobody runs: of the rest only the next start can know.
    world.disable(webhook).await;
    world.start();
    seconds(5).await;
    assert!(world.net.calls().is_empty());
    let cancelled = DeliveryState::Cancelled(CancelCause::WebhookDisabled);
    for notification in [ids[0], ids[5_999]] {
        assert_eq!(world.state(notification, webhook).await, cancelled);
    }
    assert!(
        world
            .store
            .pending_webhooks(Epoch::FIRST, None, 10)
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test(start_paused = true)]
async fn a_new_engine_goes_on_where_the_old_one_was_killed() {
    let mut world = World::running().await;
    let webhook = world.webhook("http://a.test/", "paid").await;
    world.net.at("a.test", |_, number| match number {
        0 => Does::Answers(500),
        1 => Does::Hangs,
        _ => Does::Answers(200),
    });
    let failed = world.hand_in("paid", 1).await;
    seconds(1).await;
    let running = world.hand_in("paid", 1).await;
    seconds(1).await;
    world.kill();
    seconds(1).await;
    world.start();
    seconds(10).await;
    // The one that was running is sent again, the one that had failed keeps its time.
    assert_eq!(world.net.times_at("a.test"), [0, 1_000, 3_000, 5_000]);
    for notification in failed.into_iter().chain(running) {
        assert_eq!(
            world.state(notification, webhook).await,
            DeliveryState::Delivered
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_handed_in_while_nobody_ran_is_sent_by_the_next_start() {
    let mut world = World::new().await;
    world.webhook("http://a.test/", "paid").await;
    world.hand_in("paid", 10).await;
    seconds(60).await;
    world.start();
    seconds(1).await;
    assert_eq!(world.net.calls().len(), 10);
}

#[tokio::test(start_paused = true)]
async fn sending_again_is_at_once_whatever_the_state() {
    let world = World::running().await;
    let webhook = world.webhook("http://a.test/", "paid").await;
    world.net.at("a.test", |_, number| {
        Does::Answers(if number == 0 { 500 } else { 200 })
    });
    let ids = world.hand_in("paid", 1).await;
    seconds(1).await;
    let which = ReplayScope::One(id(ids[0], webhook));
    // Waiting for a retry.
    send_again(&world, webhook, which.clone()).await;
    seconds(60).await;
    assert_eq!(world.net.times_at("a.test"), [0, 1_000]);
    // Delivered.
    send_again(&world, webhook, which).await;
    seconds(60).await;
    assert_eq!(world.net.times_at("a.test"), [0, 1_000, 61_000]);
    assert_eq!(world.state(ids[0], webhook).await, DeliveryState::Delivered);
}

#[tokio::test(start_paused = true)]
async fn what_is_sent_again_while_it_is_in_the_air_goes_once_more_if_its_round_had_ended() {
    let world = World::running().await;
    let webhook = world.webhook("http://a.test/", "paid").await;
    let slow = Does::AnswersAfter(200, Duration::from_secs(10));
    world.net.at("a.test", move |_, _| slow);
    let ids = world.hand_in("paid", 1).await;
    seconds(1).await;
    // Ends the round under the running attempt, and begins another.
    world.disable(webhook).await;
    world.enable(webhook).await;
    let which = ReplayScope::One(id(ids[0], webhook));
    send_again(&world, webhook, which).await;
    seconds(3_600).await;
    // The success of the first attempt counts, so whether there is a second is a race; what may
    // not be is that the delivery stays owed.
    assert_eq!(world.state(ids[0], webhook).await, DeliveryState::Delivered);
    assert!(world.net.calls().len() <= 2);
}

#[tokio::test(start_paused = true)]
async fn all_that_failed_can_be_sent_again() {
    let world = World::running().await;
    let webhook = world.webhook("http://a.test/", "paid").await;
    world.net.at("a.test", |_, _| Does::Answers(500));
    let ids = world.hand_in("paid", 50).await;
    seconds(80 * 3_600).await;
    world.net.at("a.test", |_, _| Does::Answers(200));
    let began_at = world.clock.now();
    let replayed = send_again(&world, webhook, ReplayScope::Undelivered { began_at }).await;
    assert!(matches!(
        replayed,
        ReplayResult::Done {
            count: 50,
            more: false
        }
    ));
    seconds(1).await;
    for notification in ids {
        let story = world.story(notification, webhook).await;
        assert_eq!(
            (story.row.state, story.row.attempts),
            (DeliveryState::Delivered, 14)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_goes_to_the_url_the_webhook_has_by_then() {
    let world = World::running().await;
    let webhook = world.webhook("http://old.test/x", "paid").await;
    world.net.at("old.test", |_, _| Does::Answers(500));
    let ids = world.hand_in("paid", 1).await;
    seconds(1).await;
    world
        .change(webhook, |webhook| {
            webhook.target_url = "http://u:p@new.test/y".to_owned();
        })
        .await;
    seconds(60).await;
    assert_eq!(world.net.times_at("old.test"), [0]);
    let calls = world.net.calls_at("new.test");
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].path, "/y");
    let story = world.story(ids[0], webhook).await;
    assert_eq!(&*story.attempts[1].attempt.url, "http://***@new.test/y");
    assert!(!format!("{story:?}").contains("u:p"));
}

#[tokio::test(start_paused = true)]
async fn stopping_lets_attempts_end_and_has_their_outcomes_written_down() {
    let mut world = World::running().await;
    let webhook = world.webhook("http://a.test/", "paid").await;
    let slow = Does::AnswersAfter(200, Duration::from_secs(10));
    world.net.at("a.test", move |_, _| slow);
    let ids = world.hand_in("paid", 20).await;
    seconds(1).await;
    let stopped = world.stop(Duration::from_secs(30)).await;
    assert!(stopped.is_clean(), "{stopped:?}");
    let limit = INITIAL_LIMIT;
    assert_eq!(world.net.calls().len(), limit);
    for (index, notification) in ids.iter().enumerate() {
        let ended = world.state(*notification, webhook).await.is_end();
        assert_eq!(ended, index < limit);
    }
    world.start();
    seconds(120).await;
    let mut bodies: Vec<_> = world
        .net
        .calls()
        .into_iter()
        .map(|call| call.body)
        .collect();
    bodies.sort_by_key(|body| body.parse::<usize>().unwrap());
    let once: Vec<_> = (0..20).map(|number| number.to_string()).collect();
    assert_eq!(bodies, once);
}

#[tokio::test(start_paused = true)]
async fn stopping_waits_no_longer_than_it_may_and_says_what_it_dropped() {
    let mut world = World::running().await;
    world.webhook("http://a.test/", "paid").await;
    world.net.at("a.test", |_, _| Does::Hangs);
    world.hand_in("paid", INITIAL_LIMIT).await;
    seconds(1).await;
    let health = world.engine.as_ref().unwrap().health();
    let began = tokio::time::Instant::now();
    let stopped = world.stop(Duration::from_secs(5)).await;
    assert_eq!(began.elapsed().as_secs(), 5);
    assert_eq!(
        (stopped.attempts_dropped, stopped.outcomes_unwritten),
        (INITIAL_LIMIT, 0)
    );
    assert_eq!(health.check(), Err("the engine is stopped".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn deliveries_of_an_unknown_dialect_stay_where_they_are() {
    let mut world = World::running().await;
    let tenant = world.add_tenant("of-the-future").await;
    world
        .webhook_of(tenant, "http://future.test/", "paid")
        .await;
    world.webhook("http://a.test/", "paid").await;
    world
        .hand_in_with(tenant, "paid", 3, |_| String::new())
        .await;
    world.hand_in("paid", 3).await;
    seconds(3_600).await;
    assert!(world.net.calls_at("future.test").is_empty());
    assert_eq!(world.net.calls_at("a.test").len(), 3);
    assert_eq!(world.health(), Ok(()));
    world.kill();
    assert_eq!(
        world
            .store
            .pending_webhooks(Epoch::FIRST, None, 10)
            .await
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_past_its_retention_is_removed() {
    let mut world = World::new().await;
    world.policy.retention_ms = 2 * HOUR_MS;
    world.start();
    let webhook = world.webhook("http://a.test/", "paid").await;
    let ids = world.hand_in("paid", 1).await;
    seconds(2 * 3_600).await;
    let which = id(ids[0], webhook);
    let story = world.store.delivery(world.tenant, which);
    assert!(story.await.unwrap().is_some());
    // Every half hour.
    seconds(1_900).await;
    let story = world.store.delivery(world.tenant, which);
    assert!(story.await.unwrap().is_none());
}
