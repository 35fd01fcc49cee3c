//! Early attempts for receivers that have recovered, and what is known about a receiver.

use model::contract::{DueCursor, DueQuery, RecoveryPage, RecoveryQuery};
use model::delivery::NextState;
use model::id::{NotificationId, WebhookId};
use model::limits;

use super::harness::{Given, answered, at, delivered, delivery_id, retry, settlement, wait};

fn read(given: &Given, webhook: WebhookId, ahead: RecoveryQuery, now: i64) -> Option<RecoveryPage> {
    let ask = DueQuery {
        webhook,
        limit: 100,
        held: [].into(),
        recovery: Some(ahead),
    };
    let mut reads = wait(given.store.due(given.epoch(), vec![ask], at(now))).unwrap();
    reads.remove(0).recovery
}

fn numbers(read: &RecoveryPage) -> Vec<i64> {
    let deliveries = read.deliveries.iter();
    deliveries
        .map(|due| due.delivery.id.notification.0)
        .collect()
}

fn everything(tried_by: i64) -> RecoveryQuery {
    RecoveryQuery {
        tried_by: at(tried_by),
        after: None,
        limit: 100,
    }
}

/// Attempted early, at the time given.
fn ahead(due_at: i64) -> NextState {
    NextState {
        early: true,
        ..retry(due_at)
    }
}

#[test]
fn what_waits_for_a_retry_is_read_ahead_if_it_was_last_tried_before() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let ids: Vec<i64> = (0..4).map(|n| given.notified(&n.to_string(), 0)).collect();
    for (id, tried_at) in [(0, 100), (1, 300), (2, 200)] {
        let id = delivery_id(ids[id], webhook);
        let due_at = 9_000 - tried_at;
        given.settle(settlement(id, tried_at, answered(500), retry(due_at)));
    }
    let found = read(&given, webhook, everything(200), 500).unwrap();
    // By due time; the one that is due is read as ever, and the one tried later is left out.
    assert_eq!(numbers(&found), [ids[2], ids[0]]);
    assert_eq!(found.next, None);
    let found = read(&given, webhook, everything(300), 500).unwrap();
    assert_eq!(numbers(&found), [ids[1], ids[2], ids[0]]);
    // Nothing of it is due, so nothing else is read of it.
    assert_eq!(given.due(webhook, 10, 500).1, Some(8_700));
}

#[test]
fn what_was_tried_before_is_told_by_the_schedule_whatever_the_clock_said() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let ids: Vec<i64> = (0..3).map(|n| given.notified(&n.to_string(), 0)).collect();
    // The clock was ahead at the first, and behind at the others.
    for (id, tried_at, said) in [(0, 100, 90_000), (1, 300, 3), (2, 400, 4)] {
        let id = delivery_id(ids[id], webhook);
        let mut settlement = settlement(id, said, answered(500), retry(9_000));
        settlement.next.began_at = at(tried_at);
        given.settle(settlement);
    }
    let found = read(&given, webhook, everything(200), 500).unwrap();
    assert_eq!(numbers(&found), [ids[0]]);
    // A late attempt counts as well.
    let mut late = settlement(
        delivery_id(ids[0], webhook),
        95_000,
        answered(500),
        retry(9_000),
    );
    late.next.began_at = at(350);
    given.settle(late);
    let found = read(&given, webhook, everything(200), 500).unwrap();
    assert_eq!(numbers(&found), [0_i64; 0]);
}

#[test]
fn it_is_read_on_from_where_it_was_left_off() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let ids: Vec<i64> = (0..5).map(|n| given.notified(&n.to_string(), 0)).collect();
    for id in &ids {
        let id = delivery_id(*id, webhook);
        given.settle(settlement(id, 100, answered(500), retry(9_000)));
    }
    let mut ask = RecoveryQuery {
        limit: 2,
        ..everything(200)
    };
    let mut found = Vec::new();
    loop {
        let step = read(&given, webhook, ask, 200).unwrap();
        assert!(step.deliveries.len() <= 2);
        found.extend(numbers(&step));
        match step.next {
            Some(next) => ask.after = Some(next),
            None => break,
        }
    }
    assert_eq!(found, ids);
    // A mark that has become due does not lead back.
    let late = RecoveryQuery {
        after: Some(DueCursor {
            due_at: at(1),
            notification: NotificationId(0),
        }),
        ..everything(200)
    };
    let found = read(&given, webhook, late, 9_000).unwrap();
    assert_eq!((numbers(&found), found.next), (vec![], None));
}

