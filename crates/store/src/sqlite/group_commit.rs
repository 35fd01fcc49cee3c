//! Group commit: which jobs of the writer share a commit.
//!
//! All jobs that have arrived do, and all that arrive while the disk syncs the group before. Under
//! load callers come back within a moment of their answer. So a group waits a little until it has
//! half as many callers as the group before: large groups are not followed by commits of one or
//! two. With little load nothing waits.

use std::time::Duration;

use model::limits;
use tokio::time::Instant;

use crate::sql::queue::{GroupWait, QueuedJob};
use crate::sqlite::jobs::{ExecutorHandles, WriteJob, weight_of};
use crate::sqlite::shared::Shared;
use crate::sqlite::tx::Job;
use crate::sqlite::wal_sync::{SyncOutcome, WalSync};
use crate::sqlite::writer::{OpenGroup, Writer};

/// With callers of at most this weight the writer syncs the WAL itself. That happens with little
/// load, and it saves waking two threads.
const ALONE_MAX: usize = 2;

/// A group grows up to this weight while a sync is running.
const WEIGHT_MAX: usize = 2_048;

/// After a group with fewer callers a group waits for nobody.
const BUSY_FROM: usize = 4;

/// How long a group waits for callers after the last answers: some dozen of them take this long to
/// come back.
const COMPANY_LIMIT: Duration = Duration::from_micros(500);

/// Puts jobs into groups.
#[derive(Debug, Default)]
pub(crate) struct GroupCommit {
    /// How many callers the latest group had.
    latest: usize,
    weight: usize,
}

/// A group that is still open.
struct GrowingGroup<'a> {
    writer: &'a mut Writer,
    group: OpenGroup,
    shared: &'a Shared,
    weight: usize,
    /// Jobs with a caller that waits, and their weight.
    callers: usize,
    callers_weight: usize,
}

impl GroupCommit {
    /// Runs `jobs` and those that join them as one transaction, and has it made durable.
    pub(crate) fn write(
        &mut self,
        writer: &mut Writer,
        jobs: Vec<WriteJob>,
        shared: &Shared,
        handles: &ExecutorHandles,
    ) -> SyncOutcome {
        let wal_sync = &handles.wal_sync;
        let mut growing = GrowingGroup {
            group: writer.open(jobs.len()),
            writer,
            shared,
            weight: 0,
            callers: 0,
            callers_weight: 0,
        };
        growing.add(jobs);
        let mut waited = false;
        loop {
            let callers = growing.callers;
            if matches!(self.wait(wal_sync, callers), GroupWait::No) {
                break;
            }
            waited = true;
            if growing.weight >= WEIGHT_MAX {
                wal_sync.wait_until_free();
                break;
            }
            if let Some(more) = handles.writing.take_more(|| self.wait(wal_sync, callers)) {
                growing.add(more);
            }
        }
        self.latest = growing.callers;
        self.weight = growing.weight;
        let is_alone = !waited && growing.is_small();
        let number = wal_sync.begin();
        let done = growing.writer.commit(growing.group);
        if is_alone || !done.has_written() {
            return wal_sync.finish_here(number, done, shared);
        }
        wal_sync.put(number, done);
        SyncOutcome::Durable
    }

    /// The weight of the latest group.
    pub(crate) fn weight(&self) -> usize {
        self.weight
    }

    /// How long a group with so many callers waits for more.
    fn wait(&self, wal_sync: &WalSync, callers: usize) -> GroupWait {
        let Some(free_since) = wal_sync.free_since() else {
            return GroupWait::UntilNudged;
        };
        if self.latest < BUSY_FROM || callers * 2 >= self.latest {
            return GroupWait::No;
        }
        let until = free_since + COMPANY_LIMIT;
        match until > Instant::now() {
            true => GroupWait::Until(until),
            false => GroupWait::No,
        }
    }
}

impl GrowingGroup<'_> {
    /// One or two callers, and outcomes that were held back for them.
    fn is_small(&self) -> bool {
        self.callers_weight <= ALONE_MAX
            && self.weight - self.callers_weight <= limits::DELAYED_OUTCOMES_MAX
    }

    fn add(&mut self, jobs: Vec<WriteJob>) {
        let weight: usize = jobs.iter().map(|job| job.weight).sum();
        self.shared.metrics.queued.dec_by(weight_of(weight));
        self.weight += weight;
        for job in jobs.iter().filter(|job| job.commit_delay().is_none()) {
            self.callers += 1;
            self.callers_weight += job.weight;
        }
        let jobs: Vec<Box<dyn Job>> = jobs.into_iter().map(|job| job.job).collect();
        self.writer.add(&mut self.group, jobs);
    }
}
