//! The log as a file, in CSV or NDJSON: what a filter shows, newest first, with all its pages.
//!
//! A page of the log is read when the connection takes the one before, so an export costs the
//! memory of a page, and a client that is gone or does not read is noticed by the connection. After
//! each page the export pauses for as long as it took, so that others are asked for in between. An
//! export that cannot go on breaks its connection off: a file that ends looks whole.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use http_body::Frame;
use model::attempt::Outcome;
use model::contract::StoreError;
use model::delivery::DeliveryState;
use model::id::{TenantId, WebhookId};
use model::limits::{EXPORTS_MAX, EXPORTS_TENANT_MAX, PAGE_ROWS_MAX};
use model::query::{LogCursor, LogPage, LogQuery, LogRow};
use model::refusal::Refusal;
use model::time::Timestamp;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;

use super::log_filter;
use super::log_names::LogNames;
use crate::gateway::api::{AdmittedRequest, ApiResponse, RequestHead, StreamedBody};
use crate::gateway::export_slots::{ExportSlot, ExportSlots};
use crate::gateway::store::{StoreHandle, refused};
use crate::transport::body::Body;
use crate::transport::media_type::text_of;

/// The shortest pause after a page.
const PAUSE_MIN: Duration = Duration::from_millis(10);

/// How often a page is asked for while the store is busy, and how long to wait in between.
const TRIES: u32 = 10;
const TRY_AFTER: Duration = Duration::from_secs(1);

/// How often it is asked whether it may go on.
const JUDGE_EVERY: Duration = Duration::from_secs(10);

/// The parameter that names the format.
pub(crate) const FORMAT: &str = "format";

/// The names of the columns.
const COLUMNS: [&str; 16] = [
    "id",
    "webhook",
    "target_url",
    "notification_id",
    "action_type",
    "event",
    "test",
    "status",
    "reason",
    "attempt_count",
    "accepted_at",
    "latest_attempt_at",
    "next_attempt_at",
    "ended_at",
    "response_status",
    "outcome",
];

/// What programs that read CSV take for the beginning of a formula at the beginning of a cell; the
/// last four are wide forms, which some keyboards write and some programs understand.
const FORMULA: [char; 8] = ['=', '+', '-', '@', '＝', '＋', '－', '＠'];

/// The form of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExportFormat {
    /// RFC 4180. For people: spreadsheets know UTF-8 by its mark.
    Csv {
        marked: bool,
    },
    Ndjson,
}

/// What an export is made of.
pub(crate) struct Export {
    pub(crate) store: StoreHandle,
    pub(crate) slots: Arc<ExportSlots>,
    pub(crate) stopping: watch::Receiver<bool>,
    pub(crate) tenant: TenantId,
    pub(crate) query: LogQuery,
    pub(crate) format: ExportFormat,
    pub(crate) names: LogNames,
    /// Whether whoever asked may still read it; asked now and then.
    pub(crate) judge: Option<Judge>,
}

pub(crate) type Judge = Box<dyn Fn() -> Pin<Box<dyn Future<Output = bool> + Send>> + Send + Sync>;

