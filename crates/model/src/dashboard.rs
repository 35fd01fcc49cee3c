//! Dashboard shapes: what [`DashboardStore`](crate::contract::DashboardStore) is asked, and
//! answers.
//!
//! Every list is a page by keyset, and every search looks at a bounded number of rows and says
//! how far it came, so that no answer costs more with what is merely stored.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::delivery::DeliveryState;
use crate::delivery_filter::DeliveryFilter;
use crate::hold::Hold;
use crate::id::{BulkJobId, DeliveryId, NotificationId, TenantId, TokenId, WebhookId};
use crate::named::named;
use crate::query::{AuditEntry, DeliveryStatus};
use crate::tenant::{DialectName, Permissions, Tenant, TokenKind};
use crate::time::Timestamp;
use crate::webhook::{Disablement, Headers, Webhook};

/// Which tenants are listed: by name, at most `limit`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantQuery {
    /// Only these; `None` is all there are.
    pub among: Option<Vec<TenantId>>,
    /// None of this dialect, if all there are are asked for.
    pub but_dialect: Option<DialectName>,
    /// Within the name or the key, whatever the case of ASCII letters; may be empty.
    pub text: String,
    /// Those behind this one.
    pub after: Option<TenantId>,
    pub limit: usize,
}

/// A page of a tenant's webhooks for people: newest first, none that is deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookSearch {
    /// Within the target URL (as it is shown, masked) or the settings; may be empty.
    pub text: String,
    pub older_than: Option<WebhookId>,
    pub limit: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookSearchPage {
    pub webhooks: Vec<Webhook>,
    /// Where to go on, if there may be more: older than this one.
    pub older: Option<WebhookId>,
}

/// How a webhook has fared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookHealth {
    pub webhook: WebhookId,
    /// The latest attempt that was written down: its delivery, when it ended, what came of it in
    /// one sentence (`Outcome::words`).
    pub latest: Option<LatestAttempt>,
    /// The first failure after the last success, if the latest attempt failed.
    pub failing_since: Option<Timestamp>,
    /// Somebody paused it: nothing is sent.
    pub hold: Option<Hold>,
    /// The earliest delivery that is owed, and when its next attempt is due.
    pub next_due_at: Option<Timestamp>,
    /// Whether something that failed waits to be tried again.
    pub retrying: bool,
    /// How many deliveries are owed, counted up to `limits::WAITING_COUNTED_MAX`.
    pub waiting: BoundedCount,
    /// When the oldest notification was accepted of which one is owed.
    pub oldest_waiting_at: Option<Timestamp>,
    /// By hour, oldest first; hours in which nothing happened are left out.
    pub hours: Vec<HourlyCounts>,
}

/// Which failing webhooks are listed: those that are enabled, those that have failed for longest
/// first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FailingQuery {
    /// Only of these tenants; `None` is all there are.
    pub among: Option<Vec<TenantId>>,
    /// Those behind this one.
    pub after: Option<(Timestamp, WebhookId)>,
    pub limit: usize,
}

/// A webhook of which every attempt since then has failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailingWebhook {
    pub tenant: Tenant,
    pub webhook: Webhook,
    pub failing_since: Timestamp,
    pub latest: LatestAttempt,
    /// How many deliveries are owed, counted up to `limits::WAITING_COUNTED_MAX`.
    pub waiting: BoundedCount,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FailingPage {
    pub rows: Vec<FailingWebhook>,
    /// Where to go on, if there may be more.
    pub after: Option<(Timestamp, WebhookId)>,
}

/// How many webhooks fail, by tenant; those without any are left out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FailingCounts {
    pub tenants: BTreeMap<TenantId, FailingCount>,
    /// There are more than were looked at: of those that have failed for longest
    /// `limits::FAILING_SCANNED_MAX`.
    pub is_part: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailingCount {
    pub count: u64,
    /// Since when the first of them has failed.
    pub since: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LatestAttempt {
    pub delivery: DeliveryId,
    pub ended_at: Timestamp,
    pub success: bool,
    pub words: String,
}

/// What happened to a webhook's deliveries in one hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HourlyCounts {
    /// Hours since 1970 in UTC.
    pub hour: i64,
    pub delivered: u64,
    /// Attempts that failed, with another to come.
    pub retried: u64,
    /// Deliveries that ended undelivered: exhausted, or cancelled.
    pub failed: u64,
}

/// Milliseconds of the hour that a `HourlyCounts` counts.
pub const HOUR_MS: i64 = 3_600_000;

