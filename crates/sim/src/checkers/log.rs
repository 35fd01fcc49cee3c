//! The log tells what the receivers saw: each call is in it, and each answer in it was given. Only
//! what a kill interrupted may be missing.

use model::query::AttemptRecord;

use super::view::{View, Violation, status};
use crate::history::Call;

const TELLS: &str = "the log tells what the receivers saw";

pub(super) fn check(view: &View<'_>) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (key, calls) in &view.calls {
        let (webhook, code) = *key;
        let Some(records) = view.records.get(key) else {
            let handed = view.history.codes.get(code);
            let handed = handed.and_then(|place| view.history.handed_in.get(*place));
            let accepted_at = handed.map_or(0, |handed| handed.sent_at);
            let pruned = view.world.now - accepted_at > view.retention_ms(webhook);
            if !pruned && !calls.iter().all(|call| view.is_excused(call)) {
                let words = format!("w{webhook} was called with {code}, and there is no delivery");
                violations.push(Violation::new(TELLS, words));
            }
            continue;
        };
        // Several records have one code if it came without id and key, or is a test's.
        let attempts: Vec<&AttemptRecord> = records.iter().flat_map(|one| &one.attempts).collect();
        let name = format!("w{webhook} {code}");
        compare(view, &name, calls, attempts, &mut violations);
    }
    for ((webhook, code), records) in &view.records {
        let calls = view.calls_of((*webhook, code));
        let attempts = records.iter().flat_map(|record| &record.attempts);
        let answered = attempts.filter(|one| status(one).is_some()).count();
        if answered > calls.len() {
            let words = format!(
                "w{webhook} {code}: the log has {answered} answers, and there were {} calls",
                calls.len()
            );
            violations.push(Violation::new(TELLS, words));
        }
    }
    violations
}

fn compare(
    view: &View<'_>,
    name: &str,
    calls: &[&Call],
    mut rest: Vec<&AttemptRecord>,
    violations: &mut Vec<Violation>,
) {
    let count = rest.len();
    for call in calls {
        let heard = call.heard_at.and(call.status);
        let place = rest.iter().position(|attempt| {
            let same = match heard {
                Some(heard) => status(attempt) == Some(heard),
                None => status(attempt).is_none(),
            };
            same && view.may_have_begun(attempt, view.history.begun_after(call), call.sent_at)
        });
        match place {
            Some(place) => {
                rest.remove(place);
            }
            None if view.is_excused(call) => {}
            None => {
                let words = format!(
                    "{name}: a call at {}, answered {heard:?}, is not in the log of {count} \
                     attempts",
                    call.sent_at
                );
                violations.push(Violation::new(TELLS, words));
            }
        }
    }
    for attempt in rest {
        if let Some(status) = status(attempt) {
            let number = attempt.number;
            let words = format!("{name}: attempt {number} was answered {status} by nobody");
            violations.push(Violation::new(TELLS, words));
        }
    }
}
