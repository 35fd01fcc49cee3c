//! Statistics of a webhook, which is found as this dialect finds it.

use std::sync::Arc;

use model::refusal::Refusal;

use super::context::OpenTicket;
use super::lookup::find;
use crate::dialect::statistics;
use crate::gateway::api::{AdmittedRequest, ApiResponse};

pub(super) async fn show_statistics(
    _: Arc<OpenTicket>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    let webhook = find(&request).await?;
    statistics::show(&request, webhook.tenant, Some(webhook.id)).await
}
