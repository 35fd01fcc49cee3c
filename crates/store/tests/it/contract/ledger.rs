//! Accepting, pending webhooks, and what is due.

use bytes::Bytes;
use model::call_limits::CallLimits;
use model::contract::{DueQuery, PendingWebhook, StoreError, WebhookTarget};
use model::filter::{Filter, MatchKey, SubscriptionSet};
use model::id::{NotificationId, TenantId, WebhookId};
use model::limits::EVENTS_REGISTERED_MAX;
use model::notification::{AcceptResult, NewNotification};
use model::query::Declaration;
use model::tenant::{DialectName, Event};
use model::webhook::Headers;
use model::webhook_tls::WebhookTls;
use proptest::prelude::*;

use super::harness::{
    Given, Told, answered, at, declaration, delivered, delivery_id, headers, pair, retry,
    settlement, wait,
};

#[test]
fn the_same_notification_again_is_answered_as_the_first_time() {
    let given = Given::new();
    given.paid_webhook();
    let first = given.new_notification("1", 1_000);
    let batch = vec![first.clone(), first.clone()];
    let answers = wait(given.store.accept(batch)).unwrap();
    let id = NotificationId(1);
    let repeated = AcceptResult::Duplicate { id, deliveries: 1 };
    assert_eq!(answers[0], AcceptResult::Accepted { id, deliveries: 1 });
    assert_eq!(answers[1], repeated);
    let second = given.paid_webhook();
    let later = NewNotification {
        at: at(9_000),
        headers: headers("X", "other"),
        ..first
    };
    assert_eq!(given.accept(later), repeated);
    assert!(given.log(second).is_empty());
}

#[test]
fn the_same_key_with_another_body_or_action_is_a_contradiction() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let first = given.new_notification("1", 1_000);
    given.accept(first.clone());
    given.heard.take();
    let contradicted = AcceptResult::Conflict {
        id: NotificationId(1),
        accepted_at: at(1_000),
    };
    let other_body = NewNotification {
        body: Bytes::from_static(b"{}"),
        ..first.clone()
    };
    let other_action = NewNotification {
        action_type: "order.placed".to_owned(),
        event: Some("new".to_owned()),
        ..first.clone()
    };
    assert_eq!(given.accept(other_body), contradicted);
    assert_eq!(given.accept(other_action), contradicted);
    assert_eq!(given.log(webhook).len(), 1);
    assert_eq!(given.story(delivery_id(1, webhook)).body, first.body);
    assert!(wait(given.store.events(given.tenant)).unwrap().is_empty());
    assert_eq!(given.heard.take(), []);
}

#[test]
fn the_same_key_of_another_tenant_is_another_notification() {
    let given = Given::new();
    given.notified("1", 1_000);
    let other = NewNotification {
        tenant: given.another_tenant("other"),
        ..given.new_notification("1", 1_000)
    };
    assert!(matches!(given.accept(other), AcceptResult::Accepted { .. }));
}

#[test]
fn a_webhook_gets_a_notification_once_however_many_wishes_are_met() {
    let given = Given::new();
    let subscriptions = [("paid", None), ("paid", Some("democon")), ("any", None)];
    let webhook = given.webhook(&subscriptions).id;
    let new = NewNotification {
        match_keys: vec![
            pair("paid", "democon"),
            pair("any", "democon"),
            pair("any", ""),
        ],
        ..given.new_notification("1", 1_000)
    };
    let id = NotificationId(1);
    assert_eq!(
        given.accept(new),
        AcceptResult::Accepted { id, deliveries: 1 }
    );
    assert_eq!(given.due(webhook, 10, 1_000).0.len(), 1);
}

#[test]
fn a_notification_nobody_wants_is_accepted_with_no_deliveries() {
    let given = Given::new();
    given.paid_webhook();
    let new = NewNotification {
        match_keys: Vec::new(),
        ..given.new_notification("1", 1_000)
    };
    let id = NotificationId(1);
    assert_eq!(
        given.accept(new),
        AcceptResult::Accepted { id, deliveries: 0 }
    );
    assert_eq!(given.heard.take().len(), 1);
}