/// A notification with what is to be said of it apart from its deliveries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotificationDetail {
    pub id: NotificationId,
    pub key: String,
    pub action_type: String,
    pub event: Option<String>,
    /// `NewNotification::match_context`.
    pub match_context: Option<String>,
    /// `NewNotification::only_webhook`.
    pub only_webhook: Option<WebhookId>,
    pub accepted_at: Timestamp,
    pub delivery_count: u32,
    pub headers: Headers,
    pub body: Bytes,
}

/// A line of the list of notifications, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotificationRow {
    pub id: NotificationId,
    pub key: String,
    pub action_type: String,
    pub event: Option<String>,
    pub accepted_at: Timestamp,
    pub delivery_count: u32,
    pub is_test: bool,
}

/// A page of the notifications of a tenant, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NotificationQuery {
    /// Only those that no webhook got.
    pub unwanted: bool,
    pub older_than: Option<NotificationId>,
    pub limit: usize,
}

/// A webhook at the time of a notification, for saying why it got it or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MatchExplanation {
    /// As it is today, deleted or not.
    pub webhook: Webhook,
    /// As it was when the notification was accepted; `None`: it was made later.
    pub then: Option<WebhookSnapshot>,
    /// What became of the delivery, if there is one: state, and attempts so far.
    pub delivery: Option<(DeliveryState, u32)>,
}

/// The part of a webhook that decides what it gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookSnapshot {
    pub disabled: Option<Disablement>,
    pub settings: String,
    pub filter: crate::filter::Filter,
    /// Whether it was changed since.
    pub changed_since: bool,
}

/// A token as it is listed; the token itself is nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRow {
    pub id: TokenId,
    /// `None`: an administrator's.
    pub tenant: Option<TenantId>,
    pub name: String,
    pub kind: TokenKind,
    pub permissions: Permissions,
    pub active: bool,
    pub created_at: Timestamp,
    /// Exact to `limits::TOKEN_USE_RESOLUTION_MS`.
    pub used_at: Option<Timestamp>,
}

/// A page of the audit log of a tenant, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuditQuery {
    pub webhook: Option<WebhookId>,
    /// Older than the entry of this number.
    pub older_than: Option<i64>,
    pub limit: usize,
}

/// An entry of the audit log with the number it is paged by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRow {
    pub number: i64,
    pub entry: AuditEntry,
}

/// What is to be done to many deliveries. It is written down before it begins, goes on in steps of
/// `limits::BULK_STEP_MAX` rows, and survives a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewBulkJob {
    pub tenant: TenantId,
    /// `None`: all that are enabled; for `ReplayMatching` only.
    pub webhook: Option<WebhookId>,
    pub what: BulkJobKind,
    /// Only deliveries that it means; with `ReplayMatching`, and only there.
    pub filter: Option<DeliveryFilter>,
    /// How many it seemed to be about when it was asked for.
    pub expected: u64,
    pub actor: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BulkJobKind {
    /// Send again all that ended undelivered (`Which::Exhausted` and cancelled), and try now what
    /// waits for a retry.
    ReplayUndelivered,
    /// Cancel all that is owed.
    CancelPending,
    /// Send again what a filter means, of one webhook or of all.
    ReplayMatching,
}

named!(
    BulkJobKind {
        ReplayUndelivered = "retry_failed",
        CancelPending = "stop_retrying",
        ReplayMatching = "replay",
    }
);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BulkJob {
    pub id: BulkJobId,
    pub tenant: TenantId,
    /// `None`: all of the tenant's that are enabled.
    pub webhook: Option<WebhookId>,
    /// The webhook it has come to.
    pub reached: WebhookId,
    pub what: BulkJobKind,
    pub filter: Option<DeliveryFilter>,
    pub expected: u64,
    /// Deliveries it has been done to.
    pub done: u64,
    pub actor: String,
    pub began_at: Timestamp,
    pub ended_at: Option<Timestamp>,
    /// Why it ended before its time, if it did: a sentence.
    pub abort_reason: Option<String>,
}

/// How many deliveries a filter means, by status, in the order of its statuses.
pub type StatusCounts = Vec<(DeliveryStatus, BoundedCount)>;

/// How many there are, counted up to a bound that whoever answers it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BoundedCount {
    pub count: u64,
    /// There are more than were counted.
    pub more: bool,
}

/// A tenant with what an administrator may set of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantSettings {
    pub tenant: Tenant,
    /// How long ended deliveries stay; `None`: as the operator set it for the dialect.
    pub retention_ms: Option<i64>,
}
