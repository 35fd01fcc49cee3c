//! Faults: the store, with what can go wrong between it and the engine. What it keeps is real.
//!
//! Every operation is done when it is asked for, in that order, as the store's own writer does
//! it; it may be refused, its answer may be lost after it was done, or come late.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use model::around::Around;
use model::contract::{
    Backlog, BacklogMark, Catalog, DiskFault, DueAsk, DueRead, LaneStart, LaneTarget, Ledger,
    Listener, ReplayRequest, ReplayResult, Reply, Settlement, Store, StoreError,
};
use model::delivery::{Due, State};
use model::id::{DeliveryId, TenantId, WebhookId};
use model::notification::{Acceptance, NewNotification};
use model::once::{Effect, Effected, IdempotencyKey};
use model::query::{
    Applied, AuditEntry, Declaration, DeliveryStory, EventPage, KeptAnswer, LogPage, LogQuery,
    WebhookPage, WebhookQuery,
};
use model::rng::SeededRng;
use model::tenant::{DialectName, Event, Grant, NewToken, Tenant, TokenHash};
use model::time::{Beat, TimeBounds, Timestamp};
use model::webhook::{NewWebhook, Webhook};
use tokio::sync::Notify;

pub(super) struct Faults {
    inner: Arc<dyn Store>,
    relay: Arc<Relay>,
    pub(super) plan: Mutex<Plan>,
    due_asked: Mutex<Vec<usize>>,
    settled: Mutex<Vec<usize>>,
    hurried: Arc<Notify>,
}

/// What goes wrong.
#[derive(Default)]
pub(super) struct Plan {
    /// Settlements are refused so.
    pub(super) settle: Option<StoreError>,
    /// Steps of bulk jobs are refused so.
    pub(super) bulk_job: Option<StoreError>,
    /// Settlements are written, but so answered.
    pub(super) settle_lost: Option<StoreError>,
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
    to: Mutex<Option<Arc<dyn Listener>>>,
    /// News are not passed on.
    deaf: Mutex<bool>,
}

impl Faults {
    pub(super) fn around(inner: Arc<dyn Store>) -> Self {
        let relay = Arc::new(Relay::default());
        inner.listen(Arc::clone(&relay) as Arc<dyn Listener>);
        Self {
            inner,
            relay,
            plan: Mutex::default(),
            due_asked: Mutex::default(),
            settled: Mutex::default(),
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
        to.unwrap().changed_elsewhere();
    }

    /// How many rows each read asked for.
    pub(super) fn due_asked(&self) -> Vec<usize> {
        self.due_asked.lock().unwrap().clone()
    }

    /// How many outcomes each batch brought.
    pub(super) fn settled(&self) -> Vec<usize> {
        self.settled.lock().unwrap().clone()
    }

    /// The answer, or what chaos makes of it. `refused` is asked before the work is done.
    fn disturbed<T: Send + 'static>(&self, work: impl FnOnce() -> Reply<T>) -> Reply<T> {
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
}

impl Relay {
    fn to(&self) -> Option<Arc<dyn Listener>> {
        if *self.deaf.lock().unwrap() {
            return None;
        }
        self.to.lock().unwrap().clone()
    }
}

impl Listener for Relay {
    fn accepted(&self, deliveries: Vec<Due>) {
        if let Some(to) = self.to() {
            to.accepted(deliveries);
        }
    }

    fn asked(&self, deliveries: Vec<Due>) {
        if let Some(to) = self.to() {
            to.asked(deliveries);
        }
    }

    fn passed_over(&self, lanes: Vec<LaneStart>) {
        if let Some(to) = self.to() {
            to.passed_over(lanes);
        }
    }

    fn changed(&self, webhooks: &[WebhookId]) {
        if let Some(to) = self.to() {
            to.changed(webhooks);
        }
    }

    fn changed_elsewhere(&self) {
        if let Some(to) = self.to() {
            to.changed_elsewhere();
        }
    }

