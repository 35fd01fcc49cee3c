//! Unattempted deliveries: wherever the store keeps them, each is due until it is attempted, and
//! never again.

use std::collections::BTreeMap;

use model::contract::{DueQuery, ReplayResult, ReplayScope, StoreError};
use model::declared_secrets::DeclaredSecrets;
use model::delivery::{CancelCause, DeliveryState};
use model::id::{DeliveryId, NotificationId, WebhookId};
use model::query::{DeclaredToken, DeclaredWebhook, WebhookDefaults};
use model::tenant::{NewToken, Permissions, TokenHash, TokenKind};
use model::time::{Heartbeat, Moment};
use model::webhook::NewWebhook;
use proptest::prelude::*;

use super::harness::{
    Given, answered, at, attempt, declaration, delivered, delivery_id, histories, retry,
    settlement, wait,
};

/// The notifications that are due for the webhook, in the order of the answer.
pub(crate) fn due(given: &Given, webhook: WebhookId) -> Vec<i64> {
    let (due, _) = given.due(webhook, 100_000, 1_000_000);
    due.iter()
        .map(|due| due.delivery.id.notification.0)
        .collect()
}

/// Settles the first attempt, without asking what is there.
pub(crate) fn deliver(given: &Given, notification: i64, webhook: WebhookId) {
    let id = delivery_id(notification, webhook);
    given.settle_again(settlement(id, 10, answered(200), delivered()));
}

#[test]
fn what_was_not_tried_is_due_after_a_restart_and_what_was_is_not() {
    let given = Given::kept();
    let webhooks: Vec<WebhookId> = (0..3).map(|_| given.paid_webhook()).collect();
    let ids: Vec<i64> = (0..4).map(|n| given.notified(&n.to_string(), n)).collect();
    deliver(&given, ids[0], webhooks[0]);
    deliver(&given, ids[2], webhooks[1]);
    let mut given = given;
    for _ in 0..2 {
        given = given.reopened();
        assert_eq!(due(&given, webhooks[0]), ids[1..]);
        assert_eq!(due(&given, webhooks[1]), [ids[0], ids[1], ids[3]]);
        assert_eq!(due(&given, webhooks[2]), ids);
        assert_eq!(
            wait(given.store.pending_webhooks(given.epoch(), None, 10))
                .unwrap()
                .len(),
            3
        );
    }
    deliver(&given, ids[1], webhooks[2]);
    let given = given.reopened();
    assert_eq!(due(&given, webhooks[2]), [ids[0], ids[2], ids[3]]);
}

#[test]
fn reading_the_log_changes_nothing_of_what_is_due() {
    let given = Given::kept();
    let webhook = given.paid_webhook();
    let ids: Vec<i64> = (0..4).map(|n| given.notified(&n.to_string(), n)).collect();
    deliver(&given, ids[0], webhook);
    assert_eq!(given.log(webhook).len(), 4);
    assert_eq!(due(&given, webhook), ids[1..]);
    deliver(&given, ids[2], webhook);
    let states: Vec<DeliveryState> = given.log(webhook).iter().map(|row| row.state).collect();
    let (ended, owed) = (DeliveryState::Delivered, DeliveryState::Pending);
    assert_eq!(states, [owed, ended, owed, ended]);
    let given = given.reopened();
    assert_eq!(due(&given, webhook), [ids[1], ids[3]]);
}

#[test]
fn however_much_was_not_tried_all_of_it_is_due_in_order() {
    let given = Given::kept();
    let few: Vec<WebhookId> = (0..60).map(|_| given.paid_webhook()).collect();
    let new = (0..300).map(|n| given.new_notification(&n.to_string(), n));
    wait(given.store.accept(new.collect())).unwrap();
    given.fan_out();
    // One bit for each webhook would not do for these.
    let many: Vec<WebhookId> = (0..10).map(|_| given.paid_webhook()).collect();
    let all = given.notified("for all", 300);
    for webhook in &few {
        assert_eq!(due(&given, *webhook), (1..=all).collect::<Vec<_>>());
    }
    let given = given.reopened();
    for webhook in &few {
        assert_eq!(due(&given, *webhook), (1..=all).collect::<Vec<_>>());
    }
    for webhook in many {
        assert_eq!(due(&given, webhook), [all]);
        deliver(&given, all, webhook);
        assert!(due(&given, webhook).is_empty());
    }
}

