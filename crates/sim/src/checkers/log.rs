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
                || handed.is_some_and(|handed| view.is_of_a_lost_time(handed, webhook));
            if !pruned && !calls.iter().all(|call| view.is_excused(call)) {
                let words = format!("w{webhook} was called with {code}, and there is no delivery");
                violations.push(Violation::new(TELLS, words));
            }
            continue;
        };
        // Several records have one code if it came without id and key, or is a test's.
        let attempts: Vec<&AttemptRecord> = records.iter().flat_map(|one| &one.attempts).collect();
        let name = format!("w{webhook} {code}");
        compare(view, &name, calls, &attempts, &mut violations);
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

/// Whether its record may be pruned, though others of its code are left: all tests of a webhook
/// have one code, and so has what was handed in again without an id.
fn may_be_pruned(view: &View<'_>, call: &Call) -> bool {
    let place = view.history.codes.get(&call.code);
    let accepted_at = match place.and_then(|place| view.history.handed_in.get(*place)) {
        Some(handed) => (handed.unnamed_tries > 1).then_some(handed.sent_at),
        None => {
            let tests = view.history.tests.iter();
            let tests = tests.filter(|(webhook, _)| *webhook == call.webhook);
            tests.map(|(_, at)| *at).min()
        }
    };
    accepted_at.is_some_and(|at| view.world.now - at > view.retention_ms(call.webhook))
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
    attempts: &[&AttemptRecord],
    violations: &mut Vec<Violation>,
) {
    let matches = matches(view, calls, attempts);
    for (number, call) in calls.iter().enumerate() {
        let is_logged = matches.contains(&Some(number));
        if is_logged || view.is_excused(call) || may_be_pruned(view, call) {
            continue;
        }
        let heard = call.heard_at.and(call.status);
        let words = format!(
            "{name}: a call at {}, answered {heard:?}, is not in the log: {}",
            Span(call.sent_at),
            story(attempts)
        );
        violations.push(Violation::new(TELLS, words));
    }
    for (attempt, of) in attempts.iter().zip(&matches) {
        if let (Some(status), None) = (status(attempt), of) {
            let number = attempt.number;
            let words = format!("{name}: attempt {number} was answered {status} by nobody");
            violations.push(Violation::new(TELLS, words));
        }
    }
}

/// Which call each attempt may have been, for as many calls as possible: where the clock was set,
/// several may have been one. A maximum bipartite matching, by augmenting paths.
fn matches(view: &View<'_>, calls: &[&Call], attempts: &[&AttemptRecord]) -> Vec<Option<usize>> {
    let may_be: Vec<Vec<usize>> = calls
        .iter()
        .map(|call| {
            let heard = call.heard_at.and(call.status);
            let from = view.history.begun_after(call);
            let all = attempts.iter().enumerate();
            let those = all.filter(|(_, attempt)| {
                status(attempt) == heard && view.may_have_begun(attempt, from, call.sent_at)
            });
            those.map(|(number, _)| number).collect()
        })
        .collect();
    let mut matches = vec![None; attempts.len()];
    // A call that has an attempt keeps one, so those come first that have to be in the log.
    let (may_miss, must): (Vec<usize>, Vec<usize>) = (0..calls.len()).partition(|number| {
        let call = calls.get(*number);
        call.is_some_and(|call| view.is_excused(call) || may_be_pruned(view, call))
    });
    for call in must.into_iter().chain(may_miss) {
        place(
            call,
            &may_be,
            &mut matches,
            &mut vec![false; attempts.len()],
        );
    }
    matches
}

/// Finds an attempt for a call; another call gives its own up if it has another.
fn place(
    call: usize,
    may_be: &[Vec<usize>],
    matches: &mut [Option<usize>],
    seen: &mut [bool],
) -> bool {
    for attempt in may_be.get(call).into_iter().flatten().copied() {
        let (Some(is_seen), Some(now)) = (seen.get_mut(attempt), matches.get(attempt).copied())
        else {
            continue;
        };
        if std::mem::replace(is_seen, true) {
            continue;
        }
        if now.is_none_or(|other| place(other, may_be, matches, seen)) {
            if let Some(slot) = matches.get_mut(attempt) {
                *slot = Some(call);
            }
            return true;
        }
    }
    false
}
