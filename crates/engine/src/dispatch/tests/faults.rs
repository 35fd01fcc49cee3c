//! Faults: the store, with what can go wrong between it and the engine. What it keeps is real.
//!
//! Every operation is done when it is asked for, in that order, as the store's own writer does
//! it; it may be refused, its answer may be lost after it was done, or come late.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use model::contract::{
    Backlog, BacklogCursor, Catalog, CommitSubscriber, DiskFault, DuePage, DueQuery, Frontend,
    Intake, Leases, Outbox, PendingWebhook, ReplayRequest, ReplayResult, Settlement, Store,
    StoreError, StoreFuture, WebhookTarget,
};
use model::delivery::{DeliveryState, DueDelivery};
use model::id::{DeliveryId, TenantId, WebhookId};
use model::idempotency::{IdempotencyKey, IdempotentOperation, IdempotentResult};
use model::lease::{Epoch, Lease};
use model::notification::{AcceptResult, NewNotification};
use model::query::{
    AppliedChange, AuditEntry, Declaration, DeliveryDetail, EventPage, LogPage, LogQuery,
    StoredResponse, WebhookPage, WebhookQuery,
};
use model::rng::SeededRng;
use model::tenant::{DialectName, Event, Grant, NewToken, Tenant, TokenHash};
use model::time::{Heartbeat, TimeBounds, Timestamp};
use model::webhook::{NewWebhook, Webhook};
use model::wrapper::StoreWrapper;
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

    /// The answer, or what chaos makes of it. `refused` is asked before the work is done.
    fn disturbed<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> StoreFuture<T>,
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
}

fn broken() -> StoreError {
    StoreError::Broken(Arc::new(std::io::Error::other("a row that cannot be one")))
}

impl Intake for Faults {
    fn accept(&self, batch: Vec<NewNotification>) -> StoreFuture<Vec<AcceptResult>> {
        self.inner.accept(batch)
    }

    fn replay(&self, ask: ReplayRequest, at: Timestamp) -> StoreFuture<ReplayResult> {
        self.inner.replay(ask, at)
    }

    fn cancel_deliveries(
        &self,
        tenant: TenantId,
        deliveries: Vec<DeliveryId>,
        actor: String,
        at: Timestamp,
    ) -> StoreFuture<usize> {
        self.inner.cancel_deliveries(tenant, deliveries, actor, at)
    }

    fn run_idempotent(
        &self,
        key: IdempotencyKey,
        effect: IdempotentOperation,
        at: Timestamp,
    ) -> StoreFuture<IdempotentResult> {
        self.inner.run_idempotent(key, effect, at)
    }

    fn stored_response(
        &self,
        key: String,
        holder: TokenHash,
    ) -> StoreFuture<Option<StoredResponse>> {
        self.inner.stored_response(key, holder)
    }

    fn store_response(&self, answer: StoredResponse, at: Timestamp) -> StoreFuture<()> {
        self.inner.store_response(answer, at)
    }
}

impl Outbox for Faults {
    fn subscribe(&self, listener: Arc<dyn CommitSubscriber>) {
        *self.relay.to.lock().unwrap() = Some(listener);
    }

    fn pending_webhooks(
        &self,
        epoch: Epoch,
        after: Option<WebhookId>,
        limit: usize,
    ) -> StoreFuture<Vec<PendingWebhook>> {
        self.disturbed(|| self.inner.pending_webhooks(epoch, after, limit))
    }

    fn webhook_targets(
        &self,
        epoch: Epoch,
        webhooks: Vec<WebhookId>,
    ) -> StoreFuture<Vec<WebhookTarget>> {
        self.disturbed(|| self.inner.webhook_targets(epoch, webhooks))
    }

    fn due(&self, epoch: Epoch, lanes: Vec<DueQuery>, now: Timestamp) -> StoreFuture<Vec<DuePage>> {
        let mut asked = self.due_asked.lock().unwrap();
        asked.push(lanes.iter().map(|ask| ask.limit).sum());
        let chokes_on = self.plan.lock().unwrap().due_chokes_on;
        if lanes.iter().any(|ask| Some(ask.webhook) == chokes_on) {
            return Box::pin(async { Err(StoreError::Disk(DiskFault::Unreadable)) });
        }
        self.disturbed(|| self.inner.due(epoch, lanes, now))
    }

    fn settle(&self, epoch: Epoch, batch: Arc<[Settlement]>) -> StoreFuture<()> {
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
        if patient
            && batch
                .iter()
                .all(|one| one.next.state == DeliveryState::Delivered)
        {
            let (inner, hurried) = (Arc::clone(&self.inner), Arc::clone(&self.hurried));
            return Box::pin(async move {
                hurried.notified().await;
                inner.settle(epoch, batch).await
            });
        }
        let reply = self.disturbed(|| self.inner.settle(epoch, batch));
        if let Some(error) = lost {
            return Box::pin(async move { Err(error) });
        }
        reply
    }

    fn flush(&self) {
        self.hurried.notify_one();
        self.inner.flush();
    }

