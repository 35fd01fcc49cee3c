//! What lanes remember and forget, step by step, without a store.

use bytes::Bytes;
use model::contract::LaneTarget;
use model::delivery::Delivery;
use model::id::NotificationId;
use model::limits;
use model::policy::Policy;
use model::schedule::Schedule;
use model::tenant::DialectName;
use model::webhook::Headers;

use super::*;

const HOOK: WebhookId = WebhookId(1);
const OTHER: WebhookId = WebhookId(2);

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn id(number: i64) -> DeliveryId {
    id_of(HOOK, number)
}

fn id_of(webhook: WebhookId, number: i64) -> DeliveryId {
    DeliveryId {
        notification: NotificationId(number),
        webhook,
    }
}

fn due(number: i64, due_at: i64) -> Due {
    due_of(HOOK, number, due_at)
}

fn due_of(webhook: WebhookId, number: i64, due_at: i64) -> Due {
    Due {
        delivery: Delivery {
            id: id_of(webhook, number),
            round: 1,
            attempts: 0,
            round_attempts: 0,
            round_began_at: None,
            due_at: at(due_at),
        },
        key: "1".into(),
        headers: Headers::default(),
        body: Bytes::from_static(b"body"),
    }
}

fn open() -> Seen {
    let policy = Policy {
        schedule: Schedule {
            delays_ms: vec![],
            spread_from_ms: 0,
            spread_percent: 0,
            last_try_after_ms: None,
        },
        exchange_limit_ms: 1,
        gone_disables: true,
        retry_after_max_ms: None,
        dedupe_header: None,
        user_agent: String::new(),
        content_type: String::new(),
        kept_ms: 1,
    };
    let target = LaneTarget {
        webhook: HOOK,
        dialect: DialectName::new("any"),
        key: None,
        target_url: "http://a.test/".to_owned(),
        headers: Headers::default(),
        retries_max: None,
        paused_until: None,
        enabled: true,
        failing_since: None,
    };
    Seen::Open(Arc::new(Prepared::new(&target, Arc::new(policy))))
}

fn lanes(flights_max: usize, width: usize) -> Lanes {
    Lanes::new(flights_max, width)
}

/// Answers every target that is asked for.
fn see(lanes: &mut Lanes) {
    for webhook in lanes.ask_targets() {
        lanes.answer_target(webhook, open());
    }
}

fn next(lanes: &mut Lanes) -> Option<i64> {
    lanes
        .next_call()
        .map(|(_, due)| due.delivery.id.notification.0)
}

fn asked(lanes: &mut Lanes, now: i64) -> Vec<(WebhookId, usize)> {
    let asks = lanes.ask_due(at(now));
    asks.into_iter()
        .map(|ask| (ask.webhook, ask.limit))
        .collect()
}

fn answer(lanes: &mut Lanes, deliveries: Vec<Due>, next_due_at: Option<i64>, now: i64) {
    let read = DueRead {
        webhook: HOOK,
        deliveries,
        next_due_at: next_due_at.map(at),
    };
    lanes.answer_due(&[HOOK], vec![read], at(now));
}

fn land(lanes: &mut Lanes, number: i64) {
    lanes.landed(id(number), Landing::default());
}

#[test]
fn a_lane_with_nothing_left_is_dropped() {
    let mut lanes = lanes(8, 8);
    lanes.arrive(due(1, 0));
    see(&mut lanes);
    assert_eq!(next(&mut lanes), Some(1));
    land(&mut lanes, 1);
    assert_eq!((lanes.count(), lanes.held()), (1, 0));
    lanes.settled(id(1), None);
    assert_eq!(lanes.count(), 0);
}

#[test]
fn what_is_told_of_twice_is_sent_once() {
    let mut lanes = lanes(8, 8);
    lanes.lower(HOOK, at(0));
    see(&mut lanes);
    assert_eq!(asked(&mut lanes, 0).len(), 1);
    // Told of by the mailbox and by the answer, in either order.
    lanes.arrive(due(1, 0));
    answer(&mut lanes, vec![due(1, 0), due(2, 0)], None, 0);
    lanes.arrive(due(2, 0));
    assert_eq!((next(&mut lanes), next(&mut lanes)), (Some(1), Some(2)));
    assert_eq!(next(&mut lanes), None);
}

