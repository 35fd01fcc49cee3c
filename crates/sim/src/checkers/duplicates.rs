//! A delivery that succeeded is not made again, unless a kill left it unwritten or somebody asked.

use super::view::{View, Violation};

const ONCE: &str = "no duplicate without a cause";

pub(super) fn check(view: &View<'_>) -> Vec<Violation> {
    let mut violations = Vec::new();
    for ((webhook, code), calls) in &view.calls {
        let heard = calls
            .iter()
            .filter(|call| call.is_success() && call.heard_at.is_some());
        let written = heard.filter(|call| !view.is_excused(call)).count();
        // Without an id or a key each try may be another notification.
        let handed = view.history.codes.get(*code);
        let handed = handed.and_then(|place| view.history.handed_in.get(*place));
        let tries = handed.map_or(0, |handed| handed.unnamed_tries as usize);
        let owed = tries.max(view.tests(*webhook, code)).max(1);
        let allowed = owed + view.replays(*webhook).count();
        if written > allowed {
            let words = format!("w{webhook} {code} succeeded {written} times, {allowed} explained");
            violations.push(Violation::new(ONCE, words));
        }
    }
    violations
}
