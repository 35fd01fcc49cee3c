//! The queues in front of the executor's threads: bounded, in order, sweeps behind the rest. What a
//! tenant hands in finds as much room as it leaves to others, and when more has come than a group
//! takes, tenants take turns.
//!
//! What does not fit is `Busy` at once. Once closed, a queue takes nothing more and gives out what
//! it has; once dead, it lets go of everything.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::contract::StoreError;
use model::id::TenantId;
use model::limits;
use tokio::time::Instant;

use crate::sqlite::job_error::broken;
use crate::sync::{lock, wait};

/// How often an idle writer looks whether another process has changed something.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A sweep waits for as many groups at most, however busy the house is.
const GROUPS_BEFORE_BULK: u32 = 4;

/// A commit costs nearly the same for one job as for many. What nobody waits for lets so much time
/// pass before it joins one that is made anyway, so that most commits of a busy house have nothing
/// of it.
pub(crate) const COMMIT_DELAY: Duration = Duration::from_millis(5);

/// How long a job of little consequence waits for a commit that is made anyway.
pub(crate) const COMMIT_DELAY_MAX: Duration = Duration::from_millis(limits::COMMIT_DELAY_MAX_MS);

/// A group takes so much at once, or one job: some dozen milliseconds, for which others wait.
const GROUP_WEIGHT_MAX: usize = 2_048;

/// Of so many tenants it is remembered that nothing waits, which spares making room each time.
const TENANTS_KEPT: usize = 64;

/// A tenant may have so many times as much waiting as there is room for others.
const TIMES_WHAT_IS_LEFT: usize = 3;

/// Patience ends when so much is there.
const DELAYED_WEIGHT_MAX: usize = limits::DELAYED_OUTCOMES_MAX;

/// What waits for a thread.
pub(crate) struct JobQueue<J> {
    inner: Mutex<QueueInner<J>>,
    arrived: Condvar,
}

/// What a job is to the queue: each class has a bound of its own, so that a flood of one cannot
/// shut out the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JobClass {
    /// New notifications.
    Intake,
    /// What became of attempts.
    Outcome,
    /// Everything else that somebody waits for.
    Work,
    /// What takes long: removing and cancelling, lists that are filtered.
    Bulk,
}

struct QueueInner<J> {
    jobs: VecDeque<J>,
    /// Jobs that nobody waits for.
    delayed: VecDeque<J>,
    bulk: VecDeque<J>,
    /// Groups taken since a sweep waits.
    groups_since: u32,
    /// By class.
    weights: [usize; 4],
    /// What each tenant has waiting.
    tenants: BTreeMap<TenantId, usize>,
    /// Whose turn it was when not all could be taken.
    latest: TenantId,
    /// The latest turn of what is no job was a sweep's.
    took_bulk: bool,
    closing: bool,
    dead: bool,
    /// Threads that wait for a job, and of these how many were woken and are on their way.
    waiting: usize,
    woken: usize,
    /// When the first of the patient jobs came, and when the patience of one of them is over.
    delayed_since: Option<Instant>,
    delayed_until: Option<Instant>,
    /// When the thread that waits for a job looks again by itself.
    looks_at: Option<Instant>,
    /// Something was taken since a thread last waited in vain.
    stirred: bool,
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
    /// What is to be done between groups has its turn.
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
                stirred: false,
            }),
            arrived: Condvar::new(),
        }
    }
}

