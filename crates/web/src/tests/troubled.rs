//! The real store, except that now and then it answers with trouble.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use model::around::Around;
use model::contract::{
    Backlog, BacklogMark, Catalog, DueAsk, DueRead, LaneStart, LaneTarget, Ledger, Listener,
    ReplayRequest, ReplayResult, Reply, Settlement, Store, StoreError,
};
use model::id::{DeliveryId, TenantId, WebhookId};
use model::notification::{Acceptance, NewNotification};
use model::once::{Effect, Effected, IdempotencyKey};
use model::query::{
    Applied, AuditEntry, Declaration, DeliveryStory, EventPage, KeptAnswer, LogPage, LogQuery,
    WebhookPage, WebhookQuery,
};
use model::tenant::{DialectName, Event, Grant, NewToken, Tenant, TokenHash};
use model::time::{Beat, TimeBounds, Timestamp};
use model::webhook::{NewWebhook, Webhook};
use tokio::sync::{Notify, watch};

/// What happens to the next batch, save or creation.
#[derive(Debug, Clone)]
pub(crate) enum Trouble {
    /// It is not done.
    Refuse(StoreError),
    /// It is done, and nobody hears of it.
    LoseAnswer,
    /// It is done as ever.
    Nothing,
}

pub(crate) struct Troubled {
    store: Arc<dyn Store>,
    next: Mutex<Vec<Trouble>>,
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

impl Troubled {
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

    pub(crate) fn next(&self, trouble: Trouble) {
        self.next.lock().unwrap().push(trouble);
    }

    fn at_the_gate<T: Send + 'static>(&self, work: Reply<T>) -> Reply<T> {
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

    fn through<T: Send + 'static>(&self, work: impl FnOnce() -> Reply<T>) -> Reply<T> {
        match self.next.lock().unwrap().pop() {
            None | Some(Trouble::Nothing) => work(),
            Some(Trouble::Refuse(error)) => Box::pin(std::future::ready(Err(error))),
            Some(Trouble::LoseAnswer) => {
                let work = work();
                Box::pin(async move {
                    drop(work.await?);
                    Err(StoreError::Unknown)
                })
            }
        }
    }
}

impl Ledger for Troubled {
    fn listen(&self, listener: Arc<dyn Listener>) {
        self.store.listen(listener);
    }

    fn accept(&self, batch: Vec<NewNotification>) -> Reply<Vec<Acceptance>> {
        self.through(|| self.store.accept(batch))
    }

    fn lanes(&self, after: Option<WebhookId>, limit: usize) -> Reply<Vec<LaneStart>> {
        self.store.lanes(after, limit)
    }

    fn targets(&self, webhooks: Vec<WebhookId>) -> Reply<Vec<LaneTarget>> {
        self.store.targets(webhooks)
    }

    fn due(&self, lanes: Vec<DueAsk>, now: Timestamp) -> Reply<Vec<DueRead>> {
        self.store.due(lanes, now)
    }

    fn backlog(&self, after: Option<BacklogMark>) -> Reply<Backlog> {
        self.store.backlog(after)
    }

    fn settle(&self, batch: Arc<[Settlement]>) -> Reply<()> {
        self.store.settle(batch)
    }

    fn hurry(&self) {
        self.store.hurry();
    }

    fn replay(&self, ask: ReplayRequest, at: Timestamp) -> Reply<ReplayResult> {
        self.through(|| self.store.replay(ask, at))
    }

    fn cancel(&self, webhook: WebhookId, at: Timestamp) -> Reply<usize> {
        self.store.cancel(webhook, at)
    }

    fn prune(&self, before: BTreeMap<DialectName, Timestamp>, now: TimeBounds) -> Reply<bool> {
        self.store.prune(before, now)
    }

    fn beat(&self, beat: Beat) -> Reply<()> {
        self.store.beat(beat)
    }

    fn last_beat(&self) -> Option<Beat> {
        self.store.last_beat()
    }

    fn pulse(&self) -> Reply<Vec<String>> {
        self.store.pulse()
    }

