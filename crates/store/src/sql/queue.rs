//! The queues in front of the executor's threads: bounded, in order, bulk work last. A tenant may
//! have as much waiting as it leaves to others; when more is waiting than a group takes, tenants
//! take turns.
//!
//! What does not fit is `Busy` at once. A closed queue takes nothing more and gives out what it
//! has. A dead one drops everything.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::contract::StoreError;
use model::id::TenantId;
use model::limits;
use tokio::time::Instant;

use crate::sql::job_error::broken;
use crate::sync::{lock, wait};

/// How often an idle writer checks whether another process has changed something.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Bulk work waits for at most so many groups, however busy the writer is.
const GROUPS_BEFORE_BULK: u32 = 4;

/// A commit costs nearly the same for one job as for many. A delayed job waits this long before it
/// joins a commit that is made anyway, so that under load most commits carry no delayed jobs.
pub(crate) const COMMIT_DELAY: Duration = Duration::from_millis(5);

/// How long an outcome of little consequence waits for a commit that is made anyway.
pub(crate) const COMMIT_DELAY_MAX: Duration = Duration::from_millis(limits::COMMIT_DELAY_MAX_MS);

/// The weight of a group, unless a single job is heavier: some dozen milliseconds, for which others
/// wait.
const GROUP_WEIGHT_MAX: usize = 2_048;

/// So many tenants with nothing waiting stay in the map, which saves inserting them each time.
const TENANTS_KEPT: usize = 64;

/// A tenant may have so many times as much waiting as there is room left for others.
const TIMES_WHAT_IS_LEFT: usize = 3;

/// Delayed jobs of this weight wait no longer.
const DELAYED_WEIGHT_MAX: usize = limits::DELAYED_OUTCOMES_MAX;

/// Jobs that wait for a thread.
pub(crate) struct JobQueue<J> {
    inner: Mutex<QueueInner<J>>,
    arrived: Condvar,
    /// As many have come as `gather` waits for.
    gathered: Condvar,
}

/// The class of a job. Each class has a bound of its own, so that a flood of one cannot shut out
/// the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JobClass {
    /// New notifications.
    Intake,
    /// Outcomes of attempts.
    Outcome,
    /// Everything else that a caller waits for.
    Work,
    /// What takes long: pruning, cancelling, bulk jobs, filtered lists.
    Bulk,
}

struct QueueInner<J> {
    jobs: VecDeque<J>,
    /// Jobs that nobody waits for yet.
    delayed: VecDeque<J>,
    bulk: VecDeque<J>,
    /// Groups taken since bulk work is waiting.
    groups_since: u32,
    /// By class.
    weights: [usize; 4],
    /// The weight that each tenant has waiting.
    tenants: BTreeMap<TenantId, usize>,
    /// The tenant whose turn it was last when not all jobs fit into a group.
    latest: TenantId,
    /// Whether bulk work had the latest turn between groups, and not the fan-out.
    took_bulk: bool,
    closing: bool,
    dead: bool,
    /// Threads that wait for a job, and how many of them were woken and are on their way.
    waiting: usize,
    woken: usize,
    /// When the first delayed job came, and when the first of them has to be released.
    delayed_since: Option<Instant>,
    delayed_until: Option<Instant>,
    /// When the waiting thread looks again by itself.
    looks_at: Option<Instant>,
    /// Something was taken since a thread last waited in vain.
    has_taken: bool,
    /// How many jobs `gather` waits for.
    enough: Option<usize>,
}

/// How long to wait for more jobs.
#[derive(Debug, Clone, Copy)]
pub(crate) enum GroupWait {
    No,
    Until(Instant),
    /// Until `nudge`.
    UntilNudged,
}

pub(crate) enum NextWork<J> {
    Group(Vec<J>),
    /// It is the turn of what is done between groups.
    BetweenGroups,
    Nothing,
    Closed,
}

impl<J> Default for JobQueue<J> {
    fn default() -> Self {
        Self {
            inner: Mutex::new(QueueInner {
                jobs: VecDeque::new(),
                delayed: VecDeque::new(),
                bulk: VecDeque::new(),
                groups_since: 0,
                weights: [0; 4],
                tenants: BTreeMap::new(),
                latest: TenantId(0),
                took_bulk: false,
                closing: false,
                dead: false,
                waiting: 0,
                woken: 0,
                delayed_since: None,
                delayed_until: None,
                looks_at: None,
                has_taken: false,
                enough: None,
            }),
            arrived: Condvar::new(),
            gathered: Condvar::new(),
        }
    }
}

