//! What a store must do: Ledger (hot: batches, one transaction each, safe to repeat), Catalog
//! (cold: configuration and reading, one question each), People (who signs in), Board (what the
//! dashboard asks), and how it tells the engine.
//!
//! `now` is always an argument. Every Catalog question about a tenant's things names the tenant,
//! so that none can answer across tenants. Bounds of batches are in `limits.rs`.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::attempt::Attempt;
use crate::dashboard::{
    AuditQuery, AuditRow, BoundedCount, BulkJob, MatchExplanation, NewBulkJob, NotificationDetail,
    NotificationQuery, NotificationRow, TenantQuery, TenantSettings, TokenRow, WebhookHealth,
    WebhookSearch, WebhookSearchPage,
};
use crate::delivery::{DueDelivery, NextState};
use crate::id::{BulkJobId, DeliveryId, NotificationId, TenantId, TokenId, UserId, WebhookId};
use crate::idempotency::{IdempotencyKey, IdempotentOperation, IdempotentResult};
use crate::limits;
use crate::notification::{AcceptResult, NewNotification};
use crate::query::{
    AppliedChange, AuditEntry, Declaration, DeliveryDetail, EventPage, LogPage, LogQuery, LogRow,
    StoredResponse, WebhookPage, WebhookQuery,
};
use crate::tenant::{DialectName, Event, Grant, NewToken, Tenant, TokenHash};
use crate::time::{Heartbeat, TimeBounds, Timestamp};
use crate::users::{NewUser, PasswordHash, Role, SignInFailures, User, UserChange};
use crate::webhook::{Headers, NewWebhook, Webhook};

pub use crate::disk_fault::DiskFault;
pub use crate::replay::{ReplayFilter, ReplayRequest, ReplayResult, ReplayScope};

/// An answer of the store. The work goes on even if nobody waits for it.
pub type StoreFuture<T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send>>;

/// What callers branch on, and nothing else.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    #[error("{0} is taken")]
    Conflict(Conflict),
    /// The thing changed since it was read: read it again.
    #[error("changed meanwhile")]
    Stale,
    /// The tenant has as many webhooks as it may have.
    #[error(
        "a tenant may have {} webhooks, and this would be one more",
        limits::WEBHOOKS_MAX
    )]
    TooManyWebhooks,
    /// Too much is waiting already; nothing was taken on.
    #[error("too much is waiting to be written")]
    Busy,
    /// The disk does not do what it should; nothing was taken on.
    #[error("{0}")]
    Disk(DiskFault),
    /// The answer was lost after the work may have been done: repeat it, that is safe.
    #[error("it is not known whether it was written")]
    Unknown,
    /// The store has ended by itself: what its disk holds is not known, only a restart finds out.
    #[error("the store has ended, and a restart finds out what its disk holds")]
    Ended,
    #[error("the store failed: {0}")]
    Broken(Arc<dyn std::error::Error + Send + Sync>),
}

impl StoreError {
    /// Whether it may come of a part of what was asked, and the rest would be answered.
    pub fn is_of_a_part(&self) -> bool {
        matches!(self, Self::Broken(_) | Self::Disk(DiskFault::Unreadable))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    #[error("a token of this name")]
    TokenName,
    #[error("this token")]
    TokenHash,
    #[error("the key of this webhook")]
    WebhookKey,
    #[error("a user of this name")]
    UserName,
    #[error("this idempotency key")]
    IdempotencyKey,
}

/// The hot half: what every notification passes through.
///
/// What is due when, until when a webhook is paused, and `now` of `due` are times of the schedule,
/// here and in `CommitSubscriber`; all else is wall time, as it is everywhere in the other halves.
pub trait Ledger: Send + Sync {
    /// Who is told what the store took on. Called once, before anything is accepted.
    fn subscribe(&self, listener: Arc<dyn CommitSubscriber>);

    /// Writes down notifications and all their deliveries, in the order given; one answer each.
    /// Concurrent callers share a commit. Answers only when everything is durable.
    fn accept(&self, batch: Vec<NewNotification>) -> StoreFuture<Vec<AcceptResult>>;

