//! Wrapper: a store in front of another one, for tests and the simulator, which disturb calls.
//!
//! A wrapper names the store behind it, and is a store itself: every call passes through
//! [`StoreWrapper::around`], which may refuse it, delay it, or lose its answer.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::call_limits::CallLimits;
use crate::cloud_event::{CloudEventChoice, CloudEvents};
use crate::contract::{
    AlertStore, Backend, Backlog, BacklogCursor, Catalog, CommitSubscriber, DashboardStore,
    DuePage, DueQuery, Frontend, Intake, Leases, Outbox, PendingWebhook, ReplayRequest,
    ReplayResult, SealedId, Settlement, Store, StoreFuture, UserStore, WatchRecord, WebhookTarget,
};
use crate::dashboard::{
    AuditQuery, AuditRow, BoundedCount, BulkJob, BulkJobKind, FailingCounts, FailingPage,
    FailingQuery, MatchExplanation, NewBulkJob, NotificationDetail, NotificationQuery,
    NotificationRow, StatusCounts, TenantQuery, TenantSettings, TokenRow, WebhookHealth,
    WebhookSearch, WebhookSearchPage,
};
use crate::delivery_filter::DeliveryFilter;
use crate::hold::{Hold, HoldChange};
use crate::id::{BulkJobId, DeliveryId, NotificationId, TenantId, TokenId, UserId, WebhookId};
use crate::idempotency::{IdempotencyKey, IdempotentOperation, IdempotentResult};
use crate::incident::{WatchQuery, Watched};
use crate::lease::{Epoch, Lease};
use crate::notification::{AcceptResult, NewNotification};
use crate::own_header::{OwnHeader, OwnHeaderChange, OwnHeaderId, StoredOwnHeader};
use crate::query::{
    AppliedChange, AuditEntry, Declaration, DeliveryDetail, EventPage, LogPage, LogQuery, LogRow,
    StoredResponse, WebhookPage, WebhookQuery,
};
use crate::signing::{Signature, SignatureChange, SignatureId, StoredSignature};
use crate::statistics::{AttemptTally, StatisticsQuery, TallyRow};
use crate::tenant::{DialectName, Event, Grant, NewToken, Tenant, TokenHash};
use crate::time::{Heartbeat, TimeBounds, Timestamp};
use crate::users::{NewUser, PasswordHash, PortalVisitor, Role, SignInFailures, User, UserChange};
use crate::webhook::{NewWebhook, Webhook};
use crate::webhook_tls::{ClientKeyId, StoredClientKey, WebhookTls, WebhookTlsChange};

/// Something that stands before a store.
pub trait StoreWrapper: Send + Sync {
    /// The store that answers what passes through.
    fn inner(&self) -> &Arc<dyn Store>;

    /// The same, for what outlives this borrow.
    fn store(&self) -> Arc<dyn Store> {
        Arc::clone(self.inner())
    }

    /// Makes one call: `work` has the store behind do it, when it is called.
    fn around<T: Send + 'static>(
        &self,
        call: StoreCall,
        work: impl FnOnce() -> StoreFuture<T> + Send + 'static,
    ) -> StoreFuture<T> {
        drop(call);
        work()
    }

    /// `Frontend::trouble`.
    fn known_trouble(&self) -> Option<String> {
        self.inner().trouble()
    }

    /// Who answers what an owner of slots asks.
    fn backend(&self) -> Arc<dyn Backend> {
        Arc::clone(self.inner()) as Arc<dyn Backend>
    }

    /// `Outbox::subscribe`.
    fn attach(&self, listener: Arc<dyn CommitSubscriber>) {
        self.backend().subscribe(listener);
    }

    /// `Outbox::flush`.
    fn hurry(&self) {
        self.backend().flush();
    }
}

