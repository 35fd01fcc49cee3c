//! The contract on an engine that runs SQL: each question and each change becomes a job of its
//! executor. The part for users and the dashboard is in `dashboard.rs`; that of the owner of slots,
//! and leases, are each engine's own.

use std::sync::Arc;

use bytes::Bytes;
use model::call_limits::CallLimits;
use model::cloud_event::{CloudEventChoice, CloudEvents};
use model::contract::{Catalog, Intake, ReplayRequest, ReplayResult, SealedId, StoreFuture};
use model::hold::{Hold, HoldChange};
use model::id::{DeliveryId, TenantId, WebhookId};
use model::idempotency::{IdempotencyKey, IdempotentOperation, IdempotentResult};
use model::notification::{AcceptResult, NewNotification};
use model::own_header::{OwnHeader, OwnHeaderChange, OwnHeaderId, StoredOwnHeader};
use model::query::{
    AppliedChange, AuditEntry, Declaration, DeliveryDetail, EventPage, LogPage, LogQuery,
    StoredResponse, WebhookPage, WebhookQuery,
};
use model::signing::{Signature, SignatureChange, SignatureId, StoredSignature};
use model::tenant::{DialectName, Event, Grant, NewToken, Tenant, TokenHash};
use model::time::Timestamp;
use model::webhook::{NewWebhook, Webhook};
use model::webhook_tls::{ClientKeyId, StoredClientKey, WebhookTls, WebhookTlsChange};

use crate::sql::executor::{ChangeScope, Executor, shares};
use crate::sql::queue::JobClass;
use crate::sql::transaction::Transaction;
use crate::sql::{
    apply, audit, call_limits, cancel, catalog, cloud_events, delivery_detail, holds, idempotency,
    log, own_headers, replay, signatures, stored_responses, webhook_rows, webhook_tls, webhooks,
};

/// A store on an engine.
pub(crate) struct SqlStore<E> {
    pub(crate) executor: Arc<E>,
}

impl<E: Executor> Intake for SqlStore<E> {
    fn accept(&self, batch: Vec<NewNotification>) -> StoreFuture<Vec<AcceptResult>> {
        self.executor.accept(batch)
    }

    fn replay(&self, ask: ReplayRequest, at: Timestamp) -> StoreFuture<ReplayResult> {
        self.executor
            .write(JobClass::Work, move |tx| replay::replay(tx, &ask, at))
    }

    fn cancel_deliveries(
        &self,
        tenant: TenantId,
        deliveries: Vec<DeliveryId>,
        actor: String,
        at: Timestamp,
    ) -> StoreFuture<usize> {
        self.executor.write(JobClass::Bulk, move |tx| {
            cancel::cancel_deliveries(tx, tenant, deliveries, &actor, at)
        })
    }

    fn run_idempotent(
        &self,
        key: IdempotencyKey,
        effect: IdempotentOperation,
        at: Timestamp,
    ) -> StoreFuture<IdempotentResult> {
        match &effect {
            IdempotentOperation::Accept { batch, .. } => {
                let shares = shares(batch);
                let work = move |tx: &mut dyn Transaction| idempotency::run(tx, &key, &effect, at);
                self.executor.write_intake(shares, work)
            }
            IdempotentOperation::CreateWebhook { webhook, .. } => {
                let scope = ChangeScope::Tenant(webhook.tenant);
                let work = move |tx: &mut dyn Transaction| idempotency::run(tx, &key, &effect, at);
                self.executor.change(scope, 1, work)
            }
            IdempotentOperation::SaveWebhook { webhook, .. } => {
                let scope = ChangeScope::Tenant(webhook.tenant);
                let work = move |tx: &mut dyn Transaction| idempotency::run(tx, &key, &effect, at);
                self.executor.change(scope, 1, work)
            }
            IdempotentOperation::Replay { .. } => {
                let work = move |tx: &mut dyn Transaction| idempotency::run(tx, &key, &effect, at);
                self.executor.write(JobClass::Work, work)
            }
        }
    }

    fn stored_response(
        &self,
        key: String,
        holder: TokenHash,
    ) -> StoreFuture<Option<StoredResponse>> {
        self.executor.read(JobClass::Work, move |conn| {
            stored_responses::find(conn, &key, holder)
        })
    }

    fn store_response(&self, answer: StoredResponse, at: Timestamp) -> StoreFuture<()> {
        self.executor.write(JobClass::Work, move |tx| {
            stored_responses::store(tx, &answer, at)
        })
    }
}

impl<E: Executor> Catalog for SqlStore<E> {
    fn version(&self) -> u64 {
        self.executor.version()
    }

    fn changes(&self) -> u64 {
        self.executor.changes()
    }

    fn tenant(&self, dialect: DialectName, key: String) -> StoreFuture<Option<Tenant>> {
        self.executor.read(JobClass::Work, move |conn| {
            catalog::tenant(conn, &dialect, &key)
        })
    }

