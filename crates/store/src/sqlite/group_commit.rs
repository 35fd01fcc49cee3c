//! Grouping: which jobs of the writer share a commit.
//!
//! All that have come do, and all that come while the disk makes the group before durable. In a
//! busy house those who were answered come back within moments: a group waits a little for as many
//! as half of the one before, so that large groups are not followed by commits of one or two. In a
//! quiet house nothing waits.

use std::time::Duration;

use model::limits;
use tokio::time::Instant;

use crate::sqlite::jobs::{ExecutorHandles, WriteJob, weight_of};
use crate::sqlite::queue::{GroupWait, QueuedJob};
use crate::sqlite::shared::Shared;
use crate::sqlite::tx::Job;
use crate::sqlite::wal_sync::{SyncOutcome, WalSync};
use crate::sqlite::writer::{OpenGroup, Writer};

/// A group in which somebody waits for so little comes of a quiet house: the writer waits for the
/// disk itself, which spares two threads waking each other.
const ALONE_MAX: usize = 2;

/// A group grows to this while the disk is waited for, so that what it holds is bounded.
const WEIGHT_MAX: usize = 2_048;

/// After a group with fewer callers nobody is waited for.
const BUSY_FROM: usize = 4;

/// So long after callers were answered others are waited for: what some dozen take to come back.
const COMPANY_LIMIT: Duration = Duration::from_micros(500);

/// Puts jobs into groups.
#[derive(Debug, Default)]
pub(crate) struct GroupCommit {
    /// Callers that the group before answered.
    latest: usize,
    weight: usize,
}

/// A group that grows.
struct GrowingGroup<'a> {
    writer: &'a mut Writer,
    group: OpenGroup,
    shared: &'a Shared,
    weight: usize,
    /// Jobs that somebody waits for, and what they weigh.
    callers: usize,
    callers_weight: usize,
}

impl GroupCommit {
    /// Runs jobs and those that belong to them, and has them made durable.
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

    /// That of the latest group.
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
    /// What comes of a quiet house: one or two who wait, and outcomes that waited for them.
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
