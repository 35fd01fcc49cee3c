//! Pruning: what is removed, what stays, in steps.

use bytes::Bytes;
use model::delivery::DeliveryState;
use model::limits::{BULK_STEP_MAX, IDEMPOTENCY_RETENTION_MS};
use model::notification::{AcceptResult, NewNotification};
use model::query::StoredResponse;
use model::tenant::TokenHash;
use model::webhook::{DisableCause, Disablement, Headers, Webhook};

use super::harness::{Given, answered, at, delivered, delivery_id, ended, retry, settlement, wait};

fn prune(given: &Given, before: i64, now: i64) -> bool {
    wait(given.prune(before, now)).unwrap()
}

fn known(given: &Given, key: &str) -> bool {
    let again = given.new_notification(key, 90_000);
    matches!(given.accept(again), AcceptResult::Duplicate { .. })
}

#[test]
fn what_ended_and_is_old_goes_and_nothing_else() {
    let given = Given::new();
    let (one, two) = (given.paid_webhook(), given.paid_webhook());
    let old = given.notified("old", 1_000);
    let mixed = given.notified("mixed", 1_000);
    let waiting = given.notified("waiting", 1_000);
    let young = given.notified("young", 5_000);
    for id in [old, young] {
        for webhook in [one, two] {
            let id = delivery_id(id, webhook);
            given.settle(settlement(id, 5_100, answered(200), delivered()));
        }
    }
    given.settle(settlement(
        delivery_id(mixed, one),
        5_100,
        answered(500),
        ended(DeliveryState::Failed),
    ));
    given.settle(settlement(
        delivery_id(waiting, one),
        5_100,
        answered(500),
        retry(99_000),
    ));
    let nobodys = NewNotification {
        match_keys: Vec::new(),
        ..given.new_notification("nobody's", 1_000)
    };
    assert!(!matches!(
        given.accept(nobodys),
        AcceptResult::Conflict { .. }
    ));

    assert!(!prune(&given, 5_000, 9_000));
    let there = |id, webhook| {
        wait(given.store.delivery(given.tenant, delivery_id(id, webhook)))
            .unwrap()
            .is_some()
    };
    assert_eq!([there(old, one), there(old, two)], [false, false]);
    assert_eq!([there(mixed, one), there(mixed, two)], [false, true]);
    assert_eq!([there(waiting, one), there(waiting, two)], [true, true]);
    assert_eq!([there(young, one), there(young, two)], [true, true]);
    assert_eq!(given.story(delivery_id(waiting, one)).attempts.len(), 1);
    assert!(known(&given, "mixed") && known(&given, "waiting") && known(&given, "young"));
    // It came after the young one, though the clock had been set back by then.
    assert!(known(&given, "nobody's"));
    assert!(!known(&given, "old"));

    assert!(!prune(&given, 5_001, 95_000));
    assert!(!there(young, one));
    assert!(!known(&given, "nobody's"));
    // Ids are never used again.
    assert!(given.notified("next", 99_000) > young + 2);
}

#[test]
fn pruning_goes_in_steps_and_over_what_must_stay() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let mut kept = Vec::new();
    for round in 0..8 {
        let batch = (0..500).map(|n| given.new_notification(&format!("{round} {n}"), 1_000));
        let answers = wait(given.store.accept(batch.collect())).unwrap();
        let mut batch = Vec::new();
        for (n, answer) in answers.iter().enumerate() {
            let AcceptResult::Accepted { id, .. } = answer else {
                unreachable!()
            };
            let id = delivery_id(id.0, webhook);
            if n % 2 == 0 {
                batch.push(settlement(id, 1_100, answered(200), delivered()));
            } else {
                kept.push(id);
            }
        }
        wait(given.store.settle(given.epoch(), batch.into())).unwrap();
    }
    // 2,000 are removed with three rows each, 2,000 are looked at.
    let mut steps = 1;
    while prune(&given, 2_000, 0) {
        steps += 1;
        assert!(steps < 10);
    }
    assert!(steps > 8_000 / BULK_STEP_MAX);
    while prune(&given, 2_000, 0) {}
    let due: Vec<_> = given
        .due(webhook, 10_000, 1_000)
        .0
        .into_iter()
        .map(|due| due.delivery.id)
        .collect();
    assert_eq!(due, kept);
}

