//! What a dialect brings whose tenants are audiences: those who are told of incidents.

use model::dashboard::BoundedCount;
use model::id::WebhookId;
use model::incident::AlertKind;
use model::notification::NewNotification;
use model::tenant::{DialectName, Tenant};
use model::time::Timestamp;
use model::webhook::Webhook;

/// How audiences are named, and what they are told.
#[derive(Clone, Copy)]
pub(crate) struct AlertDialect {
    /// The key of the tenant that is this audience.
    pub(crate) key: fn(&AlertsAbout) -> String,
    /// The audience that a key names.
    pub(crate) about: fn(&str) -> Option<AlertsAbout>,
    /// What a webhook is told of, while it is enabled.
    pub(crate) kinds: fn(&Webhook) -> Vec<AlertKind>,
    /// The alert for webhooks of this audience: a notification for each form that they ask for.
    /// `key` is unique for each alert.
    pub(crate) render:
        fn(&Alert, audience: &Tenant, webhooks: &[Webhook], key: &str) -> Vec<NewNotification>,
}

/// What an audience is told of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum AlertsAbout {
    /// The server, and all of its tenants.
    Server,
    /// A tenant, by its dialect and key.
    Tenant(DialectName, String),
}

/// What there is to tell, in whatever form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Alert {
    pub(crate) kind: AlertKind,
    pub(crate) at: Timestamp,
    /// The tenant that it is about; `None`: several, or the server.
    pub(crate) tenant: Option<String>,
    /// The name of the server, if it has one.
    pub(crate) server: Option<String>,
    /// At most `limits::ALERT_WEBHOOKS_MAX`.
    pub(crate) webhooks: Vec<AlertWebhook>,
    /// So many more than are named.
    pub(crate) more: usize,
    /// What is wrong with the server.
    pub(crate) words: Option<String>,
    /// The page that says more.
    pub(crate) page: String,
}

/// A webhook that an alert names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AlertWebhook {
    pub(crate) id: WebhookId,
    pub(crate) name: String,
    /// Without secrets.
    pub(crate) target_url: String,
    pub(crate) tenant: Tenant,
    pub(crate) since: Timestamp,
    pub(crate) waiting: BoundedCount,
    pub(crate) oldest_waiting_at: Option<Timestamp>,
    pub(crate) gives_up_at: Option<Timestamp>,
    /// What came of its latest call.
    pub(crate) last: Option<String>,
    /// The beginning of what its receiver answered to that, on one line.
    pub(crate) said: Option<String>,
    /// Its page.
    pub(crate) page: String,
}