#[test]
fn the_subscriber_is_told_what_is_due_as_it_will_be_read_back() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    given.heard.take();
    let new = NewNotification {
        headers: headers("X-Id", "1"),
        ..given.new_notification("1", 1_000)
    };
    given.accept(new);
    let (due, _) = given.due(webhook, 10, 1_000);
    assert_eq!(due.len(), 1);
    assert_eq!(due[0].delivery.due_at, at(1_000));
    assert_eq!(given.heard.take(), [Told::Accepted(due)]);
}

#[test]
fn a_show_named_by_a_notification_registers_itself() {
    let given = Given::new();
    let before = given.store.version();
    let new = |key: &str| NewNotification {
        event: Some("democon".to_owned()),
        ..given.new_notification(key, 1_000)
    };
    given.accept(new("1"));
    let event = Event {
        slug: "democon".to_owned(),
        name: "democon".to_owned(),
        date_from: None,
    };
    assert_eq!(wait(given.store.events(given.tenant)).unwrap(), [event]);
    let after = given.store.version();
    assert!(after > before);
    given.accept(new("2"));
    assert_eq!(given.store.version(), after);
}

#[test]
fn of_a_tenant_with_very_many_shows_no_further_one_registers_itself() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let event = |slug: String| Event {
        name: slug.clone(),
        slug,
        date_from: None,
    };
    let declare = |events: Vec<Event>| {
        let declaration = Declaration {
            events,
            ..declaration("bigevents")
        };
        let applied = given
            .store
            .apply(vec![declaration], "file".to_owned(), at(1));
        wait(applied).unwrap();
    };
    let before = (1..EVENTS_REGISTERED_MAX).map(|n| event(format!("show-{n}")));
    declare(before.collect());
    let about = |key: &str, show: &str| {
        given.accept(NewNotification {
            event: Some(show.to_owned()),
            ..given.new_notification(key, 1_000)
        })
    };
    let has = |show: &str| {
        let events = wait(given.store.events(given.tenant)).unwrap();
        events.iter().any(|event| event.slug == show)
    };
    about("1", "last");
    assert!(has("last"));
    let version = given.store.version();
    for (key, show) in [("2", "late"), ("3", "late"), ("4", "later"), ("5", "last")] {
        let accepted = about(key, show);
        assert!(
            matches!(accepted, AcceptResult::Accepted { deliveries: 1, .. }),
            "{accepted:?}"
        );
    }
    assert!(!has("late") && !has("later"));
    assert_eq!(given.store.version(), version);
    assert_eq!(given.log(webhook).len(), 5);
    // An operator's file may add what it wants.
    declare(vec![event("late".to_owned())]);
    assert!(has("late"));
    about("6", "latest");
    assert!(!has("latest"));
}

#[test]
fn shows_that_a_file_adds_count_among_those_that_a_tenant_has() {
    let given = Given::new();
    let about = |key: &str, show: &str| {
        given.accept(NewNotification {
            event: Some(show.to_owned()),
            ..given.new_notification(key, 1_000)
        })
    };
    // Now they are counted.
    about("1", "first");
    let events = (1..EVENTS_REGISTERED_MAX).map(|n| Event {
        slug: format!("show-{n}"),
        name: String::new(),
        date_from: None,
    });
    let declaration = Declaration {
        events: events.collect(),
        ..declaration("bigevents")
    };
    let applied = given
        .store
        .apply(vec![declaration], "file".to_owned(), at(1));
    wait(applied).unwrap();
    about("2", "late");
    let events = wait(given.store.events(given.tenant)).unwrap();
    assert_eq!(events.len(), EVENTS_REGISTERED_MAX);
}

