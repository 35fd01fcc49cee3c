//! The log of deliveries: order, pages both ways, filters.

use model::attempt::FailureKind;
use model::delivery::{CancelCause, DeliveryState};
use model::id::WebhookId;
use model::notification::NewNotification;
use model::query::{DeliveryStatus, LogCursor, LogPage, LogQuery};

use super::harness::{
    Given, answered, at, delivered, delivery_id, ended, failed, retry, settlement, wait,
};

fn page(given: &Given, webhook: WebhookId, query: LogQuery) -> LogPage {
    let query = LogQuery {
        webhook: Some(webhook),
        ..query
    };
    wait(given.store.log(given.tenant, query)).unwrap()
}

fn ids(page: &LogPage) -> Vec<i64> {
    let rows = page.rows.iter();
    rows.map(|found| found.row.id.notification.0).collect()
}

/// Whether there may be older rows, and newer ones.
fn ends(page: &LogPage) -> (bool, bool) {
    (page.older.is_some(), page.newer.is_some())
}

fn query(limit: usize, from: Option<LogCursor>) -> LogQuery {
    LogQuery {
        from,
        limit,
        ..LogQuery::default()
    }
}

/// Ten deliveries, one of each status in turn: pending, retrying, delivered, failed, cancelled.
fn of_each_status(given: &Given) -> (WebhookId, Vec<i64>) {
    let webhook = given.paid_webhook();
    let mut found = Vec::new();
    for n in 0..10 {
        let new = NewNotification {
            action_type: if n < 5 { "early" } else { "late" }.to_owned(),
            ..given.new_notification(&n.to_string(), 1_000 + n * 100)
        };
        given.accept(new);
        let id = delivery_id(n + 1, webhook);
        let ended_at = 5_000 + n;
        let next = match n % 5 {
            1 => retry(99_000),
            2 => delivered(),
            3 => ended(DeliveryState::Failed),
            4 => ended(DeliveryState::Cancelled(CancelCause::WebhookDisabled)),
            _ => {
                found.push(n + 1);
                continue;
            }
        };
        given.settle(settlement(id, ended_at, answered(500), next));
        found.push(n + 1);
    }
    (webhook, found)
}

#[test]
fn a_row_shows_where_a_delivery_stands() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let new = NewNotification {
        event: Some("democon".to_owned()),
        ..given.new_notification("abc", 1_000)
    };
    given.accept(new);
    let id = delivery_id(1, webhook);
    let row = given.log(webhook).remove(0);
    assert_eq!((row.id, row.key.as_str()), (id, "abc"));
    assert_eq!(
        (row.action_type.as_str(), row.event.as_deref()),
        ("order.paid", Some("democon"))
    );
    assert_eq!(
        (row.state, row.attempts, row.latest),
        (DeliveryState::Pending, 0, None)
    );
    assert_eq!(
        (row.accepted_at, row.due_at, row.ended_at),
        (at(1_000), Some(at(1_000)), None)
    );
    given.settle(settlement(
        id,
        2_000,
        failed(FailureKind::Tls),
        retry(7_000),
    ));
    given.settle(settlement(
        id,
        7_000,
        answered(503),
        ended(DeliveryState::Failed),
    ));
    let row = given.log(webhook).remove(0);
    assert_eq!((row.status(), row.attempts), (DeliveryStatus::Failed, 2));
    assert_eq!((row.due_at, row.ended_at), (None, Some(at(7_000))));
    assert_eq!(row, given.story(id).row);
    assert_eq!(row.latest.unwrap().status(), Some(503));
}

#[test]
fn pages_go_both_ways_and_stay_put_while_new_rows_arrive() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    for n in 1..=10 {
        given.notified(&n.to_string(), n);
    }
    let first = page(&given, webhook, query(4, None));
    assert_eq!(ids(&first), [10, 9, 8, 7]);
    assert_eq!(ends(&first), (true, false));
    given.notified("11", 11);
    let older = |id| Some(LogCursor::OlderThan(delivery_id(id, webhook)));
    let newer = |id| Some(LogCursor::NewerThan(delivery_id(id, webhook)));
    let second = page(&given, webhook, query(4, older(7)));
    assert_eq!(ids(&second), [6, 5, 4, 3]);
    assert_eq!(ends(&second), (true, true));
    let last = page(&given, webhook, query(4, older(3)));
    assert_eq!(ids(&last), [2, 1]);
    assert_eq!(ends(&last), (false, true));
    let back = page(&given, webhook, query(4, newer(2)));
    assert_eq!(ids(&back), [6, 5, 4, 3]);
    assert_eq!(ends(&back), (true, true));
    let top = page(&given, webhook, query(4, newer(10)));
    assert_eq!(ids(&top), [11]);
    assert_eq!(ends(&top), (true, false));
    let above = page(&given, webhook, query(4, newer(11)));
    assert_eq!((ids(&above), ends(&above)), (vec![], (true, false)));
    let below = page(&given, webhook, query(4, older(1)));
    assert_eq!((ids(&below), ends(&below)), (vec![], (false, true)));
    let extreme = page(&given, webhook, query(4, newer(i64::MAX)));
    assert_eq!((ids(&extreme), ends(&extreme).0), (vec![], true));
}

