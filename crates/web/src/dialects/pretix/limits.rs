//! Limits of a webhook's own; the webhook is found as this dialect finds it.

use std::sync::Arc;

use model::refusal::Refusal;

use super::context::Pretix;
use super::webhooks::find;
use crate::dialect::limits;
use crate::gateway::api::{AdmittedRequest, ApiResponse};

pub(super) async fn show_limits(
    _: Arc<Pretix>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    let webhook = find(&request).await?;
    limits::show(&request, &webhook).await
}

pub(super) async fn set_limits(
    _: Arc<Pretix>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    let webhook = find(&request).await?;
    limits::set(&request, &webhook).await
}

pub(super) async fn clear_limits(
    _: Arc<Pretix>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    let webhook = find(&request).await?;
    limits::clear(&request, &webhook).await
}
