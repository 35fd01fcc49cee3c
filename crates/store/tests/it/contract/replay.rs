//! Replaying and cancelling: one delivery, all that failed, in steps.

use model::contract::{ReplayFilter, ReplayRequest, ReplayResult, ReplayScope};
use model::delivery::{CancelCause, DeliveryState};
use model::id::{NotificationId, WebhookId};
use model::limits::BULK_STEP_MAX;
use model::notification::{AcceptResult, NewNotification};
use model::query::DeliveryStatus;

use super::harness::{
    Given, Told, answered, at, delivered, delivery_id, ended, gone, retry, settlement, wait,
};

const DONE: ReplayResult = ReplayResult::Done {
    count: 1,
    more: false,
};

fn audited(given: &Given) -> usize {
    let audit = wait(given.store.audit(given.tenant, 1_000)).unwrap();
    let retried = audit
        .iter()
        .filter(|entry| entry.action == "deliveries.retried");
    retried.count()
}

/// Notifications of which there is one delivery each, in batches.
pub(crate) fn many(given: &Given, count: usize) -> Vec<i64> {
    let keys: Vec<String> = (0..count).map(|n| format!("many {n}")).collect();
    let mut ids = Vec::new();
    for keys in keys.chunks(1_000) {
        let batch: Vec<NewNotification> = keys
            .iter()
            .map(|key| given.new_notification(key, 1_000))
            .collect();
        for answer in wait(given.store.accept(batch)).unwrap() {
            match answer {
                AcceptResult::Accepted { id, .. } => ids.push(id.0),
                AcceptResult::Duplicate { .. } | AcceptResult::Conflict { .. } => unreachable!(),
            }
        }
    }
    ids
}

pub(crate) fn settle_all(
    given: &Given,
    webhook: WebhookId,
    ids: &[i64],
    next: &model::delivery::NextState,
) {
    for ids in ids.chunks(500) {
        let batch = ids
            .iter()
            .map(|id| {
                settlement(
                    delivery_id(*id, webhook),
                    1_100,
                    answered(500),
                    next.clone(),
                )
            })
            .collect();
        wait(given.store.settle(given.epoch(), batch)).unwrap();
    }
}

#[test]
fn an_ended_delivery_begins_a_new_round() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    for (key, next) in [
        ("1", delivered()),
        ("2", ended(DeliveryState::Failed)),
        (
            "3",
            ended(DeliveryState::Cancelled(CancelCause::WebhookDisabled)),
        ),
    ] {
        let id = delivery_id(given.notified(key, 1_000), webhook);
        given.settle(settlement(id, 1_100, answered(200), next));
        given.heard.take();
        assert_eq!(given.replay(webhook, ReplayScope::One(id), 2_000), DONE);
        // The subscriber is told of the delivery itself, as it would be read.
        let due = given.due(webhook, 10, 2_000).0;
        assert_eq!(given.heard.take(), [Told::Asked(due.clone())]);
        let due = due[0].delivery.clone();
        assert_eq!((due.id, due.due_at, due.round), (id, at(2_000), 2));
        assert_eq!((due.attempts, due.round_attempts), (1, 0));
        assert_eq!(due.round_began_at, None);
        assert_eq!(given.story(id).row.ended_at, None);
        let again = model::contract::Settlement {
            round: 2,
            ..settlement(id, 2_100, answered(200), delivered())
        };
        given.settle(again);
        assert_eq!(given.story(id).attempts.len(), 2);
    }
    assert_eq!(audited(&given), 3);
}

#[test]
fn a_pending_delivery_is_brought_forward_in_its_round() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let id = delivery_id(given.notified("1", 1_000), webhook);
    // Due already: nothing changes, and nobody is told that it did.
    assert_eq!(given.replay(webhook, ReplayScope::One(id), 1_000), DONE);
    assert_eq!(audited(&given), 0);
    given.settle(settlement(id, 1_100, answered(500), retry(9_000)));
    assert_eq!(given.replay(webhook, ReplayScope::One(id), 2_000), DONE);
    let due = given.due(webhook, 10, 2_000).0.remove(0).delivery;
    assert_eq!(
        (due.round, due.round_attempts, due.due_at),
        (1, 1, at(2_000))
    );
    assert_eq!(audited(&given), 1);
}

