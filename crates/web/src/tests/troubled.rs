//! The real store, except that now and then it answers with trouble.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use model::board::{
    AuditQuery, AuditRow, Bystander, Count, Errand, ErrandKind, LogPage, LogQuery, LogRow,
    NewErrand, NotificationQuery, NotificationRow, NotificationStory, Standing, TenantQuery,
    TenantSettings, TokenRow, WebhookFound, WebhookSearch,
};
use model::contract::{
    Backlog, BacklogMark, Board, Catalog, DueAsk, DueRead, LaneStart, LaneTarget, Ledger, Listener,
    People, Reply, Requeue, Requeued, Settlement, Store, StoreError,
};
use model::id::{DeliveryId, ErrandId, NotificationId, TenantId, TokenId, UserId, WebhookId};
use model::notification::{Acceptance, NewNotification};
use model::people::{Failures, NewUser, PasswordHash, Role, User, UserChange};
use model::query::{
    Applied, AuditEntry, Declaration, DeliveryPage, DeliveryQuery, DeliveryStory, KeptAnswer,
    WebhookPage, WebhookQuery,
};
use model::tenant::{DialectName, Event, Grant, NewToken, Tenant, TokenHash};
use model::time::Timestamp;
use model::webhook::{NewWebhook, Webhook};
use tokio::sync::{Notify, watch};

/// What happens to the next batch, save or creation.
#[derive(Debug, Clone)]
pub(crate) enum Trouble {
    /// It is not done.
    Refuse(StoreError),
    /// It is done, and nobody hears of it.
    LoseAnswer,
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

