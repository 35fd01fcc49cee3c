//! The executor on PostgreSQL: threads, each with a session of its own, and the queues before them.
//!
//! | thread | runs |
//! |---|---|
//! | accept 0 | new notifications, all that have arrived as one transaction |
//! | accept 1 | those that have to wait for a tenant |
//! | settle | outcomes of attempts, likewise |
//! | write 0, write 1 | every other change, each as a transaction; bulk work only on the second |
//! | read 0 … | questions; bulk ones not on the first |
//! | fan-out | steps of the fan-out (`fan_out_thread.rs`) |
//! | lease | claiming, renewing and releasing, which nothing else may delay |
//! | watch | tells other nodes, and hears what they tell (`watch.rs`) |
//!
//! Queues are bounded: what does not fit is `Busy` at once. While the database is away every job is
//! answered so at once, and a close waits no longer than a moment. If a thread panics the whole
//! executor ends, and nobody waits in vain.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use model::attempt::Outcome;
use model::contract::{DiskFault, Settlement, StoreError, StoreFuture};
use model::delivery::DeliveryState;
use model::id::TenantId;
use model::lease::Epoch;
use model::notification::{AcceptResult, NewNotification};
use tokio::sync::oneshot;

use crate::postgres::connection::PostgresConnection;
use crate::postgres::fan_out_thread;
use crate::postgres::faults::WATCH_ROLE;
use crate::postgres::intake;
use crate::postgres::job_answer::store_error;
use crate::postgres::jobs::{
    Guard, IntakeJob, OutcomeJob, Queued, ReadJob, ReadTask, Task, WriteJob,
};
use crate::postgres::outcomes::OutcomeLoop;
use crate::postgres::queues::{PanicGuard, Queues};
use crate::postgres::running::RunningThreads;
use crate::postgres::settings::{DatabaseSettings, SessionLimits};
use crate::postgres::shared::Shared;
use crate::postgres::tx::PostgresTx;
use crate::postgres::watch as watching;
use crate::postgres::worker::Worker;
use crate::sql::Connection;
use crate::sql::executor::{ChangeScope, shares, weight};
use crate::sql::job_error::JobError;
use crate::sql::queue::{COMMIT_DELAY, COMMIT_DELAY_MAX, JobClass, JobQueue};
use crate::sql::read_horizon::ReadHorizon;
use crate::sql::transaction::Transaction;

/// Threads that answer questions. The first takes only quick ones, so that a sign-in never waits
/// for a search through a long log.
const READERS: usize = 3;

const READER_ROLES: [&str; READERS] = ["willcall read 0", "willcall read 1", "willcall read 2"];
const WRITER_ROLES: [&str; 2] = ["willcall write 0", "willcall write 1"];

/// The thread that watches has only quick questions, so a database that does not answer is noticed
/// by it first.
const WATCH_LIMIT: Duration = Duration::from_secs(2);
const WATCH_GRACE: Duration = Duration::from_millis(500);

/// How long a close waits for what is under way. A database that does not answer would hold it up
/// for half a minute.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);

pub(crate) struct PostgresExecutor {
    shared: Arc<Shared>,
    handles: Arc<Queues>,
    running: Arc<RunningThreads>,
}

