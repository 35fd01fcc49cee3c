//! The invocations of a webhook, and replaying them.
//!
//! Nothing here shows a secret: credentials and nonces are masked before they are stored.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use model::attempt::Outcome;
use model::contract::{Frontend, ReplayResult, ReplayScope};
use model::delivery::DeliveryState;
use model::id::DeliveryId;
use model::limits::PAGE_ROWS_MAX;
use model::query::{
    AttemptRecord, DeliveryDetail, DeliveryRow, DeliveryStatus, LogCursor, LogQuery,
};
use model::refusal::Refusal;
use model::webhook::{Headers, Webhook};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::context::OpenTicket;
use super::input::number;
use super::lookup::find;
use super::wire::moment;
use super::{answer, guid, wire};
use crate::dialect::replay::{self, ReplayCaller, ReplayQuery};
use crate::dialect::send_test;
use crate::gateway::api::{AdmittedRequest, ApiResponse};

const DISABLED: &str = "The webhook is switched off, so nothing can be sent.";

/// Invocations in the answer about one webhook, and in one page of them.
const SHOWN_MAX: u64 = 100;

/// Of what a receiver answered this much is shown.
const ANSWER_BYTES_SHOWN: usize = 16 * 1024;

#[derive(Debug, Serialize)]
pub(super) struct Invocation {
    guid: String,
    webhook_id: String,
    trigger: String,
    dedupe_key: String,
    status: &'static str,
    attempts: u32,
    response_status: Option<u16>,
    error: Option<String>,
    created_at: String,
    last_attempt_at: Option<String>,
    next_attempt_at: Option<String>,
}

/// An invocation with everything that happened to it.
#[derive(Debug, Serialize)]
struct InvocationDetail {
    #[serde(flatten)]
    invocation: Invocation,
    request_body: String,
    attempt_log: Vec<LoggedAttempt>,
}

#[derive(Debug, Serialize)]
struct LoggedAttempt {
    number: u32,
    at: String,
    duration_ms: u32,
    url: String,
    request_headers: Value,
    response_status: Option<u16>,
    error: Option<String>,
    /// What was wrong with the answer behind its status line.
    #[serde(skip_serializing_if = "Option::is_none")]
    response_note: Option<String>,
    response_headers: Option<Value>,
    response_body: Option<String>,
    next_attempt_at: Option<String>,
}

pub(super) async fn list_invocations(
    _: Arc<OpenTicket>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    let webhook = find(&request).await?;
    let head = &request.head;
    let per_page = number(head, "per_page", SHOWN_MAX, SHOWN_MAX)?;
    let statuses = statuses(head.query.get("status").unwrap_or_default())?;
    let from = match head.query.get("before").unwrap_or_default() {
        "" => None,
        text => Some(before(text)?),
    };
    let (rows, older) = read(&request, &webhook, statuses, from, per_page).await?;
    let shown: Vec<Invocation> = rows
        .iter()
        .map(|row| shown(&request, &webhook, row))
        .collect();
    let answer = answer::ok(&shown)?;
    Ok(match older {
        Some(id) => answer::link_next(answer, head, "before", &guid::of_invocation(id)),
        None => answer,
    })
}

/// The newest invocations of a webhook.
pub(super) async fn latest(
    request: &AdmittedRequest,
    webhook: &Webhook,
) -> Result<Vec<Invocation>, Refusal> {
    let (rows, _) = read(request, webhook, &[None], None, SHOWN_MAX).await?;
    Ok(rows
        .iter()
        .map(|row| shown(request, webhook, row))
        .collect())
}

pub(super) async fn show_invocation(
    _: Arc<OpenTicket>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    let webhook = find(&request).await?;
    let detail = find_invocation(&request, &webhook).await?;
    answer::ok(&told(&request, &webhook, &detail))
}

pub(super) async fn retry_invocation(
    _: Arc<OpenTicket>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    let webhook = find(&request).await?;
    let id = find_invocation(&request, &webhook).await?.row.id;
    let asker = asker(&request, &webhook);
    match replay::step(&request, &asker, ReplayScope::One(id), 0).await? {
        ReplayResult::Done { .. } | ReplayResult::Reached { .. } => {}
        ReplayResult::Unknown => return Err(Refusal::NoSuchObject),
        ReplayResult::Disabled => return Err(Refusal::Contradiction(DISABLED.to_owned())),
    }
    let detail = find_invocation(&request, &webhook).await?;
    let shown = shown(&request, &webhook, &detail.row);
    answer::json(StatusCode::ACCEPTED, &shown)
}