    fn tenants(&self, dialect: DialectName) -> StoreFuture<Vec<Tenant>> {
        self.executor
            .read(JobClass::Work, move |conn| catalog::tenants(conn, &dialect))
    }

    fn grants(&self, hash: TokenHash) -> StoreFuture<Vec<Grant>> {
        self.executor
            .read(JobClass::Work, move |conn| catalog::grants(conn, hash))
    }

    fn has_tokens(&self) -> StoreFuture<bool> {
        self.executor.read(JobClass::Work, catalog::has_tokens)
    }

    fn create_token(&self, token: NewToken, actor: String, at: Timestamp) -> StoreFuture<()> {
        let scope = token.tenant.map_or(ChangeScope::All, ChangeScope::Tenant);
        self.executor.change(scope, 1, move |tx| {
            catalog::create_token(tx, &token, &actor, at)
        })
    }

    fn events(&self, tenant: TenantId) -> StoreFuture<Vec<Event>> {
        self.executor
            .read(JobClass::Work, move |conn| catalog::events(conn, tenant))
    }

    fn event_page(&self, tenant: TenantId, offset: u64, limit: usize) -> StoreFuture<EventPage> {
        self.executor.read(JobClass::Work, move |conn| {
            catalog::event_page(conn, tenant, offset, limit)
        })
    }

    fn events_behind(
        &self,
        tenant: TenantId,
        after: Option<String>,
        limit: usize,
    ) -> StoreFuture<Vec<Event>> {
        self.executor.read(JobClass::Work, move |conn| {
            catalog::events_behind(conn, tenant, after.as_deref(), limit)
        })
    }

    fn event(&self, tenant: TenantId, slug: String) -> StoreFuture<Option<Event>> {
        self.executor.read(JobClass::Work, move |conn| {
            catalog::event(conn, tenant, &slug)
        })
    }

    fn webhooks(&self, tenants: Vec<TenantId>, query: WebhookQuery) -> StoreFuture<WebhookPage> {
        self.executor.read(JobClass::Work, move |conn| {
            catalog::webhooks(conn, &tenants, query)
        })
    }

    fn webhook_by_key(&self, tenants: Vec<TenantId>, key: String) -> StoreFuture<Option<Webhook>> {
        self.executor.read(JobClass::Work, move |conn| {
            webhook_rows::find_by_key(conn, &tenants, &key)
        })
    }

    fn webhook(&self, tenant: TenantId, id: WebhookId) -> StoreFuture<Option<Webhook>> {
        self.executor.read(JobClass::Work, move |conn| {
            webhook_rows::find(conn, tenant, id)
        })
    }

    fn create_webhook(
        &self,
        webhook: NewWebhook,
        actor: String,
        at: Timestamp,
    ) -> StoreFuture<Webhook> {
        let scope = ChangeScope::Tenant(webhook.tenant);
        self.executor.change(scope, 1, move |tx| {
            webhooks::create(tx, webhook, &actor, at)
        })
    }

    fn save_webhook(&self, webhook: Webhook, actor: String, at: Timestamp) -> StoreFuture<Webhook> {
        let scope = ChangeScope::Tenant(webhook.tenant);
        self.executor
            .change(scope, 1, move |tx| webhooks::save(tx, webhook, &actor, at))
    }

    fn cloud_events(
        &self,
        tenant: TenantId,
        webhook: WebhookId,
    ) -> StoreFuture<Option<CloudEvents>> {
        self.executor.read(JobClass::Work, move |conn| {
            cloud_events::chosen(conn, tenant, webhook)
        })
    }

    fn set_cloud_events(
        &self,
        tenant: TenantId,
        webhook: WebhookId,
        choice: Option<CloudEventChoice>,
        actor: String,
        at: Timestamp,
    ) -> StoreFuture<()> {
        let scope = ChangeScope::Tenant(tenant);
        self.executor.change(scope, 1, move |tx| {
            cloud_events::choose(tx, (tenant, webhook), choice, &actor, at).map(drop)
        })
    }

    fn hold(&self, tenant: TenantId, webhook: WebhookId) -> StoreFuture<Option<Hold>> {
        self.executor.read(JobClass::Work, move |conn| {
            holds::hold(conn, tenant, webhook)
        })
    }

    fn change_hold(
        &self,
        tenant: TenantId,
        webhook: WebhookId,
        change: HoldChange,
        actor: String,
        at: Timestamp,
    ) -> StoreFuture<()> {
        let scope = ChangeScope::Tenant(tenant);
        self.executor.change(scope, 1, move |tx| {
            holds::change(tx, (tenant, webhook), change, &actor, at)
        })
    }

    fn call_limits(&self, tenant: TenantId, webhook: WebhookId) -> StoreFuture<CallLimits> {
        self.executor.read(JobClass::Work, move |conn| {
            call_limits::limits(conn, tenant, webhook)
        })
    }

    fn set_call_limits(
        &self,
        tenant: TenantId,
        webhook: WebhookId,
        limits: CallLimits,
        actor: String,
        at: Timestamp,
    ) -> StoreFuture<()> {
        let scope = ChangeScope::Tenant(tenant);
        self.executor.change(scope, 1, move |tx| {
            call_limits::set_limits(tx, (tenant, webhook), &limits, &actor, at).map(drop)
        })
    }

