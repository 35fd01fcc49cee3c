//! The executor: one writer and some readers. Threads in production, inline in tests and
//! simulation. The only place of the crate with threads.
//!
//! The writer takes all jobs that have arrived and runs them as one transaction. Callers get their
//! answers once it is durable (`wal_sync.rs`). Bulk jobs of the queue get a transaction of their
//! own in between. Queues are bounded: what does not fit is `Busy` at once. If a thread panics the
//! whole executor ends, and nobody waits in vain.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use model::contract::{StoreError, StoreFuture};
use model::id::TenantId;
use model::notification::{AcceptResult, NewNotification};
use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::sql;
use crate::sql::executor::{ChangeScope, shares};
use crate::sql::job_error::{JobError, broken};
use crate::sql::queue::{JobClass, NextWork};
use crate::sql::read_horizon::ReadHorizon;
use crate::sql::transaction::Transaction;
use crate::sqlite::accept;
use crate::sqlite::checkpointer::LOOK_AFTER;
use crate::sqlite::fan_out_step::FanOutStep;
use crate::sqlite::group_commit::GroupCommit;
use crate::sqlite::jobs::{
    ExecutorHandles, OneShotJob, ReadJob, ReadQuery, ReadTask, RepeatableJob, WriteJob, weight_of,
};
use crate::sqlite::shared::Shared;
use crate::sqlite::tx::{Job, Tx};
use crate::sqlite::wal_sync::{SyncOutcome, SyncTarget, WalSync};
use crate::sqlite::writer::Writer;
use crate::sqlite::{unattempted, unattempted_rows};
use crate::sync::lock;

/// Reader threads. The first takes only quick jobs, so that a sign-in never waits for a search
/// through a long log.
pub(crate) const READERS: usize = 2;

const _: () = assert!(READERS > 1);

pub(crate) enum Executor {
    Threads(ThreadedExecutor),
    Inline(Box<InlineExecutor>),
}

pub(crate) struct ThreadedExecutor {
    shared: Arc<Shared>,
    handles: ExecutorHandles,
    /// Each thread holds a clone until it has closed its file.
    closed: tokio::sync::watch::Receiver<()>,
}

pub(crate) struct InlineExecutor {
    shared: Arc<Shared>,
    writer: Mutex<Option<Writer>>,
}

impl Executor {
    pub(crate) fn inline(writer: Writer, shared: Arc<Shared>) -> Self {
        Self::Inline(Box::new(InlineExecutor {
            shared,
            writer: Mutex::new(Some(writer)),
        }))
    }

    /// `checkpoint_conn` is the connection that checkpoints, `disk` what makes the WAL durable.
    pub(crate) fn threads(
        writer: Writer,
        checkpoint_conn: Connection,
        readers: Vec<Connection>,
        disk: Box<dyn SyncTarget>,
        shared: Arc<Shared>,
    ) -> std::io::Result<Self> {
        let (open, closed) = tokio::sync::watch::channel(());
        let open = Arc::new(open);
        let handles = ExecutorHandles {
            writing: Arc::default(),
            reading: Arc::default(),
            wal_sync: Arc::new(WalSync::new(disk)),
            checkpointer: Arc::default(),
            died: tokio::sync::watch::Sender::new(false),
        };
        let (others, others_left) = std::sync::mpsc::channel::<()>();
        for (index, conn) in readers.into_iter().enumerate() {
            let (handles, given) = (handles.clone(), Arc::clone(&shared));
            let held = (Arc::clone(&open), others.clone());
            start(format!("store reader {index}"), move || {
                read_loop(&conn, &given, &handles, index > 0);
                drop(conn);
                drop(held);
            })?;
        }
        let (own, held) = (handles.clone(), (Arc::clone(&open), others));
        start("store ckpt".to_owned(), move || {
            checkpoint_loop(&checkpoint_conn, &own);
            drop(checkpoint_conn);
            drop(held);
        })?;
        let (own, held, given) = (handles.clone(), Arc::clone(&open), Arc::clone(&shared));
        start("store wal-sync".to_owned(), move || {
            sync_loop(&given, &own);
            drop(held);
        })?;
        let (own, given) = (handles.clone(), Arc::clone(&shared));
        start("store writer".to_owned(), move || {
            let writer = write_loop(writer, &given, &own);
            // The last connection to close checkpoints the WAL. Two that close at the same time
            // would each take the other for the last.
            while others_left.recv().is_ok() {}
            // After a failed sync the next start has to find out what the disk holds.
            if !own.wal_sync.is_dead() {
                drop(writer.close());
            }
            drop(open);
        })?;
        Ok(Self::Threads(ThreadedExecutor {
            shared,
            handles,
            closed,
        }))
    }

