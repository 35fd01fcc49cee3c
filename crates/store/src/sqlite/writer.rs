//! The writer: runs a group of jobs as one transaction.
//!
//! A group may grow while it is open. A job that fails is rolled back alone. If the transaction is
//! lost, all of its jobs are. Nobody is told anything before the commit is durable.
//!
//! Savepoints cost a copy of every page that a job touches. So repeatable jobs run without them
//! first. Only if one fails the group is rolled back and run again, each job in a savepoint of its
//! own.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use model::contract::{DiskFault, StoreError};
use rusqlite::Connection;
use rusqlite::hooks::Wal;
use tokio::time::Instant;

use crate::integrity::mark::DurabilityMark;
use crate::integrity::snapshot;
use crate::seldom::Seldom;
use crate::sql::job_error::{JobError, broken};
use crate::sql::post_commit::PostCommit;
use crate::sqlite::fan_out_cache::{self, FanOut};
use crate::sqlite::shared::Shared;
use crate::sqlite::tx::{HotStatements, Job, Tx, WriterCache};
use crate::sqlite::{clock, error_codes, job_answer};
use crate::sync::lock;

statements! {
    BEGIN = "begin immediate";
    COMMIT = "commit";
    ROLLBACK = "rollback";
    SAVE = "savepoint job";
    KEEP = "release job";
    UNDO = "rollback to job";
    DATA_VERSION = "pragma data_version";
    // Passive: waits for nobody.
    pub(crate) CHECKPOINT = "pragma wal_checkpoint(passive)";
    // Moves nothing, only counts.
    pub(crate) WAL_PAGES = "pragma wal_checkpoint(noop)";
}

pub(crate) struct Writer {
    conn: Connection,
    file: Option<PathBuf>,
    cache: WriterCache,
    /// The latest `pragma data_version`; it changes when another connection commits.
    data_version: i64,
    /// Frames in the WAL after the latest commit, as SQLite reports them.
    wal_frames: Arc<AtomicU32>,
    shared: Arc<Shared>,
}

/// An open transaction, and the results of its jobs so far.
pub(crate) struct OpenGroup {
    done: GroupResult,
    began_at: Instant,
    /// Whether each job gets a savepoint of its own from here on.
    uses_savepoints: bool,
    /// Why nothing of it can be kept.
    lost: Option<StoreError>,
    /// Rows that the connection had changed before.
    changes_before: u64,
}

/// What became of a group: the answers, and what is published before them.
pub(crate) struct GroupResult {
    external_change: bool,
    post_commit: PostCommit,
    answers: Vec<(Box<dyn Job>, Option<StoreError>)>,
    written: bool,
    /// Where it ends in the WAL.
    mark: Option<DurabilityMark>,
}

impl Writer {
    /// `file` is where the store is; `None` if it is in memory.
    pub(crate) fn of(
        conn: Connection,
        file: Option<PathBuf>,
        shared: Arc<Shared>,
    ) -> Result<Self, rusqlite::Error> {
        let mut writer = Self {
            conn,
            file,
            cache: WriterCache::default(),
            data_version: 0,
            wal_frames: Arc::default(),
            shared,
        };
        writer.data_version = writer.read_data_version()?;
        writer.cache.fan_out = Some(fan_out_cache::read(&writer.conn)?);
        writer.report_fan_out_backlog();
        let last_heartbeat = clock::last(&writer.conn)?;
        *lock(&writer.shared.last_heartbeat) = last_heartbeat;
        Ok(writer)
    }

    pub(crate) fn conn(&self) -> &Connection {
        &self.conn
    }

    /// From now on the writer knows where its commits end in the WAL. SQLite checkpoints no longer
    /// by itself.
    pub(crate) fn track_wal(&mut self) -> Result<(), rusqlite::Error> {
        let into_store_error = Arc::clone(&self.wal_frames);
        self.conn.wal_hook(Some(move |_: &mut Wal, frames| {
            into_store_error.store(u32::try_from(frames).unwrap_or(0), Ordering::Relaxed);
            Ok(())
        }))
    }

