//! The threads that accept notifications.
//!
//! The first takes all that have arrived as one transaction, and waits for no tenant. What it
//! cannot accept at once, because another node accepts for the same tenant, is left to the second,
//! which waits: so a tenant that is held for long delays no other. As long as something of a tenant
//! waits there, and for a moment after it had to be waited for, more of it is left there at once,
//! and is accepted together: two nodes with the same busy tenant take turns with all that has come
//! meanwhile.

use std::time::Duration;

use model::contract::StoreError;
use model::id::TenantId;
use tokio::time::Instant;

use crate::postgres::accept::{Acceptance, Locking};
use crate::postgres::job_answer::{may_try_again, store_error};
use crate::postgres::jobs::{IntakeJob, Queued};
use crate::postgres::queues::{Queues, next_group};
use crate::postgres::worker::Worker;
use crate::sql::executor::shares;
use crate::sql::job_error::JobError;
use crate::sql::queue::{GroupWait, JobClass, JobQueue};
use crate::sync::lock;

/// The group before. Those who were answered mostly come back at once, as those came whose turn is
/// next: a moment's wait has them share one commit, instead of taking turns with two of half the
/// size.
#[derive(Default)]
struct LatestGroup {
    count: usize,
    took: Duration,
}

impl LatestGroup {
    /// Of a smaller one it is not worth while.
    const COUNT_MIN: usize = 4;

    /// Beside a commit that takes long, such as on a slow disk.
    const WAIT_MAX: Duration = Duration::from_millis(1);

    /// Waits for as many as were answered, for half as long as that took.
    fn gather(&self, queue: &JobQueue<Queued<IntakeJob>>) {
        if self.count >= Self::COUNT_MIN {
            queue.gather(self.count, Self::WAIT_MAX.min(self.took / 2));
        }
    }
}

/// Accepts what has arrived.
pub(crate) fn run(mut worker: Worker, handles: &Queues) {
    let mut latest = LatestGroup::default();
    loop {
        latest.gather(&handles.intake);
        let Some(jobs) = next_group(handles.intake.take_group(false)) else {
            break;
        };
        let (began, count) = (Instant::now(), jobs.len());
        let group: Vec<IntakeJob> = jobs.into_iter().map(|queued| queued.job).collect();
        let (waiting, free): (Vec<_>, Vec<_>) = {
            let held = lock(&handles.held_tenants);
            let is_held = |job: &IntakeJob| job.tenants.iter().any(|one| held.has(*one, began));
            group.into_iter().partition(is_held)
        };
        for job in waiting {
            wait(handles, job);
        }
        if !free.is_empty() {
            accept(&mut worker, handles, free, GroupLocks::Try);
        }
        latest = LatestGroup {
            count,
            took: began.elapsed(),
        };
    }
    handles.contested.close();
}

/// Accepts what has to wait for a tenant: once it is free, all that has come for it meanwhile.
pub(crate) fn run_contested(mut worker: Worker, handles: &Queues) {
    while let Some(jobs) = next_group(handles.contested.take_group(false)) {
        let mut jobs: Vec<IntakeJob> = jobs.into_iter().map(|queued| queued.job).collect();
        while let Some(first) = jobs.first() {
            let tenants = first.tenants.clone();
            // Of several tenants each is locked when it comes to it, after the catalog.
            let waited = match tenants[..] {
                [tenant] => Some(wait_for(&mut worker, tenant)),
                _ => None,
            };
            let was_held = matches!(waited, Some(Ok(true)));
            // As long as others wait here already, no more leaves the queue and its bounds.
            if jobs.iter().all(|job| job.tenants == tenants) {
                let more = handles.contested.take_more(|| GroupWait::No);
                jobs.extend(more.into_iter().flatten().map(|queued| queued.job));
            }
            let (group, rest): (Vec<_>, Vec<_>) =
                jobs.into_iter().partition(|job| job.tenants == tenants);
            jobs = rest;
            let count = group.len();
            match waited {
                Some(Ok(_)) => accept(&mut worker, handles, group, GroupLocks::Held),
                Some(Err(error)) => refuse(group, error),
                None => accept(&mut worker, handles, group, GroupLocks::Wait),
            }
            release(handles, &tenants, count, was_held);
        }
    }
}