#[test]
fn what_is_settled_while_a_read_is_outstanding_is_not_taken_up_from_its_answer() {
    let mut lanes = lanes(8, 8);
    lanes.arrive(due(1, 0));
    see(&mut lanes);
    assert_eq!(next(&mut lanes), Some(1));
    lanes.lower(HOOK, at(0));
    assert_eq!(asked(&mut lanes, 0).len(), 1);
    land(&mut lanes, 1);
    lanes.settled(id(1), Some(at(5_000)));
    // Answered before it was settled.
    answer(&mut lanes, vec![due(1, 0)], None, 0);
    assert_eq!(next(&mut lanes), None);
    // Its retry is not forgotten over that.
    assert_eq!(lanes.next_wake(), Some(at(5_000)));
}

#[test]
fn a_held_delivery_seen_in_a_later_state_is_read_again_once_it_is_let_go() {
    let mut lanes = lanes(8, 8);
    lanes.arrive(due(1, 0));
    see(&mut lanes);
    assert_eq!(next(&mut lanes), Some(1));
    land(&mut lanes, 1);
    // Settled, sent again by somebody, and read, before the settlement is known to be written.
    lanes.lower(HOOK, at(10));
    assert_eq!(asked(&mut lanes, 10).len(), 1);
    let mut again = due(1, 10);
    (again.delivery.round, again.delivery.attempts) = (2, 1);
    answer(&mut lanes, vec![again.clone()], None, 10);
    assert_eq!(next(&mut lanes), None);
    assert_eq!(lanes.next_wake(), None);
    lanes.settled(id(1), None);
    assert_eq!(asked(&mut lanes, 10), [(HOOK, limits::LANE_READ_MAX)]);
    answer(&mut lanes, vec![again], None, 10);
    assert_eq!(next(&mut lanes), Some(1));
}

#[test]
fn what_is_learnt_while_a_read_is_outstanding_is_not_overwritten_by_its_answer() {
    let mut lanes = lanes(8, 8);
    lanes.lower(HOOK, at(0));
    see(&mut lanes);
    assert_eq!(asked(&mut lanes, 100).len(), 1);
    lanes.lower(HOOK, at(100));
    answer(&mut lanes, vec![], Some(9_000), 100);
    assert_eq!(lanes.next_wake(), Some(at(100)));
    assert_eq!(asked(&mut lanes, 100).len(), 1);
    answer(&mut lanes, vec![], Some(9_000), 100);
    assert_eq!(lanes.next_wake(), Some(at(9_000)));
}

#[test]
fn a_refused_read_is_asked_again() {
    let mut lanes = lanes(8, 8);
    lanes.lower(HOOK, at(0));
    assert_eq!(asked(&mut lanes, 0).len(), 1);
    assert!(asked(&mut lanes, 0).is_empty());
    lanes.unasked_due(&[HOOK], false);
    assert_eq!(asked(&mut lanes, 0).len(), 1);
}

#[test]
fn what_arrives_goes_behind_what_is_older_in_the_store() {
    let mut lanes = lanes(8, 8);
    lanes.lower(HOOK, at(10));
    see(&mut lanes);
    // Something older waits: this is left where it is.
    lanes.arrive(due(7, 20));
    assert_eq!(next(&mut lanes), None);
    assert_eq!(asked(&mut lanes, 30).len(), 1);
    // While that is read this is taken up, and given back when even older things show up.
    lanes.arrive(due(8, 30));
    answer(&mut lanes, vec![due(5, 10)], Some(20), 30);
    assert_eq!((next(&mut lanes), next(&mut lanes)), (Some(5), None));
    assert_eq!(lanes.next_wake(), Some(at(20)));
    assert_eq!(asked(&mut lanes, 30), [(HOOK, 1 + limits::LANE_READ_MAX)]);
    answer(&mut lanes, vec![due(7, 20), due(8, 30)], None, 30);
    assert_eq!((next(&mut lanes), next(&mut lanes)), (Some(7), Some(8)));
}

#[test]
fn a_lane_holds_no_more_than_its_bound_and_reads_on_when_it_runs_low() {
    let mut lanes = lanes(1_000, 1_000);
    let bound = i64::try_from(limits::LANE_HELD_MAX).unwrap();
    for number in 0..bound + 10 {
        lanes.arrive(due(number, number));
    }
    assert_eq!(lanes.held(), limits::LANE_HELD_MAX);
    see(&mut lanes);
    // The rest is in the store; it is read when there is need and room.
    assert_eq!(lanes.next_wake(), None);
    for number in 0..bound {
        assert_eq!(next(&mut lanes), Some(number));
        land(&mut lanes, number);
        lanes.settled(id(number), None);
    }
    assert_eq!(lanes.next_wake(), Some(at(bound)));
}

