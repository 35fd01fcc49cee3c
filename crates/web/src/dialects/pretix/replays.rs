//! Replays by filter; webhooks are named as in this dialect, by their ids.

use std::sync::Arc;

use model::id::WebhookId;
use model::refusal::Refusal;
use serde_json::{Value, json};

use super::context::Pretix;
use crate::dialect::replays::{self, NamedWebhook, WebhookNames};
use crate::gateway::api::{AdmittedRequest, ApiResponse};

const NAMES: WebhookNames = WebhookNames {
    read: |given| given.as_i64().map(|id| NamedWebhook::Id(WebhookId(id))),
    shown: |id, _| -> Value { json!(id.0) },
    words: "It has to be the id of a webhook of this organizer, or null for all that are active.",
};

pub(super) async fn start_replay(
    _: Arc<Pretix>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    replays::start(&request, request.tenant()?, &NAMES).await
}

pub(super) async fn list_replays(
    _: Arc<Pretix>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    replays::list(&request, request.tenant()?, &NAMES).await
}

pub(super) async fn show_replay(
    _: Arc<Pretix>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    replays::show(&request, request.tenant()?, &NAMES).await
}

pub(super) async fn stop_replay(
    _: Arc<Pretix>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    replays::stop(&request, request.tenant()?, &NAMES).await
}
