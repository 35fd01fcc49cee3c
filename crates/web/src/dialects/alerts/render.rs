//! The exact bytes of an alert, in each form that somebody asks for.

use std::collections::BTreeSet;

use bytes::Bytes;
use model::filter::MatchKey;
use model::notification::NewNotification;
use model::tenant::Tenant;
use model::webhook::{Headers, Webhook};
use serde_json::{Value, json};

use super::fields::{Format, Settings};
use super::words;
use crate::dialect::alerts::{Alert, AlertWebhook};

/// The header that carries the subject of a mail.
const SUBJECT: &str = "Subject";

pub(super) fn render(
    alert: &Alert,
    audience: &Tenant,
    webhooks: &[Webhook],
    key: &str,
) -> Vec<NewNotification> {
    let wanted = |webhook: &&Webhook| webhook.enabled();
    let settings = webhooks.iter().filter(wanted).map(Settings::of);
    let kind = alert.kind.as_str();
    let formats: BTreeSet<Format> = settings
        .filter(|own| own.alerts.contains(kind))
        .map(|own| own.format)
        .collect();
    let each = formats.into_iter();
    each.map(|format| notification(alert, audience, format, key))
        .collect()
}

pub(super) fn notification(
    alert: &Alert,
    audience: &Tenant,
    format: Format,
    key: &str,
) -> NewNotification {
    let action_type = alert.kind.as_str().to_owned();
    let (headers, body) = match format {
        Format::Json => (Headers::default(), of_json(&whole(alert))),
        Format::Chat => (
            Headers::default(),
            of_json(&json!({"text": words::text(alert)})),
        ),
        Format::Mail => {
            let subject = words::subject(alert);
            let headers = Headers::from_pairs([(SUBJECT, subject.as_bytes())]);
            (headers, Bytes::from(words::text(alert)))
        }
    };
    NewNotification {
        tenant: audience.id,
        key: format!("{key}-{}", format.as_str()),
        match_keys: vec![MatchKey {
            topic: action_type.clone(),
            scope: format.as_str().to_owned(),
        }],
        action_type,
        event: None,
        headers,
        body,
        digest: None,
        match_context: Some(format.as_str().to_owned()),
        only_webhook: None,
        at: alert.at,
    }
}

fn of_json(value: &Value) -> Bytes {
    Bytes::from(value.to_string())
}

/// Everything, for programs. Times are in UTC.
fn whole(alert: &Alert) -> Value {
    json!({
        "type": alert.kind.as_str(),
        "at": alert.at.to_string(),
        "subject": words::subject(alert),
        "server": alert.server,
        "words": alert.words,
        "webhooks": alert.webhooks.iter().map(of_webhook).collect::<Vec<_>>(),
        "more": alert.more,
        "page": alert.page,
    })
}

fn of_webhook(webhook: &AlertWebhook) -> Value {
    let tenant = &webhook.tenant;
    json!({
        "id": webhook.id.0,
        "name": webhook.name,
        "target_url": webhook.target_url,
        "tenant": {
            "dialect": tenant.dialect.as_str(),
            "key": tenant.key,
            "name": tenant.name,
        },
        "since": webhook.since.to_string(),
        "waiting": webhook.waiting.count,
        "waiting_is_more": webhook.waiting.more,
        "oldest_waiting_at": webhook.oldest_waiting_at.map(|at| at.to_string()),
        "gives_up_at": webhook.gives_up_at.map(|at| at.to_string()),
        "last_outcome": webhook.last,
        "last_answer": webhook.said,
        "page": webhook.page,
    })
}
