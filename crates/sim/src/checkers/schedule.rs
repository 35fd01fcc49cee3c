//! Nothing is tried before it is due or more often than the schedule says, and what fails has had
//! its whole schedule, however long Willcall was off and whatever the clock said.

use model::attempt::{FailureKind, Outcome};
use model::delivery::DeliveryState;
use model::query::AttemptRecord;

use super::view::{View, Violation};
use crate::dialects::Dialect;
use crate::record::Record;
use crate::trace::Span;

const NOT_BEFORE: &str = "nothing is tried before it is due";
const NOT_MORE: &str = "no more tries than the schedule";
const WHOLE: &str = "what fails has had its whole schedule";

/// Two clocks are read a moment apart.
const SLACK: i64 = 50;

pub(super) fn check(view: &View<'_>) -> Vec<Violation> {
    let mut violations = Vec::new();
    for records in view.records.values() {
        for record in records {
            judge(view, record, &mut violations);
        }
    }
    violations
}

/// How long after the end of the latest try the next is due, if that can be told: the final one has
/// a time of its own.
fn wait(
    view: &View<'_>,
    dialect: Dialect,
    tries: usize,
    first: Option<(i64, i64)>,
    before: Option<i64>,
) -> Option<i64> {
    match dialect.final_after() {
        Some(after) if tries + 1 == dialect.tries_max(None) => {
            let ((began, _), before) = (first?, before?);
            Some(after - view.history.schedule_ms(began, before))
        }
        _ => (tries > 0).then(|| dialect.delay(tries)),
    }
}

fn judge(view: &View<'_>, record: &Record, violations: &mut Vec<Violation>) {
    let (webhook, code) = (record.webhook, &record.code);
    let dialect = view.dialect(webhook);
    // When each began and ended in truth, where it can be told.
    let times: Vec<Option<(i64, i64)>> = record
        .attempts
        .iter()
        .map(|attempt| truth(view, attempt))
        .collect();
    // From then on somebody may have had it sent again.
    let replayed_at = view.replayed_at(webhook);
    let is_before = |time: &Option<(i64, i64)>| match (time, replayed_at) {
        (_, None) => true,
        (Some((began, _)), Some(at)) => *began < at,
        (None, Some(_)) => false,
    };
    // As many as there may have been, and as there were for certain.
    let (mut tries, mut certain) = (0, 0);
    // The end of the latest try. An early one that fails is as if it had not been made.
    let mut before: Option<i64> = None;
    let (mut repeats, mut was_early) = (false, false);
    let attempts = record.attempts.iter().zip(&times);
    for (attempt, time) in attempts.take_while(|(_, time)| is_before(time)) {
        // A call on a connection that was closed is made again at once, and both are one try.
        let repeated = std::mem::replace(&mut repeats, is_stale(attempt));
        if !repeated {
            let wait = wait(
                view,
                dialect,
                tries,
                times.first().copied().flatten(),
                before,
            );
            let early = wait.and_then(|wait| is_early(view, before, *time, wait));
            let early = if tries == 0 { Some(false) } else { early };
            was_early = early == Some(true);
            tries += usize::from(!was_early);
            certain += usize::from(early == Some(false));
        }
        if was_early {
            if !repeated && !recovered(view, webhook, before, *time) {
                let number = attempt.number;
                let words = format!(
                    "w{webhook} {code}: attempt {number} came too early: {}",
                    story(view, record)
                );
                violations.push(Violation::new(NOT_BEFORE, words));
            }
        } else {
            before = time.map(|(_, ended)| ended).or(before);
        }
    }
    let retries = view.webhook(webhook).and_then(|webhook| webhook.retries);
    let most = dialect.tries_max(retries);
    if certain > most {
        let words = format!(
            "w{webhook} {code}: {certain} tries, at most {most}: {}",
            story(view, record)
        );
        violations.push(Violation::new(NOT_MORE, words));
    }
    if record.state != DeliveryState::Failed || replayed_at.is_some() {
        return;
    }
    let whole = match (dialect.final_after(), times.first(), times.last()) {
        (None, _, _) => tries >= most,
        (Some(after), Some(Some((first, _))), Some(Some((last, _)))) => {
            view.history.schedule_ms(*first, *last) >= after - SLACK
        }
        _ => true,
    };
    if !whole {
        let story = story(view, record);
        let words = format!("w{webhook} {code} has failed after {tries} tries: {story}");
        violations.push(Violation::new(WHOLE, words));
    }
}

/// The attempts of a delivery in a line: when each began in truth, how long it took, and
/// what came of it.
fn story(view: &View<'_>, record: &Record) -> String {
    let attempts = record.attempts.iter().map(|attempt| {
        let at =
            truth(view, attempt).map_or_else(|| "?".to_owned(), |(at, _)| Span(at).to_string());
        let what = match &attempt.attempt.outcome {
            Outcome::Answered(response) => response.status.to_string(),
            Outcome::Failed(failure) => failure.kind.as_str().to_owned(),
        };
        format!("{at} for {} ms {what}", attempt.attempt.duration_ms)
    });
    attempts.collect::<Vec<_>>().join(" | ")
}

/// When an attempt began and ended in truth; nothing if the wall clock was set so that it may have
/// been at two times.
fn truth(view: &View<'_>, attempt: &AttemptRecord) -> Option<(i64, i64)> {
    let at = view.truth(attempt.attempt.began_at)?;
    Some((at, at + i64::from(attempt.attempt.duration_ms)))
}

fn is_stale(attempt: &AttemptRecord) -> bool {
    match &attempt.attempt.outcome {
        Outcome::Failed(failure) => failure.kind == FailureKind::Stale,
        Outcome::Answered(_) => false,
    }
}

/// Whether it began before its delay was over; nothing if that cannot be told.
fn is_early(
    view: &View<'_>,
    before: Option<i64>,
    time: Option<(i64, i64)>,
    delay: i64,
) -> Option<bool> {
    let (before, (began, _)) = (before?, time?);
    Some(view.history.schedule_ms(before, began) < delay - SLACK)
}

/// Whether its receiver succeeded since, so that what waits may come before its time.
fn recovered(
    view: &View<'_>,
    webhook: usize,
    before: Option<i64>,
    time: Option<(i64, i64)>,
) -> bool {
    let (Some(before), Some((began, _))) = (before, time) else {
        return true;
    };
    let calls = view.history.calls.iter();
    let mut successes = calls.filter(|call| call.webhook == webhook && call.is_success());
    successes.any(|call| {
        call.heard_at
            .is_some_and(|at| (before - 31_000..=began).contains(&at))
    })
}
