//! Queries and results of [`Catalog`](crate::contract::Catalog): lists, pages, single things.

use bytes::Bytes;

use crate::attempt::{Attempt, Outcome};
use crate::call_limits::CallLimits;
use crate::cloud_event::CloudEventChoice;
use crate::declared_secrets::DeclaredSecrets;
use crate::delivery::DeliveryState;
use crate::id::{DeliveryId, NotificationId, WebhookId};
use crate::named::named;
use crate::response_filter::ResponseFilter;
use crate::tenant::{DialectName, Event, NewToken, Permissions, TokenHash, TokenKind};
use crate::time::Timestamp;
use crate::webhook::{Headers, NewWebhook, Webhook};

/// A page of webhooks, by id. Deleted ones are in none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WebhookQuery {
    pub enabled: Option<bool>,
    /// By id from the highest down, instead of up.
    pub newest_first: bool,
    pub offset: u64,
    pub limit: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookPage {
    /// Of all pages together.
    pub count: u64,
    pub webhooks: Vec<Webhook>,
}

/// A page of a tenant's events, by slug.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventPage {
    /// Of all pages together.
    pub count: u64,
    pub events: Vec<Event>,
}

/// How a delivery's state is shown and asked for. `Retrying` is pending with an attempt behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryStatus {
    Pending,
    Retrying,
    Delivered,
    Failed,
    Cancelled,
}

named!(
    /// The word of the REST API, the audit log and URLs; a failed one is `exhausted` there.
    DeliveryStatus {
        Pending = "pending",
        Retrying = "retrying",
        Delivered = "delivered",
        Failed = "exhausted",
        Cancelled = "cancelled",
    }
);

/// A page of the log of a tenant, or of one of its webhooks, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogQuery {
    /// Of this webhook only, deleted or not; else of all of the tenant.
    pub webhook: Option<WebhookId>,
    /// Of this notification only.
    pub notification: Option<NotificationId>,
    pub status: Option<DeliveryStatus>,
    pub action_type: Option<String>,
    /// The slug of a show.
    pub event: Option<String>,
    /// Accepted at this moment or later.
    pub since: Option<Timestamp>,
    /// Accepted before this moment.
    pub until: Option<Timestamp>,
    /// What the latest attempt came to.
    pub response: Option<ResponseFilter>,
    /// Within the body that was sent, as it is; empty for any.
    pub text: String,
    pub from: Option<LogCursor>,
    pub limit: usize,
}

/// Where a page of the log begins. Pages stay put while new rows arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogCursor {
    /// The newest rows that come after this one in the log: are older, or of the same
    /// notification and a lower webhook.
    OlderThan(DeliveryId),
    /// The oldest rows that come before this one; still given newest first.
    NewerThan(DeliveryId),
}

/// A page of the log. It may be short, even empty, though there is more: rows that do not match
/// are looked at only up to `limits::SCANNED_ROWS_MAX` a page.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogPage {
    pub rows: Vec<LogRow>,
    /// Go on there towards older rows, if there may be any.
    pub older: Option<DeliveryId>,
    /// Go on there towards newer rows, if there may be any.
    pub newer: Option<DeliveryId>,
    /// When the last row that was looked at was accepted, if the search stopped at its bound.
    pub searched_until: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRow {
    pub row: DeliveryRow,
    /// Where it goes, masked.
    pub target_url: String,
    /// A test that somebody sent from the dashboard.
    pub is_test: bool,
}

/// A delivery as a line of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryRow {
    pub id: DeliveryId,
    /// The application's name for the notification.
    pub key: String,
    pub action_type: String,
    pub event: Option<String>,
    pub state: DeliveryState,
    pub attempts: u32,
    pub accepted_at: Timestamp,
    /// Of the next attempt, while pending.
    pub due_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    /// What the latest attempt came to; body and header lines of an answer are left out.
    pub latest: Option<Outcome>,
    /// When it began.
    pub latest_at: Option<Timestamp>,
}

impl DeliveryRow {
    pub fn status(&self) -> DeliveryStatus {
        DeliveryStatus::of(self.state, self.attempts)
    }
}

/// A delivery with everything that happened to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryDetail {
    pub row: DeliveryRow,
    pub headers: Headers,
    pub body: Bytes,
    /// Oldest first; of very many the latest `ATTEMPTS_SHOWN_MAX`, and not more than are of
    /// `ATTEMPTS_SHOWN_BYTES_MAX`, but always the latest one.
    pub attempts: Vec<AttemptRecord>,
}

/// Attempts of one delivery that are shown.
pub const ATTEMPTS_SHOWN_MAX: usize = 100;

/// What was sent and answered in all of them; as JSON it may become six times as long.
pub const ATTEMPTS_SHOWN_BYTES_MAX: usize = 4 * 1024 * 1024;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptRecord {
    /// 1-based, over all rounds.
    pub number: u32,
    pub attempt: Attempt,
    /// For when it scheduled the next one, if it did.
    pub next_due_at: Option<Timestamp>,
}