    fn signatures(&self, tenant: TenantId, webhook: WebhookId) -> StoreFuture<Vec<Signature>> {
        self.executor.read(JobClass::Work, move |conn| {
            signatures::signatures(conn, tenant, webhook)
        })
    }

    fn published_signature(&self, key_set: String) -> StoreFuture<Option<Signature>> {
        self.executor.read(JobClass::Work, move |conn| {
            signatures::published(conn, &key_set)
        })
    }

    fn signatures_behind(
        &self,
        after: Option<SignatureId>,
        limit: usize,
    ) -> StoreFuture<Vec<StoredSignature>> {
        self.executor.read(JobClass::Work, move |conn| {
            signatures::behind(conn, after, limit)
        })
    }

    fn change_signature(
        &self,
        id: SignatureId,
        change: SignatureChange,
        actor: String,
        at: Timestamp,
    ) -> StoreFuture<()> {
        let scope = ChangeScope::Tenant(id.tenant);
        self.executor.change(scope, 1, move |tx| {
            signatures::change(tx, id, change, &actor, at)
        })
    }

    fn own_headers(&self, tenant: TenantId, webhook: WebhookId) -> StoreFuture<Vec<OwnHeader>> {
        self.executor.read(JobClass::Work, move |conn| {
            own_headers::own_headers(conn, tenant, webhook)
        })
    }

    fn own_headers_behind(
        &self,
        after: Option<OwnHeaderId>,
        limit: usize,
    ) -> StoreFuture<Vec<StoredOwnHeader>> {
        self.executor.read(JobClass::Work, move |conn| {
            own_headers::behind(conn, after.as_ref(), limit)
        })
    }

    fn change_own_header(
        &self,
        id: OwnHeaderId,
        change: OwnHeaderChange,
        actor: String,
        at: Timestamp,
    ) -> StoreFuture<()> {
        let scope = ChangeScope::Tenant(id.tenant);
        self.executor.change(scope, 1, move |tx| {
            own_headers::change(tx, &id, &change, &actor, at)
        })
    }

    fn webhook_tls(&self, tenant: TenantId, webhook: WebhookId) -> StoreFuture<WebhookTls> {
        self.executor.read(JobClass::Work, move |conn| {
            webhook_tls::webhook_tls(conn, tenant, webhook)
        })
    }

    fn client_keys_behind(
        &self,
        after: Option<ClientKeyId>,
        limit: usize,
    ) -> StoreFuture<Vec<StoredClientKey>> {
        self.executor.read(JobClass::Work, move |conn| {
            webhook_tls::behind(conn, after, limit)
        })
    }

    fn change_webhook_tls(
        &self,
        id: ClientKeyId,
        change: WebhookTlsChange,
        actor: String,
        at: Timestamp,
    ) -> StoreFuture<()> {
        let scope = ChangeScope::Tenant(id.tenant);
        self.executor.change(scope, 1, move |tx| {
            webhook_tls::change(tx, id, &change, &actor, at)
        })
    }

    fn reseal(&self, id: SealedId, old: Bytes, new: Bytes) -> StoreFuture<bool> {
        let scope = ChangeScope::Tenant(match &id {
            SealedId::Signature(id) => id.tenant,
            SealedId::Header(id) => id.tenant,
            SealedId::ClientKey(id) => id.tenant,
        });
        self.executor.change(scope, 1, move |tx| match &id {
            SealedId::Signature(id) => signatures::reseal(tx, *id, &old, &new),
            SealedId::Header(id) => own_headers::reseal(tx, id, &old, &new),
            SealedId::ClientKey(id) => webhook_tls::reseal(tx, *id, &old, &new),
        })
    }

    fn log(&self, tenant: TenantId, query: LogQuery) -> StoreFuture<LogPage> {
        self.executor
            .read_deliveries(JobClass::Bulk, move |conn, horizon| {
                log::log(conn, tenant, &query, horizon)
            })
    }

    fn delivery(&self, tenant: TenantId, id: DeliveryId) -> StoreFuture<Option<DeliveryDetail>> {
        self.executor
            .read_deliveries(JobClass::Work, move |conn, horizon| {
                delivery_detail::delivery(conn, tenant, id, horizon)
            })
    }

    fn audit(&self, tenant: TenantId, limit: usize) -> StoreFuture<Vec<AuditEntry>> {
        self.executor.read(JobClass::Work, move |conn| {
            audit::latest(conn, tenant, limit)
        })
    }

    fn apply(
        &self,
        declarations: Vec<Declaration>,
        actor: String,
        at: Timestamp,
    ) -> StoreFuture<Vec<AppliedChange>> {
        let weight = declarations.len();
        self.executor.change(ChangeScope::All, weight, move |tx| {
            apply::apply(tx, declarations, &actor, at)
        })
    }
}
