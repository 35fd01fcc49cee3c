//! Catalog: configuration and the log.

use bytes::Bytes;

use crate::call_limits::CallLimits;
use crate::cloud_event::{CloudEventChoice, CloudEvents};
use crate::contract::StoreFuture;
use crate::hold::{Hold, HoldChange};
use crate::id::{DeliveryId, TenantId, WebhookId};
use crate::own_header::{OwnHeader, OwnHeaderChange, OwnHeaderId, StoredOwnHeader};
use crate::query::{
    AppliedChange, AuditEntry, Declaration, DeliveryDetail, EventPage, LogPage, LogQuery,
    WebhookPage, WebhookQuery,
};
use crate::signing::{
    Keyring, SealError, Secret, SecretOf, Signature, SignatureChange, SignatureId, StoredSignature,
};
use crate::tenant::{DialectName, Event, Grant, NewToken, Tenant, TokenHash};
use crate::time::Timestamp;
use crate::webhook::{NewWebhook, Webhook};
use crate::webhook_tls::{ClientKeyId, StoredClientKey, WebhookTls, WebhookTlsChange};

/// Where a sealed secret is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SealedId {
    /// The key of a signature, or its former one.
    Signature(SignatureId),
    Header(OwnHeaderId),
    /// The private key of a client certificate.
    ClientKey(ClientKeyId),
}

/// A secret as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedSecret {
    pub id: SealedId,
    pub sealed: Bytes,
}

impl SealedSecret {
    pub fn open(&self, keyring: &Keyring) -> Result<Secret, SealError> {
        let (webhook, of) = self.owner();
        keyring.open(webhook, of, &self.sealed)
    }

    /// Of which webhook, and what of it.
    pub fn owner(&self) -> (WebhookId, SecretOf<'_>) {
        match &self.id {
            SealedId::Signature(id) => (id.webhook, id.profile.into()),
            SealedId::Header(id) => (id.webhook, (&id.name).into()),
            SealedId::ClientKey(id) => (id.webhook, SecretOf::ClientKey),
        }
    }

    /// What it is, for people.
    pub fn words(&self) -> String {
        match self.owner() {
            (webhook, SecretOf::Signature(profile)) => {
                format!("webhook {}, signature {}", webhook.0, profile.as_str())
            }
            (webhook, SecretOf::Header(name)) => format!("webhook {}, header {name}", webhook.0),
            (webhook, SecretOf::ClientKey) => format!("webhook {}, client certificate", webhook.0),
        }
    }
}

/// Configuration and the log, for any node.
pub trait Catalog: Send + Sync {
    /// Grows with every change of tenants, tokens, events or webhooks, by whichever process (that
    /// of another process is noticed within a second). What is cached is valid for one version.
    ///
    /// Errors: none.
    fn version(&self) -> u64;

    /// Another number whenever something may have been written since it was last asked for, by
    /// whichever process (as `version`). Costs nothing to ask: who follows the log reads it again
    /// only when this moved.
    ///
    /// Errors: none.
    fn changes(&self) -> u64;

    /// The tenant that a dialect knows by this key.
    ///
    /// Errors: those of a read.
    fn tenant(&self, dialect: DialectName, key: String) -> StoreFuture<Option<Tenant>>;

    /// All tenants of a dialect.
    ///
    /// Errors: those of a read.
    fn tenants(&self, dialect: DialectName) -> StoreFuture<Vec<Tenant>>;

    /// Every listing of the token with this hash; none if it is unknown.
    ///
    /// Errors: those of a read.
    fn grants(&self, hash: TokenHash) -> StoreFuture<Vec<Grant>>;

    /// Whether there is any token.
    ///
    /// Errors: those of a read.
    fn has_tokens(&self) -> StoreFuture<bool>;

    /// Writes an audit entry if the token is a tenant's.
    ///
    /// Errors: those of a change; `Conflict(TokenName)`, `Conflict(TokenHash)`.
    fn create_token(&self, token: NewToken, actor: String, at: Timestamp) -> StoreFuture<()>;

    /// Ordered by date, name and slug; those without a date last.
    ///
    /// Errors: those of a read.
    fn events(&self, tenant: TenantId) -> StoreFuture<Vec<Event>>;

    /// By slug, at most `limits::PAGE_ROWS_MAX` of them.
    ///
    /// Errors: those of a read.
    fn event_page(&self, tenant: TenantId, offset: u64, limit: usize) -> StoreFuture<EventPage>;

