//! A worker: a thread's session with the database, opened again when it breaks.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use model::contract::{DiskFault, StoreError};
use model::id::WebhookId;
use model::lease::Slots;
use model::notification::NewNotification;
use tokio::time::Instant;

use crate::postgres::accept::{self, Acceptance, Locking};
use crate::postgres::connection::PostgresConnection;
use crate::postgres::job_answer::{of_session, store_error};
use crate::postgres::jobs::Guard;
use crate::postgres::session::{Committed, Session, TransactionMode};
use crate::postgres::session_error::SessionError;
use crate::postgres::settings::DatabaseSettings;
use crate::postgres::shared::Shared;
use crate::postgres::tx::{PostgresTx, SessionCache};
use crate::postgres::{leases, locks};
use crate::sql::job_error::JobError;
use crate::sql::post_commit::PostCommit;
use crate::sql::query;

shared_statements! {
    // One row: whoever changed the catalog last has its latest version.
    NEXT_VERSION = "update catalog set version = version + 1 where id = 1 returning version";
}

/// Not to be sooner: a database that restarts has other things to do.
const OPEN_AGAIN_AFTER: Duration = Duration::from_millis(250);

pub(crate) struct Worker {
    settings: Arc<DatabaseSettings>,
    role: &'static str,
    pub(crate) shared: Arc<Shared>,
    conn: Option<PostgresConnection>,
    cache: SessionCache,
    failed_at: Option<Instant>,
}

impl Worker {
    pub(crate) fn new(
        settings: Arc<DatabaseSettings>,
        role: &'static str,
        shared: Arc<Shared>,
    ) -> Self {
        Self {
            settings,
            role,
            shared,
            conn: None,
            cache: SessionCache::default(),
            failed_at: None,
        }
    }

    /// Opens a session, unless there is one that works. After a failure it is not tried again for
    /// a moment.
    pub(crate) fn connect(&mut self) -> Result<(), StoreError> {
        if self
            .conn
            .as_ref()
            .is_some_and(|conn| !conn.session().is_broken())
        {
            return Ok(());
        }
        self.conn = None;
        self.cache = SessionCache::default();
        if self
            .failed_at
            .is_some_and(|at| at.elapsed() < OPEN_AGAIN_AFTER)
        {
            return Err(self.fault());
        }
        match Session::open(&self.settings, self.role) {
            Ok(session) => {
                self.failed_at = None;
                self.shared.metrics.sessions.inc();
                self.shared.set_fault(None, "");
                self.conn = Some(PostgresConnection::new(session));
                Ok(())
            }
            Err(error) => {
                self.failed_at = Some(Instant::now());
                let fault = error.database_fault();
                self.shared.set_fault(Some(fault), &error.to_string());
                Err(self.fault())
            }
        }
    }

