//! Retry-After on paused time, retries that a webhook asks for, and what tells deliveries apart.

use std::collections::BTreeSet;

use model::contract::ReplayScope;
use model::delivery::DeliveryState;
use model::webhook::Headers;

use super::world::{Does, HOUR_MS, World, seconds};
use super::{id, send_again};

const RETRY_AFTER_MAX_MS: i64 = HOUR_MS;

/// A world whose dialect listens to Retry-After.
async fn listening() -> World {
    let mut world = World::new().await;
    world.policy.retry_after_max_ms = Some(RETRY_AFTER_MAX_MS);
    world.start();
    world
}

#[tokio::test(start_paused = true)]
async fn retry_after_has_the_whole_webhook_left_alone_and_nobody_else() {
    let world = listening().await;
    world.webhook("http://a.test/", "paid").await;
    world.webhook("http://b.test/", "paid").await;
    world.net.at("a.test", |_, number| match number {
        0 => Does::Busy(503, "600"),
        _ => Does::Answers(200),
    });
    world.hand_in("paid", 1).await;
    seconds(1).await;
    world.hand_in("paid", 20).await;
    seconds(590).await;
    assert_eq!(world.net.calls_at("a.test").len(), 1);
    assert_eq!(world.net.calls_at("b.test").len(), 21);
    seconds(20).await;
    let times = world.net.times_at("a.test");
    assert_eq!(times.len(), 22);
    assert!(times[1..].iter().all(|at| *at == 600_000), "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn what_already_waits_in_memory_waits_on() {
    let mut world = listening().await;
    world.settings.max_concurrency_per_webhook = 1;
    world.kill();
    world.start();
    world.webhook("http://a.test/", "paid").await;
    world.net.at("a.test", |_, number| match number {
        0 | 3 => Does::Busy(429, "100"),
        _ => Does::Answers(200),
    });
    world.hand_in("paid", 10).await;
    seconds(1_000).await;
    let times = world.net.times_at("a.test");
    assert_eq!(times.len(), 12);
    assert_eq!(times[..4], [0, 100_000, 100_000, 100_000]);
    assert!(times[4..].iter().all(|at| *at == 200_000), "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn no_wish_is_longer_than_an_hour_and_other_answers_wish_nothing() {
    let world = listening().await;
    world.webhook("http://a.test/", "paid").await;
    world.webhook("http://b.test/", "paid").await;
    world.net.at("a.test", |_, number| match number {
        0 => Does::Busy(503, "Fri, 31 Dec 9999 23:59:59 GMT"),
        _ => Does::Answers(200),
    });
    world.net.at("b.test", |_, number| match number {
        0 => Does::Busy(500, "600"),
        1 => Does::Busy(503, "soon"),
        _ => Does::Answers(200),
    });
    world.hand_in("paid", 1).await;
    seconds(4_000).await;
    assert_eq!(world.net.times_at("a.test"), [0, HOUR_MS]);
    assert_eq!(world.net.times_at("b.test"), [0, 5_000, 35_000]);
}

#[tokio::test(start_paused = true)]
async fn where_the_policy_does_not_listen_the_header_means_nothing() {
    let world = World::running().await;
    world.webhook("http://a.test/", "paid").await;
    world.net.at("a.test", |_, number| match number {
        0 => Does::Busy(503, "600"),
        _ => Does::Answers(200),
    });
    world.hand_in("paid", 1).await;
    seconds(600).await;
    assert_eq!(world.net.times_at("a.test"), [0, 5_000]);
}

#[tokio::test(start_paused = true)]
async fn a_pause_survives_a_restart() {
    let mut world = listening().await;
    world.webhook("http://a.test/", "paid").await;
    world.net.at("a.test", |_, number| match number {
        0 => Does::Busy(503, "600"),
        _ => Does::Answers(200),
    });
    world.hand_in("paid", 1).await;
    seconds(1).await;
    world.kill();
    world.hand_in("paid", 5).await;
    world.start();
    seconds(60).await;
    world.hand_in("paid", 5).await;
    seconds(530).await;
    assert_eq!(world.net.calls().len(), 1);
    seconds(20).await;
    let times = world.net.times_at("a.test");
    assert_eq!(times.len(), 12);
    assert!(times[1..].iter().all(|at| *at == 600_000), "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn a_pause_ends_with_the_target_that_wished_it_and_with_nothing_else() {
    let world = listening().await;
    let webhook = world.webhook("http://a.test/", "paid").await;
    world.net.at("a.test", |_, _| Does::Busy(503, "600"));
    let ids = world.hand_in("paid", 1).await;
    seconds(10).await;
    let change = |webhook: &mut model::webhook::Webhook| webhook.settings = "[]".to_owned();
    world.change(webhook, change).await;
    send_again(&world, webhook, ReplayScope::One(id(ids[0], webhook))).await;
    world.hand_in("paid", 3).await;
    seconds(10).await;
    assert_eq!(world.net.calls().len(), 1);
    let change = |webhook: &mut model::webhook::Webhook| {
        webhook.target_url = "http://b.test/".to_owned();
    };
    world.change(webhook, change).await;
    seconds(1).await;
    assert_eq!(world.net.calls_at("b.test").len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_webhook_gets_the_retries_it_asks_for_and_a_fresh_budget_when_sent_again() {
    let world = World::running().await;
    let webhook = world.webhook("http://a.test/", "paid").await;
    world
        .change(webhook, |webhook| webhook.retries_max = Some(2))
        .await;
    world.net.at("a.test", |_, _| Does::Answers(500));
    let ids = world.hand_in("paid", 1).await;
    seconds(80 * 3_600).await;
    assert_eq!(world.net.times_at("a.test"), [0, 5_000, 35_000]);
    assert_eq!(world.state(ids[0], webhook).await, DeliveryState::Failed);
    let began_at = world.clock.now();
    for _ in 0..3 {
        send_again(&world, webhook, ReplayScope::Failed { began_at }).await;
    }
    seconds(80 * 3_600).await;
    assert_eq!(world.net.calls().len(), 6);
}

#[tokio::test(start_paused = true)]
async fn a_delivery_keeps_its_dedupe_key_and_no_other_has_it() {
    let mut world = World::new().await;
    world.policy.dedupe_header = Some("X-Dedupe".to_owned());
    world.start();
    let webhook = world.webhook("http://a.test/", "paid").await;
    world
        .change(webhook, |webhook| {
            webhook.retries_max = Some(1);
            webhook.headers = Headers::from_pairs([("X-Nonce", b"secret".as_slice())]);
        })
        .await;
    world.webhook("http://b.test/", "paid").await;
    world.net.at("a.test", |_, _| Does::Answers(500));
    let ids = world.hand_in("paid", 2).await;
    seconds(60).await;
    let began_at = world.clock.now();
    send_again(&world, webhook, ReplayScope::Failed { began_at }).await;
    seconds(60).await;
    let keys_at = |host, body: &str| {
        let calls = world.net.calls_at(host).into_iter();
        let keys = calls
            .filter(|call| call.body == body)
            .map(|call| call.headers["x-dedupe"].to_str().unwrap().to_owned());
        keys.collect::<Vec<_>>()
    };
    let (first, second) = (keys_at("a.test", "0"), keys_at("a.test", "1"));
    assert_eq!((first.len(), second.len()), (4, 4));
    let different: BTreeSet<String> = first.into_iter().chain(second).collect();
    assert_eq!(different.len(), 2);
    let others: BTreeSet<String> = keys_at("b.test", "0").into_iter().collect();
    assert!(others.is_disjoint(&different));
    for call in world.net.calls_at("a.test") {
        assert_eq!(call.headers["x-nonce"], "secret");
    }
    // What is written down is the same for all, and has no secret.
    let story = world.story(ids[0], webhook).await;
    for past in &story.attempts {
        let headers = &past.attempt.request_headers;
        assert_eq!(headers.get("x-dedupe"), None);
        assert_eq!(headers.get("x-nonce"), Some(b"***".as_slice()));
    }
}
