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

/// What an attempt may have been to the engine, as far as those before it tell.
#[derive(Default, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Reading {
    /// How many were tries of the schedule. An early one that fails is as if it had not been made.
    tries: usize,
    /// So many of them were for certain.
    certain: usize,
    /// The end of the latest try.
    before: Option<i64>,
    was_early: bool,
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
    let mut readings = vec![Reading::default()];
    let mut repeats = false;
    let attempts = record.attempts.iter().zip(&times);
    for (attempt, time) in attempts.take_while(|(_, time)| is_before(time)) {
        // A call on a connection that was closed is made again at once, and both are one try.
        if std::mem::replace(&mut repeats, is_stale(attempt)) {
            for reading in readings.iter_mut().filter(|reading| !reading.was_early) {
                reading.before = time.map(|(_, ended)| ended).or(reading.before);
            }
            continue;
        }
        let first = times.first().copied().flatten();
        let all = readings.iter();
        let next = all.flat_map(|reading| read(view, webhook, reading, first, *time));
        let mut next: Vec<Reading> = next.collect();
        next.sort_unstable();
        next.dedup();
        if next.is_empty() {
            let number = attempt.number;
            let story = story(view, record);
            let words = format!("w{webhook} {code}: attempt {number} came too early: {story}");
            violations.push(Violation::new(NOT_BEFORE, words));
            return;
        }
        readings = next;
    }
    let retries = view.webhook(webhook).and_then(|webhook| webhook.retries);
    let most = dialect.tries_max(retries);
    let certain = readings.iter().map(|reading| reading.certain).min();
    if let Some(certain) = certain.filter(|certain| *certain > most) {
        let words = format!(
            "w{webhook} {code}: {certain} tries, at most {most}: {}",
            story(view, record)
        );
        violations.push(Violation::new(NOT_MORE, words));
    }
    if record.state != DeliveryState::Failed || replayed_at.is_some() {
        return;
    }
    let tries = readings.iter().map(|reading| reading.tries).max();
    let tries = tries.unwrap_or(0);
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

/// What an attempt at `time` may have been after `reading`: a try that was due, an early one of a
/// receiver that had recovered, either of them if jitter hides which, or neither.
fn read(
    view: &View<'_>,
    webhook: usize,
    reading: &Reading,
    first: Option<(i64, i64)>,
    time: Option<(i64, i64)>,
) -> Vec<Reading> {
    let dialect = view.dialect(webhook);
    let wait = wait(view, dialect, reading.tries, first, reading.before);
    let bounds = wait.and_then(|wait| {
        let (before, (began, _)) = (reading.before?, time?);
        let least = view.history.least_schedule_ms(before, began);
        let may_be_due = view.history.schedule_ms(before, began) >= wait - SLACK;
        let may_be_early = least <= wait + dialect.jitter(wait) + SLACK;
        Some((may_be_due, may_be_early))
    });
    let (may_be_due, may_be_early) = match (reading.tries, bounds) {
        (0, _) => (true, false),
        (_, Some((due, early))) => (due, early && recovered(view, webhook, reading.before, time)),
        // It cannot be told.
        (_, None) => (true, recovered(view, webhook, reading.before, time)),
    };
    let is_certain = reading.tries == 0 || bounds.is_some();
    let due = Reading {
        tries: reading.tries + 1,
        certain: reading.certain + usize::from(is_certain),
        before: time.map(|(_, ended)| ended).or(reading.before),
        was_early: false,
    };
    let early = Reading {
        was_early: true,
        ..reading.clone()
    };
    let readings = [(may_be_due, due), (may_be_early, early)];
    readings
        .into_iter()
        .filter_map(|(may_be, reading)| may_be.then_some(reading))
        .collect()
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