#[test]
fn a_delivery_is_read_ahead_once_between_two_attempts_of_its_schedule() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let id = delivery_id(given.notified("a", 0), webhook);
    given.settle(settlement(id, 100, answered(500), retry(9_000)));
    let is_read = |tried_by, now| {
        let read = read(&given, webhook, everything(tried_by), now).unwrap();
        !read.deliveries.is_empty()
    };
    assert!(is_read(200, 300));
    let mut early = settlement(id, 400, answered(500), ahead(9_000));
    early.attempts = 1;
    given.settle(early);
    assert!(!is_read(500, 600));
    // An early attempt is in the log, and took nothing from the schedule.
    let (due, next) = given.due(webhook, 10, 9_000);
    assert_eq!(next, None);
    let delivery = &due[0].delivery;
    assert_eq!((delivery.attempts, delivery.round_attempts), (2, 1));
    let mut in_time = settlement(id, 9_000, answered(500), retry(30_000));
    in_time.attempts = 2;
    given.settle(in_time);
    assert!(is_read(9_500, 9_600));
}

#[test]
fn one_read_looks_at_a_bounded_number_of_them() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let count = limits::RECOVERY_ROWS_MAX + 10;
    for number in 0..count {
        let id = delivery_id(given.notified(&number.to_string(), 0), webhook);
        let tried_at = if number + 1 == count { 100 } else { 300 };
        given.settle(settlement(id, tried_at, answered(500), retry(9_000)));
    }
    let first = read(&given, webhook, everything(200), 500).unwrap();
    assert!(first.deliveries.is_empty());
    assert!(first.next.is_some());
    let on = RecoveryQuery {
        after: first.next,
        ..everything(200)
    };
    let second = read(&given, webhook, on, 500).unwrap();
    assert_eq!((second.deliveries.len(), second.next), (1, None));
}

#[test]
fn nothing_is_read_ahead_while_more_is_due_than_is_asked_for() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    for number in 0..3 {
        given.notified(&number.to_string(), 0);
    }
    let ask = DueQuery {
        webhook,
        limit: 3,
        held: [].into(),
        recovery: Some(everything(200)),
    };
    let reads = wait(given.store.due(given.epoch(), vec![ask], at(100))).unwrap();
    assert_eq!((reads[0].deliveries.len(), &reads[0].recovery), (3, &None));
}

#[test]
fn a_target_says_since_when_its_receiver_fails_or_when_it_recovered() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let ids: Vec<i64> = (0..3).map(|n| given.notified(&n.to_string(), 0)).collect();
    let standing = || {
        let targets = wait(given.store.webhook_targets(given.epoch(), vec![webhook])).unwrap();
        assert_eq!(targets[0].tenant, given.tenant);
        (targets[0].failing_since, targets[0].succeeded_at)
    };
    let settle = |id: i64, time, outcome, mut next: NextState| {
        next.round_began_at = at(time);
        let id = delivery_id(id, webhook);
        given.settle(settlement(id, time, outcome, next));
    };
    assert_eq!(standing(), (None, None));
    settle(ids[0], 100, answered(200), delivered());
    settle(ids[1], 200, answered(500), retry(9_000));
    assert_eq!(standing(), (Some(at(200)), None));
    settle(ids[2], 300, answered(200), delivered());
    assert_eq!(standing(), (None, Some(at(300))));
    // It fails again: what counts is the first failure after the success.
    for (attempts, time) in [(1, 9_000), (2, 9_500)] {
        let mut again = settlement(
            delivery_id(ids[1], webhook),
            time,
            answered(500),
            retry(time),
        );
        again.attempts = attempts;
        given.settle(again);
    }
    assert_eq!(standing(), (Some(at(9_000)), None));
}

#[test]
fn the_backlog_is_counted_by_dialect_in_bounded_steps() {
    let given = Given::new();
    let webhooks = [given.paid_webhook(), given.paid_webhook()];
    let count = limits::BULK_STEP_MAX / 2 + 10;
    let ids: Vec<i64> = (0..count)
        .map(|n| given.notified(&n.to_string(), 0))
        .collect();
    for webhook in webhooks {
        given.settle(settlement(
            delivery_id(ids[0], webhook),
            1,
            answered(200),
            delivered(),
        ));
    }
    // One that was attempted and is pending still counts like those that were not.
    given.settle(settlement(
        delivery_id(ids[1], webhooks[0]),
        1,
        answered(500),
        retry(9_000),
    ));
    let pretix = model::tenant::DialectName::new("pretix");
    let (mut all, mut after, mut steps) = (0, None, 0);
    loop {
        let step = wait(given.store.backlog(given.epoch(), after)).unwrap();
        let counted = step.counts.get(&pretix).copied().unwrap_or(0);
        assert!(usize::try_from(counted).unwrap() <= limits::BULK_STEP_MAX);
        assert!(steps < 3);
        (all, after, steps) = (all + counted, step.next, steps + 1);
        if after.is_none() {
            break;
        }
    }
    assert_eq!((usize::try_from(all).unwrap(), steps), (2 * (count - 1), 3));
}