#[test]
fn a_batch_that_fails_leaves_nothing_behind() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    given.heard.take();
    let bad = NewNotification {
        tenant: TenantId(999),
        event: Some("democon".to_owned()),
        ..given.new_notification("2", 1_000)
    };
    let batch = vec![given.new_notification("1", 1_000), bad];
    let failed = wait(given.store.accept(batch));
    assert!(matches!(failed, Err(StoreError::Broken(_))), "{failed:?}");
    assert!(given.log(webhook).is_empty());
    assert_eq!(given.heard.take(), []);
    given.notified("1", 1_000);
}

#[test]
fn a_show_of_a_batch_that_fails_is_registered_by_the_next() {
    let given = Given::new();
    let event = Some("democon".to_owned());
    let good = NewNotification {
        event: event.clone(),
        ..given.new_notification("1", 1_000)
    };
    let bad = NewNotification {
        tenant: TenantId(999),
        event,
        ..given.new_notification("2", 1_000)
    };
    assert!(wait(given.store.accept(vec![good.clone(), bad])).is_err());
    given.accept(good);
    assert_eq!(wait(given.store.events(given.tenant)).unwrap().len(), 1);
}

#[test]
fn the_time_of_acceptance_follows_a_clock_that_is_set_back() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let accepted_at = |id| given.story(delivery_id(id, webhook)).row.accepted_at;
    for (key, handed_in_at, written_at) in [
        ("1", 9_000_000, 9_000_000),
        // By so little it is no step, and times stand still.
        ("2", 8_999_000, 9_000_000),
        ("3", 5_000_000, 5_000_000),
        ("4", 5_001_000, 5_001_000),
        ("5", 1_000_000, 1_000_000),
        ("6", 9_500_000, 9_500_000),
    ] {
        let id = given.notified(key, handed_in_at);
        assert_eq!(accepted_at(id), at(written_at), "{key}");
    }
    // They are due in the order in which they were handed in.
    let due = given.due(webhook, 9, 9_500_000).0;
    let ids: Vec<i64> = due
        .iter()
        .map(|due| due.delivery.id.notification.0)
        .collect();
    assert_eq!(ids, [1, 2, 3, 4, 5, 6]);
}

#[test]
fn lanes_are_webhooks_with_something_pending_by_id() {
    let given = Given::new();
    let webhooks: Vec<WebhookId> = (0..4).map(|_| given.paid_webhook()).collect();
    let idle = given.webhook(&[("placed", None)]).id;
    let first = given.notified("1", 1_000);
    given.notified("2", 2_000);
    let done = delivery_id(first, webhooks[1]);
    given.settle(settlement(done, 3_000, answered(200), delivered()));
    let lanes = wait(given.store.pending_webhooks(given.epoch(), None, 10)).unwrap();
    let lane = |index: usize, due_at| PendingWebhook {
        webhook: webhooks[index],
        due_at: at(due_at),
    };
    let all = [
        lane(0, 1_000),
        lane(1, 2_000),
        lane(2, 1_000),
        lane(3, 1_000),
    ];
    assert_eq!(lanes, all);
    assert!(lanes.iter().all(|lane| lane.webhook != idle));
    let page = wait(
        given
            .store
            .pending_webhooks(given.epoch(), Some(webhooks[0]), 2),
    )
    .unwrap();
    assert_eq!(page, all[1..3]);
    assert_eq!(
        wait(
            given
                .store
                .pending_webhooks(given.epoch(), Some(webhooks[3]), 2)
        )
        .unwrap(),
        []
    );
    assert_eq!(
        wait(given.store.pending_webhooks(given.epoch(), None, 0)).unwrap(),
        []
    );
}

#[test]
fn targets_say_what_calling_takes_and_leave_out_who_is_unknown() {
    let given = Given::new();
    let id = given.paid_webhook();
    given.disable(id, 5);
    let targets = wait(
        given
            .store
            .webhook_targets(given.epoch(), vec![WebhookId(99), id]),
    )
    .unwrap();
    let target = WebhookTarget {
        webhook: id,
        tenant: given.tenant,
        dialect: DialectName::new("pretix"),
        tenant_key: "bigevents".to_owned(),
        settings: "{}".to_owned(),
        cloud_events: None,
        limits: CallLimits::default(),
        holds: model::hold::Holds::default(),
        key: None,
        target_url: "https://user:secret@example.org/hook".to_owned(),
        headers: Headers::default(),
        retries_max: None,
        paused_until: None,
        failing_since: None,
        succeeded_at: None,
        version: 2,
        enabled: false,
        signatures: Vec::new(),
        own_headers: Vec::new(),
        tls: WebhookTls::default(),
        handshake: None,
    };
    assert_eq!(targets, [target]);
}

