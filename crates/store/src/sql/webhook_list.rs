//! Webhooks as text, which is how an audience and a notification of SQLite have them: ids with
//! blanks between, in order.

use std::sync::Arc;

use model::id::WebhookId;

use crate::sql::job_error::CorruptRow;

pub(crate) fn to_text(webhooks: &[WebhookId]) -> String {
    let ids: Vec<String> = webhooks.iter().map(|id| id.0.to_string()).collect();
    ids.join(" ")
}

/// The reverse of `to_text`.
pub(crate) fn of_text(words: &str) -> Result<Arc<[WebhookId]>, CorruptRow> {
    let ids = words.split_whitespace();
    let ids: Option<Arc<[WebhookId]>> = ids.map(|id| id.parse().ok().map(WebhookId)).collect();
    ids.ok_or(CorruptRow("list of webhooks"))
}
