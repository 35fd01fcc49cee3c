//! The REST resource of webhooks: list, show, create, change, delete.
//!
//! The nonce and the credentials of a URL are shown only to callers who may write webhooks.

use http::StatusCode;
use model::contract::Frontend;
use model::limits::PAGE_ROWS_MAX;
use model::query::WebhookQuery;
use model::refusal::Refusal;
use model::target::masked;
use model::tenant::Permission;
use model::url_marks;
use model::webhook::{DisableCause, Disablement, Webhook};
use serde::Serialize;
use std::sync::Arc;

use super::context::OpenTicket;
use super::fields::{FieldLimits, Fields};
use super::input::number;
use super::log::Invocation;
use super::lookup::{find, ids, owner};
use super::stored::{edited, fields_of, new_webhook};
use super::wire::moment;
use super::{answer, input, log, wire};
use crate::gateway::api::{AdmittedRequest, ApiResponse, RequestHead, TenantList};
use crate::gateway::auth::RequiredAccess;
use crate::gateway::operations;
use crate::gateway::store::refused;

const PER_PAGE_DEFAULT: u64 = 100;
const PER_PAGE_MAX: u64 = 1_000;

/// The mask of a secret that the caller may not see.
const MASK: &str = "***";

/// A webhook in the vendor's keys and their order.
#[derive(Debug, Serialize)]
pub(super) struct WebhookBody {
    guid: String,
    created_at: String,
    updated_at: String,
    deleted_at: Option<String>,
    company_id: String,
    name: String,
    url: String,
    retries: u32,
    resource: String,
    identifier: String,
    nonce: String,
    trigger: String,
    triggered_by_child_resources: bool,
    invocations: Option<Vec<Invocation>>,
    /// Only on request.
    #[serde(skip_serializing_if = "Option::is_none")]
    warnings: Option<Vec<String>>,
}

pub(super) async fn list_webhooks(
    open: Arc<OpenTicket>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    let head = &request.head;
    let page = number(head, "page", 1, u64::MAX)?;
    let per_page = number(head, "per_page", PER_PAGE_DEFAULT, PER_PAGE_MAX)?;
    let tenants = ids(&request.tenants);
    let first = (page - 1).saturating_mul(per_page);
    let mut shown = Vec::new();
    let mut count = 0;
    for offset in (0..per_page).step_by(PAGE_ROWS_MAX) {
        let rest = usize::try_from(per_page - offset).unwrap_or(PAGE_ROWS_MAX);
        let query = WebhookQuery {
            enabled: None,
            newest_first: true,
            offset: first.saturating_add(offset),
            limit: rest.min(PAGE_ROWS_MAX),
        };
        let ask = |store: &dyn Frontend| store.webhooks(tenants.clone(), query);
        let found = request.ask(ask).await?;
        count = found.count;
        let full = found.webhooks.len() == query.limit;
        for webhook in &found.webhooks {
            shown.push(open.show(&request, webhook, None)?);
        }
        if !full {
            break;
        }
    }
    let answer = answer::ok(&shown)?;
    let more = first.saturating_add(per_page) < count;
    Ok(if more {
        answer::link_next(answer, head, "page", &(page + 1).to_string())
    } else {
        answer
    })
}

pub(super) async fn show_webhook(
    open: Arc<OpenTicket>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    let webhook = find(&request).await?;
    let invocations = log::latest(&request, &webhook).await?;
    answer::ok(&open.show(&request, &webhook, Some(invocations))?)
}

pub(super) async fn create_webhook(
    open: Arc<OpenTicket>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    let given = input::read_fields(&request.head.headers, &request.body).await?;
    let fields = Fields::read(&given, None, open.bounds());
    let owner = owner(&request, given.get("company_id"));
    let (fields, owner) = match (fields, owner) {
        (Ok(fields), Ok(owner)) => (fields, owner),
        (fields, owner) => {
            let mut faults = fields.err().unwrap_or_default();
            faults.extend(owner.err());
            return Err(Refusal::Invalid(faults));
        }
    };
    let new = new_webhook(&request.context.rng, owner.id, fields)?;
    let actor = request.caller.actor(owner, Permission::WebhooksWrite);
    let at = request.context.clock.now();
    let created = operations::create_webhook(&request, new, actor, at).await;
    let created = created.map_err(|error| refused(&error))?;
    let shown = open.show(&request, &created, None)?;
    answer::json(StatusCode::CREATED, &shown)
}