#[test]
fn what_another_tenant_owns_is_unknown() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let second = given.paid_webhook();
    let id = delivery_id(given.notified("1", 1_000), webhook);
    let other = given.another_tenant("other");
    let ask = |tenant, webhook, which| {
        let actor = "test".to_owned();
        let ask = ReplayRequest {
            tenant,
            webhook,
            which,
            actor,
        };
        wait(given.store.replay(ask, at(2_000))).unwrap()
    };
    let failed = ReplayScope::Undelivered {
        began_at: at(2_000),
    };
    assert_eq!(
        ask(other, webhook, ReplayScope::One(id)),
        ReplayResult::Unknown
    );
    assert_eq!(ask(other, webhook, failed), ReplayResult::Unknown);
    // A delivery is named together with its own webhook.
    assert_eq!(
        ask(given.tenant, second, ReplayScope::One(id)),
        ReplayResult::Unknown
    );
    let missing = ReplayScope::One(delivery_id(99, webhook));
    assert_eq!(ask(given.tenant, webhook, missing), ReplayResult::Unknown);
    assert_eq!(ask(given.tenant, webhook, ReplayScope::One(id)), DONE);
}

#[test]
fn nothing_is_sent_again_to_a_disabled_webhook() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let id = delivery_id(given.notified("1", 1_000), webhook);
    given.disable(webhook, 1_500);
    let failed = ReplayScope::Undelivered {
        began_at: at(2_000),
    };
    assert_eq!(
        given.replay(webhook, ReplayScope::One(id), 2_000),
        ReplayResult::Disabled
    );
    assert_eq!(given.replay(webhook, failed, 2_000), ReplayResult::Disabled);
    assert_eq!(
        given.state(id),
        DeliveryState::Cancelled(CancelCause::WebhookDisabled)
    );
    let missing = ReplayScope::One(delivery_id(99, webhook));
    assert_eq!(given.replay(webhook, missing, 2_000), ReplayResult::Unknown);
}

#[test]
fn all_that_failed_is_sent_again_and_nothing_else() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let other = given.paid_webhook();
    let nexts = [
        delivered(),
        ended(DeliveryState::Failed),
        ended(DeliveryState::Cancelled(CancelCause::WebhookDisabled)),
        retry(9_000),
    ];
    let mut ids = Vec::new();
    for (n, next) in (0..).zip(nexts) {
        let id = given.notified(&format!("{n}"), 1_000);
        for webhook in [webhook, other] {
            let id = delivery_id(id, webhook);
            given.settle(settlement(id, 1_100, answered(500), next.clone()));
        }
        ids.push(delivery_id(id, webhook));
    }
    ids.push(delivery_id(given.notified("fresh", 1_000), webhook));
    let late = delivery_id(given.notified("late", 1_000), webhook);
    given.settle(settlement(
        late,
        3_000,
        answered(500),
        ended(DeliveryState::Failed),
    ));

    let failed = ReplayScope::Undelivered {
        began_at: at(2_000),
    };
    let all = ReplayResult::Done {
        count: 3,
        more: false,
    };
    assert_eq!(given.replay(webhook, failed.clone(), 4_000), all);
    let (due, _) = given.due(webhook, 10, 4_000);
    let rounds: Vec<_> = due
        .iter()
        .map(|due| (due.delivery.id, due.delivery.round, due.delivery.due_at))
        .collect();
    let expected = [
        (ids[4], 1, at(1_000)),
        (ids[1], 2, at(4_000)),
        (ids[2], 2, at(4_000)),
        (ids[3], 1, at(4_000)),
    ];
    assert_eq!(rounds, expected);
    assert_eq!(given.state(late), DeliveryState::Failed);
    assert_eq!(given.due(other, 10, 4_000).0.len(), 2);
    assert_eq!(audited(&given), 1);
    // Asked once more there is nothing left to do.
    let none = ReplayResult::Done {
        count: 0,
        more: false,
    };
    assert_eq!(given.replay(webhook, failed, 4_000), none);
    assert_eq!(audited(&given), 1);
}