/// Which call it is; with its arguments where wrappers care for them.
#[derive(Debug, Clone)]
pub enum StoreCall {
    Accept,
    Replay,
    CancelDeliveries,
    RunIdempotent(IdempotentOperation),
    StoredResponse,
    StoreResponse,
    Claim,
    Renew,
    Leave,
    Release,
    PendingWebhooks,
    WebhookTargets,
    Due(Vec<DueQuery>),
    Settle(Epoch, Arc<[Settlement]>),
    CancelPending(Epoch, WebhookId),
    StepBulkJob(Epoch),
    Backlog,
    Prune(Epoch),
    RecordTallies,
    Tenant,
    Tenants,
    Grants,
    HasTokens,
    CreateToken,
    Events,
    EventPage,
    EventsBehind,
    Event,
    Webhooks,
    Webhook,
    WebhookByKey,
    CreateWebhook,
    SaveWebhook,
    CloudEvents,
    SetCloudEvents,
    CallLimits,
    SetCallLimits,
    Hold,
    ChangeHold(HoldChange),
    Signatures,
    PublishedSignature,
    SignaturesBehind,
    ChangeSignature,
    OwnHeaders,
    OwnHeadersBehind,
    ChangeOwnHeader,
    WebhookTls,
    ClientKeysBehind,
    ChangeWebhookTls,
    Reseal,
    Log,
    Delivery,
    Audit,
    Apply,
    HasUsers,
    Users,
    UsersBehind,
    User,
    CreateUser,
    ChangeUser,
    SetRole,
    BeginSession,
    Session,
    EndSession,
    CreateLink,
    UseLink,
    CreatePortalLink,
    UsePortalLink,
    PortalSession,
    EndPortal,
    Failures,
    TrySignIn,
    FindTenants,
    TenantSettings,
    SetRetention,
    FindWebhooks,
    Standings,
    Failing,
    FailingCounts,
    LogRows,
    Notifications,
    Notification,
    NotificationByKey,
    MatchExplanations,
    CountBulkJob,
    StartBulkJob(NewBulkJob),
    BulkJob,
    RunningBulkJobs,
    CountMatching,
    StopBulkJob,
    Tokens,
    TokensBehind,
    Token,
    RevokeToken,
    NoteUses,
    AuditPage,
    Statistics,
    Watched,
    /// With how many alerts.
    RecordIncidents(usize),
    Ping,
    Close,
    Ended,
}

macro_rules! pass {
    ($contract:ident of $behind:ident {$(
        $call:ident $(($($given:expr),+))? =
            $name:ident($($arg:ident: $type:ty),* $(,)?) -> $answer:ty;
    )*} with {$($rest:tt)*}) => {
        impl<W: StoreWrapper> $contract for W {
            $(fn $name(&self $(, $arg: $type)*) -> StoreFuture<$answer> {
                let call = StoreCall::$call $(($($given),+))?;
                let inner = StoreWrapper::$behind(self);
                self.around(call, move || inner.$name($($arg),*))
            })*
            $($rest)*
        }
    };
}

pass!(Intake of store {
    Accept = accept(batch: Vec<NewNotification>) -> Vec<AcceptResult>;
    Replay = replay(ask: ReplayRequest, at: Timestamp) -> ReplayResult;
    CancelDeliveries = cancel_deliveries(
        tenant: TenantId,
        deliveries: Vec<DeliveryId>,
        actor: String,
        at: Timestamp,
    ) -> usize;
    RunIdempotent(effect.clone()) = run_idempotent(
        key: IdempotencyKey,
        effect: IdempotentOperation,
        at: Timestamp,
    ) -> IdempotentResult;
    StoredResponse = stored_response(key: String, holder: TokenHash) -> Option<StoredResponse>;
    StoreResponse = store_response(answer: StoredResponse, at: Timestamp) -> ();
} with {});

pass!(Leases of backend {
    Claim = claim(now: Timestamp) -> Lease;
    Renew = renew(lease: Lease, beat: Heartbeat) -> Lease;
    Leave = leave(lease: Lease, beat: Heartbeat) -> Lease;
    Release = release(lease: Lease, beat: Heartbeat) -> ();
} with {
    fn last_heartbeat(&self) -> Option<Heartbeat> {
        self.backend().last_heartbeat()
    }
});

