//! The log over REST: deliveries of a webhook, their attempts, replay, and the audit log.
//!
//! Nothing here shows credentials: URLs and headers are masked before they are stored.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::StatusCode;
use model::attempt::{HttpResponse as Response, Outcome};
use model::contract::{ReplayResult, ReplayScope};
use model::delivery::DeliveryState;
use model::id::{DeliveryId, NotificationId, WebhookId};
use model::limits::PAGE_ROWS_MAX;
use model::query::{
    AttemptRecord, AuditEntry, DeliveryDetail, DeliveryRow, DeliveryStatus, LogCursor, LogQuery,
};
use model::refusal::{Fault, Refusal};
use model::tenant::Permission;
use model::time::Timestamp;
use model::webhook::Headers;

use super::context::Pretix;
use super::export::NAMES;
use super::json::{JsonObject, JsonValue};
use super::{answer, json, webhooks};
use crate::dialect::log_filter;
use crate::dialect::replay::{self, ReplayCaller, ReplayQuery};
use crate::dialect::send_test;
use crate::gateway::api::{AdmittedRequest, ApiResponse, RequestHead};

const DISABLED: &str = "The webhook is disabled, so nothing can be sent. Enable it first.";

pub(super) async fn list_deliveries(
    _: Arc<Pretix>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    let webhook = webhooks::find(&request).await?.id;
    list(request, Some(webhook)).await
}

/// Those of all webhooks.
pub(super) async fn list_all_deliveries(
    _: Arc<Pretix>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    list(request, None).await
}

async fn list(
    request: AdmittedRequest,
    webhook: Option<WebhookId>,
) -> Result<ApiResponse, Refusal> {
    let tenant = request.tenant()?.id;
    let (from, faults) = match read_from(&request.head, webhook) {
        Ok(from) => (from, Vec::new()),
        Err(fault) => (None, vec![fault]),
    };
    let query = LogQuery {
        from,
        limit: answer::page_size(&request.head),
        ..log_filter::read(&request, tenant, webhook, &NAMES, faults).await?
    };
    let head = &request.head;
    let page = request
        .ask(|store| store.log(tenant, query.clone()))
        .await?;
    let link = |from: Option<LogCursor>| match from {
        Some(from) => answer::link(head, "cursor", Some(&cursor(from, webhook))),
        None => JsonValue::Null,
    };
    let next = link(page.older.map(LogCursor::OlderThan));
    let previous = link(page.newer.map(LogCursor::NewerThan));
    let rows = page
        .rows
        .iter()
        .map(|found| JsonValue::Object(JsonObject::of(row_pairs(&found.row))));
    let body = JsonValue::object([
        ("next", next),
        ("previous", previous),
        ("results", JsonValue::List(rows.collect())),
    ]);
    Ok(answer::ok(&request, &body))
}

pub(super) async fn show_delivery(
    _: Arc<Pretix>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    let detail = find(&request).await?;
    Ok(answer::ok(&request, &told(&detail)))
}

pub(super) async fn retry_delivery(
    _: Arc<Pretix>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    let id = find(&request).await?.row.id;
    let asker = asker(&request, id.webhook)?;
    match replay::step(&request, &asker, ReplayScope::One(id), 0).await? {
        ReplayResult::Done { .. } | ReplayResult::Reached { .. } => {}
        ReplayResult::Unknown => return Err(Refusal::NoSuchObject),
        ReplayResult::Disabled => return Err(Refusal::Contradiction(DISABLED.to_owned())),
    }
    let detail = find(&request).await?;
    Ok(answer::json(
        &request.head,
        StatusCode::ACCEPTED,
        &told(&detail),
    ))
}

pub(super) async fn retry_failed(
    _: Arc<Pretix>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    const FAILED: &[DeliveryStatus] = &[
        DeliveryStatus::Retrying,
        DeliveryStatus::Failed,
        DeliveryStatus::Cancelled,
    ];
    const NAMED: [replay::NamedStatuses; 3] = [
        ("retrying", &[DeliveryStatus::Retrying]),
        ("exhausted", &[DeliveryStatus::Failed]),
        ("cancelled", &[DeliveryStatus::Cancelled]),
    ];
    let webhook = webhooks::find(&request).await?;
    replay::vet_body(&request.body)?;
    // Every client may ask for the format of the response.
    let meant = request.head.query.without("format");
    let meant = ReplayQuery::read(&meant, FAILED, &NAMED)?;
    let all = ReplayScope::Undelivered {
        began_at: request.context.clock.now(),
    };
    let asker = asker(&request, webhook.id)?;
    let retried = replay::send(&request, &asker, meant, all).await?;
    let retried = retried.ok_or_else(|| Refusal::Contradiction(DISABLED.to_owned()))?;
    let retried = JsonValue::int(u64::try_from(retried).unwrap_or(u64::MAX));
    let body = JsonValue::object([("retried", retried)]);
    Ok(answer::json(&request.head, StatusCode::ACCEPTED, &body))
}

