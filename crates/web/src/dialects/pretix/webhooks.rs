//! The REST resource of webhooks: list, show, create, change, disable (`docs/pretix.md`).
//!
//! Webhooks are never removed: DELETE disables, and a disabled one can be enabled.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use http::StatusCode;
use model::id::WebhookId;
use model::query::WebhookQuery;
use model::refusal::Refusal;
use model::tenant::{Event, Permission};
use model::url_marks;
use model::webhook::Webhook;

use super::context::Pretix;
use super::fields::{FieldLimits, FieldValues, Fields};
use super::json::JsonValue;
use super::paging::{self, FoundRows};
use super::stored::{edited, fields_of, new_webhook};
use super::{answer, input, python};
use crate::gateway::api::{AdmittedRequest, ApiResponse};
use crate::gateway::auth::RequiredAccess;
use crate::gateway::operations;
use crate::gateway::store::refused;

pub(super) async fn list_webhooks(
    _: Arc<Pretix>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    let tenant = request.tenant()?.id;
    let head = &request.head;
    let enabled = head.query.get("enabled").and_then(flag);
    let find = async |offset: u64, limit: usize| {
        let query = WebhookQuery {
            enabled,
            newest_first: false,
            offset,
            limit,
        };
        let found = request.ask(move |store| store.webhooks(vec![tenant], query));
        let found = found.await?;
        Ok(FoundRows {
            count: found.count,
            rows: found.webhooks,
        })
    };
    let page = paging::page(head, find).await?;
    let shown = shown(&request, &page.rows).await?;
    let body = page.with(head, shown);
    Ok(answer::ok(&request, &body))
}

pub(super) async fn show_webhook(
    _: Arc<Pretix>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    let webhook = find(&request).await?;
    answered(&request, StatusCode::OK, &webhook).await
}

pub(super) async fn create_webhook(
    pretix: Arc<Pretix>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    let tenant = request.tenant()?.id;
    let fields = read(&pretix, &request, true).await?.over(None);
    let fields = fields.map_err(Refusal::Invalid)?;
    let at = request.context.clock.now();
    let new = new_webhook(tenant, fields, at)?;
    let actor = request.actor(Permission::WebhooksWrite)?;
    let created = operations::create_webhook(&request, new, actor, at).await;
    let created = created.map_err(|error| refused(&error))?;
    answered(&request, StatusCode::CREATED, &created).await
}

pub(super) async fn replace_webhook(
    pretix: Arc<Pretix>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    change_fields(&pretix, &request, true).await
}

pub(super) async fn change_webhook(
    pretix: Arc<Pretix>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    change_fields(&pretix, &request, false).await
}

async fn change_fields(
    pretix: &Pretix,
    request: &AdmittedRequest,
    whole: bool,
) -> Result<ApiResponse, Refusal> {
    // A missing webhook is reported before faults.
    find(request).await?;
    let object = read_object(request, whole).await?;
    let events = slugs(request, &object).await?;
    let bounds = FieldLimits::new(&pretix.action_types, &events);
    let edit = |old: &Webhook, at| {
        let given = FieldValues::read(&object, whole, &bounds).map_err(Refusal::Invalid)?;
        let given = given.filled(Some(&old.target_url));
        let fields = given.and_then(|given| given.over((!whole).then(|| fields_of(old))));
        edited(old, fields.map_err(Refusal::Invalid)?, at)
    };
    let saved = operations::edit_webhook(request, find, edit, None).await?;
    answered(request, StatusCode::OK, &saved).await
}

pub(super) async fn disable_webhook(
    _: Arc<Pretix>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    let off = |old: &Webhook, at| {
        let fields = Fields {
            enabled: false,
            ..fields_of(old)
        };
        edited(old, fields, at)
    };
    operations::edit_webhook(&request, find, off, None).await?;
    Ok(answer::empty(StatusCode::NO_CONTENT))
}

/// The webhook that the path names.
pub(super) async fn find(request: &AdmittedRequest) -> Result<Webhook, Refusal> {
    let tenant = request.tenant()?.id;
    let number = python::int(request.head.param("id")).ok_or(Refusal::NotAName)?;
    let id = i64::try_from(number).map_err(|_| Refusal::NoSuchObject)?;
    let found = request.ask(|store| store.webhook(tenant, WebhookId(id)));
    found.await?.ok_or(Refusal::NoSuchObject)
}

