//! Settling: what attempts leave behind, in time, late, twice, and when the receiver is gone.

use bytes::Bytes;
use model::attempt::{BodyEnd, FailureKind, HttpResponse, Outcome};
use model::contract::{ReplayScope, Settlement};
use model::delivery::{CancelCause, DeliveryState};
use model::query::DeliveryStatus;
use model::webhook::{DisableCause, Headers};

use super::harness::{
    Given, Told, answered, at, attempt, delivered, delivery_id, ended, failed, gone, retry,
    settlement, wait,
};

#[test]
fn a_success_ends_a_delivery() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let id = delivery_id(given.notified("1", 1_000), webhook);
    given.settle(settlement(id, 1_200, answered(204), delivered()));
    let story = given.story(id);
    assert_eq!(story.row.state, DeliveryState::Delivered);
    assert_eq!(
        (story.row.due_at, story.row.ended_at),
        (None, Some(at(1_200)))
    );
    assert_eq!(story.attempts.len(), 1);
    assert_eq!(story.attempts[0].attempt, attempt(1_200, answered(204)));
    assert!(given.due(webhook, 10, i64::MAX).0.is_empty());
}

#[test]
fn what_is_received_at_once_stands_as_any_other_delivery_that_was_received() {
    let given = Given::kept();
    let webhook = given.paid_webhook();
    let answer = |body_end| {
        Outcome::Answered(HttpResponse {
            status: 201,
            headers: Headers(Bytes::from_static(b"A: b\r\n")),
            body: Bytes::from_static(b"thanks"),
            body_end,
            note: None,
        })
    };
    // Lines that are met for the first time stay with their attempt, and so each is written
    // otherwise than the one before.
    let ends = [BodyEnd::Cut, BodyEnd::Cut, BodyEnd::Whole];
    let stories = (1..).zip(ends).map(|(number, end)| {
        let id = delivery_id(given.notified(&number.to_string(), 1_000), webhook);
        given.settle(settlement(id, 1_200, answer(end), delivered()));
        let mut story = given.story(id);
        assert_eq!(story.attempts[0].attempt.outcome, answer(end));
        story.row.latest = None;
        let first = story.attempts.remove(0);
        assert!(story.attempts.is_empty());
        let row = story.row;
        let rest = (row.state, row.attempts, row.due_at, row.ended_at);
        let when = (
            first.attempt.began_at,
            first.attempt.duration_ms,
            first.next_due_at,
        );
        (
            rest,
            when,
            (first.attempt.url, first.attempt.request_headers),
        )
    });
    let stories: Vec<_> = stories.collect();
    assert_eq!(stories[0], stories[1]);
    assert_eq!(stories[1], stories[2]);
    // Nothing of the round is left, so a replay begins another.
    let left = "select count(*) from delivery
        where round = 1 and round_start = 0 and attempts = 1 and round_began_at is null and cause is null
          and failure is null and detail is null and next_due_at is null";
    assert_eq!(given.number(left), 3);
}

#[test]
fn a_failure_waits_for_its_next_attempt() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let id = delivery_id(given.notified("1", 1_000), webhook);
    let mut next = retry(6_000);
    next.round_began_at = at(1_100);
    given.settle(settlement(id, 1_100, failed(FailureKind::Connect), next));
    assert!(given.due(webhook, 10, 5_999).0.is_empty());
    let due = given.due(webhook, 10, 6_000).0.remove(0).delivery;
    assert_eq!((due.attempts, due.round_attempts, due.round), (1, 1, 1));
    assert_eq!(
        (due.round_began_at, due.due_at),
        (Some(at(1_100)), at(6_000))
    );
    let story = given.story(id);
    assert_eq!(story.row.status(), DeliveryStatus::Retrying);
    assert_eq!(story.row.latest, Some(failed(FailureKind::Connect)));
    assert_eq!(story.attempts[0].next_due_at, Some(at(6_000)));
}