pass!(Outbox of backend {
    PendingWebhooks = pending_webhooks(
        epoch: Epoch,
        after: Option<WebhookId>,
        limit: usize,
    ) -> Vec<PendingWebhook>;
    WebhookTargets = webhook_targets(epoch: Epoch, webhooks: Vec<WebhookId>) -> Vec<WebhookTarget>;
    Due(lanes.clone()) = due(epoch: Epoch, lanes: Vec<DueQuery>, now: Timestamp) -> Vec<DuePage>;
    Settle(epoch, batch.clone()) = settle(epoch: Epoch, batch: Arc<[Settlement]>) -> ();
    CancelPending(epoch, webhook) = cancel_pending(
        epoch: Epoch,
        webhook: WebhookId,
        at: Timestamp,
    ) -> usize;
    StepBulkJob(epoch) = step_bulk_job(epoch: Epoch, at: Timestamp) -> bool;
    Backlog = backlog(epoch: Epoch, after: Option<BacklogCursor>) -> Backlog;
    Prune(epoch) = prune(
        epoch: Epoch,
        before: BTreeMap<DialectName, Timestamp>,
        now: TimeBounds,
    ) -> bool;
    RecordTallies = record_tallies(rows: Vec<TallyRow>) -> ();
} with {
    fn subscribe(&self, listener: Arc<dyn CommitSubscriber>) {
        self.attach(listener);
    }

    fn flush(&self) {
        self.hurry();
    }
});

pass!(Catalog of store {
    Tenant = tenant(dialect: DialectName, key: String) -> Option<Tenant>;
    Tenants = tenants(dialect: DialectName) -> Vec<Tenant>;
    Grants = grants(hash: TokenHash) -> Vec<Grant>;
    HasTokens = has_tokens() -> bool;
    CreateToken = create_token(token: NewToken, actor: String, at: Timestamp) -> ();
    Events = events(tenant: TenantId) -> Vec<Event>;
    EventPage = event_page(tenant: TenantId, offset: u64, limit: usize) -> EventPage;
    EventsBehind = events_behind(
        tenant: TenantId,
        after: Option<String>,
        limit: usize,
    ) -> Vec<Event>;
    Event = event(tenant: TenantId, slug: String) -> Option<Event>;
    Webhooks = webhooks(tenants: Vec<TenantId>, query: WebhookQuery) -> WebhookPage;
    Webhook = webhook(tenant: TenantId, id: WebhookId) -> Option<Webhook>;
    WebhookByKey = webhook_by_key(tenants: Vec<TenantId>, key: String) -> Option<Webhook>;
    CreateWebhook = create_webhook(webhook: NewWebhook, actor: String, at: Timestamp) -> Webhook;
    SaveWebhook = save_webhook(webhook: Webhook, actor: String, at: Timestamp) -> Webhook;
    CloudEvents = cloud_events(tenant: TenantId, webhook: WebhookId) -> Option<CloudEvents>;
    SetCloudEvents = set_cloud_events(
        tenant: TenantId,
        webhook: WebhookId,
        choice: Option<CloudEventChoice>,
        actor: String,
        at: Timestamp,
    ) -> ();
    Hold = hold(tenant: TenantId, webhook: WebhookId) -> Option<Hold>;
    ChangeHold(change) = change_hold(
        tenant: TenantId,
        webhook: WebhookId,
        change: HoldChange,
        actor: String,
        at: Timestamp,
    ) -> ();
    CallLimits = call_limits(tenant: TenantId, webhook: WebhookId) -> CallLimits;
    SetCallLimits = set_call_limits(
        tenant: TenantId,
        webhook: WebhookId,
        limits: CallLimits,
        actor: String,
        at: Timestamp,
    ) -> ();
    Signatures = signatures(tenant: TenantId, webhook: WebhookId) -> Vec<Signature>;
    PublishedSignature = published_signature(key_set: String) -> Option<Signature>;
    SignaturesBehind = signatures_behind(
        after: Option<SignatureId>,
        limit: usize,
    ) -> Vec<StoredSignature>;
    ChangeSignature = change_signature(
        id: SignatureId,
        change: SignatureChange,
        actor: String,
        at: Timestamp,
    ) -> ();
    OwnHeaders = own_headers(tenant: TenantId, webhook: WebhookId) -> Vec<OwnHeader>;
    OwnHeadersBehind = own_headers_behind(
        after: Option<OwnHeaderId>,
        limit: usize,
    ) -> Vec<StoredOwnHeader>;
    ChangeOwnHeader = change_own_header(
        id: OwnHeaderId,
        change: OwnHeaderChange,
        actor: String,
        at: Timestamp,
    ) -> ();
    WebhookTls = webhook_tls(tenant: TenantId, webhook: WebhookId) -> WebhookTls;
    ClientKeysBehind = client_keys_behind(
        after: Option<ClientKeyId>,
        limit: usize,
    ) -> Vec<StoredClientKey>;
    ChangeWebhookTls = change_webhook_tls(
        id: ClientKeyId,
        change: WebhookTlsChange,
        actor: String,
        at: Timestamp,
    ) -> ();
    Reseal = reseal(id: SealedId, old: Bytes, new: Bytes) -> bool;
    Log = log(tenant: TenantId, query: LogQuery) -> LogPage;
    Delivery = delivery(tenant: TenantId, id: DeliveryId) -> Option<DeliveryDetail>;
    Audit = audit(tenant: TenantId, limit: usize) -> Vec<AuditEntry>;
    Apply = apply(
        declarations: Vec<Declaration>,
        actor: String,
        at: Timestamp,
    ) -> Vec<AppliedChange>;
} with {
    fn version(&self) -> u64 {
        self.inner().version()
    }

    fn changes(&self) -> u64 {
        self.inner().changes()
    }
});

