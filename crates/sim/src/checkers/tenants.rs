//! Tenants never see each other: no webhook gets another tenant's notification.

use super::view::{View, Violation};

const APART: &str = "nothing to another tenant's webhook";

pub(super) fn check(view: &View<'_>) -> Vec<Violation> {
    let mut violations = Vec::new();
    for call in &view.history.calls {
        let whose = view.history.codes.get(&call.code);
        let whose = whose.and_then(|place| view.history.handed_in.get(*place));
        let webhook = view.webhook(call.webhook);
        let same = whose
            .zip(webhook)
            .is_some_and(|(handed, webhook)| handed.tenant == webhook.tenant);
        if !same && view.tests(call.webhook, &call.code) == 0 {
            violations.push(Violation::new(APART, call.to_string()));
        }
    }
    violations
}
