//! The log: merged over a tenant's webhooks, filtered, in pages that stay put.

use bytes::Bytes;
use model::dashboard::NotificationQuery;
use model::delivery::{CancelCause, DeliveryState};
use model::id::{DeliveryId, NotificationId, TenantId, WebhookId};
use model::limits::{PAGE_ROWS_MAX, SCANNED_ROWS_MAX};
use model::notification::NewNotification;
use model::query::{DeliveryStatus, LogCursor, LogPage, LogQuery};
use model::webhook::{DisableCause, Disablement, NewWebhook, Webhook};

use super::harness::{Given, answered, at, delivered, delivery_id, ended, retry, settlement, wait};
use super::replay::many;

fn log_of(given: &Given, tenant: TenantId, query: LogQuery) -> LogPage {
    wait(given.store.log(tenant, query)).unwrap()
}

fn log(given: &Given, query: LogQuery) -> LogPage {
    log_of(given, given.tenant, query)
}

fn query() -> LogQuery {
    LogQuery {
        limit: 50,
        ..LogQuery::default()
    }
}

fn ids(page: &LogPage) -> Vec<DeliveryId> {
    page.rows.iter().map(|row| row.row.id).collect()
}

/// Walks from the newest row to the oldest. Answers every page.
fn walk(given: &Given, query: &LogQuery) -> Vec<LogPage> {
    let mut pages = vec![log(given, query.clone())];
    while let Some(older) = pages.last().unwrap().older {
        let from = Some(LogCursor::OlderThan(older));
        pages.push(log(
            given,
            LogQuery {
                from,
                ..query.clone()
            },
        ));
        assert!(pages.len() < 1_000);
    }
    pages
}

/// Three webhooks, the last one deleted in the end; every status, some events and action types.
/// Answers all deliveries, newest first.
fn busy(given: &Given) -> Vec<DeliveryId> {
    let webhooks = [
        given.paid_webhook(),
        given.paid_webhook(),
        given.paid_webhook(),
    ];
    let mut all = Vec::new();
    for n in 0..20_i64 {
        let notification = given.accept(NewNotification {
            action_type: format!("kind {}", n % 3),
            event: Some(format!("show {}", n % 2)),
            body: Bytes::from(format!("{{\"code\": \"C%_{n}'\"}}")),
            ..given.new_notification(&n.to_string(), n * 10)
        });
        let model::notification::AcceptResult::Accepted { id, .. } = notification else {
            panic!("{notification:?}");
        };
        all.extend(webhooks.map(|webhook| delivery_id(id.0, webhook)));
    }
    for (index, id) in all.iter().enumerate() {
        let cancelled = ended(DeliveryState::Cancelled(CancelCause::WebhookDisabled));
        let next = match index % 5 {
            0 => delivered(),
            1 => ended(DeliveryState::Failed),
            2 => cancelled,
            3 => retry(90_000),
            _ => continue,
        };
        let status = if next.state == DeliveryState::Delivered {
            200
        } else {
            500
        };
        given.settle(settlement(*id, 5_000, answered(status), next));
    }
    let deleted = Disablement {
        at: at(6_000),
        cause: DisableCause::Deleted,
    };
    let webhook = Webhook {
        disabled: Some(deleted),
        ..given.stored(webhooks[2])
    };
    given.save(webhook, 6_000).unwrap();
    all.reverse();
    all
}

#[test]
fn the_log_of_a_tenant_has_all_its_webhooks_newest_first_deleted_or_not() {
    let given = Given::new();
    let all = busy(&given);
    let page = log(&given, query());
    assert_eq!(ids(&page), all[..50]);
    assert_eq!((page.newer, page.searched_until), (None, None));
    let first = &page.rows[0];
    assert_eq!(first.target_url, "https://***@example.org/hook");
    assert_eq!((first.row.key.as_str(), first.is_test), ("19", false));
    let from = Some(LogCursor::OlderThan(page.older.unwrap()));
    let rest = log(&given, LogQuery { from, ..query() });
    assert_eq!(ids(&rest), all[50..]);
    assert_eq!(rest.older, None);
    let back = Some(LogCursor::NewerThan(rest.newer.unwrap()));
    assert_eq!(
        ids(&log(
            &given,
            LogQuery {
                from: back,
                ..query()
            }
        )),
        all[..50]
    );
}

