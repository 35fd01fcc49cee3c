//! Outbox: what webhooks are owed, and what became of it. Each has one owner at a time.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::attempt::Attempt;
use crate::call_limits::CallLimits;
use crate::cloud_event::CloudEventMode;
use crate::contract::StoreFuture;
use crate::delivery::{DueDelivery, NextState};
use crate::handshake::{Handshake, HandshakeAnswer};
use crate::hold::Holds;
use crate::id::{DeliveryId, NotificationId, TenantId, WebhookId};
use crate::lease::Epoch;
use crate::own_header::OwnHeader;
use crate::signing::Signature;
use crate::statistics::TallyRow;
use crate::tenant::DialectName;
use crate::time::{TimeBounds, Timestamp};
use crate::webhook::Headers;
use crate::webhook_tls::WebhookTls;

/// What the owner of slots asks for and writes down, under the epoch of its lease. All of it is
/// safe to repeat. Webhooks of other slots are left out of answers; what is asked of one is
/// `Fenced`.
pub trait Outbox: Send + Sync {
    /// Who is told what the store took on. Called once, before anything is accepted.
    ///
    /// Errors: none.
    fn subscribe(&self, listener: Arc<dyn CommitSubscriber>);

    /// The webhooks that have pending deliveries, each once with its earliest due time, at most
    /// `limit`, behind `after`: the last of the page before. The order is the store's own, and
    /// stays. Costs what it answers, not what is pending.
    ///
    /// Errors: those of an owner.
    fn pending_webhooks(
        &self,
        epoch: Epoch,
        after: Option<WebhookId>,
        limit: usize,
    ) -> StoreFuture<Vec<PendingWebhook>>;

    /// What calling these webhooks takes. Unknown ones are left out.
    ///
    /// Errors: those of an owner.
    fn webhook_targets(
        &self,
        epoch: Epoch,
        webhooks: Vec<WebhookId>,
    ) -> StoreFuture<Vec<WebhookTarget>>;

    /// For each webhook the pending deliveries due by `now`, earliest first, at most as many as
    /// asked for; and ahead of their time those that [`DueQuery::recovery`] asks for. Sees
    /// everything that was answered before it was asked.
    ///
    /// Errors: those of an owner. `Broken` and `Disk(Unreadable)` may come of one webhook
    /// ([`StoreError::is_of_a_part`](super::StoreError::is_of_a_part)).
    fn due(&self, epoch: Epoch, lanes: Vec<DueQuery>, now: Timestamp) -> StoreFuture<Vec<DuePage>>;

    /// Writes down attempts and what they make of their deliveries. A delivery that is no longer
    /// pending in the same round keeps its state, and gets the attempt written down; a success
    /// counts even then. Disabling a webhook happens in the same transaction, with an audit
    /// entry, and cancels at most `limits::BULK_STEP_MAX` pending deliveries;
    /// `cancel_pending` cancels the rest.
    ///
    /// Shared, so that whoever asks can ask again without a copy of what receivers said.
    ///
    /// A batch in which everything was delivered may be held back for
    /// `limits::COMMIT_DELAY_MAX_MS`, to be written with others, or until `flush`.
    ///
    /// Errors: those of an owner. `Broken` and `Disk(Unreadable)` may come of one settlement
    /// ([`StoreError::is_of_a_part`](super::StoreError::is_of_a_part)).
    fn settle(&self, epoch: Epoch, batch: Arc<[Settlement]>) -> StoreFuture<()>;

    /// More outcomes wait behind the batch that `settle` was given: it is no longer held back, but
    /// for some milliseconds at most.
    ///
    /// Errors: none.
    fn flush(&self);

    /// Cancels pending deliveries of a webhook that is disabled, at most
    /// `limits::BULK_STEP_MAX`; answers how many. Nothing if it is enabled.
    ///
    /// Errors: those of an owner.
    fn cancel_pending(&self, epoch: Epoch, webhook: WebhookId, at: Timestamp)
    -> StoreFuture<usize>;

    /// Takes one step of the oldest bulk job that has not ended, of at most
    /// `limits::BULK_STEP_MAX` deliveries; answers whether there is more to do. A bulk job of a
    /// webhook that is disabled or deleted meanwhile is aborted, and says why.
    ///
    /// Errors: those of an owner.
    fn step_bulk_job(&self, epoch: Epoch, at: Timestamp) -> StoreFuture<bool>;

    /// Counts what is pending, from `after` on; at most `limits::BULK_STEP_MAX` deliveries.
    ///
    /// Errors: those of an owner.
    fn backlog(&self, epoch: Epoch, after: Option<BacklogCursor>) -> StoreFuture<Backlog>;

