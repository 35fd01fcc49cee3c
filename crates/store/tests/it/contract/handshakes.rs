//! Whether the receiver of a webhook agreed to be called: written down with an attempt, and part of
//! what calling it takes.

use model::attempt::FailureKind;
use model::cloud_event::{CloudEventChoice, CloudEventMode};
use model::contract::Settlement;
use model::handshake::{Handshake, HandshakeAnswer, HandshakeQuestion, HandshakeVerdict};
use model::id::WebhookId;

use super::harness::{
    Given, answered, at, delivered, delivery_id, failed, retry, settlement, wait,
};

const URL: &str = "https://example.org/hook";

fn asking() -> Option<CloudEventChoice> {
    chosen(CloudEventMode::Binary, true)
}

fn chosen(mode: CloudEventMode, handshake: bool) -> Option<CloudEventChoice> {
    Some(CloudEventChoice { mode, handshake })
}

fn answer(since: i64, verdict: HandshakeVerdict) -> HandshakeAnswer {
    HandshakeAnswer {
        question: HandshakeQuestion::new(at(since), URL, "tickets.example.org"),
        at: at(since + 5),
        verdict,
    }
}

pub(crate) fn granted(since: i64, per_minute: Option<u32>) -> HandshakeAnswer {
    answer(since, HandshakeVerdict::Granted { per_minute })
}

fn refused(since: i64) -> HandshakeAnswer {
    let reason = "it answered OPTIONS with 405".to_owned();
    answer(since, HandshakeVerdict::Refused { reason })
}

impl Given {
    pub(crate) fn ask_first(&self, webhook: WebhookId, time: i64) {
        self.choose(self.tenant, webhook, asking(), time).unwrap();
    }

    /// What is stored of it, which is the same wherever it is asked for.
    fn handshake(&self, webhook: WebhookId) -> Option<Handshake> {
        let events = wait(self.store.cloud_events(self.tenant, webhook)).unwrap();
        let shown = events.and_then(|events| events.handshake);
        let targets = wait(self.store.webhook_targets(self.epoch(), vec![webhook])).unwrap();
        assert_eq!(targets[0].handshake, shown);
        shown
    }

    fn answered_with(&self, webhook: WebhookId, key: &str, answer: &HandshakeAnswer) {
        let id = delivery_id(self.notified(key, 1_000), webhook);
        let (outcome, next) = match answer.verdict.is_granted() {
            true => (answered(204), delivered()),
            false => (failed(FailureKind::Handshake), retry(90_000)),
        };
        self.settle(Settlement {
            handshake: Some(Box::new(answer.clone())),
            ..settlement(id, 1_100, outcome, next)
        });
    }
}

#[test]
fn an_answer_is_kept_beside_its_webhook_until_another_comes() {
    let given = Given::kept();
    let (webhook, other) = (given.paid_webhook(), given.paid_webhook());
    for id in [webhook, other] {
        given.ask_first(id, 10);
    }
    let stored = |answer: Option<HandshakeAnswer>| {
        let since = at(10);
        Some(Handshake { since, answer })
    };
    assert_eq!(given.handshake(webhook), stored(None));
    for (key, answer) in [
        ("1", refused(10)),
        ("2", granted(10, Some(120))),
        ("3", granted(10, Some(u32::MAX))),
        ("4", granted(10, None)),
        ("5", refused(10)),
    ] {
        given.answered_with(webhook, key, &answer);
        assert_eq!(given.handshake(webhook), stored(Some(answer)));
    }
    assert_eq!(given.handshake(other), stored(None));
    let given = given.reopened();
    assert_eq!(given.handshake(webhook), stored(Some(refused(10))));
}

#[test]
fn what_a_receiver_did_not_agree_to_is_in_the_log_of_its_delivery() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    given.ask_first(webhook, 10);
    given.answered_with(webhook, "1", &refused(10));
    let id = delivery_id(1, webhook);
    let attempt = &given.story(id).attempts[0].attempt;
    assert_eq!(attempt.outcome, failed(FailureKind::Handshake));
}

#[test]
fn another_mode_keeps_an_answer_and_another_choice_forgets_it() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let choose = |choice, time| given.choose(given.tenant, webhook, choice, time).unwrap();
    choose(asking(), 10);
    given.answered_with(webhook, "1", &granted(10, Some(60)));
    choose(chosen(CloudEventMode::Structured, true), 20);
    let kept = Handshake {
        since: at(10),
        answer: Some(granted(10, Some(60))),
    };
    assert_eq!(given.handshake(webhook), Some(kept));
    choose(chosen(CloudEventMode::Structured, false), 30);
    assert_eq!(given.handshake(webhook), None);
    choose(chosen(CloudEventMode::Structured, true), 40);
    let anew = Handshake {
        since: at(40),
        answer: None,
    };
    assert_eq!(given.handshake(webhook), Some(anew.clone()));
    // What was in flight meanwhile answers what nobody asks any more.
    given.answered_with(webhook, "2", &granted(10, Some(60)));
    assert_eq!(given.handshake(webhook), Some(anew));
    choose(None, 50);
    given.answered_with(webhook, "3", &granted(40, None));
    assert_eq!(given.handshake(webhook), None);
}

#[test]
fn each_choice_is_in_the_audit_log_and_the_same_again_is_none() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let audited = || wait(given.store.audit(given.tenant, 99)).unwrap().len();
    let before = audited();
    for (choice, time) in [
        (asking(), 10),
        (asking(), 20),
        (chosen(CloudEventMode::Binary, false), 30),
    ] {
        given.choose(given.tenant, webhook, choice, time).unwrap();
    }
    assert_eq!(audited(), before + 2);
}