    /// By slug, at most `limit`, behind `after`: the slug of the last of the page before.
    ///
    /// Errors: those of a read.
    fn events_behind(
        &self,
        tenant: TenantId,
        after: Option<String>,
        limit: usize,
    ) -> StoreFuture<Vec<Event>>;

    /// The event with this slug.
    ///
    /// Errors: those of a read.
    fn event(&self, tenant: TenantId, slug: String) -> StoreFuture<Option<Event>>;

    /// Of all these tenants together, except deleted ones, as in every look-up of webhooks.
    ///
    /// Errors: those of a read.
    fn webhooks(&self, tenants: Vec<TenantId>, query: WebhookQuery) -> StoreFuture<WebhookPage>;

    /// A webhook of the tenant.
    ///
    /// Errors: those of a read.
    fn webhook(&self, tenant: TenantId, id: WebhookId) -> StoreFuture<Option<Webhook>>;

    /// The webhook that one of these tenants has under this key.
    ///
    /// Errors: those of a read.
    fn webhook_by_key(&self, tenants: Vec<TenantId>, key: String) -> StoreFuture<Option<Webhook>>;

    /// Writes an audit entry in the same transaction, as does `save_webhook`. A key stays taken
    /// when its webhook is deleted.
    ///
    /// Errors: those of a change; `Conflict(WebhookKey)`, `TooManyWebhooks`. Not safe to repeat
    /// without a key: `run_idempotent` is.
    fn create_webhook(
        &self,
        webhook: NewWebhook,
        actor: String,
        at: Timestamp,
    ) -> StoreFuture<Webhook>;

    /// Replaces a webhook whose stored version is `webhook.version`.
    ///
    /// Disabling cancels what is pending, at most `limits::BULK_STEP_MAX` here and the rest by
    /// the engine; deleting is disabling for good. Enabling cancels what is left of that: what was
    /// pending when a webhook was disabled is never sent unless somebody asks for it. A pause ends
    /// with the target URL that it was asked for.
    ///
    /// Errors: those of a change; `Stale` if it has another version, and for ever once it is
    /// deleted; `Busy` also when it is enabled while more than one step is left to cancel;
    /// `Conflict(WebhookKey)` if it has no key yet and is given one that is taken.
    fn save_webhook(&self, webhook: Webhook, actor: String, at: Timestamp) -> StoreFuture<Webhook>;

    /// Whether calls of a webhook of the tenant are CloudEvents, in which mode, and whether its
    /// receiver agreed to them.
    ///
    /// Errors: those of a read.
    fn cloud_events(
        &self,
        tenant: TenantId,
        webhook: WebhookId,
    ) -> StoreFuture<Option<CloudEvents>>;

    /// Changes that, and writes an audit entry if it is a change. A handshake that is chosen where
    /// there was none begins anew; another mode leaves it as it is.
    ///
    /// Errors: those of a change; `Stale` if the webhook is not there.
    fn set_cloud_events(
        &self,
        tenant: TenantId,
        webhook: WebhookId,
        choice: Option<CloudEventChoice>,
        actor: String,
        at: Timestamp,
    ) -> StoreFuture<()>;

    /// The limits that a webhook of the tenant has of its own.
    ///
    /// Errors: those of a read.
    fn call_limits(&self, tenant: TenantId, webhook: WebhookId) -> StoreFuture<CallLimits>;

    /// Changes them all, and writes an audit entry if it is a change.
    ///
    /// Errors: those of a change; `Stale` if the webhook is not there.
    fn set_call_limits(
        &self,
        tenant: TenantId,
        webhook: WebhookId,
        limits: CallLimits,
        actor: String,
        at: Timestamp,
    ) -> StoreFuture<()>;

    /// The hold of a webhook of the tenant, if somebody paused it.
    ///
    /// Errors: those of a read.
    fn hold(&self, tenant: TenantId, webhook: WebhookId) -> StoreFuture<Option<Hold>>;

    /// Pauses or resumes a webhook, and writes an audit entry if it is a change.
    ///
    /// Errors: those of a change; `Stale` if the webhook is not there.
    fn change_hold(
        &self,
        tenant: TenantId,
        webhook: WebhookId,
        change: HoldChange,
        actor: String,
        at: Timestamp,
    ) -> StoreFuture<()>;

    /// How calls of a webhook of the tenant are signed, by profile. Keys are sealed.
    ///
    /// Errors: those of a read.
    fn signatures(&self, tenant: TenantId, webhook: WebhookId) -> StoreFuture<Vec<Signature>>;

