//! Samples for tests from the dashboard. They go through `wire.rs` like those of applications, and
//! name a show of the organizer if there is one.

use model::notification::NewNotification;
use model::refusal::Refusal;
use model::webhook::Webhook;

use super::context::Pretix;
use super::fields::Settings;
use super::json::{JsonObject, JsonText, JsonValue};
use super::notification::notification;
use super::wire::Draft;
use crate::dialect::dashboard::FormContext;
use crate::dialect::form::FieldChoice;

/// The show of a sample, for an organizer without shows.
const NO_SHOW: &str = "sample";

/// The action types that stand for wildcards.
const CONCRETE: &[(&str, &str)] = &[
    (
        "pretix.event.order.changed.*",
        "pretix.event.order.changed.item",
    ),
    ("pretix.event.item.*", "pretix.event.item.changed"),
    ("pretix.event.quota.*", "pretix.event.quota.closed"),
    (
        "pretix.giftcards.transaction.*",
        "pretix.giftcards.transaction.payment",
    ),
];

pub(super) fn kinds(pretix: &Pretix, webhook: &Webhook) -> Vec<FieldChoice> {
    let settings = Settings::of(webhook);
    let choice = |key: &String| FieldChoice {
        value: key.clone(),
        label: match pretix.action_types.get(key) {
            Some(kind) if !kind.label.is_empty() => kind.label.clone(),
            Some(_) | None => key.clone(),
        },
        code: concrete(key),
        ..FieldChoice::default()
    };
    // In the usual order, without those that this webhook never gets.
    let known = pretix.action_types.iter();
    let known = known.filter(|kind| !(settings.is_for_no_show() && kind.is_of_show()));
    let known = known.map(|kind| &kind.key);
    let known = known.filter(|key| settings.action_types.contains(key));
    let gone = settings.action_types.iter();
    let gone = gone.filter(|key| !pretix.action_types.is_registered(key));
    known.chain(gone).map(choice).collect()
}

fn concrete(key: &str) -> String {
    let found = CONCRETE.iter().find(|(wildcard, _)| *wildcard == key);
    match (found, key.strip_suffix(".*")) {
        (Some((_, action)), _) => (*action).to_owned(),
        (None, Some(start)) => format!("{start}.sample"),
        (None, None) => key.to_owned(),
    }
}

pub(super) fn make(
    pretix: &Pretix,
    context: &FormContext<'_>,
    webhook: &Webhook,
    key: &str,
) -> Result<Option<NewNotification>, Refusal> {
    let offered = kinds(pretix, webhook);
    let Some(choice) = offered.iter().find(|choice| choice.value == key) else {
        return Ok(None);
    };
    let show = show(context, webhook);
    let organizer = context.tenant.key.as_str();
    let slug = show.unwrap_or(NO_SHOW);
    let body = body(pretix, &choice.code, slug, organizer);
    let draft = Draft::read(body, organizer, &pretix.action_types).map_err(Refusal::Invalid)?;
    let id = pretix.ids.next(context.rng, context.now);
    let made = notification(context.tenant, &draft, &id, context.now);
    Ok(Some(NewNotification {
        // A sample must not register a show.
        event: made.event.filter(|_| show.is_some()),
        only_webhook: Some(webhook.id),
        ..made
    }))
}

/// The latest show that the webhook is for.
fn show<'a>(context: &FormContext<'a>, webhook: &Webhook) -> Option<&'a str> {
    let settings = Settings::of(webhook);
    let slugs = context.events.iter().map(|event| event.slug.as_str());
    let is_for =
        |slug: &&str| settings.all_events || settings.limit_events.iter().any(|own| own == slug);
    let latest = slugs.clone().next_back();
    slugs.rev().find(is_for).or(latest)
}

/// Every key of such a notification, with a value.
fn body<'a>(pretix: &Pretix, action: &'a str, slug: &'a str, organizer: &'a str) -> JsonValue<'a> {
    let class = pretix.action_types.of(action).and_then(|kind| kind.class);
    let keys = class.map_or_else(|| vec!["event", "action"], |class| class.names().collect());
    let value = |key: &str| match key {
        "event" => Some(JsonValue::text(slug)),
        "action" => Some(JsonValue::text(action)),
        "code" => Some(JsonValue::text("TEST7")),
        "customer" => Some(JsonValue::text("TEST7CU")),
        "type" => Some(JsonValue::text("entry")),
        "first_checkin" => Some(JsonValue::Bool(true)),
        "acceptor_slug" => Some(JsonValue::text(organizer)),
        // Filled in for every notification.
        "notification_id" | "organizer" | "issuer_slug" => None,
        _ => Some(JsonValue::int(1)),
    };
    let pairs = keys
        .into_iter()
        .filter_map(|key| Some((JsonText::whole(key), value(key)?)));
    JsonValue::Object(JsonObject::from_pairs(pairs.collect()))
}
