//! A delivery as a line of the log, for the page and for its live stream.

use std::collections::{BTreeMap, BTreeSet};

use askama::Template;
use model::delivery::DeliveryState;
use model::id::{DeliveryId, TenantId, WebhookId};
use model::limits::PAGE_ROWS_MAX;
use model::query::{DeliveryStatus, LogRow};
use model::refusal::Refusal;
use model::time::Timestamp;

use crate::dashboard::health::is_long_due;
use crate::dashboard::page_context::PageContext;
use crate::dashboard::text::TextExcerpt;
use crate::dashboard::view::{DisplayTime, HtmlFragment, Tone, status_words};
use crate::dialect::value::Dialect;

/// What a line needs beside its delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RowContext {
    /// The prefix of the tenant's paths.
    pub(super) path: String,
    /// Whether lines can be selected.
    pub(super) may_edit: bool,
    /// Whether the line names its webhook.
    pub(super) names_webhook: bool,
    pub(super) names: WebhookNames,
    pub(super) now: Timestamp,
}

/// The names of the webhooks of the lines, as far as they were read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct WebhookNames(BTreeMap<WebhookId, String>);

#[derive(Template)]
#[template(path = "log/row.html")]
struct LogRowView<'a> {
    around: &'a RowContext,
    id: DeliveryId,
    /// The state when it was selected: it may change before the form arrives.
    seen: String,
    accepted_at: DisplayTime,
    action_type: String,
    show: Option<String>,
    is_test: bool,
    webhook: String,
    target_url: String,
    status: &'static str,
    tone: Tone,
    words: String,
    attempts: u32,
    next: Option<DisplayTime>,
    is_due: bool,
    is_long_due: bool,
}

/// The most bytes of each text of a line: fifty lines fit on a page.
const NAME_ROOM: usize = 120;
const SHOW_ROOM: usize = 80;
const URL_ROOM: usize = 160;
const WORDS_ROOM: usize = 240;

impl WebhookNames {
    /// Reads the names that are missing, each once.
    pub(super) async fn learn(
        &mut self,
        lines: &[LogRow],
        tenant: TenantId,
        dialect: &Dialect,
        context: &PageContext,
    ) -> Result<(), Refusal> {
        let wanted: BTreeSet<WebhookId> = lines.iter().map(|line| line.row.id.webhook).collect();
        if self.0.len() > PAGE_ROWS_MAX {
            self.0.retain(|id, _| wanted.contains(id));
        }
        for id in wanted {
            if self.0.contains_key(&id) {
                continue;
            }
            let found = context.store.ask(|store| store.webhook(tenant, id)).await?;
            let name = found.and_then(|webhook| (dialect.dashboard.describe)(&webhook).name);
            let name = name.filter(|name| !name.trim().is_empty());
            let name = name.unwrap_or_else(|| plain(id));
            self.0.insert(id, TextExcerpt::line(&name, NAME_ROOM));
        }
        Ok(())
    }

    fn of(&self, id: WebhookId) -> String {
        self.0.get(&id).cloned().unwrap_or_else(|| plain(id))
    }
}

/// The label of a webhook without a name.
fn plain(id: WebhookId) -> String {
    format!("Webhook {id}")
}

pub(super) fn part(row: &LogRow, around: &RowContext) -> Result<HtmlFragment, Refusal> {
    let own = &row.row;
    let status = own.status();
    HtmlFragment::of(&LogRowView {
        around,
        id: own.id,
        seen: seen(status, own.attempts),
        accepted_at: DisplayTime(own.accepted_at),
        action_type: TextExcerpt::line(&own.action_type, NAME_ROOM),
        show: own
            .event
            .as_ref()
            .map(|slug| TextExcerpt::line(slug, SHOW_ROOM)),
        is_test: row.is_test,
        webhook: around.names.of(own.id.webhook),
        target_url: TextExcerpt::line(&row.target_url, URL_ROOM),
        status: status_words(status),
        tone: Tone::of(status),
        words: TextExcerpt::line(&words(row), WORDS_ROOM),
        attempts: own.attempts,
        next: own.due_at.map(DisplayTime),
        is_long_due: own.due_at.is_some_and(|at| is_long_due(at, around.now)),
        is_due: own.due_at.is_some_and(|at| at <= around.now),
    })
}

/// A token of the state that a user saw when deciding about a delivery.
pub(super) fn seen(status: DeliveryStatus, attempts: u32) -> String {
    format!("{}.{attempts}", status.as_str())
}

/// The state, in a sentence.
fn words(row: &LogRow) -> String {
    let latest = row.row.latest.as_ref();
    match row.row.state {
        DeliveryState::Cancelled(cause) => cause.words().to_owned(),
        DeliveryState::Pending | DeliveryState::Delivered | DeliveryState::Failed => latest
            .map_or_else(
                || "Not tried yet.".to_owned(),
                model::attempt::Outcome::words,
            ),
    }
}