    /// The webhooks with an id above `after` that have pending deliveries, by id, at most
    /// `limit`, each with its earliest due time. Costs what it answers, not what is pending.
    fn pending_webhooks(
        &self,
        after: Option<WebhookId>,
        limit: usize,
    ) -> StoreFuture<Vec<PendingWebhook>>;

    /// What calling these webhooks takes. Unknown ones are left out.
    fn webhook_targets(&self, webhooks: Vec<WebhookId>) -> StoreFuture<Vec<WebhookTarget>>;

    /// For each lane the pending deliveries due by `now`, earliest first, at most as many as
    /// asked for; and ahead of their time those that `DueQuery::recovery` asks for. Sees everything
    /// that was answered before it was asked.
    fn due(&self, lanes: Vec<DueQuery>, now: Timestamp) -> StoreFuture<Vec<DuePage>>;

    /// Writes down attempts and what they make of their deliveries. A delivery that is no longer
    /// pending in the same round keeps its state, and gets the attempt written down; a success
    /// counts even then. Disabling a webhook happens in the same transaction, with an audit
    /// entry, and cancels at most `limits::BULK_STEP_ROWS_MAX` pending deliveries; `cancel_pending`
    /// cancels the rest.
    ///
    /// Shared, so that whoever asks can ask again without a copy of what receivers said.
    ///
    /// A batch in which everything was delivered may wait for a commit that is made anyway, for
    /// `limits::COMMIT_DELAY_MAX_MS` at most, or until `flush`.
    fn settle(&self, batch: Arc<[Settlement]>) -> StoreFuture<()>;

    /// More outcomes wait behind the batch that `settle` was given: it no longer waits for another
    /// commit to join, but for some milliseconds at most.
    fn flush(&self);

    /// Makes deliveries due at `at` once more; those that had ended begin a new round.
    /// For all but `One` at most `limits::BULK_STEP_ROWS_MAX` rows: repeat while `more`.
    fn replay(&self, ask: ReplayRequest, at: Timestamp) -> StoreFuture<ReplayResult>;

    /// Cancels pending deliveries of a webhook that is disabled, at most
    /// `limits::BULK_STEP_ROWS_MAX`; answers how many. Nothing if it is enabled.
    fn cancel_pending(&self, webhook: WebhookId, at: Timestamp) -> StoreFuture<usize>;

    /// Removes ended deliveries accepted before their dialect's time in `before` with their
    /// attempts, notifications left without deliveries, and responses stored longer than
    /// `limits::IDEMPOTENCY_RETENTION_MS`; looks at no more than `limits::BULK_STEP_ROWS_MAX` rows;
    /// answers whether there may be more. What has no time there stays. A tenant with a time of its
    /// own (`DashboardStore::set_retention`) has that instead. What signing in leaves behind, bulk
    /// jobs that ended long ago, and deleted webhooks of which nothing else is left go as well.
    ///
    /// Of what may end with a time it removes what has ended at `now.earliest`. What began later
    /// than `now.latest`, by a clock that was ahead, counts as begun then.
    fn prune(&self, before: BTreeMap<DialectName, Timestamp>, now: TimeBounds)
    -> StoreFuture<bool>;

    /// Cancels these pending deliveries because somebody asked, and writes that into the audit
    /// log; at most `limits::BULK_STEP_ROWS_MAX`. Those that are not pending, or not the tenant's,
    /// stay as they are. Answers how many it was done to.
    fn cancel_deliveries(
        &self,
        tenant: TenantId,
        deliveries: Vec<DeliveryId>,
        actor: String,
        at: Timestamp,
    ) -> StoreFuture<usize>;

    /// Takes one step of the oldest bulk job that has not ended, of at most
    /// `limits::BULK_STEP_ROWS_MAX` rows; answers whether there is more to do. A bulk job of a
    /// webhook that is disabled or deleted meanwhile is aborted, and says why.
    fn step_bulk_job(&self, at: Timestamp) -> StoreFuture<bool>;

    /// Counts what is pending, from `after` on; looks at `limits::BULK_STEP_ROWS_MAX` rows at most.
    fn backlog(&self, after: Option<BacklogCursor>) -> StoreFuture<Backlog>;

