//! Exports of the log, of a webhook or of all. Deliveries and webhooks are named as in lists.

use std::sync::Arc;

use model::refusal::Refusal;
use serde_json::json;

use super::context::Pretix;
use super::json::JsonValue;
use super::webhooks::find;
use crate::dialect::export;
use crate::dialect::log_names::LogNames;
use crate::gateway::api::{AdmittedRequest, ApiResponse};

pub(super) const NAMES: LogNames = LogNames {
    delivery: |id| id.to_string(),
    read: |text| text.parse().ok(),
    webhook: |id, _| json!(id.0),
    // As `wire.rs` writes it.
    code_text: |code| format!("\"code\": {}", JsonValue::text(code).dumped()),
};

pub(super) async fn export_deliveries(
    _: Arc<Pretix>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    let webhook = find(&request).await?;
    export::respond(&request, webhook.tenant, Some(webhook.id), &NAMES).await
}

pub(super) async fn export_all_deliveries(
    _: Arc<Pretix>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    let tenant = request.tenant()?.id;
    export::respond(&request, tenant, None, &NAMES).await
}