/// Has everything sent again that was tried out, or what is meant of it; what is still owed is on
/// its way already.
pub(super) async fn retry_failed(
    _: Arc<OpenTicket>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    const FAILED: &[DeliveryStatus] = &[DeliveryStatus::Failed];
    let webhook = find(&request).await?;
    replay::vet_body(&request.body)?;
    let meant = ReplayQuery::read(&request.head.query, FAILED, &[("failed", FAILED)])?;
    let all = ReplayScope::Failed {
        began_at: request.context.clock.now(),
    };
    let asker = asker(&request, &webhook);
    let retried = replay::send(&request, &asker, meant, all).await?;
    let retried = retried.ok_or_else(|| Refusal::Contradiction(DISABLED.to_owned()))?;
    answer::json(StatusCode::ACCEPTED, &json!({ "retried": retried }))
}

/// The kinds of which a test can be.
pub(super) async fn list_tests(
    open: Arc<OpenTicket>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    let webhook = find(&request).await?;
    Ok(send_test::list_kinds(&*open, &webhook))
}

/// Sends a test: 202 with its invocation.
pub(super) async fn start_test(
    open: Arc<OpenTicket>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    let webhook = find(&request).await?;
    let id = send_test::send(&request, &*open, &webhook).await?;
    let asked = request.ask(|store| store.delivery(webhook.tenant, id));
    let detail = asked.await?.ok_or(Refusal::NoSuchObject)?;
    answer::json(
        StatusCode::ACCEPTED,
        &shown(&request, &webhook, &detail.row),
    )
}

fn asker(request: &AdmittedRequest, webhook: &Webhook) -> ReplayCaller {
    ReplayCaller {
        tenant: webhook.tenant,
        webhook: webhook.id,
        actor: request.editor_of(webhook),
    }
}

/// Rows of the log, newest first, and the place to go on from if there may be older ones. Only of
/// one status there may be fewer than `most` nevertheless: looking through a log ends somewhere.
async fn read(
    request: &AdmittedRequest,
    webhook: &Webhook,
    statuses: &[Option<DeliveryStatus>],
    from: Option<LogCursor>,
    most: u64,
) -> Result<(Vec<DeliveryRow>, Option<DeliveryId>), Refusal> {
    let most = usize::try_from(most).unwrap_or(PAGE_ROWS_MAX);
    let mut rows: Vec<DeliveryRow> = Vec::new();
    let mut older = None;
    for status in statuses {
        let mut count = 0;
        let mut from = from;
        loop {
            let query = LogQuery {
                webhook: Some(webhook.id),
                status: *status,
                from,
                limit: most.saturating_sub(count).min(PAGE_ROWS_MAX),
                ..LogQuery::default()
            };
            let ask = |store: &dyn Frontend| store.log(webhook.tenant, query.clone());
            let page = request.ask(ask).await?;
            count += page.rows.len();
            rows.extend(page.rows.into_iter().map(|found| found.row));
            from = page.older.map(LogCursor::OlderThan);
            if count >= most || from.is_none() || page.searched_until.is_some() {
                older = older.max(page.older);
                break;
            }
        }
    }
    rows.sort_by_key(|row| std::cmp::Reverse(row.id.notification));
    if rows.len() > most {
        rows.truncate(most);
        older = rows.last().map(|row| row.id);
    }
    Ok((rows, older))
}

/// What the statuses of this dialect are in the store's words.
fn statuses(text: &str) -> Result<&'static [Option<DeliveryStatus>], Refusal> {
    match text {
        "" => Ok(&[None]),
        "pending" => Ok(&[
            Some(DeliveryStatus::Pending),
            Some(DeliveryStatus::Retrying),
        ]),
        "delivered" => Ok(&[Some(DeliveryStatus::Delivered)]),
        "failed" => Ok(&[
            Some(DeliveryStatus::Failed),
            Some(DeliveryStatus::Cancelled),
        ]),
        _ => Err(Refusal::invalid(
            "status",
            "The selected status is invalid: it must be one of pending, delivered, failed.",
        )),
    }
}

fn before(text: &str) -> Result<LogCursor, Refusal> {
    let id = guid::to_invocation(text).ok_or_else(|| {
        Refusal::invalid("before", "The before must be the GUID of an invocation.")
    })?;
    Ok(LogCursor::OlderThan(id))
}