    /// Writes down how far the schedule has come, and what the wall clock says then: where the
    /// schedule goes on after a start, and how its times are told in wall time.
    fn record_heartbeat(&self, beat: Heartbeat) -> StoreFuture<()>;

    /// What was written down last; of a store without it, the newest time in it as both.
    fn last_heartbeat(&self) -> Option<Heartbeat>;

    /// Answers once the writer has come round, which shows that it lives, with a sentence for each
    /// thing that is worth knowing of the disk. An error if nothing can be written to it.
    fn ping(&self) -> StoreFuture<Vec<String>>;
}

/// A webhook with pending deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PendingWebhook {
    pub webhook: WebhookId,
    pub due_at: Timestamp,
}

/// What calling a webhook takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookTarget {
    pub webhook: WebhookId,
    pub tenant: TenantId,
    pub dialect: DialectName,
    pub key: Option<String>,
    pub target_url: String,
    pub headers: Headers,
    pub retries_max: Option<u32>,
    pub paused_until: Option<Timestamp>,
    /// Since when every attempt has failed, as far as is known.
    pub failing_since: Option<Timestamp>,
    /// When the latest success ended, if nothing is known to have failed since.
    pub succeeded_at: Option<Timestamp>,
    /// `Webhook::version`.
    pub version: i64,
    pub enabled: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DueQuery {
    pub webhook: WebhookId,
    pub limit: usize,
    /// What is to be read ahead of its time, if all that is due was read and there is room.
    pub recovery: Option<RecoveryQuery>,
}

/// Deliveries that wait for a retry though their receiver has recovered: those whose latest
/// attempt began by `tried_by` and was not made ahead of its own time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecoveryQuery {
    pub tried_by: Timestamp,
    /// Where an earlier read left off; `None` begins with the first.
    pub after: Option<DueCursor>,
    pub limit: usize,
}

/// A place among the pending deliveries of a webhook: a due time, and whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct DueCursor {
    pub due_at: Timestamp,
    pub notification: NotificationId,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DuePage {
    pub webhook: WebhookId,
    pub deliveries: Vec<DueDelivery>,
    /// When the first pending delivery beyond these is due (possibly now), if there is one.
    /// Those read ahead count as beyond.
    pub next_due_at: Option<Timestamp>,
    /// What was read ahead of its time; `None` if it was not asked for or did not come to it.
    pub recovery: Option<RecoveryPage>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoveryPage {
    pub deliveries: Vec<DueDelivery>,
    /// Where to go on; `None` when all were looked at.
    pub next: Option<DueCursor>,
}

/// A part of what is pending, counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backlog {
    pub counts: BTreeMap<DialectName, u64>,
    /// Where to go on; `None` when all was counted.
    pub next: Option<BacklogCursor>,
}

/// How far what is pending was counted: first what was tried, then what is fresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BacklogCursor {
    pub fresh: bool,
    pub webhook: WebhookId,
    pub mark: DueCursor,
}

impl BacklogCursor {
    /// All that was tried is counted.
    pub const FRESH: Self = Self {
        fresh: true,
        webhook: WebhookId(i64::MIN),
        mark: DueCursor {
            due_at: Timestamp::EPOCH,
            notification: NotificationId(i64::MIN),
        },
    };
}

/// An attempt and what it makes of its delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    pub id: DeliveryId,
    /// The round in which the attempt began.
    pub round: u32,
    /// Attempts made before this one; tells a settlement that is asked for twice from a second.
    pub attempts: u32,
    /// The version of the webhook that was called: what its receiver asks for (a pause, or not to
    /// be called again) is meant for no other.
    pub webhook_version: i64,
    pub ended_at: Timestamp,
    /// A call just before it, on a kept connection that had ended. It takes nothing from the
    /// schedule, and is written down together with the attempt, before which it is counted.
    pub stale: Option<Box<Attempt>>,
    pub attempt: Attempt,
    pub next: NextState,
}

impl Settlement {
    /// How many calls it stands for.
    pub fn calls(&self) -> u32 {
        1 + u32::from(self.stale.is_some())
    }
}

