//! What any node takes in is sent soon, whoever owns its webhook, and even if no hint arrives: at
//! most so late as owners look through all they have.

use super::view::{View, Violation};
use crate::scenario::SECOND;
use crate::trace::Span;

const SOON: &str = "what any node takes in is sent within 75 s";

/// Owners look each minute; a quick receiver of its own waits for nothing else.
const SOON_MS: i64 = 75 * SECOND;

pub(super) fn check(view: &View<'_>) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (number, code) in view.records.keys().copied() {
        let handed = view.history.codes.get(code);
        let handed = handed.and_then(|place| view.history.handed_in.get(*place));
        let (Some(handed), Some(webhook)) = (handed, view.webhook(number)) else {
            continue;
        };
        let Some(accepted_at) = handed.accepted_at else {
            continue;
        };
        let until = accepted_at + SOON_MS;
        let receiver = view.world.receivers.get(webhook.receiver);
        let is_good = receiver.is_some_and(|one| one.moods.iter().all(|(_, mood)| mood.is_good()));
        let mut partitions = view.history.partitions.iter();
        let is_reached = !partitions.any(|(receiver, from, ends)| {
            *receiver == webhook.receiver && *from <= until && *ends >= accepted_at
        });
        let mut held = webhook.held(accepted_at, until);
        let is_on = held.all(|version| version.enabled) && !view.is_stopped(number);
        let is_quiet = view.history.is_quiet(accepted_at, until) && until < view.world.now;
        if !(is_good && is_reached && is_on && is_quiet) {
            continue;
        }
        let calls = view.calls_of((number, code));
        let first = calls.first().map(|call| call.sent_at);
        if first.is_none_or(|at| at > until) {
            let at = first.map(|at| Span(at).to_string());
            let accepted_at = Span(accepted_at);
            let words = format!("w{number} {code}, accepted at {accepted_at}, was sent at {at:?}");
            violations.push(Violation::new(SOON, words));
        }
    }
    violations
}
