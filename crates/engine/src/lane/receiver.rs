//! What a lane knows of its receiver, and what it is told of it.

use std::sync::Arc;

use model::time::Timestamp;

use crate::circuit_breaker::CircuitBreaker;
use crate::concurrency::{ConcurrencyLimit, LoadSignal};
use crate::fair_queue::HostId;
use crate::fair_share::ReceiverSpeed;
use crate::meter::Meter;
use crate::request::{Agreement, PreparedTarget, TargetHash};

/// What is remembered of the receiver, whatever the state.
#[derive(Default)]
pub(super) struct Receiver {
    /// The webhook as it was loaded last.
    pub(super) target: Option<Arc<PreparedTarget>>,
    /// Where it is, if its URL can be called.
    pub(super) host: Option<HostId>,
    pub(super) circuit: CircuitBreaker,
    pub(super) concurrency: ConcurrencyLimit,
    pub(super) meter: Meter,
    pub(super) speed: ReceiverSpeed,
    /// The target of which that is remembered from an earlier lane, until the webhook is loaded.
    pub(super) was_fast: Option<TargetHash>,
    /// Attempts that have been in flight for long.
    pub(super) slow: usize,
    pub(super) pause: Option<Pause>,
    /// The end of the hold after which all that had waited was begun.
    pub(super) drained_since: Option<Timestamp>,
    /// It agreed to be called, where it is to.
    pub(super) agreement: Option<Agreement>,
}

impl Receiver {
    /// It has to agree before it is called, and did not yet.
    pub(super) fn is_to_agree(&self) -> bool {
        let target = self.target.as_ref();
        target.is_some_and(|own| own.handshake.is_some()) && self.agreement.is_none()
    }

    /// Takes an agreement up, if it is to what the webhook is now.
    pub(super) fn agreed(&mut self, agreement: Agreement) {
        let target = self.target.as_ref();
        let handshake = target.and_then(|own| own.handshake.as_ref());
        if let Some(handshake) = handshake {
            self.agreement = handshake.agreement(Some(agreement));
        }
    }

    /// The most of its calls that may be in flight, as far as the webhook says.
    pub(super) fn calls_at_a_time(&self) -> Option<usize> {
        match self.is_to_agree() {
            // It is asked once, and not by each call that begins meanwhile.
            true => Some(1),
            false => self.target.as_ref()?.calls_at_a_time,
        }
    }
}

/// A receiver's request to be left alone: nothing is read or taken up before.
pub(crate) struct Pause {
    pub(crate) until: Timestamp,
    /// Who asked for it.
    pub(crate) by: Arc<PreparedTarget>,
}

/// What a webhook was found to be.
pub(crate) enum WebhookLookup {
    Callable(TargetSnapshot),
    Disabled,
    /// Not there, or of a dialect that nobody here knows.
    Unsupported,
}

/// A webhook that may be called, and how its receiver has fared.
pub(crate) struct TargetSnapshot {
    pub(crate) prepared: Arc<PreparedTarget>,
    pub(crate) failing_since: Option<Timestamp>,
    /// Its latest attempt was a success.
    pub(crate) succeeded: bool,
    pub(crate) seen_at: Timestamp,
}

/// How an attempt ended, as far as its lane is concerned.
pub(crate) struct AttemptEffect {
    /// In schedule time, as all else here that is due or was.
    pub(crate) began_at: Timestamp,
    pub(crate) ended_at: Timestamp,
    pub(crate) failed: bool,
    pub(crate) signal: LoadSignal,
    /// It took long.
    pub(crate) slow: bool,
    /// The receiver wants nothing more.
    pub(crate) gone: bool,
    /// The receiver wants nothing for a while.
    pub(crate) pause: Option<Pause>,
    /// It agreed to be called.
    pub(crate) agreement: Option<Agreement>,
}