impl AttemptRecord {
    pub fn ended_at(&self) -> Timestamp {
        let attempt = &self.attempt;
        attempt.began_at.plus_ms(i64::from(attempt.duration_ms))
    }
}

impl DeliveryStatus {
    pub fn of(state: DeliveryState, attempts: u32) -> Self {
        match state {
            DeliveryState::Pending if attempts == 0 => Self::Pending,
            DeliveryState::Pending => Self::Retrying,
            DeliveryState::Delivered => Self::Delivered,
            DeliveryState::Failed => Self::Failed,
            DeliveryState::Cancelled(_) => Self::Cancelled,
        }
    }
}

/// One line of the audit log: who changed what. Secrets are masked before it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    pub at: Timestamp,
    /// The name of a token, or of the part of Willcall that acted.
    pub actor: String,
    /// `webhook.created`, `webhook.changed`, `webhook.disabled`, `deliveries.retried`, …
    pub action: String,
    pub webhook: Option<WebhookId>,
    /// What exactly, as JSON.
    pub detail: String,
}

/// An answer kept under an idempotency key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredResponse {
    pub key: String,
    /// Whose key it is: a hash of the credentials.
    pub holder: TokenHash,
    /// A hash of method, path and body: the same key must come with the same request.
    pub request: TokenHash,
    /// 0 while the request has had its effect, and its answer is still to be made.
    pub status: u16,
    pub headers: Headers,
    pub body: Bytes,
}

/// What an operator's file says about one tenant. What it does not name stays as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declaration {
    pub dialect: DialectName,
    pub key: String,
    /// `None`: keep the one there is; a new tenant's is its key.
    pub name: Option<String>,
    pub events: Vec<Event>,
    pub tokens: Vec<DeclaredToken>,
    pub webhooks: Vec<DeclaredWebhook>,
}

/// A token, found again by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclaredToken {
    pub name: String,
    /// `None`: keep the one there is, or take `fresh` if there is none of this name.
    pub hash: Option<TokenHash>,
    pub fresh: TokenHash,
    pub permissions: Permissions,
    /// `None`: keep what is there, so that applying a file again does not let in again whom
    /// somebody shut out; a new one is active.
    pub active: Option<bool>,
    pub kind: TokenKind,
    pub default: bool,
}

/// A webhook, found again by its key if it has one, else by its target URL, and if there is none of
/// that by what the URL calls, whatever its user and password: a password that was changed makes no
/// second webhook. The second of the same URL is the second found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclaredWebhook {
    /// One of this key that was deleted stays so, unless `enabled` asks for it. If there is none
    /// of this key, one without any gets it.
    pub key: Option<String>,
    pub target_url: String,
    /// `None`: keep what is there, so that applying a file again does not switch on what its
    /// receiver switched off; a new one is enabled.
    pub enabled: Option<bool>,
    pub filter: crate::filter::Filter,
    pub settings: String,
    /// `None`: keep what is there.
    pub headers: Option<Headers>,
    pub retries_max: Option<u32>,
    /// What a new one gets where the file says nothing.
    pub fresh: WebhookDefaults,
    pub secrets: DeclaredSecrets,
    /// `None`: keep what is there.
    pub limits: Option<CallLimits>,
    /// `None`: keep what is there; `Some(None)`: no CloudEvents.
    pub cloud_events: Option<Option<CloudEventChoice>>,
}

/// What is made for a webhook once, and stays.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WebhookDefaults {
    pub key: Option<String>,
    pub headers: Headers,
}

/// What applying a declaration came to, item by item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppliedChange {
    /// The tenant's key.
    pub tenant: String,
    pub item: AppliedItem,
    pub change: ChangeKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AppliedItem {
    Tenant,
    Event(String),
    /// Whether the fresh token was taken, and so must be shown.
    Token {
        name: String,
        fresh: bool,
    },
    Webhook {
        id: WebhookId,
        target_url: String,
        /// The names of what was changed, and nothing of the values.
        changed: Vec<String>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    Created,
    Changed,
    Unchanged,
}

impl DeclaredToken {
    /// This token as it is created for `tenant`.
    pub fn created_for(&self, tenant: crate::id::TenantId) -> NewToken {
        NewToken {
            tenant: Some(tenant),
            name: self.name.clone(),
            hash: self.hash.unwrap_or(self.fresh),
            kind: self.kind,
            permissions: self.permissions.clone(),
            active: self.active.unwrap_or(true),
            default: self.default,
        }
    }
}

impl DeclaredWebhook {
    /// This webhook as it is created for `tenant`.
    pub fn created_for(&self, tenant: crate::id::TenantId, at: Timestamp) -> NewWebhook {
        let disabled = crate::webhook::Disablement {
            at,
            cause: crate::webhook::DisableCause::Requested,
        };
        NewWebhook {
            tenant,
            key: self.key.clone().or_else(|| self.fresh.key.clone()),
            target_url: self.target_url.clone(),
            disabled: (self.enabled == Some(false)).then_some(disabled),
            filter: self.filter.clone(),
            settings: self.settings.clone(),
            headers: self
                .headers
                .clone()
                .unwrap_or_else(|| self.fresh.headers.clone()),
            retries_max: self.retries_max,
        }
    }
}