impl<J: QueuedJob> JobQueue<J> {
    /// Takes a job, or answers `Busy`. A job is never refused, however heavy, if its class is empty
    /// or its tenants have nothing else waiting, as long as there is any room.
    pub(crate) fn put(&self, job: J) -> Result<(), StoreError> {
        self.put_or_return(job).map_err(|(_, refused)| refused)
    }

    /// The same, and hands back a job that is refused.
    pub(crate) fn put_or_return(&self, job: J) -> Result<(), (J, StoreError)> {
        let mut inner = lock(&self.inner);
        if inner.dead {
            return Err((job, StoreError::Ended));
        }
        if inner.closing {
            return Err((job, broken("the store is closed")));
        }
        let (class, weight) = (job.class(), job.weight());
        let QueueInner {
            weights, tenants, ..
        } = &mut *inner;
        let Some(sum) = weights.get_mut(class as usize) else {
            return Err((job, broken("a class of jobs without a queue")));
        };
        let left = limits::WRITER_QUEUE_MAX.saturating_sub(*sum);
        let waiting = |tenant| tenants.get(tenant).copied().unwrap_or(0);
        let mut shares = job.shares().iter();
        let is_first = !job.shares().is_empty() && shares.all(|(tenant, _)| waiting(tenant) == 0);
        let mut shares = job.shares().iter();
        let fits = match is_first {
            true => left > 0,
            false => {
                let most = left * TIMES_WHAT_IS_LEFT;
                weight <= left && shares.all(|(tenant, own)| waiting(tenant) + own <= most)
            }
        };
        if *sum > 0 && !fits {
            return Err((job, StoreError::Busy));
        }
        *sum += weight;
        for (tenant, own) in job.shares() {
            *tenants.entry(*tenant).or_default() += own;
        }
        let matters = match (class, job.commit_delay()) {
            (JobClass::Bulk, _) => {
                inner.bulk.push_back(job);
                true
            }
            (JobClass::Intake | JobClass::Outcome | JobClass::Work, Some(commit_delay)) => {
                inner.put_delayed(job, commit_delay)
            }
            (JobClass::Intake | JobClass::Outcome | JobClass::Work, None) => {
                inner.jobs.push_back(job);
                true
            }
        };
        if inner
            .enough
            .is_some_and(|enough| inner.jobs.len() >= enough)
        {
            inner.enough = None;
            self.gathered.notify_one();
        }
        // A thread that is working, or on its way, finds the job by itself: waking it would cost a
        // system call.
        match class {
            JobClass::Intake | JobClass::Outcome | JobClass::Work => {
                if matters && inner.waiting > inner.woken {
                    inner.woken += 1;
                    drop(inner);
                    self.arrived.notify_one();
                }
            }
            // Not every thread takes it, so all are woken.
            JobClass::Bulk => self.wake_all(inner),
        }
        Ok(())
    }

    /// All jobs that have arrived, or one of bulk work, or the turn of what is done between groups
    /// if that `waits`. Delayed jobs only once their time has come.
    pub(crate) fn take_group(&self, waits: bool) -> NextWork<J> {
        let mut inner = lock(&self.inner);
        let mut waited = false;
        loop {
            // Bulk work that would be next lets them go first.
            let flush = inner.jobs.is_empty() && !inner.bulk.is_empty();
            let joins = !inner.jobs.is_empty();
            inner.release_delayed(flush, joins);
            let bulk_is_next = inner.jobs.is_empty() || inner.groups_since >= GROUPS_BEFORE_BULK;
            let turns = waits && !inner.closing;
            if bulk_is_next && turns && (inner.took_bulk || inner.bulk.is_empty()) {
                inner.groups_since = 0;
                inner.took_bulk = false;
                return NextWork::BetweenGroups;
            }
            if bulk_is_next && let Some(job) = inner.bulk.pop_front() {
                inner.groups_since = 0;
                inner.took_bulk = true;
                inner.has_taken = true;
                inner.lighten(&job);
                return NextWork::Group(vec![job]);
            }
            if !inner.jobs.is_empty() {
                inner.groups_since += u32::from(turns || !inner.bulk.is_empty());
                inner.has_taken = true;
                return NextWork::Group(inner.take_jobs());
            }
            if inner.closing {
                return NextWork::Closed;
            }
            if waited {
                return NextWork::Nothing;
            }
            let delayed = inner.delayed_until;
            // After a write outcomes follow: a thread that looks again soon need not be woken for
            // them.
            let idle = match std::mem::take(&mut inner.has_taken) {
                true => COMMIT_DELAY_MAX,
                false => LOOK_EVERY,
            };
            let limit = delayed.map_or(idle, |at| at.saturating_duration_since(Instant::now()));
            let timed_out;
            (inner, timed_out) = self.wait(inner, Some(limit));
            waited = delayed.is_none() && inner.delayed.is_empty() && timed_out;
        }
    }

