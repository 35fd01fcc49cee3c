//! What a dialect brings to the dashboard: its words, and how it describes a webhook. Pages know
//! dialects by this value only.

use model::webhook::Webhook;

/// A dialect's part of the dashboard.
pub(crate) struct Board {
    /// The platform's name.
    pub(crate) platform: &'static str,
    /// What a tenant is called there.
    pub(crate) tenant_word: &'static str,
    pub(crate) describe: Box<dyn Fn(&Webhook) -> Described + Send + Sync>,
}

/// A webhook in a line or two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Described {
    /// What people called it, if they did.
    pub(crate) name: Option<String>,
    /// What it is called for, in a few words.
    pub(crate) wants: String,
}
