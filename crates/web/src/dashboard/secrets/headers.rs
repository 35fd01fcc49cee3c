//! Own headers of a webhook: adding one, giving it another value, removing it.

use askama::Template;
use http::StatusCode;
use model::own_header::{OwnHeader, OwnHeaderChange, OwnHeaderName};
use model::refusal::Refusal;
use model::signing::Secret;
use model::users::Role;
use model::webhook::Webhook;

use super::show::{self, TypedSecrets, faults_of, refused_form};
use crate::dashboard::faults::Faults;
use crate::dashboard::layout::{Shell, Tab};
use crate::dashboard::page::{PageAccess, PageRoute, get, post};
use crate::dashboard::response::{PageError, PageResponse, go_to, page_with};
use crate::dashboard::visit::Visit;
use crate::dashboard::webhook_form::{find, path_to};
use crate::dialect::own_block::{self, Fields};
use crate::dialect::own_headers::{change, new_header, new_value};

#[derive(Template)]
#[template(path = "secrets/header.html")]
struct HeaderPage {
    shell: Shell,
    /// The path of the webhook's secrets.
    path: String,
    /// The path of the header's forms.
    of_header: String,
    name: String,
    faults: Faults,
}

pub(super) fn routes() -> Vec<PageRoute> {
    let edit = PageAccess::Role(Role::Edit);
    let one = "/t/{tenant}/webhooks/{webhook}/headers/{name}";
    vec![
        post(
            "header_add",
            "/t/{tenant}/webhooks/{webhook}/headers",
            edit,
            add,
        ),
        get("header", one, edit, ask),
        post("header_replace", one, edit, replace),
        post(
            "header_remove",
            "/t/{tenant}/webhooks/{webhook}/headers/{name}/remove",
            edit,
            remove,
        ),
    ]
}

async fn add(visit: Visit) -> Result<PageResponse, PageError> {
    let webhook = find(&visit).await?;
    let dialect = visit.dialect()?;
    match try_add(&visit, &webhook, dialect.headers()).await {
        Ok(()) => said(&visit, &webhook, "header-added"),
        Err(refusal) => {
            let typed = TypedSecrets {
                name: visit.form.get("name").unwrap_or_default().to_owned(),
                ..TypedSecrets::default()
            };
            refused_form(&visit, &webhook, typed, refusal).await
        }
    }
}

async fn try_add(visit: &Visit, webhook: &Webhook, taken: &[&str]) -> Result<(), Refusal> {
    let fields = Fields::of_form(&visit.form, &["name", "value"]);
    let (name, value) = new_header(fields, taken)?;
    let sealed = sealed(visit, webhook, &name, &value)?;
    save(visit, webhook, &name, OwnHeaderChange::Add(sealed)).await
}

fn sealed(
    visit: &Visit,
    webhook: &Webhook,
    name: &OwnHeaderName,
    value: &Secret,
) -> Result<bytes::Bytes, Refusal> {
    let context = &visit.context;
    own_block::sealed(&context.keyring, &context.rng, webhook.id, name, value)
}

async fn save(
    visit: &Visit,
    webhook: &Webhook,
    name: &OwnHeaderName,
    what: OwnHeaderChange,
) -> Result<(), Refusal> {
    let store = visit.context.store.get();
    change(store, webhook, name, what, visit.actor(), visit.now).await
}

fn said(visit: &Visit, webhook: &Webhook, what: &str) -> Result<PageResponse, PageError> {
    let path = path_to(visit.tenant()?, webhook.id);
    Ok(go_to(&format!("{path}/secrets?said={what}")))
}

/// The webhook and the own header of it that the path names.
async fn found(visit: &Visit) -> Result<(Webhook, OwnHeader), PageError> {
    let webhook = find(visit).await?;
    let name = OwnHeaderName::parse(visit.param("name"));
    let name = name.map_err(|_| PageError::NotFound)?;
    let all = show::own_headers(visit, &webhook).await?;
    let header = all.into_iter().find(|own| own.name == name);
    Ok((webhook, header.ok_or(PageError::NotFound)?))
}

async fn ask(visit: Visit) -> Result<PageResponse, PageError> {
    let (webhook, header) = found(&visit).await?;
    form(&visit, &webhook, &header, Faults::default())
}

fn form(
    visit: &Visit,
    webhook: &Webhook,
    header: &OwnHeader,
    faults: Faults,
) -> Result<PageResponse, PageError> {
    let status = match faults.is_empty() {
        true => StatusCode::OK,
        false => StatusCode::UNPROCESSABLE_ENTITY,
    };
    let of_webhook = path_to(visit.tenant()?, webhook.id);
    let name = header.name.as_str();
    let page = HeaderPage {
        shell: Shell::of(visit, Tab::Webhooks, format!("The header {name}")),
        path: format!("{of_webhook}/secrets"),
        of_header: visit.path.trim_end_matches("/remove").to_owned(),
        name: name.to_owned(),
        faults,
    };
    page_with(status, &page)
}

async fn replace(visit: Visit) -> Result<PageResponse, PageError> {
    let (webhook, header) = found(&visit).await?;
    match try_replace(&visit, &webhook, &header.name).await {
        Ok(()) => said(&visit, &webhook, "header-changed"),
        Err(refusal) => form(&visit, &webhook, &header, faults_of(refusal)?),
    }
}

async fn try_replace(
    visit: &Visit,
    webhook: &Webhook,
    name: &OwnHeaderName,
) -> Result<(), Refusal> {
    let value = new_value(Fields::of_form(&visit.form, &["value"]))?;
    let sealed = sealed(visit, webhook, name, &value)?;
    save(visit, webhook, name, OwnHeaderChange::Replace(sealed)).await
}

async fn remove(visit: Visit) -> Result<PageResponse, PageError> {
    let (webhook, header) = found(&visit).await?;
    save(&visit, &webhook, &header.name, OwnHeaderChange::Remove).await?;
    said(&visit, &webhook, "header-removed")
}
