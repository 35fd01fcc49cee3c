//! The webhooks of a tenant: what each is for, its health, its last 24 hours and its latest call.
//! Searched, and paged from the newest.

use std::collections::BTreeMap;

use askama::Template;
use model::dashboard::{WebhookHealth, WebhookSearch};
use model::id::WebhookId;
use model::target;
use model::users::Role;
use model::webhook::Webhook;

use super::health::{self, HistoryBar, LastCall, WebhookStatus};
use super::layout::{Shell, Tab, path_of};
use super::page::{PageAccess, PageRoute, get};
use super::response::{PageError, PageResponse, page};
use super::view;
use super::visit::Visit;
use crate::dialect::value::Dialect;

/// The webhooks of one page: with a bar each it stays below 100 KiB.
const ROWS_MAX: usize = 25;

/// The most characters of a name, a target URL or an outcome in a list; the webhook's own page has
/// all.
const SHOWN_CHARS_MAX: usize = 160;

#[derive(Template)]
#[template(path = "overview.html")]
struct OverviewPage {
    shell: Shell,
    path: String,
    platform: &'static str,
    rows: Vec<WebhookLine>,
    text: String,
    /// This is a search, or not the first page.
    is_part: bool,
    older: Option<String>,
}

struct WebhookLine {
    id: WebhookId,
    name: String,
    target_url: String,
    wants: String,
    health: WebhookStatus,
    bar: HistoryBar,
    last: Option<LastCall>,
}

pub(super) fn routes() -> Vec<PageRoute> {
    let needs = PageAccess::Role(Role::Look);
    vec![get("overview", "/t/{tenant}", needs, show)]
}

async fn show(visit: Visit) -> Result<PageResponse, PageError> {
    let tenant = visit.tenant()?.clone();
    let dialect = visit.dialect()?;
    let text = view::search_text(visit.query.get("q"));
    let before = visit.query.get("before").and_then(|id| id.parse().ok());
    let search = WebhookSearch {
        text: text.clone(),
        older_than: before.map(WebhookId),
        limit: ROWS_MAX,
    };
    let found = visit
        .ask(|store| store.find_webhooks(tenant.id, search.clone()))
        .await?;
    let ids: Vec<WebhookId> = found.webhooks.iter().map(|webhook| webhook.id).collect();
    let since = health::since(visit.now);
    let standings = visit
        .ask(|store| store.standings(tenant.id, ids.clone(), since))
        .await?;
    let standings: BTreeMap<WebhookId, WebhookHealth> = standings
        .into_iter()
        .map(|health| (health.webhook, health))
        .collect();
    let row = |webhook: &Webhook| {
        let health = standings.get(&webhook.id);
        row(&visit, &dialect, webhook, health)
    };
    let path = path_of(&tenant);
    let shown = OverviewPage {
        shell: Shell::of(&visit, Tab::Webhooks, "Webhooks"),
        platform: dialect.dashboard.platform,
        rows: found.webhooks.iter().map(row).collect(),
        is_part: !text.is_empty() || before.is_some(),
        older: found
            .older
            .map(|id| format!("{path}?q={}&before={id}", view::encoded(&text))),
        text,
        path,
    };
    page(&shown)
}

fn row(
    visit: &Visit,
    dialect: &Dialect,
    webhook: &Webhook,
    health: Option<&WebhookHealth>,
) -> WebhookLine {
    let described = (dialect.dashboard.describe)(webhook);
    let target_url = target::masked(&webhook.target_url);
    let name = described.name.filter(|name| !name.trim().is_empty());
    let last = health.and_then(|health| health.latest.as_ref());
    WebhookLine {
        id: webhook.id,
        name: view::short(
            &name.unwrap_or_else(|| format!("Webhook {}", webhook.id)),
            SHOWN_CHARS_MAX,
        ),
        target_url: view::short(&target_url, SHOWN_CHARS_MAX),
        wants: view::short(&described.wants, SHOWN_CHARS_MAX),
        health: WebhookStatus::of(webhook, health, visit.now),
        bar: HistoryBar::of(
            health.map_or(&[], |health| health.hours.as_slice()),
            visit.now,
        ),
        last: last.map(|latest| {
            let last = LastCall::of(latest);
            LastCall {
                words: view::short(&last.words, SHOWN_CHARS_MAX),
                ..last
            }
        }),
    }
}