    /// Removes ended deliveries accepted before their dialect's time in `before` with their
    /// attempts, notifications left without deliveries, and responses stored longer than
    /// `limits::IDEMPOTENCY_RETENTION_MS`; looks at no more than `limits::BULK_STEP_MAX` of them;
    /// answers whether there may be more. What has no time there stays. A tenant with a time of its
    /// own (`DashboardStore::set_retention`) has that instead. What signing in leaves behind, bulk
    /// jobs that ended long ago, and deleted webhooks of which nothing else is left go as well.
    /// Tallies of five minutes become tallies of hours after `limits::TALLIES_FINE_MS`, and go
    /// after `limits::TALLIES_KEPT_MS`.
    ///
    /// Of what may end with a time it removes what has ended at `now.earliest`. What began later
    /// than `now.latest`, by a clock that was ahead, counts as begun then.
    ///
    /// Errors: those of an owner.
    fn prune(
        &self,
        epoch: Epoch,
        before: BTreeMap<DialectName, Timestamp>,
        now: TimeBounds,
    ) -> StoreFuture<bool>;

    /// Writes tallies down, at most `limits::TALLY_ROWS_MAX`. No lease is needed for it: what was
    /// attempted was attempted, whoever sends now. A row that was written before is left as it is.
    ///
    /// Errors: those of a change.
    fn record_tallies(&self, rows: Vec<TallyRow>) -> StoreFuture<()>;
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
    /// The tenant's, within its dialect.
    pub tenant_key: String,
    pub key: Option<String>,
    pub target_url: String,
    /// The dialect's own.
    pub settings: String,
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
    /// In the order of their profiles.
    pub signatures: Vec<Signature>,
    /// In the order of their names.
    pub own_headers: Vec<OwnHeader>,
    /// `None`: calls are as their dialect has them.
    pub cloud_events: Option<CloudEventMode>,
    /// Its receiver is to agree before the first call.
    pub handshake: Option<Handshake>,
    pub tls: WebhookTls,
    pub limits: CallLimits,
    pub holds: Holds,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueQuery {
    pub webhook: WebhookId,
    pub limit: usize,
    /// Notifications whose deliveries the owner holds as unattempted, in the order of their ids.
    /// They count towards the limit, but those that are still unattempted may be left out of the
    /// answer: the owner has what it would say.
    pub held: Arc<[NotificationId]>,
    /// What is to be read ahead of its time, if all that is due was read and there is room.
    pub recovery: Option<RecoveryQuery>,
}

impl DueQuery {
    /// At most `limit` of all that is due.
    pub fn new(webhook: WebhookId, limit: usize) -> Self {
        Self {
            webhook,
            limit,
            held: Arc::default(),
            recovery: None,
        }
    }
}

/// Deliveries that wait for a retry though their receiver has recovered: those whose latest
/// attempt began by `tried_by`, in schedule time, and was not made ahead of its own time.
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
    /// When the first pending delivery beyond these is due (possibly now), if there is one: never
    /// before any of these, whatever the clock said when they were accepted. Those read ahead count
    /// as beyond.
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

/// How far what is pending was counted. Only the store that made it can read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BacklogCursor([i64; 4]);

impl BacklogCursor {
    /// For stores: a place, in whatever way the store counts.
    pub fn new(place: [i64; 4]) -> Self {
        Self(place)
    }

    /// For stores: what `new` was given.
    pub fn place(self) -> [i64; 4] {
        self.0
    }
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
    /// What the receiver answered when it was asked whether it agrees. It is kept beside the
    /// webhook, as long as that has the same choice.
    pub handshake: Option<Box<HandshakeAnswer>>,
}

impl Settlement {
    /// How many calls it stands for.
    pub fn calls(&self) -> u32 {
        1 + u32::from(self.stale.is_some())
    }
}

/// Whom the store tells what it took on: after what it tells is durable, and before anybody who
/// asked for it is answered; in an order in which a delivery is told before any answer of
/// [`Outbox::due`] that could contain it. Must not block, and cannot fail.
pub trait CommitSubscriber: Send + Sync {
    /// New deliveries, due at once. At most `limits::BUFFERED_MAX` at a time.
    fn on_accepted(&self, deliveries: Vec<DueDelivery>);

    /// Somebody waits for each of these: due at once, whatever else its webhook is owed.
    fn on_requested(&self, deliveries: Vec<DueDelivery>);

    /// These webhooks got more deliveries than were told one by one, the first due at that time:
    /// the store has them.
    fn on_skipped(&self, lanes: Vec<PendingWebhook>);

    /// These webhooks changed, or got something due.
    fn on_changed(&self, webhooks: &[WebhookId]);

    /// Something changed through another process: anything may be different.
    fn on_external_change(&self);

    /// A bulk job was begun: there are steps to take.
    fn on_bulk_job_started(&self);

    /// Through another node slots became free, or are to be: whoever renews its lease now gets its
    /// share sooner, or gives up what others are to have.
    fn on_leases_changed(&self);
}
