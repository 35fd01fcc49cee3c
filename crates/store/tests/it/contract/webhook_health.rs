//! Webhook health: the latest attempt, since when it fails, counts by the hour.

use model::attempt::FailureKind;
use model::contract::ReplayScope;
use model::dashboard::{HOUR_MS, HourlyCounts, WebhookHealth};
use model::delivery::{CancelCause, DeliveryState};
use model::id::WebhookId;
use model::limits::WAITING_COUNTED_MAX;

use super::harness::{
    Given, answered, at, delivered, delivery_id, ended, failed, gone, retry, settlement, wait,
};

fn standing(given: &Given, webhook: WebhookId) -> WebhookHealth {
    let asked = given.store.standings(given.tenant, vec![webhook], at(0));
    wait(asked).unwrap().remove(0)
}

fn tally(hour: i64, delivered: u64, retried: u64, failed: u64) -> HourlyCounts {
    HourlyCounts {
        hour,
        delivered,
        retried,
        failed,
    }
}

#[test]
fn a_webhook_that_was_never_called_has_no_history() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let standing = standing(&given, webhook);
    assert_eq!((standing.latest, standing.failing_since), (None, None));
    assert_eq!((standing.next_due_at, standing.retrying), (None, false));
    assert_eq!(standing.hours, []);
}

#[test]
fn what_waits_is_counted_with_the_time_of_the_oldest() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let waiting = || {
        let found = standing(&given, webhook);
        (found.waiting.count, found.oldest_waiting_at)
    };
    assert_eq!(waiting(), (0, None));
    let first = delivery_id(given.notified("1", 100), webhook);
    let second = delivery_id(given.notified("2", 200), webhook);
    let retried = |id| {
        let failure = failed(FailureKind::Connect);
        given.settle(settlement(id, 300, failure, retry(9_000)));
    };
    retried(first);
    retried(second);
    assert_eq!(waiting(), (2, Some(at(100))));
    given.settle(settlement(first, 400, answered(200), delivered()));
    assert_eq!(waiting(), (1, Some(at(200))));
    given.settle(settlement(second, 500, answered(200), delivered()));
    assert_eq!(waiting(), (0, None));
}

#[test]
fn what_waits_is_counted_up_to_a_bound() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    for number in 0..=WAITING_COUNTED_MAX {
        let id = delivery_id(given.notified(&number.to_string(), 100), webhook);
        let failure = failed(FailureKind::Connect);
        given.settle(settlement(id, 300, failure, retry(9_000)));
        if number + 2 > WAITING_COUNTED_MAX {
            let waiting = standing(&given, webhook).waiting;
            let counted = usize::try_from(waiting.count).unwrap();
            assert_eq!(counted, WAITING_COUNTED_MAX.min(number + 1));
            assert_eq!(waiting.more, number == WAITING_COUNTED_MAX);
        }
    }
}

#[test]
fn failing_since_is_the_first_failure_after_the_last_success() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let mut since = Vec::new();
    let story = [false, false, true, false, false, true];
    for (number, success) in (1..).zip(story) {
        let id = delivery_id(given.notified(&number.to_string(), number), webhook);
        let time = number * 100;
        given.settle(match success {
            true => settlement(id, time, answered(200), delivered()),
            false => settlement(id, time, failed(FailureKind::Connect), retry(9_000)),
        });
        let standing = standing(&given, webhook);
        let latest = standing.latest.unwrap();
        assert_eq!((latest.delivery, latest.ended_at), (id, at(time)));
        assert_eq!(latest.success, success);
        since.push(
            standing
                .failing_since
                .map(model::time::Timestamp::as_millis),
        );
        let target = wait(given.store.webhook_targets(given.epoch(), vec![webhook]))
            .unwrap()
            .remove(0);
        assert_eq!(target.failing_since, standing.failing_since);
    }
    let expected = [Some(100), Some(100), None, Some(400), Some(400), None];
    assert_eq!(since, expected);
}

