//! Webhooks as they are stored: made from fields, and taken apart into fields again.

use model::id::TenantId;
use model::refusal::Refusal;
use model::webhook::{NewWebhook, Webhook};
use serde_json::{Map, Value};

use super::fields::{FieldLimits, Fields, Settings};
use super::{guid, wire};
use crate::rng::SharedRng;

/// The webhook that these fields make, with a name and a nonce of its own.
pub(super) fn new_webhook(
    rng: &SharedRng,
    tenant: TenantId,
    fields: Fields,
) -> Result<NewWebhook, Refusal> {
    let draw = |end| rng.below(end);
    Ok(NewWebhook {
        tenant,
        key: Some(guid::fresh(draw)),
        target_url: fields.url,
        disabled: None,
        filter: fields.settings.filter(),
        settings: written(&fields.settings)?,
        headers: wire::webhook_headers(&guid::nonce(draw)),
        retries_max: Some(fields.retries),
    })
}

pub(super) fn edited(
    old: &Webhook,
    given: &Map<String, Value>,
    bounds: FieldLimits<'_>,
) -> Result<Webhook, Refusal> {
    let fields = Fields::read(given, Some(fields_of(old)), bounds);
    let fields = fields.map_err(Refusal::Invalid)?;
    Ok(Webhook {
        target_url: fields.url,
        filter: fields.settings.filter(),
        settings: written(&fields.settings)?,
        retries_max: Some(fields.retries),
        ..old.clone()
    })
}

pub(super) fn fields_of(webhook: &Webhook) -> Fields {
    Fields {
        url: webhook.target_url.clone(),
        retries: webhook.retries_max.unwrap_or_default(),
        settings: Settings::of(webhook),
    }
}

pub(super) fn written(settings: &Settings) -> Result<String, Refusal> {
    serde_json::to_string(settings).map_err(|_| Refusal::Internal)
}

/// The name that people know a webhook by.
pub(super) fn name_of(settings: &str) -> Option<String> {
    let settings: Settings = serde_json::from_str(settings).ok()?;
    Some(settings.name).filter(|name| !name.trim().is_empty())
}