/// Begins a transaction that has the tenant to itself. Answers whether others had it.
fn wait_for(worker: &mut Worker, tenant: TenantId) -> Result<bool, JobError> {
    match worker.begin_with_tenant(tenant) {
        Err(error) if may_try_again(&error) => worker.begin_with_tenant(tenant),
        done => done,
    }
}

fn refuse(group: Vec<IntakeJob>, error: JobError) {
    let error = store_error(error);
    for job in group {
        // The caller may have gone, which changes nothing.
        drop(job.reply.send(Err(error.clone())));
    }
}

/// How a group comes to have its tenants to itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum GroupLocks {
    /// It leaves out what others hold.
    Try,
    /// It waits.
    Wait,
    /// The transaction has begun, and has its one tenant.
    Held,
}

fn accept(worker: &mut Worker, handles: &Queues, group: Vec<IntakeJob>, locks: GroupLocks) {
    let batches: Vec<&[_]> = group.iter().map(|job| &job.batch[..]).collect();
    let done = match locks {
        _ if batches.iter().all(|batch| batch.is_empty()) => probe(worker, batches.len()),
        GroupLocks::Try => try_twice(worker, &batches, Locking::Try),
        GroupLocks::Wait => try_twice(worker, &batches, Locking::All),
        GroupLocks::Held => match worker.accept_begun(&batches) {
            Err(error) if may_try_again(&error) => worker.accept(&batches, Locking::All),
            done => done,
        },
    };
    drop(batches);
    match done {
        Ok(acceptances) => {
            for (job, acceptance) in group.into_iter().zip(acceptances) {
                match acceptance {
                    Acceptance::Done(results) => drop(job.reply.send(Ok(results))),
                    Acceptance::Refused(error) => drop(job.reply.send(Err(error))),
                    Acceptance::Later => match locks {
                        GroupLocks::Try => wait(handles, job),
                        // The turn to change the catalog is missing, too.
                        GroupLocks::Held => accept(worker, handles, vec![job], GroupLocks::Wait),
                        GroupLocks::Wait => drop(job.reply.send(Err(StoreError::Busy))),
                    },
                }
            }
        }
        // One of them may be to blame: the others are not refused for it.
        Err(JobError::Postgres(_))
            if (group.len() > 1 || locks == GroupLocks::Held) && worker.is_connected() =>
        {
            let locks = match locks {
                GroupLocks::Try => GroupLocks::Try,
                GroupLocks::Wait | GroupLocks::Held => GroupLocks::Wait,
            };
            for job in group {
                accept(worker, handles, vec![job], locks);
            }
        }
        Err(error) => refuse(group, error),
    }
}

/// Whoever hands in nothing asks whether something could be accepted.
fn probe(worker: &mut Worker, count: usize) -> Result<Vec<Acceptance>, JobError> {
    worker.probe()?;
    let nothing = || Acceptance::Done(Vec::new());
    Ok(std::iter::repeat_with(nothing).take(count).collect())
}

fn try_twice(
    worker: &mut Worker,
    batches: &[&[model::notification::NewNotification]],
    locking: Locking,
) -> Result<Vec<Acceptance>, JobError> {
    match worker.accept(batches, locking) {
        Err(error) if may_try_again(&error) => worker.accept(batches, locking),
        done => done,
    }
}

/// Leaves a batch to the thread that waits. If too much waits there, its caller is told `Busy` by
/// the end of its reply.
fn wait(handles: &Queues, job: IntakeJob) {
    let shares = shares(&job.batch);
    let weight = shares.iter().map(|(_, own)| own).sum::<usize>();
    let tenants = job.tenants.clone();
    let queued = Queued {
        class: JobClass::Intake,
        shares,
        weight: weight.max(1),
        commit_delay: None,
        job,
    };
    let mut held = lock(&handles.held_tenants);
    held.wait(&tenants);
    drop(held);
    if let Err((queued, error)) = handles.contested.put_or_return(queued) {
        release(handles, &tenants, 1, true);
        drop(queued.job.reply.send(Err(error)));
    }
}

/// So many jobs of these tenants wait no longer.
fn release(handles: &Queues, tenants: &[TenantId], count: usize, waited: bool) {
    let mut held = lock(&handles.held_tenants);
    held.release(tenants, count, waited, Instant::now());
}
