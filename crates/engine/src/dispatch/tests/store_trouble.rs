//! The store refuses, forgets to answer, or keeps its news to itself; a part of the engine falls
//! over.

use std::sync::Arc;
use std::time::Duration;

use model::contract::{DiskFault, StoreError};
use model::delivery::DeliveryState;

use super::id;
use super::world::{Does, World, seconds};
use crate::transport::{Deadline, Dial, DialFuture, Endpoint, LookupContext};

/// Every notification was sent once to this host.
fn assert_once(world: &World, host: &str, count: usize) {
    let mut bodies: Vec<_> = world
        .net
        .calls_at(host)
        .into_iter()
        .map(|call| call.body)
        .collect();
    bodies.sort();
    bodies.dedup();
    assert_eq!(bodies.len(), count);
    assert_eq!(world.net.calls_at(host).len(), count);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_refuses_outcomes_loses_nothing_and_nothing_is_sent_twice() {
    for refusal in [
        StoreError::Disk(DiskFault::Full),
        StoreError::Busy,
        StoreError::Unknown,
    ] {
        let world = World::running().await;
        let webhook = world.webhook("http://a.test/", "paid").await;
        seconds(1).await;
        world.store.plan(|plan| plan.settle = Some(refusal.clone()));
        let ids = world.hand_in("paid", 1_000).await;
        seconds(120).await;
        let sent = world.net.calls().len();
        // No more than what may be in the air and unwritten.
        assert!(sent <= world.settings.max_in_flight + 512, "{sent}");
        let words = world.health().unwrap_err();
        assert_eq!(
            words,
            format!("the store refuses outcomes of attempts for 120 s: {refusal}")
        );
        world.store.plan(|plan| plan.settle = None);
        seconds(60).await;
        assert_eq!(world.health(), Ok(()));
        assert_once(&world, "a.test", 1_000);
        for notification in ids {
            let story = world.story(notification, webhook).await;
            assert_eq!(
                (story.row.state, story.attempts.len()),
                (DeliveryState::Delivered, 1)
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn outcomes_whose_answer_was_lost_are_written_down_once() {
    let world = World::running().await;
    let webhook = world.webhook("http://a.test/", "paid").await;
    world.net.at("a.test", |_, number| {
        Does::Answers(if number == 0 { 500 } else { 200 })
    });
    world
        .store
        .plan(|plan| plan.settle_lost = Some(StoreError::Unknown));
    let ids = world.hand_in("paid", 1).await;
    seconds(20).await;
    // It is written that a retry is due, but the engine cannot know.
    assert_eq!(world.net.times_at("a.test"), [0]);
    world.store.plan(|plan| plan.settle_lost = None);
    seconds(60).await;
    assert_eq!(world.net.calls().len(), 2);
    let story = world.story(ids[0], webhook).await;
    assert_eq!(
        (story.row.state, story.row.attempts),
        (DeliveryState::Delivered, 2)
    );
    assert_eq!(story.attempts.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn one_outcome_that_the_store_chokes_on_does_not_keep_back_the_others() {
    let world = World::running().await;
    let webhook = world.webhook("http://a.test/", "paid").await;
    seconds(1).await;
    world
        .store
        .plan(|plan| plan.settle = Some(StoreError::Disk(DiskFault::Full)));
    let ids = world.hand_in("paid", 100).await;
    seconds(1).await;
    world.store.plan(|plan| {
        plan.settle = None;
        plan.settle_chokes_on = Some(id(ids[50], webhook));
    });
    seconds(120).await;
    for (number, notification) in ids.iter().enumerate() {
        let ended = world.state(*notification, webhook).await == DeliveryState::Delivered;
        assert_eq!(ended, number != 50, "{number}");
    }
    assert!(world.health().is_err());
    world.store.plan(|plan| plan.settle_chokes_on = None);
    seconds(5).await;
    assert_eq!(
        world.state(ids[50], webhook).await,
        DeliveryState::Delivered
    );
    assert_once(&world, "a.test", 100);
}

#[tokio::test(start_paused = true)]
async fn one_webhook_that_cannot_be_read_does_not_keep_back_the_others() {
    // So few that one read asks for all, again and again; and more than that.
    for others in [2, 20] {
        let mut world = World::new().await;
        let bad = world.webhook("http://bad.test/", "paid").await;
        for number in 0..others {
            world
                .webhook(&format!("http://r{number}.test/"), "paid")
                .await;
        }
        world.hand_in("paid", 5).await;
        world.store.plan(|plan| plan.due_chokes_on = Some(bad));
        world.start();
        seconds(120).await;
        assert!(world.net.calls_at("bad.test").is_empty());
        assert_eq!(world.net.calls().len(), 5 * others);
        assert!(world.health().unwrap_err().contains("reading what is due"));
        world.store.plan(|plan| plan.due_chokes_on = None);
        seconds(5).await;
        assert_once(&world, "bad.test", 5);
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_store_could_not_tell_is_found_within_a_minute() {
    let world = World::running().await;
    world.webhook("http://a.test/", "paid").await;
    seconds(1).await;
    world.store.set_deaf(true);
    world.hand_in("paid", 5).await;
    world.store.set_deaf(false);
    seconds(61).await;
    assert_once(&world, "a.test", 5);
}

#[tokio::test(start_paused = true)]
async fn what_another_process_changed_is_taken_in() {
    let world = World::running().await;
    let disabled = world.webhook("http://disabled.test/", "paid").await;
    let moved = world.webhook("http://old.test/", "paid").await;
    for host in ["disabled.test", "old.test"] {
        world.net.at(host, |_, _| Does::Answers(500));
    }
    world.hand_in("paid", 1).await;
    seconds(1).await;
    world.store.set_deaf(true);
    world.disable(disabled).await;
    let to_new = |webhook: &mut model::webhook::Webhook| {
        webhook.target_url = "http://new.test/".to_owned();
    };
    world.change(moved, to_new).await;
    world.webhook("http://added.test/", "placed").await;
    world.hand_in("placed", 1).await;
    world.store.set_deaf(false);
    world.store.change_elsewhere();
    seconds(1).await;
    assert_eq!(world.net.calls_at("added.test").len(), 1);
    seconds(3_600).await;
    assert_eq!(world.net.calls_at("disabled.test").len(), 1);
    assert_eq!(world.net.calls_at("old.test").len(), 1);
    assert_eq!(world.net.calls_at("new.test").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn stopping_with_a_store_that_refuses_ends_and_says_what_is_unwritten() {
    let mut world = World::running().await;
    let webhook = world.webhook("http://a.test/", "paid").await;
    world
        .store
        .plan(|plan| plan.settle = Some(StoreError::Disk(DiskFault::Full)));
    let ids = world.hand_in("paid", 3).await;
    seconds(1).await;
    let began = tokio::time::Instant::now();
    let stopped = world.stop(Duration::from_secs(5)).await;
    assert_eq!(began.elapsed(), Duration::from_secs(10));
    assert_eq!(
        (stopped.attempts_dropped, stopped.outcomes_unwritten),
        (0, 3)
    );
    // They are owed still, so the next start sends them again: at least once, not at most once.
    world.store.plan(|plan| plan.settle = None);
    world.start();
    seconds(1).await;
    assert_eq!(world.net.calls().len(), 6);
    assert_eq!(world.state(ids[0], webhook).await, DeliveryState::Delivered);
}

#[tokio::test(start_paused = true)]
async fn a_panic_anywhere_is_known_outside() {
    struct Panics;
    impl Dial for Panics {
        fn dial<'a>(
            &'a self,
            endpoint: &'a Endpoint,
            _: LookupContext,
            _: Deadline,
        ) -> DialFuture<'a> {
            panic!("on purpose, for {}", endpoint.host);
        }
    }
    let mut world = World::new().await;
    world.start_with(Arc::new(Panics));
    let failed = world.engine.as_ref().unwrap().failed();
    world.webhook("http://a.test/", "paid").await;
    world.hand_in("paid", 1).await;
    assert_eq!(failed.await, "the delivery loop");
    let words = world.health().unwrap_err();
    assert_eq!(
        words,
        "the delivery loop fell over; Willcall must be restarted"
    );
    assert!(world.stop(Duration::from_secs(1)).await.fell_over);
    // The delivery is owed still.
    world.start();
    seconds(1).await;
    assert_eq!(world.net.calls().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_others_accepted_is_looked_for_again_if_the_store_refused_the_first_look() {
    let world = World::running().await;
    world.webhook("http://a.test/", "paid").await;
    seconds(1).await;
    // As another process does it.
    world.store.set_deaf(true);
    world.hand_in("paid", 1).await;
    let away = StoreError::Disk(DiskFault::NoDatabase);
    world.store.plan(|plan| plan.scan = Some(away));
    world.store.change_elsewhere();
    seconds(3).await;
    assert!(world.health().is_err());
    assert!(world.net.calls().is_empty());
    world.store.plan(|plan| plan.scan = None);
    seconds(3).await;
    assert_once(&world, "a.test", 1);
    assert_eq!(world.health(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_a_store_that_refuses_outcomes_no_longer_than_it_takes_to_restart_one() {
    for (attempts_last, stop_lasts) in [(1, 10), (20, 25)] {
        let mut world = World::running().await;
        world.webhook("http://a.test/", "paid").await;
        let slow = Does::AnswersAfter(200, Duration::from_secs(attempts_last));
        world.net.at("a.test", move |_, _| slow);
        world
            .store
            .plan(|plan| plan.settle = Some(StoreError::Unknown));
        world.hand_in("paid", 1).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
        let began = tokio::time::Instant::now();
        let stopped = world.stop(Duration::from_secs(30)).await;
        let took = began.elapsed().as_secs();
        assert!(took.abs_diff(stop_lasts) <= 1, "{attempts_last}: {took}");
        let left = (stopped.attempts_dropped, stopped.outcomes_unwritten);
        assert_eq!(left, (0, 1), "{attempts_last}");
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_beginning_though_something_is_due_is_said() {
    let mut world = World::new().await;
    world.settings.max_in_flight = 1;
    world.policy.exchange_limit_ms = 600_000;
    world.start();
    world.net.at("hangs.test", |_, _| Does::Hangs);
    world.webhook("http://hangs.test/", "paid").await;
    world.hand_in("paid", 1).await;
    seconds(100).await;
    // Nothing waits, so nothing is wrong.
    assert_eq!(world.health(), Ok(()));
    world.webhook("http://a.test/", "placed").await;
    world.hand_in("placed", 1).await;
    seconds(55).await;
    assert_eq!(world.health(), Ok(()));
    seconds(15).await;
    let words = world.health().unwrap_err();
    assert!(
        words.starts_with("deliveries are due, but no attempt has begun for ")
            && words.ends_with(" s, with 1 in flight and 0 outcomes unwritten"),
        "{words}"
    );
    seconds(600).await;
    assert_eq!(world.health(), Ok(()));
    assert_once(&world, "a.test", 1);
}

#[tokio::test(start_paused = true)]
async fn receivers_that_fail_or_ask_to_be_left_alone_are_no_trouble_of_ours() {
    let mut world = World::new().await;
    world.policy.retry_after_max_ms = Some(3_600_000);
    world.start();
    for host in ["fails.test", "busy.test", "hangs.test"] {
        world.webhook(&format!("http://{host}/"), "paid").await;
    }
    world.net.at("fails.test", |_, _| Does::Answers(500));
    world.net.at("busy.test", |_, _| Does::Busy(503, "3600"));
    world.net.at("hangs.test", |_, _| Does::Hangs);
    world.hand_in("paid", 100).await;
    for _ in 0..200 {
        seconds(60).await;
        assert_eq!(world.health(), Ok(()));
    }
}
