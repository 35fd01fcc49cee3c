//! Fairness: what some receivers and tenants do, the others do not feel. Counted in paused time.

use std::collections::BTreeMap;
use std::time::Duration;

use model::limits;

use super::world::{Does, World, seconds};

const ANSWER_MS: u64 = 20;
const GROUPS: usize = 10;
const ROUNDS: usize = 12;

/// How long after it was handed in each delivery was answered, in milliseconds and in order, under
/// a steady load on `GROUPS` groups of 100 webhooks, of which some hang. Theirs are left out.
async fn latencies(hanging: usize) -> Vec<i64> {
    let mut world = World::new().await;
    (
        world.settings.max_in_flight,
        world.settings.max_concurrency_per_webhook,
    ) = (1_024, 32);
    world.start();
    for number in 0..GROUPS * 100 {
        let host = format!("r{number}.test");
        let topic = format!("group {}", number % GROUPS);
        world.webhook(&format!("http://{host}/"), &topic).await;
        world.net.at(&host, move |_, call| match number < hanging {
            true if call > 3 => Does::Hangs,
            _ => Does::AnswersAfter(200, Duration::from_millis(ANSWER_MS)),
        });
    }
    let mut handed_in = BTreeMap::new();
    for round in 0..ROUNDS {
        for group in 0..GROUPS {
            let body = format!("{round} {group}");
            handed_in.insert(body.clone(), world.clock.now());
            let topic = format!("group {group}");
            let handing_in = world.hand_in_with(world.tenant, &topic, 1, |_| body.clone());
            handing_in.await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    seconds(1).await;
    let calls = world.net.calls().into_iter();
    let mut latencies: Vec<i64> = calls
        .filter(|call| number(&call.host) >= hanging)
        .map(|call| call.at.ms_since(handed_in[&call.body]) + i64::try_from(ANSWER_MS).unwrap())
        .collect();
    assert_eq!(latencies.len(), ROUNDS * (GROUPS * 100 - hanging));
    latencies.sort_unstable();
    latencies
}

/// Of `r17.test` the 17.
fn number(host: &str) -> usize {
    let digits = host.trim_start_matches('r').trim_end_matches(".test");
    digits.parse().unwrap()
}

#[tokio::test(start_paused = true)]
async fn one_or_fifty_of_a_thousand_that_hang_do_not_move_the_p99_of_the_others() {
    let p99 = |latencies: Vec<i64>| latencies[latencies.len() * 99 / 100];
    let calm = p99(latencies(0).await);
    for hanging in [1, 50] {
        let troubled = p99(latencies(hanging).await);
        assert!(troubled * 10 <= calm * 11, "{calm} ms, then {troubled} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn a_sale_at_one_tenant_does_not_starve_another() {
    let mut world = World::new().await;
    world.settings.max_in_flight = 32;
    world.start();
    let slow = Does::AnswersAfter(200, Duration::from_millis(100));
    for number in 0..200 {
        let host = format!("big{number}.test");
        world.net.at(&host, move |_, _| slow);
        world.webhook(&format!("http://{host}/"), "paid").await;
    }
    let small = world.add_tenant_named(super::world::DIALECT, "small").await;
    world.net.at("small.test", move |_, _| slow);
    world.webhook_of(small, "http://small.test/", "paid").await;
    // 10,000 deliveries at 32 in the air and ten rounds a second are half a minute's work.
    world.hand_in("paid", 50).await;
    for _ in 0..20 {
        let handed_in_at = world.clock.now();
        world
            .hand_in_with(small, "paid", 1, |_| String::new())
            .await;
        seconds(1).await;
        let call = world.net.calls_at("small.test").pop().unwrap();
        // The next flight that ends is its own.
        let wait_ms = call.at.ms_since(handed_in_at);
        assert!((0..=101).contains(&wait_ms), "{wait_ms}");
    }
    assert_eq!(world.net.calls_at("small.test").len(), 20);
}

#[tokio::test(start_paused = true)]
async fn backlogs_that_do_not_move_leave_memory_to_the_others() {
    let mut world = World::new().await;
    world.settings.max_in_flight = 1_024;
    world.start();
    for number in 0..100 {
        let host = format!("stuck{number}.test");
        world.webhook(&format!("http://{host}/"), "paid").await;
        world.net.at(&host, |_, call| match call < 8 {
            true => Does::Answers(200),
            false => Does::Hangs,
        });
    }
    for _ in 0..3 {
        // 30,000 deliveries each time.
        world.hand_in("paid", 300).await;
    }
    world.webhook("http://a.test/", "placed").await;
    for _ in 0..20 {
        let handed_in_at = world.clock.now();
        world.hand_in("placed", 10).await;
        seconds(1).await;
        let reads = world.store.due_asked().len();
        let calls = world.net.calls_at("a.test");
        let latest = &calls[calls.len() - 10..];
        assert!(latest.iter().all(|call| call.at == handed_in_at), "{reads}");
    }
    assert_eq!(world.net.calls_at("a.test").len(), 200);
    assert!(
        world
            .store
            .due_asked()
            .iter()
            .all(|asked| *asked <= limits::LANE_BUFFERED_MAX * 2)
    );
}

#[tokio::test(start_paused = true)]
async fn after_a_kill_the_first_delivery_leaves_within_a_second_whatever_waits() {
    let mut world = World::running().await;
    for number in 0..1_500 {
        let host = format!("r{number}.test");
        world.net.at(&host, |_, _| Does::Answers(500));
        world.webhook(&format!("http://{host}/"), "paid").await;
    }
    world.hand_in("paid", 4).await;
    seconds(100).await;
    world.kill();
    // 6,000 wait for their retries, and one is due.
    world.webhook("http://a.test/", "placed").await;
    world.hand_in("placed", 1).await;
    let started_at = world.clock.now();
    world.start();
    seconds(10).await;
    let calls = world.net.calls_at("a.test");
    assert!(calls[0].at.ms_since(started_at) < 1_000);
}
