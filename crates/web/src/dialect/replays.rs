//! Replaying what a filter means, over REST: the same for every dialect, under a path of our own. A
//! replay is a bulk job; the others are listed, shown and stopped here as well.

use http::StatusCode;
use model::contract::StoreError;
use model::dashboard::{BulkJob, BulkJobKind, NewBulkJob, StatusCounts};
use model::delivery_filter::{DeliveryFilter, FILTER_VALUES_MAX, ResponseFilter};
use model::id::{BulkJobId, TenantId, WebhookId};
use model::limits::{BULK_JOBS_RUNNING_MAX, NAME_BYTES_MAX};
use model::query::DeliveryStatus;
use model::refusal::{Fault, Refusal};
use model::tenant::{Permission, Tenant};
use model::time::Timestamp;
use model::webhook::Webhook;
use serde_json::{Map, Value, json};

use super::own_block::{Fields, answer, refuse_key};
use crate::gateway::api::{AdmittedRequest, ApiResponse};
use crate::gateway::store::refused;

/// The fields of a request.
const FIELDS: [&str; 9] = [
    "webhook",
    "status",
    "action_types",
    "events",
    "response",
    "since",
    "until",
    "text",
    "dry_run",
];

const DISABLED: &str = "The webhook is disabled, so nothing can be sent. Enable it first.";
const NONE_ENABLED: &str = "There is no webhook that is enabled, so nothing can be sent.";

/// How a dialect names webhooks.
pub(crate) struct WebhookNames {
    /// What a name means; `None` if it is none.
    pub(crate) read: fn(&Value) -> Option<NamedWebhook>,
    /// The name of a webhook, if it is still there.
    pub(crate) shown: fn(WebhookId, Option<&Webhook>) -> Value,
    /// What a name looks like.
    pub(crate) words: &'static str,
}

pub(crate) enum NamedWebhook {
    Id(WebhookId),
    Key(String),
}

/// A request as it was read.
struct ReplayOrder {
    webhook: Option<Webhook>,
    filter: DeliveryFilter,
    dry_run: bool,
}

/// Counts what the filter in the body means, and has it replayed unless it is a dry run.
pub(crate) async fn start(
    request: &AdmittedRequest,
    tenant: &Tenant,
    names: &WebhookNames,
) -> Result<ApiResponse, Refusal> {
    refuse_key(
        request,
        "while a replay is under way, the same is not begun again in any case",
    )?;
    let order = read(request, tenant.id, names).await?;
    let (id, now) = (tenant.id, request.context.clock.now());
    let of = order.webhook.as_ref().map(|webhook| webhook.id);
    let counting = request.ask(|s| s.count_matching(id, of, order.filter.clone(), now));
    let counts = counting.await?;
    if order.dry_run {
        return Ok(answer(StatusCode::OK, &counted(&counts)));
    }
    if order.webhook.is_some_and(|webhook| !webhook.enabled()) {
        return Err(Refusal::Contradiction(DISABLED.to_owned()));
    }
    let running = request.ask(|s| s.running_bulk_jobs(id, None)).await?;
    if running.len() >= BULK_JOBS_RUNNING_MAX {
        return Err(Refusal::Contradiction(format!(
            "{BULK_JOBS_RUNNING_MAX} bulk jobs are under way. Wait until one ends, or stop one."
        )));
    }
    let new = NewBulkJob {
        tenant: id,
        webhook: of,
        what: BulkJobKind::ReplayMatching,
        filter: Some(order.filter),
        expected: counts.iter().map(|(_, count)| count.count).sum(),
        actor: request.caller.actor(tenant, Permission::WebhooksWrite),
    };
    let start = |store: &dyn model::contract::Frontend| store.start_bulk_job(new.clone(), now);
    let begun = request.context.store.try_ask(start).await;
    let begun = begun.map_err(|error| match (&error, of) {
        (StoreError::Stale, Some(_)) => Refusal::NoSuchObject,
        (StoreError::Stale, None) => Refusal::Contradiction(NONE_ENABLED.to_owned()),
        _ => refused(&error),
    })?;
    let shown = shown(request, &begun, names).await?;
    Ok(answer(StatusCode::ACCEPTED, &shown))
}

