//! Nothing is sent to a disabled webhook, or to a URL that it no longer has.

use super::view::{View, Violation};

const NOT_DISABLED: &str = "nothing to a disabled webhook";
const WHERE: &str = "calls go where the webhook wants them";

pub(super) fn check(view: &View<'_>) -> Vec<Violation> {
    let mut violations = Vec::new();
    for call in &view.history.calls {
        let Some(webhook) = view.webhook(call.webhook) else {
            continue;
        };
        let from = view.history.begun_after(call) - view.unheard_ms();
        if webhook
            .held(from, call.sent_at)
            .all(|version| !version.enabled)
        {
            let words = format!("{call} at {}", call.sent_at);
            violations.push(Violation::new(NOT_DISABLED, words));
        }
        if webhook
            .held(from, call.sent_at)
            .all(|version| version.path != call.path)
        {
            let words = format!("{call} at {}", call.sent_at);
            violations.push(Violation::new(WHERE, words));
        }
        if webhook.receiver != call.receiver {
            let words = format!("{call} reached receiver {}", call.receiver);
            violations.push(Violation::new(WHERE, words));
        }
    }
    violations
}
