//! The section `[[alerts]]` of an operator's file: an audience, and where it is told.

use std::collections::BTreeSet;

use model::query::{Declaration, DeclaredWebhook, WebhookDefaults};
use model::tenant::DialectName;

use super::context::{Alerts, SERVER, about};
use super::fields::{Fields, Typed, offered, written};
use crate::dialect::alerts::AlertsAbout;
use crate::dialect::section::{DeclarationFile, FileTable};
use crate::dialect::{declared_secrets, limits};

pub(super) fn declare(
    name: &DialectName,
    rules: &Alerts,
    tables: &[FileTable<'_>],
    declared: &mut DeclarationFile,
) {
    let mut seen = BTreeSet::new();
    for table in tables {
        table.only(&["tenant", "webhook"]);
        let key = table.text("tenant").unwrap_or(SERVER);
        let Some(audience) = about(key) else {
            let message = "must be the dialect of a tenant, a slash and its key, or left out for \
                           those who run the server";
            table.wrong("tenant", message);
            continue;
        };
        if !seen.insert(key.to_owned()) {
            table.wrong("tenant", format!("\"{key}\" is declared twice"));
        }
        let mut keys = BTreeSet::new();
        let webhooks = table.tables("webhook");
        let webhooks = webhooks
            .iter()
            .filter_map(|entry| webhook(entry, rules, &audience, &mut keys));
        declared.declarations.push(Declaration {
            dialect: name.clone(),
            key: key.to_owned(),
            name: Some(title(&audience)),
            events: Vec::new(),
            webhooks: webhooks.collect(),
            tokens: Vec::new(),
        });
    }
}

/// What the pages of an audience are called.
pub(super) fn title(audience: &AlertsAbout) -> String {
    match audience {
        AlertsAbout::Server => "Alerts of the server".to_owned(),
        AlertsAbout::Tenant(_, key) => format!("Alerts of {key}"),
    }
}

fn webhook(
    entry: &FileTable<'_>,
    rules: &Alerts,
    audience: &AlertsAbout,
    keys: &mut BTreeSet<String>,
) -> Option<DeclaredWebhook> {
    let own = ["key", "name", "format", "to", "alerts", "enabled"];
    entry.only(&[own.as_slice(), &declared_secrets::KEYS, &limits::KEYS].concat());
    let calls = limits::declared(entry);
    let secrets = declared_secrets::read(entry, &[]);
    let key = entry.required_text("key")?.to_owned();
    if key.is_empty() || key.len() > model::limits::NAME_BYTES_MAX {
        entry.wrong("key", "must name this webhook, so that it is found again");
    }
    if !keys.insert(key.clone()) {
        entry.wrong("key", format!("\"{key}\" is declared twice"));
    }
    let is_server = *audience == AlertsAbout::Server;
    let all = offered(is_server).map(model::incident::AlertKind::as_str);
    let typed = Typed {
        name: entry.text("name").unwrap_or(&key),
        format: entry.required_text("format").unwrap_or_default(),
        to: entry.required_text("to").unwrap_or_default(),
        alerts: entry.texts("alerts").unwrap_or_else(|| all.collect()),
    };
    match Fields::read(&typed, rules.mail, is_server, None) {
        Ok(fields) => Some(DeclaredWebhook {
            key: Some(key.clone()),
            target_url: fields.target_url,
            enabled: entry.flag("enabled"),
            filter: fields.settings.filter(),
            settings: written(&fields.settings).unwrap_or_default(),
            headers: None,
            retries_max: None,
            fresh: WebhookDefaults {
                key: Some(key),
                ..WebhookDefaults::default()
            },
            secrets,
            limits: calls.limits,
            cloud_events: calls.cloud_events,
        }),
        Err(faults) => {
            for fault in faults {
                entry.wrong(&fault.field, fault.reasons.join(" "));
            }
            None
        }
    }
}