#[test]
fn pages_of_any_size_meet_every_row_once_in_both_directions() {
    let given = Given::new();
    let all = busy(&given);
    for limit in [1, 2, 7, 50] {
        let pages = walk(&given, &LogQuery { limit, ..query() });
        let walked: Vec<_> = pages.iter().flat_map(ids).collect();
        assert_eq!(walked, all, "{limit}");
        let mut back = Vec::new();
        let mut from = *all.last().unwrap();
        loop {
            let newer = Some(LogCursor::NewerThan(from));
            let page = log(
                &given,
                LogQuery {
                    from: newer,
                    limit,
                    ..query()
                },
            );
            back.splice(0..0, ids(&page));
            let Some(next) = page.newer else { break };
            from = next;
        }
        assert_eq!(back, all[..all.len() - 1], "{limit}");
    }
    let page = log(
        &given,
        LogQuery {
            limit: 9_999,
            ..query()
        },
    );
    assert_eq!(page.rows.len(), PAGE_ROWS_MAX);
    assert_eq!(
        log(
            &given,
            LogQuery {
                limit: 0,
                ..query()
            }
        ),
        LogPage::default()
    );
}

#[test]
fn pages_stay_put_while_rows_arrive() {
    let given = Given::new();
    let all = busy(&given);
    let first = log(
        &given,
        LogQuery {
            limit: 10,
            ..query()
        },
    );
    given.notified("new", 900);
    let from = Some(LogCursor::OlderThan(first.older.unwrap()));
    let second = log(
        &given,
        LogQuery {
            from,
            limit: 10,
            ..query()
        },
    );
    assert_eq!(ids(&second), all[10..20]);
    let from = Some(LogCursor::NewerThan(all[0]));
    let arrived = log(&given, LogQuery { from, ..query() });
    assert_eq!(arrived.rows.len(), 2);
    assert!(arrived.rows.iter().all(|row| row.row.key == "new"));
    assert_eq!(arrived.newer, None);
}

#[test]
fn every_filter_finds_what_looking_through_everything_finds() {
    let given = Given::new();
    busy(&given);
    let pages = walk(&given, &query());
    let all: Vec<_> = pages.into_iter().flat_map(|page| page.rows).collect();
    let webhook = all[1].row.id.webhook;
    let found = |query: LogQuery| {
        let pages = walk(&given, &LogQuery { limit: 4, ..query });
        pages.iter().flat_map(ids).collect::<Vec<_>>()
    };
    let expected = |wanted: &dyn Fn(&model::query::DeliveryRow) -> bool| {
        let rows = all.iter().map(|row| &row.row).filter(|row| wanted(row));
        rows.map(|row| row.id).collect::<Vec<_>>()
    };
    for status in DeliveryStatus::ALL {
        let of = LogQuery {
            status: Some(status),
            ..query()
        };
        assert_eq!(found(of.clone()), expected(&|row| row.status() == status));
        let both = LogQuery {
            webhook: Some(webhook),
            ..of
        };
        let of_both = expected(&|row| row.status() == status && row.id.webhook == webhook);
        assert_eq!(found(both), of_both, "{status:?}");
    }
    let of = all[3].row.id.notification;
    let notification = LogQuery {
        notification: Some(of),
        ..query()
    };
    assert_eq!(
        found(notification),
        expected(&|row| row.id.notification == of)
    );
    let action_type = LogQuery {
        action_type: Some("kind 1".to_owned()),
        ..query()
    };
    assert_eq!(
        found(action_type),
        expected(&|row| row.action_type == "kind 1")
    );
    let event = LogQuery {
        event: Some("show 0".to_owned()),
        ..query()
    };
    assert_eq!(
        found(event),
        expected(&|row| row.event.as_deref() == Some("show 0"))
    );
    let times = LogQuery {
        since: Some(at(50)),
        until: Some(at(120)),
        ..query()
    };
    let between = |row: &model::query::DeliveryRow| (at(50)..at(120)).contains(&row.accepted_at);
    assert_eq!(found(times), expected(&between));
    let text = LogQuery {
        text: "C%_1".to_owned(),
        ..query()
    };
    assert_eq!(found(text).len(), 33, "1 and 10 to 19, three times");
}