/// Told by the store, right after a commit and on the store's thread: must not block.
pub trait CommitSubscriber: Send + Sync {
    /// New deliveries, due at once. Of one commit at most `limits::BUFFERED_MAX`.
    fn on_accepted(&self, deliveries: Vec<DueDelivery>);

    /// Somebody waits for each of these: due at once, whatever else its webhook is owed.
    fn on_requested(&self, deliveries: Vec<DueDelivery>);

    /// These webhooks got more deliveries than were told one by one, the first due at that time:
    /// the ledger has them.
    fn on_skipped(&self, lanes: Vec<PendingWebhook>);

    /// These webhooks changed, or got something due.
    fn on_changed(&self, webhooks: &[WebhookId]);

    /// Something changed through another process: anything may be different.
    fn on_external_change(&self);

    /// A bulk job was begun: there are steps to take.
    fn on_bulk_job_started(&self);
}

/// The cold half: configuration and reading.
pub trait Catalog: Send + Sync {
    /// Grows with every change of tenants, tokens, events or webhooks, by whichever process (that
    /// of another process is noticed within a second). What is cached is valid for one version.
    fn version(&self) -> u64;
    /// Another number whenever something may have been written since it was last asked for, by
    /// whichever process (as `version`). Costs nothing to ask: who follows the log reads it again
    /// only when this moved.
    fn changes(&self) -> u64;

    fn tenant(&self, dialect: DialectName, key: String) -> StoreFuture<Option<Tenant>>;
    fn tenants(&self, dialect: DialectName) -> StoreFuture<Vec<Tenant>>;

    /// Every listing of the token with this hash; none if it is unknown.
    fn grants(&self, hash: TokenHash) -> StoreFuture<Vec<Grant>>;
    fn has_tokens(&self) -> StoreFuture<bool>;
    /// `Conflict` if the tenant has a token of this name, or this very token. Writes an audit
    /// entry if it is a tenant's.
    fn create_token(&self, token: NewToken, actor: String, at: Timestamp) -> StoreFuture<()>;

    /// Ordered by date, name and slug; those without a date last.
    fn events(&self, tenant: TenantId) -> StoreFuture<Vec<Event>>;
    /// By slug, at most `limits::PAGE_ROWS_MAX` of them.
    fn event_page(&self, tenant: TenantId, offset: u64, limit: usize) -> StoreFuture<EventPage>;
    fn event(&self, tenant: TenantId, slug: String) -> StoreFuture<Option<Event>>;

    /// Of all these tenants together, except deleted ones, as in every look-up of webhooks.
    fn webhooks(&self, tenants: Vec<TenantId>, query: WebhookQuery) -> StoreFuture<WebhookPage>;
    fn webhook(&self, tenant: TenantId, id: WebhookId) -> StoreFuture<Option<Webhook>>;
    /// The webhook that one of these tenants has under this key.
    fn webhook_by_key(&self, tenants: Vec<TenantId>, key: String) -> StoreFuture<Option<Webhook>>;
    /// `Conflict` if the tenant has or had a webhook of this key. Writes an audit entry in the
    /// same transaction, as does `save_webhook`.
    fn create_webhook(
        &self,
        webhook: NewWebhook,
        actor: String,
        at: Timestamp,
    ) -> StoreFuture<Webhook>;
    /// `Stale` unless `webhook.version` is the stored one. Disabling cancels what is pending, at
    /// most `limits::BULK_STEP_ROWS_MAX` here and the rest by the engine; deleting is disabling for
    /// good. What was deleted is `Stale` for ever. Enabling cancels what is left of that, and is
    /// `Busy` while it is more than one step: what was pending when a webhook was disabled is never
    /// sent unless somebody asks for it.
    /// A pause ends with the target URL that it was asked for.
    fn save_webhook(&self, webhook: Webhook, actor: String, at: Timestamp) -> StoreFuture<Webhook>;

    /// Newest first, of deleted webhooks, too.
    fn log(&self, tenant: TenantId, query: LogQuery) -> StoreFuture<LogPage>;
    fn delivery(&self, tenant: TenantId, id: DeliveryId) -> StoreFuture<Option<DeliveryDetail>>;
    /// Newest first.
    fn audit(&self, tenant: TenantId, limit: usize) -> StoreFuture<Vec<AuditEntry>>;

