//! The store as this crate asks it, and the refusal that a store error becomes.

use std::sync::Arc;

use model::contract::{Conflict, DiskFault, Frontend, StoreError, StoreFuture};
use model::limits::WEBHOOKS_MAX;
use model::refusal::Refusal;

use crate::line_budget::SharedLineBudget;

/// A handle to the store. `ask` repeats a question once if its answer was lost.
#[derive(Clone)]
pub(crate) struct StoreHandle(Arc<dyn Frontend>);

/// `Retry-After` in seconds when the store is busy.
const BUSY_AFTER_S: u32 = 1;

/// `Retry-After` in seconds when the disk fails: an operator has to act.
const DISK_AFTER_S: u32 = 30;

/// `Retry-After` in seconds when the store has ended, or its database is away: a restart takes
/// about as long, or that another one takes over.
const ENDED_AFTER_S: u32 = 5;

/// Failures of the store that are logged: so many at once, then one each ten seconds.
static FAILED_LINES: SharedLineBudget = SharedLineBudget::new(20, 10_000);

impl StoreHandle {
    pub(crate) fn new(store: Arc<dyn Frontend>) -> Self {
        Self(store)
    }

    /// The store itself, for calls that must not be repeated.
    pub(crate) fn get(&self) -> &dyn Frontend {
        self.0.as_ref()
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
        match question(self.get()).await {
            Err(StoreError::Unknown) => question(self.get()).await,
            answer => answer,
        }
    }
}

/// The refusal for a store error. Call it once per error: it also logs.
pub(crate) fn refused(error: &StoreError) -> Refusal {
    match error {
        StoreError::Stale | StoreError::Busy | StoreError::Unknown => Refusal::Busy(BUSY_AFTER_S),
        // The store itself says so in the log, once a minute.
        StoreError::Disk(fault) => Refusal::Disk(*fault, after_s(*fault)),
        // The store has said why, once, and the server is about to end.
        StoreError::Ended => Refusal::Busy(ENDED_AFTER_S),
        StoreError::TooManyWebhooks => Refusal::Contradiction(format!(
            "There are {WEBHOOKS_MAX} webhooks already, which is as many as there may be. Change \
             one that nobody needs any more."
        )),
        StoreError::Conflict(Conflict::IdempotencyKey) => Refusal::KeyReused,
        StoreError::Conflict(_)
        | StoreError::Secret(_)
        | StoreError::Fenced
        | StoreError::Broken(_) => {
            if let Some(others) = FAILED_LINES.take() {
                tracing::error!(cause = chain(error), others, "the store failed");
            }
            Refusal::Internal
        }
    }
}

/// When to ask again, in seconds.
fn after_s(fault: DiskFault) -> u32 {
    match fault {
        DiskFault::NoDatabase | DiskFault::NoConnection | DiskFault::ReadOnlyDatabase => {
            ENDED_AFTER_S
        }
        DiskFault::Full
        | DiskFault::ReadOnly
        | DiskFault::Failing
        | DiskFault::Moved
        | DiskFault::Unreadable
        | DiskFault::FullDatabase => DISK_AFTER_S,
    }
}

/// What is wrong with the disk or the database, for callers: a sentence without its full stop.
pub(crate) fn disk_words(fault: DiskFault) -> &'static str {
    match fault {
        DiskFault::Full => "The disk of the server is full",
        DiskFault::ReadOnly => "The disk of the server is read-only",
        DiskFault::Failing => "The disk of the server fails",
        DiskFault::Moved => "The store of the server was removed or replaced",
        DiskFault::Unreadable => "A part of the server's store cannot be read",
        DiskFault::NoDatabase => "The database of the server does not answer",
        DiskFault::NoConnection => "The database of the server has no connection left for it",
        DiskFault::ReadOnlyDatabase => "The database of the server takes no changes",
        DiskFault::FullDatabase => "The disk of the database is full",
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
        | StoreError::Secret(_)
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
