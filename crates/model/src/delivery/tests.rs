//! What attempts make of deliveries.

use super::*;
use crate::attempt::{BodyEnd, Failure, FailureKind, HttpResponse};
use crate::id::{NotificationId, WebhookId};
use crate::policy::{EventNaming, NameOf};
use crate::schedule::Schedule;

const HOUR: i64 = 3_600_000;
const START: Timestamp = Timestamp::EPOCH;

fn policy(gone_disables: bool) -> Policy {
    Policy {
        schedule: Schedule {
            delays_ms: vec![5_000, 30_000],
            jitter_from_ms: HOUR,
            jitter_percent: 10,
            final_attempt_after_ms: Some(72 * HOUR),
        },
        exchange_limit_ms: 30_000,
        gone_disables,
        retry_after_max_ms: None,
        dedupe_header: None,
        user_agent: "Willcall/0".to_owned(),
        content_type: "application/json".to_owned(),
        event_naming: EventNaming::default(),
        retention_ms: 30 * 24 * HOUR,
        bounds: Arc::default(),
        name_of: NameOf::default(),
    }
}

fn fresh() -> Delivery {
    Delivery {
        id: DeliveryId {
            notification: NotificationId(1),
            webhook: WebhookId(1),
        },
        round: 1,
        attempts: 0,
        round_attempts: 0,
        round_began_at: None,
        due_at: START,
    }
}

fn answered(status: u16) -> Outcome {
    let (headers, body, body_end) = (Headers::default(), Bytes::new(), BodyEnd::Whole);
    Outcome::Answered(HttpResponse {
        status,
        headers,
        body,
        body_end,
        note: None,
    })
}

/// Answered with this status and `Retry-After`.
fn asking(status: u16, seconds: &str) -> Outcome {
    Outcome::Answered(HttpResponse {
        status,
        headers: Headers::from_pairs([("Retry-After", seconds.as_bytes())]),
        body: Bytes::new(),
        body_end: BodyEnd::Whole,
        note: None,
    })
}

fn after(delivery: &Delivery, outcome: &Outcome, at: Timestamp, gone_disables: bool) -> NextState {
    delivery.transition(
        outcome,
        at,
        Moment::same(at),
        &policy(gone_disables),
        None,
        &mut SeededRng::from_seed([0; 32]),
    )
}

#[test]
fn a_2xx_ends_it_as_delivered() {
    let next = after(&fresh(), &answered(204), START, true);
    assert_eq!((next.state, next.due_at), (DeliveryState::Delivered, None));
    assert!(!next.disables_webhook);
}

#[test]
fn everything_else_is_tried_again() {
    let silent = Outcome::Failed(Failure::new(FailureKind::TimeLimit, ""));
    for outcome in [
        answered(199),
        answered(304),
        answered(500),
        answered(600),
        silent,
    ] {
        let next = after(&fresh(), &outcome, START, true);
        assert_eq!(
            (next.state, next.due_at),
            (DeliveryState::Pending, Some(START.plus_ms(5_000)))
        );
        assert_eq!(next.round_began_at, START);
    }
}

#[test]
fn gone_disables_the_webhook_where_the_policy_says_so() {
    let next = after(&fresh(), &answered(410), START, true);
    assert_eq!(
        next.state,
        DeliveryState::Cancelled(CancelCause::ReceiverGone)
    );
    assert!(next.disables_webhook);
    let next = after(&fresh(), &answered(410), START, false);
    assert_eq!(next.state, DeliveryState::Pending);
    assert!(!next.disables_webhook);
}

#[test]
fn the_last_try_is_72_hours_after_the_first_began_and_then_it_is_exhausted() {
    let tried_out = Delivery {
        attempts: 2,
        round_attempts: 2,
        round_began_at: Some(START),
        ..fresh()
    };
    let next = after(&tried_out, &answered(500), START.plus_ms(HOUR), true);
    assert_eq!(next.due_at, Some(START.plus_ms(72 * HOUR)));
    let next = after(&tried_out, &answered(500), START.plus_ms(72 * HOUR), true);
    assert_eq!((next.state, next.due_at), (DeliveryState::Failed, None));
}

#[test]
fn a_new_round_has_the_whole_schedule_before_it() {
    let again = Delivery {
        round: 2,
        attempts: 13,
        ..fresh()
    };
    let later = START.plus_ms(1_000 * HOUR);
    let next = after(&again, &answered(500), later, true);
    assert_eq!(next.due_at, Some(later.plus_ms(5_000)));
    assert_eq!(next.round_began_at, later);
}

#[test]
fn a_webhook_may_ask_for_fewer_retries_and_then_gets_no_last_try_either() {
    let mut states = Vec::new();
    for round_attempts in 0..3 {
        let delivery = Delivery {
            round_attempts,
            ..fresh()
        };
        let rng = &mut SeededRng::from_seed([0; 32]);
        let policy = policy(false);
        let next = delivery.transition(
            &answered(500),
            START,
            Moment::same(START),
            &policy,
            Some(1),
            rng,
        );
        states.push(next.state);
    }
    let (pending, exhausted) = (DeliveryState::Pending, DeliveryState::Failed);
    assert_eq!(states, [pending, exhausted, exhausted]);
}

