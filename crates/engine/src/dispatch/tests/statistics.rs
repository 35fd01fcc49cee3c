//! Attempts are counted, and what was counted is written down once a period.

use std::time::Duration;

use model::contract::{DashboardStore, StoreError};
use model::id::{TenantId, WebhookId};
use model::statistics::{AttemptClass, AttemptTally, StatisticsPeriod};

use super::faults::broken;
use super::world::{Does, World, seconds};

/// A period, and the moment in which the last attempts of it are counted.
async fn next_period() {
    seconds(300 + 6).await;
}

impl World {
    async fn counted_of(&self, tenant: TenantId, webhook: Option<WebhookId>) -> AttemptTally {
        let later = self.clock.now().plus_ms(300_000);
        let query = StatisticsPeriod::Day.query(tenant, webhook, later);
        let mut sum = AttemptTally::default();
        for step in self.store.statistics(query).await.unwrap() {
            sum.merge(&step);
        }
        sum
    }

    /// Delivered, rejected, without an answer, not sent.
    async fn counts(&self, webhook: Option<WebhookId>) -> [u64; 4] {
        let sum = self.counted_of(self.tenant, webhook).await;
        AttemptClass::ALL.map(|class| sum.count(class))
    }
}

#[tokio::test(start_paused = true)]
async fn what_became_of_each_attempt_is_counted_for_its_webhook_and_its_tenant() {
    let world = World::running().await;
    let good = world.webhook("http://good.test/", "paid").await;
    let slow = world.webhook("http://slow.test/", "paid").await;
    let bad = world.webhook("http://bad.test/", "paid").await;
    let hanging = world.webhook("http://hanging.test/", "paid").await;
    let wrong = world.webhook("nowhere", "paid").await;
    let after = Duration::from_millis(700);
    world
        .net
        .at("slow.test", move |_, _| Does::AnswersAfter(204, after));
    world.net.at("bad.test", |_, _| Does::Answers(500));
    world.net.at("hanging.test", |_, _| Does::Hangs);
    world.hand_in("paid", 1).await;
    seconds(40).await;
    assert_eq!(world.store.tallied(), 0);
    next_period().await;
    let of = async |webhook| world.counts(Some(webhook)).await;
    assert_eq!(of(good).await, [1, 0, 0, 0]);
    assert_eq!(of(slow).await, [1, 0, 0, 0]);
    let [of_bad, of_hanging, of_wrong] = [of(bad).await, of(hanging).await, of(wrong).await];
    assert!(matches!(of_bad, [0, 1..=9, 0, 0]), "{of_bad:?}");
    assert!(matches!(of_hanging, [0, 0, 1..=9, 0]), "{of_hanging:?}");
    assert!(matches!(of_wrong, [0, 0, 0, 1..=9]), "{of_wrong:?}");
    let all = [2, of_bad[1], of_hanging[2], of_wrong[3]];
    assert_eq!(world.counts(None).await, all);
    let slow = world.counted_of(world.tenant, Some(slow)).await;
    let median = slow.percentile(50).unwrap();
    assert!((680..=720).contains(&median), "{median}");
    let hanging = world.counted_of(world.tenant, Some(hanging)).await;
    assert_eq!(hanging.percentile(50), None);
}

#[tokio::test(start_paused = true)]
async fn one_write_a_period_takes_whatever_was_attempted_and_a_quiet_one_takes_none() {
    let world = World::running().await;
    let one = world.webhook("http://a.test/", "paid").await;
    world.webhook("http://b.test/", "paid").await;
    for _ in 0..20 {
        world.hand_in("paid", 5).await;
        seconds(10).await;
    }
    assert_eq!(world.store.tallied(), 0);
    next_period().await;
    assert_eq!(world.store.tallied(), 1);
    assert_eq!(world.counts(Some(one)).await, [100, 0, 0, 0]);
    assert_eq!(world.counts(None).await, [200, 0, 0, 0]);
    next_period().await;
    next_period().await;
    assert_eq!(world.store.tallied(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_stop_writes_what_was_counted_so_far_and_the_next_start_adds_to_it() {
    let mut world = World::running().await;
    let webhook = world.webhook("http://a.test/", "paid").await;
    for count in [3, 6] {
        world.hand_in("paid", 3).await;
        seconds(1).await;
        let report = world.stop(Duration::from_secs(5)).await;
        assert!(report.is_clean());
        assert_eq!(world.counts(Some(webhook)).await, [count, 0, 0, 0]);
        world.start();
    }
}

#[tokio::test(start_paused = true)]
async fn tallies_that_the_store_refuses_are_written_later_and_count_once() {
    let world = World::running().await;
    let webhook = world.webhook("http://a.test/", "paid").await;
    world.store.plan(|plan| {
        plan.tallies = Some(StoreError::Busy);
        plan.tallies_lost = Some(StoreError::Unknown);
    });
    world.hand_in("paid", 3).await;
    next_period().await;
    assert_eq!(world.counts(Some(webhook)).await, [0; 4]);
    world.store.plan(|plan| plan.tallies = None);
    seconds(10).await;
    assert!(world.store.tallied() > 3);
    world.store.plan(|plan| plan.tallies_lost = None);
    seconds(10).await;
    assert_eq!(world.counts(Some(webhook)).await, [3, 0, 0, 0]);
    let tried = world.store.tallied();
    next_period().await;
    assert_eq!(world.store.tallied(), tried);
}

#[tokio::test(start_paused = true)]
async fn tallies_that_cannot_be_written_hold_up_no_delivery() {
    let mut world = World::running().await;
    let webhook = world.webhook("http://a.test/", "paid").await;
    for error in [broken(), StoreError::Busy] {
        world.store.plan(|plan| plan.tallies = Some(error.clone()));
        for _ in 0..3 {
            world.hand_in("paid", 2).await;
            next_period().await;
            assert_eq!(world.health(), Ok(()), "{error}");
        }
    }
    assert_eq!(world.net.calls_at("a.test").len(), 12);
    world.store.plan(|plan| plan.tallies = None);
    next_period().await;
    // What was being written all the time, and the last period: the one between was let go.
    assert_eq!(world.counts(Some(webhook)).await, [4, 0, 0, 0]);
    world.hand_in("paid", 1).await;
    seconds(1).await;
    world
        .store
        .plan(|plan| plan.tallies = Some(StoreError::Busy));
    let report = world.stop(Duration::from_secs(5)).await;
    assert!(report.is_clean());
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_was_set_back_or_ahead_loses_no_count() {
    let world = World::running().await;
    let webhook = world.webhook("http://a.test/", "paid").await;
    for step_ms in [0, -3_000_000, 0, 1_200_000, 0] {
        world.set_clock(step_ms);
        world.hand_in("paid", 1).await;
        seconds(2).await;
    }
    next_period().await;
    world.set_clock(1_200_000);
    next_period().await;
    assert_eq!(world.counts(Some(webhook)).await, [5, 0, 0, 0]);
}
