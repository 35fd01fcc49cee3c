//! Whether calls of a webhook are CloudEvents; the webhook is found as this dialect finds it.

use std::sync::Arc;

use model::refusal::Refusal;

use super::context::OpenTicket;
use super::lookup::find;
use crate::dialect::cloud_events;
use crate::gateway::api::{AdmittedRequest, ApiResponse};

pub(super) async fn show_cloud_events(
    _: Arc<OpenTicket>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    let webhook = find(&request).await?;
    cloud_events::show(&request, &webhook).await
}

pub(super) async fn choose_cloud_events(
    _: Arc<OpenTicket>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    let webhook = find(&request).await?;
    cloud_events::choose(&request, &webhook).await
}

pub(super) async fn leave_cloud_events(
    _: Arc<OpenTicket>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    let webhook = find(&request).await?;
    cloud_events::leave(&request, &webhook).await
}