/// Those that are under way, the first first.
pub(crate) async fn list(
    request: &AdmittedRequest,
    tenant: &Tenant,
    names: &WebhookNames,
) -> Result<ApiResponse, Refusal> {
    let id = tenant.id;
    let running = request.ask(|s| s.running_bulk_jobs(id, None)).await?;
    let mut results = Vec::new();
    for bulk_job in running.iter().take(BULK_JOBS_RUNNING_MAX) {
        results.push(shown(request, bulk_job, names).await?);
    }
    Ok(answer(StatusCode::OK, &json!({ "results": results })))
}

/// One, with how far it has come.
pub(crate) async fn show(
    request: &AdmittedRequest,
    tenant: &Tenant,
    names: &WebhookNames,
) -> Result<ApiResponse, Refusal> {
    let (of, id) = (tenant.id, named_job(request)?);
    let found = request.ask(|s| s.bulk_job(of, id)).await?;
    let found = found.ok_or(Refusal::NoSuchObject)?;
    let shown = shown(request, &found, names).await?;
    Ok(answer(StatusCode::OK, &shown))
}

/// Ends one before its time; what it has done stays done.
pub(crate) async fn stop(
    request: &AdmittedRequest,
    tenant: &Tenant,
    names: &WebhookNames,
) -> Result<ApiResponse, Refusal> {
    let (of, id) = (tenant.id, named_job(request)?);
    let actor = request.caller.actor(tenant, Permission::WebhooksWrite);
    let now = request.context.clock.now();
    let stopping = request.ask(|s| s.stop_bulk_job(of, id, actor.clone(), now));
    let stopped = stopping.await?.ok_or(Refusal::NoSuchObject)?;
    let shown = shown(request, &stopped, names).await?;
    Ok(answer(StatusCode::OK, &shown))
}

fn named_job(request: &AdmittedRequest) -> Result<BulkJobId, Refusal> {
    let text = request.head.param("replay");
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    let id = is_number.then(|| text.parse().ok()).flatten();
    id.map(BulkJobId).ok_or(Refusal::NotAName)
}

async fn read(
    request: &AdmittedRequest,
    tenant: TenantId,
    names: &WebhookNames,
) -> Result<ReplayOrder, Refusal> {
    let mut fields = Fields::read(&request.body, &FIELDS)?;
    let webhook = match fields.given.get("webhook") {
        None | Some(Value::Null) => None,
        Some(given) => match find(request, tenant, (names.read)(given)).await? {
            Some(found) => Some(found),
            None => fields.fault("webhook", names.words),
        },
    };
    let dry_run = match fields.given.get("dry_run") {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(Value::Bool(true)) => true,
        Some(_) => {
            fields.fault::<()>("dry_run", "It has to be true or false.");
            false
        }
    };
    let filter = filter(&mut fields);
    let order = ReplayOrder {
        webhook,
        filter,
        dry_run,
    };
    fields.done(Some(order))
}

async fn find(
    request: &AdmittedRequest,
    tenant: TenantId,
    named: Option<NamedWebhook>,
) -> Result<Option<Webhook>, Refusal> {
    match named {
        None => Ok(None),
        Some(NamedWebhook::Id(id)) => request.ask(|s| s.webhook(tenant, id)).await,
        Some(NamedWebhook::Key(key)) => {
            let asked = request.ask(|s| s.webhook_by_key(vec![tenant], key.clone()));
            asked.await
        }
    }
}

fn filter(fields: &mut Fields) -> DeliveryFilter {
    let statuses = texts(fields, "status").map(|texts| statuses(fields, &texts));
    let responses = texts(fields, "response").unwrap_or_default();
    let (since, until) = (moment(fields, "since"), moment(fields, "until"));
    if let (Some(since), Some(until)) = (since, until)
        && since >= until
    {
        fields.fault::<()>("until", "It has to be after since.");
    }
    let text = fields.text("text").unwrap_or_default();
    if text.len() > NAME_BYTES_MAX {
        let words = format!("It may have {NAME_BYTES_MAX} bytes at most.");
        fields.fault::<()>("text", words);
    }
    DeliveryFilter {
        statuses: statuses.unwrap_or_else(|| DeliveryFilter::UNDELIVERED.to_vec()),
        action_types: texts(fields, "action_types").unwrap_or_default(),
        events: texts(fields, "events").unwrap_or_default(),
        responses: self::responses(fields, &responses),
        since,
        until,
        text,
    }
}