/// The method by which the caller may write fields at this route, if there is one.
pub(super) async fn written_by(request: &AdmittedRequest) -> Result<Option<&'static str>, Refusal> {
    let tenant = request.tenant().ok();
    let may_write = RequiredAccess::Right(Permission::WebhooksWrite);
    let route = request.head.route.as_ref().map_or("", |route| route.name);
    if !request.caller.may(may_write, tenant) {
        return Ok(None);
    }
    match route {
        "webhooks" => Ok(Some("POST")),
        "webhook" => match find(request).await {
            Ok(_) => Ok(Some("PUT")),
            Err(Refusal::NoSuchObject | Refusal::NotAName) => Ok(None),
            Err(refusal) => Err(refusal),
        },
        _ => Ok(None),
    }
}

async fn read(
    pretix: &Pretix,
    request: &AdmittedRequest,
    whole: bool,
) -> Result<FieldValues, Refusal> {
    let object = read_object(request, whole).await?;
    let events = slugs(request, &object).await?;
    let bounds = FieldLimits::new(&pretix.action_types, &events);
    FieldValues::read(&object, whole, &bounds).map_err(Refusal::Invalid)
}

async fn read_object(
    request: &AdmittedRequest,
    whole: bool,
) -> Result<super::json::JsonObject<'_>, Refusal> {
    input::read_fields(&request.head.headers, &request.body, whole).await
}

/// Of the tenant's shows, if any are named.
async fn slugs(
    request: &AdmittedRequest,
    object: &super::json::JsonObject<'_>,
) -> Result<BTreeSet<String>, Refusal> {
    let names_none = match object.get("limit_events") {
        None => true,
        Some(value) => matches!(value, JsonValue::List(items) if items.is_empty()),
    };
    if names_none {
        return Ok(BTreeSet::new());
    }
    let tenant = request.tenant()?.id;
    let events = request.ask(|store| store.events(tenant)).await?;
    Ok(events.into_iter().map(|event| event.slug).collect())
}

async fn answered(
    request: &AdmittedRequest,
    status: StatusCode,
    webhook: &Webhook,
) -> Result<ApiResponse, Refusal> {
    let shown = shown(request, std::slice::from_ref(webhook)).await?;
    let body = shown.into_iter().next().ok_or(Refusal::Internal)?;
    Ok(answer::json(&request.head, status, &body))
}

/// The position of each show among the tenant's shows.
#[derive(Default)]
struct EventOrder(BTreeMap<String, usize>);

impl EventOrder {
    fn of(events: &[Event]) -> Self {
        let places = events.iter().enumerate();
        Self(
            places
                .map(|(place, event)| (event.slug.clone(), place))
                .collect(),
        )
    }

    fn sorted(&self, mut slugs: Vec<String>) -> Vec<String> {
        slugs.sort_by_key(|slug| self.0.get(slug).copied().unwrap_or(usize::MAX));
        slugs
    }
}

/// Webhooks as JSON. A tenant may have very many shows: they are read only where the order of some
/// matters.
async fn shown(
    request: &AdmittedRequest,
    webhooks: &[Webhook],
) -> Result<Vec<JsonValue<'static>>, Refusal> {
    let all: Vec<Fields> = webhooks.iter().map(fields_of).collect();
    let mut named = all.iter().map(|fields| fields.settings.limit_events.len());
    let events = match named.any(|count| count > 1) {
        true => {
            let tenant = request.tenant()?.id;
            EventOrder::of(&request.ask(|store| store.events(tenant)).await?)
        }
        false => EventOrder::default(),
    };
    let each = webhooks.iter().zip(all);
    Ok(each
        .map(|(webhook, fields)| value(webhook, fields, &events))
        .collect())
}

fn value(webhook: &Webhook, fields: Fields, events: &EventOrder) -> JsonValue<'static> {
    let settings = fields.settings;
    let texts =
        |texts: Vec<String>| JsonValue::List(texts.into_iter().map(JsonValue::text).collect());
    JsonValue::object([
        ("id", JsonValue::int(webhook.id)),
        ("enabled", JsonValue::Bool(fields.enabled)),
        // Credentials as pretix shows them; what is marked is not pretix's.
        (
            "target_url",
            JsonValue::text(url_marks::masked(&fields.target_url)),
        ),
        ("all_events", JsonValue::Bool(settings.all_events)),
        ("limit_events", texts(events.sorted(settings.limit_events))),
        ("action_types", texts(settings.action_types)),
        ("comment", JsonValue::optional(settings.comment)),
    ])
}

/// `true`, `false`, 1 and 0 filter; anything else does not.
fn flag(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}