    pub(crate) fn shared(&self) -> &Shared {
        match self {
            Self::Threads(threads) => &threads.shared,
            Self::Inline(inline) => &inline.shared,
        }
    }

    /// Runs `work` on the writer, once. `weight` is how many notifications or settlements it holds.
    pub(crate) fn run_once<T, F>(&self, class: JobClass, weight: usize, work: F) -> StoreFuture<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tx<'_>) -> Result<T, JobError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job = Box::new(OneShotJob {
            work: Some(work),
            found: None,
            reply,
        });
        self.put((class, Vec::new()), weight, None, job, answer)
    }

    /// The same for work that can be run again after a rollback.
    pub(crate) fn run_again<T, F>(&self, class: JobClass, weight: usize, work: F) -> StoreFuture<T>
    where
        T: Send + 'static,
        F: Fn(&mut Tx<'_>) -> Result<T, JobError> + Send + 'static,
    {
        self.run_repeatable((class, Vec::new()), weight, None, work)
    }

    /// The same for what tenants hand in; `shares` has each tenant once, with its part of the
    /// weight. `Busy` at once if one of them has to wait.
    pub(crate) fn run_intake<T, F>(&self, shares: Vec<(TenantId, usize)>, work: F) -> StoreFuture<T>
    where
        T: Send + 'static,
        F: Fn(&mut Tx<'_>) -> Result<T, JobError> + Send + 'static,
    {
        if self.shared().fan_out_backlog.is_full(&shares) {
            self.shared().metrics.busy.inc();
            return ready(Err(StoreError::Busy));
        }
        let weight = shares.iter().map(|(_, own)| own).sum();
        self.run_repeatable((JobClass::Intake, shares), weight, None, work)
    }

    /// The same for work that nobody waits for: it is held back for `commit_delay`, or until
    /// `flush`, to join a commit that is made anyway.
    pub(crate) fn run_delayed<T, F>(
        &self,
        class: JobClass,
        weight: usize,
        commit_delay: Duration,
        work: F,
    ) -> StoreFuture<T>
    where
        T: Send + 'static,
        F: Fn(&mut Tx<'_>) -> Result<T, JobError> + Send + 'static,
    {
        self.run_repeatable((class, Vec::new()), weight, Some(commit_delay), work)
    }

    fn run_repeatable<T, F>(
        &self,
        whose: (JobClass, Vec<(TenantId, usize)>),
        weight: usize,
        commit_delay: Option<Duration>,
        work: F,
    ) -> StoreFuture<T>
    where
        T: Send + 'static,
        F: Fn(&mut Tx<'_>) -> Result<T, JobError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job = Box::new(RepeatableJob {
            work,
            found: None,
            reply,
        });
        self.put(whose, weight, commit_delay, job, answer)
    }

    /// Writes delayed jobs soon.
    pub(crate) fn flush(&self) {
        match self {
            Self::Threads(threads) => threads.handles.writing.flush(),
            Self::Inline(_) => {}
        }
    }

    fn put<T: Send + 'static>(
        &self,
        (class, shares): (JobClass, Vec<(TenantId, usize)>),
        weight: usize,
        commit_delay: Option<Duration>,
        job: Box<dyn Job>,
        answer: oneshot::Receiver<Result<T, StoreError>>,
    ) -> StoreFuture<T> {
        match self {
            Self::Threads(threads) => {
                let weight = weight.max(1);
                let metrics = &threads.shared.metrics;
                // Counted before it is put, so that the gauge never falls below zero.
                metrics.queued.inc_by(weight_of(weight));
                let job = WriteJob {
                    class,
                    shares,
                    weight,
                    commit_delay,
                    job,
                };
                if let Err(refused) = threads.handles.writing.put(job) {
                    metrics.queued.dec_by(weight_of(weight));
                    if matches!(refused, StoreError::Busy) {
                        metrics.busy.inc();
                    }
                    return ready(Err(refused));
                }
            }
            Self::Inline(inline) => {
                let mut next = Some(job);
                while let Some(job) = next {
                    let (done, goes_on) = {
                        let mut writer = lock(&inline.writer);
                        let Some(writer) = writer.as_mut() else {
                            return ready(Err(broken("the store is closed")));
                        };
                        (writer.run(vec![job]), writer.owes_fan_out())
                    };
                    // Outside the lock, so that a subscriber may call the store.
                    done.publish(&inline.shared);
                    next =
                        goes_on.then(|| Box::new(FanOutStep::new(&inline.shared)) as Box<dyn Job>);
                }
            }
        }
        wait_for(answer)
    }

    /// Runs `work` on a reader. It sees everything that was answered before.
    pub(crate) fn ask<T, F>(&self, class: JobClass, work: F) -> StoreFuture<T>
    where
        T: Send + 'static,
        F: FnOnce(sql::Connection<'_>) -> Result<T, JobError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        match self {
            Self::Threads(threads) => {
                let job = Box::new(ReadQuery { work, reply });
                if let Err(refused) = threads.handles.reading.put(ReadJob { class, job }) {
                    if matches!(refused, StoreError::Busy) {
                        threads.shared.metrics.busy.inc();
                    }
                    return ready(Err(refused));
                }
            }
            Self::Inline(inline) => {
                let writer = lock(&inline.writer);
                let Some(writer) = writer.as_ref() else {
                    return ready(Err(broken("the store is closed")));
                };
                Box::new(ReadQuery { work, reply }).run(
                    writer.conn(),
                    &inline.shared.disk,
                    &|| true,
                );
            }
        }
        wait_for(answer)
    }

    /// The same for work that shows deliveries. Inline deliveries are materialized first, and
    /// `work` is told up to which notification it sees all.
    pub(crate) fn ask_materialized<T, F>(
        self: &Arc<Self>,
        class: JobClass,
        work: F,
    ) -> StoreFuture<T>
    where
        T: Send + 'static,
        F: FnOnce(sql::Connection<'_>, ReadHorizon) -> Result<T, JobError> + Send + 'static,
    {
        let read = self.ask(class, move |conn| {
            let horizon = unattempted_rows::read_horizon(conn, None)?;
            match horizon.is_all() {
                true => work(conn, horizon).map(Ok),
                false => Ok(Err(work)),
            }
        });
        let executor = Arc::clone(self);
        Box::pin(async move {
            let work = match read.await? {
                Ok(found) => return Ok(found),
                Err(work) => work,
            };
            let lacks = match executor.materialize().await {
                Ok(()) => None,
                Err(StoreError::Disk(fault)) if fault.stops_all() => Some(fault),
                Err(error) => return Err(error),
            };
            let read = executor.ask(class, move |conn| {
                let horizon = unattempted_rows::read_horizon(conn, lacks)?;
                work(conn, horizon)
            });
            read.await
        })
    }

    /// Materializes the inline deliveries.
    pub(crate) fn materialize(&self) -> StoreFuture<()> {
        self.run_again(JobClass::Work, 1, unattempted::materialize)
    }

    /// Whether the readers live. The writer shows it by answering.
    pub(crate) fn readers_live(&self) -> bool {
        match self {
            Self::Threads(threads) => threads.handles.reading.lives(),
            Self::Inline(_) => true,
        }
    }

    /// Completes once a thread has died.
    pub(crate) fn ended(&self) -> StoreFuture<()> {
        let Self::Threads(threads) = self else {
            return Box::pin(std::future::pending());
        };
        let mut died = threads.handles.died.subscribe();
        Box::pin(async move {
            if died.wait_for(|died| *died).await.is_err() {
                std::future::pending::<()>().await;
            }
            Ok(())
        })
    }

    pub(crate) fn close(&self) -> StoreFuture<()> {
        match self {
            Self::Threads(threads) => {
                threads.handles.close();
                let mut closed = threads.closed.clone();
                Box::pin(async move {
                    // An error says that every sender is gone, and with it every thread.
                    while closed.changed().await.is_ok() {}
                    Ok(())
                })
            }
            Self::Inline(inline) => {
                let writer = lock(&inline.writer).take();
                let closed = writer.map_or(Ok(()), Writer::close);
                ready(
                    closed.map_err(|error| {
                        JobError::Sqlite(error).into_store_error(&inline.shared.disk)
                    }),
                )
            }
        }
    }
}