#[test]
fn a_part_of_what_is_due_says_when_the_next_is() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let ids: Vec<i64> = (0..3)
        .map(|n| given.notified(&n.to_string(), 10 * n))
        .collect();
    let (found, next) = given.due(webhook, 2, 1_000);
    assert_eq!((found.len(), next), (2, Some(20)));
    // Some in a table, some not.
    given.log(webhook);
    given.notified("3", 30);
    let (found, next) = given.due(webhook, 3, 1_000);
    assert_eq!((found.len(), next), (3, Some(30)));
    deliver(&given, ids[0], webhook);
    let (found, next) = given.due(webhook, 3, 1_000);
    assert_eq!((found.len(), next), (3, None));
}

#[test]
fn any_part_of_what_is_due_is_the_first_of_all_kinds_and_says_when_the_next_is() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let listed = given.notified("listed", 10);
    let tried = [given.notified("early", 11), given.notified("late", 12)];
    given.log(webhook);
    let unlisted = given.notified("unlisted", 30);
    for (id, due_at) in tried.into_iter().zip([20, 40]) {
        let id = delivery_id(id, webhook);
        given.settle(settlement(id, 15, answered(500), retry(due_at)));
    }
    let all = [listed, tried[0], unlisted, tried[1]];
    let times = [Some(10), Some(20), Some(30), Some(40), None];
    for limit in 0..=4 {
        let (found, next) = given.due(webhook, limit, 1_000);
        let found = found.iter().map(|due| due.delivery.id.notification.0);
        assert_eq!(found.collect::<Vec<_>>(), all[..limit]);
        assert_eq!(next, times[limit]);
    }
    let (found, next) = given.due(webhook, 4, 25);
    assert_eq!((found.len(), next), (2, Some(30)));
}

#[test]
fn what_is_held_counts_and_is_left_out_at_most_while_it_is_unattempted() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let ids: Vec<i64> = (0..4).map(|n| given.notified(&n.to_string(), n)).collect();
    let tried = delivery_id(ids[1], webhook);
    given.settle(settlement(tried, 15, answered(500), retry(20)));
    let ask = DueQuery {
        held: ids[..2].iter().map(|id| NotificationId(*id)).collect(),
        ..DueQuery::new(webhook, 3)
    };
    let pages = wait(given.store.due(given.epoch(), vec![ask], at(1_000))).unwrap();
    let found = pages[0].deliveries.iter();
    let found = found.map(|due| due.delivery.id.notification.0);
    let found: Vec<i64> = found.filter(|id| *id != ids[0]).collect();
    assert_eq!(
        found,
        [ids[2], ids[3]],
        "the first is held, and the third to come is the last"
    );
    assert_eq!(pages[0].next_due_at, Some(at(20)));
    let ask = DueQuery {
        held: [NotificationId(ids[1])].into(),
        ..DueQuery::new(webhook, 4)
    };
    let pages = wait(given.store.due(given.epoch(), vec![ask], at(1_000))).unwrap();
    let found = pages[0].deliveries.iter();
    let found: Vec<i64> = found.map(|due| due.delivery.id.notification.0).collect();
    assert_eq!(found, [ids[0], ids[2], ids[3], ids[1]], "it was attempted");
    assert_eq!(pages[0].next_due_at, None);
}

#[test]
fn another_process_that_switches_a_webhook_off_cancels_what_was_not_tried() {
    let given = Given::kept();
    let (off, stays) = (given.paid_webhook(), given.paid_webhook());
    let ids: Vec<i64> = (0..3).map(|n| given.notified(&n.to_string(), n)).collect();
    deliver(&given, ids[0], off);
    let other = given.beside();
    other.disable(off, 5);
    let cancelled = DeliveryState::Cancelled(CancelCause::WebhookDisabled);
    assert_eq!(given.state(delivery_id(ids[1], off)), cancelled);
    assert!(due(&given, off).is_empty());
    assert_eq!(due(&given, stays), ids);
    // It was on its way when that happened, and arrived.
    deliver(&given, ids[2], off);
    assert_eq!(
        given.state(delivery_id(ids[2], off)),
        DeliveryState::Delivered
    );
    assert_eq!(given.story(delivery_id(ids[2], off)).attempts.len(), 1);
}

