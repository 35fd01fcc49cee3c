//! Shows of a tenant.

use std::sync::Arc;

use model::query::{AppliedItem, ChangeKind};
use model::refusal::Refusal;
use model::tenant::{Event, Tenant};
use serde_json::{Map, Value, json};

use super::body::{self, Section};
use super::context::Admin;
use super::{answer, page};
use crate::gateway::api::{AdmittedRequest, ApiResponse};

pub(super) async fn list_events(
    admin: Arc<Admin>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    let (tenant, _) = admin.tenant(&request).await?;
    let limit = page::limit(&request.head)?;
    let after = page::after(&request.head).map(str::to_owned);
    let rows = request
        .ask(|store| store.events_behind(tenant.id, after.clone(), limit + 1))
        .await?;
    let key = |event: &Event| event.slug.clone();
    Ok(page::answer(&request.head, rows, limit, shown, key))
}

pub(super) async fn show_event(
    admin: Arc<Admin>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    let (tenant, _) = admin.tenant(&request).await?;
    let event = found(&request, &tenant).await?;
    Ok(answer::ok(&shown(&event)))
}

pub(super) async fn put_event(
    admin: Arc<Admin>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    let (tenant, dialect) = admin.tenant(&request).await?;
    let mut fields = body::fields(&request)?;
    body::name_as_in_path(&mut fields, "slug", request.head.param("slug"))?;
    let section = Section {
        fields: Map::from_iter([
            (
                dialect.key_field.to_owned(),
                Value::from(tenant.key.as_str()),
            ),
            ("event".to_owned(), json!([fields])),
        ]),
        below: "event",
        is_whole: false,
    };
    let applied = body::apply(&admin, &request, &dialect, section).await?;
    let is_created = applied.changes.iter().any(|change| {
        matches!(change.item, AppliedItem::Event(_)) && change.change == ChangeKind::Created
    });
    let event = found(&request, &tenant).await?;
    Ok(answer::put(is_created, &shown(&event)))
}

/// The show that the path names.
async fn found(request: &AdmittedRequest, tenant: &Tenant) -> Result<Event, Refusal> {
    let slug = request.head.param("slug");
    let found = request.ask(|store| store.event(tenant.id, slug.to_owned()));
    found.await?.ok_or(Refusal::NoSuchObject)
}

fn shown(event: &Event) -> Value {
    json!({
        "slug": event.slug,
        "name": event.name,
        "date_from": event.date_from.map(|at| at.to_string()),
    })
}
