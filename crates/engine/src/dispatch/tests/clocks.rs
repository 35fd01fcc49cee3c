//! Clocks that are set, machines that are off, a store that takes nothing: what waits goes on, and
//! nothing is given up or removed because of it.

use std::time::Duration;

use model::contract::{
    Catalog as _, DiskFault, Intake as _, ReplayResult, ReplayScope, StoreError,
};
use model::delivery::DeliveryState;
use model::id::{NotificationId, WebhookId};
use model::notification::AcceptResult;

use super::world::{Does, HOUR_MS, World, seconds};
use super::{id, send_again};

const DAY_MS: i64 = 24 * HOUR_MS;

/// A world with a receiver that fails until `heal`, and what it is owed.
async fn failing(count: usize) -> (World, WebhookId, Vec<NotificationId>) {
    let world = World::running().await;
    let webhook = world.webhook("http://a.test/", "paid").await;
    world.net.at("a.test", |_, _| Does::Answers(500));
    let ids = world.hand_in("paid", count).await;
    (world, webhook, ids)
}

fn heal(world: &World) {
    world.net.at("a.test", |_, _| Does::Answers(200));
}

async fn states(world: &World, webhook: WebhookId, ids: &[NotificationId]) -> Vec<DeliveryState> {
    let mut states = Vec::new();
    for id in ids {
        states.push(world.state(*id, webhook).await);
    }
    states
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_moves_no_retry() {
    for step_ms in [
        4 * DAY_MS,
        -4 * DAY_MS,
        40 * DAY_MS,
        HOUR_MS,
        2_000,
        -2_000,
        -500,
    ] {
        let (world, _, _) = failing(1).await;
        // Four attempts are made, and the fifth is due five minutes after the fourth.
        seconds(100).await;
        world.set_clock(step_ms);
        seconds(290).await;
        assert_eq!(world.net.calls().len(), 4, "{step_ms}");
        seconds(40).await;
        assert_eq!(world.net.calls().len(), 5, "{step_ms}");
        assert_eq!(world.health(), Ok(()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_ahead_for_a_moment_exhausts_nothing() {
    for step_ms in [4 * DAY_MS, 400 * DAY_MS] {
        let (world, webhook, ids) = failing(3).await;
        seconds(30).await;
        world.set_clock(step_ms);
        seconds(15).await;
        world.set_clock(0);
        seconds(3_600).await;
        assert_eq!(
            states(&world, webhook, &ids).await,
            [DeliveryState::Pending; 3]
        );
        heal(&world);
        seconds(2 * 3_600).await;
        assert_eq!(
            states(&world, webhook, &ids).await,
            [DeliveryState::Delivered; 3]
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_jumps_all_the_time_changes_nothing() {
    let (world, webhook, ids) = failing(1).await;
    for minute in 0..30 {
        world.set_clock(if minute % 2 == 0 {
            40 * DAY_MS
        } else {
            -DAY_MS
        });
        seconds(60).await;
    }
    assert_eq!(world.net.calls().len(), 6);
    assert_eq!(
        states(&world, webhook, &ids).await,
        [DeliveryState::Pending]
    );
}

#[tokio::test(start_paused = true)]
async fn after_a_jump_ahead_is_set_right_everything_goes_on_at_once() {
    for step_ms in [HOUR_MS, 40 * DAY_MS] {
        let world = World::running().await;
        let webhook = world.webhook("http://a.test/", "paid").await;
        world.set_clock(step_ms);
        seconds(2).await;
        world.hand_in("paid", 1).await;
        seconds(15).await;
        world.set_clock(0);
        let right = world.clock.now();
        world.net.at("a.test", |_, number| {
            Does::Answers(if number == 1 { 500 } else { 200 })
        });
        let ids = world.hand_in("paid", 1).await;
        seconds(7).await;
        let story = world.story(ids[0], webhook).await;
        assert_eq!(
            (story.row.state, story.row.attempts),
            (DeliveryState::Delivered, 2)
        );
        let times = [story.row.accepted_at, story.attempts[0].attempt.began_at];
        assert!(times.iter().all(|at| at.ms_since(right) <= 10), "{times:?}");
        let asked = send_again(&world, webhook, ReplayScope::One(id(ids[0], webhook))).await;
        assert!(matches!(asked, ReplayResult::Done { count: 1, .. }));
        seconds(1).await;
        assert_eq!(world.net.calls().len(), 4);
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_success_while_the_clock_was_ahead_retries_wait_as_long_as_ever() {
    for step_ms in [HOUR_MS, 40 * DAY_MS] {
        let mut world = World::running().await;
        world.webhook("http://a.test/", "paid").await;
        world.set_clock(step_ms);
        world.hand_in("paid", 1).await;
        seconds(1).await;
        world.kill();
        world.set_clock(0);
        world.start();
        world.net.at("a.test", |_, _| Does::Answers(500));
        world.hand_in("paid", 1).await;
        seconds(4).await;
        assert_eq!(world.net.calls().len(), 2, "{step_ms}");
        seconds(4).await;
        assert_eq!(world.net.calls().len(), 3, "{step_ms}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_during_which_the_process_stood_still_uses_up_its_place_in_the_schedule() {
    let world = World::running().await;
    world.webhook("http://a.test/", "paid").await;
    world.net.at("a.test", |_, number| match number {
        1 => Does::AnswersAfter(500, Duration::from_secs(4)),
        _ => Does::Answers(500),
    });
    world.hand_in("paid", 1).await;
    seconds(8).await;
    assert_eq!(world.net.calls().len(), 2);
    tokio::time::advance(Duration::from_secs(600)).await;
    seconds(25).await;
    assert_eq!(world.net.calls().len(), 2);
    seconds(15).await;
    assert_eq!(world.net.calls().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_for_before_a_jump_is_noticed_goes_at_once() {
    for step_ms in [40 * DAY_MS, -40 * DAY_MS] {
        let world = World::running().await;
        let webhook = world.webhook("http://a.test/", "paid").await;
        let ids = world.hand_in("paid", 1).await;
        seconds(30).await;
        world.set_clock(step_ms);
        send_again(&world, webhook, ReplayScope::One(id(ids[0], webhook))).await;
        world.hand_in("paid", 1).await;
        seconds(1).await;
        assert_eq!(world.net.calls().len(), 3, "{step_ms}");
    }
}

#[tokio::test(start_paused = true)]
async fn days_in_which_nothing_ran_use_up_no_schedule() {
    for clean in [true, false] {
        for away_ms in [HOUR_MS, 4 * DAY_MS, 20 * DAY_MS] {
            let (mut world, webhook, ids) = failing(5).await;
            seconds(100).await;
            let before = world.net.calls().len();
            match clean {
                true => drop(world.stop(Duration::from_secs(1)).await),
                false => world.kill(),
            }
            world.set_clock(away_ms);
            world.start();
            // The waits they were in go on: nothing is tried at once, and nothing is given up.
            seconds(250).await;
            assert_eq!(world.net.calls().len(), before);
            seconds(100).await;
            assert_eq!(world.net.calls().len(), before + 5);
            seconds(71 * 3_600).await;
            assert_eq!(
                states(&world, webhook, &ids).await,
                [DeliveryState::Pending; 5]
            );
            seconds(2 * 3_600).await;
            assert_eq!(
                states(&world, webhook, &ids).await,
                [DeliveryState::Failed; 5]
            );
            let story = world.story(ids[0], webhook).await;
            assert_eq!(story.row.attempts, 13);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_waits_is_told_in_the_time_of_the_wall() {
    let (mut world, webhook, ids) = failing(1).await;
    seconds(100).await;
    let due_at = |story: model::query::DeliveryDetail| story.row.due_at.unwrap();
    let before = due_at(world.story(ids[0], webhook).await).ms_since(world.clock.now());
    assert!((280_000..325_000).contains(&before), "{before}");
    world.set_clock(-DAY_MS);
    seconds(3).await;
    let then = due_at(world.story(ids[0], webhook).await).ms_since(world.clock.now());
    assert_eq!(then, before - 3_000);
    world.stop(Duration::from_secs(1)).await;
    world.set_clock(4 * DAY_MS);
    world.start();
    seconds(1).await;
    let after = due_at(world.story(ids[0], webhook).await).ms_since(world.clock.now());
    // What may have passed before the end counts.
    assert!((then - 12_000..then).contains(&after), "{after}");
}

#[tokio::test(start_paused = true)]
async fn what_was_written_under_a_wrong_clock_lies_no_further_off_after_a_restart() {
    let (mut world, _, _) = failing(1).await;
    seconds(1).await;
    world.kill();
    world.set_clock(40 * DAY_MS);
    world.start();
    seconds(50).await;
    world.hand_in("paid", 1).await;
    seconds(2).await;
    world.kill();
    world.set_clock(0);
    world.start();
    let before = world.net.calls().len();
    seconds(70).await;
    // Each has waited for a minute at most.
    assert!(world.net.calls().len() >= before + 2);
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_uses_up_no_schedule() {
    let (world, webhook, ids) = failing(3).await;
    seconds(100).await;
    let before = world.net.calls().len();
    world
        .store
        .plan(|plan| plan.settle = Some(StoreError::Disk(DiskFault::Full)));
    seconds(4 * 24 * 3_600).await;
    assert!(world.net.calls().len() <= before + 3);
    world.store.plan(|plan| plan.settle = None);
    seconds(3_600).await;
    assert_eq!(
        states(&world, webhook, &ids).await,
        [DeliveryState::Pending; 3]
    );
}

#[tokio::test(start_paused = true)]
async fn a_clock_far_ahead_removes_nothing_and_forgets_no_id() {
    for at_start in [true, false] {
        let mut world = World::running().await;
        let webhook = world.webhook("http://a.test/", "paid").await;
        let batch = world.batch(world.tenant, "paid", 1, |_| String::new());
        let ids = world.store.accept(batch.clone()).await.unwrap();
        let AcceptResult::Accepted { id: known, .. } = ids[0] else {
            panic!("{ids:?}")
        };
        seconds(20).await;
        if at_start {
            world.kill();
        }
        world.set_clock(40 * DAY_MS);
        if at_start {
            world.start();
        }
        // Something is removed every half hour, if anything is.
        seconds(50 * 60).await;
        world.set_clock(0);
        seconds(600).await;
        let again = world.store.accept(batch).await.unwrap();
        assert!(
            matches!(again[0], AcceptResult::Duplicate { .. }),
            "{again:?}"
        );
        assert_eq!(world.state(known, webhook).await, DeliveryState::Delivered);
        assert_eq!(world.net.calls().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_restart_makes_a_clock_that_is_far_ahead_no_more_trusted() {
    for clean in [true, false] {
        let mut world = World::running().await;
        world.webhook("http://a.test/", "paid").await;
        let batch = world.batch(world.tenant, "paid", 1, |_| String::new());
        world.store.accept(batch.clone()).await.unwrap();
        seconds(20).await;
        world.set_clock(40 * DAY_MS);
        for _ in 0..2 {
            seconds(60).await;
            match clean {
                true => drop(world.stop(Duration::from_secs(1)).await),
                false => world.kill(),
            }
            world.forget_clock();
            world.start();
        }
        seconds(50 * 60).await;
        let again = world.store.accept(batch).await.unwrap();
        assert!(
            matches!(again[0], AcceptResult::Duplicate { .. }),
            "{again:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_stays_where_it_was_set_is_believed_after_an_hour() {
    let world = World::running().await;
    let webhook = world.webhook("http://a.test/", "paid").await;
    let ids = world.hand_in("paid", 1).await;
    seconds(20).await;
    world.set_clock(40 * DAY_MS);
    seconds(3_590).await;
    let there = || world.store.delivery(world.tenant, id(ids[0], webhook));
    assert!(there().await.unwrap().is_some());
    // Within the half hour something is removed.
    seconds(1_900).await;
    assert!(there().await.unwrap().is_none());
}
