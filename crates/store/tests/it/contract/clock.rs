//! Schedule time and wall-clock time: which one is shown where, and clocks that are set back.

use model::contract::{PendingWebhook, ReplayFilter, ReplayResult, ReplayScope};
use model::dashboard::{BulkJobKind, NewBulkJob};
use model::delivery::{CancelCause, DeliveryState};
use model::id::{NotificationId, WebhookId};
use model::limits::CLOCK_SETBACKS_MAX;
use model::notification::AcceptResult;
use model::query::{DeliveryStatus, LogQuery};
use model::time::{Heartbeat, Moment, TimeBounds, Timestamp};

use super::harness::{
    Given, answered, at, delivered, delivery_id, ended, is_postgres, retry, settlement, wait,
};

const HOUR: i64 = 3_600_000;

/// Records a heartbeat with schedule time `lag` behind the wall clock.
fn beat(given: &Given, schedule: i64, lag: i64) {
    let moment = Moment {
        schedule: at(schedule),
        wall: at(schedule + lag),
    };
    assert!(wait(given.store.renew(given.lease, Heartbeat::certain(moment))).is_ok());
}

#[test]
fn a_start_knows_how_far_the_schedule_had_come() {
    let given = Given::kept();
    assert_eq!(given.store.last_heartbeat(), None);
    for schedule in [5_000, 9_000] {
        beat(&given, schedule, HOUR);
    }
    let last = Moment {
        schedule: at(9_000),
        wall: at(9_000 + HOUR),
    };
    assert_eq!(given.store.last_heartbeat(), Some(Heartbeat::certain(last)));
    let again = given.reopened();
    assert_eq!(again.store.last_heartbeat(), Some(Heartbeat::certain(last)));
}

#[test]
fn what_was_accepted_before_the_clock_was_set_back_is_still_due_behind_a_full_page() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let before = given.notified("before", 2 * HOUR);
    // Reading the log materializes it.
    assert_eq!(given.log(webhook).len(), 1);
    let after = given.notified("after", HOUR);
    let [first, second] = match is_postgres() {
        false => [after, before],
        // What was never attempted comes in the order of its ids.
        true => [before, after],
    };
    let (page, next_due_at) = given.due(webhook, 1, 3 * HOUR);
    assert_eq!(page[0].delivery.id, delivery_id(first, webhook));
    assert_eq!(next_due_at, Some(2 * HOUR));
    let (page, _) = given.due(webhook, 2, 3 * HOUR);
    assert_eq!(page[1].delivery.id, delivery_id(second, webhook));
}

/// Else a lane would give back what it has just read for what seems to be due before, and read it
/// again, without end.
#[test]
fn nothing_behind_a_page_is_due_before_what_is_in_it_though_the_clock_was_set_back() {
    for materialized in [false, true] {
        let given = Given::new();
        let webhook = given.paid_webhook();
        let before = given.notified("before", 2 * HOUR);
        given.notified("after", HOUR);
        if materialized {
            assert_eq!(given.log(webhook).len(), 2);
        }
        let (page, next_due_at) = given.due(webhook, 1, 3 * HOUR);
        assert_eq!(page[0].delivery.id, delivery_id(before, webhook));
        assert_eq!(page[0].delivery.due_at, at(2 * HOUR));
        assert_eq!(next_due_at, Some(2 * HOUR), "materialized: {materialized}");
    }
}

#[test]
fn a_start_knows_what_time_it_was_at_least_and_at_most() {
    let given = Given::kept();
    let beat = Heartbeat {
        at: Moment::same(at(5_000)),
        bounds: TimeBounds {
            earliest: at(4_000),
            latest: at(5_000),
        },
    };
    wait(given.store.renew(given.lease, beat)).unwrap();
    assert_eq!(given.store.last_heartbeat(), Some(beat));
    let again = given.reopened();
    assert_eq!(again.store.last_heartbeat(), Some(beat));
}

