//! Organizers and their events, read only: what clients ask for before anything else.
//!
//! Names, slugs and dates are what Willcall knows. The other fields of pretix are there with a
//! value that says nothing: null, false, an empty list or object.

use std::sync::Arc;

use http::StatusCode;
use model::refusal::Refusal;
use model::tenant::{Event, Tenant};
use model::time::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};

use super::json::{Object, Text, Value};
use super::paging::{self, Found};
use super::{Pretix, answer};
use crate::route::{AdmittedRequest, ApiResponse, RequestHead, TenantList};

type Pairs = Vec<(&'static str, Value<'static>)>;

/// All that whoever asks is listed for, by slug.
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
        std::future::ready(Ok(Found { count, rows }))
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
    let (shared, id) = (&request.shared, tenant.id);
    let find = async |offset: u64, limit: usize| {
        let found = shared.ask(move |store| store.event_page(id, offset, limit));
        let found = found.await?;
        Ok(Found {
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

/// An event that is not there is as closed as one of somebody else's.
pub(super) async fn show_event(
    _: Arc<Pretix>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    let (head, tenant) = (&request.head, request.tenant()?);
    let (id, slug) = (tenant.id, head.param("event"));
    let found = request.shared.ask(|store| store.event(id, slug.to_owned()));
    let event = found.await?.ok_or(Refusal::Forbidden)?;
    let (before, after) = event_fields(head, tenant, &event);
    let keys = [("valid_keys", nothing())];
    let body = whole(before.into_iter().chain(keys).chain(after));
    Ok(answer::json(head, StatusCode::OK, &body))
}

fn organizer(head: &RequestHead, tenant: &Tenant) -> Value<'static> {
    Value::object([
        ("name", Value::text(tenant.name.clone())),
        ("slug", Value::text(tenant.key.clone())),
        ("public_url", Value::text(shop(head, tenant))),
        ("plugins", Value::List(Vec::new())),
    ])
}

/// Where pretix has the shop of an organizer.
fn shop(head: &RequestHead, tenant: &Tenant) -> String {
    format!("{}/{}/", head.origin(), tenant.key)
}

/// A slug in a path. What an application hands in may have any characters.
fn segment(slug: &str) -> PercentEncode<'_> {
    const KEPT: &AsciiSet = &NON_ALPHANUMERIC
        .remove(b'_')
        .remove(b'.')
        .remove(b'-')
        .remove(b'~');
    utf8_percent_encode(slug, KEPT)
}

/// The fields of an event, those that come before `valid_keys` and those that come after it.
fn event_fields(head: &RequestHead, tenant: &Tenant, event: &Event) -> (Pairs, Pairs) {
    let none = || Value::List(Vec::new());
    let no = || Value::Bool(false);
    let name = Value::object([("en", Value::text(event.name.clone()))]);
    let before = vec![
        ("name", name),
        ("slug", Value::text(event.slug.clone())),
        ("live", no()),
        ("testmode", no()),
        ("currency", Value::Null),
        ("date_from", Value::optional(event.date_from.map(moment))),
        ("date_to", Value::Null),
        ("date_admission", Value::Null),
        ("is_public", no()),
        ("presale_start", Value::Null),
        ("presale_end", Value::Null),
        ("location", Value::Null),
        ("geo_lat", Value::Null),
        ("geo_lon", Value::Null),
        ("has_subevents", no()),
        ("meta_data", nothing()),
        ("seating_plan", Value::Null),
        ("plugins", none()),
        ("seat_category_mapping", nothing()),
        // That in which `date_from` is written.
        ("timezone", Value::text("UTC")),
        ("item_meta_properties", nothing()),
    ];
    let url = format!("{}{}/", shop(head, tenant), segment(&event.slug));
    let after = vec![
        ("all_sales_channels", no()),
        ("limit_sales_channels", none()),
        ("public_url", Value::text(url)),
        ("sales_channels", none()),
    ];
    (before, after)
}

fn whole(pairs: impl Iterator<Item = (&'static str, Value<'static>)>) -> Value<'static> {
    let pairs = pairs.map(|(key, value)| (Text::whole(key), value));
    Value::Object(Object::from_pairs(pairs.collect()))
}

fn nothing() -> Value<'static> {
    Value::object([])
}

/// As Python writes it: microseconds if there are any.
fn moment(at: Timestamp) -> String {
    let text = at.to_string();
    match text.strip_suffix(".000Z") {
        Some(second) => format!("{second}Z"),
        None => text.replace('Z', "000Z"),
    }
}