#[test]
fn sending_again_in_steps_takes_every_delivery_exactly_once() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let ids = many(&given, BULK_STEP_MAX + 1_000);
    let (exhausted, retrying) = ids.split_at(BULK_STEP_MAX - 500);
    settle_all(&given, webhook, exhausted, &ended(DeliveryState::Failed));
    settle_all(&given, webhook, retrying, &retry(90_000));
    let failed = ReplayScope::Undelivered {
        began_at: at(2_000),
    };
    let step = |count, more| ReplayResult::Done { count, more };
    assert_eq!(
        given.replay(webhook, failed.clone(), 2_000),
        step(BULK_STEP_MAX, true)
    );
    // Meanwhile one of those retried fails again, and is left to its schedule.
    let again = delivery_id(retrying[0], webhook);
    given.settle(settlement(again, 2_100, answered(500), retry(95_000)));
    assert_eq!(
        given.replay(webhook, failed.clone(), 2_200),
        step(1_000, false)
    );
    assert_eq!(given.replay(webhook, failed, 2_300), step(0, false));
    let due = given.due(webhook, ids.len(), 2_300).0;
    assert_eq!(due.len(), ids.len() - 1);
    let rounds = |round| due.iter().filter(|due| due.delivery.round == round).count();
    assert_eq!(
        (rounds(1), rounds(2)),
        (retrying.len() - 1, exhausted.len())
    );
}

/// Everything of one status that failed by 2,000.
fn pick(status: DeliveryStatus) -> ReplayFilter {
    ReplayFilter {
        status,
        began_at: at(2_000),
        since: None,
        until: None,
        action_type: None,
        after: NotificationId(0),
        last: true,
    }
}

#[test]
fn only_what_is_picked_is_sent_again() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    // By status, action type and when they came.
    let mut all = Vec::new();
    for (n, (time, next)) in [
        (1_000, ended(DeliveryState::Failed)),
        (1_000, retry(9_000)),
        (1_000, delivered()),
        (
            1_200,
            ended(DeliveryState::Cancelled(CancelCause::WebhookDisabled)),
        ),
        (1_200, ended(DeliveryState::Failed)),
        (1_400, ended(DeliveryState::Failed)),
    ]
    .into_iter()
    .enumerate()
    {
        let mut new = given.new_notification(&format!("{n}"), time);
        new.action_type = ["odd", "even"][n % 2].to_owned();
        let accepted = wait(given.store.accept(vec![new])).unwrap();
        let [AcceptResult::Accepted { id, .. }] = accepted[..] else {
            panic!("{accepted:?}");
        };
        let id = delivery_id(id.0, webhook);
        given.settle(settlement(id, time + 100, answered(500), next));
        all.push(id);
    }
    let exhausted = |since: i64, until: i64, action_type: Option<&str>| ReplayFilter {
        since: Some(at(since)),
        until: Some(at(until)),
        action_type: action_type.map(str::to_owned),
        ..pick(DeliveryStatus::Failed)
    };
    let reached = |count| ReplayResult::Reached { count, upto: None };
    let mut sent = Vec::new();
    for (picked, ids) in [
        (pick(DeliveryStatus::Delivered), vec![]),
        (pick(DeliveryStatus::Pending), vec![]),
        (exhausted(1_401, 9_000, None), vec![]),
        (exhausted(0, 1_000, None), vec![]),
        (exhausted(0, 1_400, Some("even")), vec![]),
        (exhausted(1_400, 1_401, Some("even")), vec![5]),
        (exhausted(1_200, 1_400, None), vec![4]),
        (pick(DeliveryStatus::Retrying), vec![1]),
        (pick(DeliveryStatus::Cancelled), vec![3]),
        (pick(DeliveryStatus::Failed), vec![0]),
        (pick(DeliveryStatus::Failed), vec![]),
    ] {
        let words = format!("{picked:?}");
        let answer = given.replay(webhook, ReplayScope::Filtered(picked), 4_000);
        assert_eq!(answer, reached(ids.len()), "{words}");
        sent.extend(ids.iter().map(|at| all[*at]));
        let mut due: Vec<_> = given.due(webhook, 10, 4_000).0;
        due.sort_by_key(|due| due.delivery.id.notification);
        let due: Vec<_> = due.iter().map(|due| due.delivery.id).collect();
        sent.sort();
        assert_eq!(due, sent, "{words}");
    }
    assert_eq!(audited(&given), 5);
    given.disable(webhook, 5_000);
    let off = given.replay(
        webhook,
        ReplayScope::Filtered(pick(DeliveryStatus::Failed)),
        5_000,
    );
    assert_eq!(off, ReplayResult::Disabled);
}

