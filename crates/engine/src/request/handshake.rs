//! The question whether a receiver agrees to be called, as a request, and to what its answer holds.

use model::attempt::{Failure, FailureKind};
use model::call_limits::CallRate;
use model::contract::WebhookTarget;
use model::handshake::{self, HandshakeAnswer, HandshakeQuestion};
use model::policy::Policy;
use model::webhook::Headers;

/// A webhook's handshake, ready to be made.
pub(crate) struct PreparedHandshake {
    /// What is to be answered; or why nobody can be asked.
    pub(crate) question: Result<HandshakeQuestion, Failure>,
    /// How many calls a minute are asked for.
    per_minute: Option<u64>,
    /// What the store knows of an agreement.
    agreement: Option<Agreement>,
}

/// A receiver agreed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Agreement {
    pub(crate) question: HandshakeQuestion,
    /// To no more than that.
    pub(crate) rate: Option<CallRate>,
}

impl PreparedHandshake {
    pub(super) fn of(target: &WebhookTarget, policy: &Policy) -> Option<Self> {
        let chosen = target.handshake.as_ref()?;
        let origin = policy.bounds.origin.as_deref();
        let answer = chosen.answer_to(&target.target_url, origin);
        let question = origin
            .map(|origin| HandshakeQuestion::new(chosen.since, &target.target_url, origin))
            .ok_or_else(|| Failure::new(FailureKind::Handshake, handshake::NO_ORIGIN));
        Some(Self {
            question,
            per_minute: target.limits.calls_per_second.map(CallRate::per_minute),
            agreement: answer.and_then(Agreement::of),
        })
    }

    /// What was agreed on, if the store knew of it or it is `known` since.
    pub(crate) fn agreement(&self, known: Option<Agreement>) -> Option<Agreement> {
        let question = self.question.as_ref().ok();
        let known = known.filter(|known| question == Some(&known.question));
        self.agreement.clone().or(known)
    }

    /// Whether a rate is asked for.
    pub(crate) fn asks_for_rate(&self) -> bool {
        self.per_minute.is_some()
    }

    /// The lines that only the question has.
    pub(super) fn lines(&self) -> Headers {
        let rate = self.per_minute.map(|rate| rate.to_string());
        let rate = rate.as_ref().map(|rate| (handshake::REQUEST_RATE, rate));
        let lines = rate.into_iter().map(|(name, rate)| (name, rate.as_bytes()));
        Headers::from_pairs(lines)
    }

    /// The line that the question has, and each call.
    pub(super) fn origin(&self) -> Headers {
        let origin = self.question.iter();
        let lines = origin.map(|own| (handshake::REQUEST_ORIGIN, own.origin.as_bytes()));
        Headers::from_pairs(lines)
    }
}

impl Agreement {
    pub(crate) fn of(answer: &HandshakeAnswer) -> Option<Self> {
        answer.verdict.is_granted().then(|| Self {
            question: answer.question.clone(),
            rate: answer.verdict.rate(),
        })
    }
}
