//! Pausing a webhook: what is stored of it, and who hears.

use model::call_limits::CallRate;
use model::contract::StoreError;
use model::dashboard::FailingQuery;
use model::delivery::DeliveryState;
use model::hold::{Drain, Hold, HoldChange, Holds};
use model::id::{TenantId, WebhookId};

use super::harness::{Given, Told, answered, at, delivery_id, retry, settlement, wait};

const PLAIN: HoldChange = HoldChange::Resume { drain: None };

fn change(
    given: &Given,
    webhook: WebhookId,
    change: HoldChange,
    time: i64,
) -> Result<(), StoreError> {
    let actor = "anna".to_owned();
    wait(
        given
            .store
            .change_hold(given.tenant, webhook, change, actor, at(time)),
    )
}

fn hold(given: &Given, webhook: WebhookId) -> Option<Hold> {
    wait(given.store.hold(given.tenant, webhook)).unwrap()
}

fn holds(given: &Given, webhook: WebhookId) -> Holds {
    let targets = given.store.webhook_targets(given.epoch(), vec![webhook]);
    wait(targets).unwrap().remove(0).holds
}

#[test]
fn a_pause_is_known_to_people_and_to_whoever_sends_until_it_is_over() {
    let given = Given::kept();
    let webhook = given.paid_webhook();
    assert_eq!(hold(&given, webhook), None);
    assert_eq!(holds(&given, webhook), Holds::default());
    given.heard.take();
    change(&given, webhook, HoldChange::Pause, 1_000).unwrap();
    assert!(given.heard.take().contains(&Told::Changed(vec![webhook])));
    let anna = Hold {
        at: at(1_000),
        by: "anna".to_owned(),
    };
    let given = given.reopened();
    assert_eq!(hold(&given, webhook), Some(anna.clone()));
    assert!(holds(&given, webhook).is_held);
    let health = given.store.standings(given.tenant, vec![webhook], at(0));
    assert_eq!(wait(health).unwrap()[0].hold, Some(anna));
    let rate = CallRate::of_micros(2_000_000).unwrap();
    let drain = Some(rate);
    change(&given, webhook, HoldChange::Resume { drain }, 5_000).unwrap();
    assert_eq!(hold(&given, webhook), None);
    let over = holds(&given, webhook);
    assert!(!over.is_held);
    assert_eq!(over.past, [(at(1_000), at(5_000))]);
    let since = at(5_000);
    assert_eq!(over.drain, Some(Drain { rate, since }));
    change(&given, webhook, HoldChange::Pause, 6_000).unwrap();
    change(&given, webhook, PLAIN, 7_000).unwrap();
    let over = holds(&given, webhook);
    let both = [(at(1_000), at(5_000)), (at(6_000), at(7_000))];
    assert_eq!((over.past.as_slice(), over.drain), (&both[..], None));
}

#[test]
fn pausing_twice_is_pausing_once_and_the_webhook_itself_stays_as_it_is() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let before = given.stored(webhook);
    let entries = || {
        let audit = wait(given.store.audit(given.tenant, 10)).unwrap();
        let of_holds = audit.into_iter().map(|entry| entry.action);
        let names = ["webhook.paused", "webhook.resumed"];
        let of_holds = of_holds.filter(|action| names.contains(&action.as_str()));
        of_holds.collect::<Vec<_>>()
    };
    change(&given, webhook, PLAIN, 500).unwrap();
    assert_eq!(entries(), [""; 0]);
    change(&given, webhook, HoldChange::Pause, 1_000).unwrap();
    change(&given, webhook, HoldChange::Pause, 2_000).unwrap();
    assert_eq!(hold(&given, webhook).unwrap().at, at(1_000));
    assert_eq!(given.stored(webhook), before);
    change(&given, webhook, PLAIN, 3_000).unwrap();
    change(&given, webhook, PLAIN, 4_000).unwrap();
    assert_eq!(given.stored(webhook), before);
    assert_eq!(entries(), ["webhook.resumed", "webhook.paused"]);
}

#[test]
fn what_is_owed_to_a_paused_webhook_goes_on_being_accepted_and_is_not_failing() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let first = delivery_id(given.notified("a", 100), webhook);
    given.settle(settlement(first, 200, answered(500), retry(90_000)));
    let failing = || {
        let query = FailingQuery {
            limit: 10,
            ..FailingQuery::default()
        };
        let page = wait(given.store.failing(query)).unwrap();
        let counts = wait(given.store.failing_counts()).unwrap();
        (page.rows.len(), counts.tenants.len())
    };
    assert_eq!(failing(), (1, 1));
    change(&given, webhook, HoldChange::Pause, 1_000).unwrap();
    assert_eq!(failing(), (0, 0));
    let second = delivery_id(given.notified("b", 2_000), webhook);
    // However long: what is pending is not pruned.
    while wait(given.prune(1_000_000_000, 1_000_000_001)).unwrap() {}
    for id in [first, second] {
        assert_eq!(given.state(id), DeliveryState::Pending);
    }
    change(&given, webhook, PLAIN, 3_000).unwrap();
    assert_eq!(failing(), (1, 1));
}

#[test]
fn webhooks_of_others_can_neither_be_paused_nor_seen_to_be() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let other = given.of(given.another_tenant("other"));
    for (given, webhook) in [
        (&other, webhook),
        (&given.of(TenantId(99)), webhook),
        (&given, WebhookId(99)),
    ] {
        let refused = change(given, webhook, HoldChange::Pause, 1);
        assert!(matches!(refused, Err(StoreError::Stale)), "{refused:?}");
    }
    change(&given, webhook, HoldChange::Pause, 1).unwrap();
    assert_eq!(hold(&other, webhook), None);
}
