//! Admitting a request: its caller, their rights, its body and its idempotency key. Then its
//! handler runs.

use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use model::idempotency::IdempotencyKey;
use model::refusal::Refusal;

use super::api::{
    AdmittedRequest, ApiResponse, Handler, RequestHead, Route, TenantList, TenantScope,
};
use super::authenticator::Caller;
use super::gate::Gateway;
use super::idempotency;
use crate::transport::body::{self, Body, BodyAdmission};
use crate::transport::body_budget::BudgetOwner;

/// Admits a request to its route and runs the handler.
pub(super) async fn enter(
    gateway: &Gateway,
    head: &Arc<RequestHead>,
    route: &Route,
    body: Body,
) -> Result<ApiResponse, Refusal> {
    let caller = gateway
        .authenticator
        .identify(&head.headers, route.schemes)
        .await?;
    let key = if changes(&head.method) {
        idempotency::key_of(&head.headers)?
    } else {
        None
    };
    let admitted = admit(gateway, head, route, &caller).await;
    // Without a key this response is never asked for again, so a body that nobody looks at need
    // not be read.
    if let (Err(refusal), None) = (&admitted, &key) {
        return Err(refusal.clone());
    }
    // The memory stays reserved until there is a response.
    let (body, _taken) = if changes(&head.method) {
        let most = route.body_bytes_max;
        let owner = match admitted.as_ref().map(|(tenants, _)| tenants.as_slice()) {
            Ok([tenant]) => BudgetOwner::Tenant(tenant.id),
            Ok(_) | Err(_) => match caller.only_tenant() {
                Some(tenant) => BudgetOwner::Tenant(tenant),
                None => BudgetOwner::Token(caller.hash),
            },
        };
        let space = BodyAdmission {
            room: &gateway.bodies,
            owner,
            waits: &head.waits,
        };
        body::read(&head.headers, body, most, space).await?
    } else {
        (Bytes::new(), None)
    };
    let key = key.map(|key| {
        Box::new(IdempotencyKey {
            key,
            holder: caller.hash,
            request: idempotency::fingerprint(head, &body),
        })
    });
    let kept_as = key.clone();
    let handled = async {
        let (tenants, handler) = admitted?;
        let (context, head) = (Arc::clone(&gateway.context), Arc::clone(head));
        handler(AdmittedRequest {
            context,
            head,
            caller,
            body,
            tenants,
            key,
        })
        .await
    };
    let Some(key) = kept_as else {
        return handled.await;
    };
    let rendered = async {
        let come = handled.await;
        come.unwrap_or_else(|refusal| (head.api.refuse)(head, &refusal))
    };
    // Boxed: keys are rare, and this part of the future would be moved with every request.
    Box::pin(idempotency::respond_once(
        &gateway.context,
        &gateway.running_keys,
        &key,
        rendered,
    ))
    .await
}

/// The tenants that the request is about, and its handler.
async fn admit(
    gateway: &Gateway,
    head: &RequestHead,
    route: &Route,
    caller: &Caller,
) -> Result<(TenantList, Handler), Refusal> {
    (head.api.admit)(head)?;
    let dialect = &head.api.name;
    let mut tenants = match route.whose {
        TenantScope::Nobodys => Vec::new(),
        TenantScope::Named(param) => {
            let found = gateway.authenticator.tenant(dialect, head.param(param));
            found.await?.into_iter().collect()
        }
        TenantScope::Listed(narrow) => {
            let all = gateway.authenticator.tenants_of(dialect, caller);
            narrow(head, all.await?)
        }
    };
    let need = if head.method.is_safe() {
        route.read
    } else {
        route.write
    };
    tenants.retain(|tenant| caller.may(need, Some(tenant)));
    if tenants.is_empty() && !caller.may(need, None) {
        return Err(Refusal::Forbidden);
    }
    let handler = match &head.method {
        &Method::OPTIONS => {
            let describe: Handler = Arc::new(head.api.describe);
            Some(describe)
        }
        &Method::HEAD => route.handler(&Method::GET),
        method => route.handler(method),
    };
    let handler = handler.ok_or_else(|| Refusal::NoSuchMethod(head.method.to_string()))?;
    route.takes.judge(head)?;
    Ok((tenants, handler))
}

/// Whether requests of this method change something.
pub(super) fn changes(method: &Method) -> bool {
    [Method::POST, Method::PUT, Method::PATCH, Method::DELETE].contains(method)
}
