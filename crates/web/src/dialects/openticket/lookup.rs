//! What a request refers to: the webhook that its path names, and the company it is about.

use std::sync::Arc;

use model::contract::Frontend;
use model::id::TenantId;
use model::refusal::{Fault, Refusal};
use model::tenant::Tenant;
use model::webhook::Webhook;
use serde_json::Value;

use super::guid;
use crate::gateway::api::AdmittedRequest;

/// The webhook that the path names, of one of the companies that are asked for.
pub(super) async fn find(request: &AdmittedRequest) -> Result<Webhook, Refusal> {
    let key = guid::read(request.head.param("guid")).ok_or(Refusal::NotAName)?;
    let tenants = ids(&request.tenants);
    let ask = |store: &dyn Frontend| store.webhook_by_key(tenants.clone(), key.clone());
    request.ask(ask).await?.ok_or(Refusal::NoSuchObject)
}

/// The company that what is made here belongs to: the one that is named, the only one there is,
/// or the one that the token means.
pub(super) fn owner<'a>(
    request: &'a AdmittedRequest,
    named: Option<&Value>,
) -> Result<&'a Tenant, Fault> {
    let all = &request.tenants;
    let wrong = |words: &str| Fault::new("company_id", words);
    if let Some(named) = named.filter(|named| !named.is_null() && *named != "") {
        let named = named.as_str().and_then(guid::read);
        let found = all.iter().find(|own| Some(&own.key) == named.as_ref());
        let found = found.map(Arc::as_ref);
        return found.ok_or_else(|| wrong("The selected company_id is invalid."));
    }
    if let [only] = all.as_slice() {
        return Ok(only);
    }
    let mut meant = all.iter().filter(|own| request.caller.means(own));
    match (meant.next(), meant.next()) {
        (Some(own), None) => Ok(own),
        _ => Err(wrong(
            "The token is for several companies; name one in the Company header.",
        )),
    }
}

pub(super) fn ids(tenants: &[Arc<Tenant>]) -> Vec<TenantId> {
    tenants.iter().map(|tenant| tenant.id).collect()
}
