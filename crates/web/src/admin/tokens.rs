//! Tokens: those of a tenant, and the administrators' own, which are listed and revoked here but
//! made on the server only: a token that leaked makes none that outlives it.

use std::sync::Arc;

use model::dashboard::TokenRow;
use model::id::TenantId;
use model::query::{AppliedItem, ChangeKind};
use model::refusal::Refusal;
use model::tenant::Permission;
use serde_json::{Map, Value, json};

use super::body::{self, Section};
use super::context::{Admin, actor};
use super::{answer, page};
use crate::dialect::own_block::refuse_key;
use crate::gateway::api::{AdmittedRequest, ApiResponse};

/// How a dialect names permissions.
type PermissionName = fn(Permission) -> &'static str;

/// Whose tokens a request is about: the tenant's that the path names, or the administrators'.
async fn owner(
    admin: &Admin,
    request: &AdmittedRequest,
) -> Result<(Option<TenantId>, PermissionName), Refusal> {
    if request.head.param("tenant").is_empty() {
        return Ok((None, Permission::as_str));
    }
    let (tenant, dialect) = admin.tenant(request).await?;
    Ok((Some(tenant.id), dialect.permission_name))
}

pub(super) async fn list_tokens(
    admin: Arc<Admin>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    let (tenant, names) = owner(&admin, &request).await?;
    let limit = page::limit(&request.head)?;
    let after = page::after(&request.head).map(str::to_owned);
    let rows = request
        .ask(|store| store.tokens_behind(tenant, after.clone(), limit + 1))
        .await?;
    let key = |token: &TokenRow| token.name.clone();
    let shown = |token: &TokenRow| shown(token, names);
    Ok(page::answer(&request.head, rows, limit, shown, key))
}

pub(super) async fn show_token(
    admin: Arc<Admin>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    let (tenant, names) = owner(&admin, &request).await?;
    let token = found(&request, tenant).await?;
    Ok(answer::ok(&shown(&token, names)))
}

pub(super) async fn put_token(
    admin: Arc<Admin>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    refuse_key(
        &request,
        "the answer may have a token, which is kept nowhere. A repeated PUT changes nothing in any \
         case",
    )?;
    let (tenant, dialect) = admin.tenant(&request).await?;
    let mut fields = body::fields(&request)?;
    body::name_as_in_path(&mut fields, "name", request.head.param("token"))?;
    let section = Section {
        fields: Map::from_iter([
            (
                dialect.key_field.to_owned(),
                Value::from(tenant.key.as_str()),
            ),
            ("token".to_owned(), json!([fields])),
        ]),
        below: "token",
        is_whole: false,
    };
    let applied = body::apply(&admin, &request, &dialect, section).await?;
    let is_created = applied.changes.iter().any(|change| {
        matches!(change.item, AppliedItem::Token { .. }) && change.change == ChangeKind::Created
    });
    let token = found(&request, Some(tenant.id)).await?;
    let mut value = shown(&token, dialect.permission_name);
    if let (Some(made), Some(fields)) = (applied.fresh.first(), value.as_object_mut()) {
        fields.insert("token".to_owned(), Value::from(made.token.as_str()));
    }
    Ok(answer::put(is_created, &value))
}

pub(super) async fn revoke_token(
    admin: Arc<Admin>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    let (tenant, _) = owner(&admin, &request).await?;
    let token = found(&request, tenant).await?;
    let (actor, now) = (actor(&request), request.context.clock.now());
    if tenant.is_none() {
        tracing::info!(
            token = token.name,
            by = actor,
            "an administrator's token is revoked"
        );
    }
    let revoked = request.ask(|store| store.revoke_token(tenant, token.id, actor.clone(), now));
    match revoked.await? {
        true => Ok(answer::empty()),
        false => Err(Refusal::NoSuchObject),
    }
}

/// The token that the path names.
async fn found(request: &AdmittedRequest, tenant: Option<TenantId>) -> Result<TokenRow, Refusal> {
    let name = request.head.param("token");
    let found = request.ask(|store| store.token(tenant, name.to_owned()));
    found.await?.ok_or(Refusal::NoSuchObject)
}

fn shown(token: &TokenRow, name: PermissionName) -> Value {
    let permissions = token.permissions.iter().map(name);
    json!({
        "name": token.name,
        "kind": token.kind.as_str(),
        "permissions": permissions.collect::<Vec<_>>(),
        "active": token.active,
        "created_at": token.created_at.to_string(),
        "used_at": token.used_at.map(|at| at.to_string()),
    })
}
