//! What a webhook has of its own for TLS, over REST: a client certificate and CA certificates, the
//! same for every dialect, under paths of our own beside its resource. A private key goes in and
//! never comes out.

use http::StatusCode;
use model::certificate::{self, Certificate, CertificateError, ClientKeyError};
use model::contract::{Frontend, StoreError};
use model::refusal::Refusal;
use model::signing::{Secret, SecretOf};
use model::time::Timestamp;
use model::webhook::Webhook;
use model::webhook_tls::{ClientKeyId, TlsItem, WebhookTls, WebhookTlsChange};
use serde_json::{Value, json};

use super::own_block::{self, Fields, answer, no_content};
use crate::gateway::api::{AdmittedRequest, ApiResponse};
use crate::gateway::store::refused;

/// Fields of a client certificate.
pub(crate) const CERTIFICATES: &str = "certificates";
pub(crate) const PRIVATE_KEY: &str = "private_key";

/// Shows the client certificate, without its key.
pub(crate) async fn show_client(
    request: &AdmittedRequest,
    webhook: &Webhook,
) -> Result<ApiResponse, Refusal> {
    let tls = found(request, webhook).await?;
    Ok(answer(StatusCode::OK, &shown_client(&tls)))
}

/// Gives the webhook a client certificate in place of any that it has.
pub(crate) async fn set_client(
    request: &AdmittedRequest,
    webhook: &Webhook,
) -> Result<ApiResponse, Refusal> {
    refuse_key(request)?;
    let fields = Fields::read(&request.body, &[CERTIFICATES, PRIVATE_KEY])?;
    let context = &request.context;
    let (chain, key) = client_of(fields, context.clock.now())?;
    let (rng, of) = (&context.rng, SecretOf::ClientKey);
    let sealed = own_block::sealed(&context.keyring, rng, webhook.id, of, &key)?;
    let chain = certificate::stored(&chain);
    let change = WebhookTlsChange::SetClientCertificate { chain, sealed };
    save(request, webhook, change).await?;
    show_client(request, webhook).await
}

/// Shows the CA certificates.
pub(crate) async fn show_ca(
    request: &AdmittedRequest,
    webhook: &Webhook,
) -> Result<ApiResponse, Refusal> {
    let tls = found(request, webhook).await?;
    Ok(answer(StatusCode::OK, &shown_ca(&tls)))
}

/// Has the webhook's receiver verified by these CA certificates, and no others.
pub(crate) async fn set_ca(
    request: &AdmittedRequest,
    webhook: &Webhook,
) -> Result<ApiResponse, Refusal> {
    refuse_key(request)?;
    let fields = Fields::read(&request.body, &[CERTIFICATES])?;
    let all = ca_of(fields, request.context.clock.now())?;
    let change = WebhookTlsChange::SetCaCertificates(certificate::stored(&all));
    save(request, webhook, change).await?;
    show_ca(request, webhook).await
}

/// Calls go without it from now on.
pub(crate) async fn remove(
    request: &AdmittedRequest,
    webhook: &Webhook,
    item: TlsItem,
) -> Result<ApiResponse, Refusal> {
    refuse_key(request)?;
    save(request, webhook, WebhookTlsChange::Remove(item)).await?;
    Ok(no_content())
}

/// A client certificate that is to be set.
pub(crate) fn client_of(
    mut fields: Fields,
    now: Timestamp,
) -> Result<(Vec<Certificate>, Secret), Refusal> {
    let chain = fields.text(CERTIFICATES).unwrap_or_default();
    let key = fields.text(PRIVATE_KEY).unwrap_or_default();
    if !fields.faults.is_empty() {
        return fields.done(None);
    }
    match certificate::client_certificate(&chain, &key, now) {
        Ok(read) => fields.done(Some(read)),
        Err((chain, key)) => {
            if let Some(error) = chain {
                fields.fault::<()>(CERTIFICATES, certificate_words(&error));
            }
            if let Some(error) = key {
                fields.fault::<()>(PRIVATE_KEY, key_words(&error));
            }
            fields.done(None)
        }
    }
}

/// CA certificates that are to be set.
pub(crate) fn ca_of(mut fields: Fields, now: Timestamp) -> Result<Vec<Certificate>, Refusal> {
    let text = fields.text(CERTIFICATES).unwrap_or_default();
    if !fields.faults.is_empty() {
        return fields.done(None);
    }
    match certificate::ca_certificates(&text, now) {
        Ok(all) => fields.done(Some(all)),
        Err(error) => {
            fields.fault::<()>(CERTIFICATES, certificate_words(&error));
            fields.done(None)
        }
    }
}

fn certificate_words(error: &CertificateError) -> String {
    format!("Not taken: {error}.")
}

fn key_words(error: &ClientKeyError) -> String {
    format!("Not taken: {error}.")
}

async fn found(request: &AdmittedRequest, webhook: &Webhook) -> Result<WebhookTls, Refusal> {
    let (tenant, id) = (webhook.tenant, webhook.id);
    request
        .ask(move |store| store.webhook_tls(tenant, id))
        .await
}

fn refuse_key(request: &AdmittedRequest) -> Result<(), Refusal> {
    own_block::refuse_key(request, "the same sent again changes nothing in any case")
}

async fn save(
    request: &AdmittedRequest,
    webhook: &Webhook,
    what: WebhookTlsChange,
) -> Result<(), Refusal> {
    let (actor, at) = (request.editor_of(webhook), request.context.clock.now());
    change(request.context.store.get(), webhook, what, actor, at).await
}

/// Changes what this webhook has of its own for TLS.
pub(crate) async fn change(
    store: &dyn Frontend,
    webhook: &Webhook,
    what: WebhookTlsChange,
    actor: String,
    at: Timestamp,
) -> Result<(), Refusal> {
    let id = ClientKeyId {
        tenant: webhook.tenant,
        webhook: webhook.id,
    };
    let changed = store.change_webhook_tls(id, what, actor, at).await;
    changed.map_err(|error| match matches!(error, StoreError::Stale) {
        true => Refusal::NoSuchObject,
        false => refused(&error),
    })
}

fn shown_client(tls: &WebhookTls) -> Value {
    let client = tls.client.as_ref();
    json!({
        "certificates": shown(client.map(|client| &*client.chain)),
        "private_key": client.map(|_| "***"),
        "set_at": client.map(|client| client.set_at.to_string()),
    })
}

fn shown_ca(tls: &WebhookTls) -> Value {
    let ca = tls.ca.as_ref();
    json!({
        "certificates": shown(ca.map(|ca| &*ca.certificates)),
        "set_at": ca.map(|ca| ca.set_at.to_string()),
    })
}

fn shown(stored: Option<&[u8]>) -> Vec<Value> {
    let all = stored.and_then(certificate::of_stored).unwrap_or_default();
    let one = |one: &Certificate| {
        let validity = one.validity();
        json!({
            "subject": one.subject(),
            "issuer": one.issuer(),
            "not_before": validity.not_before.to_string(),
            "not_after": validity.not_after.to_string(),
            "fingerprint": one.fingerprint(),
        })
    };
    all.iter().map(one).collect()
}
