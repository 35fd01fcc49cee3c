//! How a dialect names what is in the log.

use model::id::{DeliveryId, WebhookId};
use model::webhook::Webhook;
use serde_json::Value;

#[derive(Clone, Copy)]
pub(crate) struct LogNames {
    pub(crate) delivery: fn(DeliveryId) -> String,
    /// The delivery that a name means; `None` if it is none.
    pub(crate) read: fn(&str) -> Option<DeliveryId>,
    /// The name of a webhook, if it is still there.
    pub(crate) webhook: fn(WebhookId, Option<&Webhook>) -> Value,
    /// What stands in the body of every notification that is about this code.
    pub(crate) code_text: fn(&str) -> String,
}