    fn stop(
        &self,
        tenant: TenantId,
        deliveries: Vec<DeliveryId>,
        actor: String,
        at: Timestamp,
    ) -> Reply<usize> {
        self.store.stop(tenant, deliveries, actor, at)
    }

    fn step_bulk_job(&self, at: Timestamp) -> Reply<bool> {
        self.store.step_bulk_job(at)
    }
}

impl Catalog for Troubled {
    fn version(&self) -> u64 {
        self.store.version()
    }

    fn changes(&self) -> u64 {
        self.store.changes()
    }

    fn tenant(&self, dialect: DialectName, key: String) -> Reply<Option<Tenant>> {
        self.store.tenant(dialect, key)
    }

    fn tenants(&self, dialect: DialectName) -> Reply<Vec<Tenant>> {
        self.store.tenants(dialect)
    }

    fn grants(&self, hash: TokenHash) -> Reply<Vec<Grant>> {
        self.store.grants(hash)
    }

    fn has_tokens(&self) -> Reply<bool> {
        self.store.has_tokens()
    }

    fn create_token(&self, token: NewToken, actor: String, at: Timestamp) -> Reply<()> {
        self.through(|| self.store.create_token(token, actor, at))
    }

    fn events(&self, tenant: TenantId) -> Reply<Vec<Event>> {
        self.store.events(tenant)
    }

    fn event_page(&self, tenant: TenantId, offset: u64, limit: usize) -> Reply<EventPage> {
        self.store.event_page(tenant, offset, limit)
    }

    fn event(&self, tenant: TenantId, slug: String) -> Reply<Option<Event>> {
        self.store.event(tenant, slug)
    }

    fn webhooks(&self, tenants: Vec<TenantId>, query: WebhookQuery) -> Reply<WebhookPage> {
        self.store.webhooks(tenants, query)
    }

    fn webhook_by_key(&self, tenants: Vec<TenantId>, key: String) -> Reply<Option<Webhook>> {
        self.store.webhook_by_key(tenants, key)
    }

    fn webhook(&self, tenant: TenantId, id: WebhookId) -> Reply<Option<Webhook>> {
        self.store.webhook(tenant, id)
    }

    fn create_webhook(&self, webhook: NewWebhook, actor: String, at: Timestamp) -> Reply<Webhook> {
        let work = self.through(|| self.store.create_webhook(webhook, actor, at));
        self.at_the_gate(work)
    }

    fn save_webhook(&self, webhook: Webhook, actor: String, at: Timestamp) -> Reply<Webhook> {
        self.through(|| self.store.save_webhook(webhook, actor, at))
    }

    fn log(&self, tenant: TenantId, query: LogQuery) -> Reply<LogPage> {
        self.store.log(tenant, query)
    }

    fn delivery(&self, tenant: TenantId, id: DeliveryId) -> Reply<Option<DeliveryStory>> {
        self.store.delivery(tenant, id)
    }

    fn audit(&self, tenant: TenantId, limit: usize) -> Reply<Vec<AuditEntry>> {
        self.store.audit(tenant, limit)
    }

    fn once(&self, key: IdempotencyKey, effect: Effect, at: Timestamp) -> Reply<Effected> {
        let creates = matches!(effect, Effect::CreateWebhook { .. });
        let work = self.through(|| self.store.once(key, effect, at));
        if creates {
            self.at_the_gate(work)
        } else {
            work
        }
    }

    fn kept_answer(&self, key: String, holder: TokenHash) -> Reply<Option<KeptAnswer>> {
        self.store.kept_answer(key, holder)
    }

    fn keep_answer(&self, answer: KeptAnswer, at: Timestamp) -> Reply<()> {
        self.through(|| self.store.keep_answer(answer, at))
    }

    fn apply(
        &self,
        declarations: Vec<Declaration>,
        actor: String,
        at: Timestamp,
    ) -> Reply<Vec<Applied>> {
        self.store.apply(declarations, actor, at)
    }
}

impl Around for Troubled {
    fn inner(&self) -> &dyn Store {
        self.store.as_ref()
    }
}

impl Store for Troubled {
    fn close(&self) -> Reply<()> {
        self.store.close()
    }

    fn ended(&self) -> Reply<()> {
        self.store.ended()
    }
}
