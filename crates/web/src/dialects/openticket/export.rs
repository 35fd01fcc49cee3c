//! Exports of the log, of a webhook or of the company that a new webhook would belong to.
//! Invocations and webhooks are named as in lists, by their GUIDs.

use std::sync::Arc;

use model::refusal::Refusal;
use serde_json::{Value, json};

use super::context::OpenTicket;
use super::guid;
use super::lookup::{find, owner};
use crate::dialect::export;
use crate::dialect::log_names::LogNames;
use crate::dialect::replays::at_fault;
use crate::gateway::api::{AdmittedRequest, ApiResponse};

pub(super) const NAMES: LogNames = LogNames {
    delivery: guid::of_invocation,
    read: |text| guid::to_invocation(text).or_else(|| text.parse().ok()),
    webhook: |_, webhook| json!(webhook.and_then(|found| found.key.as_deref())),
    // The application writes the body, under whatever name.
    code_text: |code| Value::from(code).to_string(),
};

pub(super) async fn export_invocations(
    _: Arc<OpenTicket>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    let webhook = find(&request).await?;
    export::respond(&request, webhook.tenant, Some(webhook.id), &NAMES).await
}

pub(super) async fn export_all_invocations(
    _: Arc<OpenTicket>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    let tenant = owner(&request, None).map_err(at_fault)?;
    export::respond(&request, tenant.id, None, &NAMES).await
}
