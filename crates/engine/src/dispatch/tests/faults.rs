//! Faults: the store, with what can go wrong between it and the engine. What it keeps is real.
//!
//! Every operation is done when it is asked for, in that order, as the store's own writer does
//! it; it may be refused, its answer may be lost after it was done, or come late.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use model::contract::{
    CommitSubscriber, DiskFault, DueQuery, PendingWebhook, Settlement, Store, StoreError,
    StoreFuture,
};
use model::delivery::{DeliveryState, DueDelivery};
use model::id::{DeliveryId, WebhookId};
use model::rng::SeededRng;
use model::wrapper::{StoreCall, StoreWrapper};
use tokio::sync::Notify;

pub(super) struct Faults {
    inner: Arc<dyn Store>,
    relay: Arc<Relay>,
    pub(super) plan: Mutex<Plan>,
    due_asked: Mutex<Vec<usize>>,
    settled: Mutex<Vec<usize>>,
    tallied: Mutex<usize>,
    hurried: Arc<Notify>,
}

/// What goes wrong.
#[derive(Default)]
pub(super) struct Plan {
    /// Settlements are refused so.
    pub(super) settle: Option<StoreError>,
    /// Looking for what is owed is refused so.
    pub(super) scan: Option<StoreError>,
    /// Steps of bulk jobs are refused so.
    pub(super) bulk_job: Option<StoreError>,
    /// Settlements are written, but so answered.
    pub(super) settle_lost: Option<StoreError>,
    /// Tallies are refused so.
    pub(super) tallies: Option<StoreError>,
    /// Tallies are written, but so answered.
    pub(super) tallies_lost: Option<StoreError>,
    /// Settlements with this delivery are refused as broken.
    pub(super) settle_chokes_on: Option<DeliveryId>,
    /// Reading what is due comes upon what the disk cannot read if this webhook is asked for.
    pub(super) due_chokes_on: Option<WebhookId>,
    /// Mere successes wait for company that never comes, until the store is hurried.
    pub(super) patient: bool,
    /// Answers to the engine come late and are refused or lost now and then.
    pub(super) chaos: Option<SeededRng>,
}

/// The one listener the store has; passes on to the engine that runs.
#[derive(Default)]
struct Relay {
    to: Mutex<Option<Arc<dyn CommitSubscriber>>>,
    /// News are not passed on.
    deaf: Mutex<bool>,
}

impl Faults {
    pub(super) fn around(inner: Arc<dyn Store>) -> Self {
        let relay = Arc::new(Relay::default());
        inner.subscribe(Arc::clone(&relay) as Arc<dyn CommitSubscriber>);
        Self {
            inner,
            relay,
            plan: Mutex::default(),
            due_asked: Mutex::default(),
            settled: Mutex::default(),
            tallied: Mutex::default(),
            hurried: Arc::default(),
        }
    }

    pub(super) fn plan(&self, change: impl FnOnce(&mut Plan)) {
        change(&mut self.plan.lock().unwrap());
    }

    /// News of the store are kept from the engine.
    pub(super) fn set_deaf(&self, deaf: bool) {
        *self.relay.deaf.lock().unwrap() = deaf;
    }

    /// As if another process had committed something.
    pub(super) fn change_elsewhere(&self) {
        let to = self.relay.to.lock().unwrap().clone();
        to.unwrap().on_external_change();
    }

    /// How many rows each read asked for.
    pub(super) fn due_asked(&self) -> Vec<usize> {
        self.due_asked.lock().unwrap().clone()
    }

    /// How many outcomes each batch brought.
    pub(super) fn settled(&self) -> Vec<usize> {
        self.settled.lock().unwrap().clone()
    }

    /// How often tallies were to be written.
    pub(super) fn tallied(&self) -> usize {
        *self.tallied.lock().unwrap()
    }

