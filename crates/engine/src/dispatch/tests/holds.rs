//! Webhooks that somebody paused: nothing is sent, nothing is lost, no schedule goes on.

use model::call_limits::CallRate;
use model::contract::{Catalog as _, ReplayScope};
use model::delivery::DeliveryState;
use model::hold::HoldChange;
use model::id::WebhookId;
use model::limits::LANE_BUFFERED_MAX;

use super::world::{Does, HOUR_MS, World, seconds};
use super::{id, send_again};

const PLAIN: HoldChange = HoldChange::Resume { drain: None };

async fn set(world: &World, webhook: WebhookId, change: HoldChange) {
    let now = world.clock.now();
    let actor = "anna".to_owned();
    let changed = world
        .store
        .change_hold(world.tenant, webhook, change, actor, now);
    changed.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_paused_webhook_is_sent_nothing_and_gets_all_of_it_when_it_is_resumed() {
    let world = World::running().await;
    let webhook = world.webhook("http://a.test/", "paid").await;
    world.webhook("http://b.test/", "paid").await;
    world.net.at("a.test", |_, _| Does::Answers(200));
    world.net.at("b.test", |_, _| Does::Answers(200));
    set(&world, webhook, HoldChange::Pause).await;
    // More than a lane holds in memory.
    let count = 2 * LANE_BUFFERED_MAX;
    let ids = world.hand_in("paid", count).await;
    seconds(100 * 3_600).await;
    assert_eq!(world.net.calls_at("a.test").len(), 0);
    assert_eq!(world.net.calls_at("b.test").len(), count);
    assert!(world.health().is_ok(), "{:?}", world.health());
    set(&world, webhook, PLAIN).await;
    seconds(60).await;
    assert_eq!(world.net.calls_at("a.test").len(), count);
    assert_eq!(world.state(ids[0], webhook).await, DeliveryState::Delivered);
}

#[tokio::test(start_paused = true)]
async fn a_pause_holds_after_a_restart_and_against_whoever_asks_for_one_delivery() {
    let mut world = World::running().await;
    let webhook = world.webhook("http://a.test/", "paid").await;
    world.net.at("a.test", |_, _| Does::Answers(200));
    set(&world, webhook, HoldChange::Pause).await;
    let ids = world.hand_in("paid", 2).await;
    seconds(10).await;
    world.kill();
    world.start();
    seconds(10).await;
    let one = ReplayScope::One(id(ids[1], webhook));
    send_again(&world, webhook, one).await;
    seconds(10).await;
    assert_eq!(world.net.calls_at("a.test").len(), 0);
    set(&world, webhook, PLAIN).await;
    seconds(10).await;
    assert_eq!(world.net.calls_at("a.test").len(), 2);
}

#[tokio::test(start_paused = true)]
async fn no_schedule_runs_out_while_its_webhook_is_paused() {
    let world = World::running().await;
    let webhook = world.webhook("http://a.test/", "paid").await;
    world.net.at("a.test", |_, _| Does::Answers(500));
    let ids = world.hand_in("paid", 1).await;
    seconds(3_600).await;
    let before = world.net.calls_at("a.test").len();
    set(&world, webhook, HoldChange::Pause).await;
    // Longer than the whole schedule.
    seconds(100 * 3_600).await;
    assert_eq!(world.net.calls_at("a.test").len(), before);
    set(&world, webhook, PLAIN).await;
    seconds(60).await;
    assert_eq!(world.net.calls_at("a.test").len(), before + 1);
    assert_eq!(world.state(ids[0], webhook).await, DeliveryState::Pending);
    // It has as long as it had: the final attempt is 72 hours and the pause after the first.
    seconds(70 * 3_600).await;
    assert_eq!(world.state(ids[0], webhook).await, DeliveryState::Pending);
    seconds(4 * 3_600).await;
    assert_eq!(world.state(ids[0], webhook).await, DeliveryState::Failed);
    let last = *world.net.times_at("a.test").last().unwrap();
    assert!((172 * HOUR_MS..173 * HOUR_MS).contains(&last), "{last}");
}

#[tokio::test(start_paused = true)]
async fn what_has_waited_is_sent_at_the_rate_that_was_chosen_and_the_rest_as_ever() {
    let world = World::running().await;
    let webhook = world.webhook("http://a.test/", "paid").await;
    world.net.at("a.test", |_, _| Does::Answers(200));
    set(&world, webhook, HoldChange::Pause).await;
    world.hand_in("paid", 10).await;
    seconds(10).await;
    let drain = CallRate::of_micros(1_000_000);
    set(&world, webhook, HoldChange::Resume { drain }).await;
    seconds(5).await;
    let sent = world.net.calls_at("a.test").len();
    assert!((5..=6).contains(&sent), "{sent}");
    seconds(10).await;
    assert_eq!(world.net.calls_at("a.test").len(), 10);
    world.hand_in("paid", 1).await;
    seconds(2).await;
    world.hand_in("paid", 20).await;
    seconds(1).await;
    assert_eq!(world.net.calls_at("a.test").len(), 31);
}
