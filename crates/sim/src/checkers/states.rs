//! States move only along `model/src/delivery.rs`, as far as the log tells: attempts follow one
//! another without a gap, and an end is left only if somebody asks.

use model::delivery::{CancelCause, DeliveryState};
use model::query::ATTEMPTS_SHOWN_MAX;

use super::view::{View, Violation, status};
use crate::record::Record;
use crate::scenario::{MINUTE, SECOND};

const MOVES: &str = "states move only as they may";
const STOPPED: &str = "what was stopped is sent no more";

/// An attempt that is handed out at the moment of a change begins by then.
const HANDED_OUT_MS: i64 = SECOND;

/// A bulk job is done by then, if nothing is in its way.
const DONE_MS: i64 = MINUTE;

pub(super) fn check(view: &View<'_>) -> Vec<Violation> {
    let mut violations = Vec::new();
    for ((webhook, code), records) in &view.records {
        for record in records {
            let wrong = numbered(record)
                .or_else(|| succeeded(view, record))
                .or_else(|| disabled(view, record));
            let wrong = wrong.map(|wrong| (MOVES, wrong));
            let wrong = wrong.or_else(|| Some((STOPPED, stopped(view, record)?)));
            let wrong = wrong.or_else(|| Some((STOPPED, all_stopped(view, record)?)));
            if let Some((promise, wrong)) = wrong {
                let words = format!("w{webhook} {code} {wrong} ({:?})", record.state);
                violations.push(Violation::new(promise, words));
            }
        }
    }
    violations
}

/// Attempts are numbered from 1 without a gap.
fn numbered(record: &Record) -> Option<String> {
    let numbers: Vec<u32> = record.attempts.iter().map(|one| one.number).collect();
    let first = numbers.first().copied().unwrap_or(1);
    let is_whole = numbers.len() >= ATTEMPTS_SHOWN_MAX || first == 1;
    let in_order = numbers.windows(2).all(|pair| match pair {
        [before, after] => before + 1 == *after,
        _ => true,
    });
    (!is_whole || !in_order).then(|| format!("has attempts of numbers {numbers:?}"))
}

/// A delivery that succeeded is over.
fn succeeded(view: &View<'_>, record: &Record) -> Option<String> {
    let mut attempts = record.attempts.iter();
    let is_success = |status: u16| (200..300).contains(&status);
    let success = attempts.find(|one| status(one).is_some_and(is_success))?;
    let next = attempts.next()?;
    let replayed = view.replayed_at(record.webhook);
    let began_at = view.truth(next.attempt.began_at);
    let is_asked = replayed.is_some_and(|at| began_at.is_none_or(|began_at| at <= began_at));
    let number = success.number;
    (!is_asked).then(|| format!("was tried again after attempt {number} succeeded"))
}

/// What was owed when a webhook was disabled is owed no more.
fn disabled(view: &View<'_>, record: &Record) -> Option<String> {
    let webhook = view.webhook(record.webhook)?;
    let place = view.history.codes.get(&record.code)?;
    let accepted_at = view.history.handed_in.get(*place)?.accepted_at?;
    let off = webhook.versions.iter().filter(|version| !version.enabled);
    let mut off = off.filter(|version| accepted_at < version.from);
    let off_at = off.find_map(|version| version.known_at)?;
    tried_after(view, record, off_at)
        .map(|at| format!("was tried at {at}, and its webhook was disabled at {off_at}"))
}

/// What somebody stopped stays so, unless an attempt that was under way succeeded.
fn stopped(view: &View<'_>, record: &Record) -> Option<String> {
    let stops = view.history.stops.iter();
    let mut stops = stops.filter_map(|stop| stop.one.as_ref());
    let (_, stopped_at) = stops.find(|(id, _)| *id == record.id)?;
    if let Some(at) = tried_after(view, record, *stopped_at) {
        return Some(format!("was tried at {at}, and stopped at {stopped_at}"));
    }
    let is_over = match record.state {
        DeliveryState::Delivered | DeliveryState::Cancelled(CancelCause::Requested) => true,
        DeliveryState::Pending | DeliveryState::Failed | DeliveryState::Cancelled(_) => {
            view.replayed_at(record.webhook).is_some()
        }
    };
    (!is_over).then(|| format!("was stopped at {stopped_at}"))
}

/// What waited when somebody stopped all of it is not tried once that is done.
fn all_stopped(view: &View<'_>, record: &Record) -> Option<String> {
    let place = view.history.codes.get(&record.code)?;
    let accepted_at = view.history.handed_in.get(*place)?.accepted_at?;
    let stops = view.history.stops.iter();
    let stops = stops.filter(|stop| stop.webhook == record.webhook);
    let begun_at = stops
        .filter_map(|stop| stop.all_from)
        .find(|begun_at| accepted_at < begun_at - DONE_MS)?;
    let until = begun_at + DONE_MS;
    if !view.history.is_quiet(begun_at, until) {
        return None;
    }
    tried_after(view, record, until)
        .map(|at| format!("was tried at {at}, and all that waited stopped at {begun_at}"))
}

/// When it was tried after that though nobody asked.
fn tried_after(view: &View<'_>, record: &Record, ended_at: i64) -> Option<i64> {
    let mut replays = view.replays(record.webhook);
    if replays.any(|replay| replay.from >= ended_at - DONE_MS) {
        return None;
    }
    let mut began = record
        .attempts
        .iter()
        .filter_map(|one| view.truth(one.attempt.began_at));
    let by = ended_at + HANDED_OUT_MS + view.unheard_ms();
    began.find(|began_at| *began_at > by)
}
