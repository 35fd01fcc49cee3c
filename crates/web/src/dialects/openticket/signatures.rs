//! Signatures of a webhook, found as this dialect finds it.

use std::sync::Arc;

use model::refusal::Refusal;

use super::context::OpenTicket;
use super::lookup::find;
use crate::dialect::signatures;
use crate::gateway::api::{AdmittedRequest, ApiResponse};

pub(super) async fn list_signatures(
    _: Arc<OpenTicket>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    let webhook = find(&request).await?;
    signatures::list(&request, &webhook).await
}

pub(super) async fn add_signature(
    _: Arc<OpenTicket>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    let webhook = find(&request).await?;
    signatures::add(&request, &webhook).await
}

pub(super) async fn show_signature(
    _: Arc<OpenTicket>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    let webhook = find(&request).await?;
    signatures::show(&request, &webhook).await
}

pub(super) async fn remove_signature(
    _: Arc<OpenTicket>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    let webhook = find(&request).await?;
    signatures::remove(&request, &webhook).await
}

pub(super) async fn rotate_key(
    _: Arc<OpenTicket>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    let webhook = find(&request).await?;
    signatures::rotate(&request, &webhook).await
}

pub(super) async fn end_former_key(
    _: Arc<OpenTicket>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    let webhook = find(&request).await?;
    signatures::end_former(&request, &webhook).await
}
