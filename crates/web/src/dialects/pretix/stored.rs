//! Webhooks as they are stored: made from fields, and taken apart into fields again.

use model::id::TenantId;
use model::refusal::Refusal;
use model::time::Timestamp;
use model::webhook::{DisableCause, Disablement, Headers, NewWebhook, Webhook};

use super::fields::{Fields, Settings};

/// The webhook that these fields make.
pub(super) fn new_webhook(
    tenant: TenantId,
    fields: Fields,
    at: Timestamp,
) -> Result<NewWebhook, Refusal> {
    let disablement = Disablement {
        at,
        cause: DisableCause::Requested,
    };
    Ok(NewWebhook {
        tenant,
        key: None,
        target_url: fields.target_url,
        disabled: (!fields.enabled).then_some(disablement),
        filter: fields.settings.filter(),
        settings: written(&fields.settings)?,
        headers: Headers::default(),
        retries_max: None,
    })
}

pub(super) fn edited(old: &Webhook, fields: Fields, at: Timestamp) -> Result<Webhook, Refusal> {
    let disablement = Disablement {
        at,
        cause: DisableCause::Requested,
    };
    let disabled = (!fields.enabled).then_some(old.disabled.unwrap_or(disablement));
    Ok(Webhook {
        target_url: fields.target_url,
        disabled,
        filter: fields.settings.filter(),
        settings: written(&fields.settings)?,
        ..old.clone()
    })
}

pub(super) fn fields_of(webhook: &Webhook) -> Fields {
    Fields {
        enabled: webhook.enabled(),
        target_url: webhook.target_url.clone(),
        settings: Settings::of(webhook),
    }
}

pub(super) fn written(settings: &Settings) -> Result<String, Refusal> {
    serde_json::to_string(settings).map_err(|_| Refusal::Internal)
}

/// The name that people know a webhook by: its comment.
pub(super) fn name_of(settings: &str) -> Option<String> {
    let settings: Settings = serde_json::from_str(settings).ok()?;
    settings
        .comment
        .filter(|comment| !comment.trim().is_empty())
}