#[test]
fn every_outcome_is_read_as_it_was_written() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let answer = |body_end, body: &'static [u8]| {
        Outcome::Answered(HttpResponse {
            status: 599,
            headers: Headers(Bytes::from_static(b"A: \xff\x00\r\n")),
            body: Bytes::from_static(body),
            body_end,
            note: None,
        })
    };
    let failures = FailureKind::ALL.map(failed);
    let answers = BodyEnd::ALL.map(|end| answer(end, b"\x00\xff body"));
    let bare = Outcome::Answered(HttpResponse {
        status: 0,
        headers: Headers::default(),
        body: Bytes::new(),
        body_end: BodyEnd::Whole,
        note: None,
    });
    let noted = [BodyEnd::Whole, BodyEnd::Broken].map(|body_end| {
        Outcome::Answered(HttpResponse {
            status: 204,
            headers: Headers::default(),
            body: Bytes::new(),
            body_end,
            note: Some("line 2 of its head has no colon".into()),
        })
    });
    let outcomes = failures.into_iter().chain(answers).chain([bare]);
    let outcomes = outcomes.chain(noted);
    for (number, outcome) in (1..).zip(outcomes) {
        let id = delivery_id(given.notified(&number.to_string(), number), webhook);
        let exhausted = ended(DeliveryState::Failed);
        given.settle(settlement(id, number, outcome.clone(), exhausted));
        let story = given.story(id);
        assert_eq!(story.attempts[0].attempt, attempt(number, outcome.clone()));
        // Lists have no room for all that receivers may send.
        let shown = match outcome {
            Outcome::Answered(answer) => Outcome::Answered(HttpResponse {
                headers: Headers::default(),
                body: Bytes::new(),
                ..answer
            }),
            failed @ Outcome::Failed(_) => failed,
        };
        assert_eq!(story.row.latest.as_ref(), Some(&shown));
        assert_eq!(given.log(webhook)[0].latest, Some(shown));
    }
}

#[test]
fn what_was_wrong_with_an_answer_is_kept_also_where_it_was_delivered_at_once() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let outcome = Outcome::Answered(HttpResponse {
        status: 204,
        headers: Headers::default(),
        body: Bytes::new(),
        body_end: BodyEnd::Whole,
        note: Some("line 2 of its head has no colon".into()),
    });
    let id = delivery_id(given.notified("1", 1), webhook);
    given.settle(settlement(
        id,
        1,
        outcome.clone(),
        ended(DeliveryState::Delivered),
    ));
    let story = given.story(id);
    assert_eq!(story.attempts[0].attempt.outcome, outcome);
    assert_eq!(
        story.attempts[0].attempt.outcome.words(),
        "Answered 204, delivered; line 2 of its head has no colon."
    );
}

/// A settlement whose attempt came at once after a call on a connection that had ended.
fn with_stale(settlement: Settlement, began_at: i64) -> Settlement {
    Settlement {
        stale: Some(Box::new(attempt(began_at, failed(FailureKind::Stale)))),
        ..settlement
    }
}

#[test]
fn a_call_on_a_connection_that_had_ended_is_written_down_and_takes_nothing_from_the_schedule() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let id = delivery_id(given.notified("1", 1_000), webhook);
    // Of an unattempted delivery, of an attempted one, of one whose round is over, and twice.
    let first = settlement(id, 1_100, failed(FailureKind::Connect), retry(6_000));
    let first = with_stale(first, 1_090);
    given.settle(first.clone());
    given.settle_again(first);
    let due = given.due(webhook, 10, 6_000).0.remove(0).delivery;
    assert_eq!((due.attempts, due.round_attempts, due.round), (2, 1, 1));
    let second = Settlement {
        attempts: 2,
        ..settlement(id, 6_100, failed(FailureKind::Closed), retry(36_000))
    };
    given.settle(with_stale(second, 6_050));
    let due = given.due(webhook, 10, 36_000).0.remove(0).delivery;
    assert_eq!((due.attempts, due.round_attempts), (4, 2));
    let late = Settlement {
        attempts: 2,
        ..settlement(id, 7_100, failed(FailureKind::Closed), retry(36_000))
    };
    given.settle(with_stale(late, 7_050));
    let due = given.due(webhook, 10, 36_000).0.remove(0).delivery;
    assert_eq!((due.attempts, due.round_attempts), (6, 3));
    let kinds: Vec<_> = given.story(id).attempts;
    let told = |past: &model::query::AttemptRecord| {
        let Outcome::Failed(failure) = &past.attempt.outcome else {
            panic!("all failed");
        };
        (past.number, failure.kind, past.attempt.began_at)
    };
    use FailureKind::{Closed, Connect, Stale};
    assert_eq!(
        kinds.iter().map(told).collect::<Vec<_>>(),
        [
            (1, Stale, at(1_090)),
            (2, Connect, at(1_100)),
            (3, Stale, at(6_050)),
            (4, Closed, at(6_100)),
            (5, Stale, at(7_050)),
            (6, Closed, at(7_100)),
        ]
    );
}

