//! Failing webhooks over all tenants: listed by how long they have failed, and counted.

use model::attempt::FailureKind;
use model::dashboard::{FailingCount, FailingQuery};
use model::id::{TenantId, WebhookId};
use model::limits::FAILING_SCANNED_MAX;
use model::time::Timestamp;

use super::harness::{
    Given, answered, at, delivered, delivery_id, failed, retry, settlement, wait,
};

/// Has the latest call of the webhook fail, or not.
fn call(given: &Given, webhook: WebhookId, time: i64, success: bool) {
    let id = delivery_id(given.notified(&format!("{webhook} {time}"), time), webhook);
    given.settle(match success {
        true => settlement(id, time, answered(200), delivered()),
        false => settlement(id, time, failed(FailureKind::Connect), retry(9_000)),
    });
}

fn listed(given: &Given, among: Option<&[TenantId]>, limit: usize) -> Vec<(WebhookId, Timestamp)> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let query = FailingQuery {
            among: among.map(<[TenantId]>::to_vec),
            after,
            limit,
        };
        let page = wait(given.store.failing(query)).unwrap();
        assert!(page.rows.len() <= limit);
        found.extend(
            page.rows
                .iter()
                .map(|row| (row.webhook.id, row.failing_since)),
        );
        after = page.after;
        if after.is_none() {
            return found;
        }
    }
}

#[test]
fn those_that_have_failed_for_longest_come_first_until_they_succeed_or_are_disabled() {
    let given = Given::new();
    let webhooks: Vec<WebhookId> = (0..4).map(|_| given.paid_webhook()).collect();
    let since: Vec<(WebhookId, i64)> = vec![
        (webhooks[1], 100),
        (webhooks[3], 200),
        (webhooks[0], 300),
        (webhooks[2], 400),
    ];
    for (webhook, time) in &since {
        call(&given, *webhook, *time, false);
        call(&given, *webhook, *time + 50, false);
    }
    let all: Vec<_> = since
        .iter()
        .map(|(webhook, time)| (*webhook, at(*time)))
        .collect();
    for limit in [1, 2, 9] {
        assert_eq!(listed(&given, None, limit), all, "{limit}");
    }
    call(&given, webhooks[3], 500, true);
    given.disable(webhooks[0], 600);
    assert_eq!(listed(&given, None, 1), [all[0], all[3]]);
    let page = wait(given.store.failing(FailingQuery {
        limit: 1,
        ..FailingQuery::default()
    }));
    let row = page.unwrap().rows.remove(0);
    assert_eq!(
        (row.tenant.id, row.latest.ended_at),
        (given.tenant, at(150))
    );
    // All four webhooks got each notification.
    assert!(row.waiting.count >= 2 && !row.waiting.more);
}

#[test]
fn a_tenants_failing_webhooks_are_listed_and_counted_for_it() {
    let given = Given::new();
    let own = given.paid_webhook();
    let other = given.another_tenant("other");
    call(&given, own, 100, false);
    let of = |tenant| listed(&given, Some(&[tenant]), 9);
    assert_eq!(of(given.tenant), [(own, at(100))]);
    assert_eq!(of(other), []);
    let counts = wait(given.store.failing_counts()).unwrap();
    assert!(!counts.is_part);
    let wanted = FailingCount {
        count: 1,
        since: at(100),
    };
    assert_eq!(counts.tenants, [(given.tenant, wanted)].into());
    given.disable(own, 200);
    let counts = wait(given.store.failing_counts()).unwrap();
    assert_eq!(counts.tenants, [].into());
}

#[test]
fn a_page_looks_at_a_bounded_number_and_says_where_to_go_on() {
    let given = Given::new();
    for number in 0..FAILING_SCANNED_MAX {
        let webhook = given.paid_webhook();
        let time = i64::try_from(number).unwrap() + 100;
        call(&given, webhook, time, false);
        given.disable(webhook, time);
    }
    let last = given.paid_webhook();
    call(&given, last, 9_000, false);
    let first = wait(given.store.failing(FailingQuery {
        limit: 9,
        ..FailingQuery::default()
    }));
    let first = first.unwrap();
    assert!(first.rows.is_empty() && first.after.is_some());
    assert_eq!(listed(&given, None, 9), [(last, at(9_000))]);
    let counts = wait(given.store.failing_counts()).unwrap();
    assert!(counts.is_part && counts.tenants.is_empty());
}