#[test]
fn what_is_due_is_in_the_schedule_and_told_in_the_time_of_the_wall() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let id = delivery_id(given.notified("1", 1_000), webhook);
    beat(&given, 2_000, 0);
    given.settle(settlement(id, 2_000, answered(500), retry(9_000)));
    let told = |given: &Given| given.story(id).row.due_at.map(Timestamp::as_millis);
    assert_eq!(told(&given), Some(9_000));
    // For four days nothing ran.
    beat(&given, 2_500, 96 * HOUR);
    assert_eq!(told(&given), Some(9_000 + 96 * HOUR));
    assert_eq!(given.log(webhook)[0].due_at, Some(at(9_000 + 96 * HOUR)));
    let standings = given.store.standings(given.tenant, vec![webhook], at(0));
    let next_due_at = wait(standings).unwrap()[0].next_due_at;
    assert_eq!(next_due_at, Some(at(9_000 + 96 * HOUR)));
    // What was shown after the attempt stays as it was.
    assert_eq!(given.story(id).attempts[0].next_due_at, Some(at(9_000)));
    assert!(given.due(webhook, 9, 8_999).0.is_empty());
    assert_eq!(given.due(webhook, 9, 9_000).0.len(), 1);
    // Reading the two clocks a moment apart makes no difference.
    beat(&given, 3_000, 96 * HOUR + 3);
    assert_eq!(told(&given), Some(9_000 + 96 * HOUR));
}

#[test]
fn what_is_sent_again_is_due_at_once_however_the_clock_was_set_since() {
    for wall in [5_000 + HOUR, 40 * 24 * HOUR, 3] {
        let given = Given::new();
        let webhook = given.paid_webhook();
        beat(&given, 5_000, HOUR);
        let ids: Vec<i64> = ["1", "2", "3"]
            .map(|key| given.notified(key, wall))
            .to_vec();
        let [one, two, three] = [0, 1, 2].map(|index| delivery_id(ids[index], webhook));
        given.settle(settlement(one, wall, answered(200), delivered()));
        given.settle(settlement(two, wall, answered(500), retry(20 * HOUR)));
        let all = ReplayScope::Undelivered { began_at: at(wall) };
        for which in [
            ReplayScope::One(one),
            ReplayScope::One(two),
            ReplayScope::One(three),
            all,
        ] {
            let asked = given.replay(webhook, which, wall);
            assert!(matches!(asked, ReplayResult::Done { .. }), "{asked:?}");
        }
        let (due, next) = given.due(webhook, 9, 5_000);
        assert_eq!((due.len(), next), (3, None), "{wall}");
    }
}

#[test]
fn an_unattempted_delivery_is_due_whatever_the_clock_said() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    beat(&given, 5_000, 0);
    for (key, time) in [("1", 40 * 24 * HOUR), ("2", 5_000), ("3", 7)] {
        given.notified(key, time);
    }
    let due = given.due(webhook, 9, 5_001).0;
    let ids: Vec<i64> = due
        .iter()
        .map(|due| due.delivery.id.notification.0)
        .collect();
    assert_eq!(ids, [1, 2, 3]);
    assert!(due.iter().all(|due| due.delivery.due_at <= at(5_001)));
    let lanes = wait(given.store.pending_webhooks(given.epoch(), None, 9)).unwrap();
    assert!(matches!(lanes[..], [PendingWebhook { due_at, .. }] if due_at <= at(5_001)));
}

/// Accepted while the clock was right, ahead by a day, right again, and behind.
fn with_falls(given: &Given) -> Vec<i64> {
    let all = [
        ("a", 10 * HOUR),
        ("ahead", 34 * HOUR),
        ("ahead too", 34 * HOUR + 1),
        ("b", 11 * HOUR),
        ("c", 12 * HOUR),
        ("behind", HOUR),
        ("d", 13 * HOUR),
    ];
    all.map(|(key, time)| given.notified(key, time)).to_vec()
}

fn found(given: &Given, since: Option<i64>, until: Option<i64>) -> Vec<i64> {
    let query = LogQuery {
        since: since.map(at),
        until: until.map(at),
        limit: 50,
        ..LogQuery::default()
    };
    let page = wait(given.store.log(given.tenant, query)).unwrap_or_default();
    let ids = page.rows.iter().map(|row| row.row.id.notification.0);
    ids.rev().collect()
}