#[test]
fn filters_may_be_combined() {
    let given = Given::new();
    let webhook = busy(&given)[1].webhook;
    let pages = walk(&given, &query());
    let all_at_once = LogQuery {
        webhook: Some(webhook),
        status: Some(DeliveryStatus::Delivered),
        action_type: Some("kind 0".to_owned()),
        event: Some("show 0".to_owned()),
        text: "code".to_owned(),
        since: Some(at(1)),
        ..query()
    };
    let rows = pages.iter().flat_map(|page| &page.rows).map(|row| &row.row);
    let wanted = rows.filter(|row| {
        row.id.webhook == webhook
            && row.state == DeliveryState::Delivered
            && row.action_type == "kind 0"
            && row.event.as_deref() == Some("show 0")
            && row.accepted_at > at(0)
    });
    let wanted: Vec<_> = wanted.map(|row| row.id).collect();
    assert!(!wanted.is_empty());
    assert_eq!(ids(&log(&given, all_at_once)), wanted);
}

#[test]
fn hostile_filters_find_nothing_and_break_nothing() {
    let given = Given::new();
    busy(&given);
    let text = |text: &str| LogQuery {
        text: text.to_owned(),
        ..query()
    };
    for words in ["' or 1=1 --", "C*", "c%_1", "\0", "\u{feff}", "C%_1' "] {
        assert_eq!(log(&given, text(words)).rows, [], "{words:?}");
    }
    assert_eq!(log(&given, text("C%_7'")).rows.len(), 3);
    let nothing = [
        LogQuery {
            webhook: Some(WebhookId(i64::MIN)),
            ..query()
        },
        LogQuery {
            action_type: Some(String::new()),
            ..query()
        },
        LogQuery {
            event: Some("show".to_owned()),
            ..query()
        },
        LogQuery {
            since: Some(at(i64::MAX)),
            ..query()
        },
        LogQuery {
            until: Some(at(i64::MIN)),
            ..query()
        },
        LogQuery {
            since: Some(at(9)),
            until: Some(at(3)),
            ..query()
        },
    ];
    for query in nothing {
        assert_eq!(log(&given, query.clone()).rows, [], "{query:?}");
    }
    for edge in [i64::MIN, i64::MAX] {
        let id = delivery_id(edge, WebhookId(edge));
        for from in [LogCursor::OlderThan(id), LogCursor::NewerThan(id)] {
            log(
                &given,
                LogQuery {
                    from: Some(from),
                    ..query()
                },
            );
        }
    }
}

#[test]
fn a_search_stops_at_its_bound_says_how_far_it_came_and_goes_on_there() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let needle = given.notified("needle", 500);
    many(&given, SCANNED_ROWS_MAX + 10);
    let wanted = LogQuery {
        text: "needle".to_owned(),
        ..query()
    };
    let first = log(&given, wanted.clone());
    assert_eq!(first.rows, []);
    assert_eq!(first.searched_until, Some(at(1_000)));
    let from = Some(LogCursor::OlderThan(first.older.unwrap()));
    let second = log(
        &given,
        LogQuery {
            from,
            ..wanted.clone()
        },
    );
    assert_eq!(ids(&second), [delivery_id(needle, webhook)]);
    assert_eq!((second.older, second.searched_until), (None, None));
    let newer = Some(LogCursor::NewerThan(delivery_id(needle, webhook)));
    let up = log(
        &given,
        LogQuery {
            from: newer,
            ..wanted
        },
    );
    assert_eq!((up.rows.len(), up.searched_until), (0, Some(at(1_000))));
    assert!(up.newer.is_some() && up.older.is_some());
}

#[test]
fn long_bodies_use_up_a_search_sooner() {
    let given = Given::new();
    given.paid_webhook();
    let rows = 60;
    for n in 0..rows {
        given.accept(NewNotification {
            body: Bytes::from(vec![b'x'; 256 * 1_024]),
            ..given.new_notification(&n.to_string(), n)
        });
    }
    let page = log(
        &given,
        LogQuery {
            text: "y".to_owned(),
            ..query()
        },
    );
    assert!(page.searched_until.is_some());
}

