//! A receiver that asks by `Retry-After` to be left alone is left alone, with all its deliveries,
//! where the dialect heeds that.

use super::view::{View, Violation};
use crate::scenario::Dialect;

const LEFT_ALONE: &str = "a receiver that asks for it is left alone";

/// What was on its way when the answer came.
const UNDER_WAY: i64 = 31_000;

pub(super) fn check(view: &View<'_>) -> Vec<Violation> {
    let mut violations = Vec::new();
    for call in &view.history.calls {
        let (Some(heard_at), Some(asked_ms)) = (call.heard_at, call.retry_after_ms) else {
            continue;
        };
        let until = heard_at + asked_ms;
        let webhook = view.webhook(call.webhook);
        // Another target is another receiver, and whoever has something sent again wants it sent.
        let is_edited = webhook.is_none_or(|webhook| webhook.held(heard_at, until).count() > 1);
        let is_heeded = view.dialect(call.webhook) == Dialect::OpenTicket;
        if !is_heeded || is_edited || view.replays(call.webhook) > 0 || view.is_excused(call) {
            continue;
        }
        let calls = view.history.calls.iter();
        let mut others = calls.filter(|other| other.webhook == call.webhook);
        let early =
            others.find(|other| (heard_at + UNDER_WAY..until - UNDER_WAY).contains(&other.sent_at));
        if let Some(early) = early {
            let words = format!("{early} at {}, asked at {heard_at} to wait", early.sent_at);
            violations.push(Violation::new(LEFT_ALONE, words));
        }
    }
    violations
}
