//! Tenants: a list, one of them, and creating or changing one as `willcall apply` does.

use std::sync::Arc;

use model::dashboard::TenantQuery;
use model::id::TenantId;
use model::query::{AppliedChange, AppliedItem, ChangeKind};
use model::refusal::Refusal;
use model::target::masked;
use model::tenant::{DialectName, Tenant};
use serde_json::{Value, json};

use super::body::{self, Applied, Section};
use super::context::Admin;
use super::{answer, page};
use crate::dialect::own_block::refuse_key;
use crate::gateway::api::{AdmittedRequest, ApiResponse};

/// Within the name or the key of a tenant.
pub(super) const TEXT: &str = "q";

/// The most characters that are searched for.
const TEXT_CHARS_MAX: usize = 200;

pub(super) async fn list_tenants(
    admin: Arc<Admin>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    let head = &request.head;
    let limit = page::limit(head)?;
    let after = match page::after(head) {
        Some(path) => Some(id_of(&request, path).await?),
        None => None,
    };
    let text = head.query.get(TEXT).unwrap_or_default();
    let alerts = admin.dialects.of_alerts();
    let query = TenantQuery {
        but_dialect: alerts.map(|(dialect, _)| dialect.name.clone()),
        among: None,
        text: text.chars().take(TEXT_CHARS_MAX).collect(),
        after,
        limit: limit + 1,
    };
    let rows = request
        .ask(|store| store.find_tenants(query.clone()))
        .await?;
    let key = |tenant: &Tenant| format!("{}/{}", tenant.dialect, tenant.key);
    Ok(page::answer(head, rows, limit, shown, key))
}

/// The tenant that a page goes on behind, by its dialect and key.
async fn id_of(request: &AdmittedRequest, path: &str) -> Result<TenantId, Refusal> {
    let (dialect, key) = path.split_once('/').ok_or_else(page::unknown_row)?;
    let (dialect, key) = (DialectName::new(dialect), key.to_owned());
    let found = request.ask(|store| store.tenant(dialect.clone(), key.clone()));
    let tenant = found.await?.ok_or_else(page::unknown_row)?;
    Ok(tenant.id)
}

pub(super) async fn show_tenant(
    admin: Arc<Admin>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    let (tenant, _) = admin.tenant(&request).await?;
    Ok(answer::ok(&shown(&tenant)))
}

pub(super) async fn put_tenant(
    admin: Arc<Admin>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    refuse_key(
        &request,
        "the answer may have tokens, which are kept nowhere. A repeated PUT changes nothing in any \
         case",
    )?;
    let dialect = admin.dialect(&request)?;
    let mut fields = body::fields(&request)?;
    body::name_as_in_path(&mut fields, dialect.key_field, request.head.param("tenant"))?;
    let section = Section {
        is_whole: fields.contains_key("name"),
        fields,
        below: "",
    };
    let applied = body::apply(&admin, &request, &dialect, section).await?;
    let is_created = applied.changes.iter().any(|change| {
        matches!(change.item, AppliedItem::Tenant) && change.change == ChangeKind::Created
    });
    let mut value = shown(&applied.tenant);
    let is_change = |change: &&AppliedChange| change.change != ChangeKind::Unchanged;
    let changes = applied.changes.iter().filter(is_change);
    let changes: Vec<Value> = changes.map(|change| of_change(change, &applied)).collect();
    if let Some(fields) = value.as_object_mut() {
        fields.insert("changes".to_owned(), Value::from(changes));
    }
    Ok(answer::put(is_created, &value))
}

fn of_change(change: &AppliedChange, applied: &Applied) -> Value {
    let verb = match change.change {
        ChangeKind::Created => "created",
        ChangeKind::Changed => "changed",
        ChangeKind::Unchanged => "unchanged",
    };
    match &change.item {
        AppliedItem::Tenant => json!({ "item": "tenant", "change": verb }),
        AppliedItem::Event(slug) => json!({ "item": "event", "change": verb, "slug": slug }),
        AppliedItem::Token { name, .. } => {
            let mut made = applied.fresh.iter();
            let made = made.find(|made| made.name == *name);
            match made {
                Some(made) => json!({
                    "item": "token", "change": verb, "name": name, "token": made.token,
                }),
                None => json!({ "item": "token", "change": verb, "name": name }),
            }
        }
        AppliedItem::Webhook {
            id,
            target_url,
            changed,
        } => json!({
            "item": "webhook", "change": verb, "id": id.0, "target_url": masked(target_url),
            "changed": changed,
        }),
    }
}

fn shown(tenant: &Tenant) -> Value {
    json!({
        "dialect": tenant.dialect.as_str(),
        "key": tenant.key,
        "name": tenant.name,
    })
}
