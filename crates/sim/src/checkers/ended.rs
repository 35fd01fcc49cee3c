//! Every delivery comes to an end, and the log says which and why: delivered, failed after the
//! whole schedule, or cancelled for a cause.

use model::delivery::{CancelCause, DeliveryState};

use super::view::{View, Violation, status};

const ENDS: &str = "every delivery ends as the rules say";

pub(super) fn check(view: &View<'_>) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (key, records) in &view.records {
        for record in records {
            let (webhook, code) = *key;
            let Some(known) = view.webhook(webhook) else {
                continue;
            };
            let wrong = match record.state {
                DeliveryState::Pending => Some("is still pending"),
                DeliveryState::Delivered => {
                    let mut statuses = record.attempts.iter().rev().map(status);
                    let is_success =
                        |status: Option<u16>| status.is_some_and(|s| (200..300).contains(&s));
                    // A success counts that comes in after somebody had it stopped or sent again.
                    let succeeded = match view.replayed_at(webhook) {
                        Some(_) => statuses.any(is_success),
                        None => statuses.next().is_some_and(is_success),
                    };
                    (!succeeded).then_some("is delivered, and its last attempt did not succeed")
                }
                DeliveryState::Failed => {
                    let mut statuses = record.attempts.iter().filter_map(status);
                    let last = record.attempts.last().and_then(status);
                    let replayed = view.replayed_at(webhook).is_some();
                    let succeeded = statuses.any(|status| (200..300).contains(&status));
                    let succeeded = succeeded && (!replayed || last.is_some_and(|s| s < 300));
                    succeeded.then_some("has failed, and an attempt succeeded")
                }
                DeliveryState::Cancelled(cause) => {
                    let caused = match cause {
                        CancelCause::WebhookDisabled => {
                            known.versions.iter().any(|version| !version.enabled)
                        }
                        CancelCause::ReceiverGone => !known.gone.is_empty(),
                        CancelCause::Requested => view.is_stopped(webhook),
                        CancelCause::WebhookDeleted => false,
                    };
                    (!caused).then_some("is cancelled for a cause that there was not")
                }
            };
            if let Some(wrong) = wrong {
                let attempts = record.attempts.len();
                let state = record.state;
                let words = format!("w{webhook} {code} {wrong} ({state:?}, {attempts} attempts)");
                violations.push(Violation::new(ENDS, words));
            }
        }
    }
    violations
}
