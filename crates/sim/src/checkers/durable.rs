//! Every notification that was accepted is there, once, for every webhook that wanted it, and for
//! no other.

use super::view::{View, Violation};
use crate::history::WebhookHistory;
use crate::scenario::MINUTE;

const THERE: &str = "accepted is durable, for each webhook that wants it";
const NOT_THERE: &str = "a webhook gets only what it wants";
const ONCE: &str = "one request has one effect";
const KEPT: &str = "nothing is pruned before its time";
const OWED: &str = "nothing that is owed is pruned";
const REFUSED: &str = "nothing comes in with a revoked token";

pub(super) fn check(view: &View<'_>) -> Vec<Violation> {
    let mut violations = Vec::new();
    for handed in &view.history.handed_in {
        let until = handed.accepted_at.unwrap_or(view.world.now);
        for (number, webhook) in view.history.webhooks.iter().enumerate() {
            if webhook.tenant != handed.tenant {
                continue;
            }
            let records = view.records.get(&(number, handed.code.as_str()));
            let count = records.map_or(0, Vec::len);
            if count > 0 && handed.is_refused {
                let words = format!("w{number} got {}, which was refused", handed.code);
                violations.push(Violation::new(REFUSED, words));
            }
            if count > 1.max(handed.unnamed_tries as usize) {
                let words = format!("w{number} owes {} {count} times", handed.code);
                violations.push(Violation::new(ONCE, words));
            }
            let mut held = webhook.held(handed.sent_at, until).peekable();
            let may_be_gone = webhook.may_be_gone(until)
                || webhook
                    .gone
                    .iter()
                    .any(|gone| (handed.sent_at..=until).contains(gone));
            let is_certain = webhook.existed(handed.sent_at)
                && !may_be_gone
                && held.peek().is_some()
                && held.all(|version| version.wants(handed));
            let none_wants = webhook
                .held(handed.sent_at, until)
                .all(|one| !one.wants(handed));
            // It may have been accepted when it was first sent, and the answer lost.
            let age = view.world.now - handed.sent_at;
            if count == 0 && is_certain && handed.accepted_at.is_some() {
                let code = &handed.code;
                let words = format!("w{number} has nothing of {code}, accepted at {until}");
                if view.is_of_a_lost_time(handed, number) {
                    continue;
                }
                if age < view.retention_ms(number) {
                    let was_called = !view.calls_of((number, code)).is_empty();
                    let promise = if was_called { KEPT } else { THERE };
                    violations.push(Violation::new(promise, words));
                } else if is_owed(view, number, webhook, &handed.code, until) {
                    violations.push(Violation::new(OWED, words));
                }
            }
            if count > 0 && none_wants {
                let words = format!("w{number} got {}, which it did not want", handed.code);
                violations.push(Violation::new(NOT_THERE, words));
            }
        }
    }
    violations
}

/// Whether a delivery of which nothing is left cannot have come to its end: nothing succeeded, and
/// its schedule went on when all was well again.
fn is_owed(
    view: &View<'_>,
    number: usize,
    webhook: &WebhookHistory,
    code: &str,
    accepted_at: i64,
) -> bool {
    let Some(calm_at) = view.history.calm_at else {
        return false;
    };
    let mut calls = view.calls_of((number, code)).iter();
    let receiver = view.world.receivers.get(webhook.receiver);
    if !receiver.is_some_and(|receiver| receiver.end.is_good()) {
        return false;
    }
    let is_steady = webhook.versions.iter().all(|version| version.enabled)
        && webhook.gone.is_empty()
        && !view.is_stopped(number)
        && view.replayed_at(number).is_none();
    let schedule = view.dialect(number).fails_after(webhook.retries);
    let went_on = view.history.schedule_ms(accepted_at, calm_at);
    is_steady && went_on < schedule - MINUTE && !calls.any(|call| call.is_success())
}
