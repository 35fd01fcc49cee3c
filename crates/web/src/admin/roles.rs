//! Roles: who may do what at a tenant.

use std::sync::Arc;

use model::id::UserId;
use model::refusal::Refusal;
use model::tenant::Tenant;
use model::users::{Role, User};
use serde_json::{Value, json};

use super::context::{Admin, actor};
use super::{answer, page, users};
use crate::dialect::own_block::Fields;
use crate::gateway::api::{AdmittedRequest, ApiResponse};

pub(super) async fn list_roles(
    admin: Arc<Admin>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    let (tenant, _) = admin.tenant(&request).await?;
    let limit = page::limit(&request.head)?;
    let after = users::after(&request).await?;
    let rows = request
        .ask(|store| store.users_behind(Some(tenant.id), after, limit + 1))
        .await?;
    let key = |user: &User| user.name.clone();
    let shown = |user: &User| shown(user, user.roles.get(&tenant.id).copied());
    Ok(page::answer(&request.head, rows, limit, shown, key))
}

pub(super) async fn show_role(
    admin: Arc<Admin>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    let (tenant, _) = admin.tenant(&request).await?;
    let user = users::found(&request).await?;
    match user.roles.get(&tenant.id) {
        Some(role) => Ok(answer::ok(&shown(&user, Some(*role)))),
        None => Err(Refusal::NoSuchObject),
    }
}

pub(super) async fn put_role(
    admin: Arc<Admin>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    let (tenant, _) = admin.tenant(&request).await?;
    let user = users::found(&request).await?;
    let mut fields = Fields::read(&request.body, &["role"])?;
    let role = role(&mut fields);
    let role = fields.done(role)?;
    let is_new = !user.roles.contains_key(&tenant.id);
    give(&request, &tenant, user.id, Some(role)).await?;
    Ok(answer::put(is_new, &shown(&user, Some(role))))
}

pub(super) async fn remove_role(
    admin: Arc<Admin>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    let (tenant, _) = admin.tenant(&request).await?;
    let user = users::found(&request).await?;
    if !user.roles.contains_key(&tenant.id) {
        return Err(Refusal::NoSuchObject);
    }
    give(&request, &tenant, user.id, None).await?;
    Ok(answer::empty())
}

/// The role that the body names.
pub(super) fn role(fields: &mut Fields) -> Option<Role> {
    let words = || {
        let all = Role::ALL.map(Role::as_str).join(", ");
        format!("Say which role: one of {all}.")
    };
    match fields.text("role") {
        Some(text) => text.parse().ok().or_else(|| fields.fault("role", words())),
        None => fields.fault("role", words()),
    }
}

async fn give(
    request: &AdmittedRequest,
    tenant: &Tenant,
    user: UserId,
    role: Option<Role>,
) -> Result<(), Refusal> {
    let (actor, now) = (actor(request), request.context.clock.now());
    let given = request.ask(|store| store.set_role(tenant.id, user, role, actor.clone(), now));
    match given.await? {
        true => Ok(()),
        false => Err(Refusal::NoSuchObject),
    }
}

fn shown(user: &User, role: Option<Role>) -> Value {
    json!({ "user": user.name, "role": role.map(Role::as_str) })
}