impl ExportFormat {
    /// Its name in a query.
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "csv" => Some(Self::Csv { marked: false }),
            "ndjson" => Some(Self::Ndjson),
            _ => None,
        }
    }

    /// The headers of a response with such a file, of this name without its ending.
    pub(crate) fn put_headers(self, headers: &mut HeaderMap, name: &str) {
        let (form, ending) = match self {
            Self::Csv { .. } => ("text/csv; charset=utf-8; header=present", "csv"),
            Self::Ndjson => ("application/x-ndjson", "ndjson"),
        };
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(form));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        // Names are made of ids and times, so this is always a header value.
        let file = HeaderValue::try_from(format!("attachment; filename=\"{name}.{ending}\""));
        let file = file.unwrap_or_else(|_| HeaderValue::from_static("attachment"));
        headers.insert(CONTENT_DISPOSITION, file);
    }

    fn head(self) -> String {
        let mark = match self {
            Self::Csv { marked: true } => "\u{feff}",
            Self::Csv { marked: false } => "",
            Self::Ndjson => return String::new(),
        };
        format!("{mark}{}\r\n", COLUMNS.join(","))
    }

    fn line(self, out: &mut String, cells: [Value; COLUMNS.len()]) {
        match self {
            Self::Csv { .. } => {
                for (place, value) in cells.iter().enumerate() {
                    if place > 0 {
                        out.push(',');
                    }
                    match value {
                        Value::Null => {}
                        Value::String(text) => put_cell(out, text),
                        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                            put_cell(out, &value.to_string());
                        }
                    }
                }
                out.push_str("\r\n");
            }
            Self::Ndjson => {
                let pairs = COLUMNS.iter().map(|name| (*name).to_owned()).zip(cells);
                let object = Value::Object(pairs.collect());
                // Writing to a string cannot fail.
                writeln!(out, "{object}").unwrap_or_default();
            }
        }
    }
}

/// A cell of RFC 4180. A character that begins a formula gets a `'` before it, wherever a program
/// may take it for the first one of a cell: at the beginning, and behind what some take for an end.
fn put_cell(out: &mut String, text: &str) {
    let mut begins = true;
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        if begins && FORMULA.contains(&character) {
            safe.push('\'');
        }
        let is_end = matches!(character, ';' | ',' | '"' | '\t' | '\r' | '\n');
        // Some take blanks away first.
        begins = is_end || begins && character.is_whitespace();
        if character == '\0' {
            // Some take it for the end of the file.
            continue;
        }
        safe.push(character);
    }
    if safe.starts_with(['\t', '\r', '\n']) {
        safe.insert(0, '\'');
    }
    let is_plain = !safe.contains(['"', ',', ';', '\r', '\n', '\t', ' ']);
    if is_plain {
        out.push_str(&safe);
    } else {
        out.push('"');
        out.push_str(&safe.replace('"', "\"\""));
        out.push('"');
    }
}

/// Answers over REST with what the query selects, of this webhook or of all.
pub(crate) async fn respond(
    request: &AdmittedRequest,
    tenant: TenantId,
    webhook: Option<WebhookId>,
    names: &LogNames,
) -> Result<ApiResponse, Refusal> {
    let format = wanted(&request.head)?;
    let query = log_filter::read(request, tenant, webhook, names, Vec::new()).await?;
    let context = &request.context;
    let export = Export {
        store: context.store.clone(),
        slots: Arc::clone(&context.export_slots),
        stopping: context.stopping.clone(),
        tenant,
        query,
        format,
        names: *names,
        judge: None,
    };
    let mut answer = StreamedBody::answer(export.begin().await?);
    format.put_headers(answer.headers_mut(), &file_name(context.clock.now()));
    Ok(answer)
}

/// The name of a file that is made now, without its ending.
pub(crate) fn file_name(now: Timestamp) -> String {
    let at = now.to_string();
    let second = at.split('.').next().unwrap_or_default();
    format!("deliveries-{}", second.replace(':', ""))
}

/// The format that the query names, else the first that is accepted.
fn wanted(head: &RequestHead) -> Result<ExportFormat, Refusal> {
    if let Some(name) = head.query.get(FORMAT).filter(|name| !name.is_empty()) {
        return ExportFormat::named(name)
            .ok_or_else(|| Refusal::invalid(FORMAT, "Must be one of csv, ndjson."));
    }
    if !head.headers.contains_key(ACCEPT) {
        return Ok(ExportFormat::Ndjson);
    }
    let headers = head.headers.get_all(ACCEPT).iter().map(text_of);
    let accepted = headers.collect::<Vec<_>>().join(",");
    let mut kinds = accepted.split(',').map(|kind| {
        let name = kind.split(';').next().unwrap_or_default();
        name.trim().to_ascii_lowercase()
    });
    let format = kinds.find_map(|kind| match kind.as_str() {
        "text/csv" | "text/*" => Some(ExportFormat::Csv { marked: false }),
        "application/x-ndjson" | "application/ndjson" | "application/*" | "*/*" => {
            Some(ExportFormat::Ndjson)
        }
        _ => None,
    });
    format.ok_or(Refusal::NotAcceptable)
}

