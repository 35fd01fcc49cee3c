//! What handlers share, and how they ask the store.
//!
//! Nothing here outlives the process: what may not be lost is in the store.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use model::address::Networks;
use model::contract::{Conflict, DiskFault, Frontend, StoreError, StoreFuture};
use model::delivery::DispatchState;
use model::id::DeliveryId;
use model::limits::WEBHOOKS_MAX;
use model::policy::Policies;
use model::refusal::Refusal;
use model::rng::SeededRng;
use model::time::Clock;
use prometheus_client::registry::Registry;
use tokio::sync::watch;

use crate::auth::AuthCache;
use crate::dashboard::StreamSlots;
use crate::dialects::Dialects;
use crate::idempotency::RunningKeys;
use crate::intake_warnings::IntakeWarnings;
use crate::metrics::Metrics;
use crate::rng::SharedRng;
use crate::token_usage::TokenUsage;
use crate::transport::body_budget::BodyBudget;

/// Everything the floor is given.
pub struct Parts {
    pub store: Arc<dyn Frontend>,
    pub clock: Clock,
    pub rng: SeededRng,
    pub settings: WebSettings,
    pub dialects: Dialects,
    /// How deliveries are made: what the engine was given, for explaining it.
    pub policies: Policies,
    /// True once the house is to stop: answers without an end of their own end then.
    pub stopping: watch::Receiver<bool>,
    /// What `/readyz` asks beside the store.
    pub health: HealthCheck,
    pub dispatch_state: DispatchLookup,
    /// Renders what `/metrics` answers.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
}

/// Answers where a delivery that is owed stands; nothing if that is not known.
pub type DispatchLookup = Arc<
    dyn Fn(DeliveryId) -> Pin<Box<dyn Future<Output = Option<DispatchState>> + Send>> + Send + Sync,
>;

/// A sentence if this process cannot serve, else one for each thing that is worth knowing.
pub type HealthCheck = Arc<dyn Fn() -> Result<Vec<String>, String> + Send + Sync>;

/// What an operator may choose about this floor.
#[derive(Debug, Clone, Default)]
pub struct WebSettings {
    /// Names under which this server is reached, beside addresses and names without a dot.
    pub hosts: Vec<String>,
    /// Proxies that are believed when they say who asks.
    pub proxies: Networks,
}

pub(crate) struct Shared {
    pub(crate) store: Arc<dyn Frontend>,
    pub(crate) clock: Clock,
    pub(crate) settings: WebSettings,
    pub(crate) dialects: Dialects,
    pub(crate) policies: Policies,
    pub(crate) stopping: watch::Receiver<bool>,
    /// Of those who follow a page live.
    pub(crate) seats: Arc<StreamSlots>,
    pub(crate) health: HealthCheck,
    pub(crate) dispatch_state: DispatchLookup,
    pub(crate) metrics: Arc<dyn Fn() -> String + Send + Sync>,
    pub(crate) meters: Metrics,
    pub(crate) callers: AuthCache,
    pub(crate) token_usage: Arc<TokenUsage>,
    pub(crate) intake_warnings: IntakeWarnings,
    pub(crate) running: Arc<RunningKeys>,
    /// For the bodies of requests.
    pub(crate) room: BodyBudget,
    pub(crate) rng: SharedRng,
}

/// Seconds after which to ask again when too much is waiting.
const BUSY_AFTER_S: u32 = 1;

/// Seconds after which to ask again when the disk does not do: somebody has to see to it.
const DISK_AFTER_S: u32 = 30;

/// A restart takes about as long.
const ENDED_AFTER_S: u32 = 5;

impl Shared {
    pub(crate) fn new(parts: Parts, registry: &mut Registry) -> Self {
        Self {
            store: parts.store,
            clock: parts.clock,
            settings: parts.settings,
            dialects: parts.dialects,
            policies: parts.policies,
            stopping: parts.stopping,
            seats: Arc::default(),
            health: parts.health,
            dispatch_state: parts.dispatch_state,
            metrics: parts.metrics,
            meters: Metrics::register(registry),
            callers: AuthCache::default(),
            token_usage: Arc::default(),
            intake_warnings: IntakeWarnings::default(),
            running: Arc::default(),
            room: BodyBudget::default(),
            rng: SharedRng::new(parts.rng.split("web")),
        }
    }

    /// Asks something that is safe to repeat, and repeats it once if the answer was lost.
    pub(crate) async fn ask<T>(
        &self,
        question: impl Fn(&dyn Frontend) -> StoreFuture<T>,
    ) -> Result<T, Refusal> {
        self.try_ask(question)
            .await
            .map_err(|error| refused(&error))
    }

    /// As `ask`, for callers that branch on the error.
    pub(crate) async fn try_ask<T>(
        &self,
        question: impl Fn(&dyn Frontend) -> StoreFuture<T>,
    ) -> Result<T, StoreError> {
        match question(self.store.as_ref()).await {
            Err(StoreError::Unknown) => question(self.store.as_ref()).await,
            answer => answer,
        }
    }
}

/// What a caller is told when the store fails. Called once per failure: it also writes the log.
pub(crate) fn refused(error: &StoreError) -> Refusal {
    match error {
        StoreError::Stale | StoreError::Busy | StoreError::Unknown => Refusal::Busy(BUSY_AFTER_S),
        // The store itself says so in the log, once a minute.
        StoreError::Disk(fault) => Refusal::Disk(*fault, DISK_AFTER_S),
        // The store has said why, once, and the server is about to end.
        StoreError::Ended => Refusal::Busy(ENDED_AFTER_S),
        StoreError::TooManyWebhooks => Refusal::Contradiction(format!(
            "There are {WEBHOOKS_MAX} webhooks already, which is as many as there may be. Change \
             one that nobody needs any more."
        )),
        StoreError::Conflict(Conflict::IdempotencyKey) => Refusal::KeyReused,
        StoreError::Conflict(_) | StoreError::Fenced | StoreError::Broken(_) => {
            tracing::error!(cause = chain(error), "the store failed");
            Refusal::Internal
        }
    }
}

/// What is wrong with the disk, for whoever asks from outside: a sentence without its stop.
pub(crate) fn disk_words(fault: DiskFault) -> &'static str {
    match fault {
        DiskFault::Full => "The disk of the server is full",
        DiskFault::ReadOnly => "The disk of the server is read-only",
        DiskFault::Failing => "The disk of the server fails",
        DiskFault::Moved => "The store of the server was removed or replaced",
        DiskFault::Unreadable => "A part of the server's store cannot be read",
    }
}

/// An error and what caused it, in one line.
fn chain(error: &StoreError) -> String {
    let mut words = error.to_string();
    let mut cause = match error {
        StoreError::Broken(source) => source.source(),
        StoreError::Conflict(_)
        | StoreError::Stale
        | StoreError::TooManyWebhooks
        | StoreError::Busy
        | StoreError::Disk(_)
        | StoreError::Fenced
        | StoreError::Ended
        | StoreError::Unknown => None,
    };
    while let Some(error) = cause {
        words.push_str(": ");
        words.push_str(&error.to_string());
        cause = error.source();
    }
    words
}