#[test]
fn lanes_take_turns() {
    let mut lanes = lanes(16, 8);
    for number in 0..4 {
        lanes.arrive(due(number, 0));
    }
    for number in 10..12 {
        lanes.arrive(due_of(OTHER, number, 0));
    }
    see(&mut lanes);
    for webhook in [HOOK, OTHER] {
        lanes.arrive(due_of(webhook, 20, 0));
    }
    let order: Vec<_> = std::iter::from_fn(|| next(&mut lanes)).collect();
    assert_eq!(order[..4], [0, 10, 1, 11]);
}

#[test]
fn receivers_that_hang_get_half_of_all_flights_at_most() {
    let mut lanes = lanes(8, 8);
    lanes.arrive(due(0, 0));
    see(&mut lanes);
    assert_eq!(next(&mut lanes), Some(0));
    let hung = Landing {
        failed: true,
        hung: true,
        ..Landing::default()
    };
    assert_eq!(lanes.landed(id(0), hung), Some(Turned::Failing));
    for number in 1..20 {
        lanes.arrive(due(number, 0));
    }
    let order: Vec<_> = std::iter::from_fn(|| next(&mut lanes)).collect();
    assert_eq!(order, [1, 2, 3, 4]);
    // One that answers gets what is left, though the others came first.
    lanes.arrive(due_of(OTHER, 50, 0));
    see(&mut lanes);
    assert_eq!(next(&mut lanes), Some(50));
    lanes.landed(id_of(OTHER, 50), Landing::default());
    for number in 51..60 {
        lanes.arrive(due_of(OTHER, number, 0));
    }
    let order: Vec<_> = std::iter::from_fn(|| next(&mut lanes)).collect();
    assert_eq!(order, [51, 52, 53, 54]);
    // Once it answers again, it counts like any other.
    assert_eq!(
        lanes.landed(id(1), Landing::default()),
        Some(Turned::Recovered)
    );
    assert_eq!(next(&mut lanes), Some(5));
}

#[test]
fn a_receiver_that_is_gone_shuts_its_lane_at_once() {
    let mut lanes = lanes(8, 1);
    lanes.arrive(due(1, 0));
    lanes.arrive(due(2, 0));
    see(&mut lanes);
    assert_eq!(next(&mut lanes), Some(1));
    let gone = Landing {
        failed: true,
        gone: true,
        ..Landing::default()
    };
    lanes.landed(id(1), gone);
    assert_eq!(next(&mut lanes), None);
    assert_eq!(lanes.held(), 0);
    lanes.settled(id(1), None);
    assert_eq!(lanes.count(), 0);
}

#[test]
fn a_target_that_changes_while_it_is_read_is_read_again() {
    let mut lanes = lanes(8, 8);
    lanes.arrive(due(1, 0));
    assert_eq!(lanes.ask_targets(), [HOOK]);
    lanes.changed(HOOK, at(0));
    lanes.answer_target(HOOK, open());
    assert_eq!(next(&mut lanes), None);
    assert_eq!(lanes.ask_targets(), [HOOK]);
    lanes.answer_target(HOOK, open());
    // Nor is what was ready taken for what is still owed.
    assert_eq!(next(&mut lanes), None);
    assert_eq!(asked(&mut lanes, 0).len(), 1);
    answer(&mut lanes, vec![due(1, 0)], None, 0);
    assert_eq!(next(&mut lanes), Some(1));
}

#[test]
fn a_disabled_webhook_is_cancelled_until_nothing_is_left() {
    let mut lanes = lanes(8, 8);
    lanes.arrive(due(1, 0));
    assert_eq!(lanes.ask_targets(), [HOOK]);
    lanes.answer_target(HOOK, Seen::Disabled);
    assert_eq!(lanes.held(), 0);
    assert_eq!(lanes.next_cancel(), Some(HOOK));
    assert_eq!(lanes.next_cancel(), None);
    lanes.cancelled(HOOK, true);
    assert_eq!(lanes.next_cancel(), Some(HOOK));
    lanes.cancelled(HOOK, false);
    assert_eq!(lanes.next_cancel(), None);
    assert_eq!(lanes.count(), 0);
}