pass!(UserStore of store {
    HasUsers = has_users() -> bool;
    Users = users(tenant: Option<TenantId>) -> Vec<User>;
    UsersBehind = users_behind(
        tenant: Option<TenantId>,
        after: Option<UserId>,
        limit: usize,
    ) -> Vec<User>;
    User = user(name: String) -> Option<(User, PasswordHash)>;
    CreateUser = create_user(user: NewUser, at: Timestamp) -> User;
    ChangeUser = change_user(user: UserId, change: UserChange, at: Timestamp) -> Option<User>;
    SetRole = set_role(
        tenant: TenantId,
        user: UserId,
        role: Option<Role>,
        actor: String,
        at: Timestamp,
    ) -> bool;
    BeginSession = begin_session(
        session: TokenHash,
        user: UserId,
        verified: Option<PasswordHash>,
        counted: Option<TokenHash>,
        until: Timestamp,
        at: Timestamp,
    ) -> bool;
    Session = session(session: TokenHash, at: Timestamp) -> Option<User>;
    EndSession = end_session(session: TokenHash) -> ();
    CreateLink = create_link(link: TokenHash, user: UserId, until: Timestamp) -> ();
    UseLink = use_link(link: TokenHash, at: Timestamp) -> Option<User>;
    CreatePortalLink = create_portal_link(
        link: TokenHash,
        visitor: PortalVisitor,
        until: Timestamp,
        actor: String,
        at: Timestamp,
    ) -> ();
    UsePortalLink = use_portal_link(
        link: TokenHash,
        session: TokenHash,
        until: Timestamp,
        at: Timestamp,
    ) -> Option<PortalVisitor>;
    PortalSession = portal_session(session: TokenHash, at: Timestamp) -> Option<PortalVisitor>;
    EndPortal = end_portal(tenant: TenantId, actor: String, at: Timestamp) -> ();
    Failures = failures(name: TokenHash) -> Option<SignInFailures>;
    TrySignIn = try_sign_in(name: TokenHash, at: Timestamp) -> Option<SignInFailures>;
} with {});