impl PostgresExecutor {
    pub(crate) fn start(
        settings: &Arc<DatabaseSettings>,
        shared: Arc<Shared>,
    ) -> std::io::Result<Self> {
        let handles = Arc::new(Queues::new(&shared));
        let executor = Self {
            shared,
            handles,
            running: Arc::default(),
        };
        let watching = Arc::new(watching_settings(settings));
        let run = |role: &'static str, work: fn(Worker, &Queues, usize), index: usize| {
            let settings = match role == WATCH_ROLE {
                true => &watching,
                false => settings,
            };
            let worker = Worker::new(Arc::clone(settings), role, Arc::clone(&executor.shared));
            let (handles, running) = (Arc::clone(&executor.handles), executor.running.begin());
            let thread = std::thread::Builder::new().name(role.replace("willcall", "store"));
            let started = thread.spawn(move || {
                let guard = PanicGuard(&handles);
                work(worker, &handles, index);
                drop(guard);
                drop(running);
            });
            started.map(drop)
        };
        run(
            "willcall accept 0",
            |worker, handles, _| {
                intake::run(worker, handles);
            },
            0,
        )?;
        run(
            "willcall accept 1",
            |worker, handles, _| {
                intake::run_contested(worker, handles);
            },
            1,
        )?;
        run(
            "willcall settle",
            |worker, handles, _| {
                OutcomeLoop::new(worker).run(handles);
            },
            0,
        )?;
        for (index, role) in WRITER_ROLES.into_iter().enumerate() {
            run(role, write_loop, index)?;
        }
        for (index, role) in READER_ROLES.into_iter().enumerate() {
            run(role, read_loop, index)?;
        }
        run(
            "willcall fan-out",
            |worker, _, _| fan_out_thread::run(worker),
            0,
        )?;
        run("willcall lease", lease_loop, 0)?;
        run(
            WATCH_ROLE,
            |worker, handles, _| {
                watching::run(worker, &handles.watch);
            },
            0,
        )?;
        Ok(executor)
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Runs a change.
    pub(crate) fn put_write<T, F>(
        &self,
        (class, shares): (JobClass, Vec<(TenantId, usize)>),
        weight: usize,
        guard: Guard,
        work: F,
    ) -> StoreFuture<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut PostgresTx<'_>) -> Result<T, JobError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let task = Box::new(Task::new(work, reply));
        let job = Queued {
            class,
            shares,
            weight: weight.max(1),
            commit_delay: None,
            job: WriteJob { guard, task },
        };
        self.put(&self.handles.writing, job, answer)
    }

    /// Runs a change of leases.
    pub(crate) fn put_lease<T, F>(&self, work: F) -> StoreFuture<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut PostgresTx<'_>) -> Result<T, JobError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let guard = Guard::Nothing;
        let task = Box::new(Task::new(work, reply));
        let job = Queued {
            class: JobClass::Work,
            shares: Vec::new(),
            weight: 1,
            commit_delay: None,
            job: WriteJob { guard, task },
        };
        self.put(&self.handles.leasing, job, answer)
    }

    /// Answers a question.
    pub(crate) fn put_read<T, F>(&self, class: JobClass, work: F) -> StoreFuture<T>
    where
        T: Send + 'static,
        F: FnOnce(&PostgresConnection) -> Result<T, JobError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let task: Box<dyn ReadTask> = Box::new(Task::new(work, reply));
        let job = Queued {
            class,
            shares: Vec::new(),
            weight: 1,
            commit_delay: None,
            job: ReadJob { task },
        };
        let answer = self.put(&self.handles.reading, job, answer);
        self.unless_silent(answer, StoreError::Disk(DiskFault::NoDatabase))
    }

    /// Writes attempts down.
    pub(crate) fn settle(&self, epoch: Epoch, batch: Arc<[Settlement]>) -> StoreFuture<()> {
        let weight = batch.iter().map(|settled| match &settled.attempt.outcome {
            Outcome::Answered(answer) => weight(answer.body.len()),
            Outcome::Failed(_) => 1,
        });
        let all_received = batch
            .iter()
            .all(|one| one.next.state == DeliveryState::Delivered);
        let commit_delay = match all_received {
            true => COMMIT_DELAY_MAX,
            false => COMMIT_DELAY,
        };
        let (reply, answer) = oneshot::channel();
        let job = Queued {
            class: JobClass::Outcome,
            shares: Vec::new(),
            weight: weight.sum::<usize>().max(1),
            commit_delay: Some(commit_delay),
            job: OutcomeJob {
                epoch,
                batch,
                reply,
            },
        };
        self.put(&self.handles.outcomes, job, answer)
    }

    /// Asks the thread that accepts whether something could be made durable.
    pub(crate) fn probe(&self) -> StoreFuture<()> {
        let (reply, answer) = oneshot::channel();
        let job = Queued {
            class: JobClass::Intake,
            shares: Vec::new(),
            weight: 1,
            commit_delay: None,
            job: IntakeJob {
                tenants: Vec::new(),
                batch: Vec::new(),
                reply,
            },
        };
        let probed = self.put(&self.handles.intake, job, answer);
        let silence = StoreError::Disk(DiskFault::NoDatabase);
        let probed = self.unless_silent(probed, silence);
        Box::pin(async move { probed.await.map(drop) })
    }

    pub(crate) fn flush(&self) {
        self.handles.outcomes.flush();
    }

    fn put<J: Send, T: Send + 'static>(
        &self,
        queue: &JobQueue<Queued<J>>,
        job: Queued<J>,
        answer: oneshot::Receiver<Result<T, StoreError>>,
    ) -> StoreFuture<T> {
        let faults = &self.shared.faults;
        if faults.is_silent() {
            self.shared.metrics.no_database.inc();
            let fault = StoreError::Disk(DiskFault::NoDatabase);
            return Box::pin(std::future::ready(Err(fault)));
        }
        if let Err(refused) = queue.put(job) {
            if matches!(refused, StoreError::Busy) {
                self.shared.metrics.busy.inc();
            }
            return Box::pin(std::future::ready(Err(refused)));
        }
        Box::pin(async move { answer.await.unwrap_or(Err(StoreError::Ended)) })
    }

    /// The answer, or `silence` once the database gives none. The work goes on.
    fn unless_silent<T: Send + 'static>(
        &self,
        answer: StoreFuture<T>,
        silence: StoreError,
    ) -> StoreFuture<T> {
        let silent = self.shared.faults.silence();
        Box::pin(async move {
            tokio::select! {
                biased;
                answer = answer => answer,
                () = silent => Err(silence),
            }
        })
    }

    /// Completes once a thread has died.
    pub(crate) fn ended(&self) -> StoreFuture<()> {
        let mut died = self.handles.died.subscribe();
        Box::pin(async move {
            if died.wait_for(|died| *died).await.is_err() {
                std::future::pending::<()>().await;
            }
            Ok(())
        })
    }

    pub(crate) fn close(&self) -> StoreFuture<()> {
        self.handles.close();
        let (handles, running) = (Arc::clone(&self.handles), Arc::clone(&self.running));
        let (tell, told) = oneshot::channel();
        let thread = std::thread::Builder::new().name("store close".to_owned());
        let started = thread.spawn(move || {
            if !running.wait(CLOSE_LIMIT) {
                give_up(&handles);
            }
            if tell.send(()).is_err() {
                tracing::debug!("nobody waits for the close of the store any more");
            }
        });
        Box::pin(async move {
            started.map_err(|error| StoreError::Broken(Arc::new(error)))?;
            told.await.map_err(|_| StoreError::Ended)
        })
    }
}