    fn bulk_job_started(&self) {
        if let Some(to) = self.to() {
            to.bulk_job_started();
        }
    }
}

fn broken() -> StoreError {
    StoreError::Broken(Arc::new(std::io::Error::other("a row that cannot be one")))
}

impl Ledger for Faults {
    fn listen(&self, listener: Arc<dyn Listener>) {
        *self.relay.to.lock().unwrap() = Some(listener);
    }

    fn accept(&self, batch: Vec<NewNotification>) -> Reply<Vec<Acceptance>> {
        self.inner.accept(batch)
    }

    fn lanes(&self, after: Option<WebhookId>, limit: usize) -> Reply<Vec<LaneStart>> {
        self.disturbed(|| self.inner.lanes(after, limit))
    }

    fn targets(&self, webhooks: Vec<WebhookId>) -> Reply<Vec<LaneTarget>> {
        self.disturbed(|| self.inner.targets(webhooks))
    }

    fn due(&self, lanes: Vec<DueAsk>, now: Timestamp) -> Reply<Vec<DueRead>> {
        let mut asked = self.due_asked.lock().unwrap();
        asked.push(lanes.iter().map(|ask| ask.limit).sum());
        let chokes_on = self.plan.lock().unwrap().due_chokes_on;
        if lanes.iter().any(|ask| Some(ask.webhook) == chokes_on) {
            return Box::pin(async { Err(StoreError::Disk(DiskFault::Unreadable)) });
        }
        self.disturbed(|| self.inner.due(lanes, now))
    }

    fn backlog(&self, after: Option<BacklogMark>) -> Reply<Backlog> {
        self.inner.backlog(after)
    }

    fn settle(&self, batch: Arc<[Settlement]>) -> Reply<()> {
        self.settled.lock().unwrap().push(batch.len());
        let plan = self.plan.lock().unwrap();
        if let Some(error) = plan.settle.clone() {
            return Box::pin(async move { Err(error) });
        }
        if batch
            .iter()
            .any(|one| Some(one.id) == plan.settle_chokes_on)
        {
            return Box::pin(async { Err(broken()) });
        }
        let (lost, patient) = (plan.settle_lost.clone(), plan.patient);
        drop(plan);
        if patient && batch.iter().all(|one| one.next.state == State::Delivered) {
            let (inner, hurried) = (Arc::clone(&self.inner), Arc::clone(&self.hurried));
            return Box::pin(async move {
                hurried.notified().await;
                inner.settle(batch).await
            });
        }
        let reply = self.disturbed(|| self.inner.settle(batch));
        if let Some(error) = lost {
            return Box::pin(async move { Err(error) });
        }
        reply
    }

    fn hurry(&self) {
        self.hurried.notify_one();
        self.inner.hurry();
    }

    fn replay(&self, ask: ReplayRequest, at: Timestamp) -> Reply<ReplayResult> {
        self.inner.replay(ask, at)
    }

    fn cancel(&self, webhook: WebhookId, at: Timestamp) -> Reply<usize> {
        self.disturbed(|| self.inner.cancel(webhook, at))
    }

    fn prune(&self, before: BTreeMap<DialectName, Timestamp>, now: TimeBounds) -> Reply<bool> {
        self.inner.prune(before, now)
    }

    fn beat(&self, beat: Beat) -> Reply<()> {
        self.inner.beat(beat)
    }

    fn last_beat(&self) -> Option<Beat> {
        self.inner.last_beat()
    }

    fn pulse(&self) -> Reply<Vec<String>> {
        self.inner.pulse()
    }

    fn stop(
        &self,
        tenant: TenantId,
        deliveries: Vec<DeliveryId>,
        actor: String,
        at: Timestamp,
    ) -> Reply<usize> {
        self.inner.stop(tenant, deliveries, actor, at)
    }

