//! Webhooks whose receivers are asked whether they agree before they are called.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use http::Method;
use model::attempt::{FailureKind, Outcome};
use model::call_limits::{CallBounds, CallLimits, CallRate};
use model::cloud_event::{CloudEventChoice, CloudEventMode};
use model::handshake::HandshakeVerdict;

use super::world::Call;
use super::*;

const ORIGIN: &str = "tickets.example.org";

/// An agreement to any number of calls.
const YES: Does = Does::Says(200, &[("WebHook-Allowed-Origin", "Tickets.Example.org")]);

/// One to 30 calls a minute.
const SLOWLY: Does = Does::Says(
    204,
    &[
        ("WebHook-Allowed-Origin", "*"),
        ("WebHook-Allowed-Rate", "30"),
    ],
);

/// A world whose server has this name, and a webhook whose receiver has to agree.
async fn world(origin: Option<&str>) -> (World, WebhookId) {
    let mut world = World::new().await;
    world.policy.bounds = Arc::new(CallBounds {
        origin: origin.map(str::to_owned),
        ..CallBounds::default()
    });
    world.start();
    let webhook = world.webhook("http://a.test/hook?key=1", "paid").await;
    choose(&world, webhook, true).await;
    (world, webhook)
}

async fn choose(world: &World, webhook: WebhookId, handshake: bool) {
    let choice = Some(CloudEventChoice {
        mode: CloudEventMode::Binary,
        handshake,
    });
    let (actor, at) = ("test".to_owned(), world.clock.now());
    let tenant = world.tenant;
    let store = &world.store;
    let chosen = store.set_cloud_events(tenant, webhook, choice, actor, at);
    chosen.await.unwrap();
}

async fn limit(world: &World, webhook: WebhookId, rate: &str) {
    let limits = CallLimits {
        calls_per_second: CallRate::parse(rate),
        ..CallLimits::default()
    };
    let (actor, at) = ("test".to_owned(), world.clock.now());
    let store = &world.store;
    let set = store.set_call_limits(world.tenant, webhook, limits, actor, at);
    set.await.unwrap();
}

/// The receiver answers questions and calls differently.
fn receives(world: &World, question: Does, call: Does) {
    world.net.at("a.test", move |asked, _| {
        match asked.method == Method::OPTIONS {
            true => question,
            false => call,
        }
    });
}

/// Questions, and calls.
fn counts(world: &World) -> (usize, usize) {
    let calls = world.net.calls_at("a.test");
    let is_question = |call: &&Call| call.method == Method::OPTIONS;
    let questions = calls.iter().filter(is_question).count();
    (questions, calls.len() - questions)
}

async fn verdict(world: &World, webhook: WebhookId) -> Option<HandshakeVerdict> {
    let events = world.store.cloud_events(world.tenant, webhook).await;
    let handshake = events.unwrap().unwrap().handshake.unwrap();
    handshake.answer.map(|answer| answer.verdict)
}