#[test]
fn picking_walks_past_what_is_not_meant_in_steps() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let ids = many(&given, BULK_STEP_MAX + 10);
    settle_all(&given, webhook, &ids, &ended(DeliveryState::Failed));
    let none = ReplayFilter {
        action_type: Some("another".to_owned()),
        ..pick(DeliveryStatus::Failed)
    };
    let upto = Some(NotificationId(ids[BULK_STEP_MAX - 1]));
    let step = |after: Option<NotificationId>| {
        let which = ReplayScope::Filtered(ReplayFilter {
            after: after.unwrap_or(NotificationId(0)),
            ..none.clone()
        });
        given.replay(webhook, which, 2_000)
    };
    assert_eq!(step(None), ReplayResult::Reached { count: 0, upto });
    let over = ReplayResult::Reached {
        count: 0,
        upto: None,
    };
    assert_eq!(step(upto), over);
    assert_eq!(audited(&given), 0);
}

#[test]
fn disabling_cancels_in_steps() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let ids = many(&given, BULK_STEP_MAX + 10);
    assert_eq!(
        wait(
            given
                .store
                .cancel_pending(given.epoch(), webhook, at(2_000))
        )
        .unwrap(),
        0
    );
    given.disable(webhook, 2_000);
    assert_eq!(given.due(webhook, ids.len(), 2_000).0.len(), 10);
    assert_eq!(
        wait(
            given
                .store
                .cancel_pending(given.epoch(), webhook, at(2_100))
        )
        .unwrap(),
        10
    );
    assert_eq!(
        wait(
            given
                .store
                .cancel_pending(given.epoch(), webhook, at(2_100))
        )
        .unwrap(),
        0
    );
    assert_eq!(
        wait(given.store.pending_webhooks(given.epoch(), None, 10)).unwrap(),
        []
    );
    let state = |id| given.state(delivery_id(id, webhook));
    let cancelled = DeliveryState::Cancelled(CancelCause::WebhookDisabled);
    assert!(ids.iter().step_by(700).all(|id| state(*id) == cancelled));
    assert_eq!(state(ids[ids.len() - 1]), cancelled);
    assert_eq!(
        wait(
            given
                .store
                .cancel_pending(given.epoch(), WebhookId(99), at(0))
        )
        .unwrap(),
        0
    );
}

#[test]
fn what_is_left_of_a_receiver_that_is_gone_is_cancelled_for_that() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let ids = many(&given, BULK_STEP_MAX + 3);
    let first = delivery_id(ids[0], webhook);
    given.settle(settlement(first, 1_500, answered(410), gone()));
    assert_eq!(
        wait(
            given
                .store
                .cancel_pending(given.epoch(), webhook, at(2_100))
        )
        .unwrap(),
        2
    );
    let last = delivery_id(ids[ids.len() - 1], webhook);
    assert_eq!(
        given.state(last),
        DeliveryState::Cancelled(CancelCause::ReceiverGone)
    );
}

#[test]
fn what_somebody_asks_for_is_told_whether_it_waits_is_due_or_was_never_tried() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let fresh = delivery_id(given.notified("1", 1_000), webhook);
    let tried = delivery_id(given.notified("2", 1_000), webhook);
    given.settle(settlement(tried, 1_100, answered(500), retry(5_000)));
    given.heard.take();
    for (id, now, due_at, attempts) in [
        (fresh, 1_500, 1_000, 0),
        (tried, 2_000, 2_000, 1),
        (tried, 3_000, 2_000, 1),
    ] {
        assert_eq!(given.replay(webhook, ReplayScope::One(id), now), DONE);
        let told = given.heard.take();
        let [Told::Asked(due)] = &told[..] else {
            panic!("{told:?}");
        };
        let delivery = &due[0].delivery;
        assert_eq!((delivery.id, delivery.due_at), (id, at(due_at)));
        assert_eq!((due.len(), delivery.attempts), (1, attempts));
    }
}

#[test]
fn a_test_is_told_as_something_that_somebody_waits_for_once_its_webhook_is_looked_at_anew() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    given.heard.take();
    let mut test = given.new_notification("1", 1_000);
    test.only_webhook = Some(webhook);
    given.accept(test);
    let due = given.due(webhook, 10, 1_000).0;
    let told = [Told::Changed(vec![webhook]), Told::Asked(due)];
    assert_eq!(given.heard.take(), told);
}