pub(super) async fn list_audit(
    _: Arc<Pretix>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    let tenant = request.tenant()?.id;
    let entries = request
        .ask(|store| store.audit(tenant, PAGE_ROWS_MAX))
        .await?;
    let results = entries.iter().map(entry).collect();
    Ok(answer::ok(
        &request,
        &JsonValue::object([("results", JsonValue::List(results))]),
    ))
}

/// Lists the action types that webhooks can subscribe to.
pub(super) async fn list_kinds(
    pretix: Arc<Pretix>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    let action_types = pretix.action_types.iter().map(|kind| {
        JsonValue::object([
            ("action_type", JsonValue::text(kind.key.as_str())),
            ("label", JsonValue::text(kind.label.as_str())),
            ("help", JsonValue::text(kind.help.as_str())),
        ])
    });
    let body = JsonValue::object([("results", JsonValue::List(action_types.collect()))]);
    Ok(answer::ok(&request, &body))
}

/// The kinds of which a test can be.
pub(super) async fn list_tests(
    pretix: Arc<Pretix>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    let webhook = webhooks::find(&request).await?;
    Ok(send_test::list_kinds(&*pretix, &webhook))
}

/// Sends a test: 202 with its delivery.
pub(super) async fn start_test(
    pretix: Arc<Pretix>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    let webhook = webhooks::find(&request).await?;
    let id = send_test::send(&request, &*pretix, &webhook).await?;
    let asked = request.ask(|store| store.delivery(webhook.tenant, id));
    let detail = asked.await?.ok_or(Refusal::NoSuchObject)?;
    let status = StatusCode::ACCEPTED;
    Ok(answer::json(&request.head, status, &told(&detail)))
}

fn asker(request: &AdmittedRequest, webhook: WebhookId) -> Result<ReplayCaller, Refusal> {
    Ok(ReplayCaller {
        tenant: request.tenant()?.id,
        webhook,
        actor: request.actor(Permission::WebhooksWrite)?,
    })
}

/// The delivery that the path names, of the webhook that it names, if it names one.
async fn find(request: &AdmittedRequest) -> Result<DeliveryDetail, Refusal> {
    let tenant = request.tenant()?.id;
    let id: Result<DeliveryId, _> = request.head.param("delivery").parse();
    let id = id.map_err(|_| Refusal::NotAName)?;
    let named = request.head.param("id");
    if !named.is_empty() && super::python::int(named) != Some(i128::from(id.webhook.0)) {
        return Err(Refusal::NoSuchObject);
    }
    let detail = request.ask(|store| store.delivery(tenant, id)).await?;
    detail.ok_or(Refusal::NoSuchObject)
}

fn read_from(head: &RequestHead, webhook: Option<WebhookId>) -> Result<Option<LogCursor>, Fault> {
    let text = head.query.get("cursor").filter(|text| !text.is_empty());
    let from = text.map(|text| {
        let from = read_cursor(text, webhook);
        from.ok_or_else(|| Fault::new("cursor", "Invalid cursor."))
    });
    from.transpose()
}

/// A cursor in the log. In that of a webhook a notification occurs once.
fn cursor(from: LogCursor, webhook: Option<WebhookId>) -> String {
    let text = match (from, webhook) {
        (LogCursor::OlderThan(id), None) => format!("o{id}"),
        (LogCursor::NewerThan(id), None) => format!("n{id}"),
        (LogCursor::OlderThan(id), Some(webhook)) if id.webhook > webhook => {
            format!("o{}", id.notification.0.saturating_add(1))
        }
        (LogCursor::OlderThan(id), Some(_)) => format!("o{}", id.notification),
        (LogCursor::NewerThan(id), Some(webhook)) if id.webhook < webhook => {
            format!("n{}", id.notification.0.saturating_sub(1))
        }
        (LogCursor::NewerThan(id), Some(_)) => format!("n{}", id.notification),
    };
    BASE64_URL_SAFE_NO_PAD.encode(text)
}

fn read_cursor(text: &str, webhook: Option<WebhookId>) -> Option<LogCursor> {
    let text = String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
    let id = |text: &str| match webhook {
        None => text.parse().ok(),
        Some(webhook) => Some(DeliveryId {
            notification: NotificationId(text.parse().ok()?),
            webhook,
        }),
    };
    match text.strip_prefix('o') {
        Some(text) => id(text).map(LogCursor::OlderThan),
        None => id(text.strip_prefix('n')?).map(LogCursor::NewerThan),
    }
}