    /// The signature of whichever tenant whose public keys are published under this name.
    ///
    /// Errors: those of a read.
    fn published_signature(&self, key_set: String) -> StoreFuture<Option<Signature>>;

    /// The signatures of all tenants, at most `limit`, behind `after`: the last of the page before.
    ///
    /// Errors: those of a read.
    fn signatures_behind(
        &self,
        after: Option<SignatureId>,
        limit: usize,
    ) -> StoreFuture<Vec<StoredSignature>>;

    /// Changes one signature, and writes an audit entry. Deleting a webhook removes all of its
    /// signatures.
    ///
    /// Errors: those of a change; `Stale` if the webhook or what is to be changed is not there;
    /// `Conflict(SignatureProfile)`, `Conflict(SignatureHeader)`; `Conflict(FormerKey)` if there is
    /// to be another key while the former one still signs.
    fn change_signature(
        &self,
        id: SignatureId,
        change: SignatureChange,
        actor: String,
        at: Timestamp,
    ) -> StoreFuture<()>;

    /// The own headers of a webhook of the tenant, by name. Values are sealed.
    ///
    /// Errors: those of a read.
    fn own_headers(&self, tenant: TenantId, webhook: WebhookId) -> StoreFuture<Vec<OwnHeader>>;

    /// The own headers of all tenants, at most `limit`, behind `after`: the last of the page
    /// before.
    ///
    /// Errors: those of a read.
    fn own_headers_behind(
        &self,
        after: Option<OwnHeaderId>,
        limit: usize,
    ) -> StoreFuture<Vec<StoredOwnHeader>>;

    /// Changes one own header, and writes an audit entry. Deleting a webhook removes all of its own
    /// headers.
    ///
    /// Errors: those of a change; `Stale` if the webhook or what is to be changed is not there;
    /// `Conflict(OwnHeader)`, `Conflict(OwnHeaderSigned)`; `Conflict(OwnHeaders)` and
    /// `Conflict(OwnHeaderBytes)` beyond the limits of `limits`.
    fn change_own_header(
        &self,
        id: OwnHeaderId,
        change: OwnHeaderChange,
        actor: String,
        at: Timestamp,
    ) -> StoreFuture<()>;

    /// What a webhook of the tenant has of its own for TLS. Its private key is sealed.
    ///
    /// Errors: those of a read.
    fn webhook_tls(&self, tenant: TenantId, webhook: WebhookId) -> StoreFuture<WebhookTls>;

    /// The private keys of the client certificates of all tenants, at most `limit`, behind
    /// `after`: the last of the page before.
    ///
    /// Errors: those of a read.
    fn client_keys_behind(
        &self,
        after: Option<ClientKeyId>,
        limit: usize,
    ) -> StoreFuture<Vec<StoredClientKey>>;

    /// Changes what a webhook has of its own for TLS, and writes an audit entry. Deleting a webhook
    /// removes it.
    ///
    /// Errors: those of a change; `Stale` if the webhook or what is to be removed is not there.
    fn change_webhook_tls(
        &self,
        id: ClientKeyId,
        change: WebhookTlsChange,
        actor: String,
        at: Timestamp,
    ) -> StoreFuture<()>;

    /// Puts the secret `new` in the place of `old`, which is the same sealed otherwise; answers
    /// false if `old` is not there any more.
    ///
    /// Errors: those of a change.
    fn reseal(&self, id: SealedId, old: Bytes, new: Bytes) -> StoreFuture<bool>;

    /// Deliveries, newest first, of deleted webhooks, too.
    ///
    /// Errors: those of a read.
    fn log(&self, tenant: TenantId, query: LogQuery) -> StoreFuture<LogPage>;

    /// All there is of one delivery.
    ///
    /// Errors: those of a read.
    fn delivery(&self, tenant: TenantId, id: DeliveryId) -> StoreFuture<Option<DeliveryDetail>>;

    /// The latest entries of the audit log, newest first.
    ///
    /// Errors: those of a read.
    fn audit(&self, tenant: TenantId, limit: usize) -> StoreFuture<Vec<AuditEntry>>;

    /// Brings tenants to the declared state, all or nothing. Safe to repeat.
    ///
    /// Errors: those of a change; `Conflict(TokenName)`, `Conflict(TokenHash)`, `TooManyWebhooks`;
    /// `Busy` as `save_webhook`.
    fn apply(
        &self,
        declarations: Vec<Declaration>,
        actor: String,
        at: Timestamp,
    ) -> StoreFuture<Vec<AppliedChange>>;
}
