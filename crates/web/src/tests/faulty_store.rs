//! The real store, except that now and then it answers with trouble.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use model::contract::{
    Backlog, BacklogCursor, Catalog, CommitSubscriber, DuePage, DueQuery, Frontend, Intake, Leases,
    Outbox, PendingWebhook, ReplayRequest, ReplayResult, Settlement, Store, StoreError,
    StoreFuture, WebhookTarget,
};
use model::id::{DeliveryId, TenantId, WebhookId};
use model::idempotency::{IdempotencyKey, IdempotentOperation, IdempotentResult};
use model::lease::{Epoch, Lease};
use model::notification::{AcceptResult, NewNotification};
use model::query::{
    AppliedChange, AuditEntry, Declaration, DeliveryDetail, EventPage, LogPage, LogQuery,
    StoredResponse, WebhookPage, WebhookQuery,
};
use model::tenant::{DialectName, Event, Grant, NewToken, Tenant, TokenHash};
use model::time::{Heartbeat, TimeBounds, Timestamp};
use model::webhook::{NewWebhook, Webhook};
use model::wrapper::StoreWrapper;
use tokio::sync::{Notify, watch};

/// What happens to the next batch, save or creation.
#[derive(Debug, Clone)]
pub(crate) enum InjectedFault {
    /// It is not done.
    Refuse(StoreError),
    /// It is done, and nobody hears of it.
    LoseAnswer,
    /// It is done as ever.
    Nothing,
}

pub(crate) struct FaultyStore {
    store: Arc<dyn Store>,
    next: Mutex<Vec<InjectedFault>>,
    gate: Arc<Gate>,
}

/// While it is closed, creations of webhooks wait.
pub(crate) struct Gate {
    open: watch::Sender<bool>,
    /// Told when a creation waits.
    pub(crate) reached: Notify,
}

impl Gate {
    pub(crate) fn close(&self) {
        self.open.send_replace(false);
    }

    pub(crate) fn open(&self) {
        self.open.send_replace(true);
    }
}

impl FaultyStore {
    pub(crate) fn new() -> Self {
        Self {
            store: store::open_inline().unwrap(),
            next: Mutex::default(),
            gate: Arc::new(Gate {
                open: watch::Sender::new(true),
                reached: Notify::new(),
            }),
        }
    }

    pub(crate) fn gate(&self) -> Arc<Gate> {
        Arc::clone(&self.gate)
    }

    pub(crate) fn next(&self, trouble: InjectedFault) {
        self.next.lock().unwrap().push(trouble);
    }

    fn at_the_gate<T: Send + 'static>(&self, work: StoreFuture<T>) -> StoreFuture<T> {
        let gate = Arc::clone(&self.gate);
        Box::pin(async move {
            let mut opened = gate.open.subscribe();
            if !*opened.borrow_and_update() {
                gate.reached.notify_one();
            }
            let _opened = opened.wait_for(|open| *open).await.is_ok();
            work.await
        })
    }

    fn through<T: Send + 'static>(&self, work: impl FnOnce() -> StoreFuture<T>) -> StoreFuture<T> {
        match self.next.lock().unwrap().pop() {
            None | Some(InjectedFault::Nothing) => work(),
            Some(InjectedFault::Refuse(error)) => Box::pin(std::future::ready(Err(error))),
            Some(InjectedFault::LoseAnswer) => {
                let work = work();
                Box::pin(async move {
                    drop(work.await?);
                    Err(StoreError::Unknown)
                })
            }
        }
    }
}

impl Intake for FaultyStore {
    fn accept(&self, batch: Vec<NewNotification>) -> StoreFuture<Vec<AcceptResult>> {
        self.through(|| self.store.accept(batch))
    }

    fn replay(&self, ask: ReplayRequest, at: Timestamp) -> StoreFuture<ReplayResult> {
        self.through(|| self.store.replay(ask, at))
    }

    fn cancel_deliveries(
        &self,
        tenant: TenantId,
        deliveries: Vec<DeliveryId>,
        actor: String,
        at: Timestamp,
    ) -> StoreFuture<usize> {
        self.store.cancel_deliveries(tenant, deliveries, actor, at)
    }

    fn run_idempotent(
        &self,
        key: IdempotencyKey,
        effect: IdempotentOperation,
        at: Timestamp,
    ) -> StoreFuture<IdempotentResult> {
        let creates = matches!(effect, IdempotentOperation::CreateWebhook { .. });
        let work = self.through(|| self.store.run_idempotent(key, effect, at));
        if creates {
            self.at_the_gate(work)
        } else {
            work
        }
    }

    fn stored_response(
        &self,
        key: String,
        holder: TokenHash,
    ) -> StoreFuture<Option<StoredResponse>> {
        self.store.stored_response(key, holder)
    }

    fn store_response(&self, answer: StoredResponse, at: Timestamp) -> StoreFuture<()> {
        self.through(|| self.store.store_response(answer, at))
    }
}

impl Outbox for FaultyStore {
    fn subscribe(&self, listener: Arc<dyn CommitSubscriber>) {
        self.store.subscribe(listener);
    }

    fn pending_webhooks(
        &self,
        epoch: Epoch,
        after: Option<WebhookId>,
        limit: usize,
    ) -> StoreFuture<Vec<PendingWebhook>> {
        self.store.pending_webhooks(epoch, after, limit)
    }

