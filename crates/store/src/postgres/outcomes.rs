//! The thread that writes outcomes of attempts: all that have arrived as one transaction.
//!
//! If a transaction is refused its jobs are run again, each by itself, so that a bad one costs only
//! itself.

use model::contract::StoreError;
use model::lease::Epoch;

use crate::postgres::job_answer::{may_try_again, store_error};
use crate::postgres::jobs::{Guard, OutcomeJob};
use crate::postgres::queues::{Queues, next_group};
use crate::postgres::settle;
use crate::postgres::worker::Worker;
use crate::sql::job_error::JobError;

pub(crate) struct OutcomeLoop {
    worker: Worker,
}

impl OutcomeLoop {
    pub(crate) fn new(worker: Worker) -> Self {
        Self { worker }
    }

    pub(crate) fn run(mut self, handles: &Queues) {
        while let Some(jobs) = next_group(handles.outcomes.take_group(false)) {
            let mut jobs: Vec<OutcomeJob> = jobs.into_iter().map(|queued| queued.job).collect();
            // A process has one lease at a time, so there is hardly ever more than one epoch.
            while let Some(first) = jobs.first() {
                let epoch = first.epoch;
                let (group, rest) = jobs.into_iter().partition(|job| job.epoch == epoch);
                jobs = rest;
                self.write_group(epoch, group);
            }
        }
    }

    fn write_group(&mut self, epoch: Epoch, group: Vec<OutcomeJob>) {
        let mut done = self.write(epoch, &group);
        if done.as_ref().is_err_and(may_try_again) {
            done = self.write(epoch, &group);
        }
        match done {
            Err(JobError::Postgres(_) | JobError::Store(StoreError::Broken(_)))
                if group.len() > 1 =>
            {
                for job in group {
                    self.write_group(epoch, vec![job]);
                }
            }
            done => {
                let answer = done.map_err(store_error);
                for job in group {
                    // The caller may have gone, which changes nothing.
                    drop(job.reply.send(answer.clone()));
                }
            }
        }
    }

    fn write(&mut self, epoch: Epoch, group: &[OutcomeJob]) -> Result<(), JobError> {
        let guard = Guard::Lease(epoch);
        let batches: Vec<&[_]> = group.iter().map(|job| &job.batch[..]).collect();
        self.worker.write(guard, group.len(), |tx| {
            settle::settle(tx, &batches.concat())
        })
    }
}