#[test]
fn what_was_removed_from_the_log_is_not_taken_for_what_was_not_tried() {
    let given = Given::kept();
    let (quick, hangs) = (given.paid_webhook(), given.paid_webhook());
    let id = given.notified("1", 0);
    deliver(&given, id, quick);
    wait(given.prune(1_000_000, 1_000_000)).unwrap();
    assert!(given.log(quick).is_empty());
    let given = given.reopened();
    assert!(due(&given, quick).is_empty());
    assert_eq!(due(&given, hangs), [id]);
}

#[test]
fn a_refused_change_leaves_what_was_not_tried_as_it_was() {
    let given = Given::kept();
    let key = Some("w".to_owned());
    let new = NewWebhook {
        key: key.clone(),
        ..given.new_webhook(&[("paid", None)])
    };
    let webhook = wait(given.store.create_webhook(new, "test".to_owned(), at(0))).unwrap();
    for (name, hash) in [("first", 1), ("second", 2)] {
        let token = NewToken {
            tenant: Some(given.tenant),
            name: name.to_owned(),
            hash: TokenHash([hash; 32]),
            kind: TokenKind::Program,
            permissions: Permissions::default(),
            active: true,
            default: false,
        };
        wait(given.store.create_token(token, "test".to_owned(), at(0))).unwrap();
    }
    let id = given.notified("1", 1);
    // It disables the webhook, and then gives one token what the other has.
    let mut declared = declaration("bigevents");
    declared.webhooks = vec![DeclaredWebhook {
        key,
        target_url: webhook.target_url.clone(),
        enabled: Some(false),
        filter: webhook.filter.clone(),
        settings: webhook.settings.clone(),
        headers: None,
        retries_max: None,
        fresh: WebhookDefaults::default(),
        secrets: DeclaredSecrets::default(),
        limits: None,
        cloud_events: None,
    }];
    let mut taken = declaration("bigevents");
    taken.tokens = vec![DeclaredToken {
        name: "second".to_owned(),
        hash: Some(TokenHash([1; 32])),
        fresh: TokenHash([3; 32]),
        kind: TokenKind::Program,
        permissions: Permissions::default(),
        active: None,
        default: false,
    }];
    let applied = given
        .store
        .apply(vec![declared, taken], "test".to_owned(), at(2));
    let refused = wait(applied).unwrap_err();
    assert!(matches!(refused, StoreError::Conflict(_)), "{refused}");
    assert_eq!(due(&given, webhook.id), [id]);
    let given = given.reopened();
    assert_eq!(due(&given, webhook.id), [id]);
}

#[test]
fn what_is_due_later_by_a_clock_that_was_set_back_can_be_sent_at_once() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    wait(
        given
            .store
            .renew(given.lease, Heartbeat::certain(Moment::same(at(300)))),
    )
    .unwrap();
    let id = given.notified("1", 1_000);
    let delivery = delivery_id(id, webhook);
    let done = ReplayResult::Done {
        count: 1,
        more: false,
    };
    assert_eq!(given.replay(webhook, ReplayScope::One(delivery), 400), done);
    let (found, _) = given.due(webhook, 10, 400);
    assert_eq!(found.len(), 1);
    deliver(&given, id, webhook);
    assert_eq!(given.state(delivery), DeliveryState::Delivered);
}

#[test]
fn an_attempt_that_should_not_be_possible_is_written_down_as_a_late_one() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let id = delivery_id(given.notified("1", 0), webhook);
    // As after a backup was restored: the third attempt of what was never attempted.
    let mut third = settlement(id, 50, answered(500), retry(100));
    third.attempts = 2;
    third.attempt = attempt(50, answered(500));
    given.settle_again(third);
    let story = given.story(id);
    assert_eq!(
        (story.row.state, story.attempts.len()),
        (DeliveryState::Pending, 1)
    );
    assert_eq!(due(&given, webhook), [id.notification.0]);
}