impl Export {
    /// The file, of which the first page is read already.
    ///
    /// # Errors
    /// If too many run, or the store cannot be asked.
    pub(crate) async fn begin(self) -> Result<Body, Refusal> {
        let slot = ExportSlots::take(&self.slots, self.tenant).ok_or_else(|| {
            Refusal::Contradiction(format!(
                "{EXPORTS_TENANT_MAX} exports of this log may run at once, and {EXPORTS_MAX} on \
                 this server. Wait until one has ended, or end one."
            ))
        })?;
        let mut running = RunningExport {
            out: self.format.head(),
            export: self,
            _slot: slot,
            webhooks: BTreeMap::new(),
            pause: Duration::ZERO,
            judged_at: Instant::now(),
            over: false,
        };
        running.export.query.limit = PAGE_ROWS_MAX;
        running.read().await.map_err(|error| refused(&error))?;
        Ok(Body::new(ExportBody(Some(Box::pin(running.next())))))
    }
}

struct RunningExport {
    export: Export,
    _slot: ExportSlot,
    /// The names of the webhooks of the latest rows.
    webhooks: BTreeMap<WebhookId, Value>,
    /// What was written and not sent yet.
    out: String,
    /// How long the others come first.
    pause: Duration,
    judged_at: Instant,
    over: bool,
}

/// Why an export broke off.
#[derive(Debug)]
struct BrokenOff(&'static str);

impl std::fmt::Display for BrokenOff {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "an export broke off: {}", self.0)
    }
}

impl std::error::Error for BrokenOff {}

impl RunningExport {
    /// The next piece; `None` at the end.
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, BrokenOff> {
        loop {
            if !self.out.is_empty() {
                let piece = std::mem::take(&mut self.out);
                return Ok(Some((piece.into(), self)));
            }
            if self.over {
                return Ok(None);
            }
            self.wait(self.pause).await?;
            if self.judged_at.elapsed() >= JUDGE_EVERY {
                self.judged_at = Instant::now();
                if let Some(judge) = &self.export.judge
                    && !judge().await
                {
                    return Err(BrokenOff("whoever asked may not read it any more"));
                }
            }
            let mut tries = 1;
            while let Err(error) = self.read().await {
                let passes = matches!(
                    error,
                    StoreError::Busy | StoreError::Unknown | StoreError::Disk(_)
                );
                if !passes || tries >= TRIES {
                    // It says so in the log.
                    drop(refused(&error));
                    return Err(BrokenOff("the log cannot be read"));
                }
                tries += 1;
                self.wait(TRY_AFTER).await?;
            }
        }
    }

    async fn wait(&mut self, pause: Duration) -> Result<(), BrokenOff> {
        let mut stopping = self.export.stopping.clone();
        tokio::select! {
            biased;
            // A dropped sender means the same.
            _ = stopping.wait_for(|stopping| *stopping) => Err(BrokenOff("the server stops")),
            () = tokio::time::sleep(pause) => Ok(()),
        }
    }

    /// Writes the next page.
    async fn read(&mut self) -> Result<(), StoreError> {
        let began = Instant::now();
        let (tenant, query) = (self.export.tenant, &self.export.query);
        let asked = self.export.store.try_ask(|s| s.log(tenant, query.clone()));
        let page: LogPage = asked.await?;
        self.learn(&page.rows).await?;
        for row in &page.rows {
            let cells = self.cells(row);
            self.export.format.line(&mut self.out, cells);
        }
        self.over = page.older.is_none();
        self.export.query.from = page.older.map(LogCursor::OlderThan);
        self.pause = began.elapsed().max(PAUSE_MIN);
        Ok(())
    }