#[test]
fn a_log_is_found_by_time_though_the_clock_was_set_back() {
    let given = Given::new();
    given.paid_webhook();
    let ids = with_falls(&given);
    let these = |indexes: &[usize]| indexes.iter().map(|index| ids[*index]).collect::<Vec<_>>();
    assert_eq!(found(&given, None, None), ids);
    assert_eq!(
        found(&given, Some(11 * HOUR), None),
        these(&[1, 2, 3, 4, 6])
    );
    assert_eq!(found(&given, None, Some(11 * HOUR)), these(&[0, 5]));
    let (since, until) = (Some(11 * HOUR), Some(13 * HOUR));
    assert_eq!(found(&given, since, until), these(&[3, 4]));
    assert_eq!(found(&given, Some(90 * HOUR), None), these(&[]));
}

#[test]
fn only_what_came_within_the_times_is_sent_again_though_the_clock_was_set_back() {
    for (since, until, indexes) in [
        (None, Some(11), &[0, 5][..]),
        (Some(11), Some(13), &[3, 4]),
        (Some(11), None, &[1, 2, 3, 4, 6]),
        (Some(34), Some(35), &[1, 2]),
        (None, Some(1), &[]),
    ] {
        let given = Given::new();
        let webhook = given.paid_webhook();
        let ids = with_falls(&given);
        for id in &ids {
            let id = delivery_id(*id, webhook);
            let end = ended(DeliveryState::Failed);
            given.settle(settlement(id, 13 * HOUR, answered(500), end));
        }
        let picked = ReplayFilter {
            since: since.map(|hour| at(hour * HOUR)),
            until: until.map(|hour| at(hour * HOUR)),
            began_at: at(14 * HOUR),
            ..everything(DeliveryStatus::Failed)
        };
        let done = given.replay(webhook, ReplayScope::Filtered(picked), 14 * HOUR);
        let count = indexes.len();
        assert_eq!(done, ReplayResult::Reached { count, upto: None });
        let (due, _) = given.due(webhook, 9, 14 * HOUR);
        let mut sent: Vec<_> = due
            .iter()
            .map(|due| due.delivery.id.notification.0)
            .collect();
        sent.sort_unstable();
        let meant: Vec<_> = indexes.iter().map(|index| ids[*index]).collect();
        assert_eq!(sent, meant, "{since:?} {until:?}");
    }
}

fn everything(status: DeliveryStatus) -> ReplayFilter {
    ReplayFilter {
        status,
        began_at: at(0),
        since: None,
        until: None,
        action_type: None,
        after: NotificationId(0),
        last: true,
    }
}

/// Each of these answers how many were replayed.
type Asking = fn(&Given, WebhookId, i64) -> usize;

fn sent_again(given: &Given, webhook: WebhookId, which: ReplayScope, time: i64) -> usize {
    match given.replay(webhook, which, time) {
        ReplayResult::Done { count, .. } | ReplayResult::Reached { count, .. } => count,
        other @ (ReplayResult::Unknown | ReplayResult::Disabled) => panic!("{other:?}"),
    }
}