    /// Does something and keeps what came of it under the key, in one transaction. What is known
    /// under the key already is answered, and nothing is done; `Conflict` if it came of another
    /// request. A key is known for `limits::IDEMPOTENCY_RETENTION_MS` of the schedule's time,
    /// however clocks are set. Safe to repeat.
    fn run_idempotent(
        &self,
        key: IdempotencyKey,
        effect: IdempotentOperation,
        at: Timestamp,
    ) -> StoreFuture<IdempotentResult>;
    fn stored_response(
        &self,
        key: String,
        holder: TokenHash,
    ) -> StoreFuture<Option<StoredResponse>>;
    /// Keeps the first answer given under a key, be the key known or not; a second changes nothing.
    fn store_response(&self, answer: StoredResponse, at: Timestamp) -> StoreFuture<()>;

    /// Brings tenants to the declared state, all or nothing. Safe to repeat.
    fn apply(
        &self,
        declarations: Vec<Declaration>,
        actor: String,
        at: Timestamp,
    ) -> StoreFuture<Vec<AppliedChange>>;
}

/// Who signs in. Secrets come and go as hashes only.
pub trait UserStore: Send + Sync {
    fn has_users(&self) -> StoreFuture<bool>;
    /// Those with a role at this tenant, or all there are; by name.
    fn users(&self, tenant: Option<TenantId>) -> StoreFuture<Vec<User>>;
    /// By the name they sign in with, whatever the case of ASCII letters.
    fn user(&self, name: String) -> StoreFuture<Option<(User, PasswordHash)>>;
    /// `Conflict` if there is a user of this name.
    fn create_user(&self, user: NewUser, at: Timestamp) -> StoreFuture<User>;
    /// `None` if there is no such user.
    fn change_user(
        &self,
        user: UserId,
        change: UserChange,
        at: Timestamp,
    ) -> StoreFuture<Option<User>>;
    /// Gives a role, another role, or with `None` none. Writes an audit entry of the tenant.
    /// Answers whether there is such a user.
    fn set_role(
        &self,
        tenant: TenantId,
        user: UserId,
        role: Option<Role>,
        actor: String,
        at: Timestamp,
    ) -> StoreFuture<bool>;

    /// Begins a session under the hash of its secret; forgets the failures that were `counted` so,
    /// by `people::name_hash`. Answers whether it began: not for a user who may not sign
    /// in, nor if `verified`, the hash of the password that was typed, is not theirs any more.
    fn begin_session(
        &self,
        session: TokenHash,
        user: UserId,
        verified: Option<PasswordHash>,
        counted: Option<TokenHash>,
        until: Timestamp,
        at: Timestamp,
    ) -> StoreFuture<bool>;
    /// Whose session this is, unless it has ended or its user may not sign in.
    fn session(&self, session: TokenHash, at: Timestamp) -> StoreFuture<Option<User>>;
    fn end_session(&self, session: TokenHash) -> StoreFuture<()>;

    /// A link that signs a user in once, until then.
    fn create_link(&self, link: TokenHash, user: UserId, until: Timestamp) -> StoreFuture<()>;
    /// Uses the link up; answers whose it was if it still held.
    fn use_link(&self, link: TokenHash, at: Timestamp) -> StoreFuture<Option<User>>;

    /// How often signing in failed for what `people::name_hash` made of a name; whether or not
    /// there is such a user.
    fn failures(&self, name: TokenHash) -> StoreFuture<Option<SignInFailures>>;
    /// Counts an attempt as a failure before it is judged, so that of many at once no more are
    /// judged than of many in a row; a session that begins forgets it. Answers the failures if it
    /// is too early for another attempt: then nothing is counted. Counts a day old are forgotten,
    /// and the oldest if there are too many.
    fn try_sign_in(&self, name: TokenHash, at: Timestamp) -> StoreFuture<Option<SignInFailures>>;
}

