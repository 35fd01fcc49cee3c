//! Own headers of a webhook, over REST: the same for every dialect, under a path of our own beside
//! its resource. A value goes in and never comes out.

use bytes::Bytes;
use http::StatusCode;
use model::contract::{Conflict, Frontend, StoreError};
use model::limits::{OWN_HEADERS_BYTES_MAX, OWN_HEADERS_MAX};
use model::own_header::{
    self, OwnHeader, OwnHeaderChange, OwnHeaderError, OwnHeaderId, OwnHeaderName,
};
use model::refusal::Refusal;
use model::signing::Secret;
use model::time::Timestamp;
use model::webhook::Webhook;
use serde_json::{Value, json};

use super::own_block::{self, Fields, answer, no_content};
use crate::gateway::api::{AdmittedRequest, ApiResponse};
use crate::gateway::store::refused;

/// Lists the own headers of a webhook.
pub(crate) async fn list(
    request: &AdmittedRequest,
    webhook: &Webhook,
) -> Result<ApiResponse, Refusal> {
    let all = all(request, webhook).await?;
    let shown: Vec<Value> = all.iter().map(shown).collect();
    Ok(answer(StatusCode::OK, &json!({ "headers": shown })))
}

/// Adds an own header.
pub(crate) async fn add(
    request: &AdmittedRequest,
    webhook: &Webhook,
) -> Result<ApiResponse, Refusal> {
    refuse_key(request)?;
    let fields = Fields::read(&request.body, &["name", "value"])?;
    let (name, value) = new_header(fields, request.head.api.headers)?;
    let sealed = sealed(request, webhook, &name, &value)?;
    change_header(request, webhook, &name, OwnHeaderChange::Add(sealed)).await?;
    let header = of_name(request, webhook, &name).await?;
    Ok(answer(StatusCode::CREATED, &shown(&header)))
}

/// Gives an own header another value.
pub(crate) async fn replace(
    request: &AdmittedRequest,
    webhook: &Webhook,
) -> Result<ApiResponse, Refusal> {
    refuse_key(request)?;
    let name = found(request, webhook).await?.name;
    let value = new_value(Fields::read(&request.body, &["value"])?)?;
    let sealed = sealed(request, webhook, &name, &value)?;
    change_header(request, webhook, &name, OwnHeaderChange::Replace(sealed)).await?;
    let header = of_name(request, webhook, &name).await?;
    Ok(answer(StatusCode::OK, &shown(&header)))
}

/// Shows one own header.
pub(crate) async fn show(
    request: &AdmittedRequest,
    webhook: &Webhook,
) -> Result<ApiResponse, Refusal> {
    let header = found(request, webhook).await?;
    Ok(answer(StatusCode::OK, &shown(&header)))
}

/// Removes an own header: calls go without it from now on.
pub(crate) async fn remove(
    request: &AdmittedRequest,
    webhook: &Webhook,
) -> Result<ApiResponse, Refusal> {
    let name = found(request, webhook).await?.name;
    change_header(request, webhook, &name, OwnHeaderChange::Remove).await?;
    Ok(no_content())
}

/// An own header that is to be added.
pub(crate) fn new_header(
    mut fields: Fields,
    taken: &[&str],
) -> Result<(OwnHeaderName, Secret), Refusal> {
    let name = fields.name(taken);
    let value = fields.value();
    fields.done(name.zip(value))
}

/// Another value for one.
pub(crate) fn new_value(mut fields: Fields) -> Result<Secret, Refusal> {
    let value = fields.value();
    fields.done(value)
}

fn sealed(
    request: &AdmittedRequest,
    webhook: &Webhook,
    name: &OwnHeaderName,
    value: &Secret,
) -> Result<Bytes, Refusal> {
    let context = &request.context;
    own_block::sealed(&context.keyring, &context.rng, webhook.id, name, value)
}

fn refuse_key(request: &AdmittedRequest) -> Result<(), Refusal> {
    own_block::refuse_key(request, "a header is added only once in any case")
}

async fn all(request: &AdmittedRequest, webhook: &Webhook) -> Result<Vec<OwnHeader>, Refusal> {
    let (tenant, id) = (webhook.tenant, webhook.id);
    request
        .ask(move |store| store.own_headers(tenant, id))
        .await
}