#[test]
fn a_tenant_sees_its_own_log_only() {
    let given = Given::new();
    let all = busy(&given);
    let other = given.another_tenant("other");
    let theirs = wait(given.store.create_webhook(
        NewWebhook {
            tenant: other,
            ..given.new_webhook(&[("paid", None)])
        },
        "test".to_owned(),
        at(0),
    ));
    let theirs = theirs.unwrap().id;
    let new = NewNotification {
        tenant: other,
        ..given.new_notification("theirs", 300)
    };
    given.accept(new);
    let page = log_of(&given, other, query());
    assert_eq!(page.rows.len(), 1);
    assert_eq!(page.rows[0].row.id.webhook, theirs);
    let mine = LogQuery {
        webhook: Some(all[0].webhook),
        ..query()
    };
    assert_eq!(log_of(&given, other, mine), LogPage::default());
    let rows = |tenant, asked: &[DeliveryId]| {
        wait(given.store.log_rows(tenant, asked.to_vec()))
            .unwrap()
            .len()
    };
    let mixed = [all[3], page.rows[0].row.id, delivery_id(0, theirs), all[1]];
    assert_eq!(rows(other, &mixed), 1);
    assert_eq!(rows(given.tenant, &mixed), 2);
    let my_id = all[0].notification;
    assert_eq!(wait(given.store.notification(other, my_id)).unwrap(), None);
    let by_key = given.store.notification_by_key(other, "19".to_owned());
    assert_eq!(wait(by_key).unwrap(), None);
    let listed = NotificationQuery {
        limit: 50,
        ..NotificationQuery::default()
    };
    let listed = wait(given.store.notifications(other, listed)).unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].key, "theirs");
}

#[test]
fn the_list_of_notifications_has_each_once_and_what_nobody_wanted() {
    let given = Given::new();
    busy(&given);
    for n in 0..5 {
        let nobodys = NewNotification {
            match_keys: Vec::new(),
            ..given.new_notification(&format!("nobodys {n}"), 500 + n)
        };
        given.accept(nobodys);
        given.notified(&format!("wanted {n}"), 500 + n);
    }
    let list = |unwanted, limit| {
        let mut seen: Vec<String> = Vec::new();
        let mut older_than: Option<NotificationId> = None;
        loop {
            let query = NotificationQuery {
                unwanted,
                older_than,
                limit,
            };
            let page = wait(given.store.notifications(given.tenant, query)).unwrap();
            let Some(last) = page.last() else { break };
            older_than = Some(last.id);
            seen.extend(page.into_iter().map(|row| row.key));
        }
        seen
    };
    let mut all: Vec<String> = (0..5)
        .rev()
        .flat_map(|n| [format!("wanted {n}"), format!("nobodys {n}")])
        .collect();
    let unwanted: Vec<String> = (0..5).rev().map(|n| format!("nobodys {n}")).collect();
    all.extend((0..20).rev().map(|n: i32| n.to_string()));
    for limit in [1, 3, 50] {
        assert_eq!(list(false, limit), all);
        assert_eq!(list(true, limit), unwanted);
    }
}

#[test]
fn a_notification_is_shown_in_detail_by_its_number_and_by_its_key() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let new = NewNotification {
        event: Some("democon".to_owned()),
        match_context: Some("{\"shop\": 3}".to_owned()),
        only_webhook: Some(webhook),
        headers: super::harness::headers("X-Kind", "a"),
        ..given.new_notification("a key/with ' all", 700)
    };
    given.accept(new.clone());
    let by_key = given
        .store
        .notification_by_key(given.tenant, new.key.clone());
    let story = wait(by_key).unwrap().unwrap();
    let by_id = given.store.notification(given.tenant, story.id);
    assert_eq!(wait(by_id).unwrap().as_ref(), Some(&story));
    assert_eq!(story.key, new.key);
    assert_eq!(
        (story.action_type, story.event),
        (new.action_type, new.event)
    );
    assert_eq!(
        (story.match_context, story.only_webhook),
        (new.match_context, new.only_webhook)
    );
    assert_eq!((story.headers, story.body), (new.headers, new.body));
    assert_eq!((story.accepted_at, story.delivery_count), (at(700), 1));
    assert!(log(&given, query()).rows[0].is_test);
    let listed = NotificationQuery {
        limit: 1,
        ..NotificationQuery::default()
    };
    assert!(wait(given.store.notifications(given.tenant, listed)).unwrap()[0].is_test);
}
