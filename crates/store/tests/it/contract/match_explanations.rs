//! Match explanations: each webhook exactly as it was when the notification was accepted.

use model::dashboard::MatchExplanation;
use model::delivery::{CancelCause, DeliveryState};
use model::id::{NotificationId, WebhookId};
use model::notification::NewNotification;
use model::webhook::{DisableCause, Disablement, Webhook};

use super::harness::{
    Given, Told, answered, at, delivered, delivery_id, filter, gone, settlement, wait,
};

fn match_explanations(given: &Given, notification: i64) -> Vec<MatchExplanation> {
    let asked =
        given
            .store
            .match_explanations(given.tenant, NotificationId(notification), None, 50);
    wait(asked).unwrap()
}

fn match_explanation(
    given: &Given,
    notification: i64,
    webhook: WebhookId,
) -> Option<MatchExplanation> {
    match_explanations(given, notification)
        .into_iter()
        .find(|found| found.webhook.id == webhook)
}

fn delete(given: &Given, id: WebhookId, time: i64) {
    let disabled = Disablement {
        at: at(time),
        cause: DisableCause::Deleted,
    };
    let webhook = Webhook {
        disabled: Some(disabled),
        ..given.stored(id)
    };
    given.save(webhook, time).unwrap();
}

#[test]
fn a_webhook_is_shown_as_it_was_even_if_everything_happened_in_one_millisecond() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let mut stories = Vec::new();
    for (n, topic) in ["placed", "expired", "paid"].into_iter().enumerate() {
        let before = given.notified(&format!("{n}"), 0);
        let seen = given.stored(webhook);
        stories.push((before, seen.filter.clone(), seen.settings.clone()));
        let changed = Webhook {
            filter: filter(&[(topic, None)]),
            settings: format!("{{\"n\": {n}}}"),
            ..seen
        };
        given.save(changed, 0).unwrap();
    }
    for (notification, filter, settings) in stories {
        let then = match_explanation(&given, notification, webhook)
            .unwrap()
            .then
            .unwrap();
        assert_eq!((then.filter, then.settings), (filter, settings));
        assert_eq!((then.disabled, then.changed_since), (None, true));
    }
    let latest = given.notified("latest", 0);
    let found = match_explanation(&given, latest, webhook).unwrap();
    assert_eq!(found.webhook, given.stored(webhook));
    assert!(!found.then.unwrap().changed_since);
    assert_eq!(found.delivery, Some((DeliveryState::Pending, 0)));
}

#[test]
fn changes_that_met_no_notification_do_not_hide_the_state_that_did() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let notification = given.notified("1", 5);
    given.disable(webhook, 5);
    given.enable(webhook, 5);
    let met = match_explanation(&given, notification, webhook).unwrap();
    assert_eq!(met.then.unwrap().disabled, None);
    given.disable(webhook, 6);
    let then = match_explanation(&given, notification, webhook)
        .unwrap()
        .then
        .unwrap();
    assert_eq!(then.disabled, None);
    let next = given.notified("2", 6);
    let then = match_explanation(&given, next, webhook)
        .unwrap()
        .then
        .unwrap();
    assert_eq!(then.disabled.map(|disabled| disabled.at), Some(at(6)));
    let url_only = Webhook {
        target_url: "https://other.example.org/".to_owned(),
        ..given.stored(webhook)
    };
    given.save(url_only, 7).unwrap();
    let then = match_explanation(&given, next, webhook)
        .unwrap()
        .then
        .unwrap();
    assert!(!then.changed_since, "the URL decides nothing");
}

#[test]
fn a_webhook_that_was_made_later_was_not_there() {
    let given = Given::new();
    let first = given.paid_webhook();
    let notification = given.notified("1", 5);
    let late = given.paid_webhook();
    let found = match_explanation(&given, notification, late).unwrap();
    assert_eq!((found.then, found.delivery), (None, None));
    assert!(
        match_explanation(&given, notification, first)
            .unwrap()
            .then
            .is_some()
    );
    let next = given.notified("2", 5);
    assert!(
        match_explanation(&given, next, late)
            .unwrap()
            .then
            .is_some()
    );
}

#[test]
fn a_receiver_that_is_gone_switches_off_what_comes_after() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let [one, two] = ["1", "2"].map(|key| given.notified(key, 5));
    given.settle(settlement(
        delivery_id(one, webhook),
        6,
        answered(410),
        gone(),
    ));
    let three = given.notified("3", 7);
    let found = match_explanation(&given, two, webhook).unwrap();
    assert_eq!(found.then.unwrap().disabled, None);
    let cancelled = DeliveryState::Cancelled(CancelCause::ReceiverGone);
    assert_eq!(found.delivery, Some((cancelled, 0)));
    let found = match_explanation(&given, three, webhook).unwrap();
    let cause = found.then.unwrap().disabled.unwrap().cause;
    assert_eq!((cause, found.delivery), (DisableCause::Gone, None));
}

