//! The queues in front of the executor's threads, closed together.

use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use crate::postgres::held_tenants::HeldTenants;
use crate::postgres::jobs::{IntakeJob, OutcomeJob, Queued, ReadJob, WriteJob};
use crate::postgres::shared::Shared;
use crate::postgres::watch_state::WatchState;
use crate::sql::queue::{JobQueue, NextWork};

/// The queues, closed together.
pub(crate) struct Queues {
    pub(crate) intake: JobQueue<Queued<IntakeJob>>,
    pub(crate) contested: JobQueue<Queued<IntakeJob>>,
    /// Tenants of jobs that are in `contested` or being accepted from there.
    pub(crate) held_tenants: Mutex<HeldTenants>,
    pub(crate) outcomes: JobQueue<Queued<OutcomeJob>>,
    pub(crate) writing: JobQueue<Queued<WriteJob>>,
    pub(crate) reading: JobQueue<Queued<ReadJob>>,
    pub(crate) leasing: JobQueue<Queued<WriteJob>>,
    pub(crate) watch: WatchState,
    pub(crate) shared: Arc<Shared>,
    pub(crate) died: watch::Sender<bool>,
}

impl Queues {
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        Self {
            intake: JobQueue::default(),
            contested: JobQueue::default(),
            held_tenants: Mutex::default(),
            outcomes: JobQueue::default(),
            writing: JobQueue::default(),
            reading: JobQueue::default(),
            leasing: JobQueue::default(),
            watch: WatchState::default(),
            shared: Arc::clone(shared),
            died: watch::Sender::new(false),
        }
    }

    pub(crate) fn close(&self) {
        self.intake.close();
        self.outcomes.close();
        self.writing.close();
        self.reading.close();
        self.leasing.close();
        self.watch.close();
        self.shared.fan_out.close();
    }

    /// How many jobs wait.
    pub(crate) fn left(&self) -> usize {
        self.intake.len()
            + self.contested.len()
            + self.outcomes.len()
            + self.writing.len()
            + self.reading.len()
            + self.leasing.len()
    }

    pub(crate) fn die(&self) {
        self.intake.die();
        self.contested.die();
        self.outcomes.die();
        self.writing.die();
        self.reading.die();
        self.leasing.die();
        self.watch.close();
        self.shared.fan_out.close();
        self.died.send_replace(true);
    }
}

/// If the thread that holds this panics, everybody who waits for any thread is released.
pub(crate) struct PanicGuard<'a>(pub(crate) &'a Queues);

impl Drop for PanicGuard<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!("a thread of the store has panicked: the store ends");
            self.0.die();
        }
    }
}

/// The jobs of a group, if it has some; `None` once the queue is closed.
pub(crate) fn next_group<J>(work: NextWork<J>) -> Option<Vec<J>> {
    match work {
        NextWork::Group(jobs) => Some(jobs),
        NextWork::BetweenGroups | NextWork::Nothing => Some(Vec::new()),
        NextWork::Closed => None,
    }
}