    /// Waits until a session may be opened again, if the last try failed.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        let failed_at = self.failed_at?;
        Some(OPEN_AGAIN_AFTER.saturating_sub(failed_at.elapsed()))
    }

    /// Whether there is a session that works.
    pub(crate) fn is_connected(&self) -> bool {
        let session = self.session();
        session.is_some_and(|session| !session.is_broken())
    }

    fn fault(&self) -> StoreError {
        self.shared.metrics.no_database.inc();
        StoreError::Disk(self.shared.fault().unwrap_or(DiskFault::NoDatabase))
    }

    pub(crate) fn conn(&self) -> Result<&PostgresConnection, JobError> {
        let conn = self.conn.as_ref();
        conn.ok_or(JobError::Store(StoreError::Disk(DiskFault::NoDatabase)))
    }

    /// The session, if one is open.
    pub(crate) fn session(&self) -> Option<&Session> {
        self.conn.as_ref().map(PostgresConnection::session)
    }

    /// Runs work in a transaction, commits, and tells the subscriber. `jobs` is how many callers it
    /// is for. An error says that nothing was written, or that nobody knows.
    pub(crate) fn write<T>(
        &mut self,
        guard: Guard,
        jobs: usize,
        work: impl FnOnce(&mut PostgresTx<'_>) -> Result<T, JobError>,
    ) -> Result<T, JobError> {
        let began_at = Instant::now();
        let slots = self.begin(|conn| begin_guarded(conn, guard))?;
        let mut cache = std::mem::take(&mut self.cache);
        let mut post_commit = PostCommit::default();
        let conn = self.conn()?;
        let done = transact(conn, &mut cache, &mut post_commit, slots, work);
        let version = match &done {
            Ok((_, version)) => *version,
            Err(_) => None,
        };
        if done.is_err() {
            // What the session keeps may come from a transaction that is undone.
            cache = SessionCache::default();
            undo(conn);
        }
        self.cache = cache;
        let (found, _) = done?;
        self.shared.metrics.committed(began_at, jobs);
        self.publish(post_commit, version);
        Ok(found)
    }

    /// Takes in the batches of many callers in a transaction of their own, and tells the
    /// subscriber.
    pub(crate) fn accept(
        &mut self,
        batches: &[&[NewNotification]],
        locking: Locking,
    ) -> Result<Vec<Acceptance>, JobError> {
        self.connect()?;
        let began_at = Instant::now();
        let mut cache = std::mem::take(&mut self.cache);
        let mut post_commit = PostCommit::default();
        let conn = self.conn()?;
        let accept = &mut cache.accept;
        let done = accept::accept_group(conn, accept, &mut post_commit, batches, locking);
        if done.is_err() {
            cache = SessionCache::default();
            undo(conn);
        }
        self.cache = cache;
        let (acceptances, version) = done?;
        self.shared.metrics.committed(began_at, batches.len());
        self.publish(post_commit, version);
        Ok(acceptances)
    }

    /// Begins a transaction. A session that ended while nobody used it is replaced by another,
    /// since nothing was asked on it yet.
    fn begin<T>(
        &mut self,
        begin: impl Fn(&PostgresConnection) -> Result<T, JobError>,
    ) -> Result<T, JobError> {
        self.connect()?;
        let mut begun = begin(self.conn()?);
        if matches!(begun, Err(JobError::Postgres(SessionError::Lost(_)))) {
            self.connect()?;
            begun = begin(self.conn()?);
        }
        if begun.is_err() {
            undo(self.conn()?);
        }
        begun
    }

    fn publish(&self, post_commit: PostCommit, version: Option<i64>) {
        let shared = &self.shared;
        if let Some(version) = version.and_then(|version| u64::try_from(version).ok()) {
            shared.version.fetch_max(version, Ordering::AcqRel);
        }
        shared.changed();
        if post_commit.has_fan_out() {
            shared.fan_out.wake();
        }
        let own = shared.own_slots();
        if own != Slots::ALL {
            let others = |webhook: &WebhookId| !own.has(*webhook);
            shared.hint(post_commit.webhooks().into_iter().filter(others));
            if post_commit.has_bulk_job() {
                shared.hint_at_all();
            }
        }
        if let Some(subscriber) = shared.subscriber.get() {
            post_commit.publish(subscriber.as_ref());
        }
    }

    /// Runs a question in a transaction in which all statements see the same.
    pub(crate) fn read(
        &mut self,
        work: impl FnOnce(&PostgresConnection) -> Result<(), JobError>,
    ) -> Result<(), StoreError> {
        let begun = self.begin(|conn| Ok(conn.session().begin(TransactionMode::ReadOnly)?));
        begun.map_err(store_error)?;
        let conn = self.conn().map_err(store_error)?;
        let session = conn.session();
        let done = work(conn);
        let ended = match &done {
            Ok(()) => session.commit().map(drop),
            Err(_) => session.rollback(),
        };
        done.map_err(store_error)?;
        ended.map_err(of_session)
    }
}

/// Undoes what is open. A session in which that fails is broken, and the server undoes it.
fn undo(conn: &PostgresConnection) {
    if conn.session().rollback().is_err() {
        tracing::debug!("a session with the database ended in a rollback");
    }
}

/// Begins a transaction that changes something. Answers the slots of the lease that it is under, if
/// it is.
fn begin_guarded(conn: &PostgresConnection, guard: Guard) -> Result<Option<Slots>, JobError> {
    let session = conn.session();
    match guard {
        Guard::Nothing => {
            session.begin(TransactionMode::ReadWrite)?;
            Ok(None)
        }
        Guard::Turn(scope) => {
            session.begin(TransactionMode::ReadWrite)?;
            locks::turn(conn, scope)?;
            Ok(None)
        }
        Guard::Lease(epoch) => leases::begin(conn, epoch).map(Some),
    }
}

fn transact<T>(
    conn: &PostgresConnection,
    cache: &mut SessionCache,
    post_commit: &mut PostCommit,
    slots: Option<Slots>,
    work: impl FnOnce(&mut PostgresTx<'_>) -> Result<T, JobError>,
) -> Result<(T, Option<i64>), JobError> {
    let session = conn.session();
    let mut tx = PostgresTx {
        conn,
        cache,
        post_commit,
        slots,
    };
    let found = work(&mut tx)?;
    let version = match tx.post_commit.has_new_catalog() {
        true => Some(query::one::<i64>(conn, NEXT_VERSION, values![])?),
        false => None,
    };
    match session.commit()? {
        Committed::Durable => {}
        Committed::NotReplicated => return Err(StoreError::Unknown.into()),
    }
    Ok((found, version))
}