#[test]
fn a_batch_counts_as_if_its_settlements_had_come_one_by_one() {
    let given = Given::new();
    let [one, other] = [given.paid_webhook(), given.paid_webhook()];
    let ids: Vec<i64> = (0..4).map(|n| given.notified(&n.to_string(), 0)).collect();
    let no = || answered(500);
    let batch = vec![
        settlement(delivery_id(ids[0], one), 10, no(), retry(90)),
        settlement(delivery_id(ids[1], one), 20, answered(204), delivered()),
        settlement(delivery_id(ids[2], one), HOUR_MS, no(), retry(HOUR_MS + 9)),
        settlement(
            delivery_id(ids[3], one),
            HOUR_MS + 1,
            no(),
            ended(DeliveryState::Failed),
        ),
        settlement(delivery_id(ids[0], other), 30, no(), retry(95)),
    ];
    wait(given.store.settle(given.epoch(), batch.clone().into())).unwrap();
    // Safe to repeat: nothing counts twice.
    wait(given.store.settle(given.epoch(), batch.into())).unwrap();
    let first = standing(&given, one);
    assert_eq!(first.failing_since, Some(at(HOUR_MS)));
    assert_eq!(first.hours, [tally(0, 1, 1, 0), tally(1, 0, 1, 1)]);
    let words = first.latest.unwrap().words;
    assert_eq!(words, answered(500).words());
    assert_eq!((first.next_due_at, first.retrying), (Some(at(90)), true));
    let second = standing(&given, other);
    assert_eq!(second.hours, [tally(0, 0, 1, 0)]);
    assert_eq!(second.failing_since, Some(at(30)));
    let since = given
        .store
        .standings(given.tenant, vec![one], at(HOUR_MS + 5));
    assert_eq!(wait(since).unwrap()[0].hours, [tally(1, 0, 1, 1)]);
}

#[test]
fn what_is_cancelled_counts_as_failed() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let ids: Vec<i64> = (0..6).map(|n| given.notified(&n.to_string(), 0)).collect();
    let stop = given.store.cancel_deliveries(
        given.tenant,
        vec![delivery_id(ids[0], webhook)],
        "anna".to_owned(),
        at(1),
    );
    assert_eq!(wait(stop).unwrap(), 1);
    assert_eq!(standing(&given, webhook).hours, [tally(0, 0, 0, 1)]);
    let away = answered(410);
    given.settle(settlement(delivery_id(ids[1], webhook), 2, away, gone()));
    assert_eq!(standing(&given, webhook).hours, [tally(0, 0, 0, 6)]);
    given.enable(webhook, 3);
    given.notified("again", 4);
    given.disable(webhook, HOUR_MS);
    let hours = [tally(0, 0, 0, 6), tally(1, 0, 0, 1)];
    assert_eq!(standing(&given, webhook).hours, hours);
}

#[test]
fn a_late_attempt_counts_only_if_it_ends_something() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let id = delivery_id(given.notified("1", 0), webhook);
    let stopped = given
        .store
        .cancel_deliveries(given.tenant, vec![id], "anna".to_owned(), at(1));
    wait(stopped).unwrap();
    given.settle(settlement(id, 2, answered(500), retry(50)));
    assert_eq!(
        given.state(id),
        DeliveryState::Cancelled(CancelCause::Requested)
    );
    assert_eq!(standing(&given, webhook).hours, [tally(0, 0, 0, 1)]);
    given.replay(webhook, ReplayScope::One(id), 3);
    given.settle_again(settlement(id, 4, answered(200), delivered()));
    assert_eq!(given.state(id), DeliveryState::Delivered);
    assert_eq!(standing(&given, webhook).hours, [tally(0, 1, 0, 1)]);
    assert_eq!(standing(&given, webhook).failing_since, None);
}

#[test]
fn health_of_another_tenants_webhooks_is_not_answered() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let other = given.another_tenant("other");
    let asked = vec![webhook, WebhookId(-1), WebhookId(i64::MAX)];
    let theirs = given.store.standings(other, asked, at(i64::MIN));
    assert_eq!(wait(theirs).unwrap(), []);
}

#[test]
fn hourly_counts_go_with_the_log() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    for hour in 0..3 {
        let id = delivery_id(given.notified(&hour.to_string(), hour), webhook);
        let time = hour * HOUR_MS + 5;
        given.settle(settlement(id, time, answered(200), delivered()));
    }
    wait(given.prune(2 * HOUR_MS + 1, 3 * HOUR_MS)).unwrap();
    assert_eq!(standing(&given, webhook).hours, [tally(2, 1, 0, 0)]);
}
