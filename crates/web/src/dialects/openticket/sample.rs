//! Samples for tests from the dashboard. They go through `wire.rs` like the reports of
//! applications. The vendor documents no bodies; these have the shapes that receivers have been
//! seen to expect.

use model::notification::NewNotification;
use model::refusal::Refusal;
use model::time::Timestamp;
use model::webhook::Webhook;
use serde_json::{Value, json};

use super::context::OpenTicket;
use super::fields::Settings;
use super::guid;
use super::notification::notification;
use super::triggers::happening;
use super::wire::{Draft, moment, topic};
use crate::dialect::dashboard::FormContext;
use crate::dialect::form::FieldChoice;

pub(super) fn kinds(open: &OpenTicket, webhook: &Webhook) -> Vec<FieldChoice> {
    let settings = Settings::of(webhook);
    let (resource, trigger) = (&settings.resource, &settings.trigger);
    let offer = open.triggers.offer(resource, trigger);
    let related = settings.triggered_by_child_resources;
    let sources = offer.sources.iter().copied().filter(|_| related);
    // What fires by itself comes first; what does not is all there is if nothing else fires.
    let alone = offer.direct || !related || offer.sources.is_empty();
    let own = alone.then_some(resource.as_str());
    let resources = own.into_iter().chain(sources.filter(|own| own != resource));
    let choice = |own: &str| FieldChoice {
        value: topic(own, trigger),
        label: happening(own, trigger),
        code: open.triggers.name(own, trigger),
        ..FieldChoice::default()
    };
    resources.map(choice).collect()
}

pub(super) fn make(
    open: &OpenTicket,
    context: &FormContext<'_>,
    webhook: &Webhook,
    kind: &str,
) -> Result<Option<NewNotification>, Refusal> {
    let is_offered = kinds(open, webhook).iter().any(|own| own.value == kind);
    let settings = Settings::of(webhook);
    let (Some((resource, trigger)), true) = (kind.split_once('.'), is_offered) else {
        return Ok(None);
    };
    let fresh = || guid::fresh(|end| context.rng.below(end));
    let meant = guid::read(&settings.identifier).unwrap_or_else(fresh);
    let is_own = resource == settings.resource;
    let own = if is_own { meant.clone() } else { fresh() };
    let related = match is_own {
        true => json!([]),
        false => json!([{"resource": settings.resource, "guid": meant}]),
    };
    let report = json!({
        "resource": resource,
        "trigger": trigger,
        "guid": own,
        "related": related,
        "data": body(resource, trigger, &own, context, fresh),
    });
    let draft = Draft::read(&report.to_string(), &open.triggers)?;
    let made = notification(context.tenant, draft, &fresh(), context.now);
    Ok(Some(NewNotification {
        only_webhook: Some(webhook.id),
        ..made
    }))
}

/// A body of the shape that goes with the trigger: an order, a scan, or a revision.
fn body(
    resource: &str,
    trigger: &str,
    own: &str,
    context: &FormContext<'_>,
    fresh: impl Fn() -> String,
) -> Value {
    let at = moment(context.now);
    match (resource, trigger) {
        (_, "scan") => json!({
            "guid": fresh(),
            "order_id": fresh(),
            "ticket_number": "K7Q2M9XW4TBN",
            "scanner_id": own,
            "direction": "in",
            "scanned_at": at,
        }),
        ("order", _) | (_, "paid") => order(own, context.now, fresh),
        _ => json!({
            "meta": {
                "user_id": fresh(),
                "user_name": "Ada Vos",
                "company_id": context.tenant.key,
            },
            "model": {"guid": own, "type": resource, "name": "Balcony"},
            "change": {
                "props": {"name": "Balcony"},
                "changes": {"name": ["Balkon", "Balcony"]},
            },
            "type": trigger,
            "time": at,
        }),
    }
}

fn order(own: &str, now: Timestamp, fresh: impl Fn() -> String) -> Value {
    const A_MOMENT_MS: i64 = 29_000;
    json!({
        "guid": own,
        "shop_id": fresh(),
        "status": "paid",
        "currency": "EUR",
        "price": 2150,
        "value": 2000,
        "service_fee": 150,
        "firstname": "Ada",
        "lastname": "Vos",
        "email": "ada@example.com",
        "locale": "nl_NL",
        "is_complete": true,
        "purchase_channel": "shop",
        "invalidated_since": null,
        "created_at": moment(now.plus_ms(-A_MOMENT_MS)),
        "updated_at": moment(now),
        "payment": {"status": "completed", "value": 2150, "currency": "EUR"},
        "tickets": [{
            "guid": fresh(),
            "original_id": fresh(),
            "price": 2150,
            "ticket_number": "K7Q2M9XW4TBN",
            "invalidated_since": null,
        }],
        "products": [],
        "events": [],
        "returns": null,
    })
}
