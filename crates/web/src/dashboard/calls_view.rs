//! How a webhook is called, as its page shows it: limits, and whether calls are CloudEvents.
//! `calls.rs` has the form.

use model::call_limits::{CallBounds, CallLimits};
use model::cloud_event::{CloudEventMode, CloudEvents};
use model::handshake::Handshake;
use model::webhook::Webhook;

use super::response::PageError;
use super::view::DisplayTime;
use super::visit::Visit;
use crate::dialect::cloud_events::{HandshakeState, handshake_fault};
use crate::dialect::limits::rate_words;

/// How a webhook is called, for people.
pub(super) struct CallsView {
    pub(super) at_a_time: String,
    pub(super) rate: String,
    pub(super) time: String,
    pub(super) schedule: String,
    /// The chosen schedule, which the operator does not have any more.
    pub(super) missing: Option<String>,
    pub(super) form: &'static str,
    pub(super) handshake: Option<HandshakeView>,
}

/// How far the handshake of a webhook has come, for people.
pub(super) struct HandshakeView {
    pub(super) words: String,
    pub(super) at: Option<DisplayTime>,
    pub(super) why: Option<String>,
}

impl CallsView {
    pub(super) async fn of(visit: &Visit, webhook: &Webhook) -> Result<Self, PageError> {
        let (limits, events) = stored(visit, webhook).await?;
        let policy = visit.policy()?;
        let bounds = &policy.bounds;
        let limited = policy.limited(&limits);
        let ms = limited.as_ref().unwrap_or(policy).exchange_limit_ms;
        let most = bounds.calls_at_a_time_max;
        let missing = limits.missing_schedule(bounds).map(str::to_owned);
        let named = limits.schedule.as_ref().filter(|_| missing.is_none());
        Ok(Self {
            at_a_time: match limits.calls_at_a_time {
                Some(count) => format!("{} at most", count.min(most)),
                None => format!("as many as its receiver bears, {most} at most"),
            },
            rate: match limits.calls_per_second {
                Some(rate) => format!("{} at most; what is more waits", rate_words(rate)),
                None => "not limited".to_owned(),
            },
            time: format!("{} s", ms / 1_000),
            schedule: named.cloned().unwrap_or_else(|| "the usual one".to_owned()),
            missing,
            handshake: events
                .as_ref()
                .and_then(|events| events.handshake.as_ref())
                .map(|own| HandshakeView::of(own, webhook, bounds)),
            form: match events.map(|events| events.mode) {
                None => "plain",
                Some(CloudEventMode::Binary) => "a CloudEvent in binary mode",
                Some(CloudEventMode::Structured) => "a CloudEvent in structured mode",
            },
        })
    }
}

impl HandshakeView {
    fn of(handshake: &Handshake, webhook: &Webhook, bounds: &CallBounds) -> Self {
        match HandshakeState::of(handshake, &webhook.target_url, bounds) {
            HandshakeState::NotAsked => Self {
                words: "not asked yet; it is before the next call".to_owned(),
                at: None,
                why: handshake_fault(true, bounds).map(str::to_owned),
            },
            HandshakeState::Granted { answer, per_minute } => {
                let rate = match per_minute {
                    Some(1) => "1 call a minute at most".to_owned(),
                    Some(rate) => format!("{rate} calls a minute at most"),
                    None => "any number of calls".to_owned(),
                };
                Self {
                    words: format!("agreed to {rate} from {}", answer.question.origin),
                    at: Some(DisplayTime(answer.at)),
                    why: None,
                }
            }
            HandshakeState::Refused { answer, reason } => Self {
                words: format!("did not agree to calls from {}", answer.question.origin),
                at: Some(DisplayTime(answer.at)),
                why: Some(format!("{}.", reason.trim_end_matches('.'))),
            },
        }
    }
}

/// What is stored of how a webhook is called.
pub(super) async fn stored(
    visit: &Visit,
    webhook: &Webhook,
) -> Result<(CallLimits, Option<CloudEvents>), PageError> {
    let (tenant, id) = (webhook.tenant, webhook.id);
    let limits = visit.ask(move |store| store.call_limits(tenant, id));
    let events = visit.ask(move |store| store.cloud_events(tenant, id));
    Ok((limits.await?, events.await?))
}
