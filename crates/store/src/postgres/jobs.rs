//! Jobs of the executor: what is to be written or read, and the caller that waits for it.

use std::sync::Arc;
use std::time::Duration;

use model::contract::{Settlement, StoreError};
use model::id::TenantId;
use model::lease::Epoch;
use model::notification::{AcceptResult, NewNotification};
use tokio::sync::oneshot;

use crate::postgres::connection::PostgresConnection;
use crate::postgres::tx::PostgresTx;
use crate::sql::executor::ChangeScope;
use crate::sql::job_error::{JobError, broken};
use crate::sql::queue::{JobClass, QueuedJob};

pub(crate) type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// A job in a queue.
pub(crate) struct Queued<J> {
    pub(crate) class: JobClass,
    /// Each tenant's part of the weight, where tenants share the queue.
    pub(crate) shares: Vec<(TenantId, usize)>,
    pub(crate) weight: usize,
    pub(crate) commit_delay: Option<Duration>,
    pub(crate) job: J,
}

/// Notifications to be accepted.
pub(crate) struct IntakeJob {
    /// Whose they are, each once, in order.
    pub(crate) tenants: Vec<TenantId>,
    pub(crate) batch: Vec<NewNotification>,
    pub(crate) reply: Reply<Vec<AcceptResult>>,
}

/// Attempts to be written down.
pub(crate) struct OutcomeJob {
    pub(crate) epoch: Epoch,
    pub(crate) batch: Arc<[Settlement]>,
    pub(crate) reply: Reply<()>,
}

/// What a job needs before it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Guard {
    Nothing,
    /// The turn of a change of the catalog.
    Turn(ChangeScope),
    /// A lease that holds.
    Lease(Epoch),
}

/// A change, in a transaction of its own.
pub(crate) struct WriteJob {
    pub(crate) guard: Guard,
    pub(crate) task: Box<dyn WriteTask>,
}

pub(crate) trait WriteTask: Send {
    fn run(&mut self, tx: &mut PostgresTx<'_>) -> Result<(), JobError>;
    /// Hands over the answer: what `run` found, or why nothing of it was kept.
    fn answer(self: Box<Self>, lost: Option<StoreError>);
}

/// A question, in a transaction of its own.
pub(crate) struct ReadJob {
    pub(crate) task: Box<dyn ReadTask>,
}

pub(crate) trait ReadTask: Send {
    fn is_given_up(&self) -> bool;
    fn run(&mut self, conn: &PostgresConnection) -> Result<(), JobError>;
    fn answer(self: Box<Self>, lost: Option<StoreError>);
}

/// Work that is run once, and who waits for it.
pub(crate) struct Task<T, F> {
    work: Option<F>,
    found: Option<T>,
    reply: Reply<T>,
}

impl<T, F> Task<T, F> {
    pub(crate) fn new(work: F, reply: Reply<T>) -> Self {
        Self {
            work: Some(work),
            found: None,
            reply,
        }
    }

    fn hand_over(self, lost: Option<StoreError>) {
        let answer = match (lost, self.found) {
            (Some(error), _) => Err(error),
            (None, Some(found)) => Ok(found),
            (None, None) => Err(broken("a job was not run")),
        };
        // The caller may have gone, which changes nothing.
        drop(self.reply.send(answer));
    }
}

impl<T, F> WriteTask for Task<T, F>
where
    T: Send,
    F: FnOnce(&mut PostgresTx<'_>) -> Result<T, JobError> + Send,
{
    fn run(&mut self, tx: &mut PostgresTx<'_>) -> Result<(), JobError> {
        if let Some(work) = self.work.take() {
            self.found = Some(work(tx)?);
        }
        Ok(())
    }

    fn answer(self: Box<Self>, lost: Option<StoreError>) {
        self.hand_over(lost);
    }
}

impl<T, F> ReadTask for Task<T, F>
where
    T: Send,
    F: FnOnce(&PostgresConnection) -> Result<T, JobError> + Send,
{
    fn is_given_up(&self) -> bool {
        self.reply.is_closed()
    }

    fn run(&mut self, conn: &PostgresConnection) -> Result<(), JobError> {
        if let Some(work) = self.work.take() {
            self.found = Some(work(conn)?);
        }
        Ok(())
    }

    fn answer(self: Box<Self>, lost: Option<StoreError>) {
        self.hand_over(lost);
    }
}

impl<J: Send> QueuedJob for Queued<J> {
    fn shares(&self) -> &[(TenantId, usize)] {
        &self.shares
    }

    fn class(&self) -> JobClass {
        self.class
    }

    fn weight(&self) -> usize {
        self.weight
    }

    fn commit_delay(&self) -> Option<Duration> {
        self.commit_delay
    }
}