/// What the dashboard asks beside what is in the Catalog. Every list is a page.
pub trait DashboardStore: Send + Sync {
    fn find_tenants(&self, query: TenantQuery) -> StoreFuture<Vec<Tenant>>;
    fn tenant_settings(&self, tenant: TenantId) -> StoreFuture<Option<TenantSettings>>;
    /// How long ended deliveries of the tenant stay; `None`: as the operator set it. Writes an
    /// audit entry.
    fn set_retention(
        &self,
        tenant: TenantId,
        retention_ms: Option<i64>,
        actor: String,
        at: Timestamp,
    ) -> StoreFuture<()>;

    fn find_webhooks(
        &self,
        tenant: TenantId,
        query: WebhookSearch,
    ) -> StoreFuture<WebhookSearchPage>;
    /// How these webhooks of the tenant fared, with the tallies from the hour of `since` on.
    fn standings(
        &self,
        tenant: TenantId,
        webhooks: Vec<WebhookId>,
        since: Timestamp,
    ) -> StoreFuture<Vec<WebhookHealth>>;

    /// Those of these deliveries that are the tenant's, as lines of the log.
    fn log_rows(&self, tenant: TenantId, deliveries: Vec<DeliveryId>) -> StoreFuture<Vec<LogRow>>;

    fn notifications(
        &self,
        tenant: TenantId,
        query: NotificationQuery,
    ) -> StoreFuture<Vec<NotificationRow>>;
    fn notification(
        &self,
        tenant: TenantId,
        id: NotificationId,
    ) -> StoreFuture<Option<NotificationDetail>>;
    /// By the application's name for it.
    fn notification_by_key(
        &self,
        tenant: TenantId,
        key: String,
    ) -> StoreFuture<Option<NotificationDetail>>;
    /// The tenant's webhooks as they stood to a notification, by id, those above `after`;
    /// deleted ones only if it was delivered to them, or they were there and were deleted later.
    fn match_explanations(
        &self,
        tenant: TenantId,
        notification: NotificationId,
        after: Option<WebhookId>,
        limit: usize,
    ) -> StoreFuture<Vec<MatchExplanation>>;

    /// How many deliveries a bulk job begun now would be about.
    fn count_bulk_job(
        &self,
        tenant: TenantId,
        webhook: WebhookId,
        what: crate::dashboard::BulkJobKind,
        at: Timestamp,
    ) -> StoreFuture<BoundedCount>;
    /// Writes the bulk job down, and an audit entry; one of the kind that is still running for the
    /// webhook is answered instead of a second. `Stale` if the tenant has no such webhook.
    fn start_bulk_job(&self, bulk_job: NewBulkJob, at: Timestamp) -> StoreFuture<BulkJob>;
    fn bulk_job(&self, tenant: TenantId, id: BulkJobId) -> StoreFuture<Option<BulkJob>>;
    /// Those of a webhook that have not ended.
    fn running_bulk_jobs(&self, tenant: TenantId, webhook: WebhookId) -> StoreFuture<Vec<BulkJob>>;

    /// A tenant's tokens, or with `None` the administrators'; by name.
    fn tokens(&self, tenant: Option<TenantId>) -> StoreFuture<Vec<TokenRow>>;
    /// Switches a token off for good. Writes an audit entry if it is a tenant's. Answers whether
    /// there is such a token.
    fn revoke_token(
        &self,
        tenant: Option<TenantId>,
        token: TokenId,
        actor: String,
        at: Timestamp,
    ) -> StoreFuture<bool>;
    /// Notes that tokens were used. May be late and may be lost: it is for people to look at.
    fn note_uses(&self, uses: Vec<(TokenHash, Timestamp)>) -> StoreFuture<()>;

    fn audit_page(&self, tenant: TenantId, query: AuditQuery) -> StoreFuture<Vec<AuditRow>>;
}

/// All parts, as one thing to hand around.
pub trait Store: Ledger + Catalog + UserStore + DashboardStore {
    /// Takes nothing more, finishes what was taken, closes every file.
    fn close(&self) -> StoreFuture<()>;

    /// Answers once the store has ended by itself, after which it answers `StoreError::Ended` to
    /// everything. Never, while it lives or is closed.
    fn ended(&self) -> StoreFuture<()>;
}
