//! A bulk replay reaches all that had failed or was cancelled when it was begun.

use model::delivery::DeliveryState;

use super::view::{View, Violation};
use crate::history::Replay;
use crate::record::Record;
use crate::scenario::{HOUR, MINUTE, START};

const ALL: &str = "a bulk replay reaches all";

/// What ended so shortly before may have been written later.
const SETTLED_MS: i64 = MINUTE;

pub(super) fn check(view: &View<'_>) -> Vec<Violation> {
    let mut violations = Vec::new();
    for replay in &view.history.replays {
        let Some(begun_at) = replay.begun_at else {
            continue;
        };
        // By a clock that is wrong all may have ended later.
        let clock = view.history.leads(replay.from - MINUTE, begun_at + MINUTE);
        if !is_steady(view, replay, begun_at) || clock.iter().any(|lead| *lead != 0) {
            continue;
        }
        for ((webhook, code), records) in &view.records {
            let left = records
                .iter()
                .filter(|record| is_left(view, replay, record));
            for record in left.filter(|_| *webhook == replay.webhook) {
                let state = record.state;
                let words = format!("w{webhook} {code} is {state:?} since before {begun_at}");
                violations.push(Violation::new(ALL, words));
            }
        }
    }
    violations
}

/// Whether the webhook stayed as it was until the job was done.
fn is_steady(view: &View<'_>, replay: &Replay, begun_at: i64) -> bool {
    let until = begun_at + HOUR;
    let Some(webhook) = view.webhook(replay.webhook) else {
        return false;
    };
    let mut held = webhook.held(replay.from - MINUTE, until);
    let mut gone = webhook.gone.iter();
    held.all(|version| version.enabled)
        && !webhook.may_be_gone(replay.from)
        && !gone.any(|gone| (replay.from - MINUTE..until).contains(gone))
        && view.history.uptime(begun_at, until) > 30 * MINUTE
}

/// Whether a delivery stands as it did before.
fn is_left(view: &View<'_>, replay: &Replay, record: &Record) -> bool {
    let is_meant = match record.state {
        DeliveryState::Failed => true,
        DeliveryState::Cancelled(_) => replay.cancelled,
        DeliveryState::Pending | DeliveryState::Delivered => false,
    };
    let wall = record.ended_at.map(|at| at.as_millis() - START);
    let ended_at = record.ended_at.and_then(|at| view.truth(at));
    // By a clock that was ahead it may have ended after the replay was begun.
    is_meant && wall == ended_at && ended_at.is_some_and(|at| at < replay.from - SETTLED_MS)
}
