//! Portal links: each lets one customer into the pages of their tenant, once, without a user having
//! been made. The browser that follows it has a session at that tenant, in that role.

use std::sync::Arc;

use http::StatusCode;
use model::limits::{
    PORTAL_LINK_MS_DEFAULT, PORTAL_LINK_MS_MAX, PORTAL_LINK_MS_MIN, TOKEN_LETTERS,
};
use model::refusal::Refusal;
use model::tenant::TokenHash;
use model::users::{PortalVisitor, judge_name};
use serde_json::{Value, json};

use super::context::{Admin, actor};
use super::{answer, roles};
use crate::dialect::own_block::{self, Fields, refuse_key};
use crate::gateway::api::{AdmittedRequest, ApiResponse};

/// What the audit log calls somebody of whom nothing is said.
const NOBODY: &str = "Somebody";

pub(super) async fn make_portal_link(
    admin: Arc<Admin>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    refuse_key(&request, "the answer has a secret, which is kept nowhere")?;
    let (tenant, _) = admin.tenant(&request).await?;
    let mut fields = Fields::read(&request.body, &["role", "name", "lifetime_seconds"])?;
    let role = roles::role(&mut fields);
    let name = name(&mut fields);
    let lifetime_ms = lifetime_ms(&mut fields);
    let role = fields.done(role)?;
    let visitor = PortalVisitor {
        tenant: tenant.id,
        role,
        name: name.unwrap_or_else(|| NOBODY.to_owned()),
    };
    let context = &request.context;
    let secret = context.rng.alphanumeric(TOKEN_LETTERS);
    let (link, now) = (TokenHash::of(&secret), context.clock.now());
    let until = now.plus_ms(lifetime_ms.unwrap_or(PORTAL_LINK_MS_DEFAULT));
    let actor = actor(&request);
    let made = request
        .ask(|store| store.create_portal_link(link, visitor.clone(), until, actor.clone(), now));
    made.await?;
    let path = format!("/link/{secret}");
    let value = json!({
        "url": format!("{}{path}", request.head.origin()),
        "path": path,
        "role": role.as_str(),
        "name": visitor.name,
        "expires_at": until.to_string(),
    });
    Ok(own_block::answer(StatusCode::CREATED, &value))
}

fn name(fields: &mut Fields) -> Option<String> {
    let name = fields.text("name")?;
    match judge_name(&name) {
        Ok(name) => Some(name),
        Err(fault) => {
            fields.faults.push(fault);
            None
        }
    }
}

fn lifetime_ms(fields: &mut Fields) -> Option<i64> {
    let (least, most) = (PORTAL_LINK_MS_MIN / 1_000, PORTAL_LINK_MS_MAX / 1_000);
    let words = format!("It has to be a whole number from {least} to {most}.");
    match fields.given.get("lifetime_seconds") {
        None | Some(Value::Null) => None,
        Some(value) => match value.as_i64() {
            Some(seconds) if (least..=most).contains(&seconds) => Some(seconds * 1_000),
            Some(_) | None => fields.fault("lifetime_seconds", words),
        },
    }
}

/// Ends all links of the tenant, and all sessions that they began.
pub(super) async fn end_portal(
    admin: Arc<Admin>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    let (tenant, _) = admin.tenant(&request).await?;
    let (actor, now) = (actor(&request), request.context.clock.now());
    let ended = request.ask(|store| store.end_portal(tenant.id, actor.clone(), now));
    ended.await?;
    Ok(answer::empty())
}