    /// Waits until so many more jobs have come than there are, but not for longer than `limit`, and
    /// neither for a group that is full nor for a queue that closes. Only for the one thread that
    /// takes groups.
    pub(crate) fn gather(&self, more: usize, limit: Duration) {
        let mut inner = lock(&self.inner);
        let until = Instant::now() + limit;
        inner.enough = Some(inner.jobs.len() + more);
        while inner.enough.is_some() && !inner.closing {
            let weight: usize = inner.weights.iter().sum();
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || weight >= GROUP_WEIGHT_MAX {
                break;
            }
            let waited = self.gathered.wait_timeout(inner, left);
            (inner, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
        inner.enough = None;
    }

    /// Jobs that have come for an open group, as soon as there are any; `None` once `wait` says no.
    /// Bulk work stays, and so do delayed jobs whose time has not come.
    pub(crate) fn take_more(&self, wait: impl Fn() -> GroupWait) -> Option<Vec<J>> {
        let mut inner = lock(&self.inner);
        loop {
            inner.release_delayed(false, true);
            if !inner.jobs.is_empty() {
                return Some(inner.take_jobs());
            }
            let limit = match wait() {
                GroupWait::No => return None,
                GroupWait::Until(at) => at.saturating_duration_since(Instant::now()),
                GroupWait::UntilNudged => LOOK_EVERY,
            };
            (inner, _) = self.wait(inner, Some(limit));
        }
    }

    /// More work waits behind the delayed jobs: they are released after `COMMIT_DELAY`.
    pub(crate) fn flush(&self) {
        let mut inner = lock(&self.inner);
        let Some((since, until)) = inner.delayed_since.zip(inner.delayed_until) else {
            return;
        };
        let sooner = until.min(since + COMMIT_DELAY);
        inner.delayed_until = Some(sooner);
        if inner.looks_too_late_for(sooner) && inner.waiting > inner.woken {
            inner.woken += 1;
            drop(inner);
            self.arrived.notify_one();
        }
    }

    /// Makes whoever waits in `take_more` look again.
    pub(crate) fn nudge(&self) {
        let inner = lock(&self.inner);
        if inner.waiting > inner.woken {
            self.wake_all(inner);
        }
    }

    fn wake_all(&self, mut inner: MutexGuard<'_, QueueInner<J>>) {
        inner.woken = inner.waiting;
        drop(inner);
        self.arrived.notify_all();
    }

    /// Waits to be woken. Answers whether the time ran out.
    fn wait<'a>(
        &self,
        mut inner: MutexGuard<'a, QueueInner<J>>,
        limit: Option<Duration>,
    ) -> (MutexGuard<'a, QueueInner<J>>, bool) {
        inner.waiting += 1;
        inner.looks_at = limit.map(|limit| Instant::now() + limit);
        let (mut inner, timed_out) = match limit {
            Some(limit) => {
                let woken = self.arrived.wait_timeout(inner, limit);
                let (inner, timeout) = woken.unwrap_or_else(PoisonError::into_inner);
                (inner, timeout.timed_out())
            }
            None => (wait(&self.arrived, inner), false),
        };
        inner.waiting -= 1;
        // A thread whose time ran out may count for another that is on its way. That one is then
        // woken twice.
        inner.woken = inner.woken.saturating_sub(1);
        (inner, timed_out)
    }

    /// The next job; `None` once the queue is closed and empty. Bulk work comes last, and only with
    /// `bulk_too`.
    pub(crate) fn take_one(&self, bulk_too: bool) -> Option<J> {
        let mut inner = lock(&self.inner);
        loop {
            let mut next = inner.jobs.pop_front();
            if next.is_none() && bulk_too {
                next = inner.bulk.pop_front();
            }
            if let Some(job) = next {
                inner.lighten(&job);
                return Some(job);
            }
            if inner.closing {
                return None;
            }
            (inner, _) = self.wait(inner, None);
        }
    }

    pub(crate) fn lives(&self) -> bool {
        !lock(&self.inner).dead
    }

    /// Takes nothing more. What was taken is still done.
    pub(crate) fn close(&self) {
        lock(&self.inner).closing = true;
        self.arrived.notify_all();
        self.gathered.notify_all();
    }

    /// How many jobs wait.
    pub(crate) fn len(&self) -> usize {
        let inner = lock(&self.inner);
        inner.jobs.len() + inner.delayed.len() + inner.bulk.len()
    }

    /// Drops everything: callers learn that the store has ended.
    pub(crate) fn die(&self) {
        let mut inner = lock(&self.inner);
        inner.dead = true;
        inner.closing = true;
        inner.jobs.clear();
        inner.delayed.clear();
        inner.bulk.clear();
        drop(inner);
        self.arrived.notify_all();
        self.gathered.notify_all();
    }
}

impl<J: QueuedJob> QueueInner<J> {
    /// Takes a delayed job. Answers whether the thread that waits would look again too late.
    fn put_delayed(&mut self, job: J, commit_delay: Duration) -> bool {
        let now = Instant::now();
        let until = now + commit_delay;
        self.delayed.push_back(job);
        self.delayed_since.get_or_insert(now);
        let until = self.delayed_until.map_or(until, |before| before.min(until));
        self.delayed_until = Some(until);
        self.looks_too_late_for(until) || self.is_delayed_full()
    }