#[test]
fn what_is_delivered_at_once_after_a_connection_had_ended_has_both_calls() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let id = delivery_id(given.notified("1", 1_000), webhook);
    let outcome = Outcome::Answered(HttpResponse {
        status: 204,
        headers: Headers::default(),
        body: Bytes::new(),
        body_end: BodyEnd::Whole,
        note: None,
    });
    let received = settlement(id, 1_100, outcome.clone(), ended(DeliveryState::Delivered));
    given.settle(with_stale(received, 1_090));
    let story = given.story(id);
    assert_eq!(
        (story.row.state, story.row.attempts),
        (DeliveryState::Delivered, 2)
    );
    let outcomes = story.attempts.into_iter().map(|past| past.attempt.outcome);
    assert_eq!(
        outcomes.collect::<Vec<_>>(),
        [failed(FailureKind::Stale), outcome]
    );
    assert_eq!(given.log(webhook)[0].attempts, 2);
}

#[test]
fn of_long_answers_as_many_are_shown_as_have_room_and_always_the_latest() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let id = delivery_id(given.notified("1", 1_000), webhook);
    let answer = |bytes: usize| {
        Outcome::Answered(HttpResponse {
            status: 500,
            headers: Headers(Bytes::from(vec![b'h'; bytes])),
            body: Bytes::from(vec![b'b'; bytes]),
            body_end: BodyEnd::Whole,
            note: None,
        })
    };
    let settle = |attempts: u32, bytes: usize| {
        let time = 1_000 + i64::from(attempts);
        let one = settlement(id, time, answer(bytes), retry(time + 1));
        given.settle(Settlement { attempts, ..one });
        let shown = given.story(id).attempts;
        shown.iter().map(|past| past.number).collect::<Vec<_>>()
    };
    (0..6).for_each(|attempts| drop(settle(attempts, 400 * 1024)));
    assert_eq!(settle(6, 400 * 1024), [3, 4, 5, 6, 7]);
    assert_eq!(settle(7, 2 * 1024 * 1024), [8]);
    assert_eq!(settle(8, 0), [9]);
    let row = given.story(id).row;
    let Some(Outcome::Answered(latest)) = &row.latest else {
        panic!("{row:?}");
    };
    assert_eq!((latest.status, latest.headers.is_empty()), (500, true));
}

#[test]
fn what_was_sent_is_told_apart_also_where_attempts_share_its_memory() {
    let given = Given::kept();
    let webhook = given.paid_webhook();
    let lines = Bytes::from(b"A: b\r\nC: d\r\n".repeat(20));
    let (whole, part) = (Headers(lines.clone()), Headers(lines.slice(..12)));
    let long = Headers(Bytes::from(b"E: f\r\n".repeat(1_000)));
    let urls: [std::sync::Arc<str>; 2] = ["https://a.example/".into(), "https://b.example/".into()];
    let sent = [
        (&urls[0], &whole),
        (&urls[0], &whole),
        (&urls[0], &part),
        (&urls[1], &part),
        (&urls[1], &whole),
        (&urls[0], &whole),
        (&urls[0], &long),
        (&urls[0], &long),
    ];
    let settle = |number: i64, time: i64| {
        let id = delivery_id(given.notified(&number.to_string(), time), webhook);
        let mut settlement = settlement(id, time, answered(200), delivered());
        let sent = sent[usize::try_from(number).unwrap() % sent.len()];
        settlement.attempt.url = std::sync::Arc::clone(sent.0);
        settlement.attempt.request_headers = sent.1.clone();
        given.settle(settlement.clone());
        assert_eq!(given.story(id).attempts[0].attempt, settlement.attempt);
    };
    let kept = || given.number("select count(*) from envelope where url <> ''");
    (0..16).for_each(|number| settle(number, 1_000));
    assert_eq!(kept(), 5);
    // Each day has its own, whatever is remembered.
    const DAY: i64 = 24 * 3_600_000;
    let kept_then = (16..24).map(|number| {
        settle(number, DAY + 1_000);
        kept()
    });
    assert_eq!(kept_then.collect::<Vec<_>>(), [6, 6, 7, 8, 9, 9, 10, 10]);
}

