//! Lanes whose webhooks say how many calls a second, and at a time, they may have.

use model::call_limits::{CallBounds, TypedLimits};

use super::*;

fn typed(rate: Option<&str>, at_a_time: Option<&str>) -> CallLimits {
    let typed = TypedLimits {
        calls_per_second: rate.map(str::to_owned),
        calls_at_a_time: at_a_time.map(str::to_owned),
        ..TypedLimits::default()
    };
    typed.judged(&CallBounds::default()).unwrap()
}

/// A webhook with so many deliveries, known to have these limits.
fn limited(lanes: &mut Air, webhook: WebhookId, count: i64, limits: &CallLimits) {
    for number in 0..count {
        lanes.arrive(due_of(webhook, 1_000 * webhook.0 + number, 0));
    }
    see_limited(lanes, limits);
}

fn see_limited(lanes: &mut Air, limits: &CallLimits) {
    for webhook in lanes.ask_targets() {
        let seen = open_limited(webhook.0, &own_host(webhook.0), limits.clone());
        lanes.answer_target(webhook, seen);
    }
}

/// Goes to where something may begin next, and begins it; each call ends at once.
fn run(lanes: &mut Air, ms: u64) -> Vec<(u64, i64)> {
    let (start, mut calls) = (lanes.now, Vec::new());
    let end = start + Duration::from_millis(ms);
    loop {
        let now = lanes.now;
        lanes.end_metered(now);
        while let Some(number) = next(lanes) {
            let since = u64::try_from(now.duration_since(start).as_millis()).unwrap();
            calls.push((since, number));
            let id = *lanes.in_flight.keys().next().unwrap();
            lanes.landed(id, well());
            lanes.settled(id, None);
            lanes.check();
        }
        match lanes.next_metered().filter(|at| *at < end) {
            Some(at) => lanes.now = at,
            None => break,
        }
    }
    lanes.now = end;
    calls
}

#[test]
fn in_ten_seconds_a_lane_begins_ten_times_its_rate_evenly() {
    let mut lanes = lanes(64, 8);
    limited(&mut lanes, HOOK, 60, &typed(Some("4"), None));
    let calls = run(&mut lanes, 10_000);
    assert_eq!(calls.len(), 40);
    assert_eq!(calls[3].0, 750);
    assert_eq!(lanes.take_metered_count(), 40);
    // It has nothing in flight meanwhile, and says what it waits for.
    assert_eq!((lanes.metered(), lanes.queued()), (1, 0));
    let state = lanes.dispatch_state(id_of(HOOK, 1_000 * HOOK.0 + 50));
    assert!(
        matches!(state, DispatchState::RateLimited { .. }),
        "{state:?}"
    );
    // Nor does it count as late.
    assert!(!lanes.counted().is_due(at(1_000_000)));
}

#[test]
fn a_lane_that_waits_for_its_rate_delays_no_other() {
    let mut lanes = lanes(2, 8);
    limited(&mut lanes, HOOK, 20, &typed(Some("0.2"), None));
    assert_eq!(run(&mut lanes, 1_000).len(), 1);
    limited(&mut lanes, OTHER, 20, &typed(None, None));
    let calls = run(&mut lanes, 1_000);
    assert_eq!(calls.len(), 20);
    assert!(calls.iter().all(|(at, _)| *at == 0));
    // And the slow one goes on when it may.
    assert_eq!(run(&mut lanes, 3_001).len(), 1);
}

#[test]
fn what_is_asked_for_goes_before_the_others_and_counts_as_they_do() {
    let mut lanes = lanes(64, 8);
    let limits = typed(Some("1"), None);
    limited(&mut lanes, HOOK, 5, &limits);
    assert_eq!(run(&mut lanes, 500).len(), 1);
    lanes.ask_for(due_of(HOOK, 7, 0));
    see_limited(&mut lanes, &limits);
    let first = 1_000 * HOOK.0;
    assert_eq!(run(&mut lanes, 1_000), [(500, 7)]);
    assert_eq!(
        run(&mut lanes, 1_000),
        [(0, first + 1)].map(|(_, n)| (500, n))
    );
}

#[test]
fn another_rate_holds_for_a_lane_that_waits_already() {
    let mut lanes = lanes(64, 8);
    limited(&mut lanes, HOOK, 3, &typed(Some("0.01"), None));
    assert_eq!(run(&mut lanes, 1_000).len(), 1);
    lanes.changed(HOOK, at(0));
    see_limited(&mut lanes, &typed(Some("0.5"), None));
    let first = 1_000 * HOOK.0;
    assert_eq!(asked(&mut lanes, 0).len(), 1);
    answer(
        &mut lanes,
        vec![due(first + 1, 0), due(first + 2, 0)],
        None,
        0,
    );
    assert_eq!(run(&mut lanes, 2_000), [(1_000, first + 1)]);
    // Without one it does not wait at all.
    lanes.changed(HOOK, at(0));
    see_limited(&mut lanes, &typed(None, None));
    assert_eq!(asked(&mut lanes, 0).len(), 1);
    answer(&mut lanes, vec![due(first + 2, 0)], None, 0);
    assert_eq!(run(&mut lanes, 1), [(0, first + 2)]);
}

#[test]
fn a_rate_outlives_a_lane_that_is_forgotten() {
    let mut lanes = lanes(64, 8);
    let limits = typed(Some("0.1"), None);
    limited(&mut lanes, HOOK, 1, &limits);
    assert_eq!(run(&mut lanes, 1_000).len(), 1);
    lanes.forget_resting();
    limited(&mut lanes, HOOK, 1, &limits);
    let calls = run(&mut lanes, 20_000);
    assert_eq!(calls.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [9_000]);
}

#[test]
fn a_lane_that_waits_for_its_rate_ends_with_its_webhook() {
    let mut lanes = lanes(64, 8);
    limited(&mut lanes, HOOK, 3, &typed(Some("0.1"), None));
    assert_eq!(run(&mut lanes, 1_000).len(), 1);
    lanes.changed(HOOK, at(0));
    assert_eq!(lanes.ask_targets(), [HOOK]);
    lanes.answer_target(HOOK, WebhookLookup::Disabled);
    assert_eq!(lanes.metered(), 0);
    lanes.check();
}

#[test]
fn a_webhook_has_no_more_calls_at_a_time_than_it_says_whoever_asks() {
    let mut lanes = lanes(64, 8);
    let limits = typed(None, Some("1"));
    limited(&mut lanes, HOOK, 5, &limits);
    assert_eq!(all_next(&mut lanes).len(), 1);
    lanes.ask_for(due_of(HOOK, 7, 0));
    see_limited(&mut lanes, &limits);
    assert_eq!(all_next(&mut lanes), [0; 0]);
}