#[test]
fn what_failed_while_the_clock_was_ahead_is_sent_again_once_when_asked_for() {
    let askings: [Asking; 3] = [
        |given, webhook, time| {
            let which = ReplayScope::Undelivered { began_at: at(time) };
            sent_again(given, webhook, which, time)
        },
        |given, webhook, time| {
            let each = [
                DeliveryStatus::Retrying,
                DeliveryStatus::Failed,
                DeliveryStatus::Cancelled,
            ];
            let picks = each.map(|status| ReplayFilter {
                began_at: at(time),
                ..everything(status)
            });
            let sent =
                picks.map(|pick| sent_again(given, webhook, ReplayScope::Filtered(pick), time));
            sent.iter().sum()
        },
        |given, webhook, time| {
            let new = NewBulkJob {
                tenant: given.tenant,
                webhook: Some(webhook),
                what: BulkJobKind::ReplayUndelivered,
                filter: None,
                expected: 9,
                actor: "test".to_owned(),
            };
            let bulk_job = wait(given.store.start_bulk_job(new, at(time))).unwrap();
            while wait(given.store.step_bulk_job(given.epoch(), at(time))).unwrap() {}
            let bulk_job = wait(given.store.bulk_job(given.tenant, bulk_job.id)).unwrap();
            usize::try_from(bulk_job.unwrap().done).unwrap()
        },
    ];
    for asking in askings {
        let given = Given::new();
        let webhook = given.paid_webhook();
        beat(&given, 10 * HOUR, 0);
        let ends = [
            ended(DeliveryState::Failed),
            ended(DeliveryState::Cancelled(CancelCause::Requested)),
            retry(60 * HOUR),
        ];
        // The clock is four days ahead while these are attempted.
        let ids = [1, 2, 3].map(|key| given.notified(&key.to_string(), 106 * HOUR));
        let ids = ids.map(|id| delivery_id(id, webhook));
        for (id, end) in ids.into_iter().zip(ends) {
            given.settle(settlement(id, 106 * HOUR, answered(500), end));
        }
        assert_eq!(asking(&given, webhook, 11 * HOUR), 3);
        assert_eq!(given.due(webhook, 9, 11 * HOUR).0.len(), 3);
        // What was attempted since is not met a second time.
        for id in ids {
            let again = ended(DeliveryState::Failed);
            given.settle(settlement(id, 11 * HOUR + 1, answered(500), again));
        }
        assert_eq!(asking(&given, webhook, 11 * HOUR), 0);
    }
}

#[test]
fn nothing_young_is_removed_and_nothing_accepted_ahead_holds_up_the_rest() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let ids = with_falls(&given);
    for id in &ids {
        let id = delivery_id(*id, webhook);
        given.settle(settlement(id, 13 * HOUR, answered(200), delivered()));
    }
    let left = || {
        let mut left: Vec<i64> = given
            .log(webhook)
            .iter()
            .map(|row| row.id.notification.0)
            .collect();
        left.sort_unstable();
        left
    };
    // What was accepted ahead is not older than what came behind it, and not much younger.
    wait(given.prune(11 * HOUR, 13 * HOUR)).unwrap();
    assert_eq!(left(), ids[1..]);
    wait(given.prune(12 * HOUR, 13 * HOUR)).unwrap();
    assert_eq!(left(), ids[4..]);
    // The detail of each is complete: nothing it needs has gone with what was older.
    for id in &ids[4..] {
        let story = given.story(delivery_id(*id, webhook));
        assert_eq!(story.attempts.len(), 1);
    }
    wait(given.prune(90 * HOUR, 91 * HOUR)).unwrap();
    assert_eq!(left(), [0; 0]);
    let again = given.accept(given.new_notification("d", 14 * HOUR));
    assert!(matches!(again, AcceptResult::Accepted { .. }), "{again:?}");
}

#[test]
fn what_was_accepted_while_the_clock_was_behind_is_as_young_as_the_time_before() {
    let given = Given::kept();
    let webhook = given.paid_webhook();
    beat(&given, 1_000 * HOUR, 0);
    let delivered_at = |given: &Given, key: &str, time| {
        let id = given.notified(key, time);
        let id = delivery_id(id, webhook);
        given.settle(settlement(id, 1_000 * HOUR, answered(200), delivered()));
    };
    delivered_at(&given, "behind", 10 * HOUR);
    beat(&given, 1_001 * HOUR, -990 * HOUR);
    let given = given.reopened();
    delivered_at(&given, "behind, too", 12 * HOUR);
    delivered_at(&given, "right", 1_003 * HOUR);
    wait(given.prune(999 * HOUR, 1_004 * HOUR)).unwrap();
    assert_eq!(given.log(webhook).len(), 3);
    // What is kept with it is not kept for ever.
    wait(given.prune(1_001 * HOUR, 1_500 * HOUR)).unwrap();
    assert_eq!(given.log(webhook).len(), 1);
    wait(given.prune(1_100 * HOUR, 1_500 * HOUR)).unwrap();
    assert_eq!(given.log(webhook).len(), 0);
}