fn row_pairs(row: &DeliveryRow) -> [(&'static str, JsonValue<'_>); 13] {
    let cause = match row.state {
        DeliveryState::Cancelled(cause) => Some(cause.words()),
        DeliveryState::Pending | DeliveryState::Delivered | DeliveryState::Failed => None,
    };
    let latest = row.latest.as_ref();
    let code = latest.and_then(Outcome::status);
    let key = &row.key;
    let is_number = !key.is_empty() && json::read(key) == Ok(JsonValue::Int(key.into()));
    [
        ("id", JsonValue::text(row.id.to_string())),
        ("webhook", JsonValue::int(row.id.webhook)),
        (
            "notification_id",
            if is_number {
                JsonValue::Int(key.into())
            } else {
                JsonValue::text(key.as_str())
            },
        ),
        ("action_type", JsonValue::text(row.action_type.as_str())),
        ("event", JsonValue::optional(row.event.as_deref())),
        ("status", JsonValue::text(row.status().as_str())),
        ("reason", JsonValue::optional(cause)),
        ("attempt_count", JsonValue::int(row.attempts)),
        ("accepted_at", moment(Some(row.accepted_at))),
        ("next_attempt_at", moment(row.due_at)),
        ("ended_at", moment(row.ended_at)),
        (
            "response_status",
            code.map_or(JsonValue::Null, JsonValue::int),
        ),
        ("outcome", JsonValue::optional(latest.map(Outcome::words))),
    ]
}

/// A delivery with all its attempts.
fn told(detail: &DeliveryDetail) -> JsonValue<'_> {
    let row = row_pairs(&detail.row).into_iter();
    let row = row.map(|(key, value)| (json::JsonText::whole(key), value));
    let mut pairs: Vec<(json::JsonText<'_>, JsonValue<'_>)> = row.collect();
    let (body, encoding) = text_of(&detail.body);
    let attempts = detail.attempts.iter().map(attempt).collect();
    for (key, value) in [
        ("request_body", body),
        ("request_body_encoding", encoding),
        ("attempts", JsonValue::List(attempts)),
    ] {
        pairs.push((json::JsonText::whole(key), value));
    }
    JsonValue::Object(JsonObject::from_pairs(pairs))
}

fn attempt(past: &AttemptRecord) -> JsonValue<'_> {
    let made = &past.attempt;
    let (answer, error) = match &made.outcome {
        Outcome::Answered(answer) => (Some(answer), JsonValue::Null),
        Outcome::Failed(failure) => {
            let code = JsonValue::text(failure.kind.as_str());
            let words = JsonValue::text(failure.words());
            (None, JsonValue::object([("code", code), ("detail", words)]))
        }
    };
    let of = |part: fn(&Response) -> JsonValue<'_>| answer.map_or(JsonValue::Null, part);
    JsonValue::object([
        ("number", JsonValue::int(past.number)),
        ("is_retry", JsonValue::Bool(past.number > 1)),
        ("datetime", moment(Some(made.began_at))),
        ("duration_ms", JsonValue::int(made.duration_ms)),
        ("method", JsonValue::text("POST")),
        ("url", JsonValue::text(&*made.url)),
        ("request_headers", lines(&made.request_headers)),
        ("success", JsonValue::Bool(made.outcome.is_success())),
        ("outcome", JsonValue::text(made.outcome.words())),
        ("error", error),
        (
            "response_status",
            of(|answer| JsonValue::int(answer.status)),
        ),
        ("response_headers", of(|answer| lines(&answer.headers))),
        ("response_body", of(|answer| text_of(&answer.body).0)),
        (
            "response_body_encoding",
            of(|answer| text_of(&answer.body).1),
        ),
        (
            "response_body_end",
            of(|answer| JsonValue::text(answer.body_end.as_str())),
        ),
        ("next_attempt_at", moment(past.next_due_at)),
    ])
}

fn entry(entry: &AuditEntry) -> JsonValue<'_> {
    let detail = json::read(&entry.detail);
    JsonValue::object([
        ("at", moment(Some(entry.at))),
        ("actor", JsonValue::text(entry.actor.as_str())),
        ("action", JsonValue::text(entry.action.as_str())),
        (
            "webhook",
            entry.webhook.map_or(JsonValue::Null, JsonValue::int),
        ),
        (
            "detail",
            detail.unwrap_or_else(|_| JsonValue::text(entry.detail.as_str())),
        ),
    ])
}

fn moment(at: Option<Timestamp>) -> JsonValue<'static> {
    JsonValue::optional(at.map(|at| at.to_string()))
}

/// Bytes as text if they are UTF-8, else in base64; and the name of the encoding.
fn text_of(bytes: &Bytes) -> (JsonValue<'_>, JsonValue<'_>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (JsonValue::text(text), JsonValue::text("utf-8")),
        Err(_) => {
            let encoded = JsonValue::text(BASE64_STANDARD.encode(bytes));
            (encoded, JsonValue::text("base64"))
        }
    }
}

/// Header lines as pairs of name and value; any byte is some character of Latin-1.
fn lines(headers: &Headers) -> JsonValue<'static> {
    let latin1 = |bytes: &[u8]| {
        let text: String = bytes.iter().copied().map(char::from).collect();
        JsonValue::text(text)
    };
    let line = |(name, value): (&[u8], &[u8])| JsonValue::List(vec![latin1(name), latin1(value)]);
    JsonValue::List(headers.iter().map(line).collect())
}

#[cfg(test)]
mod tests;