pub(super) async fn change_webhook(
    open: Arc<OpenTicket>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    // A missing webhook is reported before faults.
    find(&request).await?;
    let given = input::read_fields(&request.head.headers, &request.body).await?;
    let edit = |old: &Webhook, _| edited(old, &given, open.bounds());
    let saved = operations::edit_webhook(&request, find, edit, None).await?;
    answer::ok(&open.show(&request, &saved, None)?)
}

pub(super) async fn delete_webhook(
    _: Arc<OpenTicket>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    let deleted = |old: &Webhook, at| {
        let cause = DisableCause::Deleted;
        Ok(Webhook {
            disabled: Some(Disablement { at, cause }),
            ..old.clone()
        })
    };
    let answer = answer::empty();
    operations::edit_webhook(&request, find, deleted, Some(&answer)).await?;
    Ok(answer)
}

/// Those of the companies that the `Company` header names; all of them without one. It lists
/// GUIDs with commas between, or is given several times.
pub(super) fn narrow(head: &RequestHead, mut all: TenantList) -> TenantList {
    let lines = head.headers.get_all("company").iter();
    let texts: Vec<&str> = lines.filter_map(|line| line.to_str().ok()).collect();
    let named: Vec<String> = texts
        .iter()
        .flat_map(|text| text.split(','))
        .map(|text| text.trim().to_ascii_lowercase())
        .filter(|text| !text.is_empty())
        .collect();
    if !head.headers.contains_key("company") {
        return all;
    }
    all.retain(|tenant| named.contains(&tenant.key));
    all
}

impl OpenTicket {
    pub(super) fn bounds(&self) -> FieldLimits<'_> {
        FieldLimits {
            triggers: &self.triggers,
            strict: self.strict,
        }
    }

    fn show(
        &self,
        request: &AdmittedRequest,
        webhook: &Webhook,
        invocations: Option<Vec<Invocation>>,
    ) -> Result<WebhookBody, Refusal> {
        let fields = fields_of(webhook);
        let owner = request.tenants.iter().find(|own| own.id == webhook.tenant);
        let hinted = answer::wants_hints(&request.head);
        let doubts = || fields.doubt(&self.triggers).into_iter().collect();
        let warnings = hinted.then(doubts);
        let trusted = is_trusted(request, webhook);
        let settings = fields.settings;
        Ok(WebhookBody {
            guid: webhook.key.clone().unwrap_or_default(),
            created_at: moment(webhook.created_at),
            updated_at: moment(webhook.updated_at),
            deleted_at: None,
            company_id: owner.map(|own| own.key.clone()).unwrap_or_default(),
            name: settings.name,
            url: match trusted {
                true => url_marks::masked(&fields.url),
                false => masked(&fields.url),
            },
            retries: fields.retries,
            resource: settings.resource,
            identifier: settings.identifier,
            nonce: match trusted {
                true => wire::nonce(&webhook.headers),
                false => MASK.to_owned(),
            },
            trigger: settings.trigger,
            triggered_by_child_resources: settings.triggered_by_child_resources,
            invocations,
            warnings,
        })
    }
}

/// Whether the caller may see this webhook's secrets.
fn is_trusted(request: &AdmittedRequest, webhook: &Webhook) -> bool {
    let mut owner = request.tenants.iter();
    let owner = owner.find(|own| own.id == webhook.tenant);
    let writing = RequiredAccess::Right(Permission::WebhooksWrite);
    owner.is_some_and(|own| request.caller.may(writing, Some(own)))
}