#[test]
fn retry_after_lengthens_the_wait_of_the_whole_webhook_where_the_policy_says_so() {
    let after = |outcome: &Outcome, max_ms: Option<i64>, retries_max| {
        let policy = Policy {
            retry_after_max_ms: max_ms,
            ..policy(false)
        };
        let rng = &mut SeededRng::from_seed([0; 32]);
        let next = fresh().transition(
            outcome,
            START,
            Moment::same(START),
            &policy,
            retries_max,
            rng,
        );
        let ms = |at: Option<Timestamp>| at.map(|at| at.ms_since(START));
        (ms(next.due_at), ms(next.pauses_until))
    };
    let hour = Some(HOUR);
    assert_eq!(
        after(&asking(503, "90"), hour, None),
        (Some(90_000), Some(90_000))
    );
    // It never shortens a wait, and another status says nothing by it.
    assert_eq!(
        after(&asking(503, "2"), hour, None),
        (Some(5_000), Some(2_000))
    );
    assert_eq!(after(&asking(503, "9999999"), hour, None), (hour, hour));
    assert_eq!(after(&asking(503, "90"), None, None), (Some(5_000), None));
    assert_eq!(after(&answered(503), hour, None), (Some(5_000), None));
    // What is tried out stays so; the others of the webhook wait all the same.
    assert_eq!(
        after(&asking(503, "90"), hour, Some(0)),
        (None, Some(90_000))
    );
}

#[test]
fn names_of_causes_come_back_as_they_went_in() {
    for cause in CancelCause::ALL {
        assert_eq!(cause.as_str().parse(), Ok(cause));
    }
}

/// A delivery that failed `failures` times and waits until `due_at`.
fn waiting(failures: u32, due_at: i64) -> Delivery {
    Delivery {
        attempts: failures,
        round_attempts: failures,
        round_began_at: Some(START),
        due_at: Timestamp::from_millis(due_at),
        ..fresh()
    }
}

#[test]
fn an_attempt_ahead_of_its_time_that_fails_changes_nothing_of_the_schedule() {
    for failures in 1..4 {
        let delivery = waiting(failures, 70 * HOUR);
        let early = after(&delivery, &answered(503), Timestamp::from_millis(60), true);
        assert_eq!(early.state, DeliveryState::Pending);
        assert_eq!(early.due_at, Some(delivery.due_at));
        assert!(early.early);
        // One at its time goes on as if the other had not been.
        let in_time = after(&delivery, &answered(503), delivery.due_at, true);
        assert!(!in_time.early);
        assert!(in_time.due_at > Some(delivery.due_at));
    }
}

#[test]
fn an_attempt_ahead_of_its_time_uses_up_no_retry_that_the_webhook_asked_for() {
    let delivery = waiting(1, HOUR);
    let next = |at| {
        let mut rng = SeededRng::from_seed([0; 32]);
        delivery.transition(
            &answered(500),
            at,
            Moment::same(at),
            &policy(true),
            Some(0),
            &mut rng,
        )
    };
    assert_eq!(next(START).state, DeliveryState::Pending);
    assert_eq!(next(delivery.due_at).state, DeliveryState::Failed);
}

#[test]
fn an_attempt_ahead_of_its_time_may_deliver_disable_and_pause() {
    let delivery = waiting(2, HOUR);
    let next = after(&delivery, &answered(200), START, true);
    assert_eq!((next.state, next.due_at), (DeliveryState::Delivered, None));
    let next = after(&delivery, &answered(410), START, true);
    assert!(next.disables_webhook && next.state.is_end());
    let policy = Policy {
        retry_after_max_ms: Some(10 * HOUR),
        ..policy(true)
    };
    let next = |seconds: &str| {
        let busy = asking(503, seconds);
        let mut rng = SeededRng::from_seed([0; 32]);
        delivery.transition(&busy, START, Moment::same(START), &policy, None, &mut rng)
    };
    // A pause holds for it as for any other, and a short one brings nothing forward.
    assert_eq!(next("7200").due_at, Some(START.plus_ms(2 * HOUR)));
    assert_eq!(next("60").due_at, Some(delivery.due_at));
}

#[test]
fn the_first_attempt_of_a_round_is_never_ahead_of_its_time() {
    // A clock that was set back between two processes makes it look so.
    let mut delivery = fresh();
    delivery.due_at = START.plus_ms(HOUR);
    let next = after(&delivery, &answered(500), START, true);
    assert_eq!(next.due_at, Some(START.plus_ms(5_000)));
}

#[test]
fn time_in_which_nothing_could_be_sent_uses_up_no_schedule() {
    let policy = policy(true);
    let mut rng = SeededRng::from_seed([0; 32]);
    let first = fresh().transition(
        &answered(500),
        START,
        Moment::same(START),
        &policy,
        None,
        &mut rng,
    );
    let retried = Delivery {
        attempts: 1,
        round_attempts: 1,
        round_began_at: Some(first.round_began_at),
        due_at: first.due_at.unwrap(),
        ..fresh()
    };
    // The wall clock is four days and more ahead by now, the schedule is where it was.
    for away in [4 * 24 * HOUR, 400 * 24 * HOUR, -START.as_millis()] {
        let schedule = retried.due_at;
        let wall = schedule.plus_ms(away);
        let ended = Moment { wall, schedule };
        let next = retried.transition(&answered(500), schedule, ended, &policy, None, &mut rng);
        assert_eq!(next.state, DeliveryState::Pending);
        assert_eq!(next.due_at, Some(schedule.plus_ms(30_000)));
    }
}

#[test]
fn a_date_in_retry_after_is_one_of_the_wall_clock() {
    let policy = Policy {
        retry_after_max_ms: Some(HOUR),
        ..policy(false)
    };
    let ended = Moment {
        wall: "2027-01-19T10:00:00Z".parse().unwrap(),
        schedule: START.plus_ms(7 * HOUR),
    };
    let busy = asking(503, "Tue, 19 Jan 2027 10:10:00 GMT");
    let mut rng = SeededRng::from_seed([0; 32]);
    let next = fresh().transition(&busy, ended.schedule, ended, &policy, None, &mut rng);
    assert_eq!(next.pauses_until, Some(ended.schedule.plus_ms(600_000)));
}
