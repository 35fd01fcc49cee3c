//! What a webhook has of its own for TLS: a page each for the client certificate and for CA
//! certificates, on which they are set or removed.

use askama::Template;
use http::StatusCode;
use model::certificate;
use model::refusal::Refusal;
use model::signing::SecretOf;
use model::users::Role;
use model::webhook::Webhook;
use model::webhook_tls::{TlsItem, WebhookTlsChange};

use super::show::{CertificateView, faults_of, webhook_tls};
use crate::dashboard::faults::Faults;
use crate::dashboard::layout::{Shell, Tab};
use crate::dashboard::page::{PageAccess, PageRoute, get, post};
use crate::dashboard::response::{PageError, PageResponse, go_to, page_with};
use crate::dashboard::visit::Visit;
use crate::dashboard::webhook_form::{find, path_to};
use crate::dialect::own_block::{self, Fields};
use crate::dialect::webhook_tls::{CERTIFICATES, PRIVATE_KEY, ca_of, change, client_of};

#[derive(Template)]
#[template(path = "secrets/tls.html")]
struct TlsPage {
    shell: Shell,
    /// The path of the webhook's secrets.
    path: String,
    of_item: String,
    is_client: bool,
    has_master_key: bool,
    /// What there is.
    present: Vec<CertificateView>,
    /// The certificates that were typed; a key is never shown again.
    typed: String,
    faults: Faults,
}

pub(super) fn routes() -> Vec<PageRoute> {
    let edit = PageAccess::Role(Role::Edit);
    let one = "/t/{tenant}/webhooks/{webhook}/tls/{item}";
    vec![
        get("tls", one, edit, ask),
        post("tls_set", one, edit, set),
        post(
            "tls_remove",
            "/t/{tenant}/webhooks/{webhook}/tls/{item}/remove",
            edit,
            remove,
        ),
    ]
}

async fn found(visit: &Visit) -> Result<(Webhook, TlsItem), PageError> {
    let item = visit.param("item").parse();
    let item = item.map_err(|()| PageError::NotFound)?;
    Ok((find(visit).await?, item))
}

async fn ask(visit: Visit) -> Result<PageResponse, PageError> {
    let (webhook, item) = found(&visit).await?;
    form(&visit, &webhook, item, Faults::default()).await
}

async fn form(
    visit: &Visit,
    webhook: &Webhook,
    item: TlsItem,
    faults: Faults,
) -> Result<PageResponse, PageError> {
    let tls = webhook_tls(visit, webhook).await?;
    let (title, present) = match item {
        TlsItem::ClientCertificate => ("Client certificate", tls.client.map(|client| client.chain)),
        TlsItem::CaCertificates => ("CA certificates", tls.ca.map(|ca| ca.certificates)),
    };
    let status = match faults.is_empty() {
        true => StatusCode::OK,
        false => StatusCode::UNPROCESSABLE_ENTITY,
    };
    let page = TlsPage {
        shell: Shell::of(visit, Tab::Webhooks, title.to_owned()),
        path: format!("{}/secrets", path_to(visit.tenant()?, webhook.id)),
        of_item: visit.path.trim_end_matches("/remove").to_owned(),
        is_client: item == TlsItem::ClientCertificate,
        has_master_key: !visit.context.keyring.is_empty(),
        present: CertificateView::all(present.as_deref(), visit.now),
        typed: visit.form.get(CERTIFICATES).unwrap_or_default().to_owned(),
        faults,
    };
    page_with(status, &page)
}

async fn set(visit: Visit) -> Result<PageResponse, PageError> {
    let (webhook, item) = found(&visit).await?;
    match try_set(&visit, &webhook, item).await {
        Ok(()) => said(&visit, &webhook, "certificates-set"),
        Err(refusal) => form(&visit, &webhook, item, faults_of(refusal)?).await,
    }
}

async fn try_set(visit: &Visit, webhook: &Webhook, item: TlsItem) -> Result<(), Refusal> {
    let what = match item {
        TlsItem::ClientCertificate => {
            let fields = Fields::of_form(&visit.form, &[CERTIFICATES, PRIVATE_KEY]);
            let (chain, key) = client_of(fields, visit.now)?;
            let (context, of) = (&visit.context, SecretOf::ClientKey);
            let keyring = &context.keyring;
            WebhookTlsChange::SetClientCertificate {
                sealed: own_block::sealed(keyring, &context.rng, webhook.id, of, &key)?,
                chain: certificate::stored(&chain),
            }
        }
        TlsItem::CaCertificates => {
            let fields = Fields::of_form(&visit.form, &[CERTIFICATES]);
            WebhookTlsChange::SetCaCertificates(certificate::stored(&ca_of(fields, visit.now)?))
        }
    };
    save(visit, webhook, what).await
}

async fn save(visit: &Visit, webhook: &Webhook, what: WebhookTlsChange) -> Result<(), Refusal> {
    let store = visit.context.store.get();
    change(store, webhook, what, visit.actor(), visit.now).await
}

async fn remove(visit: Visit) -> Result<PageResponse, PageError> {
    let (webhook, item) = found(&visit).await?;
    save(&visit, &webhook, WebhookTlsChange::Remove(item)).await?;
    said(&visit, &webhook, "certificates-removed")
}

fn said(visit: &Visit, webhook: &Webhook, what: &str) -> Result<PageResponse, PageError> {
    let path = path_to(visit.tenant()?, webhook.id);
    Ok(go_to(&format!("{path}/secrets?said={what}")))
}