    /// Reads the names of webhooks that are missing, each once.
    async fn learn(&mut self, rows: &[LogRow]) -> Result<(), StoreError> {
        let tenant = self.export.tenant;
        if self.webhooks.len() > PAGE_ROWS_MAX {
            self.webhooks.clear();
        }
        for id in rows.iter().map(|row| row.row.id.webhook) {
            if !self.webhooks.contains_key(&id) {
                let asked = self.export.store.try_ask(|store| store.webhook(tenant, id));
                let found = asked.await?;
                let name = (self.export.names.webhook)(id, found.as_ref());
                self.webhooks.insert(id, name);
            }
        }
        Ok(())
    }

    fn cells(&self, found: &LogRow) -> [Value; COLUMNS.len()] {
        let row = &found.row;
        let latest = row.latest.as_ref();
        let cause = match row.state {
            DeliveryState::Cancelled(cause) => Some(cause.words()),
            DeliveryState::Pending | DeliveryState::Delivered | DeliveryState::Failed => None,
        };
        let moment = |at: Option<Timestamp>| json!(at.map(|at| at.to_string()));
        let webhook = self.webhooks.get(&row.id.webhook).cloned();
        [
            json!((self.export.names.delivery)(row.id)),
            webhook.unwrap_or_default(),
            json!(found.target_url),
            json!(row.key),
            json!(row.action_type),
            json!(row.event),
            json!(found.is_test),
            json!(row.status().as_str()),
            json!(cause),
            json!(row.attempts),
            moment(Some(row.accepted_at)),
            moment(row.latest_at),
            moment(row.due_at),
            moment(row.ended_at),
            json!(latest.and_then(Outcome::status)),
            json!(latest.map(Outcome::words)),
        ]
    }
}

type NextPiece =
    Pin<Box<dyn Future<Output = Result<Option<(Bytes, RunningExport)>, BrokenOff>> + Send>>;

/// The file as a response body. A piece is made when the connection takes it.
struct ExportBody(Option<NextPiece>);

impl http_body::Body for ExportBody {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let Some(next) = self.0.as_mut() else {
            return Poll::Ready(None);
        };
        let Poll::Ready(piece) = next.as_mut().poll(context) else {
            return Poll::Pending;
        };
        let (frame, next): (_, Option<NextPiece>) = match piece {
            Ok(Some((bytes, rest))) => {
                let frame = Some(Ok(Frame::data(bytes)));
                (frame, Some(Box::pin(rest.next())))
            }
            Ok(None) => (None, None),
            Err(broken) => {
                tracing::warn!("{broken}");
                (Some(Err(broken)), None)
            }
        };
        self.0 = next;
        Poll::Ready(frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(text: &str) -> String {
        let mut out = String::new();
        put_cell(&mut out, text);
        out
    }

    #[test]
    fn what_a_spreadsheet_would_compute_is_text() {
        for (text, wanted) in [
            ("=1+1", "'=1+1"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("＝1", "'＝1"),
            (" =1", "\" '=1\""),
            ("\t=1", "\"'\t'=1\""),
            ("\rx", "\"'\rx\""),
            // Where programs read semicolons as ends of cells, or quotes.
            ("a;=1", "\"a;'=1\""),
            ("a\n=1", "\"a\n'=1\""),
            ("\"=1", "\"\"\"'=1\""),
            ("a\0b", "ab"),
        ] {
            assert_eq!(cell(text), wanted, "{text:?}");
        }
    }

    #[test]
    fn what_is_harmless_stays_as_it_is() {
        for text in [
            "",
            "a-b",
            "2026-11-20T18:00:00.000Z",
            "https://a.test/?x=1",
            "ü",
        ] {
            assert_eq!(cell(text), text);
        }
        assert_eq!(cell("a, \"b\""), "\"a, \"\"b\"\"\"");
    }
}