    /// The answer, or what chaos makes of it. `refused` is asked before the work is done.
    fn disturbed<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> StoreFuture<T> + Send + 'static,
    ) -> StoreFuture<T> {
        let mut plan = self.plan.lock().unwrap();
        let Some(rng) = &mut plan.chaos else {
            drop(plan);
            return work();
        };
        let (fate, wait_ms) = (rng.below(100), rng.below(400));
        drop(plan);
        let reply = if fate < 4 {
            Box::pin(async { Err(StoreError::Busy) })
        } else {
            work()
        };
        Box::pin(async move {
            if wait_ms > 100 {
                tokio::time::sleep(Duration::from_millis(wait_ms - 100)).await;
            }
            let answer = reply.await;
            if fate >= 96 {
                Err(StoreError::Unknown)
            } else {
                answer
            }
        })
    }

    fn around_due<T: Send + 'static>(
        &self,
        lanes: &[DueQuery],
        work: impl FnOnce() -> StoreFuture<T> + Send + 'static,
    ) -> StoreFuture<T> {
        let mut asked = self.due_asked.lock().unwrap();
        asked.push(lanes.iter().map(|ask| ask.limit).sum());
        drop(asked);
        let chokes_on = self.plan.lock().unwrap().due_chokes_on;
        if lanes.iter().any(|ask| Some(ask.webhook) == chokes_on) {
            return refused(StoreError::Disk(DiskFault::Unreadable));
        }
        self.disturbed(work)
    }

    fn around_settle<T: Send + 'static>(
        &self,
        batch: &[Settlement],
        work: impl FnOnce() -> StoreFuture<T> + Send + 'static,
    ) -> StoreFuture<T> {
        self.settled.lock().unwrap().push(batch.len());
        let plan = self.plan.lock().unwrap();
        if let Some(error) = plan.settle.clone() {
            return refused(error);
        }
        let mut outcomes = batch.iter();
        if outcomes.any(|one| Some(one.id) == plan.settle_chokes_on) {
            return refused(broken());
        }
        let (lost, patient) = (plan.settle_lost.clone(), plan.patient);
        drop(plan);
        let mut outcomes = batch.iter();
        if patient && outcomes.all(|one| one.next.state == DeliveryState::Delivered) {
            let hurried = Arc::clone(&self.hurried);
            return Box::pin(async move {
                hurried.notified().await;
                work().await
            });
        }
        let reply = self.disturbed(work);
        match lost {
            Some(error) => refused(error),
            None => reply,
        }
    }
}

impl Relay {
    fn to(&self) -> Option<Arc<dyn CommitSubscriber>> {
        if *self.deaf.lock().unwrap() {
            return None;
        }
        self.to.lock().unwrap().clone()
    }
}

impl CommitSubscriber for Relay {
    fn on_accepted(&self, deliveries: Vec<DueDelivery>) {
        if let Some(to) = self.to() {
            to.on_accepted(deliveries);
        }
    }

    fn on_requested(&self, deliveries: Vec<DueDelivery>) {
        if let Some(to) = self.to() {
            to.on_requested(deliveries);
        }
    }

    fn on_skipped(&self, lanes: Vec<PendingWebhook>) {
        if let Some(to) = self.to() {
            to.on_skipped(lanes);
        }
    }

    fn on_changed(&self, webhooks: &[WebhookId]) {
        if let Some(to) = self.to() {
            to.on_changed(webhooks);
        }
    }

    fn on_external_change(&self) {
        if let Some(to) = self.to() {
            to.on_external_change();
        }
    }

    fn on_bulk_job_started(&self) {
        if let Some(to) = self.to() {
            to.on_bulk_job_started();
        }
    }

    fn on_leases_changed(&self) {
        if let Some(to) = self.to() {
            to.on_leases_changed();
        }
    }
}

fn refused<T: Send + 'static>(error: StoreError) -> StoreFuture<T> {
    Box::pin(std::future::ready(Err(error)))
}

pub(super) fn broken() -> StoreError {
    StoreError::Broken(Arc::new(std::io::Error::other("a row that cannot be one")))
}

impl StoreWrapper for Faults {
    fn inner(&self) -> &Arc<dyn Store> {
        &self.inner
    }

    fn around<T: Send + 'static>(
        &self,
        call: StoreCall,
        work: impl FnOnce() -> StoreFuture<T> + Send + 'static,
    ) -> StoreFuture<T> {
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "all others pass through as they are"
        )]
        match call {
            StoreCall::PendingWebhooks => {
                let refusal = self.plan.lock().unwrap().scan.clone();
                refusal.map_or_else(|| self.disturbed(work), refused)
            }
            StoreCall::WebhookTargets | StoreCall::CancelPending(..) => self.disturbed(work),
            StoreCall::Due(lanes) => self.around_due(&lanes, work),
            StoreCall::Settle(_, batch) => self.around_settle(&batch, work),
            StoreCall::RecordTallies => {
                *self.tallied.lock().unwrap() += 1;
                let plan = self.plan.lock().unwrap();
                match (plan.tallies.clone(), plan.tallies_lost.clone()) {
                    (Some(error), _) => refused(error),
                    (None, Some(error)) => {
                        // Done when it is asked for, as the store's writer does it.
                        drop(work());
                        refused(error)
                    }
                    (None, None) => work(),
                }
            }
            StoreCall::StepBulkJob(_) => match self.plan.lock().unwrap().bulk_job.clone() {
                Some(error) => refused(error),
                None => work(),
            },
            _ => work(),
        }
    }

    fn attach(&self, listener: Arc<dyn CommitSubscriber>) {
        *self.relay.to.lock().unwrap() = Some(listener);
    }

    fn hurry(&self) {
        self.hurried.notify_one();
        self.inner.flush();
    }
}