#[test]
fn a_deleted_webhook_is_shown_where_it_was_there() {
    let given = Given::new();
    let long_gone = given.webhook(&[("placed", None)]).id;
    let silent = given.webhook(&[("placed", None)]).id;
    let wanted = given.paid_webhook();
    delete(&given, long_gone, 4);
    let notification = given.notified("1", 5);
    given.settle(settlement(
        delivery_id(notification, wanted),
        6,
        answered(200),
        delivered(),
    ));
    let brief = given.paid_webhook();
    for webhook in [silent, wanted, brief] {
        delete(&given, webhook, 7);
    }
    let found = match_explanations(&given, notification);
    let ids: Vec<_> = found.iter().map(|found| found.webhook.id).collect();
    assert_eq!(ids, [silent, wanted]);
    assert!(found[0].webhook.is_deleted());
    assert_eq!(found[0].then.as_ref().unwrap().disabled, None);
    assert_eq!(found[1].delivery, Some((DeliveryState::Delivered, 1)));
    let next = given.notified("2", 8);
    assert_eq!(match_explanations(&given, next), []);
}

#[test]
fn match_explanations_come_in_pages_by_id() {
    let given = Given::new();
    let mut all: Vec<_> = (0..7).map(|_| given.paid_webhook()).collect();
    let notification = given.notified("1", 5);
    for id in [all[1], all[5]] {
        delete(&given, id, 6);
    }
    all.push(given.paid_webhook());
    let (mut after, mut seen) = (None, Vec::new());
    loop {
        let id = NotificationId(notification);
        let page = wait(given.store.match_explanations(given.tenant, id, after, 3)).unwrap();
        assert!(page.len() <= 3);
        seen.extend(page.iter().map(|found| found.webhook.id));
        after = page.last().map(|found| found.webhook.id);
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, all);
}

#[test]
fn nobody_sees_how_another_tenants_webhooks_stood() {
    let given = Given::new();
    given.paid_webhook();
    let notification = NotificationId(given.notified("1", 5));
    let other = given.another_tenant("other");
    let theirs = given
        .store
        .match_explanations(other, notification, None, 50);
    assert_eq!(wait(theirs).unwrap(), []);
    let nowhere = given
        .store
        .match_explanations(given.tenant, NotificationId(99), None, 50);
    assert_eq!(wait(nowhere).unwrap(), []);
}

#[test]
fn past_states_go_with_the_notifications_that_met_them() {
    let given = Given::kept();
    let webhook = given.paid_webhook();
    let past = || given.number("select count(*) from webhook_past");
    let first = given.notified("1", 5);
    given.disable(webhook, 6);
    let nobodys = NewNotification {
        at: at(100),
        ..given.new_notification("2", 100)
    };
    given.accept(nobodys);
    given.enable(webhook, 101);
    assert_eq!(past(), 3, "made, then disabled, then enabled");
    wait(given.prune(50, 200)).unwrap();
    assert!(match_explanations(&given, first).is_empty(), "it is pruned");
    assert_eq!(past(), 1);
    let then = match_explanation(&given, 2, webhook).unwrap().then.unwrap();
    assert!(then.disabled.is_some());
    wait(given.prune(150, 200)).unwrap();
    assert_eq!(past(), 0);
}

#[test]
fn for_a_test_its_webhook_is_looked_at_anew() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    given.heard.take();
    let changed = Told::Changed(vec![webhook]);
    given.accept(given.new_notification("1", 5));
    assert!(!given.heard.take().contains(&changed));
    given.accept(NewNotification {
        only_webhook: Some(webhook),
        ..given.new_notification("2", 5)
    });
    assert!(given.heard.take().contains(&changed));
}

#[test]
fn a_test_goes_to_its_webhook_alone_whatever_that_wishes_for() {
    let given = Given::new();
    let [eager, other] = [given.paid_webhook(), given.paid_webhook()];
    let tested = given.webhook(&[("placed", None)]).id;
    let off = given.paid_webhook();
    given.disable(off, 1);
    let strangers = given.another_tenant("other");
    let test = |key: &str, tenant, only| {
        given.accept(NewNotification {
            tenant,
            only_webhook: Some(only),
            match_context: Some("by hand".to_owned()),
            ..given.new_notification(key, 5)
        });
        let story = given.store.notification_by_key(tenant, key.to_owned());
        wait(story).unwrap().unwrap()
    };
    let story = test("1", given.tenant, tested);
    assert_eq!(
        (story.only_webhook, story.delivery_count),
        (Some(tested), 1)
    );
    assert_eq!(story.match_context.as_deref(), Some("by hand"));
    let found = match_explanations(&given, story.id.0);
    let owed: Vec<_> = found
        .iter()
        .filter(|found| found.delivery.is_some())
        .map(|found| found.webhook.id)
        .collect();
    assert_eq!(owed, [tested]);
    for (key, tenant, only) in [
        ("2", given.tenant, off),
        ("3", strangers, eager),
        ("4", given.tenant, WebhookId(99)),
    ] {
        assert_eq!(test(key, tenant, only).delivery_count, 0, "{key}");
    }
    assert!(given.log(other).is_empty() && given.log(eager).is_empty());
}
