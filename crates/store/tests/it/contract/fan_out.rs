//! Fan-out: all that a notification owes is owed at once, though it is materialized in steps.

use model::id::{TenantId, WebhookId};
use model::notification::{AcceptResult, NewNotification};
use model::webhook::NewWebhook;

use super::harness::{Given, answered, at, delivered, delivery_id, settlement, wait};

/// Webhooks of one notification, so many that they are not materialized with it.
pub(crate) const WEBHOOKS: usize = 2_100;

/// As many as a notification is for.
pub(crate) fn webhooks(given: &Given, tenant: TenantId) -> Vec<WebhookId> {
    let new = NewWebhook {
        tenant,
        ..given.new_webhook(&[("paid", None)])
    };
    let create = |_| {
        given
            .store
            .create_webhook(new.clone(), "test".to_owned(), at(0))
    };
    let replies: Vec<_> = (0..WEBHOOKS).map(create).collect();
    let ids = replies.into_iter().map(|reply| wait(reply).unwrap().id);
    ids.collect()
}

pub(crate) fn batch(given: &Given, count: usize) -> Vec<NewNotification> {
    let new = |n: usize| given.new_notification(&n.to_string(), 1);
    (0..count).map(new).collect()
}

pub(crate) fn ids(acceptances: Vec<AcceptResult>) -> Vec<i64> {
    let id = |acceptance| {
        let AcceptResult::Accepted { id, deliveries } = acceptance else {
            panic!("{acceptance:?}");
        };
        assert_eq!(deliveries as usize, WEBHOOKS);
        id.0
    };
    acceptances.into_iter().map(id).collect()
}

pub(crate) fn due(given: &Given, webhook: WebhookId) -> Vec<i64> {
    let (due, _) = given.due(webhook, 100, 1_000_000);
    let ids = due.iter().map(|due| due.delivery.id.notification.0);
    ids.collect()
}

#[test]
fn what_is_for_very_many_webhooks_is_due_for_each_once() {
    let given = Given::new();
    let webhooks = webhooks(&given, given.tenant);
    let ids = ids(wait(given.store.accept(batch(&given, 3))).unwrap());
    given.fan_out();
    for webhook in &webhooks {
        assert_eq!(due(&given, *webhook), ids);
    }
    let id = delivery_id(ids[0], webhooks[7]);
    given.settle_again(settlement(id, 10, answered(200), delivered()));
    assert_eq!(due(&given, webhooks[7]), ids[1..]);
    assert_eq!(given.log(webhooks[8]).len(), 3);
}

#[test]
fn what_many_webhooks_are_owed_together_is_materialized_in_steps_too() {
    let given = Given::new();
    let webhooks: Vec<WebhookId> = (0..70).map(|_| given.paid_webhook()).collect();
    let all = wait(given.store.accept(batch(&given, 60))).unwrap();
    assert_eq!(all.len(), 60);
    given.fan_out();
    for webhook in webhooks {
        assert_eq!(due(&given, webhook), (1..=60).collect::<Vec<_>>());
    }
}