    /// Closes the store. It is one file then, if nobody else has it open.
    pub(crate) fn close(self) -> Result<(), rusqlite::Error> {
        // Files that took the place of moved ones are not ours to close.
        if let Some(file) = &self.file
            && self.shared.disk.moved().is_none()
        {
            snapshot::close(&self.conn, file);
        }
        self.conn.close().map_err(|(_, error)| error)
    }

    /// Runs jobs as one transaction. `GroupResult::publish` tells and answers.
    pub(crate) fn run(&mut self, jobs: Vec<Box<dyn Job>>) -> GroupResult {
        let mut group = self.open(jobs.len());
        self.add(&mut group, jobs);
        self.commit(group)
    }

    /// Begins a transaction for about `jobs` jobs.
    pub(crate) fn open(&mut self, jobs: usize) -> OpenGroup {
        let mut group = OpenGroup {
            done: GroupResult {
                external_change: false,
                post_commit: PostCommit::default(),
                answers: Vec::with_capacity(jobs),
                written: false,
                mark: None,
            },
            began_at: Instant::now(),
            uses_savepoints: false,
            lost: None,
            changes_before: self.conn.total_changes(),
        };
        self.begin(&mut group);
        group
    }

    /// Runs jobs in the open transaction.
    pub(crate) fn add(&mut self, group: &mut OpenGroup, mut jobs: Vec<Box<dyn Job>>) {
        if group.lost.is_none() && !group.uses_savepoints {
            if jobs.iter().all(|job| job.is_repeatable()) {
                if self.run_all(jobs, &mut group.done) {
                    return;
                }
                // One of them has failed, and all so far can be run again.
                let all = std::mem::take(&mut group.done.answers).into_iter();
                jobs = all.map(|(job, _)| job).collect();
                self.roll_back();
                self.cache.forget();
                group.done.post_commit = PostCommit::default();
                self.begin(group);
            }
            group.uses_savepoints = true;
        }
        let mut rest = jobs.into_iter();
        while group.lost.is_none()
            && let Some(mut job) = rest.next()
        {
            let refused = self.run_one(job.as_mut(), &mut group.done.post_commit);
            let refused = refused.map(|fault| fault.into_store_error(&self.shared.disk));
            group.done.answers.push((job, refused.clone()));
            if self.conn.is_autocommit() {
                // The error has ended the transaction, and everything before it is lost.
                let cause = match refused {
                    Some(cause @ (StoreError::Disk(_) | StoreError::Busy)) => cause,
                    _ => broken("the transaction was lost"),
                };
                self.discard(&mut group.done, &cause);
                group.lost = Some(cause);
            }
        }
        if let Some(into_store_error) = &group.lost {
            let lost = rest.map(|job| (job, Some(into_store_error.clone())));
            group.done.answers.extend(lost);
        }
    }

    /// Commits. What was written is visible then, and durable once the WAL is synced.
    pub(crate) fn commit(&mut self, mut group: OpenGroup) -> GroupResult {
        if group.lost.is_none() {
            match self.step(COMMIT) {
                Ok(()) => {
                    let changes = self.conn.total_changes();
                    group.done.written = changes != group.changes_before;
                    if group.done.written {
                        self.shared.disk.wrote();
                        let frames = self.wal_frames.load(Ordering::Relaxed);
                        let mark_writer = self.shared.mark_writer.get();
                        group.done.mark =
                            mark_writer.and_then(|mark_writer| mark_writer.seen(frames));
                    }
                    let jobs = group.done.answers.len();
                    self.shared.metrics.committed(group.began_at, jobs);
                    self.report_fan_out_backlog();
                }
                Err(error) => {
                    let into_store_error = job_answer::commit_error(error, &self.shared.disk);
                    self.discard(&mut group.done, &into_store_error);
                }
            }
        }
        let is_full = |(_, answer): &(_, Option<_>)| {
            matches!(answer, Some(StoreError::Disk(DiskFault::Full)))
        };
        if group.done.answers.iter().any(is_full) {
            self.checkpoint();
        }
        group.done
    }