#[test]
fn a_deleted_webhook_goes_once_nothing_is_left_that_it_had_to_do_with() {
    let given = Given::kept();
    let [kept, deleted, disabled] = [1, 2, 3].map(|_| given.paid_webhook());
    let old = given.notified("old", 1_000);
    let young = given.notified("young", 5_000);
    for (notification, webhook) in [(old, deleted), (young, deleted), (old, kept)] {
        let id = delivery_id(notification, webhook);
        given.settle(settlement(id, 5_100, answered(200), delivered()));
    }
    let cause = DisableCause::Deleted;
    let at_6 = Some(Disablement {
        at: at(6_000),
        cause,
    });
    let gone = Webhook {
        disabled: at_6,
        ..given.stored(deleted)
    };
    given.save(gone, 6_000).unwrap();
    given.disable(disabled, 6_000);
    let all = || given.numbers("select id from webhook order by id");
    for _ in 0..3 {
        assert!(!prune(&given, 5_000, 7_000));
    }
    assert_eq!(all(), [kept.0, deleted.0, disabled.0]);
    assert_eq!(given.log(deleted).len(), 1);
    let hour = 3_600_000;
    for _ in 0..3 {
        assert!(!prune(&given, 2 * hour, 3 * hour));
    }
    // The page of a notification that somebody is still owed says what it was to it.
    assert_eq!(all(), [kept.0, deleted.0, disabled.0]);
    let id = delivery_id(young, kept);
    given.settle(settlement(id, 6_100, answered(200), delivered()));
    for _ in 0..3 {
        assert!(!prune(&given, 2 * hour, 3 * hour));
    }
    assert_eq!(all(), [kept.0, disabled.0]);
    assert!(given.paid_webhook().0 > disabled.0);
}

#[test]
fn a_delivery_with_very_many_attempts_goes_in_steps() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let id = delivery_id(given.notified("1", 1_000), webhook);
    for n in 0..12 {
        let batch = (0..500)
            .map(|m| {
                let ended_at = 2_000 + n * 500 + m;
                settlement(id, ended_at, answered(500), retry(ended_at + 9_000))
            })
            .collect();
        wait(given.store.settle(given.epoch(), batch)).unwrap();
    }
    given.settle(settlement(
        id,
        99_000,
        answered(500),
        ended(DeliveryState::Failed),
    ));
    let story = given.story(id);
    assert_eq!((story.row.attempts, story.attempts.len()), (6_001, 100));
    assert_eq!(story.attempts[0].number, 5_902);
    assert_eq!(story.attempts[99].number, 6_001);
    let mut steps = 0;
    while prune(&given, 2_000, 0) {
        steps += 1;
        assert!(steps < 10);
    }
    assert!(steps > 0);
    assert!(
        wait(given.store.delivery(given.tenant, id))
            .unwrap()
            .is_none()
    );
}

#[test]
fn envelopes_go_with_the_last_attempt_of_their_day() {
    const DAY: i64 = 24 * 3_600_000;
    let given = Given::kept();
    let webhook = given.paid_webhook();
    let count = || given.number("select count(*) from envelope where url <> ''");
    let mut ids = Vec::new();
    for day in 1..=3 {
        let id = delivery_id(given.notified(&day.to_string(), day * DAY), webhook);
        let next = if day == 1 {
            retry(99 * DAY)
        } else {
            delivered()
        };
        given.settle(settlement(id, day * DAY, answered(500), next));
        ids.push(id);
        given.skip_ids();
    }
    assert_eq!(count(), 3);
    assert!(!prune(&given, 3 * DAY, 0));
    // The first is still pending, so nothing of its day or later may go.
    assert_eq!(count(), 3);
    assert_eq!(given.story(ids[0]).attempts.len(), 1);
    given.settle(settlement(ids[0], 3 * DAY + 1, answered(200), delivered()));
    // On PostgreSQL one day goes at a time.
    (0..2).for_each(|_| assert!(!prune(&given, 3 * DAY, 0)));
    assert_eq!(count(), 1);
    assert_eq!(given.story(ids[2]).attempts.len(), 1);
    (0..2).for_each(|_| assert!(!prune(&given, 9 * DAY, 0)));
    assert_eq!(count(), 0);
    // What is cached of them is forgotten, too.
    let id = delivery_id(given.notified("again", 3 * DAY), webhook);
    given.settle(settlement(id, 3 * DAY, answered(200), delivered()));
    assert_eq!(given.story(id).attempts.len(), 1);
}

