//! A worker: a thread's session with the database, opened again when it breaks.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use model::contract::{DiskFault, StoreError};
use model::id::TenantId;
use model::lease::Slots;
use model::notification::NewNotification;
use tokio::time::Instant;

use crate::postgres::accept::{self, Acceptance, Locking, Talk, Whose};
use crate::postgres::connection::PostgresConnection;
use crate::postgres::faults::Proof;
use crate::postgres::job_answer::store_error;
use crate::postgres::jobs::Guard;
use crate::postgres::session::{Committed, Session, TransactionMode};
use crate::postgres::session_error::{Loss, SessionError, SqlFault};
use crate::postgres::settings::DatabaseSettings;
use crate::postgres::shared::Shared;
use crate::postgres::tx::{PostgresTx, SessionCache};
use crate::postgres::{leases, locks};
use crate::sql::job_error::{CorruptRow, JobError};
use crate::sql::post_commit::PostCommit;
use crate::sql::query;
use crate::sql::row::ReadRow;

shared_statements! {
    // One row: whoever changed the catalog last has its latest version.
    NEXT_VERSION = "update catalog set version = version + 1 where id = 1 returning version";
    // In a transaction that writes, which a standby refuses to begin.
    ASK = "select 1";
}

/// Two MiB that cannot be compressed, of no tenant, and always undone.
const FILL: &str = "
        insert into notification (tenant_id, id, key, action_type, body, accepted_at, delivery_count)
        select 0, n, n::text, '',
          (select string_agg(sha256((n * 40000 + part)::text::bytea), '')
           from generate_series(1, 32768) as part),
          0, 0
        from generate_series(-2, -1) as n";

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
                self.conn = Some(PostgresConnection::new(session));
                Ok(())
            }
            Err(error) => {
                self.failed_at = Some(Instant::now());
                let fault = error.database_fault();
                let faults = &self.shared.faults;
                faults.met_at_door(self.role, fault, &error.to_string());
                Err(self.fault())
            }
        }
    }

    /// Whether there is a session that works.
    pub(crate) fn is_connected(&self) -> bool {
        let session = self.session();
        session.is_some_and(|session| !session.is_broken())
    }

    fn fault(&self) -> StoreError {
        self.shared.metrics.no_database.inc();
        let fault = self.shared.faults.of(self.role);
        StoreError::Disk(fault.unwrap_or(DiskFault::NoDatabase))
    }

    /// Notes what is wrong with the database, if that is why something was not done. A session that
    /// merely ended is not: the next one says what is wrong, or that nothing is.
    pub(crate) fn met(&self, error: &JobError) {
        let JobError::Postgres(error) = error else {
            return;
        };
        let fault = match (error, error.fault()) {
            (SessionError::TimedOut(_) | SessionError::Unknown(Loss::TimedOut(_)), _) => {
                DiskFault::NoDatabase
            }
            (_, Some(SqlFault::ReadOnly)) => DiskFault::ReadOnlyDatabase,
            (_, Some(SqlFault::DiskFull)) => DiskFault::FullDatabase,
            (_, Some(SqlFault::Damaged)) => DiskFault::Unreadable,
            _ => return,
        };
        let faults = &self.shared.faults;
        faults.met(self.role, fault, &error.to_string());
    }

    /// Something was answered.
    pub(crate) fn works(&self) {
        self.proves(Instant::now(), Proof::Answered);
    }

    fn proves(&self, began_at: Instant, proof: Proof) {
        self.shared.faults.are_over(self.role, began_at, proof);
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
        let begun = self.begin(|conn| begin_guarded(conn, guard));
        let slots = begun.inspect_err(|error| self.met(error))?;
        let mut cache = std::mem::take(&mut self.cache);
        let mut post_commit = PostCommit::with(&self.shared.untold);
        let conn = self.conn()?;
        let tx = PostgresTx {
            conn,
            cache: &mut cache,
            post_commit: &mut post_commit,
            slots,
        };
        let done = transact(tx, work);
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
        match done {
            Ok((found, _)) => {
                self.proves(began_at, Proof::Committed);
                self.shared.metrics.committed(began_at, jobs);
                self.publish(post_commit, version);
                Ok(found)
            }
            Err(error) => Err(self.failed(post_commit, error)),
        }
    }

    /// Begins a transaction, and waits for a tenant in it. Answers whether others had it.
    pub(crate) fn begin_with_tenant(&mut self, tenant: TenantId) -> Result<bool, JobError> {
        self.begin(|conn| {
            let keys = vec![locks::tenant(tenant).number()];
            let mode = TransactionMode::ReadWrite;
            let session = conn.session();
            let answers = session.begin_with(mode, &[(locks::TRY_OR_WAIT, &[&keys])])?;
            let row = answers.last().and_then(|answer| answer.rows.first());
            let was_free: bool = row.ok_or(CorruptRow("answer"))?.column(0)?;
            Ok(!was_free)
        })
    }

    /// Takes in the batches of many callers in a transaction of their own, and tells the
    /// subscriber.
    pub(crate) fn accept(
        &mut self,
        batches: &[&[NewNotification]],
        locking: Locking,
    ) -> Result<Vec<Acceptance>, JobError> {
        self.connect()?;
        self.accept_in(Whose::Own, batches, locking)
    }

    /// The same in the transaction that has begun, which it commits.
    pub(crate) fn accept_begun(
        &mut self,
        batches: &[&[NewNotification]],
    ) -> Result<Vec<Acceptance>, JobError> {
        self.accept_in(Whose::Begun, batches, Locking::Try)
    }

    fn accept_in(
        &mut self,
        whose: Whose,
        batches: &[&[NewNotification]],
        locking: Locking,
    ) -> Result<Vec<Acceptance>, JobError> {
        let began_at = Instant::now();
        let mut cache = std::mem::take(&mut self.cache);
        let mut post_commit = PostCommit::with(&self.shared.untold);
        let conn = self.conn()?;
        let accept = &mut cache.accept;
        let done = accept::accept_group(
            Talk::new(conn.session(), whose),
            accept,
            &mut post_commit,
            batches,
            locking,
        );
        if done.is_err() {
            cache = SessionCache::default();
            undo(conn);
        }
        self.cache = cache;
        match done {
            Ok((acceptances, version)) => {
                self.proves(began_at, Proof::Committed);
                self.shared.metrics.committed(began_at, batches.len());
                self.publish(post_commit, version);
                Ok(acceptances)
            }
            Err(error) => Err(self.failed(post_commit, error)),
        }
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

    /// A transaction was not committed. If that is not certain, whoever would have been told has
    /// to look.
    fn failed(&self, post_commit: PostCommit, error: JobError) -> JobError {
        self.met(&error);
        let is_unknown = matches!(
            error,
            JobError::Store(StoreError::Unknown) | JobError::Postgres(SessionError::Unknown(_))
        );
        if is_unknown {
            self.shared.changed();
            if post_commit.has_fan_out() {
                self.shared.fan_out.wake();
            }
            self.hint(&post_commit);
            if let Some(subscriber) = self.shared.subscriber.get() {
                post_commit.publish_doubt(subscriber.as_ref());
            }
        }
        error
    }

    /// Has the owners of other slots told.
    fn hint(&self, post_commit: &PostCommit) {
        let own = self.shared.own_slots();
        if own != Slots::ALL || post_commit.has_news_of_leases() {
            let mut hints = post_commit.hints();
            hints.retain(|webhook| !own.has(webhook));
            self.shared.hint(hints);
        }
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
        self.hint(&post_commit);
        if let Some(subscriber) = shared.subscriber.get() {
            post_commit.publish(subscriber.as_ref());
        }
    }

    /// Runs a question in a transaction in which all statements see the same.
    pub(crate) fn read(
        &mut self,
        work: impl FnOnce(&PostgresConnection) -> Result<(), JobError>,
    ) -> Result<(), StoreError> {
        let done = self.ask(work);
        match &done {
            Ok(()) => self.works(),
            Err(error) => self.met(error),
        }
        done.map_err(store_error)
    }

    fn ask(
        &mut self,
        work: impl FnOnce(&PostgresConnection) -> Result<(), JobError>,
    ) -> Result<(), JobError> {
        self.begin(|conn| Ok(conn.session().begin(TransactionMode::ReadOnly)?))?;
        let session = self.conn()?.session();
        match work(self.conn()?) {
            Ok(()) => Ok(session.commit().map(drop)?),
            Err(error) => {
                session.rollback()?;
                Err(error)
            }
        }
    }

    /// Finds out whether a change could be made durable. On a disk that was full, whether there is
    /// room again.
    pub(crate) fn probe(&mut self) -> Result<(), JobError> {
        let was_full = self.shared.faults.is(DiskFault::FullDatabase);
        let began_at = Instant::now();
        self.write(Guard::Nothing, 1, |tx| {
            if !was_full {
                return query::exists(tx.conn, ASK, values![]).map(drop);
            }
            let session = tx.conn.session();
            session.savepoint()?;
            tx.conn.session().execute(FILL, &[])?;
            Ok(session.rollback_to_savepoint()?)
        })?;
        if was_full {
            self.proves(began_at, Proof::HasRoom);
        }
        Ok(())
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
    mut tx: PostgresTx<'_>,
    work: impl FnOnce(&mut PostgresTx<'_>) -> Result<T, JobError>,
) -> Result<(T, Option<i64>), JobError> {
    let conn = tx.conn;
    let session = conn.session();
    let found = work(&mut tx)?;
    let version = match tx.post_commit.has_new_catalog() {
        true => Some(query::one::<i64>(conn, NEXT_VERSION, values![])?),
        false => None,
    };
    tx.post_commit.commits();
    match session.commit()? {
        Committed::Durable => {}
        Committed::NotReplicated => return Err(StoreError::Unknown.into()),
    }
    Ok((found, version))
}
