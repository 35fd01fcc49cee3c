//! Creating and editing a webhook. The dialect makes the form and judges the input; here it is
//! shown with the faults at their fields. No input is lost: not to a fault, and not to somebody who
//! changed the webhook at the same time.

use std::collections::BTreeSet;

use askama::Template;
use http::StatusCode;
use model::contract::StoreError;
use model::dashboard::AuditQuery;
use model::id::WebhookId;
use model::refusal::Refusal;
use model::tenant::{Event, Tenant};
use model::users::Role;
use model::webhook::Webhook;

use super::layout::{Shell, Tab, path_of};
use super::page::{PageAccess, PageRoute, get, post};
use super::response::{PageError, PageResponse, go_to, page_with};
use super::view::DisplayTime;
use super::visit::Visit;
use crate::dialect::dashboard::FormContext;
use crate::dialect::form::{FieldControl, FormField, TextKind, WebhookForm};
use crate::gateway::store::refused;

#[derive(Template)]
#[template(path = "webhook_form.html")]
struct WebhookFormPage {
    shell: Shell,
    heading: String,
    /// The path that the form is sent to.
    action: String,
    /// The path of *Cancel*.
    back: String,
    form: WebhookForm,
    /// The webhook that the form was made from, sent back with it.
    version: Option<i64>,
    marks: Vec<String>,
    submit: &'static str,
    meanwhile: Option<ConcurrentEdit>,
}

/// Somebody else changed the webhook while the form was open.
struct ConcurrentEdit {
    /// By whom and when, if the audit log says.
    who: Option<(String, DisplayTime)>,
    /// Whether any field shows it.
    seen: bool,
}

pub(super) fn routes() -> Vec<PageRoute> {
    let edit = PageAccess::Role(Role::Edit);
    vec![
        get("webhook_new", "/t/{tenant}/webhooks/new", edit, ask_new),
        post("webhook_create", "/t/{tenant}/webhooks/new", edit, create),
        get(
            "webhook_edit",
            "/t/{tenant}/webhooks/{webhook}/edit",
            edit,
            ask_edit,
        ),
        post(
            "webhook_save",
            "/t/{tenant}/webhooks/{webhook}/edit",
            edit,
            save,
        ),
    ]
}

/// What a dialect gets beside the webhook.
pub(super) struct FormInputs {
    tenant: Tenant,
    events: Vec<Event>,
}

impl FormInputs {
    pub(super) async fn of(visit: &Visit) -> Result<Self, PageError> {
        let tenant = visit.tenant()?.clone();
        let id = tenant.id;
        let events = visit.ask(|store| store.events(id)).await?;
        Ok(Self { tenant, events })
    }

    pub(super) fn around<'a>(&'a self, visit: &'a Visit) -> FormContext<'a> {
        FormContext {
            rng: &visit.context.rng,
            tenant: &self.tenant,
            events: &self.events,
            now: visit.now,
        }
    }
}

/// The webhook that the path names, of the tenant that it names.
pub(super) async fn find(visit: &Visit) -> Result<Webhook, PageError> {
    let (tenant, id) = (visit.tenant()?.id, WebhookId(visit.id("webhook")?));
    let found = visit.ask(|store| store.webhook(tenant, id)).await?;
    found.ok_or(PageError::NotFound)
}

/// The path of a webhook's page.
pub(super) fn path_to(tenant: &Tenant, webhook: WebhookId) -> String {
    format!("{}/webhooks/{webhook}", path_of(tenant))
}

async fn ask_new(visit: Visit) -> Result<PageResponse, PageError> {
    let ground = FormInputs::of(&visit).await?;
    let form = visit
        .dialect()?
        .dashboard
        .forms
        .form(&ground.around(&visit), None)?;
    new_form(&visit, StatusCode::OK, form)
}

fn new_form(
    visit: &Visit,
    status: StatusCode,
    form: WebhookForm,
) -> Result<PageResponse, PageError> {
    let back = path_of(visit.tenant()?);
    let page = WebhookFormPage {
        shell: Shell::of(visit, Tab::Webhooks, "New webhook"),
        heading: "New webhook".to_owned(),
        action: format!("{back}/webhooks/new"),
        back,
        form,
        version: None,
        marks: Vec::new(),
        submit: "Create webhook",
        meanwhile: None,
    };
    page_with(status, &page)
}

async fn create(visit: Visit) -> Result<PageResponse, PageError> {
    let ground = FormInputs::of(&visit).await?;
    let around = ground.around(&visit);
    let forms = &visit.dialect()?.dashboard.forms;
    let new = match forms.create(&around, &visit.form) {
        Ok(new) => new,
        Err(Refusal::Invalid(faults)) => {
            let mut form = forms.form(&around, None)?;
            form.fill(&visit.form);
            form.blame(faults);
            return new_form(&visit, StatusCode::UNPROCESSABLE_ENTITY, form);
        }
        Err(refusal) => return Err(refusal.into()),
    };
    let store = visit.context.store.get();
    // Not repeated if the answer is lost: that could create two.
    let created = store.create_webhook(new, visit.actor(), visit.now).await;
    let created = created.map_err(|error| refused(&error))?;
    let path = path_to(visit.tenant()?, created.id);
    Ok(go_to(&format!("{path}?said=created")))
}