#[test]
fn an_answer_that_is_given_again_is_kept_once_and_goes_with_its_day() {
    const DAY: i64 = 24 * 3_600_000;
    let given = Given::kept();
    let webhook = given.paid_webhook();
    let count = |sql: &str| given.number(sql);
    let answers = "select count(*) from envelope where url = ''";
    let beside = "select count(*) from delivery where headers is not null";
    for number in 1..=4 {
        let id = delivery_id(given.notified(&number.to_string(), DAY), webhook);
        given.settle(settlement(id, DAY, answered(200), delivered()));
        let story = given.story(id);
        assert_eq!(story.attempts[0].attempt.outcome, answered(200));
        assert_eq!(
            story.row.latest.map(|latest| latest.status()),
            Some(Some(200))
        );
    }
    // The first time it stays where it is: most responses under little load are given once.
    assert_eq!((count(answers), count(beside)), (1, 1));
    given.skip_ids();
    assert!(!prune(&given, 3 * DAY, 0));
    assert_eq!(count(answers), 0);
}

#[test]
fn kept_answers_go_after_their_time() {
    let given = Given::new();
    let answer = |key: &str, status| StoredResponse {
        key: key.to_owned(),
        holder: TokenHash([1; 32]),
        request: TokenHash([2; 32]),
        status,
        headers: Headers::default(),
        body: Bytes::from_static(b"{}"),
    };
    let keep = |answer, time| wait(given.store.store_response(answer, at(time))).unwrap();
    let kept = |key: &str| {
        wait(
            given
                .store
                .stored_response(key.to_owned(), TokenHash([1; 32])),
        )
        .unwrap()
    };
    keep(answer("a", 200), 1_000);
    keep(answer("a", 500), 2_000);
    assert_eq!(kept("a"), Some(answer("a", 200)));
    keep(answer("b", 200), 2_000);
    assert!(!prune(&given, 0, 1_000 + IDEMPOTENCY_RETENTION_MS));
    assert!(kept("a").is_some());
    assert!(!prune(&given, 0, 1_001 + IDEMPOTENCY_RETENTION_MS));
    assert_eq!((kept("a").is_some(), kept("b").is_some()), (false, true));
    // Too old counts as gone, even before it is pruned.
    keep(answer("b", 201), 2_001 + IDEMPOTENCY_RETENTION_MS);
    assert_eq!(kept("b"), Some(answer("b", 201)));
    let other = wait(
        given
            .store
            .stored_response("b".to_owned(), TokenHash([3; 32])),
    );
    assert_eq!(other.unwrap(), None);
}

#[test]
fn no_id_is_given_twice_though_everything_was_removed() {
    let given = Given::kept();
    let webhook = given.paid_webhook();
    let first = given.notified("1", 1_000);
    let latest = given.notified("2", 1_000);
    assert!(latest > first);
    for id in [first, latest] {
        let id = delivery_id(id, webhook);
        given.settle(settlement(id, 1_100, answered(200), delivered()));
    }
    assert!(!prune(&given, 5_000, 0));
    assert!(given.log(webhook).is_empty());
    let next = given.notified("3", 6_000);
    assert!(next > latest);
    // Neither after a restart, when nobody remembers.
    let id = delivery_id(next, webhook);
    given.settle(settlement(id, 6_100, answered(200), delivered()));
    assert!(!prune(&given, 7_000, 0));
    wait(given.store.close()).unwrap();
    let again = given.reopened();
    assert!(again.notified("4", 8_000) > next);
}
