//! Delivery: one notification owed to one webhook. `Delivery::transition` decides what follows from
//! an attempt: delivered, a retry, failed, or a webhook that is disabled (410).
//!
//! A delivery goes through rounds: the first begins when it is accepted, another with each replay.
//! Each round has the whole schedule before it.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;

use crate::attempt::Outcome;
use crate::call_limits::CallRate;
use crate::id::DeliveryId;
use crate::limits::PROBE_INTERVAL_MS;
use crate::mutation::{Mutation, is_on};
use crate::named::named;
use crate::policy::Policy;
use crate::retry_after;
use crate::rng::SeededRng;
use crate::time::{Moment, Timestamp};
use crate::webhook::Headers;

/// Where a delivery stands. All but `Pending` are ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryState {
    /// Owed: an attempt is due now or later.
    Pending,
    /// Answered with 2xx.
    Delivered,
    /// Tried as often as the schedule allows.
    Failed,
    /// Given up for the cause named.
    Cancelled(CancelCause),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelCause {
    /// The webhook was switched off while the delivery was owed.
    WebhookDisabled,
    /// The receiver answered 410 Gone, to this delivery or to another of the webhook.
    ReceiverGone,
    /// The webhook was deleted while the delivery was owed.
    WebhookDeleted,
    /// A person or program did not want it sent any more.
    Requested,
}

named!(
    CancelCause {
        WebhookDisabled = "webhook_disabled",
        ReceiverGone = "receiver_gone",
        WebhookDeleted = "webhook_deleted",
        Requested = "asked",
    }
);

/// What deciding about a delivery needs to know of it. Its times are of the schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    pub id: DeliveryId,
    /// 1-based; fences an attempt that began before somebody had the delivery sent again.
    pub round: u32,
    /// Attempts made in all rounds.
    pub attempts: u32,
    /// Attempts made in this round.
    pub round_attempts: u32,
    /// When the first attempt of this round began; the final attempt counts from it.
    pub round_began_at: Option<Timestamp>,
    pub due_at: Timestamp,
}

/// A delivery with all that one attempt needs, apart from the webhook's own data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueDelivery {
    pub delivery: Delivery,
    /// The application's name for the notification.
    pub key: Arc<str>,
    /// The notification's kind, as the log shows it.
    pub action_type: Arc<str>,
    /// When the notification was accepted.
    pub accepted_at: Timestamp,
    /// The notification's own header lines.
    pub headers: Headers,
    pub body: Bytes,
}

/// What an attempt makes of its delivery. Its times are of the schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NextState {
    pub state: DeliveryState,
    /// When the next attempt is due; only while pending.
    pub due_at: Option<Timestamp>,
    /// When the attempt began.
    pub began_at: Timestamp,
    /// The beginning of this round's first attempt.
    pub round_began_at: Timestamp,
    /// Whether the webhook is to be switched off because its receiver is gone.
    pub disables_webhook: bool,
    /// Until when the receiver asked that the webhook be left alone, with all its deliveries.
    pub pauses_until: Option<Timestamp>,
    /// The attempt was made ahead of its time, so it takes nothing from the schedule.
    pub early: bool,
}

/// Where a delivery that is owed stands, as whoever sends it has it at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DispatchState {
    /// Its attempt is in the air, or has just ended.
    InFlight,
    /// Its receiver asked to be left alone until then.
    Paused { until: Timestamp },
    /// Somebody paused its webhook.
    Held,
    /// Its receiver has failed for long, and one delivery at a time finds out whether it is back.
    CircuitOpen,
    /// As many calls a second as its webhook may have were made.
    RateLimited { rate: CallRate },
    /// As many of its webhook are in the air as its receiver is thought to bear.
    ConcurrencyLimited,
    /// Its tenant, or the host of its receiver, has its share of what is in the air.
    ShareLimited,
    /// As much is in the air as may be.
    InFlightLimited,
    /// Nothing keeps it: it is read when it is due.
    Ready,
}

/// What happens while a circuit is open.
pub fn probe_words() -> String {
    let every_s = PROBE_INTERVAL_MS / 1_000;
    format!("one call every {every_s} s finds out whether it is back, then everything comes")
}