    /// Checkpoints, so that the space of the WAL can be used again.
    pub(crate) fn checkpoint(&self) {
        if let Err(error) = wal_pages(&self.conn, CHECKPOINT)
            // A disk that cannot be written to is reported anyway.
            && !error_codes::is_write_failure(&error)
        {
            tell_not_checkpointed(&error);
        }
    }

    /// How long the WAL is.
    pub(crate) fn wal_pages(&self) -> Option<WalPages> {
        wal_pages(&self.conn, WAL_PAGES).ok()
    }

    /// Whether the fan-out has something left to materialize, as far as that is known.
    pub(crate) fn owes_fan_out(&self) -> bool {
        let fan_out = self.cache.fan_out.as_ref();
        fan_out.is_none_or(FanOut::is_left) && !self.shared.fan_out_backlog.is_paused()
    }

    fn report_fan_out_backlog(&mut self) {
        let fan_out = self.cache.fan_out.as_mut();
        if let Some(count) = fan_out.and_then(|fan_out| fan_out.tell(&self.shared.fan_out_backlog))
        {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            self.shared.metrics.fan_out_pending.set(count);
        }
    }

    fn begin(&mut self, group: &mut OpenGroup) {
        self.cache.rows_materialized = 0;
        if let Some(fan_out) = &mut self.cache.fan_out {
            fan_out.close();
        }
        if let Some(barred) = self.shared.disk.blocks_writes() {
            group.lost = Some(barred);
            return;
        }
        match self.step(BEGIN) {
            Ok(()) => group.done.external_change |= self.notice_external_change(),
            Err(error) => {
                group.lost = Some(JobError::Sqlite(error).into_store_error(&self.shared.disk));
            }
        }
    }

    /// Runs jobs without savepoints and adds them to the group. Answers false if one failed and
    /// left something to undo.
    fn run_all(&mut self, jobs: Vec<Box<dyn Job>>, done: &mut GroupResult) -> bool {
        let mut tx = Tx {
            conn: &self.conn,
            hot: HotStatements::default(),
            cache: &mut self.cache,
            post_commit: &mut done.post_commit,
        };
        let mut rest = jobs.into_iter();
        while let Some(mut job) = rest.next() {
            let refused = match job.run(&mut tx) {
                Ok(()) => None,
                Err(JobError::Refused(why)) => Some(why),
                Err(JobError::Sqlite(_) | JobError::Postgres(_) | JobError::Store(_)) => {
                    done.answers.push((job, None));
                    done.answers.extend(rest.map(|job| (job, None)));
                    return false;
                }
            };
            done.answers.push((job, refused));
        }
        true
    }

    /// Whether another process has committed since the last look. The cache may be wrong then and
    /// is forgotten.
    pub(crate) fn notice_external_change(&mut self) -> bool {
        match self.read_data_version() {
            Ok(version) if version == self.data_version => false,
            Ok(version) => {
                self.data_version = version;
                self.cache.forget();
                self.shared.version.fetch_add(1, Ordering::AcqRel);
                self.shared.changes.fetch_add(1, Ordering::AcqRel);
                true
            }
            // The job that follows meets the same error and has a caller to tell.
            Err(_) => false,
        }
    }

    fn run_one(&mut self, job: &mut dyn Job, post_commit: &mut PostCommit) -> Option<JobError> {
        if let Err(error) = self.step(SAVE) {
            return Some(JobError::Sqlite(error));
        }
        let mark = post_commit.savepoint();
        let inline_deliveries = self.cache.inline_changes();
        let mut tx = Tx {
            conn: &self.conn,
            hot: HotStatements::default(),
            cache: &mut self.cache,
            post_commit,
        };
        let come = job.run(&mut tx);
        drop(tx);
        let Err(refused) = come else {
            return self.step(KEEP).err().map(JobError::Sqlite);
        };
        post_commit.rollback_to(&mark);
        let harmless = matches!(
            refused,
            JobError::Refused(_) | JobError::Store(StoreError::Stale | StoreError::Conflict(_))
        );
        if !harmless || inline_deliveries != self.cache.inline_changes() {
            // What the job cached is rolled back with it.
            self.cache.forget();
        }
        if !self.conn.is_autocommit() {
            // If even this fails the transaction cannot be saved and ends as a whole.
            let undone = self.step(UNDO).and_then(|()| self.step(KEEP));
            if undone.is_err() {
                self.roll_back();
            }
        }
        Some(refused)
    }