#[test]
fn what_was_accepted_ahead_is_young_though_the_clock_was_far_behind_after_that() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    beat(&given, 1_000 * HOUR, 0);
    for (key, time) in [("ahead", 1_300 * HOUR), ("behind", 10 * HOUR)] {
        let id = delivery_id(given.notified(key, time), webhook);
        given.settle(settlement(id, 1_000 * HOUR, answered(200), delivered()));
    }
    wait(given.prune(999 * HOUR, 1_001 * HOUR)).unwrap();
    assert_eq!(given.log(webhook).len(), 2);
    wait(given.prune(1_001 * HOUR, 1_100 * HOUR)).unwrap();
    assert_eq!(given.log(webhook).len(), 0);
}

#[test]
fn what_came_behind_something_young_is_young_while_the_clock_is_in_doubt() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let young = given.notified("young", 1_000 * HOUR);
    // The clock was far behind for a moment, and is a little less behind now.
    let behind = given.notified("behind", 10 * HOUR);
    for id in [young, behind] {
        let id = delivery_id(id, webhook);
        given.settle(settlement(id, 1_000 * HOUR, answered(200), delivered()));
    }
    let now = TimeBounds {
        earliest: at(500 * HOUR),
        latest: at(1_010 * HOUR),
    };
    wait(given.prune_between(490 * HOUR, now)).unwrap();
    assert_eq!(given.log(webhook).len(), 2);
}

#[test]
fn what_was_accepted_ahead_stays_until_its_time_if_nothing_came_behind_it() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let id = delivery_id(given.notified("ahead", 40 * HOUR), webhook);
    given.settle(settlement(id, 40 * HOUR, answered(200), delivered()));
    wait(given.prune(12 * HOUR, 13 * HOUR)).unwrap();
    assert_eq!(given.log(webhook).len(), 1);
    wait(given.prune(41 * HOUR, 42 * HOUR)).unwrap();
    assert!(given.log(webhook).is_empty());
}

#[test]
fn an_id_that_came_while_the_clock_was_ahead_is_known_as_long_as_those_behind_it() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let day = 24 * HOUR;
    for (key, time) in [
        ("1", 40 * day),
        ("2", 41 * day),
        ("3", day),
        ("4", 50 * day),
    ] {
        let id = delivery_id(given.notified(key, time), webhook);
        given.settle(settlement(id, time, answered(200), delivered()));
    }
    given.notified("5", 2 * day);
    // Kept for a day: of the first two nobody knows more than that they are older than the third.
    wait(given.prune(day, 2 * day)).unwrap();
    for (key, time) in [
        ("1", 40 * day),
        ("2", 41 * day),
        ("3", day),
        ("4", 50 * day),
    ] {
        let again = given.accept(given.new_notification(key, time));
        assert!(matches!(again, AcceptResult::Duplicate { .. }), "{key}");
    }
    wait(given.prune(day + 1, 2 * day + 1)).unwrap();
    let left: Vec<_> = given
        .log(webhook)
        .iter()
        .map(|row| row.key.clone())
        .collect();
    assert_eq!(left, ["5", "4"]);
}

#[test]
fn a_clock_that_is_set_back_again_and_again_stands_still_in_the_end() {
    let given = Given::new();
    given.paid_webhook();
    let falls = i64::try_from(CLOCK_SETBACKS_MAX).unwrap();
    let mut latest = 0;
    for number in 0..falls + 10 {
        let time = 100 * HOUR - number * HOUR;
        latest = given.notified(&number.to_string(), time);
    }
    let accepted_at = |id| found(&given, Some(id), None);
    // Beyond the limit all have the time that was reached.
    let reached = (100 - falls) * HOUR;
    assert_eq!(*accepted_at(reached).last().unwrap(), latest);
}