impl DispatchState {
    /// Why it is not sent yet; nothing of what is.
    pub fn words(self) -> Option<Cow<'static, str>> {
        let words = match self {
            Self::InFlight => return None,
            Self::Held => "somebody paused its webhook, and it waits until that is resumed",
            Self::Paused { .. } => "its receiver asked to be left alone for a while",
            Self::CircuitOpen => {
                let words = format!(
                    "its receiver has failed for long; {}. With Send now it goes at once",
                    probe_words()
                );
                return Some(words.into());
            }
            Self::RateLimited { rate } => {
                let words = format!(
                    "its webhook has at most {rate} calls a second, and it waits for its turn"
                );
                return Some(words.into());
            }
            Self::ConcurrencyLimited => {
                "as many calls of this webhook are running as its receiver is thought to bear"
            }
            Self::ShareLimited => {
                "so many slow calls of this organization, or to this receiver's host, are running that \
                 they have their share"
            }
            Self::InFlightLimited => "as many calls are running as may",
            Self::Ready => "it is about to be sent",
        };
        Some(words.into())
    }
}

impl Delivery {
    /// What follows from an attempt that began (in the schedule) and ended at the given times;
    /// `retries_max` is the webhook's.
    pub fn transition(
        &self,
        outcome: &Outcome,
        began_at: Timestamp,
        ended: Moment,
        policy: &Policy,
        retries_max: Option<u32>,
        rng: &mut SeededRng,
    ) -> NextState {
        let ended_at = ended.schedule;
        let round_began_at = self.round_began_at.unwrap_or(began_at);
        let end = |state, disables_webhook| NextState {
            state,
            due_at: None,
            began_at,
            round_began_at,
            disables_webhook,
            pauses_until: None,
            early: false,
        };
        if outcome.is_success()
            && !(is_on(Mutation::RetryAfterSuccess) && outcome.status() != Some(200))
        {
            return end(DeliveryState::Delivered, false);
        }
        if policy.gone_disables && outcome.status() == Some(410) {
            return end(DeliveryState::Cancelled(CancelCause::ReceiverGone), true);
        }
        let pauses_until = policy
            .retry_after_max_ms
            .filter(|_| !is_on(Mutation::IgnoreRetryAfter))
            .and_then(|most| retry_after::wait_ms(outcome, ended.wall, most))
            .map(|wait_ms| ended_at.plus_ms(wait_ms));
        if self.is_early_at(began_at) && !is_on(Mutation::EarlyTryCounts) {
            return NextState {
                due_at: Some(self.due_at).max(pauses_until),
                pauses_until,
                early: true,
                ..end(DeliveryState::Pending, false)
            };
        }
        let mut retry = self.round_attempts.saturating_add(1);
        if is_on(Mutation::OneTryTooMany) {
            retry = self.round_attempts.max(1);
        }
        if is_on(Mutation::OneTryTooFew) {
            retry = retry.saturating_add(1);
        }
        let schedule = &policy.schedule;
        let due_at = if retries_max.is_some_and(|most| retry > most) {
            None
        } else {
            schedule.due_at(retry, round_began_at, ended_at, rng)
        };
        let state = due_at.map_or(DeliveryState::Failed, |_| DeliveryState::Pending);
        NextState {
            due_at: due_at.max(pauses_until.filter(|_| due_at.is_some())),
            pauses_until,
            ..end(state, false)
        }
    }

    /// Whether an attempt that begins then is made while the delivery waits for a retry: its
    /// receiver has recovered before the schedule thought it might. If it fails, it is as if it
    /// had not been made.
    pub fn is_early_at(&self, began_at: Timestamp) -> bool {
        self.round_attempts > 0 && began_at < self.due_at
    }
}

impl DeliveryState {
    /// The word of the REST API, the audit log and URLs; a failed one is `exhausted` there.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Failed => "exhausted",
            Self::Cancelled(_) => "cancelled",
        }
    }

    pub fn is_end(self) -> bool {
        self != Self::Pending
    }
}

impl CancelCause {
    pub fn words(self) -> &'static str {
        match self {
            Self::WebhookDisabled => "The webhook was disabled before this was delivered.",
            Self::ReceiverGone => {
                "The receiver answered 410 Gone, so the webhook was disabled and nothing more is sent."
            }
            Self::WebhookDeleted => "The webhook was deleted before this was delivered.",
            Self::Requested => "Somebody asked that it be sent no more.",
        }
    }
}

#[cfg(test)]
mod tests;
