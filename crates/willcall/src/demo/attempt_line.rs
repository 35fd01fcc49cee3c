//! The line that the demo prints for an attempt. Times are seconds since the first webhook was
//! created.

use model::query::{AttemptRecord, DeliveryRow};
use web::dialects::ReceiverBehavior;

use super::receivers::name;

pub(super) fn print(
    character: ReceiverBehavior,
    row: &DeliveryRow,
    past: &AttemptRecord,
    at_ms: i64,
) {
    let next = match past.next_due_at {
        Some(next) => format!(
            " Next attempt in {}.",
            seconds(next.ms_since(past.ended_at()))
        ),
        None => String::new(),
    };
    say!(
        "  {:>7}  {:<10}  {:<37}  #{} {}{next}",
        seconds(at_ms),
        name(character),
        row.action_type,
        past.number,
        past.attempt.outcome.words(),
    );
}

pub(super) fn seconds(ms: i64) -> String {
    if ms < 10_000 {
        format!("{}.{:03} s", ms / 1_000, ms % 1_000)
    } else {
        format!("{}.{} s", ms / 1_000, ms % 1_000 / 100)
    }
}