    /// Whether the waiting thread would look by itself only after `at`.
    fn looks_too_late_for(&self, at: Instant) -> bool {
        self.looks_at.is_none_or(|looks_at| looks_at > at)
    }

    /// Whether so many delayed jobs are there that waiting for more gains nothing.
    fn is_delayed_full(&self) -> bool {
        let weights = self.delayed.iter().map(J::weight);
        weights.sum::<usize>() >= DELAYED_WEIGHT_MAX
    }

    /// Moves delayed jobs behind the others once their time has come, which is sooner if they can
    /// join a commit that is made anyway.
    fn release_delayed(&mut self, flush: bool, joins: bool) {
        let Some((since, until)) = self.delayed_since.zip(self.delayed_until) else {
            return;
        };
        let now = Instant::now();
        let is_time = now >= until || (joins && now >= since + COMMIT_DELAY);
        if flush || self.closing || is_time || self.is_delayed_full() {
            self.delayed_since = None;
            self.delayed_until = None;
            let delayed = std::mem::take(&mut self.delayed);
            self.jobs.extend(delayed);
        }
    }

    /// All jobs, if they fit into a group.
    fn take_jobs(&mut self) -> Vec<J> {
        let weight: usize = self.jobs.iter().map(J::weight).sum();
        let jobs = match weight <= GROUP_WEIGHT_MAX {
            true => std::mem::take(&mut self.jobs),
            false => self.take_turns(),
        };
        jobs.iter().for_each(|job| self.lighten(job));
        jobs.into()
    }

    /// Part of the jobs: all that belong to no tenant, and an equal share of each tenant's, at
    /// least one, beginning behind the tenant that had the last turn. Each tenant's jobs stay in
    /// order. A job of several tenants counts for the first.
    fn take_turns(&mut self) -> VecDeque<J> {
        let mut of: BTreeMap<TenantId, VecDeque<usize>> = BTreeMap::new();
        let mut taken = vec![false; self.jobs.len()];
        for (at, (job, taken)) in self.jobs.iter().zip(&mut taken).enumerate() {
            match job.shares().first() {
                Some((tenant, _)) => of.entry(*tenant).or_default().push_back(at),
                None => *taken = true,
            }
        }
        let share = GROUP_WEIGHT_MAX / of.len().max(1);
        let later = of.split_off(&TenantId(self.latest.0.saturating_add(1)));
        let mut sum = 0;
        for (tenant, places) in later.into_iter().chain(of) {
            if sum >= GROUP_WEIGHT_MAX {
                break;
            }
            self.latest = tenant;
            let mut own = 0;
            for at in places {
                let weight = self.jobs.get(at).map_or(0, J::weight);
                if own > 0 && own + weight > share {
                    break;
                }
                own += weight;
                if let Some(taken) = taken.get_mut(at) {
                    *taken = true;
                }
            }
            sum += own;
        }
        let (mut out, mut rest) = (VecDeque::new(), VecDeque::new());
        for (job, taken) in std::mem::take(&mut self.jobs).into_iter().zip(taken) {
            if taken { &mut out } else { &mut rest }.push_back(job);
        }
        self.jobs = rest;
        out
    }

    fn lighten(&mut self, job: &J) {
        for (tenant, share) in job.shares() {
            if let Some(own) = self.tenants.get_mut(tenant) {
                *own = own.saturating_sub(*share);
                if *own == 0 && self.tenants.len() > TENANTS_KEPT {
                    self.tenants.remove(tenant);
                }
            }
        }
        if let Some(sum) = self.weights.get_mut(job.class() as usize) {
            *sum = sum.saturating_sub(job.weight());
        }
    }
}

pub(crate) trait QueuedJob {
    /// Each tenant's part of its weight, where tenants share the queue: each tenant once.
    fn shares(&self) -> &[(TenantId, usize)];
    fn class(&self) -> JobClass;
    fn weight(&self) -> usize;
    /// How long it may be held back to join a commit, if nobody waits for it.
    fn commit_delay(&self) -> Option<Duration>;
}

#[cfg(test)]
mod tests;
