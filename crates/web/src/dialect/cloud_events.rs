//! Whether calls of a webhook are CloudEvents, over REST: the same for every dialect, under a path
//! of our own beside its resource.

use http::StatusCode;
use model::cloud_event::CloudEventMode;
use model::contract::StoreError;
use model::refusal::Refusal;
use model::webhook::Webhook;
use serde_json::json;

use super::own_block::{Fields, answer, no_content};
use crate::gateway::api::{AdmittedRequest, ApiResponse};
use crate::gateway::store::refused;

/// Shows the mode, or null.
pub(crate) async fn show(
    request: &AdmittedRequest,
    webhook: &Webhook,
) -> Result<ApiResponse, Refusal> {
    let (tenant, id) = (webhook.tenant, webhook.id);
    let asking = request.ask(move |store| store.cloud_events(tenant, id));
    let mode = asking.await?.map(CloudEventMode::as_str);
    Ok(answer(StatusCode::OK, &json!({ "mode": mode })))
}

/// Chooses a mode: calls are CloudEvents from now on.
pub(crate) async fn choose(
    request: &AdmittedRequest,
    webhook: &Webhook,
) -> Result<ApiResponse, Refusal> {
    let mut fields = Fields::read(&request.body, &["mode"])?;
    let named = fields.text("mode");
    let mode: Option<CloudEventMode> = named.and_then(|name| name.parse().ok());
    if mode.is_none() && fields.faults.is_empty() {
        let names = CloudEventMode::ALL.map(CloudEventMode::as_str).join(" or ");
        fields.fault::<()>("mode", format!("It has to be {names}."));
    }
    let mode = fields.done(mode)?;
    set(request, webhook, Some(mode)).await?;
    Ok(answer(StatusCode::OK, &json!({ "mode": mode.as_str() })))
}

/// Calls are as their dialect has them from now on.
pub(crate) async fn leave(
    request: &AdmittedRequest,
    webhook: &Webhook,
) -> Result<ApiResponse, Refusal> {
    set(request, webhook, None).await?;
    Ok(no_content())
}

async fn set(
    request: &AdmittedRequest,
    webhook: &Webhook,
    mode: Option<CloudEventMode>,
) -> Result<(), Refusal> {
    let (tenant, id) = (webhook.tenant, webhook.id);
    let (actor, at) = (request.editor_of(webhook), request.context.clock.now());
    let change = move |store: &dyn model::contract::Frontend| {
        store.set_cloud_events(tenant, id, mode, actor.clone(), at)
    };
    let changed = request.context.store.try_ask(change).await;
    changed.map_err(|error| match matches!(error, StoreError::Stale) {
        true => Refusal::NoSuchObject,
        false => refused(&error),
    })
}
