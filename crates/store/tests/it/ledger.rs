//! Accepting, lanes, what is due, settling.

use model::delivery::State;
use model::notification::Acceptance;

use crate::harness::{Given, answered, delivered, delivery_id, now, settlement};

#[test]
fn what_is_accepted_is_delivered_and_logged() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let id = given.notified("1", 1_000);
    let (due, next) = given.due(webhook, 10, 1_000);
    assert_eq!((due.len(), next), (1, None));
    let id = delivery_id(id, webhook);
    given.settle(settlement(id, 1_200, answered(200), delivered()));
    let story = given.story(id);
    assert_eq!(story.row.state, State::Delivered);
    assert_eq!(story.attempts.len(), 1);
    assert_eq!(story.attempts[0].attempt.outcome, answered(200));
    assert!(given.due(webhook, 10, i64::MAX).0.is_empty());
}

#[test]
fn inline_replies_are_ready_at_once() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let accepted = now(given.store.accept(vec![given.new_notification("1", 5)])).unwrap();
    assert!(matches!(
        accepted[..],
        [Acceptance::Accepted { deliveries: 1, .. }]
    ));
    assert_eq!(
        now(given.store.lanes(None, 10)).unwrap()[0].webhook,
        webhook
    );
    now(given.store.pulse()).unwrap();
}
