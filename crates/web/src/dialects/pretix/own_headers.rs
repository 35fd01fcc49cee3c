//! Own headers of a webhook, found as this dialect finds it.

use std::sync::Arc;

use model::refusal::Refusal;

use super::context::Pretix;
use super::webhooks::find;
use crate::dialect::own_headers;
use crate::gateway::api::{AdmittedRequest, ApiResponse};

pub(super) async fn list_headers(
    _: Arc<Pretix>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    let webhook = find(&request).await?;
    own_headers::list(&request, &webhook).await
}

pub(super) async fn add_header(
    _: Arc<Pretix>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    let webhook = find(&request).await?;
    own_headers::add(&request, &webhook).await
}

pub(super) async fn show_header(
    _: Arc<Pretix>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    let webhook = find(&request).await?;
    own_headers::show(&request, &webhook).await
}

pub(super) async fn replace_header(
    _: Arc<Pretix>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    let webhook = find(&request).await?;
    own_headers::replace(&request, &webhook).await
}

pub(super) async fn remove_header(
    _: Arc<Pretix>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    let webhook = find(&request).await?;
    own_headers::remove(&request, &webhook).await
}
