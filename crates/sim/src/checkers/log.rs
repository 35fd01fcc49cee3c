//! The log tells what the receivers saw: each call is in it, and each answer in it was given. Only
//! what a kill interrupted may be missing.

use model::query::AttemptRecord;

use super::view::{View, Violation, status};
use crate::history::Call;
use crate::scenario::START;
use crate::trace::Span;

const TELLS: &str = "the log tells what the receivers saw";

pub(super) fn check(view: &View<'_>) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (key, calls) in &view.calls {
        let (webhook, code) = *key;
        let Some(records) = view.records.get(key) else {
            let handed = view.history.codes.get(code);
            let handed = handed.and_then(|place| view.history.handed_in.get(*place));
            let accepted_at = handed.map_or(0, |handed| handed.sent_at);
            let pruned = view.world.now - accepted_at > view.retention_ms(webhook)
                || handed.is_some_and(|handed| view.is_of_a_lost_time(handed));
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

/// Whether it may be a test whose record is pruned: all tests of a webhook have one code.
fn is_of_former_test(view: &View<'_>, call: &Call) -> bool {
    let is_old = view.world.now - call.sent_at > view.retention_ms(call.webhook);
    is_old && !view.history.codes.contains_key(&call.code)
}

/// When each attempt began by the node's clock, and what it was answered.
fn story(attempts: &[&AttemptRecord]) -> String {
    let attempts = attempts.iter().map(|attempt| {
        let began_at = attempt.attempt.began_at.as_millis() - START;
        format!("{} {:?}", Span(began_at), status(attempt))
    });
    attempts.collect::<Vec<_>>().join(" | ")
}

fn compare(
    view: &View<'_>,
    name: &str,
    calls: &[&Call],
    mut attempts: Vec<&AttemptRecord>,
    violations: &mut Vec<Violation>,
) {
    // So that of two that may be meant a call gets the older one.
    attempts.sort_by_key(|attempt| attempt.attempt.began_at);
    let mut rest = attempts.clone();
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
            None if view.is_excused(call) || is_of_former_test(view, call) => {}
            None => {
                let words = format!(
                    "{name}: a call at {}, answered {heard:?}, is not in the log: {}",
                    Span(call.sent_at),
                    story(&attempts)
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
