//! What a lane knows of its receiver, and what it is told of it.

use std::sync::Arc;

use model::time::Timestamp;

use crate::circuit_breaker::CircuitBreaker;
use crate::concurrency::{ConcurrencyLimit, LoadSignal};
use crate::fair_queue::HostId;
use crate::fair_share::ReceiverSpeed;
use crate::meter::Meter;
use crate::request::{PreparedTarget, TargetHash};

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
}
