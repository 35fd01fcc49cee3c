//! The audit log of a tenant, or of one of its webhooks, newest first.

use std::collections::{BTreeMap, BTreeSet};

use askama::Template;
use model::dashboard::{AuditQuery, AuditRow};
use model::id::WebhookId;
use model::users::Role;

use super::audit_text::{self, AuditSentence};
use crate::dashboard::layout::{Shell, Tab, path_of};
use crate::dashboard::page::{PageAccess, PageRoute, get};
use crate::dashboard::response::{PageError, PageResponse, page};
use crate::dashboard::visit::Visit;

/// Entries on one page: with a dozen facts each it stays below 100 KiB.
const ENTRIES_MAX: usize = 20;

#[derive(Template)]
#[template(path = "settings/audit.html")]
struct AuditPage {
    shell: Shell,
    path: String,
    webhook: String,
    is_part: bool,
    entries: Vec<AuditSentence>,
    older: Option<String>,
}

pub(super) fn routes() -> Vec<PageRoute> {
    let needs = PageAccess::Role(Role::Look);
    vec![get("audit", "/t/{tenant}/settings/audit", needs, show)]
}

async fn show(visit: Visit) -> Result<PageResponse, PageError> {
    let path = path_of(visit.tenant()?);
    let number = |name: &str| visit.query.get(name).and_then(|id| id.trim().parse().ok());
    let (webhook, older_than): (Option<i64>, Option<i64>) = (number("webhook"), number("before"));
    let query = AuditQuery {
        webhook: webhook.map(WebhookId),
        older_than,
        limit: ENTRIES_MAX + 1,
    };
    let mut rows = page_of_log(&visit, query).await?;
    let has_more = rows.len() > ENTRIES_MAX;
    rows.truncate(ENTRIES_MAX);
    let last = rows.last().map(|row| row.number).filter(|_| has_more);
    let webhook = webhook.map(|id| id.to_string()).unwrap_or_default();
    let shown = AuditPage {
        shell: Shell::of(&visit, Tab::Settings, "Audit log"),
        entries: tell(&visit, &rows).await?,
        is_part: older_than.is_some() || !webhook.is_empty(),
        older: last
            .map(|number| format!("{path}/settings/audit?webhook={webhook}&before={number}")),
        webhook,
        path,
    };
    page(&shown)
}

/// The entries in words, with what their webhooks are called today.
pub(super) async fn tell(
    visit: &Visit,
    rows: &[AuditRow],
) -> Result<Vec<AuditSentence>, PageError> {
    let (tenant, dialect) = (visit.tenant()?.id, visit.dialect()?);
    let ids: BTreeSet<WebhookId> = rows.iter().filter_map(|row| row.entry.webhook).collect();
    let mut names = BTreeMap::new();
    for id in ids {
        let webhook = visit.ask(|store| store.webhook(tenant, id)).await?;
        let name = webhook.and_then(|own| (dialect.dashboard.describe)(&own).name);
        if let Some(name) = name.filter(|name| !name.trim().is_empty()) {
            names.insert(id, name);
        }
    }
    let sentence = |row: &AuditRow| {
        let name = row.entry.webhook.and_then(|id| names.get(&id));
        audit_text::sentence(row, name.map(String::as_str))
    };
    Ok(rows.iter().map(sentence).collect())
}

pub(super) async fn page_of_log(
    visit: &Visit,
    query: AuditQuery,
) -> Result<Vec<AuditRow>, PageError> {
    let tenant = visit.tenant()?.id;
    let asked = visit.ask(|store| store.audit_page(tenant, query.clone()));
    Ok(asked.await?)
}