impl sql::executor::Executor for Executor {
    fn accept(&self, batch: Vec<NewNotification>) -> StoreFuture<Vec<AcceptResult>> {
        self.run_intake(shares(&batch), move |tx| accept::accept(tx, &batch))
    }

    /// All changes take turns, whatever they are about.
    fn change<T, F>(&self, _scope: ChangeScope, weight: usize, work: F) -> StoreFuture<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut dyn Transaction) -> Result<T, JobError> + Send + 'static,
    {
        self.run_once(JobClass::Work, weight, move |tx| work(tx))
    }

    fn write<T, F>(&self, class: JobClass, work: F) -> StoreFuture<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut dyn Transaction) -> Result<T, JobError> + Send + 'static,
    {
        self.run_once(class, 1, move |tx| work(tx))
    }

    fn write_intake<T, F>(&self, shares: Vec<(TenantId, usize)>, work: F) -> StoreFuture<T>
    where
        T: Send + 'static,
        F: Fn(&mut dyn Transaction) -> Result<T, JobError> + Send + 'static,
    {
        self.run_intake(shares, move |tx| work(tx))
    }

    fn read<T, F>(&self, class: JobClass, work: F) -> StoreFuture<T>
    where
        T: Send + 'static,
        F: FnOnce(sql::Connection<'_>) -> Result<T, JobError> + Send + 'static,
    {
        self.ask(class, work)
    }

    fn read_deliveries<T, F>(self: &Arc<Self>, class: JobClass, work: F) -> StoreFuture<T>
    where
        T: Send + 'static,
        F: FnOnce(sql::Connection<'_>, ReadHorizon) -> Result<T, JobError> + Send + 'static,
    {
        self.ask_materialized(class, work)
    }

    fn version(&self) -> u64 {
        self.shared().version.load(Ordering::Acquire)
    }

    fn changes(&self) -> u64 {
        self.shared().changes.load(Ordering::Acquire)
    }
}

impl Drop for ThreadedExecutor {
    fn drop(&mut self) {
        self.handles.close();
    }
}

impl Drop for InlineExecutor {
    fn drop(&mut self) {
        let writer = self.writer.get_mut();
        if let Some(writer) = writer.unwrap_or_else(PoisonError::into_inner).take() {
            drop(writer.close());
        }
    }
}

fn start(name: String, work: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    let thread = std::thread::Builder::new().name(name);
    thread.spawn(work).map(drop)
}

/// If the thread that holds this panics, everybody who waits for any thread is released.
struct PanicGuard<'a>(&'a ExecutorHandles);

