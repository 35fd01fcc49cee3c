//! Organizers and their events, read only: what clients ask for first.
//!
//! Names, slugs and dates are what Willcall knows. The other fields of pretix have an empty value:
//! null, false, an empty list or object.

use std::sync::Arc;

use http::StatusCode;
use model::refusal::Refusal;
use model::tenant::{Event, Tenant};
use model::time::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};

use super::answer;
use super::context::Pretix;
use super::json::{JsonObject, JsonText, JsonValue};
use super::paging::{self, FoundRows};
use crate::gateway::api::{AdmittedRequest, ApiResponse, RequestHead, TenantList};

type JsonPairs = Vec<(&'static str, JsonValue<'static>)>;

/// Lists the organizers that the caller has a grant for, by slug.
pub(super) fn by_slug(_: &RequestHead, mut all: TenantList) -> TenantList {
    all.sort_by(|one, other| one.key.cmp(&other.key));
    all
}

pub(super) async fn list_organizers(
    _: Arc<Pretix>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    let (head, all) = (&request.head, &request.tenants);
    let find = |offset: u64, limit: usize| {
        let before = usize::try_from(offset).unwrap_or(usize::MAX);
        let rows = all.iter().skip(before).take(limit).cloned().collect();
        let count = u64::try_from(all.len()).unwrap_or(u64::MAX);
        std::future::ready(Ok(FoundRows { count, rows }))
    };
    let page = paging::page(head, find).await?;
    let shown = page.rows.iter().map(|tenant| organizer(head, tenant));
    let body = page.with(head, shown.collect());
    Ok(answer::ok(&request, &body))
}

pub(super) async fn show_organizer(
    _: Arc<Pretix>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    let body = organizer(&request.head, request.tenant()?);
    Ok(answer::ok(&request, &body))
}

/// Organizers are declared by the operator, not over REST.
pub(super) async fn keep_organizer(
    _: Arc<Pretix>,
    _: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    Err(Refusal::Forbidden)
}

pub(super) async fn list_events(
    _: Arc<Pretix>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    let (head, tenant) = (&request.head, request.tenant()?);
    let (context, id) = (&request.context, tenant.id);
    let find = async |offset: u64, limit: usize| {
        let found = context
            .store
            .ask(move |store| store.event_page(id, offset, limit));
        let found = found.await?;
        Ok(FoundRows {
            count: found.count,
            rows: found.events,
        })
    };
    let page = paging::page(head, find).await?;
    let shown = page.rows.iter().map(|event| {
        let (before, after) = event_fields(head, tenant, event);
        whole(before.into_iter().chain(after))
    });
    let body = page.with(head, shown.collect());
    Ok(answer::ok(&request, &body))
}

/// A missing event looks like one of somebody else.
pub(super) async fn show_event(
    _: Arc<Pretix>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    let (head, tenant) = (&request.head, request.tenant()?);
    let (id, slug) = (tenant.id, head.param("event"));
    let found = request.ask(|store| store.event(id, slug.to_owned()));
    let event = found.await?.ok_or(Refusal::Forbidden)?;
    let (before, after) = event_fields(head, tenant, &event);
    let keys = [("valid_keys", nothing())];
    let body = whole(before.into_iter().chain(keys).chain(after));
    Ok(answer::json(head, StatusCode::OK, &body))
}

fn organizer(head: &RequestHead, tenant: &Tenant) -> JsonValue<'static> {
    JsonValue::object([
        ("name", JsonValue::text(tenant.name.clone())),
        ("slug", JsonValue::text(tenant.key.clone())),
        ("public_url", JsonValue::text(shop(head, tenant))),
        ("plugins", JsonValue::List(Vec::new())),
    ])
}

/// The URL of an organizer's shop in pretix.
fn shop(head: &RequestHead, tenant: &Tenant) -> String {
    format!("{}/{}/", head.origin(), tenant.key)
}

/// A slug as a path segment. Applications may hand in any characters.
fn segment(slug: &str) -> PercentEncode<'_> {
    const KEPT: &AsciiSet = &NON_ALPHANUMERIC
        .remove(b'_')
        .remove(b'.')
        .remove(b'-')
        .remove(b'~');
    utf8_percent_encode(slug, KEPT)
}

/// The fields of an event, those that come before `valid_keys` and those that come after it.
fn event_fields(head: &RequestHead, tenant: &Tenant, event: &Event) -> (JsonPairs, JsonPairs) {
    let none = || JsonValue::List(Vec::new());
    let no = || JsonValue::Bool(false);
    let name = JsonValue::object([("en", JsonValue::text(event.name.clone()))]);
    let before = vec![
        ("name", name),
        ("slug", JsonValue::text(event.slug.clone())),
        ("live", no()),
        ("testmode", no()),
        ("currency", JsonValue::Null),
        (
            "date_from",
            JsonValue::optional(event.date_from.map(moment)),
        ),
        ("date_to", JsonValue::Null),
        ("date_admission", JsonValue::Null),
        ("is_public", no()),
        ("presale_start", JsonValue::Null),
        ("presale_end", JsonValue::Null),
        ("location", JsonValue::Null),
        ("geo_lat", JsonValue::Null),
        ("geo_lon", JsonValue::Null),
        ("has_subevents", no()),
        ("meta_data", nothing()),
        ("seating_plan", JsonValue::Null),
        ("plugins", none()),
        ("seat_category_mapping", nothing()),
        // The zone in which `date_from` is written.
        ("timezone", JsonValue::text("UTC")),
        ("item_meta_properties", nothing()),
    ];
    let url = format!("{}{}/", shop(head, tenant), segment(&event.slug));
    let after = vec![
        ("all_sales_channels", no()),
        ("limit_sales_channels", none()),
        ("public_url", JsonValue::text(url)),
        ("sales_channels", none()),
    ];
    (before, after)
}

fn whole(pairs: impl Iterator<Item = (&'static str, JsonValue<'static>)>) -> JsonValue<'static> {
    let pairs = pairs.map(|(key, value)| (JsonText::whole(key), value));
    JsonValue::Object(JsonObject::from_pairs(pairs.collect()))
}

fn nothing() -> JsonValue<'static> {
    JsonValue::object([])
}

/// As Python writes it: microseconds if there are any.
fn moment(at: Timestamp) -> String {
    let text = at.to_string();
    match text.strip_suffix(".000Z") {
        Some(second) => format!("{second}Z"),
        None => text.replace('Z', "000Z"),
    }
}
