//! What a webhook has of its own for TLS, found as this dialect finds it.

use std::sync::Arc;

use model::refusal::Refusal;
use model::webhook_tls::TlsItem;

use super::context::Pretix;
use super::webhooks::find;
use crate::dialect::webhook_tls;
use crate::gateway::api::{AdmittedRequest, ApiResponse};

pub(super) async fn show_client_certificate(
    _: Arc<Pretix>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    let webhook = find(&request).await?;
    webhook_tls::show_client(&request, &webhook).await
}

pub(super) async fn set_client_certificate(
    _: Arc<Pretix>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    let webhook = find(&request).await?;
    webhook_tls::set_client(&request, &webhook).await
}

pub(super) async fn remove_client_certificate(
    _: Arc<Pretix>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    let webhook = find(&request).await?;
    webhook_tls::remove(&request, &webhook, TlsItem::ClientCertificate).await
}

pub(super) async fn show_ca_certificates(
    _: Arc<Pretix>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    let webhook = find(&request).await?;
    webhook_tls::show_ca(&request, &webhook).await
}

pub(super) async fn set_ca_certificates(
    _: Arc<Pretix>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    let webhook = find(&request).await?;
    webhook_tls::set_ca(&request, &webhook).await
}

pub(super) async fn remove_ca_certificates(
    _: Arc<Pretix>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    let webhook = find(&request).await?;
    webhook_tls::remove(&request, &webhook, TlsItem::CaCertificates).await
}
