//! The threads that accept notifications.
//!
//! The first takes all that have arrived as one transaction, and waits for no tenant. What it
//! cannot accept at once, because another node accepts for the same tenant, is left to the second,
//! which waits: so a tenant that is held for long delays no other.

use model::contract::StoreError;

use crate::postgres::accept::{Acceptance, Locking};
use crate::postgres::job_answer::{may_try_again, store_error};
use crate::postgres::jobs::{IntakeJob, Queued};
use crate::postgres::queues::{Queues, next_group};
use crate::postgres::worker::Worker;
use crate::sql::executor::shares;
use crate::sql::job_error::JobError;
use crate::sql::queue::JobClass;

/// Accepts what has arrived.
pub(crate) fn run(mut worker: Worker, handles: &Queues) {
    while let Some(jobs) = next_group(handles.intake.take_group(false)) {
        let group: Vec<IntakeJob> = jobs.into_iter().map(|queued| queued.job).collect();
        if !group.is_empty() {
            accept(&mut worker, handles, group);
        }
    }
    handles.contested.close();
}

/// Accepts what has to wait for a tenant.
pub(crate) fn run_contested(mut worker: Worker, handles: &Queues) {
    while let Some(queued) = handles.contested.take_one(true) {
        let job = queued.job;
        let done = try_twice(&mut worker, &[&job.batch], Locking::All);
        let acceptance = done.map(|all| all.into_iter().next());
        let answer = match acceptance {
            Ok(Some(Acceptance::Done(results))) => Ok(results),
            Ok(Some(Acceptance::Refused(error))) => Err(error),
            Ok(Some(Acceptance::Later) | None) => Err(StoreError::Busy),
            Err(error) => Err(store_error(error)),
        };
        // The caller may have gone, which changes nothing.
        drop(job.reply.send(answer));
    }
}

fn accept(worker: &mut Worker, handles: &Queues, group: Vec<IntakeJob>) {
    let batches: Vec<&[_]> = group.iter().map(|job| &job.batch[..]).collect();
    let done = match batches.iter().all(|batch| batch.is_empty()) {
        true => probe(worker, batches.len()),
        false => try_twice(worker, &batches, Locking::Try),
    };
    drop(batches);
    match done {
        Ok(acceptances) => {
            for (job, acceptance) in group.into_iter().zip(acceptances) {
                match acceptance {
                    Acceptance::Done(results) => drop(job.reply.send(Ok(results))),
                    Acceptance::Refused(error) => drop(job.reply.send(Err(error))),
                    Acceptance::Later => wait(handles, job),
                }
            }
        }
        // One of them may be to blame: the others are not refused for it.
        Err(JobError::Postgres(_)) if group.len() > 1 && worker.is_connected() => {
            for job in group {
                accept(worker, handles, vec![job]);
            }
        }
        Err(error) => {
            let error = store_error(error);
            for job in group {
                drop(job.reply.send(Err(error.clone())));
            }
        }
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
    let queued = Queued {
        class: JobClass::Intake,
        shares,
        weight: weight.max(1),
        commit_delay: None,
        job,
    };
    if let Err((queued, error)) = handles.contested.put_or_return(queued) {
        drop(queued.job.reply.send(Err(error)));
    }
}