impl<J: QueuedJob> JobQueue<J> {
    /// Nothing is refused that finds its class empty, or nothing else of its tenants, however heavy
    /// it is, as long as there is room at all.
    pub(crate) fn put(&self, job: J) -> Result<(), StoreError> {
        let mut inner = lock(&self.inner);
        if inner.dead {
            return Err(StoreError::Ended);
        }
        if inner.closing {
            return Err(broken("the store is closed"));
        }
        let (class, weight) = (job.class(), job.weight());
        let QueueInner {
            weights, tenants, ..
        } = &mut *inner;
        let Some(sum) = weights.get_mut(class as usize) else {
            return Err(broken("a class of jobs without a queue"));
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
            return Err(StoreError::Busy);
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
        // A thread that works finds it by itself, and so does one that is on its way: waking it
        // would cost a call to the system.
        match class {
            JobClass::Intake | JobClass::Outcome | JobClass::Work => {
                if matters && inner.waiting > inner.woken {
                    inner.woken += 1;
                    drop(inner);
                    self.arrived.notify_one();
                }
            }
            // Not every thread takes it.
            JobClass::Bulk => self.wake_all(inner),
        }
        Ok(())
    }

    /// All jobs that have arrived, or one sweep, or the turn of what `waits` between groups.
    /// Patient ones only when their time has come.
    pub(crate) fn take_group(&self, waits: bool) -> NextWork<J> {
        let mut inner = lock(&self.inner);
        let mut waited = false;
        loop {
            // A sweep that would be next has them go before.
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
                inner.stirred = true;
                inner.lighten(&job);
                return NextWork::Group(vec![job]);
            }
            if !inner.jobs.is_empty() {
                inner.groups_since += u32::from(turns || !inner.bulk.is_empty());
                inner.stirred = true;
                return NextWork::Group(inner.take_jobs());
            }
            if inner.closing {
                return NextWork::Closed;
            }
            if waited {
                return NextWork::Nothing;
            }
            let delayed = inner.delayed_until;
            // Where something was written outcomes come next: who looks soon anyway need not be
            // woken for them.
            let idle = match std::mem::take(&mut inner.stirred) {
                true => COMMIT_DELAY_MAX,
                false => LOOK_EVERY,
            };
            let limit = delayed.map_or(idle, |at| at.saturating_duration_since(Instant::now()));
            let timed_out;
            (inner, timed_out) = self.wait(inner, Some(limit));
            waited = delayed.is_none() && inner.delayed.is_empty() && timed_out;
        }
    }

    /// What has come for a group that is open, as soon as there is something; nothing once `waits`
    /// says no. Sweeps stay, and so do patient jobs whose time has not come.
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

    /// More waits behind what is patient: it is patient only as long as in a busy house.
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

    /// Has whoever waits in `take_more` look again.
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

    /// Waits to be woken; says whether that took as long as it may.
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
        // One whose time was up may count for another that is on its way: then that is woken twice.
        inner.woken = inner.woken.saturating_sub(1);
        (inner, timed_out)
    }

    /// The next job; none once the queue is closed and empty. Sweeps come last, and only to who
    /// takes them.
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

    /// Takes nothing more; what was taken is still done.
    pub(crate) fn close(&self) {
        lock(&self.inner).closing = true;
        self.arrived.notify_all();
    }

    /// Lets go of everything: whoever waits is told that the store is broken.
    pub(crate) fn die(&self) {
        let mut inner = lock(&self.inner);
        inner.dead = true;
        inner.closing = true;
        inner.jobs.clear();
        inner.delayed.clear();
        inner.bulk.clear();
        drop(inner);
        self.arrived.notify_all();
    }
}

impl<J: QueuedJob> QueueInner<J> {
    /// Takes a job that waits for company; says whether whoever waits for jobs would look too late.
    fn put_delayed(&mut self, job: J, commit_delay: Duration) -> bool {
        let now = Instant::now();
        let until = now + commit_delay;
        self.delayed.push_back(job);
        self.delayed_since.get_or_insert(now);
        let until = self.delayed_until.map_or(until, |before| before.min(until));
        self.delayed_until = Some(until);
        self.looks_too_late_for(until) || self.is_delayed_full()
    }

    /// Whether a thread that waits for a job would look by itself only after that moment.
    fn looks_too_late_for(&self, at: Instant) -> bool {
        self.looks_at.is_none_or(|looks_at| looks_at > at)
    }

    /// Whether so many patient jobs are there that none needs to wait for more.
    fn is_delayed_full(&self) -> bool {
        let weights = self.delayed.iter().map(J::weight);
        weights.sum::<usize>() >= DELAYED_WEIGHT_MAX
    }

    /// Puts patient jobs behind the others once their time has come, which is sooner if they can
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

    /// All jobs, if they are not too many for a group.
    fn take_jobs(&mut self) -> Vec<J> {
        let weight: usize = self.jobs.iter().map(J::weight).sum();
        let jobs = match weight <= GROUP_WEIGHT_MAX {
            true => std::mem::take(&mut self.jobs),
            false => self.take_turns(),
        };
        jobs.iter().for_each(|job| self.lighten(job));
        jobs.into()
    }

    /// A part of the jobs: an equal share of each tenant's, but one at least, from the one on whose
    /// turn it is; and all that is nobody's. Each tenant's in order. What is of several tenants has
    /// the turn of the first, and is its part.
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
    /// What of its weight is whose, where tenants share: each tenant once.
    fn shares(&self) -> &[(TenantId, usize)];
    fn class(&self) -> JobClass;
    fn weight(&self) -> usize;
    /// How long it waits for a commit that is made anyway, if nobody waits for it.
    fn commit_delay(&self) -> Option<Duration>;
}

#[cfg(test)]
mod tests;