impl Drop for PanicGuard<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!("a thread of the store has panicked: the store ends");
            self.0.die();
        }
    }
}

fn write_loop(mut writer: Writer, shared: &Arc<Shared>, handles: &ExecutorHandles) -> Writer {
    let _will = PanicGuard(handles);
    let ExecutorHandles {
        writing,
        wal_sync,
        checkpointer,
        ..
    } = handles;
    let mut group_commit = GroupCommit::default();
    loop {
        shared.disk.look(&shared.metrics);
        match writing.take_group(writer.owes_fan_out()) {
            taken @ (NextWork::Group(_) | NextWork::BetweenGroups) => {
                let jobs = match taken {
                    NextWork::Group(jobs) => jobs,
                    NextWork::BetweenGroups | NextWork::Nothing | NextWork::Closed => {
                        vec![WriteJob::step(shared)]
                    }
                };
                if group_commit.write(&mut writer, jobs, shared, handles) == SyncOutcome::Uncertain
                {
                    handles.die();
                }
                checkpointer.look(&writer, group_commit.weight());
            }
            NextWork::Nothing => {
                if writer.notice_external_change()
                    && let Some(subscriber) = shared.subscriber.get()
                {
                    subscriber.on_external_change();
                }
                checkpointer.look(&writer, LOOK_AFTER);
            }
            NextWork::Closed => {
                wal_sync.close();
                return writer;
            }
        }
    }
}

fn sync_loop(shared: &Shared, handles: &ExecutorHandles) {
    let _will = PanicGuard(handles);
    if handles.wal_sync.run(shared, || handles.writing.nudge()) == SyncOutcome::Uncertain {
        handles.die();
    }
}

fn checkpoint_loop(conn: &Connection, handles: &ExecutorHandles) {
    let _will = PanicGuard(handles);
    handles.checkpointer.run(conn);
}

fn read_loop(conn: &Connection, shared: &Shared, handles: &ExecutorHandles, bulk_too: bool) {
    let _will = PanicGuard(handles);
    while let Some(ReadJob { job, .. }) = handles.reading.take_one(bulk_too) {
        job.run(conn, &shared.disk, &|| handles.wal_sync.wait_for_durable());
    }
}

fn wait_for<T: Send + 'static>(answer: oneshot::Receiver<Result<T, StoreError>>) -> StoreFuture<T> {
    Box::pin(async move { answer.await.unwrap_or(Err(StoreError::Ended)) })
}

fn ready<T: Send + 'static>(answer: Result<T, StoreError>) -> StoreFuture<T> {
    Box::pin(std::future::ready(answer))
}