#[tokio::test(start_paused = true)]
async fn a_receiver_is_asked_once_and_called_by_the_same_attempt_when_it_agrees() {
    let (world, webhook) = world(Some(ORIGIN)).await;
    receives(&world, YES, Does::Answers(200));
    let ids = world.hand_in("paid", 5).await;
    seconds(1).await;
    assert_eq!(counts(&world), (1, 5));
    let calls = world.net.calls_at("a.test");
    let (question, call) = (&calls[0], &calls[1]);
    assert_eq!(question.method, Method::OPTIONS);
    assert_eq!((&*question.path, &*question.body), ("/hook", ""));
    assert_eq!(question.headers["webhook-request-origin"], ORIGIN);
    for absent in ["webhook-request-rate", "content-type", "content-length"] {
        assert!(!question.headers.contains_key(absent), "{absent}");
    }
    assert!(
        !question
            .headers
            .keys()
            .any(|name| name.as_str().starts_with("ce-"))
    );
    assert_eq!(call.headers["webhook-request-origin"], ORIGIN);
    assert_eq!(call.headers["ce-specversion"], "1.0");
    for id in ids {
        let story = world.story(id, webhook).await;
        assert_eq!(story.row.state, DeliveryState::Delivered);
        assert_eq!(story.attempts.len(), 1);
    }
    let granted = HandshakeVerdict::Granted { per_minute: None };
    assert_eq!(verdict(&world, webhook).await, Some(granted));
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_does_not_agree_is_sent_nothing_and_each_attempt_says_why() {
    for (question, part) in [
        (Does::Answers(405), "with 405"),
        (Does::Answers(200), "without WebHook-Allowed-Origin"),
        (
            Does::Says(200, &[("WebHook-Allowed-Origin", "other.example")]),
            "is \"other.example\"",
        ),
        (Does::Hangs, "got no answer"),
    ] {
        let (world, webhook) = world(Some(ORIGIN)).await;
        receives(&world, question, Does::Answers(200));
        let ids = world.hand_in("paid", 1).await;
        seconds(40).await;
        let (questions, calls) = counts(&world);
        assert!(questions >= 1, "{part}");
        assert_eq!(calls, 0, "{part}");
        let story = world.story(ids[0], webhook).await;
        assert_eq!(story.row.state, DeliveryState::Pending);
        let attempt = &story.attempts[0].attempt;
        let Outcome::Failed(failure) = &attempt.outcome else {
            panic!("{:?}", attempt.outcome);
        };
        assert_eq!(failure.kind, FailureKind::Handshake);
        assert!(failure.detail.contains(part), "{}", failure.detail);
        // What was sent is the question.
        assert_eq!(
            attempt.request_headers.get("webhook-request-origin"),
            Some(ORIGIN.as_bytes())
        );
        assert!(attempt.request_headers.get("ce-id").is_none());
        assert!(attempt.request_headers.get("content-type").is_none());
        let refused = verdict(&world, webhook).await;
        assert!(matches!(refused, Some(HandshakeVerdict::Refused { .. })));
    }
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_an_agreement_is_tried_on_its_schedule_and_ends() {
    let (world, webhook) = world(Some(ORIGIN)).await;
    receives(&world, Does::Answers(405), Does::Answers(200));
    let ids = world.hand_in("paid", 1).await;
    seconds(100).await;
    assert_eq!(world.net.times_at("a.test"), [0, 5_000, 35_000, 95_000]);
    seconds(80 * 3_600).await;
    assert_eq!(world.state(ids[0], webhook).await, DeliveryState::Failed);
    assert_eq!(counts(&world), (13, 0));
}

#[tokio::test(start_paused = true)]
async fn a_webhook_asks_one_question_at_a_time_however_much_waits() {
    let (world, _) = world(Some(ORIGIN)).await;
    world.net.at("a.test", |_, _| {
        Does::AnswersAfter(405, Duration::from_secs(2))
    });
    world.hand_in("paid", 20).await;
    seconds(30).await;
    assert_eq!(world.net.most_at_once("a.test"), 1);
    assert!(counts(&world).0 >= 10);
}

#[tokio::test(start_paused = true)]
async fn an_agreement_comes_later_and_everything_goes_then() {
    let (world, webhook) = world(Some(ORIGIN)).await;
    let status = Arc::new(AtomicU16::new(405));
    let answer = Arc::clone(&status);
    world.net.at("a.test", move |asked, _| {
        match asked.method == Method::OPTIONS && answer.load(Ordering::Relaxed) == 405 {
            true => Does::Answers(405),
            false => YES,
        }
    });
    let ids = world.hand_in("paid", 3).await;
    seconds(10).await;
    assert_eq!(counts(&world).1, 0);
    status.store(200, Ordering::Relaxed);
    seconds(120).await;
    for id in ids {
        assert_eq!(world.state(id, webhook).await, DeliveryState::Delivered);
    }
}

#[tokio::test(start_paused = true)]
async fn the_smaller_of_both_rates_holds_and_the_own_one_is_what_is_asked_for() {
    for (own, wanted, interval_ms) in [(None, None, 2_000), (Some("0.2"), Some("12"), 5_000)] {
        let (world, webhook) = world(Some(ORIGIN)).await;
        if let Some(own) = own {
            limit(&world, webhook, own).await;
        }
        receives(&world, SLOWLY, Does::Answers(200));
        world.hand_in("paid", 4).await;
        seconds(30).await;
        assert_eq!(counts(&world), (1, 4));
        let asked = &world.net.calls_at("a.test")[0].headers;
        let asked = asked.get("webhook-request-rate");
        assert_eq!(asked.map(|rate| rate.to_str().unwrap()), wanted);
        let times = &world.net.times_at("a.test")[1..];
        let steps: Vec<i64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert_eq!(steps, [interval_ms; 3]);
    }
}

#[tokio::test(start_paused = true)]
async fn another_url_and_another_choice_are_asked_for_again_and_nothing_else_is() {
    let (mut world, webhook) = world(Some(ORIGIN)).await;
    receives(&world, YES, Does::Answers(200));
    let mut sent = 0;
    let mut asked = 1;
    for step in 0..5 {
        match step {
            1 => {
                let retries = |webhook: &mut model::webhook::Webhook| webhook.retries_max = Some(3);
                world.change(webhook, retries).await;
            }
            2 => {
                let moved = |webhook: &mut model::webhook::Webhook| {
                    webhook.target_url = "http://a.test/hook?key=2".to_owned();
                };
                world.change(webhook, moved).await;
                asked += 1;
            }
            3 => {
                choose(&world, webhook, false).await;
                seconds(1).await;
                choose(&world, webhook, true).await;
                asked += 1;
            }
            4 => {
                world.stop(Duration::from_secs(5)).await;
                world.start();
            }
            _ => {}
        }
        world.hand_in("paid", 2).await;
        sent += 2;
        seconds(5).await;
        assert_eq!(counts(&world), (asked, sent), "step {step}");
    }
    // Nor does a server with another name have it.
    world.stop(Duration::from_secs(5)).await;
    world.policy.bounds = Arc::new(CallBounds {
        origin: Some("other.example".to_owned()),
        ..CallBounds::default()
    });
    world.start();
    let ids = world.hand_in("paid", 1).await;
    seconds(1).await;
    assert_eq!(counts(&world), (asked + 1, sent));
    assert_eq!(world.state(ids[0], webhook).await, DeliveryState::Pending);
}

#[tokio::test(start_paused = true)]
async fn an_agreement_that_was_not_written_is_asked_for_again() {
    let (mut world, _) = world(Some(ORIGIN)).await;
    receives(&world, YES, Does::AnswersAfter(200, Duration::from_secs(3)));
    world.hand_in("paid", 1).await;
    seconds(1).await;
    assert_eq!(counts(&world), (1, 1));
    world.kill();
    world.start();
    seconds(60).await;
    assert_eq!(counts(&world), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn a_server_without_a_name_asks_nobody_and_says_what_is_missing() {
    let (world, webhook) = world(None).await;
    let ids = world.hand_in("paid", 1).await;
    seconds(1).await;
    assert_eq!(counts(&world), (0, 0));
    let story = world.story(ids[0], webhook).await;
    let words = story.attempts[0].attempt.outcome.words();
    assert!(words.contains("allowed_hosts"), "{words}");
    assert_eq!(verdict(&world, webhook).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_question_and_its_call_share_one_deadline_and_one_connection() {
    let (world, webhook) = world(Some(ORIGIN)).await;
    world
        .net
        .at("a.test", |asked, _| match asked.method == Method::OPTIONS {
            true => YES,
            false => Does::Hangs,
        });
    let ids = world.hand_in("paid", 1).await;
    seconds(31).await;
    let story = world.story(ids[0], webhook).await;
    let attempt = &story.attempts[0].attempt;
    assert_eq!(attempt.duration_ms, 30_000);
    assert_eq!(world.net.connections(), 1);
    // That it did not answer the call does not take back what it agreed to.
    seconds(40).await;
    assert_eq!(counts(&world).0, 1);
}

#[tokio::test(start_paused = true)]
async fn a_webhook_without_a_handshake_asks_nothing_and_says_no_origin() {
    let (world, webhook) = world(Some(ORIGIN)).await;
    choose(&world, webhook, false).await;
    world.hand_in("paid", 2).await;
    seconds(1).await;
    assert_eq!(counts(&world), (0, 2));
    let calls = world.net.calls_at("a.test");
    assert!(
        calls
            .iter()
            .all(|call| !call.headers.contains_key("webhook-request-origin"))
    );
}