    fn through<T: Send + 'static>(&self, work: impl FnOnce() -> Reply<T>) -> Reply<T> {
        match self.next.lock().unwrap().pop() {
            None => work(),
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

    fn settle(&self, batch: Vec<Settlement>) -> Reply<()> {
        self.store.settle(batch)
    }

    fn requeue(&self, ask: Requeue, at: Timestamp) -> Reply<Requeued> {
        self.through(|| self.store.requeue(ask, at))
    }

    fn cancel(&self, webhook: WebhookId, at: Timestamp) -> Reply<usize> {
        self.store.cancel(webhook, at)
    }

    fn prune(&self, before: BTreeMap<DialectName, Timestamp>, now: Timestamp) -> Reply<bool> {
        self.store.prune(before, now)
    }

    fn pulse(&self) -> Reply<()> {
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

    fn step_errand(&self, at: Timestamp) -> Reply<bool> {
        self.store.step_errand(at)
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

    fn save_webhook(&self, webhook: Webhook, actor: String, at: Timestamp) -> Reply<Webhook> {
        self.through(|| self.store.save_webhook(webhook, actor, at))
    }

    fn deliveries(
        &self,
        tenant: TenantId,
        webhook: WebhookId,
        query: DeliveryQuery,
    ) -> Reply<DeliveryPage> {
        self.store.deliveries(tenant, webhook, query)
    }

    fn delivery(&self, tenant: TenantId, id: DeliveryId) -> Reply<Option<DeliveryStory>> {
        self.store.delivery(tenant, id)
    }

    fn audit(&self, tenant: TenantId, limit: usize) -> Reply<Vec<AuditEntry>> {
        self.store.audit(tenant, limit)
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

impl People for Troubled {
    fn has_users(&self) -> Reply<bool> {
        self.store.has_users()
    }

    fn users(&self, tenant: Option<TenantId>) -> Reply<Vec<User>> {
        self.store.users(tenant)
    }

    fn user(&self, name: String) -> Reply<Option<(User, PasswordHash)>> {
        self.store.user(name)
    }

    fn create_user(&self, user: NewUser, at: Timestamp) -> Reply<User> {
        self.store.create_user(user, at)
    }

    fn change_user(&self, user: UserId, change: UserChange, at: Timestamp) -> Reply<Option<User>> {
        self.store.change_user(user, change, at)
    }

    fn set_role(
        &self,
        tenant: TenantId,
        user: UserId,
        role: Option<Role>,
        actor: String,
        at: Timestamp,
    ) -> Reply<bool> {
        self.store.set_role(tenant, user, role, actor, at)
    }

    fn begin_session(
        &self,
        session: TokenHash,
        user: UserId,
        verified: Option<PasswordHash>,
        until: Timestamp,
        at: Timestamp,
    ) -> Reply<bool> {
        self.store.begin_session(session, user, verified, until, at)
    }

    fn session(&self, session: TokenHash, at: Timestamp) -> Reply<Option<User>> {
        self.store.session(session, at)
    }

    fn end_session(&self, session: TokenHash) -> Reply<()> {
        self.store.end_session(session)
    }

    fn create_link(&self, link: TokenHash, user: UserId, until: Timestamp) -> Reply<()> {
        self.store.create_link(link, user, until)
    }

    fn use_link(&self, link: TokenHash, at: Timestamp) -> Reply<Option<User>> {
        self.store.use_link(link, at)
    }

    fn failures(&self, name: TokenHash) -> Reply<Option<Failures>> {
        self.store.failures(name)
    }

    fn try_sign_in(&self, name: TokenHash, at: Timestamp) -> Reply<Option<Failures>> {
        self.store.try_sign_in(name, at)
    }
}

impl Board for Troubled {
    fn find_tenants(&self, query: TenantQuery) -> Reply<Vec<Tenant>> {
        self.store.find_tenants(query)
    }

    fn tenant_settings(&self, tenant: TenantId) -> Reply<Option<TenantSettings>> {
        self.store.tenant_settings(tenant)
    }

    fn set_kept(
        &self,
        tenant: TenantId,
        kept_ms: Option<i64>,
        actor: String,
        at: Timestamp,
    ) -> Reply<()> {
        self.store.set_kept(tenant, kept_ms, actor, at)
    }

    fn find_webhooks(&self, tenant: TenantId, query: WebhookSearch) -> Reply<WebhookFound> {
        self.store.find_webhooks(tenant, query)
    }

    fn standings(
        &self,
        tenant: TenantId,
        webhooks: Vec<WebhookId>,
        since: Timestamp,
    ) -> Reply<Vec<Standing>> {
        self.store.standings(tenant, webhooks, since)
    }

    fn log(&self, tenant: TenantId, query: LogQuery) -> Reply<LogPage> {
        self.store.log(tenant, query)
    }

    fn log_rows(&self, tenant: TenantId, deliveries: Vec<DeliveryId>) -> Reply<Vec<LogRow>> {
        self.store.log_rows(tenant, deliveries)
    }

    fn notifications(
        &self,
        tenant: TenantId,
        query: NotificationQuery,
    ) -> Reply<Vec<NotificationRow>> {
        self.store.notifications(tenant, query)
    }

    fn notification(
        &self,
        tenant: TenantId,
        id: NotificationId,
    ) -> Reply<Option<NotificationStory>> {
        self.store.notification(tenant, id)
    }

    fn notification_by_key(
        &self,
        tenant: TenantId,
        key: String,
    ) -> Reply<Option<NotificationStory>> {
        self.store.notification_by_key(tenant, key)
    }

    fn bystanders(
        &self,
        tenant: TenantId,
        notification: NotificationId,
        after: Option<WebhookId>,
        limit: usize,
    ) -> Reply<Vec<Bystander>> {
        self.store.bystanders(tenant, notification, after, limit)
    }

    fn count_errand(
        &self,
        tenant: TenantId,
        webhook: WebhookId,
        what: ErrandKind,
        at: Timestamp,
    ) -> Reply<Count> {
        self.store.count_errand(tenant, webhook, what, at)
    }

    fn begin_errand(&self, errand: NewErrand, at: Timestamp) -> Reply<Errand> {
        self.store.begin_errand(errand, at)
    }

    fn errand(&self, tenant: TenantId, id: ErrandId) -> Reply<Option<Errand>> {
        self.store.errand(tenant, id)
    }

    fn running_errands(&self, tenant: TenantId, webhook: WebhookId) -> Reply<Vec<Errand>> {
        self.store.running_errands(tenant, webhook)
    }

    fn tokens(&self, tenant: Option<TenantId>) -> Reply<Vec<TokenRow>> {
        self.store.tokens(tenant)
    }

    fn revoke_token(
        &self,
        tenant: Option<TenantId>,
        token: TokenId,
        actor: String,
        at: Timestamp,
    ) -> Reply<bool> {
        self.store.revoke_token(tenant, token, actor, at)
    }

    fn note_uses(&self, uses: Vec<(TokenHash, Timestamp)>) -> Reply<()> {
        self.store.note_uses(uses)
    }

    fn audit_page(&self, tenant: TenantId, query: AuditQuery) -> Reply<Vec<AuditRow>> {
        self.store.audit_page(tenant, query)
    }
}

impl Store for Troubled {
    fn close(&self) -> Reply<()> {
        self.store.close()
    }
}
