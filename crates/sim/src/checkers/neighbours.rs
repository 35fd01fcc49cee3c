//! One tenant or receiver never delays another: what goes to a receiver that is well goes at once.

use super::view::{View, Violation};
use crate::scenario::{HOUR, MINUTE};

const AT_ONCE: &str = "no neighbour delays another";

/// The bound, with so few in flight.
const BOUND: i64 = 10_000;

pub(super) fn check(view: &View<'_>) -> Vec<Violation> {
    let mut violations = Vec::new();
    for handed in &view.history.handed_in {
        let Some(accepted_at) = handed.accepted_at else {
            continue;
        };
        for (number, hook) in view.history.hooks.iter().enumerate() {
            let key = (number, handed.code.as_str());
            let until = accepted_at + BOUND;
            let is_owed = view.records.contains_key(&key);
            let is_steady = hook.held(handed.sent_at - HOUR, until).count() == 1;
            if !is_owed || !is_steady || !is_well(view, hook.receiver, accepted_at, until) {
                continue;
            }
            if !view.history.is_quiet(handed.sent_at - MINUTE, until) {
                continue;
            }
            let first = view
                .calls_of(key)
                .first()
                .map_or(i64::MAX, |call| call.sent_at);
            if first > until {
                let words = format!("w{number} {} waited longer than {BOUND} ms", handed.code);
                violations.push(Violation::new(AT_ONCE, words));
            }
        }
    }
    violations
}

/// Whether a receiver has been well for hours, and its network, too.
fn is_well(view: &View<'_>, receiver: usize, from: i64, until: i64) -> bool {
    let Some(one) = view.world.receivers.get(receiver) else {
        return false;
    };
    let long = 6 * HOUR;
    let mood = one.mood_at(until);
    let since = one.since(until);
    let cut = view
        .history
        .partitions
        .iter()
        .any(|(cut, start, end)| *cut == receiver && *end > from - MINUTE && *start < until);
    let calm = view.history.calm_at.is_some_and(|at| at < until);
    mood.is_good() && since + long < from && !cut && !calm
}