    fn webhook_targets(
        &self,
        epoch: Epoch,
        webhooks: Vec<WebhookId>,
    ) -> StoreFuture<Vec<WebhookTarget>> {
        self.store.webhook_targets(epoch, webhooks)
    }

    fn due(&self, epoch: Epoch, lanes: Vec<DueQuery>, now: Timestamp) -> StoreFuture<Vec<DuePage>> {
        self.store.due(epoch, lanes, now)
    }

    fn settle(&self, epoch: Epoch, batch: Arc<[Settlement]>) -> StoreFuture<()> {
        self.store.settle(epoch, batch)
    }

    fn flush(&self) {
        self.store.flush();
    }

    fn cancel_pending(
        &self,
        epoch: Epoch,
        webhook: WebhookId,
        at: Timestamp,
    ) -> StoreFuture<usize> {
        self.store.cancel_pending(epoch, webhook, at)
    }

    fn step_bulk_job(&self, epoch: Epoch, at: Timestamp) -> StoreFuture<bool> {
        self.store.step_bulk_job(epoch, at)
    }

    fn backlog(&self, epoch: Epoch, after: Option<BacklogCursor>) -> StoreFuture<Backlog> {
        self.store.backlog(epoch, after)
    }

    fn prune(
        &self,
        epoch: Epoch,
        before: BTreeMap<DialectName, Timestamp>,
        now: TimeBounds,
    ) -> StoreFuture<bool> {
        self.store.prune(epoch, before, now)
    }
}

impl Leases for FaultyStore {
    fn claim(&self, now: Timestamp) -> StoreFuture<Lease> {
        self.store.claim(now)
    }

    fn renew(&self, lease: Lease, beat: Heartbeat) -> StoreFuture<Lease> {
        self.store.renew(lease, beat)
    }

    fn release(&self, lease: Lease, beat: Heartbeat) -> StoreFuture<()> {
        self.store.release(lease, beat)
    }

    fn last_heartbeat(&self) -> Option<Heartbeat> {
        self.store.last_heartbeat()
    }
}

impl Frontend for FaultyStore {
    fn ping(&self) -> StoreFuture<Vec<String>> {
        self.store.ping()
    }
}

impl Catalog for FaultyStore {
    fn version(&self) -> u64 {
        self.store.version()
    }

    fn changes(&self) -> u64 {
        self.store.changes()
    }

    fn tenant(&self, dialect: DialectName, key: String) -> StoreFuture<Option<Tenant>> {
        self.store.tenant(dialect, key)
    }

    fn tenants(&self, dialect: DialectName) -> StoreFuture<Vec<Tenant>> {
        self.store.tenants(dialect)
    }

    fn grants(&self, hash: TokenHash) -> StoreFuture<Vec<Grant>> {
        self.store.grants(hash)
    }

    fn has_tokens(&self) -> StoreFuture<bool> {
        self.store.has_tokens()
    }

    fn create_token(&self, token: NewToken, actor: String, at: Timestamp) -> StoreFuture<()> {
        self.through(|| self.store.create_token(token, actor, at))
    }

    fn events(&self, tenant: TenantId) -> StoreFuture<Vec<Event>> {
        self.store.events(tenant)
    }

    fn event_page(&self, tenant: TenantId, offset: u64, limit: usize) -> StoreFuture<EventPage> {
        self.store.event_page(tenant, offset, limit)
    }

    fn event(&self, tenant: TenantId, slug: String) -> StoreFuture<Option<Event>> {
        self.store.event(tenant, slug)
    }

    fn webhooks(&self, tenants: Vec<TenantId>, query: WebhookQuery) -> StoreFuture<WebhookPage> {
        self.store.webhooks(tenants, query)
    }

    fn webhook_by_key(&self, tenants: Vec<TenantId>, key: String) -> StoreFuture<Option<Webhook>> {
        self.store.webhook_by_key(tenants, key)
    }

    fn webhook(&self, tenant: TenantId, id: WebhookId) -> StoreFuture<Option<Webhook>> {
        self.store.webhook(tenant, id)
    }

    fn create_webhook(
        &self,
        webhook: NewWebhook,
        actor: String,
        at: Timestamp,
    ) -> StoreFuture<Webhook> {
        let work = self.through(|| self.store.create_webhook(webhook, actor, at));
        self.at_the_gate(work)
    }

    fn save_webhook(&self, webhook: Webhook, actor: String, at: Timestamp) -> StoreFuture<Webhook> {
        self.through(|| self.store.save_webhook(webhook, actor, at))
    }

    fn log(&self, tenant: TenantId, query: LogQuery) -> StoreFuture<LogPage> {
        self.store.log(tenant, query)
    }

    fn delivery(&self, tenant: TenantId, id: DeliveryId) -> StoreFuture<Option<DeliveryDetail>> {
        self.store.delivery(tenant, id)
    }

    fn audit(&self, tenant: TenantId, limit: usize) -> StoreFuture<Vec<AuditEntry>> {
        self.store.audit(tenant, limit)
    }

    fn apply(
        &self,
        declarations: Vec<Declaration>,
        actor: String,
        at: Timestamp,
    ) -> StoreFuture<Vec<AppliedChange>> {
        self.store.apply(declarations, actor, at)
    }
}

impl StoreWrapper for FaultyStore {
    fn inner(&self) -> &dyn Store {
        self.store.as_ref()
    }
}

impl Store for FaultyStore {
    fn close(&self) -> StoreFuture<()> {
        self.store.close()
    }

    fn ended(&self) -> StoreFuture<()> {
        self.store.ended()
    }
}