/// The own header that the path names.
async fn found(request: &AdmittedRequest, webhook: &Webhook) -> Result<OwnHeader, Refusal> {
    let name = OwnHeaderName::parse(request.head.param("name"));
    let name = name.map_err(|_| Refusal::NotAName)?;
    of_name(request, webhook, &name).await
}

async fn of_name(
    request: &AdmittedRequest,
    webhook: &Webhook,
    name: &OwnHeaderName,
) -> Result<OwnHeader, Refusal> {
    let all = all(request, webhook).await?;
    let found = all.into_iter().find(|header| header.name == *name);
    found.ok_or(Refusal::NoSuchObject)
}

async fn change_header(
    request: &AdmittedRequest,
    webhook: &Webhook,
    name: &OwnHeaderName,
    what: OwnHeaderChange,
) -> Result<(), Refusal> {
    let (actor, at) = (request.editor_of(webhook), request.context.clock.now());
    let store: &dyn Frontend = request.context.store.get();
    change(store, webhook, name, what, actor, at).await
}

/// Changes an own header of this webhook.
pub(crate) async fn change(
    store: &dyn Frontend,
    webhook: &Webhook,
    name: &OwnHeaderName,
    what: OwnHeaderChange,
    actor: String,
    at: Timestamp,
) -> Result<(), Refusal> {
    let id = OwnHeaderId {
        tenant: webhook.tenant,
        webhook: webhook.id,
        name: name.clone(),
    };
    let changed = store.change_own_header(id, what, actor, at).await;
    let Err(error) = changed else { return Ok(()) };
    Err(if let StoreError::Conflict(conflict) = error {
        of_conflict(conflict)
    } else if matches!(error, StoreError::Stale) {
        Refusal::NoSuchObject
    } else {
        refused(&error)
    })
}

fn of_conflict(conflict: Conflict) -> Refusal {
    let (field, words) = match conflict {
        Conflict::OwnHeader => (
            "name",
            "The webhook has this header already; give it another value, or remove it first."
                .to_owned(),
        ),
        Conflict::OwnHeaderSigned => (
            "name",
            "A signature of this webhook goes into this header.".to_owned(),
        ),
        Conflict::OwnHeaders => (
            "name",
            format!("A webhook may have {OWN_HEADERS_MAX} own headers; remove one first."),
        ),
        Conflict::OwnHeaderBytes => (
            "value",
            format!(
                "The own headers of a webhook may have {OWN_HEADERS_BYTES_MAX} bytes together, \
                 and this would be more."
            ),
        ),
        other @ (Conflict::TokenName
        | Conflict::TokenHash
        | Conflict::WebhookKey
        | Conflict::UserName
        | Conflict::SignatureProfile
        | Conflict::SignatureHeader
        | Conflict::FormerKey
        | Conflict::IdempotencyKey) => return refused(&StoreError::Conflict(other)),
    };
    Refusal::invalid(field, words)
}

impl Fields {
    fn name(&mut self, taken: &[&str]) -> Option<OwnHeaderName> {
        let text = self.text("name").unwrap_or_default();
        let told = self.faults.iter().any(|fault| fault.field == "name");
        match judged_name(taken, &text) {
            Ok(name) => Some(name),
            Err(_) if told => None,
            Err(error) => self.fault("name", format!("Not taken: {error}.")),
        }
    }

    fn value(&mut self) -> Option<Secret> {
        let text = self.text("value").unwrap_or_default();
        let told = self.faults.iter().any(|fault| fault.field == "value");
        match own_header::value(&text) {
            Ok(value) => Some(value),
            Err(_) if told => None,
            Err(error) => self.fault("value", format!("Not taken: {error}.")),
        }
    }
}

/// The name of a header that a webhook may have whose dialect has these.
pub(crate) fn judged_name(
    of_dialect: &[&str],
    text: &str,
) -> Result<OwnHeaderName, OwnHeaderError> {
    let name = OwnHeaderName::parse(text)?;
    let mut of_dialect = of_dialect.iter();
    match of_dialect.any(|own| own.eq_ignore_ascii_case(name.as_str())) {
        true => Err(OwnHeaderError::OfWillcall),
        false => Ok(name),
    }
}

fn shown(header: &OwnHeader) -> Value {
    json!({
        "name": header.name.as_str(),
        "value": "***",
        "set_at": header.set_at.to_string(),
    })
}