#[test]
fn attempts_of_one_kind_share_what_was_sent_and_differ_where_it_differs() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let urls = [
        "https://a.example/",
        "https://b.example/",
        "https://a.example/",
    ];
    for (number, url) in (1..).zip(urls) {
        let id = delivery_id(given.notified(&number.to_string(), number), webhook);
        let mut settlement = settlement(id, number, answered(200), delivered());
        settlement.attempt.url = url.into();
        given.settle(settlement);
        assert_eq!(&*given.story(id).attempts[0].attempt.url, url);
    }
}

#[test]
fn a_late_failure_is_written_down_and_changes_nothing() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let id = delivery_id(given.notified("1", 1_000), webhook);
    given.settle(settlement(
        id,
        1_100,
        answered(500),
        ended(DeliveryState::Failed),
    ));
    given.replay(webhook, ReplayScope::One(id), 2_000);
    given.settle(settlement(id, 2_500, answered(503), retry(9_000)));
    let due = given.due(webhook, 10, 2_000).0.remove(0).delivery;
    assert_eq!((due.round, due.attempts, due.due_at), (2, 2, at(2_000)));
    // The attempt belongs to the round before, so this one has its whole schedule left.
    assert_eq!((due.round_attempts, due.round_began_at), (0, None));
    let story = given.story(id);
    assert_eq!(story.attempts.len(), 2);
    assert_eq!(story.attempts[1].number, 2);
    assert_eq!(story.attempts[1].next_due_at, None);
}

#[test]
fn a_late_success_counts() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let pending = delivery_id(given.notified("1", 1_000), webhook);
    given.settle(settlement(
        pending,
        1_100,
        answered(500),
        ended(DeliveryState::Failed),
    ));
    given.replay(webhook, ReplayScope::One(pending), 2_000);
    let cancelled = delivery_id(given.notified("2", 1_000), webhook);
    given.disable(webhook, 2_100);
    assert_eq!(
        given.state(cancelled),
        DeliveryState::Cancelled(CancelCause::WebhookDisabled)
    );
    for id in [pending, cancelled] {
        given.settle(settlement(id, 2_500, answered(200), delivered()));
        let row = given.story(id).row;
        assert_eq!(row.state, DeliveryState::Delivered);
        assert_eq!((row.ended_at, row.due_at), (Some(at(2_500)), None));
    }
    // What is delivered stays so, whatever comes later.
    given.settle(settlement(pending, 2_600, answered(500), retry(9_000)));
    assert_eq!(given.state(pending), DeliveryState::Delivered);
    assert!(given.due(webhook, 10, i64::MAX).0.is_empty());
}

#[test]
fn a_settlement_that_is_repeated_is_written_once() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let settlements = [
        (answered(200), delivered()),
        (answered(500), retry(9_000)),
        (answered(500), ended(DeliveryState::Failed)),
        (answered(410), gone()),
    ];
    for (number, (outcome, next)) in (1..).zip(settlements) {
        let id = delivery_id(given.notified(&number.to_string(), 1_000), webhook);
        let settlement = settlement(id, 1_100, outcome, next);
        given.settle(settlement.clone());
        let first = given.story(id);
        let version = given.stored(webhook).version;
        given.settle_again(settlement);
        assert_eq!(given.story(id), first);
        assert_eq!(given.stored(webhook).version, version);
    }
}

#[test]
fn a_settlement_is_written_once_also_if_its_delivery_changed_before_the_repetition() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let brought_forward = delivery_id(given.notified("1", 1_000), webhook);
    let retried = settlement(brought_forward, 1_100, answered(500), retry(9_000));
    given.settle(retried.clone());
    given.replay(webhook, ReplayScope::One(brought_forward), 1_200);
    let first = given.story(brought_forward);
    given.settle_again(retried);
    assert_eq!(given.story(brought_forward), first);

    let cancelled = delivery_id(given.notified("2", 1_000), webhook);
    let retried = settlement(cancelled, 1_100, answered(500), retry(9_000));
    given.settle(retried.clone());
    given.disable(webhook, 1_200);
    let first = given.story(cancelled);
    given.settle_again(retried);
    assert_eq!(given.story(cancelled), first);
}

