//! The section `[[organizer]]` of an operator's file: slug, name, shows, tokens, webhooks.
//!
//! Webhooks are judged by the rules of the REST resource (`fields.rs`).

use std::collections::BTreeSet;

use model::limits::NAME_BYTES_MAX;
use model::query::{Declaration, DeclaredWebhook, WebhookDefaults};
use model::rng::SeededRng;
use model::tenant::{DialectName, Event, Permission, UnknownPermission};
use toml::de::DeValue;

use super::action_types::ActionTypes;
use super::fields::{FieldLimits, FieldValues};
use super::json::{JsonObject, JsonText, JsonValue};
use super::{faults, stored};
use crate::dialect::section::{DeclarationFile, FileTable, KnownEvents};
use crate::dialect::{declared_secrets, limits};

pub(super) fn declare(
    name: &DialectName,
    action_types: &ActionTypes,
    organizers: &[FileTable<'_>],
    known: &KnownEvents,
    rng: &mut SeededRng,
    declared: &mut DeclarationFile,
) {
    let mut seen = BTreeSet::new();
    for organizer in organizers {
        organizer.only(&["slug", "name", "event", "token", "webhook"]);
        let slug = slug_of(organizer).unwrap_or_default();
        if !slug.is_empty() && !seen.insert(slug) {
            organizer.wrong("slug", format!("\"{slug}\" is declared twice"));
        }
        let events = events_of(organizer);
        let nothing = BTreeSet::new();
        let stored = known
            .get(&(name.clone(), slug.to_owned()))
            .unwrap_or(&nothing);
        let slugs = events.iter().map(|event| event.slug.clone());
        let slugs: BTreeSet<String> = slugs.chain(stored.iter().cloned()).collect();
        let bounds = FieldLimits::new(action_types, &slugs);
        let keys = ["name", "token", "permissions", "active", "kind"];
        let tokens = organizer.tokens(slug, &keys, permission_of, rng, &mut declared.fresh);
        let webhooks = organizer.tables("webhook");
        let mut keys = BTreeSet::new();
        let webhooks = webhooks
            .iter()
            .filter_map(|entry| webhook_of(entry, &bounds, &mut keys));
        declared.declarations.push(Declaration {
            dialect: name.clone(),
            key: slug.to_owned(),
            name: Some(organizer.text("name").unwrap_or(slug).to_owned()),
            webhooks: webhooks.collect(),
            events,
            tokens,
        });
    }
}

/// A slug as pretix has them; it stands in paths.
fn slug_of<'a>(entry: &FileTable<'a>) -> Option<&'a str> {
    let slug = entry.required_text("slug")?;
    let sound = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let starts = slug.starts_with(|first: char| first.is_ascii_alphanumeric());
    if starts && slug.len() <= NAME_BYTES_MAX && slug.bytes().all(sound) {
        return Some(slug);
    }
    let message =
        "may have letters, digits, \"-\", \"_\" and \".\", and begins with a letter or digit";
    entry.wrong("slug", message);
    None
}

fn events_of(organizer: &FileTable<'_>) -> Vec<Event> {
    let mut events: Vec<Event> = Vec::new();
    for entry in organizer.tables("event") {
        entry.only(&["slug", "name", "date_from"]);
        let Some(slug) = slug_of(&entry) else {
            continue;
        };
        if events.iter().any(|event| event.slug == slug) {
            entry.wrong("slug", format!("\"{slug}\" is declared twice"));
        }
        events.push(Event {
            slug: slug.to_owned(),
            name: entry.text("name").unwrap_or(slug).to_owned(),
            date_from: entry.moment("date_from"),
        });
    }
    events
}

fn permission_of(name: &str) -> Result<Permission, String> {
    name.parse()
        .map_err(|error: UnknownPermission| error.to_string())
}

/// The name by which the file finds a webhook again, wherever it goes.
fn key_of(entry: &FileTable<'_>, keys: &mut BTreeSet<String>) -> Option<String> {
    let key = entry.text("key")?;
    if key.is_empty() || key.len() > NAME_BYTES_MAX {
        entry.wrong("key", format!("must have 1 to {NAME_BYTES_MAX} characters"));
    }
    if !keys.insert(key.to_owned()) {
        entry.wrong("key", format!("\"{key}\" is declared twice"));
    }
    Some(key.to_owned())
}

fn webhook_of(
    entry: &FileTable<'_>,
    bounds: &FieldLimits<'_>,
    keys: &mut BTreeSet<String>,
) -> Option<DeclaredWebhook> {
    const FIELDS: [&str; 6] = [
        "enabled",
        "target_url",
        "all_events",
        "limit_events",
        "action_types",
        "comment",
    ];
    entry.only(
        &[
            FIELDS.as_slice(),
            &["key"],
            &declared_secrets::KEYS,
            &limits::KEYS,
        ]
        .concat(),
    );
    let calls = limits::declared(entry);
    let secrets = declared_secrets::read(entry, &[]);
    let key = key_of(entry, keys);
    let mut pairs: Vec<(JsonText<'_>, JsonValue<'_>)> = Vec::new();
    for field in FIELDS {
        let value = match (field, entry.get(field)) {
            // Over REST this one is demanded even where it says nothing.
            ("limit_events", None) => JsonValue::List(Vec::new()),
            (_, None) => continue,
            (_, Some(value)) => json_of(value),
        };
        pairs.push((JsonText::whole(field), value));
    }
    let given = FieldValues::read(&JsonObject::from_pairs(pairs), true, bounds);
    let enabled = given.as_ref().ok().and_then(FieldValues::enabled);
    match given.and_then(|given| given.over(None)) {
        Ok(fields) => Some(DeclaredWebhook {
            enabled,
            filter: fields.settings.filter(),
            settings: stored::written(&fields.settings).unwrap_or_default(),
            target_url: fields.target_url,
            key,
            headers: None,
            retries_max: None,
            fresh: WebhookDefaults::default(),
            secrets,
            limits: calls.limits,
            cloud_events: calls.cloud_events,
        }),
        Err(faults) => {
            for fault in faults {
                let reasons = fault.reasons.join(" ");
                if fault.field == faults::WHOLE {
                    entry.wrong_whole(reasons);
                } else {
                    entry.wrong(&fault.field, reasons);
                }
            }
            None
        }
    }
}

/// A value of TOML as the REST resource would have been given it.
fn json_of<'a>(value: &'a DeValue<'_>) -> JsonValue<'a> {
    match value {
        DeValue::String(text) => JsonValue::text(&**text),
        DeValue::Integer(number) => JsonValue::int(number),
        DeValue::Float(number) => number
            .as_str()
            .parse()
            .map_or(JsonValue::Null, JsonValue::Float),
        DeValue::Boolean(flag) => JsonValue::Bool(*flag),
        DeValue::Datetime(at) => JsonValue::text(at.to_string()),
        DeValue::Array(items) => {
            JsonValue::List(items.iter().map(|item| json_of(item.get_ref())).collect())
        }
        DeValue::Table(table) => {
            let pairs = table.iter().map(|(key, value)| {
                let key: &str = key.get_ref();
                (JsonText::whole(key), json_of(value.get_ref()))
            });
            JsonValue::Object(JsonObject::from_pairs(pairs.collect()))
        }
    }
}