#[derive(Debug, Clone)]
enum Step {
    Accept(usize),
    Deliver(usize),
    Fail(usize),
    Stop(usize),
    Read,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..4_usize).prop_map(Step::Accept),
        4 => (0..40_usize).prop_map(Step::Deliver),
        2 => (0..40_usize).prop_map(Step::Fail),
        1 => (0..40_usize).prop_map(Step::Stop),
        1 => Just(Step::Read),
        1 => Just(Step::Restart),
    ]
}

/// What a delivery has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stand {
    attempts: u32,
    state: DeliveryState,
}

fn check(given: &Given, expected: &BTreeMap<DeliveryId, Stand>, webhooks: &[WebhookId]) {
    for webhook in webhooks {
        let own = expected.iter().filter(|(id, _)| id.webhook == *webhook);
        let owed = own
            .clone()
            .filter(|(_, stand)| stand.state == DeliveryState::Pending);
        let mut owed: Vec<i64> = owed.map(|(id, _)| id.notification.0).collect();
        let mut found = due(given, *webhook);
        owed.sort_unstable();
        found.sort_unstable();
        assert_eq!(found, owed);
        let mut logged: Vec<(DeliveryId, Stand)> = Vec::new();
        for row in given.log(*webhook) {
            let (attempts, state) = (row.attempts, row.state);
            logged.push((row.id, Stand { attempts, state }));
        }
        logged.reverse();
        let own: Vec<_> = own.map(|(id, stand)| (*id, *stand)).collect();
        assert_eq!(logged, own);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(histories(48)))]

    #[test]
    fn whatever_happens_each_delivery_is_due_until_it_ends(
        steps in prop::collection::vec(step(), 1..40),
    ) {
        let mut given = Given::kept();
        let webhooks: Vec<WebhookId> = (0..3)
            .map(|n| given.webhook(&[("paid", (n == 2).then_some("democon"))]).id)
            .collect();
        let mut expected: BTreeMap<DeliveryId, Stand> = BTreeMap::new();
        for (number, step) in steps.into_iter().enumerate() {
            let nth = |n: usize| expected.keys().nth(n % expected.len().max(1)).copied();
            match step {
                Step::Accept(count) => {
                    for n in 0..count {
                        let id = given.notified(&format!("{number}-{n}"), 0);
                        let stand = Stand { attempts: 0, state: DeliveryState::Pending };
                        let ids = webhooks.iter().map(|webhook| delivery_id(id, *webhook));
                        expected.extend(ids.map(|id| (id, stand)));
                    }
                }
                Step::Deliver(n) | Step::Fail(n) => {
                    let Some(id) = nth(n) else { continue };
                    let stand = expected[&id];
                    if stand.state != DeliveryState::Pending {
                        continue;
                    }
                    let (next, answer) = if matches!(step, Step::Deliver(_)) {
                        (delivered(), answered(200))
                    } else {
                        (retry(5), answered(500))
                    };
                    let time = i64::try_from(number).unwrap();
                    let state = next.state;
                    let mut tried = settlement(id, time, answer, next);
                    tried.attempts = stand.attempts;
                    given.settle_again(tried.clone());
                    // An answer that was lost: it is settled again.
                    given.settle_again(tried);
                    expected.insert(id, Stand { attempts: stand.attempts + 1, state });
                }
                Step::Stop(n) => {
                    let Some(id) = nth(n) else { continue };
                    let store = &given.store;
                    let stopped =
                        store.cancel_deliveries(given.tenant, vec![id], "test".to_owned(), at(9));
                    let stand = expected.get_mut(&id).unwrap();
                    let is_owed = stand.state == DeliveryState::Pending;
                    prop_assert_eq!(wait(stopped).unwrap(), usize::from(is_owed));
                    if is_owed {
                        stand.state = DeliveryState::Cancelled(CancelCause::Requested);
                    }
                }
                Step::Read => check(&given, &expected, &webhooks),
                Step::Restart => given = given.reopened(),
            }
        }
        for id in expected.keys() {
            prop_assert_eq!(
                given.story(*id).attempts.len(),
                usize::try_from(expected[id].attempts).unwrap()
            );
        }
        check(&given, &expected, &webhooks);
    }
}