/// The invocation of this webhook that the path names.
async fn find_invocation(
    request: &AdmittedRequest,
    webhook: &Webhook,
) -> Result<DeliveryDetail, Refusal> {
    let id = guid::to_invocation(request.head.param("invocation")).ok_or(Refusal::NotAName)?;
    if id.webhook != webhook.id {
        return Err(Refusal::NoSuchObject);
    }
    let ask = |store: &dyn Frontend| store.delivery(webhook.tenant, id);
    request.ask(ask).await?.ok_or(Refusal::NoSuchObject)
}

fn shown(request: &AdmittedRequest, webhook: &Webhook, row: &DeliveryRow) -> Invocation {
    let key = webhook.key.as_deref().unwrap_or_default();
    // A pause is the webhook's; what waits for it is due all at once when it is over.
    let now = request.context.clock.now();
    let paused_until = webhook.paused_until.filter(|until| *until > now);
    let due_at = row
        .due_at
        .map(|at| paused_until.map_or(at, |until| until.max(at)));
    Invocation {
        guid: guid::of_invocation(row.id),
        webhook_id: key.to_owned(),
        trigger: row.action_type.clone(),
        dedupe_key: model::dedupe::key(key, &row.key),
        status: match row.state {
            DeliveryState::Pending => "pending",
            DeliveryState::Delivered => "delivered",
            DeliveryState::Failed | DeliveryState::Cancelled(_) => "failed",
        },
        attempts: row.attempts,
        response_status: row.latest.as_ref().and_then(Outcome::status),
        error: row.latest.as_ref().and_then(error),
        created_at: moment(row.accepted_at),
        last_attempt_at: row.latest_at.map(moment),
        next_attempt_at: due_at.map(moment),
    }
}

/// What kept an attempt from being answered.
fn error(outcome: &Outcome) -> Option<String> {
    match outcome {
        Outcome::Answered(_) => None,
        Outcome::Failed(failure) => Some(failure.words()),
    }
}

fn told(request: &AdmittedRequest, webhook: &Webhook, detail: &DeliveryDetail) -> InvocationDetail {
    let invocation = shown(request, webhook, &detail.row);
    let attempts = detail.attempts.iter();
    InvocationDetail {
        attempt_log: attempts
            .map(|past| logged(past, &invocation.dedupe_key))
            .collect(),
        invocation,
        request_body: text(&detail.body),
    }
}

fn logged(past: &AttemptRecord, dedupe_key: &str) -> LoggedAttempt {
    let made = &past.attempt;
    let answered = match &made.outcome {
        Outcome::Answered(answered) => Some(answered),
        Outcome::Failed(_) => None,
    };
    let mut request_headers = lines(&made.request_headers);
    // It is not written down, because it follows from what is.
    request_headers.insert(wire::DEDUPE_HEADER.to_owned(), dedupe_key.into());
    LoggedAttempt {
        number: past.number,
        at: moment(made.began_at),
        duration_ms: made.duration_ms,
        url: made.url.to_string(),
        request_headers: Value::Object(request_headers),
        response_status: made.outcome.status(),
        error: error(&made.outcome),
        response_note: answered.and_then(|a| a.note.as_deref().map(str::to_owned)),
        response_headers: answered.map(|a| Value::Object(lines(&a.headers))),
        response_body: answered.map(|a| beginning(text(&a.body))),
        next_attempt_at: past.next_due_at.map(moment),
    }
}

/// Bytes as text; what is not UTF-8 becomes U+FFFD.
fn text(bytes: &Bytes) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn beginning(mut text: String) -> String {
    if text.len() > ANSWER_BYTES_SHOWN {
        let mut end = ANSWER_BYTES_SHOWN;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
    }
    text
}

/// Header lines by name; those of one name are joined with commas.
fn lines(headers: &Headers) -> Map<String, Value> {
    let mut lines: Map<String, Value> = Map::new();
    for (name, value) in headers.iter() {
        let value = String::from_utf8_lossy(value).into_owned();
        let name = String::from_utf8_lossy(name).into_owned();
        let joined = match lines.get(&name).and_then(Value::as_str) {
            Some(before) => format!("{before}, {value}"),
            None => value,
        };
        lines.insert(name, joined.into());
    }
    lines
}