#[test]
fn a_page_is_never_longer_than_the_house_allows() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    for n in 0..60 {
        given.notified(&n.to_string(), n);
    }
    let found = page(&given, webhook, query(usize::MAX, None));
    assert_eq!((found.rows.len(), ends(&found).0), (50, true));
}

#[test]
fn every_status_is_found_by_itself_both_ways() {
    let given = Given::new();
    let (webhook, _) = of_each_status(&given);
    for (number, status) in (1..).zip(DeliveryStatus::ALL) {
        let only = |from| LogQuery {
            status: Some(status),
            ..query(1, from)
        };
        let first = page(&given, webhook, only(None));
        assert_eq!(ids(&first), [number + 5], "{status:?}");
        assert_eq!(first.rows[0].row.status(), status);
        assert_eq!(ends(&first), (true, false));
        let from = LogCursor::OlderThan(delivery_id(number + 5, webhook));
        let second = page(&given, webhook, only(Some(from)));
        assert_eq!(ids(&second), [number], "{status:?}");
        assert!(ends(&second).1);
        if let Some(older) = second.older {
            // What was delivered is looked for: that there is no more is known in the end only.
            assert_eq!(status, DeliveryStatus::Delivered);
            let last = page(&given, webhook, only(Some(LogCursor::OlderThan(older))));
            assert_eq!((ids(&last), last.older), (vec![], None));
        }
        let from = LogCursor::NewerThan(delivery_id(number, webhook));
        assert_eq!(ids(&page(&given, webhook, only(Some(from)))), [number + 5]);
    }
}

#[test]
fn filters_narrow_together() {
    let given = Given::new();
    let (webhook, all) = of_each_status(&given);
    let narrowed = |since: Option<i64>, until: Option<i64>, action: Option<&str>, status| {
        let query = LogQuery {
            status,
            action_type: action.map(str::to_owned),
            since: since.map(at),
            until: until.map(at),
            ..query(50, None)
        };
        let page = page(&given, webhook, query);
        assert_eq!(ends(&page), (false, false));
        let mut found = ids(&page);
        found.reverse();
        found
    };
    assert_eq!(narrowed(None, None, None, None), all);
    assert_eq!(narrowed(Some(1_400), None, None, None), all[4..]);
    assert_eq!(narrowed(Some(1_401), None, None, None), all[5..]);
    assert_eq!(narrowed(None, Some(1_400), None, None), all[..4]);
    assert_eq!(narrowed(Some(1_200), Some(1_500), None, None), all[2..5]);
    assert_eq!(narrowed(Some(9_000), None, None, None), [0; 0]);
    assert_eq!(narrowed(None, Some(0), None, None), [0; 0]);
    assert_eq!(narrowed(Some(1_500), Some(1_200), None, None), [0; 0]);
    assert_eq!(narrowed(None, None, Some("late"), None), all[5..]);
    assert_eq!(narrowed(None, None, Some("nope"), None), [0; 0]);
    let exhausted = Some(DeliveryStatus::Failed);
    assert_eq!(narrowed(Some(1_400), None, Some("late"), exhausted), [9]);
    assert_eq!(narrowed(None, None, Some("early"), exhausted), [4]);
}

#[test]
fn a_time_is_found_among_ids_with_gaps() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    for n in 1..=40 {
        let id = delivery_id(given.notified(&n.to_string(), n * 10), webhook);
        if n % 3 != 0 {
            given.settle(settlement(id, 500, answered(200), delivered()));
        }
    }
    wait(given.prune(350, 0)).unwrap();
    for since in 0..=410 {
        let query = LogQuery {
            since: Some(at(since)),
            ..query(50, None)
        };
        let page = page(&given, webhook, query);
        let expected: Vec<i64> = (1..=40)
            .rev()
            .filter(|n| n * 10 >= since && (n % 3 == 0 || n * 10 >= 350))
            .collect();
        assert_eq!(ids(&page), expected, "since {since}");
    }
}

#[test]
fn a_story_has_what_was_sent() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let new = given.new_notification("1", 1_000);
    given.accept(new.clone());
    let story = given.story(delivery_id(1, webhook));
    assert_eq!((story.body, story.headers), (new.body, new.headers));
    assert!(story.attempts.is_empty());
    let missing = wait(given.store.delivery(given.tenant, delivery_id(2, webhook)));
    assert_eq!(missing.unwrap(), None);
}
