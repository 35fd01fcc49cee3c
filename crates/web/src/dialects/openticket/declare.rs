//! The section `[[company]]` of an operator's file: GUID, name, tokens, webhooks.
//!
//! Webhooks are judged by the rules of the REST resource (`fields.rs`). GUID and nonce of a
//! webhook may be given, so that receivers that know them need not be told others.

use std::collections::BTreeSet;

use model::query::{Declaration, DeclaredToken, DeclaredWebhook, WebhookDefaults};
use model::rng::SeededRng;
use model::tenant::{DialectName, Permission, TokenHash, UnknownPermission};
use serde_json::{Map, Value};
use toml::de::DeValue;

use super::context::OpenTicket;
use super::fields::{FieldLimits, Fields};
use super::{guid, stored, wire};
use crate::dialect::section::{DeclarationFile, FileTable};
use crate::dialect::{declared_secrets, limits};

/// This dialect's name for the permission to hand in notifications.
const TRIGGERS_WRITE: &str = "triggers:write";

/// Shorter ones could be guessed, and could not be told from other text in a log.
const NONCE_BYTES_MIN: usize = 8;
const NONCE_BYTES_MAX: usize = 255;

pub(super) fn declare(
    name: &DialectName,
    open: &OpenTicket,
    companies: &[FileTable<'_>],
    rng: &mut SeededRng,
    declared: &mut DeclarationFile,
) {
    let bounds = FieldLimits {
        triggers: &open.triggers,
        strict: open.strict,
    };
    let mut seen = BTreeSet::new();
    let mut defaults = BTreeSet::new();
    for company in companies {
        company.only(&["guid", "name", "token", "webhook"]);
        let own = guid_of(company, "guid").unwrap_or_default();
        if company.get("guid").is_none() {
            company.wrong("guid", "is missing");
        }
        if !own.is_empty() && !seen.insert(own.clone()) {
            company.wrong("guid", format!("\"{own}\" is declared twice"));
        }
        let keys = ["name", "token", "permissions", "active", "default"];
        let tokens = company.tokens(&own, &keys, permission_of, rng, &mut declared.fresh);
        vet_defaults(company, &tokens, &mut defaults);
        let mut keys = BTreeSet::new();
        let webhooks = company.tables("webhook");
        let webhooks = webhooks
            .iter()
            .filter_map(|entry| webhook_of(entry, bounds, &mut keys, rng));
        declared.declarations.push(Declaration {
            dialect: name.clone(),
            name: Some(company.text("name").unwrap_or(&own).to_owned()),
            events: Vec::new(),
            webhooks: webhooks.collect(),
            key: own,
            tokens,
        });
    }
}

/// A token can have only one default company.
fn vet_defaults(
    company: &FileTable<'_>,
    tokens: &[DeclaredToken],
    defaults: &mut BTreeSet<TokenHash>,
) {
    let entries = company.tables("token");
    for token in tokens.iter().filter(|token| token.default) {
        let Some(hash) = token.hash else {
            continue;
        };
        if defaults.insert(hash) {
            continue;
        }
        let own = |entry: &&FileTable<'_>| entry.text("name") == Some(&token.name);
        if let Some(entry) = entries.iter().find(own) {
            let message = "another company is this token's default already";
            entry.wrong("default", message);
        }
    }
}

fn permission_of(name: &str) -> Result<Permission, String> {
    match name {
        TRIGGERS_WRITE => Ok(Permission::NotificationsWrite),
        "webhooks:read" | "webhooks:write" => name
            .parse()
            .map_err(|error: UnknownPermission| error.to_string()),
        _ => Err(format!(
            "unknown permission \"{name}\"; there are webhooks:read, webhooks:write, {TRIGGERS_WRITE}"
        )),
    }
}

/// This dialect's name for a permission.
pub(super) fn permission_name(permission: Permission) -> &'static str {
    match permission {
        Permission::NotificationsWrite => TRIGGERS_WRITE,
        Permission::WebhooksRead
        | Permission::WebhooksWrite
        | Permission::TenantsRead
        | Permission::TenantsWrite => permission.as_str(),
    }
}

fn guid_of(entry: &FileTable<'_>, key: &str) -> Option<String> {
    let text = entry.text(key)?;
    let read = guid::read(text);
    if read.is_none() {
        let message = "must be a GUID such as d0a3f370-cd43-11ed-9c9c-bbcffde24a48";
        entry.wrong(key, message);
    }
    read
}

fn webhook_of(
    entry: &FileTable<'_>,
    bounds: FieldLimits<'_>,
    keys: &mut BTreeSet<String>,
    rng: &mut SeededRng,
) -> Option<DeclaredWebhook> {
    const FIELDS: [&str; 7] = [
        "name",
        "url",
        "resource",
        "trigger",
        "retries",
        "identifier",
        "triggered_by_child_resources",
    ];
    let more = ["guid", "nonce", "enabled"];
    entry.only(
        &[
            FIELDS.as_slice(),
            &more,
            &declared_secrets::KEYS,
            &limits::KEYS,
        ]
        .concat(),
    );
    let calls = limits::declared(entry);
    let secrets = declared_secrets::read(entry, &wire::HEADERS);
    let key = guid_of(entry, "guid");
    if let Some(key) = &key
        && !keys.insert(key.clone())
    {
        entry.wrong("guid", format!("\"{key}\" is declared twice"));
    }
    let nonce = entry.text("nonce").inspect(|nonce| {
        let plain = nonce.bytes().all(|byte| byte.is_ascii_graphic());
        if !plain || !(NONCE_BYTES_MIN..=NONCE_BYTES_MAX).contains(&nonce.len()) {
            let message =
                format!("must have {NONCE_BYTES_MIN} to {NONCE_BYTES_MAX} characters of ASCII, and no spaces");
            entry.wrong("nonce", message);
        }
    });
    let fresh = WebhookDefaults {
        key: Some(guid::fresh(|end| rng.below(end))),
        headers: wire::webhook_headers(&guid::nonce(|end| rng.below(end))),
    };
    let given = FIELDS.iter().filter_map(|field| {
        let value = entry.get(field)?;
        Some(((*field).to_owned(), json_of(value)))
    });
    match Fields::read(&given.collect::<Map<_, _>>(), None, bounds) {
        Ok(fields) => Some(DeclaredWebhook {
            key,
            enabled: entry.flag("enabled"),
            filter: fields.settings.filter(),
            settings: stored::written(&fields.settings).unwrap_or_default(),
            target_url: fields.url,
            headers: nonce.map(wire::webhook_headers),
            retries_max: Some(fields.retries),
            fresh,
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

/// A TOML value as the REST resource would have got it.
fn json_of(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Boolean(flag) => Value::Bool(*flag),
        DeValue::Integer(number) => {
            let number = number.to_string().parse::<i64>();
            number.map_or_else(|_| Value::Array(Vec::new()), Value::from)
        }
        // None of these is a value that a field may have.
        DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => {
            Value::Array(Vec::new())
        }
    }
}
