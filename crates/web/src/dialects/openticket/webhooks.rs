//! The REST resource of webhooks: list, look at, create, change, delete.
//!
//! Nonce and URL credentials are shown only to whoever may write webhooks.

use http::StatusCode;
use model::contract::{Frontend, StoreError};
use model::id::TenantId;
use model::limits::PAGE_ROWS_MAX;
use model::query::WebhookQuery;
use model::refusal::{Fault, Refusal};
use model::target::masked;
use model::tenant::{Permission, Tenant};
use model::time::Timestamp;
use model::webhook::{DisableCause, Disablement, NewWebhook, Webhook};
use serde::Serialize;
use serde_json::{Map, Value};
use std::sync::Arc;

use super::fields::{FieldLimits, Fields, Settings};
use super::log::Invocation;
use super::{OpenTicket, answer, guid, input, log, wire};
use crate::gateway::api::{AdmittedRequest, ApiResponse, RequestHead, TenantList};
use crate::gateway::auth::RequiredAccess;
use crate::gateway::operations;
use crate::gateway::store::refused;
use crate::rng::SharedRng;

/// How often a change is made anew because somebody else changed the webhook meanwhile.
const SAVE_TRIES: usize = 8;

const PER_PAGE_DEFAULT: u64 = 100;
const PER_PAGE_MAX: u64 = 1_000;

/// What stands for a secret that whoever asks may not see.
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
    /// Only if they were asked for.
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
        let found = request.context.store.ask(ask).await?;
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

/// The webhook that these fields make, with a name and a nonce of its own.
pub(super) fn new_webhook(
    rng: &SharedRng,
    tenant: TenantId,
    fields: Fields,
) -> Result<NewWebhook, Refusal> {
    let draw = |end| rng.below(end);
    Ok(NewWebhook {
        tenant,
        key: Some(guid::fresh(draw)),
        target_url: fields.url,
        disabled: None,
        filter: fields.settings.filter(),
        settings: written(&fields.settings)?,
        headers: wire::webhook_headers(&guid::nonce(draw)),
        retries_max: Some(fields.retries),
    })
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
    // Whether there is such a webhook comes before what is asked of it.
    find(&request).await?;
    let given = input::read_fields(&request.head.headers, &request.body).await?;
    let saved = save(&request, None, |old, _| edited(old, &given, open.bounds())).await?;
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
    save(&request, Some(&answer), deleted).await?;
    Ok(answer)
}

pub(super) fn edited(
    old: &Webhook,
    given: &Map<String, Value>,
    bounds: FieldLimits<'_>,
) -> Result<Webhook, Refusal> {
    let fields = Fields::read(given, Some(fields_of(old)), bounds);
    let fields = fields.map_err(Refusal::Invalid)?;
    Ok(Webhook {
        target_url: fields.url,
        filter: fields.settings.filter(),
        settings: written(&fields.settings)?,
        retries_max: Some(fields.retries),
        ..old.clone()
    })
}

/// Reads the webhook, and writes what `edit` makes of it unless that is what is there.
async fn save(
    request: &AdmittedRequest,
    answer: Option<&ApiResponse>,
    edit: impl Fn(&Webhook, Timestamp) -> Result<Webhook, Refusal>,
) -> Result<Webhook, Refusal> {
    for _ in 0..SAVE_TRIES {
        let old = find(request).await?;
        let at = request.context.clock.now();
        let new = edit(&old, at)?;
        if new == old {
            return Ok(old);
        }
        let actor = actor(request, &old);
        match operations::save_webhook(request, new, actor, at, answer).await {
            Err(StoreError::Stale) => {}
            saved => return saved.map_err(|error| refused(&error)),
        }
    }
    Err(refused(&StoreError::Stale))
}

/// The webhook that the path names, of one of the companies that are asked for.
pub(super) async fn find(request: &AdmittedRequest) -> Result<Webhook, Refusal> {
    let key = guid::read(request.head.param("guid")).ok_or(Refusal::NotAName)?;
    let tenants = ids(&request.tenants);
    let ask = |store: &dyn Frontend| store.webhook_by_key(tenants.clone(), key.clone());
    request
        .context
        .store
        .ask(ask)
        .await?
        .ok_or(Refusal::NoSuchObject)
}

/// Under which name whoever asks changes this webhook.
pub(super) fn actor(request: &AdmittedRequest, webhook: &Webhook) -> String {
    let owner = request.tenants.iter().find(|own| own.id == webhook.tenant);
    let name = owner.map(|own| request.caller.actor(own, Permission::WebhooksWrite));
    name.unwrap_or_default()
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
                true => fields.url,
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

/// Whether whoever asks may see this webhook's secrets.
fn is_trusted(request: &AdmittedRequest, webhook: &Webhook) -> bool {
    let mut owner = request.tenants.iter();
    let owner = owner.find(|own| own.id == webhook.tenant);
    let writing = RequiredAccess::Right(Permission::WebhooksWrite);
    owner.is_some_and(|own| request.caller.may(writing, Some(own)))
}

pub(super) fn fields_of(webhook: &Webhook) -> Fields {
    Fields {
        url: webhook.target_url.clone(),
        retries: webhook.retries_max.unwrap_or_default(),
        settings: Settings::of(webhook),
    }
}

pub(super) fn written(settings: &Settings) -> Result<String, Refusal> {
    serde_json::to_string(settings).map_err(|_| Refusal::Internal)
}

/// A time in whole seconds, as all of the vendor's are.
pub(super) fn moment(at: Timestamp) -> String {
    let text = at.to_string();
    match text.split_once('.') {
        Some((seconds, _)) => format!("{seconds}Z"),
        None => text,
    }
}

/// A number of the query from 1 to `most`.
pub(super) fn number(
    head: &RequestHead,
    name: &str,
    usual: u64,
    most: u64,
) -> Result<u64, Refusal> {
    let Some(text) = head.query.get(name).filter(|text| !text.is_empty()) else {
        return Ok(usual);
    };
    let number = text.parse().ok();
    number
        .filter(|number| (1..=most).contains(number))
        .ok_or_else(|| {
            let bound = match most {
                u64::MAX => "at least 1".to_owned(),
                most => format!("between 1 and {most}"),
            };
            Refusal::invalid(name, format!("The {name} must be an integer {bound}."))
        })
}

fn ids(tenants: &[Arc<Tenant>]) -> Vec<TenantId> {
    tenants.iter().map(|tenant| tenant.id).collect()
}