async fn ask_edit(visit: Visit) -> Result<PageResponse, PageError> {
    let webhook = find(&visit).await?;
    let ground = FormInputs::of(&visit).await?;
    let forms = &visit.dialect()?.dashboard.forms;
    let form = forms.form(&ground.around(&visit), Some(&webhook))?;
    let stored = form.clone();
    edit_form(&visit, StatusCode::OK, &webhook, form, &stored, None)
}

/// The form of a webhook as it is `stored`, filled in as in `form`.
fn edit_form(
    visit: &Visit,
    status: StatusCode,
    webhook: &Webhook,
    form: WebhookForm,
    stored: &WebhookForm,
    meanwhile: Option<ConcurrentEdit>,
) -> Result<PageResponse, PageError> {
    let back = path_to(visit.tenant()?, webhook.id);
    let described = (visit.dialect()?.dashboard.describe)(webhook);
    let page = WebhookFormPage {
        shell: Shell::of(visit, Tab::Webhooks, "Edit webhook"),
        heading: match described.name {
            Some(name) => format!("Edit \u{201c}{name}\u{201d}"),
            None => "Edit webhook".to_owned(),
        },
        action: format!("{back}/edit"),
        back,
        form,
        version: Some(webhook.version),
        marks: stored.fields.iter().map(FormField::mark).collect(),
        submit: "Save",
        meanwhile,
    };
    page_with(status, &page)
}

async fn save(visit: Visit) -> Result<PageResponse, PageError> {
    let old = find(&visit).await?;
    let ground = FormInputs::of(&visit).await?;
    let around = ground.around(&visit);
    let forms = &visit.dialect()?.dashboard.forms;
    let stored = forms.form(&around, Some(&old))?;
    let version = visit.form.get("version").and_then(|text| text.parse().ok());
    if version != Some(old.version) {
        return outrun(&visit, &old, stored).await;
    }
    let new = match forms.change(&around, &old, &visit.form) {
        Ok(new) => new,
        Err(Refusal::Invalid(faults)) => {
            let mut form = stored.clone();
            form.fill(&visit.form);
            form.blame(faults);
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            return edit_form(&visit, status, &old, form, &stored, None);
        }
        Err(refusal) => return Err(refusal.into()),
    };
    let path = path_to(visit.tenant()?, old.id);
    if new == old {
        return Ok(go_to(&format!("{path}?said=unchanged")));
    }
    let (actor, at) = (visit.actor(), visit.now);
    let saved = visit.try_ask(|store| store.save_webhook(new.clone(), actor.clone(), at));
    match saved.await {
        Ok(_) => Ok(go_to(&format!("{path}?said=saved"))),
        Err(StoreError::Stale) => {
            let now = find(&visit).await?;
            if is_saved(&new, &now) {
                return Ok(go_to(&format!("{path}?said=saved")));
            }
            let stored = forms.form(&around, Some(&now))?;
            outrun(&visit, &now, stored).await
        }
        Err(error) => Err(refused(&error).into()),
    }
}

/// Whether the stored webhook is the one that was to be saved: then it was saved, and the answer
/// was lost.
fn is_saved(new: &Webhook, now: &Webhook) -> bool {
    let new = Webhook {
        version: now.version,
        updated_at: now.updated_at,
        paused_until: now.paused_until,
        ..new.clone()
    };
    new == *now
}

/// The form once more after a concurrent change, with that change and with the input.
async fn outrun(
    visit: &Visit,
    now: &Webhook,
    stored: WebhookForm,
) -> Result<PageResponse, PageError> {
    let marks: BTreeSet<&str> = visit.form.all("was").collect();
    let mut form = stored.clone();
    form.fill(&visit.form);
    form.meet(&stored, &marks);
    let query = AuditQuery {
        webhook: Some(now.id),
        older_than: None,
        limit: 1,
    };
    let tenant = visit.tenant()?.id;
    let latest = visit
        .ask(|store| store.audit_page(tenant, query.clone()))
        .await?;
    let who = latest.into_iter().next();
    let meanwhile = ConcurrentEdit {
        who: who.map(|row| (row.entry.actor, DisplayTime(row.entry.at))),
        seen: form.fields.iter().any(|field| field.meanwhile.is_some()),
    };
    let status = StatusCode::CONFLICT;
    edit_form(visit, status, now, form, &stored, Some(meanwhile))
}

impl WebhookFormPage {
    fn is_faulty(&self) -> bool {
        self.form.fields.iter().any(FormField::is_faulty)
    }
}

impl FormField {
    pub(super) fn is_faulty(&self) -> bool {
        !self.faults.is_empty()
    }
}
