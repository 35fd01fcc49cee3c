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
                    let succeeded = record.attempts.last().and_then(status);
                    let is_success = succeeded.is_some_and(|status| (200..300).contains(&status));
                    (!is_success).then_some("is delivered, and its last attempt did not succeed")
                }
                DeliveryState::Failed => {
                    let mut statuses = record.attempts.iter().filter_map(status);
                    let last = record.attempts.last().and_then(status);
                    let replayed = view.replays(webhook) > 0;
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
                        CancelCause::WebhookDeleted | CancelCause::Requested => false,
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
