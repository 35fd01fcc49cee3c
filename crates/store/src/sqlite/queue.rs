//! The queues in front of the desk's threads: bounded, in order, sweeps behind the rest.
//!
//! What does not fit is `Busy` at once. Once closed, a queue takes nothing more and gives out what
//! it has; once dead, it lets go of everything.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::contract::StoreError;
use model::limits;

use crate::sqlite::fault::broken;

/// How often an idle writer looks whether another process has changed something.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A sweep waits for as many groups at most, however busy the house is.
const GROUPS_BEFORE_SWEEP: u32 = 4;

/// What waits for a thread.
pub(crate) struct Queue<J> {
    inner: Mutex<Inner<J>>,
    arrived: Condvar,
}

/// What a job is to the queue: each class has a bound of its own, so that a flood of one cannot
/// shut out the others.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Class {
    /// New notifications.
    Intake,
    /// Everything else that somebody waits for.
    Work,
    /// What takes long: removing and cancelling, lists that are filtered.
    Sweep,
}

struct Inner<J> {
    jobs: VecDeque<J>,
    sweeps: VecDeque<J>,
    /// Groups taken since a sweep waits.
    groups_since: u32,
    /// By class.
    weights: [usize; 3],
    closing: bool,
    dead: bool,
}

pub(crate) enum Taken<J> {
    Group(Vec<J>),
    Nothing,
    Closed,
}

impl<J> Default for Queue<J> {
    fn default() -> Self {
        Self {
            inner: Mutex::new(Inner {
                jobs: VecDeque::new(),
                sweeps: VecDeque::new(),
                groups_since: 0,
                weights: [0; 3],
                closing: false,
                dead: false,
            }),
            arrived: Condvar::new(),
        }
    }
}

impl<J: Weighed> Queue<J> {
    /// Nothing is refused that finds its class empty, however heavy it is.
    pub(crate) fn put(&self, job: J) -> Result<(), StoreError> {
        let mut inner = lock(&self.inner);
        if inner.dead {
            return Err(broken("a thread of the store has ended"));
        }
        if inner.closing {
            return Err(broken("the store is closed"));
        }
        let (class, weight) = (job.class(), job.weight());
        let Some(sum) = inner.weights.get_mut(class as usize) else {
            return Err(broken("a class of jobs without a queue"));
        };
        if *sum > 0 && *sum + weight > limits::WRITER_QUEUE_MAX {
            return Err(StoreError::Busy);
        }
        *sum += weight;
        match class {
            Class::Intake | Class::Work => inner.jobs.push_back(job),
            Class::Sweep => inner.sweeps.push_back(job),
        }
        drop(inner);
        match class {
            Class::Intake | Class::Work => self.arrived.notify_one(),
            // Not every thread takes it.
            Class::Sweep => self.arrived.notify_all(),
        }
        Ok(())
    }

    /// All jobs that have arrived, or one sweep.
    pub(crate) fn take_group(&self) -> Taken<J> {
        let mut inner = lock(&self.inner);
        let mut waited = false;
        loop {
            let sweep_is_next = inner.jobs.is_empty() || inner.groups_since >= GROUPS_BEFORE_SWEEP;
            if sweep_is_next && let Some(job) = inner.sweeps.pop_front() {
                inner.groups_since = 0;
                inner.lighten(&job);
                return Taken::Group(vec![job]);
            }
            if !inner.jobs.is_empty() {
                inner.groups_since += u32::from(!inner.sweeps.is_empty());
                let jobs = std::mem::take(&mut inner.jobs);
                jobs.iter().for_each(|job| inner.lighten(job));
                return Taken::Group(jobs.into());
            }
            if inner.closing {
                return Taken::Closed;
            }
            if waited {
                return Taken::Nothing;
            }
            let woken = self.arrived.wait_timeout(inner, LOOK_EVERY);
            let (guard, timeout) = woken.unwrap_or_else(PoisonError::into_inner);
            inner = guard;
            waited = timeout.timed_out();
        }
    }

    /// The next job; none once the queue is closed and empty. Sweeps come last, and only to who
    /// takes them.
    pub(crate) fn take_one(&self, sweeps_too: bool) -> Option<J> {
        let mut inner = lock(&self.inner);
        loop {
            let mut next = inner.jobs.pop_front();
            if next.is_none() && sweeps_too {
                next = inner.sweeps.pop_front();
            }
            if let Some(job) = next {
                inner.lighten(&job);
                return Some(job);
            }
            if inner.closing {
                return None;
            }
            let woken = self.arrived.wait(inner);
            inner = woken.unwrap_or_else(PoisonError::into_inner);
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
        inner.sweeps.clear();
        drop(inner);
        self.arrived.notify_all();
    }
}

impl<J: Weighed> Inner<J> {
    fn lighten(&mut self, job: &J) {
        if let Some(sum) = self.weights.get_mut(job.class() as usize) {
            *sum = sum.saturating_sub(job.weight());
        }
    }
}

pub(crate) trait Weighed {
    fn class(&self) -> Class;
    fn weight(&self) -> usize;
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A thread that panics while holding it ends the desk by its last will.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
