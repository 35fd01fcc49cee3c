//! A receiver that asks by `Retry-After` to be left alone is, with all deliveries of its webhook,
//! for as long as it asked and the dialect allows.

use super::view::{View, Violation};
use crate::history::Call;

const ALONE: &str = "who asks to be left alone is";

/// An attempt that began before may send its request so much later.
const UNDER_WAY_MS: i64 = 31_000;

/// Two clocks are read a moment apart.
const SLACK: i64 = 50;

pub(super) fn check(view: &View<'_>) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (place, call) in view.history.calls.iter().enumerate() {
        let most = view.dialect(call.webhook).retry_after_max();
        let (Some(most), Some(asked)) = (most, call.retry_after_ms) else {
            continue;
        };
        let (Some(heard_at), false) = (call.heard_at, view.is_excused(call)) else {
            continue;
        };
        let asked = asked.min(most);
        let later = view.history.calls.iter().skip(place + 1);
        let mut later = later.take_while(|later| later.sent_at <= heard_at + 2 * most);
        let early = later.find(|later| {
            later.webhook == call.webhook
                && later.sent_at > heard_at + UNDER_WAY_MS
                && view.history.schedule_ms(heard_at, later.sent_at) < asked - SLACK
                && !is_edited(view, call, later)
        });
        if let Some(early) = early {
            let words = format!(
                "{call} was answered at {heard_at} with a request for {asked} ms, and {early} came \
                 at {}",
                early.sent_at
            );
            violations.push(Violation::new(ALONE, words));
        }
    }
    violations
}

/// Whether the webhook may have been edited between these calls: another target was not asked.
fn is_edited(view: &View<'_>, call: &Call, later: &Call) -> bool {
    view.webhook(call.webhook).is_some_and(|webhook| {
        let held = webhook.held(view.history.begun_after(call), later.sent_at);
        held.count() > 1
    })
}
