//! Shares: tenants and hosts that hold what they get do not keep the others waiting. Counted in
//! paused time.

use std::time::Duration;

use model::id::TenantId;

use super::world::{DIALECT, Does, World, seconds};

/// More than there are flights.
const MANY: usize = 1_200;

const SLOW: Does = Does::AnswersAfter(200, Duration::from_secs(20));

async fn world() -> World {
    let mut world = World::new().await;
    world.settings.max_in_flight = 1_024;
    world.settings.max_concurrency_per_webhook = 32;
    world.start();
    world
}

/// So many webhooks of the tenant, each with a delivery at once; `url` by its number.
async fn many(world: &World, tenant: TenantId, count: usize, url: impl Fn(usize) -> String) {
    let topic = format!("many {tenant}");
    for number in 0..count {
        world.webhook_of(tenant, &url(number), &topic).await;
    }
    hand_in(world, tenant).await;
}

async fn hand_in(world: &World, tenant: TenantId) {
    let topic = format!("many {tenant}");
    let handing_in = world.hand_in_with(tenant, &topic, 1, |_| String::new());
    handing_in.await;
}

/// Hands in something for each webhook of the tenant that wants `topic` once a second, and says how
/// long each call at `host` below `/good` was waited for, in milliseconds.
async fn waits(world: &World, tenant: TenantId, topic: &str, host: &str, count: u64) -> Vec<i64> {
    let good = || {
        let calls = world.net.calls_at(host).into_iter();
        calls
            .filter(|call| call.path == "/good")
            .collect::<Vec<_>>()
    };
    let before = good().len();
    let mut handed_in_at = vec![];
    for number in 0..count {
        handed_in_at.push(world.clock.now());
        let body = |_| number.to_string();
        world.hand_in_with(tenant, topic, 1, body).await;
        seconds(1).await;
    }
    let calls = good().split_off(before).into_iter();
    let waits: Vec<i64> = calls
        .zip(handed_in_at)
        .map(|(call, at)| call.at.ms_since(at))
        .collect();
    assert_eq!(waits.len(), usize::try_from(count).unwrap(), "{waits:?}");
    waits
}

fn assert_none(waits: &[i64]) {
    assert!(waits.iter().all(|wait| *wait == 0), "{waits:?}");
}

async fn neighbour(world: &World) -> TenantId {
    let tenant = world.add_tenant_named(DIALECT, "neighbour").await;
    world.webhook_of(tenant, "http://b.test/good", "paid").await;
    tenant
}

