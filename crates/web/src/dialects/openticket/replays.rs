//! Replays by filter; webhooks are named as in this dialect, by their GUIDs. The company is the one
//! that a new webhook would belong to.

use std::sync::Arc;

use model::refusal::Refusal;
use serde_json::{Value, json};

use super::context::OpenTicket;
use super::guid;
use super::lookup::owner;
use crate::dialect::replays::{self, NamedWebhook, WebhookNames, at_fault};
use crate::gateway::api::{AdmittedRequest, ApiResponse};

const NAMES: WebhookNames = WebhookNames {
    read: |given| given.as_str().and_then(guid::read).map(NamedWebhook::Key),
    shown: |_, webhook| -> Value { json!(webhook.and_then(|found| found.key.as_deref())) },
    words: "It has to be the GUID of a webhook of the company, or null for all that are switched \
            on.",
};

pub(super) async fn start_replay(
    _: Arc<OpenTicket>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    let tenant = owner(&request, None).map_err(at_fault)?;
    replays::start(&request, tenant, &NAMES).await
}

pub(super) async fn list_replays(
    _: Arc<OpenTicket>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    let tenant = owner(&request, None).map_err(at_fault)?;
    replays::list(&request, tenant, &NAMES).await
}

pub(super) async fn show_replay(
    _: Arc<OpenTicket>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    let tenant = owner(&request, None).map_err(at_fault)?;
    replays::show(&request, tenant, &NAMES).await
}

pub(super) async fn stop_replay(
    _: Arc<OpenTicket>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    let tenant = owner(&request, None).map_err(at_fault)?;
    replays::stop(&request, tenant, &NAMES).await
}
