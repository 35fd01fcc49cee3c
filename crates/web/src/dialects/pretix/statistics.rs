//! Statistics of a webhook, found as this dialect finds it, and of an organizer.

use std::sync::Arc;

use model::refusal::Refusal;

use super::context::Pretix;
use super::webhooks::find;
use crate::dialect::statistics;
use crate::gateway::api::{AdmittedRequest, ApiResponse};

pub(super) async fn show_statistics(
    _: Arc<Pretix>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    let webhook = find(&request).await?;
    statistics::show(&request, webhook.tenant, Some(webhook.id)).await
}

pub(super) async fn show_all_statistics(
    _: Arc<Pretix>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    let tenant = request.tenant()?.id;
    statistics::show(&request, tenant, None).await
}