#[test]
fn two_attempts_that_look_alike_are_both_written() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let id = delivery_id(given.notified("1", 1_000), webhook);
    given.settle(settlement(id, 1_100, answered(500), retry(5_000)));
    // Both retries are due at the same moment, and only when they began tells them apart.
    given.settle(settlement(id, 1_200, answered(500), retry(5_000)));
    let story = given.story(id);
    assert_eq!((story.row.attempts, story.attempts.len()), (2, 2));
    // Brought forward and attempted within the same millisecond.
    given.replay(webhook, ReplayScope::One(id), 1_200);
    given.settle(settlement(id, 1_200, answered(500), retry(5_000)));
    assert_eq!(given.story(id).attempts.len(), 3);
}

#[test]
fn a_delivery_that_is_gone_is_settled_without_a_trace() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let id = delivery_id(99, webhook);
    given.settle(settlement(id, 1_000, answered(410), gone()));
    assert!(
        wait(given.store.delivery(given.tenant, id))
            .unwrap()
            .is_none()
    );
    assert!(given.stored(webhook).enabled());
}

#[test]
fn a_receiver_that_is_gone_switches_its_webhook_off() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let other = given.paid_webhook();
    let ids: Vec<_> = (1..=3)
        .map(|n| delivery_id(given.notified(&n.to_string(), 1_000), webhook))
        .collect();
    let version = given.store.version();
    given.heard.take();
    // Two of one batch say so.
    let batch = ids[..2]
        .iter()
        .map(|id| settlement(*id, 1_500, answered(410), gone()))
        .collect();
    wait(given.store.settle(given.epoch(), batch)).unwrap();

    let stored = given.stored(webhook);
    let disabled = stored.disabled.unwrap();
    assert_eq!(
        (disabled.at, disabled.cause),
        (at(1_500), DisableCause::Gone)
    );
    assert_eq!((stored.version, stored.updated_at), (2, at(1_500)));
    for id in &ids {
        let row = given.story(*id).row;
        assert_eq!(
            row.state,
            DeliveryState::Cancelled(CancelCause::ReceiverGone)
        );
        assert_eq!(row.ended_at, Some(at(1_500)));
    }
    assert_eq!(given.story(ids[1]).attempts.len(), 1);
    assert_eq!(given.story(ids[2]).attempts.len(), 0);
    assert_eq!(given.due(other, 10, 1_500).0.len(), 3);
    assert_eq!(given.heard.take(), [Told::Changed(vec![webhook])]);
    assert!(given.store.version() > version);

    let audit = wait(given.store.audit(given.tenant, 10)).unwrap();
    assert_eq!(audit[0].action, "webhook.disabled");
    assert_eq!(audit[0].actor, "willcall");
    assert_eq!(audit[1].action, "webhook.created");
    let detail = &audit[0].detail;
    assert!(detail.contains(&ids[0].to_string()), "{detail}");
    assert!(detail.contains("https://***@example.org/hook"), "{detail}");
    assert!(!detail.contains("secret"), "{detail}");

    // Nothing is owed to it any more.
    given.notified("4", 2_000);
    assert!(given.due(webhook, 10, 2_000).0.is_empty());
}

#[test]
fn a_receiver_that_was_gone_before_the_webhook_changed_switches_nothing_off() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let mut changed = given.stored(webhook);
    changed.target_url = "https://example.org/elsewhere".to_owned();
    // Whatever the clock said when: it may have been set in between.
    let saved = given.save(changed, 1_050).unwrap();
    for (key, began_at) in [("1", 1_040), ("2", 1_060)] {
        let id = delivery_id(given.notified(key, 1_000), webhook);
        given.settle(settlement(id, began_at, answered(410), gone()));
        assert!(given.stored(webhook).enabled());
        assert_eq!(
            given.state(id),
            DeliveryState::Cancelled(CancelCause::ReceiverGone)
        );
    }
    let id = delivery_id(given.notified("3", 1_000), webhook);
    given.settle(Settlement {
        webhook_version: saved.version,
        ..settlement(id, 1_040, answered(410), gone())
    });
    assert!(!given.stored(webhook).enabled());
}
