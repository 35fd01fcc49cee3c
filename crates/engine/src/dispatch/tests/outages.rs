//! Receivers that fail for a while and come back, and those that do not: what is sent ahead of its
//! time, who is probed, and that everything ends.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use model::contract::Intake as _;
use model::delivery::DeliveryState;
use model::id::{NotificationId, WebhookId};
use model::limits;

use super::world::{Call, Does, HOUR_MS, World, seconds};

/// A receiver that answers after a tenth of a second: 503 until it is mended.
fn breaks(world: &World, host: &str) -> Arc<AtomicBool> {
    let mended = Arc::new(AtomicBool::new(false));
    let is_mended = Arc::clone(&mended);
    world.net.at(host, move |_, _| {
        let status = if is_mended.load(Ordering::Relaxed) {
            200
        } else {
            503
        };
        Does::AnswersAfter(status, Duration::from_millis(100))
    });
    mended
}

async fn assert_all(
    world: &World,
    webhook: WebhookId,
    ids: &[NotificationId],
    state: DeliveryState,
) {
    for id in ids {
        assert_eq!(world.state(*id, webhook).await, state);
    }
}

fn by_body(calls: Vec<Call>) -> BTreeMap<String, Vec<Call>> {
    let mut each: BTreeMap<String, Vec<Call>> = BTreeMap::new();
    for call in calls {
        each.entry(call.body.clone()).or_default().push(call);
    }
    each
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_an_hour_is_over_within_seconds_of_the_first_success() {
    let world = World::running().await;
    let webhook = world.webhook("http://a.test/", "paid").await;
    let mended = breaks(&world, "a.test");
    let mut ids = Vec::new();
    for _ in 0..60 {
        ids.extend(world.hand_in("paid", 10).await);
        seconds(60).await;
    }
    mended.store(true, Ordering::Relaxed);
    // Most of what failed is not due for many minutes. What is told of now finds out.
    let from = world.net.calls().len();
    ids.extend(world.hand_in("paid", 1).await);
    seconds(60).await;
    assert_all(&world, webhook, &ids, DeliveryState::Delivered).await;
    // Each once: what succeeds is not sent again.
    let calls = world.net.calls().split_off(from);
    assert_eq!(calls.len(), ids.len());
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_is_back_is_not_met_with_everything_at_once() {
    let mut world = World::new().await;
    world.settings.max_concurrency_per_webhook = 32;
    world.start();
    world.webhook("http://a.test/", "paid").await;
    let mended = breaks(&world, "a.test");
    world.hand_in("paid", 1_000).await;
    seconds(200).await;
    mended.store(true, Ordering::Relaxed);
    let from = world.net.calls().len();
    world.hand_in("paid", 1).await;
    seconds(30).await;
    let calls = world.net.calls().split_off(from);
    assert_eq!(calls.len(), 1_001);
    // A tenth of a second is a round; each lets in one more than the one before.
    let mut rounds: BTreeMap<i64, usize> = BTreeMap::new();
    for call in &calls {
        *rounds
            .entry(call.at.ms_since(calls[0].at) / 100)
            .or_default() += 1;
    }
    let rounds: Vec<usize> = rounds.into_values().collect();
    assert!(rounds[0] == 1, "{rounds:?}");
    for pair in rounds.windows(2) {
        assert!(pair[1] <= pair[0] + 2, "{rounds:?}");
    }
    assert_eq!(rounds.iter().max(), Some(&32), "{rounds:?}");
}

#[tokio::test(start_paused = true)]
async fn a_failure_of_half_a_minute_or_less_is_left_to_the_schedule() {
    let world = World::running().await;
    world.webhook("http://a.test/", "paid").await;
    world.net.at("a.test", |call, number| match &*call.body {
        "0" if number == 0 => Does::Answers(500),
        _ => Does::Answers(200),
    });
    world.hand_in("paid", 1).await;
    seconds(1).await;
    world
        .hand_in_with(world.tenant, "paid", 1, |_| "other".to_owned())
        .await;
    seconds(60).await;
    let own = by_body(world.net.calls()).remove("0").unwrap();
    assert_eq!(own[1].at.ms_since(own[0].at), 5_000);
}

#[tokio::test(start_paused = true)]
async fn what_fails_ahead_of_its_time_keeps_its_whole_schedule() {
    let world = World::running().await;
    let webhook = world.webhook("http://a.test/", "paid").await;
    // One delivery that the receiver never takes, among others that it does, but for an outage.
    let mended = Arc::new(AtomicBool::new(true));
    let is_mended = Arc::clone(&mended);
    world.net.at("a.test", move |call, _| {
        let taken = call.body != "poison" && is_mended.load(Ordering::Relaxed);
        Does::Answers(if taken { 200 } else { 500 })
    });
    let poison = world
        .hand_in_with(world.tenant, "paid", 1, |_| "poison".to_owned())
        .await;
    // Four minutes in ten it is out.
    for number in 0..80 * 6 {
        for (is_mended, minutes) in [(false, 4), (true, 6)] {
            mended.store(is_mended, Ordering::Relaxed);
            let body = |_| format!("good {number} {is_mended}");
            world.hand_in_with(world.tenant, "paid", 1, body).await;
            seconds(minutes * 60).await;
        }
    }
    let story = world.story(poison[0], webhook).await;
    assert_eq!(story.row.state, DeliveryState::Failed);
    let mut ahead = 0;
    for pair in story.attempts.windows(2) {
        if Some(pair[1].attempt.began_at) < pair[0].next_due_at {
            assert_eq!(pair[1].next_due_at, pair[0].next_due_at);
            ahead += 1;
        }
    }
    // All 13 attempts of its schedule, and between two of them one more at most.
    assert!((1..13).contains(&ahead), "{ahead}");
    assert_eq!(story.attempts.len(), 13 + ahead);
    let began_at = story.attempts[0].attempt.began_at;
    let last = story.attempts.last().unwrap().attempt.began_at;
    assert_eq!(last.ms_since(began_at), 72 * HOUR_MS);
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_cannot_make_up_its_mind_is_not_hammered() {
    let world = World::running().await;
    world.webhook("http://a.test/", "paid").await;
    // Half a minute of failures, one success, and so on; and it never takes the first thirty.
    let clock = world.clock.clone();
    let began_at = clock.now();
    world.net.at("a.test", move |call, _| {
        let first = call.body.parse::<usize>().is_ok();
        let second = clock.now().ms_since(began_at) / 1_000 % 40;
        Does::Answers(if !first && second > 37 { 200 } else { 500 })
    });
    world.hand_in("paid", 30).await;
    for number in 0..3_600 {
        let body = |_| format!("later {number}");
        world.hand_in_with(world.tenant, "paid", 1, body).await;
        seconds(2).await;
    }
    let each = by_body(world.net.calls());
    for (body, calls) in each
        .iter()
        .filter(|(body, _)| body.parse::<usize>().is_ok())
    {
        // In two hours the schedule has 7 attempts, and between each two there may be one more.
        assert!((5..=14).contains(&calls.len()), "{body}: {}", calls.len());
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_goes_on_waking_what_waits() {
    let mut world = World::running().await;
    let webhook = world.webhook("http://a.test/", "paid").await;
    let mended = breaks(&world, "a.test");
    let mut ids = world.hand_in("paid", 300).await;
    seconds(450).await;
    mended.store(true, Ordering::Relaxed);
    ids.extend(world.hand_in("paid", 1).await);
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    world.kill();
    let delivered = world.net.calls().len();
    world.start();
    seconds(30).await;
    assert!(world.net.calls().len() > delivered + 100);
    assert_all(&world, webhook, &ids, DeliveryState::Delivered).await;
}

#[tokio::test(start_paused = true)]
async fn an_outage_that_a_restart_lay_in_ends_like_any_other() {
    let mut world = World::running().await;
    let webhook = world.webhook("http://a.test/", "paid").await;
    let mended = breaks(&world, "a.test");
    let mut ids = world.hand_in("paid", 100).await;
    seconds(450).await;
    world.kill();
    world.start();
    seconds(1).await;
    mended.store(true, Ordering::Relaxed);
    ids.extend(world.hand_in("paid", 1).await);
    seconds(30).await;
    assert_all(&world, webhook, &ids, DeliveryState::Delivered).await;
}

#[tokio::test(start_paused = true)]
async fn a_pause_holds_whatever_has_recovered() {
    let mut world = World::new().await;
    world.policy.retry_after_max_ms = Some(HOUR_MS);
    world.start();
    let webhook = world.webhook("http://a.test/", "paid").await;
    let mended = Arc::new(AtomicBool::new(false));
    let is_mended = Arc::clone(&mended);
    let since = AtomicUsize::new(0);
    world.net.at("a.test", move |_, _| {
        let quick = Duration::from_millis(100);
        if !is_mended.load(Ordering::Relaxed) {
            return Does::AnswersAfter(500, quick);
        }
        match since.fetch_add(1, Ordering::Relaxed) {
            3 => Does::Busy(503, "600"),
            _ => Does::AnswersAfter(200, quick),
        }
    });
    let mut ids = world.hand_in("paid", 20).await;
    seconds(200).await;
    mended.store(true, Ordering::Relaxed);
    let from = world.net.calls().len();
    ids.extend(world.hand_in("paid", 1).await);
    seconds(590).await;
    let calls = world.net.calls().split_off(from);
    // The one that asked for it, those before, and what was in the air beside it.
    assert!((4..=6).contains(&calls.len()), "{}", calls.len());
    seconds(60).await;
    assert_all(&world, webhook, &ids, DeliveryState::Delivered).await;
}

#[tokio::test(start_paused = true)]
async fn who_has_failed_for_long_is_probed_by_one_delivery_at_a_time() {
    let world = World::running().await;
    let webhook = world.webhook("http://a.test/", "paid").await;
    let mended = breaks(&world, "a.test");
    let mut ids = world.hand_in("paid", 2_000).await;
    seconds(600).await;
    let before = world.net.calls().len();
    seconds(3_000).await;
    // One every ten seconds, though 2,000 are due.
    let probes = world.net.calls().split_off(before);
    assert!((280..=300).contains(&probes.len()), "{}", probes.len());
    for pair in probes.windows(2) {
        assert!(pair[1].at.ms_since(pair[0].at) >= 10_000);
    }
    // Each in its turn, not the same one over and over.
    let different = by_body(probes.clone()).len();
    assert!(different * 2 >= probes.len(), "{different}");
    mended.store(true, Ordering::Relaxed);
    ids.extend(world.hand_in("paid", 1).await);
    seconds(60).await;
    assert_all(&world, webhook, &ids, DeliveryState::Delivered).await;
}

#[tokio::test(start_paused = true)]
async fn a_start_does_not_forget_who_is_probed() {
    let mut world = World::running().await;
    world.webhook("http://a.test/", "paid").await;
    breaks(&world, "a.test");
    world.hand_in("paid", 500).await;
    seconds(900).await;
    world.kill();
    world.start();
    let before = world.net.calls().len();
    seconds(100).await;
    let probes = world.net.calls().len() - before;
    assert!((5..=11).contains(&probes), "{probes}");
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_hangs_for_days_is_given_up_on_by_every_delivery_after_an_attempt() {
    let world = World::running().await;
    let webhook = world.webhook("http://a.test/", "paid").await;
    world.net.at("a.test", |_, _| Does::Hangs);
    let ids = world.hand_in("paid", 150).await;
    seconds(30 * 60).await;
    // Of two probes the second waits for the end of the first.
    assert!(world.net.calls().len() < 80);
    seconds(80 * 3_600).await;
    for id in &ids {
        let story = world.story(*id, webhook).await;
        assert_eq!(story.row.state, DeliveryState::Failed);
        assert!(story.attempts.len() >= 2, "{}", story.attempts.len());
        let first = story.attempts[0].attempt.began_at;
        let last = story.attempts.last().unwrap().attempt.began_at;
        // The last try counts from the first, and is passed over for an hour or so at most.
        let hours = last.ms_since(first) / HOUR_MS;
        assert!((71..=76).contains(&hours), "{hours}");
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_sends_again_has_a_probe_at_once() {
    let world = World::running().await;
    let webhook = world.webhook("http://a.test/", "paid").await;
    let mended = breaks(&world, "a.test");
    let ids = world.hand_in("paid", 50).await;
    seconds(72).await;
    seconds(3_600).await;
    mended.store(true, Ordering::Relaxed);
    let began_at = world.clock.now();
    super::send_again(
        &world,
        webhook,
        model::contract::ReplayScope::Undelivered { began_at },
    )
    .await;
    seconds(5).await;
    assert_all(&world, webhook, &ids, DeliveryState::Delivered).await;
}

#[tokio::test(start_paused = true)]
async fn sending_again_is_exact_over_many_pages() {
    let world = World::running().await;
    let webhook = world.webhook("http://a.test/", "paid").await;
    world
        .change(webhook, |webhook| webhook.retries_max = Some(0))
        .await;
    world.net.at("a.test", |_, _| Does::Answers(500));
    let mut ids = Vec::new();
    let count = 2 * limits::BULK_STEP_MAX + 1_000;
    while ids.len() < count {
        let first = ids.len();
        let body = |number: usize| (first + number).to_string();
        ids.extend(world.hand_in_with(world.tenant, "paid", 1_000, body).await);
        seconds(10).await;
    }
    // It fails for so long that it is probed; but all are passed over for an hour at most.
    seconds(2 * 3_600).await;
    assert_eq!(world.net.calls().len(), count);
    world.net.at("a.test", |_, _| Does::Answers(200));
    let began_at = world.clock.now();
    let mut steps = 0;
    loop {
        let which = model::contract::ReplayScope::Failed { began_at };
        let done = super::send_again(&world, webhook, which).await;
        steps += 1;
        seconds(1).await;
        if !matches!(done, model::contract::ReplayResult::Done { more: true, .. }) {
            break;
        }
    }
    assert_eq!(steps, 3);
    seconds(60).await;
    let each = by_body(world.net.calls());
    assert_eq!(each.len(), count);
    assert!(each.values().all(|calls| calls.len() == 2));
    assert_all(&world, webhook, &ids, DeliveryState::Delivered).await;
}

/// A receiver that has hung for an hour, with 500 deliveries that wait.
async fn probed() -> (World, WebhookId, Vec<NotificationId>) {
    let world = World::running().await;
    let webhook = world.webhook("http://a.test/", "paid").await;
    world.net.at("a.test", |_, _| Does::Hangs);
    let ids = world.hand_in("paid", 500).await;
    seconds(3_600).await;
    (world, webhook, ids)
}

async fn ask_for(world: &World, webhook: WebhookId, notification: NotificationId) {
    let id = model::id::DeliveryId {
        notification,
        webhook,
    };
    super::send_again(world, webhook, model::contract::ReplayScope::One(id)).await;
}

#[tokio::test(start_paused = true)]
async fn what_somebody_asks_for_is_the_next_probe_at_once() {
    let (world, webhook, ids) = probed().await;
    // Whatever moment it is: a probe is in the air, or was a moment ago, or is to come.
    for (index, step_s) in [(400, 1), (401, 7), (402, 11), (403, 29), (404, 3)] {
        seconds(step_s).await;
        let before = world.net.calls().len();
        let asked_at = world.clock.now();
        ask_for(&world, webhook, ids[index]).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
        let calls = world.net.calls().split_off(before);
        assert_eq!(calls.len(), 1, "{index}");
        assert_eq!(calls[0].body, index.to_string());
        assert!(calls[0].at.ms_since(asked_at) <= 1);
        seconds(60).await;
    }
    // The first that succeeds ends the probing, as any other does.
    world.net.at("a.test", |_, _| Does::Answers(200));
    ask_for(&world, webhook, ids[499]).await;
    seconds(60).await;
    assert_all(&world, webhook, &ids, DeliveryState::Delivered).await;
}

#[tokio::test(start_paused = true)]
async fn a_test_is_the_next_probe_at_once() {
    let (world, webhook, _) = probed().await;
    let mut test = world.batch(world.tenant, "paid", 1, |_| "test".to_owned());
    test[0].only_webhook = Some(webhook);
    let before = world.net.calls().len();
    world.store.accept(test).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1)).await;
    let calls = world.net.calls().split_off(before);
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].body, "test");
}

#[tokio::test(start_paused = true)]
async fn asking_for_hundreds_one_by_one_does_not_hammer_a_receiver_that_is_probed() {
    let (world, webhook, ids) = probed().await;
    let before = world.net.calls().len();
    for id in &ids {
        ask_for(&world, webhook, *id).await;
    }
    seconds(600).await;
    let calls = world.net.calls().len() - before;
    // All have been due for an hour, so two at a time are tried for half a minute each; what was
    // asked for beyond the first few waits for that.
    assert!(calls <= 2 * 600 / 30 + 8, "{calls}");
    assert!(world.net.most_at_once("a.test") <= 4);
}

#[tokio::test(start_paused = true)]
async fn what_somebody_asks_for_goes_before_a_backlog_and_beside_a_tenants_share() {
    let mut world = World::new().await;
    world.settings.max_concurrency_per_webhook = 1;
    world.start();
    // A lane that is busy with older ones.
    let slow = Does::AnswersAfter(200, Duration::from_secs(1));
    world.net.at("a.test", move |_, _| slow);
    let webhook = world.webhook("http://a.test/", "paid").await;
    let ids = world.hand_in("paid", 200).await;
    // And so many others of its tenant that it has its share.
    world.net.at("dead.test", |_, _| Does::Hangs);
    for number in 0..100 {
        world
            .webhook(&format!("http://dead.test/{number}"), "placed")
            .await;
    }
    let others = world.hand_in("placed", 1).await;
    seconds(5).await;
    let before = world.net.calls().len();
    ask_for(&world, webhook, ids[150]).await;
    let last = WebhookId(webhook.0 + 50);
    ask_for(&world, last, others[0]).await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    let calls = world.net.calls().split_off(before);
    let mut asked: Vec<_> = calls
        .iter()
        .map(|call| (&*call.path, &*call.body))
        .collect();
    asked.sort_unstable();
    assert_eq!(asked, [("/", "150"), ("/49", "0")]);
    // It is sent once.
    seconds(300).await;
    let each = by_body(world.net.calls_at("a.test"));
    assert!(each.values().all(|calls| calls.len() == 1) && each.len() == 200);
}

#[tokio::test(start_paused = true)]
async fn what_was_asked_for_is_not_sent_once_it_is_stopped() {
    let (world, webhook, ids) = probed().await;
    let id = |notification| model::id::DeliveryId {
        notification,
        webhook,
    };
    // More than go at once, so that some wait in memory.
    for notification in &ids[..8] {
        ask_for(&world, webhook, *notification).await;
    }
    tokio::time::sleep(Duration::from_millis(1)).await;
    let all = ids.iter().copied().map(id).collect();
    let now = world.clock.now();
    let stopping = world
        .store
        .cancel_deliveries(world.tenant, all, "test".to_owned(), now);
    stopping.await.unwrap();
    tokio::time::sleep(Duration::from_millis(1)).await;
    let before = world.net.calls().len();
    seconds(7_200).await;
    assert_eq!(world.net.calls().len(), before);
}

#[tokio::test(start_paused = true)]
async fn where_a_delivery_stands_is_said_as_it_is() {
    use model::delivery::DispatchState;
    let (world, webhook, ids) = probed().await;
    let inspector = world.engine.as_ref().unwrap().inspector();
    let at = async |notification, webhook| {
        let id = model::id::DeliveryId {
            notification,
            webhook,
        };
        inspector.dispatch_state(id).await
    };
    assert_eq!(
        at(ids[400], webhook).await,
        Some(DispatchState::CircuitOpen)
    );
    ask_for(&world, webhook, ids[400]).await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(at(ids[400], webhook).await, Some(DispatchState::InFlight));
    // Of more than its receiver bears, and of more than its tenant's share.
    world.net.at("b.test", |_, _| Does::Hangs);
    let behind = world.webhook("http://b.test/", "placed").await;
    let placed = world.hand_in("placed", 9).await;
    seconds(1).await;
    assert_eq!(at(placed[0], behind).await, Some(DispatchState::InFlight));
    assert_eq!(
        at(placed[8], behind).await,
        Some(DispatchState::ConcurrencyLimited)
    );
    let mut last = behind;
    for number in 0..100 {
        last = world
            .webhook(&format!("http://b.test/{number}"), "many")
            .await;
    }
    let many = world.hand_in("many", 1).await;
    seconds(10).await;
    let mut found = vec![];
    for webhook in behind.0 + 1..=last.0 {
        found.extend(at(many[0], WebhookId(webhook)).await);
    }
    let count = |what| found.iter().filter(|at| **at == what).count();
    assert_eq!(found.len(), 100);
    assert!(count(DispatchState::InFlight) > 5, "{found:?}");
    assert_eq!(
        count(DispatchState::InFlight) + count(DispatchState::ShareLimited),
        100,
        "{found:?}"
    );
}
