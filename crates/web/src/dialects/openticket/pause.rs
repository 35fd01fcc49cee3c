//! Pausing a webhook; it is found as this dialect finds it.

use std::sync::Arc;

use model::refusal::Refusal;

use super::context::OpenTicket;
use super::lookup::find;
use crate::dialect::pause;
use crate::gateway::api::{AdmittedRequest, ApiResponse};

pub(super) async fn show_pause(
    _: Arc<OpenTicket>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    let webhook = find(&request).await?;
    pause::show(&request, &webhook).await
}

pub(super) async fn set_pause(
    _: Arc<OpenTicket>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    let webhook = find(&request).await?;
    pause::set(&request, &webhook).await
}