#[tokio::test(start_paused = true)]
async fn a_tenant_whose_receivers_hang_or_are_slow_does_not_delay_another() {
    for does in [Does::Hangs, SLOW] {
        let world = world().await;
        world.net.at("dead.test", move |_, _| does);
        let neighbour = neighbour(&world).await;
        let url = |number| format!("http://dead.test/{number}");
        many(&world, world.tenant, MANY, url).await;
        // From its first call on, which comes when everything is in the air.
        assert_none(&waits(&world, neighbour, "paid", "b.test", 70).await);
        // Whatever is known by then, and when there is more of it.
        hand_in(&world, world.tenant).await;
        assert_none(&waits(&world, neighbour, "paid", "b.test", 70).await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_good_webhook_is_not_starved_by_others_of_its_tenant() {
    for does in [Does::Hangs, SLOW] {
        let world = world().await;
        for number in 0..MANY {
            world.net.at(&format!("r{number}.test"), move |_, _| does);
        }
        world.webhook("http://a.test/good", "paid").await;
        // It was quick once, and more often than that it was not remembered by a lane.
        assert_none(&waits(&world, world.tenant, "paid", "a.test", 1).await);
        let url = |number| format!("http://r{number}.test/");
        many(&world, world.tenant, MANY, url).await;
        assert_none(&waits(&world, world.tenant, "paid", "a.test", 150).await);
        // One that is new has room beside those that are known to be slow.
        world.webhook("http://new.test/good", "placed").await;
        let waits = waits(&world, world.tenant, "placed", "new.test", 5).await;
        assert_none(&waits);
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_webhook_is_not_starved_by_thousands_of_its_tenant_at_a_host_that_hangs() {
    let world = world().await;
    world.net.at("dead.test", |_, _| Does::Hangs);
    let url = |number| format!("http://dead.test/{number}");
    many(&world, world.tenant, MANY, url).await;
    seconds(1).await;
    world.webhook("http://a.test/good", "paid").await;
    assert_none(&waits(&world, world.tenant, "paid", "a.test", 70).await);
}

#[tokio::test(start_paused = true)]
async fn forty_tenants_whose_receivers_hang_do_not_delay_one_more() {
    let world = world().await;
    let neighbour = neighbour(&world).await;
    for number in 0..40 {
        let host = format!("dead{number}.test");
        world.net.at(&host, |_, _| Does::Hangs);
        let tenant = world.add_tenant_named(DIALECT, &host).await;
        many(&world, tenant, 50, |number| {
            format!("http://{host}/{number}")
        })
        .await;
    }
    assert_none(&waits(&world, neighbour, "paid", "b.test", 70).await);
}

#[tokio::test(start_paused = true)]
async fn a_host_that_hangs_takes_its_share_and_no_more_whoever_calls_it() {
    let world = world().await;
    let neighbour = neighbour(&world).await;
    world
        .webhook_of(neighbour, "http://dead.test/good", "both")
        .await;
    world
        .webhook_of(neighbour, "http://b.test/good", "both")
        .await;
    let hangs = |call: &super::world::Call, _| match call.path.as_str() {
        "/good" => Does::Answers(200),
        _ => Does::Hangs,
    };
    world.net.at("dead.test", hangs);
    for number in 0..20 {
        let tenant = world.add_tenant_named(DIALECT, &format!("t{number}")).await;
        many(&world, tenant, 100, |number| {
            format!("http://dead.test/{number}")
        })
        .await;
    }
    // Nor is what answers at that host kept by what does not.
    assert_none(&waits(&world, neighbour, "both", "b.test", 40).await);
    let calls = world.net.calls_at("dead.test").into_iter();
    assert_eq!(calls.filter(|call| call.path == "/good").count(), 40);
    assert!(
        world.net.most_at_once("dead.test") <= 280,
        "{}",
        world.net.most_at_once("dead.test")
    );
}

#[tokio::test(start_paused = true)]
async fn receivers_that_were_quick_and_hang_all_at_once_leave_flights_to_the_others() {
    let world = world().await;
    let neighbour = neighbour(&world).await;
    for number in 0..MANY {
        let hangs_later = |_: &super::world::Call, call| match call {
            0 => Does::Answers(200),
            _ => Does::Hangs,
        };
        world.net.at(&format!("r{number}.test"), hangs_later);
    }
    many(&world, world.tenant, MANY, |number| {
        format!("http://r{number}.test/")
    })
    .await;
    seconds(1).await;
    assert_eq!(world.net.calls().len(), MANY);
    hand_in(&world, world.tenant).await;
    assert_none(&waits(&world, neighbour, "paid", "b.test", 70).await);
}

#[tokio::test(start_paused = true)]
async fn whoever_is_alone_has_nearly_all_flights() {
    let world = world().await;
    let quick = Does::AnswersAfter(200, Duration::from_secs(1));
    for number in 0..MANY {
        world.net.at(&format!("r{number}.test"), move |_, _| quick);
    }
    many(&world, world.tenant, MANY, |number| {
        format!("http://r{number}.test/")
    })
    .await;
    seconds(10).await;
    hand_in(&world, world.tenant).await;
    seconds(10).await;
    assert_eq!(world.net.calls().len(), 2 * MANY);
    assert_eq!(world.net.most_at_once(""), 1_024 * 7 / 8);
}

#[tokio::test(start_paused = true)]
async fn with_few_flights_everything_is_sent_all_the_same() {
    for max_in_flight in 1..10 {
        let mut world = World::new().await;
        world.settings.max_in_flight = max_in_flight;
        world.start();
        world.net.at("dead.test", |_, call| match call {
            0..5 => Does::Hangs,
            _ => Does::Answers(200),
        });
        let other = world.add_tenant_named(DIALECT, "other").await;
        for tenant in [world.tenant, other] {
            let url = |number| format!("http://{}/{number}", ["dead.test", "a.test"][number % 2]);
            many(&world, tenant, 10, url).await;
        }
        seconds(300).await;
        let calls = world.net.calls().len();
        assert_eq!(calls, 25, "{max_in_flight}");
        assert!(world.net.most_at_once("") <= max_in_flight);
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_start_those_that_succeeded_last_go_before_those_that_did_not() {
    let mut world = world().await;
    let does = |call: &super::world::Call, _| match call.path.as_str() {
        "/good" => Does::Answers(200),
        _ => Does::Hangs,
    };
    world.net.at("dead.test", does);
    many(&world, world.tenant, MANY, |number| {
        format!("http://dead.test/{number}")
    })
    .await;
    world.webhook("http://dead.test/good", "paid").await;
    // All have been tried, and wait for a retry.
    seconds(300).await;
    assert_eq!(
        waits(&world, world.tenant, "paid", "dead.test", 1)
            .await
            .len(),
        1
    );
    world.kill();
    seconds(3_600).await;
    world.start();
    seconds(1).await;
    assert_none(&waits(&world, world.tenant, "paid", "dead.test", 60).await);
}

#[tokio::test(start_paused = true)]
async fn a_backlog_larger_than_memory_leaves_another_tenant_its_place_in_it() {
    let mut world = World::new().await;
    world.settings.max_in_flight = 64;
    world.start();
    let neighbour = neighbour(&world).await;
    for name in ["one", "two"] {
        let tenant = world.add_tenant_named(DIALECT, name).await;
        let host = format!("{name}.test");
        world.net.at(&host, |_, _| SLOW);
        many(&world, tenant, 500, |number| {
            format!("http://{host}/{number}")
        })
        .await;
        for _ in 0..30 {
            hand_in(&world, tenant).await;
        }
    }
    assert_none(&waits(&world, neighbour, "paid", "b.test", 60).await);
    world.kill();
    world.start();
    seconds(1).await;
    assert_none(&waits(&world, neighbour, "paid", "b.test", 60).await);
}

#[tokio::test(start_paused = true)]
async fn a_new_webhook_at_the_host_where_thousands_of_its_tenant_hang_is_tried_within_seconds() {
    let world = world().await;
    let does = |call: &super::world::Call, _| match call.path.as_str() {
        "/good" => Does::Answers(200),
        _ => Does::Hangs,
    };
    world.net.at("dead.test", does);
    many(&world, world.tenant, MANY, |number| {
        format!("http://dead.test/{number}")
    })
    .await;
    world.webhook("http://dead.test/good", "paid").await;
    world.hand_in("paid", 1).await;
    // Others come behind it that are as new.
    many(&world, world.tenant, MANY, |number| {
        format!("http://dead.test/more/{number}")
    })
    .await;
    let since = world.clock.now();
    for _ in 0..70 {
        world.hand_in("paid", 1).await;
        seconds(1).await;
    }
    let calls = world.net.calls_at("dead.test").into_iter();
    let calls: Vec<_> = calls.filter(|call| call.path == "/good").collect();
    assert_eq!(calls.len(), 71);
    let waited_ms = calls[0].at.ms_since(since);
    assert!(waited_ms <= 10_000, "{waited_ms}");
}