#[test]
fn what_is_due_comes_earliest_first_and_says_when_the_next_is() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let ids: Vec<i64> = (0..5)
        .map(|n| given.notified(&n.to_string(), 1_000))
        .collect();
    // The first is tried and waits until 9,000.
    let first = delivery_id(ids[0], webhook);
    given.settle(settlement(first, 1_100, answered(500), retry(9_000)));
    let read = |limit, time| {
        let (due, next) = given.due(webhook, limit, time);
        let found: Vec<i64> = due
            .iter()
            .map(|due| due.delivery.id.notification.0)
            .collect();
        (found, next)
    };
    assert_eq!(read(2, 1_000), (ids[1..3].to_vec(), Some(1_000)));
    assert_eq!(read(4, 1_000), (ids[1..5].to_vec(), Some(9_000)));
    assert_eq!(read(10, 1_000), (ids[1..5].to_vec(), Some(9_000)));
    assert_eq!(read(10, 999), (vec![], Some(1_000)));
    assert_eq!(read(0, 1_000), (vec![], Some(1_000)));
    let all = [&ids[1..5], &ids[..1]].concat();
    assert_eq!(read(10, 9_000), (all, None));
    assert_eq!(read(5, 9_000).1, None);
}

#[test]
fn lanes_without_anything_are_answered_too() {
    let given = Given::new();
    let webhook = WebhookId(77);
    let read = wait(
        given
            .store
            .due(given.epoch(), vec![DueQuery::new(webhook, 3)], at(9)),
    )
    .unwrap();
    assert_eq!(read.len(), 1);
    assert!(read[0].deliveries.is_empty() && read[0].next_due_at.is_none());
}

fn name() -> impl Strategy<Value = String> {
    // Few and close, so that they meet: empty, and one that looks like the mark of a named scope.
    prop::sample::select(vec!["", "=", "a", "=a", "A", "a "]).prop_map(str::to_owned)
}

fn subscriptions() -> impl Strategy<Value = Filter> {
    let names = || prop::collection::btree_set(name(), 0..3);
    let some = (names(), prop::option::of(names()));
    let some = some.prop_map(|(topics, scopes)| SubscriptionSet { topics, scopes });
    prop::collection::btree_set(some, 0..4).prop_map(Filter)
}

fn pairs() -> impl Strategy<Value = Vec<MatchKey>> {
    let pair = (name(), name()).prop_map(|(topic, scope)| MatchKey { topic, scope });
    prop::collection::vec(pair, 0..4)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_index_of_wishes_agrees_with_the_filter(
        (first, second, changed) in (subscriptions(), subscriptions(), subscriptions()),
        pairs in pairs(),
        disabled in any::<bool>(),
    ) {
        let given = Given::new();
        let mut webhooks = Vec::new();
        for filter in [first, second] {
            let new = model::webhook::NewWebhook { filter, ..given.new_webhook(&[]) };
            webhooks.push(wait(given.store.create_webhook(new, "t".to_owned(), at(0))).unwrap());
        }
        webhooks[1].filter = changed;
        webhooks[1] = given.save(webhooks[1].clone(), 1).unwrap();
        if disabled {
            webhooks[0] = given.disable(webhooks[0].id, 2);
        }
        let new = NewNotification { match_keys: pairs.clone(), ..given.new_notification("1", 3) };
        given.accept(new);
        for webhook in webhooks {
            let wanted = webhook.enabled() && webhook.filter.matches(&pairs);
            prop_assert_eq!(given.log(webhook.id).len(), usize::from(wanted));
        }
    }
}
