//! Jobs of the executor: what is to be written or read, and the caller that waits for it.

use std::sync::Arc;
use std::time::Duration;

use model::contract::StoreError;
use model::id::TenantId;
use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::sql;
use crate::sql::fan_out::STEP_ROWS;
use crate::sql::job_error::{JobError, broken};
use crate::sql::queue::{JobClass, JobQueue, QueuedJob};
use crate::sqlite::checkpointer::Checkpointer;
use crate::sqlite::disk::DiskWatch;
use crate::sqlite::fan_out_step::FanOutStep;
use crate::sqlite::shared::Shared;
use crate::sqlite::tx::{Job, Tx};
use crate::sqlite::wal_sync::WalSync;

pub(crate) struct WriteJob {
    pub(crate) class: JobClass,
    /// Each tenant's part of the weight, where tenants share the queue.
    pub(crate) shares: Vec<(TenantId, usize)>,
    pub(crate) weight: usize,
    /// How long it may be held back to join a commit that is made anyway.
    pub(crate) commit_delay: Option<Duration>,
    pub(crate) job: Box<dyn Job>,
}

pub(crate) struct ReadJob {
    pub(crate) class: JobClass,
    pub(crate) job: Box<dyn ReadTask>,
}

pub(crate) trait ReadTask: Send {
    /// `durable` blocks until what was read is durable; false if it never will be.
    fn run(self: Box<Self>, conn: &Connection, disk: &DiskWatch, durable: &dyn Fn() -> bool);
}

/// What the threads share, closed together.
#[derive(Clone)]
pub(crate) struct ExecutorHandles {
    pub(crate) writing: Arc<JobQueue<WriteJob>>,
    pub(crate) reading: Arc<JobQueue<ReadJob>>,
    pub(crate) wal_sync: Arc<WalSync>,
    pub(crate) checkpointer: Arc<Checkpointer>,
    pub(crate) died: tokio::sync::watch::Sender<bool>,
}

impl ExecutorHandles {
    /// The writer closes WAL sync once it has done what it has.
    pub(crate) fn close(&self) {
        self.writing.close();
        self.reading.close();
        self.checkpointer.close();
    }

    pub(crate) fn die(&self) {
        // The writer's queue last: whoever learns from it that it died finds all of them dead.
        self.reading.die();
        self.checkpointer.close();
        self.wal_sync.die();
        self.writing.die();
        self.died.send_replace(true);
    }
}

/// Work for the writer, run once, and who waits for it.
pub(crate) struct OneShotJob<T, F> {
    pub(crate) work: Option<F>,
    pub(crate) found: Option<T>,
    pub(crate) reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Job for OneShotJob<T, F>
where
    T: Send,
    F: FnOnce(&mut Tx<'_>) -> Result<T, JobError> + Send,
{
    fn is_repeatable(&self) -> bool {
        false
    }

    fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), JobError> {
        if let Some(work) = self.work.take() {
            self.found = Some(work(tx)?);
        }
        Ok(())
    }

    fn answer(self: Box<Self>, lost: Option<StoreError>) {
        hand_over(self.reply, self.found, lost);
    }
}

/// Work for the writer that can be run again, and who waits for it.
pub(crate) struct RepeatableJob<T, F> {
    pub(crate) work: F,
    pub(crate) found: Option<T>,
    pub(crate) reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Job for RepeatableJob<T, F>
where
    T: Send,
    F: Fn(&mut Tx<'_>) -> Result<T, JobError> + Send,
{
    fn is_repeatable(&self) -> bool {
        true
    }

    fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), JobError> {
        self.found = None;
        self.found = Some((self.work)(tx)?);
        Ok(())
    }

    fn answer(self: Box<Self>, lost: Option<StoreError>) {
        hand_over(self.reply, self.found, lost);
    }
}

fn hand_over<T>(
    reply: oneshot::Sender<Result<T, StoreError>>,
    found: Option<T>,
    lost: Option<StoreError>,
) {
    let answer = match (lost, found) {
        (Some(error), _) => Err(error),
        (None, Some(found)) => Ok(found),
        (None, None) => Err(broken("a job was not run")),
    };
    // The caller may have gone, which changes nothing.
    drop(reply.send(answer));
}

pub(crate) struct ReadQuery<T, F> {
    pub(crate) work: F,
    pub(crate) reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> ReadTask for ReadQuery<T, F>
where
    T: Send,
    F: FnOnce(sql::Connection<'_>) -> Result<T, JobError> + Send,
{
    fn run(self: Box<Self>, conn: &Connection, disk: &DiskWatch, durable: &dyn Fn() -> bool) {
        let Self { work, reply } = *self;
        if reply.is_closed() {
            return;
        }
        // One transaction, so that all statements see the same state.
        let found = conn
            .unchecked_transaction()
            .map_err(JobError::Sqlite)
            .and_then(|tx| {
                let found = work(sql::Connection::Sqlite(&tx))?;
                tx.commit()?;
                Ok(found)
            });
        let found = found.map_err(|fault| fault.into_store_error(disk));
        let found = match durable() {
            true => found,
            false => Err(StoreError::Ended),
        };
        drop(reply.send(found));
    }
}

impl WriteJob {
    /// A step of the fan-out.
    pub(crate) fn step(shared: &Arc<Shared>) -> Self {
        // Counted as queued, since taking it subtracts it there.
        shared.metrics.queued.inc_by(weight_of(STEP_ROWS));
        Self {
            class: JobClass::Bulk,
            shares: Vec::new(),
            weight: STEP_ROWS,
            commit_delay: None,
            job: Box::new(FanOutStep::new(shared)),
        }
    }
}

impl QueuedJob for WriteJob {
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

impl QueuedJob for ReadJob {
    fn shares(&self) -> &[(TenantId, usize)] {
        &[]
    }

    fn class(&self) -> JobClass {
        self.class
    }

    fn weight(&self) -> usize {
        1
    }

    fn commit_delay(&self) -> Option<Duration> {
        None
    }
}

pub(crate) fn weight_of(weight: usize) -> i64 {
    i64::try_from(weight).unwrap_or(i64::MAX)
}