    fn cancel_pending(
        &self,
        epoch: Epoch,
        webhook: WebhookId,
        at: Timestamp,
    ) -> StoreFuture<usize> {
        self.disturbed(|| self.inner.cancel_pending(epoch, webhook, at))
    }

    fn step_bulk_job(&self, epoch: Epoch, at: Timestamp) -> StoreFuture<bool> {
        if let Some(error) = self.plan.lock().unwrap().bulk_job.clone() {
            return Box::pin(async move { Err(error) });
        }
        self.inner.step_bulk_job(epoch, at)
    }

    fn backlog(&self, epoch: Epoch, after: Option<BacklogCursor>) -> StoreFuture<Backlog> {
        self.inner.backlog(epoch, after)
    }

    fn prune(
        &self,
        epoch: Epoch,
        before: BTreeMap<DialectName, Timestamp>,
        now: TimeBounds,
    ) -> StoreFuture<bool> {
        self.inner.prune(epoch, before, now)
    }
}

impl Leases for Faults {
    fn claim(&self, now: Timestamp) -> StoreFuture<Lease> {
        self.inner.claim(now)
    }

    fn renew(&self, lease: Lease, beat: Heartbeat) -> StoreFuture<Lease> {
        self.inner.renew(lease, beat)
    }

    fn release(&self, lease: Lease, beat: Heartbeat) -> StoreFuture<()> {
        self.inner.release(lease, beat)
    }

    fn last_heartbeat(&self) -> Option<Heartbeat> {
        self.inner.last_heartbeat()
    }
}

impl Frontend for Faults {
    fn ping(&self) -> StoreFuture<Vec<String>> {
        self.inner.ping()
    }
}

impl Catalog for Faults {
    fn version(&self) -> u64 {
        self.inner.version()
    }

    fn changes(&self) -> u64 {
        self.inner.changes()
    }

    fn tenant(&self, dialect: DialectName, key: String) -> StoreFuture<Option<Tenant>> {
        self.inner.tenant(dialect, key)
    }

    fn tenants(&self, dialect: DialectName) -> StoreFuture<Vec<Tenant>> {
        self.inner.tenants(dialect)
    }

    fn grants(&self, hash: TokenHash) -> StoreFuture<Vec<Grant>> {
        self.inner.grants(hash)
    }

    fn has_tokens(&self) -> StoreFuture<bool> {
        self.inner.has_tokens()
    }

    fn create_token(&self, token: NewToken, actor: String, at: Timestamp) -> StoreFuture<()> {
        self.inner.create_token(token, actor, at)
    }

    fn events(&self, tenant: TenantId) -> StoreFuture<Vec<Event>> {
        self.inner.events(tenant)
    }

    fn event_page(&self, tenant: TenantId, offset: u64, limit: usize) -> StoreFuture<EventPage> {
        self.inner.event_page(tenant, offset, limit)
    }

    fn event(&self, tenant: TenantId, slug: String) -> StoreFuture<Option<Event>> {
        self.inner.event(tenant, slug)
    }

    fn webhooks(&self, tenants: Vec<TenantId>, query: WebhookQuery) -> StoreFuture<WebhookPage> {
        self.inner.webhooks(tenants, query)
    }

    fn webhook_by_key(&self, tenants: Vec<TenantId>, key: String) -> StoreFuture<Option<Webhook>> {
        self.inner.webhook_by_key(tenants, key)
    }

    fn webhook(&self, tenant: TenantId, id: WebhookId) -> StoreFuture<Option<Webhook>> {
        self.inner.webhook(tenant, id)
    }

    fn create_webhook(
        &self,
        webhook: NewWebhook,
        actor: String,
        at: Timestamp,
    ) -> StoreFuture<Webhook> {
        self.inner.create_webhook(webhook, actor, at)
    }

    fn save_webhook(&self, webhook: Webhook, actor: String, at: Timestamp) -> StoreFuture<Webhook> {
        self.inner.save_webhook(webhook, actor, at)
    }

    fn log(&self, tenant: TenantId, query: LogQuery) -> StoreFuture<LogPage> {
        self.inner.log(tenant, query)
    }

    fn delivery(&self, tenant: TenantId, id: DeliveryId) -> StoreFuture<Option<DeliveryDetail>> {
        self.inner.delivery(tenant, id)
    }

    fn audit(&self, tenant: TenantId, limit: usize) -> StoreFuture<Vec<AuditEntry>> {
        self.inner.audit(tenant, limit)
    }

    fn apply(
        &self,
        declarations: Vec<Declaration>,
        actor: String,
        at: Timestamp,
    ) -> StoreFuture<Vec<AppliedChange>> {
        self.inner.apply(declarations, actor, at)
    }
}

impl StoreWrapper for Faults {
    fn inner(&self) -> &dyn Store {
        self.inner.as_ref()
    }
}

impl Store for Faults {
    fn close(&self) -> StoreFuture<()> {
        self.inner.close()
    }

    fn ended(&self) -> StoreFuture<()> {
        self.inner.ended()
    }
}