    /// Nothing of the group is kept: all answers are replaced by `cause`.
    fn discard(&mut self, done: &mut GroupResult, cause: &StoreError) {
        self.roll_back();
        self.cache.forget();
        done.post_commit = PostCommit::default();
        for (_, answer) in &mut done.answers {
            *answer = Some(cause.clone());
        }
    }

    fn roll_back(&self) {
        if !self.conn.is_autocommit()
            && let Err(error) = self.step(ROLLBACK)
        {
            tracing::error!(%error, "the store cannot roll back");
        }
    }

    fn step(&self, sql: &'static str) -> Result<(), rusqlite::Error> {
        self.conn.prepare_cached(sql)?.execute([]).map(drop)
    }

    fn read_data_version(&self) -> Result<i64, rusqlite::Error> {
        self.conn
            .prepare_cached(DATA_VERSION)?
            .query_row([], |row| row.get(0))
    }
}

/// The length of the WAL, and how much of it was moved into the file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WalPages {
    pub(crate) all: i64,
    pub(crate) moved: i64,
}

impl WalPages {
    /// Pages that are still to be moved.
    pub(crate) fn left(self) -> i64 {
        self.all - self.moved
    }
}

/// What a `wal_checkpoint` pragma reports.
pub(crate) fn wal_pages(
    conn: &Connection,
    pragma: &'static str,
) -> Result<WalPages, rusqlite::Error> {
    conn.prepare_cached(pragma)?.query_row([], |row| {
        Ok(WalPages {
            all: row.get(1)?,
            moved: row.get(2)?,
        })
    })
}

impl GroupResult {
    /// Whether there is something to be made durable.
    pub(crate) fn has_written(&self) -> bool {
        self.written
    }

    /// It is durable: the mark says so, so that a lost WAL is noticed.
    pub(crate) fn note_durable(&self, shared: &Shared) {
        if let (Some(mark), Some(mark_writer)) = (self.mark, shared.mark_writer.get()) {
            mark_writer.note(mark);
        }
    }

    /// Nobody knows whether it is durable: callers are told that, and the subscriber is told to
    /// look again.
    pub(crate) fn mark_uncertain(&mut self) {
        self.post_commit.forget_webhooks();
        self.external_change = true;
        for (_, answer) in &mut self.answers {
            answer.get_or_insert(StoreError::Unknown);
        }
    }

    /// Tells the subscriber, then every caller.
    pub(crate) fn publish(self, shared: &Shared) {
        shared.changes.fetch_add(1, Ordering::AcqRel);
        if self.post_commit.has_new_catalog() {
            shared.version.fetch_add(1, Ordering::AcqRel);
        }
        if let Some(subscriber) = shared.subscriber.get() {
            if self.external_change {
                subscriber.on_external_change();
            }
            self.post_commit.publish(subscriber.as_ref());
        }
        for (job, lost) in self.answers {
            match lost {
                Some(StoreError::Disk(DiskFault::Full)) => shared.metrics.disk_full.inc(),
                Some(StoreError::Disk(_)) => shared.metrics.disk_error.inc(),
                Some(StoreError::Busy) => shared.metrics.busy.inc(),
                _ => 0,
            };
            job.answer(lost);
        }
    }
}

pub(crate) fn tell_not_checkpointed(error: &rusqlite::Error) {
    static SELDOM: Seldom = Seldom::new();
    if SELDOM.is_time() {
        tracing::warn!(%error, "the write-ahead log cannot be checkpointed");
    }
}

#[cfg(test)]
mod tests;
