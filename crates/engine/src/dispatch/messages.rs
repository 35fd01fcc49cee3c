//! What the loop logs about receivers and the clock.

use std::collections::BTreeSet;

use model::contract::WebhookTarget;
use model::delivery::NextState;
use model::id::WebhookId;
use model::limits::NAMED_SCHEDULES_MAX;
use model::policy::Policy;
use model::time::ClockDoubt;

use crate::circuit_breaker::CircuitTransition;
use crate::metrics::Metrics;

/// Logs and counts what a receiver asks for, and logs how it fares.
pub(super) fn effect(
    metrics: &Metrics,
    webhook: WebhookId,
    next: &NextState,
    (class, transition): (&str, Option<CircuitTransition>),
) {
    if let Some(until) = next.pauses_until {
        metrics.pauses.inc();
        tracing::debug!(%webhook, %until, "its receiver asks for a pause");
    }
    if next.disables_webhook {
        metrics.disabled.inc();
        tracing::info!(%webhook, "its receiver answered 410 Gone, the webhook is disabled");
    } else {
        self::transition(webhook, class, transition);
    }
}

/// Logs a transition of a webhook's circuit breaker, if there is one.
fn transition(webhook: WebhookId, class: &str, transition: Option<CircuitTransition>) {
    match transition {
        Some(CircuitTransition::FailuresBegan) => {
            tracing::info!(%webhook, class, "deliveries begin to fail");
        }
        Some(CircuitTransition::Opened) => {
            tracing::info!(%webhook, class, "deliveries have failed \
            for long: one at a time finds out whether the receiver is back, the others wait for an \
            hour at most");
        }
        Some(CircuitTransition::Closed) => tracing::info!(%webhook, "deliveries succeed again"),
        None => {}
    }
}

/// Says that the clock is not trusted for a while.
pub(super) fn doubted(doubt: ClockDoubt) {
    match doubt {
        ClockDoubt::Stepped { by_ms } | ClockDoubt::BehindStore { by_ms } => tracing::warn!(
            by_ms,
            "{doubt}; waits go on as they were, and for an hour nothing is removed or ended by what \
             it says: set it right if it is wrong"
        ),
        ClockDoubt::AheadOfStore { by_ms } => tracing::info!(
            by_ms,
            "{doubt}; waits go on where they were, and for an hour nothing is removed or ended by \
             what it says"
        ),
    }
}

/// Says once for each name that a webhook wants a schedule which is not there.
pub(super) fn missing_schedule(
    said: &mut BTreeSet<String>,
    target: &WebhookTarget,
    policy: &Policy,
) {
    let missing = target.limits.missing_schedule(&policy.bounds);
    if let Some(name) = missing.filter(|name| !said.contains(*name))
        && said.len() < NAMED_SCHEDULES_MAX
    {
        said.insert(name.to_owned());
        tracing::warn!(
            schedule = name,
            webhook = %target.webhook,
            "webhooks name a retry schedule that is not in the setting schedules any more; they \
             have their platform's own until it is there again"
        );
    }
}