/// A text or several; `None` if the field is not there.
fn texts(fields: &mut Fields, field: &str) -> Option<Vec<String>> {
    let given = fields.given.get(field).filter(|given| !given.is_null())?;
    let one = std::slice::from_ref(given);
    let listed = given.as_array().map_or(one, Vec::as_slice);
    let text = |value: &Value| match value.as_str() {
        Some(text) => (text.len() <= NAME_BYTES_MAX).then(|| text.to_owned()),
        None => (field == "response" && value.is_number()).then(|| value.to_string()),
    };
    let texts: Vec<String> = listed.iter().filter_map(text).collect();
    // An empty list would mean nothing or anything.
    if texts.len() != listed.len() || listed.is_empty() || listed.len() > FILTER_VALUES_MAX {
        let words = format!(
            "It has to be a text or a list of 1 to {FILTER_VALUES_MAX} texts, each of \
             {NAME_BYTES_MAX} bytes at most."
        );
        return fields.fault(field, words);
    }
    Some(texts)
}

fn statuses(fields: &mut Fields, texts: &[String]) -> Vec<DeliveryStatus> {
    let read = |text: &String| {
        let status: Option<DeliveryStatus> = text.parse().ok();
        status.filter(|status| DeliveryFilter::REPLAYED.contains(status))
    };
    let found: Option<Vec<DeliveryStatus>> = texts.iter().map(read).collect();
    found.unwrap_or_else(|| {
        let names = DeliveryFilter::REPLAYED.map(DeliveryStatus::as_str);
        let words = format!(
            "Each has to be one of {}: what is pending is sent in any case.",
            names.join(", ")
        );
        fields.fault::<()>("status", words);
        Vec::new()
    })
}

fn responses(fields: &mut Fields, texts: &[String]) -> Vec<ResponseFilter> {
    let found: Option<Vec<ResponseFilter>> = texts.iter().map(|text| text.parse().ok()).collect();
    found.unwrap_or_else(|| {
        let words = "Each has to be a status such as 503, a class such as 5xx, or none.";
        fields.fault::<()>("response", words);
        Vec::new()
    })
}

fn moment(fields: &mut Fields, field: &str) -> Option<Timestamp> {
    let text = fields.text(field)?;
    match text.parse() {
        Ok(at) => Some(at),
        Err(_) => fields.fault(field, super::replay::NO_MOMENT),
    }
}

fn counted(counts: &StatusCounts) -> Value {
    let by_status = counts.iter().map(|(status, count)| {
        let shown = json!({ "count": count.count, "more": count.more });
        (status.as_str().to_owned(), shown)
    });
    json!({
        "dry_run": true,
        "count": counts.iter().map(|(_, count)| count.count).sum::<u64>(),
        "more": counts.iter().any(|(_, count)| count.more),
        "statuses": by_status.collect::<Map<String, Value>>(),
    })
}

async fn shown(
    request: &AdmittedRequest,
    bulk_job: &BulkJob,
    names: &WebhookNames,
) -> Result<Value, Refusal> {
    let webhook = match bulk_job.webhook {
        None => Value::Null,
        Some(id) => {
            let tenant = bulk_job.tenant;
            let found = request.ask(|store| store.webhook(tenant, id)).await?;
            (names.shown)(id, found.as_ref())
        }
    };
    let state = match (bulk_job.ended_at, &bulk_job.abort_reason) {
        (None, _) => "running",
        (Some(_), None) => "done",
        (Some(_), Some(_)) => "stopped",
    };
    Ok(json!({
        "id": bulk_job.id.0,
        "what": bulk_job.what.as_str(),
        "webhook": webhook,
        "filter": bulk_job.filter.as_ref().map(shown_filter),
        "state": state,
        "expected": bulk_job.expected,
        "done": bulk_job.done,
        "asked_by": bulk_job.actor,
        "began_at": bulk_job.began_at.to_string(),
        "ended_at": bulk_job.ended_at.map(|at| at.to_string()),
        "reason": bulk_job.abort_reason,
    }))
}

fn shown_filter(filter: &DeliveryFilter) -> Value {
    let responses = filter.responses.iter().map(ToString::to_string);
    let statuses = filter.statuses.iter().map(|status| status.as_str());
    json!({
        "status": statuses.collect::<Vec<_>>(),
        "action_types": filter.action_types,
        "events": filter.events,
        "response": responses.collect::<Vec<_>>(),
        "since": filter.since.map(|at| at.to_string()),
        "until": filter.until.map(|at| at.to_string()),
        "text": filter.text,
    })
}

/// A fault as a refusal.
pub(crate) fn at_fault(fault: Fault) -> Refusal {
    Refusal::Invalid(vec![fault])
}