/// Leaves a database that does not answer.
fn give_up(handles: &Queues) {
    let left = handles.left();
    handles.die();
    let faults = handles.shared.faults.words();
    tracing::warn!(
        jobs_dropped = left,
        "the database did not end what it was asked to within {} s, and is left: what was answered \
         is kept, of the rest nobody knows. {}",
        CLOSE_LIMIT.as_secs(),
        faults.unwrap_or_default()
    );
}

/// Of the session that watches.
fn watching_settings(settings: &DatabaseSettings) -> DatabaseSettings {
    let mut settings = settings.clone().with_limits(SessionLimits {
        statement: WATCH_LIMIT,
        grace: WATCH_GRACE,
        ..settings.limits.clone()
    });
    let network = &mut settings.network;
    network.connect_timeout = network.connect_timeout.min(WATCH_LIMIT);
    settings
}

impl Drop for PostgresExecutor {
    fn drop(&mut self) {
        self.handles.close();
    }
}

impl crate::sql::executor::Executor for PostgresExecutor {
    fn accept(&self, batch: Vec<NewNotification>) -> StoreFuture<Vec<AcceptResult>> {
        let shares = shares(&batch);
        let (reply, answer) = oneshot::channel();
        let weight = shares.iter().map(|(_, own)| own).sum::<usize>();
        let tenants = shares.iter().map(|(tenant, _)| *tenant).collect();
        let job = Queued {
            class: JobClass::Intake,
            shares,
            weight: weight.max(1),
            commit_delay: None,
            job: IntakeJob {
                tenants,
                batch,
                reply,
            },
        };
        let answer = self.put(&self.handles.intake, job, answer);
        self.unless_silent(answer, StoreError::Unknown)
    }