    fn step_bulk_job(&self, at: Timestamp) -> Reply<bool> {
        if let Some(error) = self.plan.lock().unwrap().bulk_job.clone() {
            return Box::pin(async move { Err(error) });
        }
        self.inner.step_bulk_job(at)
    }
}

impl Catalog for Faults {
    fn version(&self) -> u64 {
        self.inner.version()
    }

    fn changes(&self) -> u64 {
        self.inner.changes()
    }

    fn tenant(&self, dialect: DialectName, key: String) -> Reply<Option<Tenant>> {
        self.inner.tenant(dialect, key)
    }

    fn tenants(&self, dialect: DialectName) -> Reply<Vec<Tenant>> {
        self.inner.tenants(dialect)
    }

    fn grants(&self, hash: TokenHash) -> Reply<Vec<Grant>> {
        self.inner.grants(hash)
    }

    fn has_tokens(&self) -> Reply<bool> {
        self.inner.has_tokens()
    }

    fn create_token(&self, token: NewToken, actor: String, at: Timestamp) -> Reply<()> {
        self.inner.create_token(token, actor, at)
    }

    fn events(&self, tenant: TenantId) -> Reply<Vec<Event>> {
        self.inner.events(tenant)
    }

    fn event_page(&self, tenant: TenantId, offset: u64, limit: usize) -> Reply<EventPage> {
        self.inner.event_page(tenant, offset, limit)
    }

    fn event(&self, tenant: TenantId, slug: String) -> Reply<Option<Event>> {
        self.inner.event(tenant, slug)
    }

    fn webhooks(&self, tenants: Vec<TenantId>, query: WebhookQuery) -> Reply<WebhookPage> {
        self.inner.webhooks(tenants, query)
    }

    fn webhook_by_key(&self, tenants: Vec<TenantId>, key: String) -> Reply<Option<Webhook>> {
        self.inner.webhook_by_key(tenants, key)
    }

    fn webhook(&self, tenant: TenantId, id: WebhookId) -> Reply<Option<Webhook>> {
        self.inner.webhook(tenant, id)
    }

    fn create_webhook(&self, webhook: NewWebhook, actor: String, at: Timestamp) -> Reply<Webhook> {
        self.inner.create_webhook(webhook, actor, at)
    }

    fn save_webhook(&self, webhook: Webhook, actor: String, at: Timestamp) -> Reply<Webhook> {
        self.inner.save_webhook(webhook, actor, at)
    }

    fn log(&self, tenant: TenantId, query: LogQuery) -> Reply<LogPage> {
        self.inner.log(tenant, query)
    }

    fn delivery(&self, tenant: TenantId, id: DeliveryId) -> Reply<Option<DeliveryStory>> {
        self.inner.delivery(tenant, id)
    }

    fn audit(&self, tenant: TenantId, limit: usize) -> Reply<Vec<AuditEntry>> {
        self.inner.audit(tenant, limit)
    }

    fn once(&self, key: IdempotencyKey, effect: Effect, at: Timestamp) -> Reply<Effected> {
        self.inner.once(key, effect, at)
    }

    fn kept_answer(&self, key: String, holder: TokenHash) -> Reply<Option<KeptAnswer>> {
        self.inner.kept_answer(key, holder)
    }

    fn keep_answer(&self, answer: KeptAnswer, at: Timestamp) -> Reply<()> {
        self.inner.keep_answer(answer, at)
    }

    fn apply(
        &self,
        declarations: Vec<Declaration>,
        actor: String,
        at: Timestamp,
    ) -> Reply<Vec<Applied>> {
        self.inner.apply(declarations, actor, at)
    }
}

impl Around for Faults {
    fn inner(&self) -> &dyn Store {
        self.inner.as_ref()
    }
}

impl Store for Faults {
    fn close(&self) -> Reply<()> {
        self.inner.close()
    }

    fn ended(&self) -> Reply<()> {
        self.inner.ended()
    }
}