pass!(DashboardStore of store {
    FindTenants = find_tenants(query: TenantQuery) -> Vec<Tenant>;
    TenantSettings = tenant_settings(tenant: TenantId) -> Option<TenantSettings>;
    SetRetention = set_retention(
        tenant: TenantId,
        retention_ms: Option<i64>,
        actor: String,
        at: Timestamp,
    ) -> ();
    FindWebhooks = find_webhooks(tenant: TenantId, query: WebhookSearch) -> WebhookSearchPage;
    Standings = standings(
        tenant: TenantId,
        webhooks: Vec<WebhookId>,
        since: Timestamp,
    ) -> Vec<WebhookHealth>;
    Failing = failing(query: FailingQuery) -> FailingPage;
    FailingCounts = failing_counts() -> FailingCounts;
    LogRows = log_rows(tenant: TenantId, deliveries: Vec<DeliveryId>) -> Vec<LogRow>;
    Notifications = notifications(
        tenant: TenantId,
        query: NotificationQuery,
    ) -> Vec<NotificationRow>;
    Notification = notification(tenant: TenantId, id: NotificationId) -> Option<NotificationDetail>;
    NotificationByKey = notification_by_key(
        tenant: TenantId,
        key: String,
    ) -> Option<NotificationDetail>;
    MatchExplanations = match_explanations(
        tenant: TenantId,
        notification: NotificationId,
        after: Option<WebhookId>,
        limit: usize,
    ) -> Vec<MatchExplanation>;
    CountBulkJob = count_bulk_job(
        tenant: TenantId,
        webhook: WebhookId,
        what: BulkJobKind,
        at: Timestamp,
    ) -> BoundedCount;
    CountMatching = count_matching(
        tenant: TenantId,
        webhook: Option<WebhookId>,
        filter: DeliveryFilter,
        at: Timestamp,
    ) -> StatusCounts;
    StartBulkJob(bulk_job.clone()) = start_bulk_job(bulk_job: NewBulkJob, at: Timestamp) -> BulkJob;
    BulkJob = bulk_job(tenant: TenantId, id: BulkJobId) -> Option<BulkJob>;
    StopBulkJob = stop_bulk_job(
        tenant: TenantId,
        id: BulkJobId,
        actor: String,
        at: Timestamp,
    ) -> Option<BulkJob>;
    RunningBulkJobs = running_bulk_jobs(
        tenant: TenantId,
        webhook: Option<WebhookId>,
    ) -> Vec<BulkJob>;
    Tokens = tokens(tenant: Option<TenantId>) -> Vec<TokenRow>;
    TokensBehind = tokens_behind(
        tenant: Option<TenantId>,
        after: Option<String>,
        limit: usize,
    ) -> Vec<TokenRow>;
    Token = token(tenant: Option<TenantId>, name: String) -> Option<TokenRow>;
    RevokeToken = revoke_token(
        tenant: Option<TenantId>,
        token: TokenId,
        actor: String,
        at: Timestamp,
    ) -> bool;
    NoteUses = note_uses(uses: Vec<(TokenHash, Timestamp)>) -> ();
    AuditPage = audit_page(tenant: TenantId, query: AuditQuery) -> Vec<AuditRow>;
    Statistics = statistics(query: StatisticsQuery) -> Vec<AttemptTally>;
} with {});

pass!(AlertStore of store {
    Watched = watched(query: WatchQuery) -> Watched;
    RecordIncidents(round.alerts.len()) = record_incidents(
        round: WatchRecord,
        at: Timestamp,
    ) -> bool;
} with {});

pass!(Frontend of store {
    Ping = ping() -> Vec<String>;
} with {
    fn trouble(&self) -> Option<String> {
        self.known_trouble()
    }
});

pass!(Store of store {
    Close = close() -> ();
    Ended = ended() -> ();
} with {});
