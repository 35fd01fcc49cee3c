//! Failing now: the webhooks of which every call fails, of all tenants that the user may see. Those
//! that have failed for longest come first.

use askama::Template;
use model::dashboard::{FailingQuery, FailingWebhook};
use model::id::{TenantId, WebhookId};
use model::target;
use model::time::Timestamp;
use model::users::User;

use super::health::{LastCall, WaitingDeliveries};
use super::layout::{Shell, Tab, path_of};
use super::page::{PageAccess, PageRoute, get};
use super::response::{PageError, PageResponse, page};
use super::view::{self, DisplayTime};
use super::visit::Visit;
use super::webhook::name_of;

/// Webhooks of one page.
const ROWS_MAX: usize = 50;

/// The most characters of a name, a target URL or an outcome.
const SHOWN_CHARS_MAX: usize = 160;

#[derive(Template)]
#[template(path = "failing.html")]
struct FailingView {
    shell: Shell,
    rows: Vec<FailingLine>,
    /// The tenant that the list is limited to.
    only: Option<String>,
    is_first: bool,
    more: Option<String>,
    /// The first page of the same list.
    first: String,
}

struct FailingLine {
    id: WebhookId,
    name: String,
    target_url: String,
    tenant: String,
    tenant_path: String,
    since: DisplayTime,
    waiting: Option<WaitingDeliveries>,
    last: LastCall,
}

pub(super) fn routes() -> Vec<PageRoute> {
    vec![get("failing", "/failing", PageAccess::User, list)]
}

/// Those whose webhooks the user may see; `None` is all.
fn among(user: &User, only: Option<TenantId>) -> Option<Vec<TenantId>> {
    let may_see = |tenant: &TenantId| user.administrator || user.roles.contains_key(tenant);
    match only {
        Some(only) => Some(Some(only).into_iter().filter(may_see).collect()),
        None => (!user.administrator).then(|| user.roles.keys().copied().collect()),
    }
}

async fn list(visit: Visit) -> Result<PageResponse, PageError> {
    let user = visit.user()?.clone();
    let tenant = visit.query.get("tenant").and_then(|id| id.parse().ok());
    let tenant = tenant.map(TenantId);
    let after = visit.query.get("after").and_then(place);
    let query = FailingQuery {
        among: among(&user, tenant),
        after,
        limit: ROWS_MAX,
    };
    let found = visit.ask(|store| store.failing(query.clone())).await?;
    let first = match tenant {
        Some(tenant) => format!("/failing?tenant={tenant}"),
        None => "/failing".to_owned(),
    };
    let joint = if tenant.is_some() { '&' } else { '?' };
    let shown = FailingView {
        shell: Shell::of(&visit, Tab::Failing, "Failing now"),
        rows: found.rows.iter().map(|row| line(&visit, row)).collect(),
        only: match tenant {
            Some(_) => Some(
                found
                    .rows
                    .first()
                    .map_or_else(|| "this tenant".to_owned(), |row| row.tenant.name.clone()),
            ),
            None => None,
        },
        is_first: after.is_none(),
        more: found
            .after
            .map(|(since, webhook)| format!("{first}{joint}after={}.{webhook}", since.as_millis())),
        first,
    };
    page(&shown)
}

/// A place in the list, as it stands in a link.
fn place(text: &str) -> Option<(Timestamp, WebhookId)> {
    let (since, webhook) = text.split_once('.')?;
    let since = Timestamp::from_millis(since.parse().ok()?);
    Some((since, WebhookId(webhook.parse().ok()?)))
}

fn line(visit: &Visit, row: &FailingWebhook) -> FailingLine {
    let dialect = visit.context.dialects.named(&row.tenant.dialect);
    let name = dialect.and_then(|dialect| (dialect.dashboard.describe)(&row.webhook).name);
    let last = LastCall::of(&row.latest);
    FailingLine {
        id: row.webhook.id,
        name: view::short(&name_of(name, &row.webhook), SHOWN_CHARS_MAX),
        target_url: view::short(&target::masked(&row.webhook.target_url), SHOWN_CHARS_MAX),
        tenant: view::short(&row.tenant.name, SHOWN_CHARS_MAX),
        tenant_path: path_of(&row.tenant),
        since: DisplayTime(row.failing_since),
        waiting: WaitingDeliveries::new(row.waiting, None),
        last: LastCall {
            words: view::short(&last.words, SHOWN_CHARS_MAX),
            ..last
        },
    }
}