    fn change<T, F>(&self, scope: ChangeScope, weight: usize, work: F) -> StoreFuture<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut dyn Transaction) -> Result<T, JobError> + Send + 'static,
    {
        let whose = (JobClass::Work, Vec::new());
        self.put_write(whose, weight, Guard::Turn(scope), move |tx| work(tx))
    }

    fn write<T, F>(&self, class: JobClass, work: F) -> StoreFuture<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut dyn Transaction) -> Result<T, JobError> + Send + 'static,
    {
        let whose = (class, Vec::new());
        self.put_write(whose, 1, Guard::Nothing, move |tx| work(tx))
    }

    fn write_intake<T, F>(&self, shares: Vec<(TenantId, usize)>, work: F) -> StoreFuture<T>
    where
        T: Send + 'static,
        F: Fn(&mut dyn Transaction) -> Result<T, JobError> + Send + 'static,
    {
        let weight = shares.iter().map(|(_, own)| own).sum();
        let whose = (JobClass::Intake, shares);
        self.put_write(whose, weight, Guard::Nothing, move |tx| work(tx))
    }

    fn read<T, F>(&self, class: JobClass, work: F) -> StoreFuture<T>
    where
        T: Send + 'static,
        F: FnOnce(Connection<'_>) -> Result<T, JobError> + Send + 'static,
    {
        self.put_read(class, move |conn| work(Connection::Postgres(conn)))
    }

    fn read_deliveries<T, F>(self: &Arc<Self>, class: JobClass, work: F) -> StoreFuture<T>
    where
        T: Send + 'static,
        F: FnOnce(Connection<'_>, ReadHorizon) -> Result<T, JobError> + Send + 'static,
    {
        self.put_read(class, move |conn| {
            work(Connection::Postgres(conn), ReadHorizon::ALL)
        })
    }

    fn version(&self) -> u64 {
        self.shared.version.load(Ordering::Acquire)
    }

    fn changes(&self) -> u64 {
        self.shared.changes.load(Ordering::Acquire)
    }
}

fn write_loop(mut worker: Worker, handles: &Queues, index: usize) {
    while let Some(job) = handles.writing.take_one(index > 0) {
        run_write(&mut worker, job.job);
    }
}

fn lease_loop(mut worker: Worker, handles: &Queues, _index: usize) {
    while let Some(job) = handles.leasing.take_one(true) {
        run_write(&mut worker, job.job);
    }
}

fn run_write(worker: &mut Worker, job: WriteJob) {
    let WriteJob { guard, mut task } = job;
    let done = worker.write(guard, 1, |tx| task.run(tx));
    task.answer(done.err().map(store_error));
}

fn read_loop(mut worker: Worker, handles: &Queues, index: usize) {
    while let Some(job) = handles.reading.take_one(index > 0) {
        let mut task = job.job.task;
        if task.is_given_up() {
            continue;
        }
        let done = worker.read(|conn| task.run(conn));
        task.answer(done.err());
    }
}
