//! Nothing is tried before it is due or more often than the schedule says, and what fails has had
//! its whole schedule, however long Willcall was off and whatever the clock said.

use model::attempt::{FailureKind, Outcome};
use model::delivery::DeliveryState;
use model::query::AttemptRecord;

use super::view::{View, Violation};
use crate::record::Record;
use crate::scenario::{Dialect, HOUR, MINUTE, SECOND, START};
use crate::trace::Span;

const NOT_BEFORE: &str = "nothing is tried before it is due";
const NOT_MORE: &str = "no more tries than the schedule";
const WHOLE: &str = "what fails has had its whole schedule";

/// The delays of pretix's dialect before its final attempt, and when that is.
const PRETIX: [i64; 11] = [
    5 * SECOND,
    30 * SECOND,
    MINUTE,
    5 * MINUTE,
    20 * MINUTE,
    HOUR,
    4 * HOUR,
    6 * HOUR,
    12 * HOUR,
    12 * HOUR,
    24 * HOUR,
];
const PRETIX_FINAL: i64 = 72 * HOUR;

/// After so many tries the final attempt comes.
const PRETIX_LAST_WAIT: usize = PRETIX.len() + 1;

/// Two clocks are read a moment apart.
const SLACK: i64 = 50;

pub(super) fn check(view: &View<'_>) -> Vec<Violation> {
    let mut violations = Vec::new();
    for ((webhook, _), records) in &view.records {
        if view.replays(*webhook) > 0 {
            continue;
        }
        for record in records {
            judge(view, record, &mut violations);
        }
    }
    violations
}

/// How long after the end of the latest try the final attempt comes, if that can be told.
fn last_wait(view: &View<'_>, first: Option<(i64, i64)>, before: Option<i64>) -> Option<i64> {
    let ((began, _), before) = (first?, before?);
    Some(PRETIX_FINAL - view.history.schedule_ms(began, before))
}

/// The wait before a retry, by how many tries there were.
fn delay(dialect: Dialect, tries: usize) -> i64 {
    match dialect {
        Dialect::Pretix => PRETIX.get(tries - 1).copied().unwrap_or(0),
        Dialect::OpenTicket => {
            let doubled = MINUTE << (tries - 1).min(20);
            doubled.min(6 * HOUR)
        }
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
    // As many as there may have been, and as there were for certain.
    let (mut tries, mut certain) = (0, 0);
    // The end of the latest try. An early one that fails is as if it had not been made.
    let mut before: Option<i64> = None;
    let (mut repeats, mut was_early) = (false, false);
    for (attempt, time) in record.attempts.iter().zip(&times) {
        // A call on a connection that was closed is made again at once, and both are one try.
        let repeated = std::mem::replace(&mut repeats, is_stale(attempt));
        if !repeated {
            let wait = match tries {
                0 => None,
                PRETIX_LAST_WAIT if dialect == Dialect::Pretix => {
                    last_wait(view, times.first().copied().flatten(), before)
                }
                _ => Some(delay(dialect, tries)),
            };
            let early = match wait {
                Some(wait) => is_early(view, before, *time, wait),
                None if tries == 0 => Some(false),
                None => None,
            };
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
    let most = most(view, webhook);
    if certain > most {
        let words = format!(
            "w{webhook} {code}: {certain} tries, at most {most}: {}",
            story(view, record)
        );
        violations.push(Violation::new(NOT_MORE, words));
    }
    if record.state != DeliveryState::Failed {
        return;
    }
    let whole = match dialect {
        Dialect::OpenTicket => tries >= most,
        Dialect::Pretix => match (times.first(), times.last()) {
            (Some(Some((first, _))), Some(Some((last, _)))) => {
                view.history.schedule_ms(*first, *last) >= PRETIX_FINAL - SLACK
            }
            _ => true,
        },
    };
    if !whole {
        let story = story(view, record);
        let words = format!("w{webhook} {code} has failed after {tries} tries: {story}");
        violations.push(Violation::new(WHOLE, words));
    }
}

/// How many tries there are at most.
fn most(view: &View<'_>, webhook: usize) -> usize {
    match view.dialect(webhook) {
        Dialect::Pretix => PRETIX.len() + 2,
        Dialect::OpenTicket => {
            let retries = view.webhook(webhook).and_then(|webhook| webhook.retries);
            1 + retries.unwrap_or(3) as usize
        }
    }
}

/// The attempts of a delivery in a line: when each began in truth, and what came of it.
fn story(view: &View<'_>, record: &Record) -> String {
    let attempts = record.attempts.iter().map(|attempt| {
        let at =
            truth(view, attempt).map_or_else(|| "?".to_owned(), |(at, _)| Span(at).to_string());
        let what = match &attempt.attempt.outcome {
            Outcome::Answered(response) => response.status.to_string(),
            Outcome::Failed(failure) => failure.kind.as_str().to_owned(),
        };
        format!("{at} {what}")
    });
    attempts.collect::<Vec<_>>().join(" | ")
}

/// When an attempt began and ended in truth; nothing if the wall clock was set so that it may have
/// been at two times.
fn truth(view: &View<'_>, attempt: &AttemptRecord) -> Option<(i64, i64)> {
    let began_at = attempt.attempt.began_at.as_millis() - START;
    let clock = &view.history.clock;
    let mut found = clock
        .iter()
        .enumerate()
        .filter_map(|(index, (from, lead))| {
            let until = clock.get(index + 1).map_or(i64::MAX, |(at, _)| *at);
            let at = began_at - lead;
            (*from <= at && at <= until).then_some(at)
        });
    let at = found.next()?;
    if found.next().is_some() {
        return None;
    }
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
