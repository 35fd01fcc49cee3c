//! Notification: what an application hands in, once; and when two are the same one.
//!
//! The same tenant and key make the same notification. Handed in again with the same content it
//! is a repetition and changes nothing; with other content it is a contradiction and is refused.

use bytes::Bytes;

use crate::filter::MatchKey;
use crate::id::{NotificationId, TenantId, WebhookId};
use crate::time::Timestamp;
use crate::webhook::Headers;

/// A notification on its way in: everything a call needs is made, nothing is rendered later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewNotification {
    pub tenant: TenantId,
    /// The application's own name for it; unique within the tenant.
    pub key: String,
    /// Its concrete kind, as the log shows it.
    pub action_type: String,
    /// What it stands for when webhooks are looked up; none means that nobody can want it.
    pub match_keys: Vec<MatchKey>,
    /// The show it is about; registered with the tenant if not known yet.
    pub event: Option<String>,
    /// Sent with every call for it, beside what the policy and the webhook bring.
    pub headers: Headers,
    /// The exact bytes to be sent.
    pub body: Bytes,
    /// Stands for what makes it this one beside its action type and body, if there is more.
    pub digest: Option<i64>,
    /// What its dialect needs, beside action type, show and body, to say later which match keys it
    /// stood for.
    pub match_context: Option<String>,
    /// A test of this webhook: goes there whatever it subscribes to, if it is enabled, and nowhere
    /// else.
    pub only_webhook: Option<WebhookId>,
    pub at: Timestamp,
}

/// What became of a notification that was handed in. All three are final and durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AcceptResult {
    /// New: it and its deliveries are written down.
    Accepted { id: NotificationId, deliveries: u32 },
    /// Known already with the same content: nothing was added.
    Duplicate { id: NotificationId, deliveries: u32 },
    /// Known already with other content, since that moment: nothing was changed.
    Conflict {
        id: NotificationId,
        accepted_at: Timestamp,
    },
}

/// A notification as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    pub id: NotificationId,
    pub key: String,
    pub action_type: String,
    pub event: Option<String>,
    pub accepted_at: Timestamp,
    pub headers: Headers,
    pub body: Bytes,
}
