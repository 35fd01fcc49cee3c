//! The log of a tenant or of one webhook: keyset pages that stay put while new lines arrive,
//! filters that survive paging, and actions on the selected lines.

use askama::Template;
use http::StatusCode;
use model::dashboard::BulkJob;
use model::id::{DeliveryId, WebhookId};
use model::limits::{NOTIFICATION_KEY_BYTES_MAX, PAGE_ROWS_MAX};
use model::query::{DeliveryStatus, LogCursor, LogPage, LogQuery};
use model::target;
use model::tenant::Event;

use super::filter::LogFilter;
use super::names::{kind_words, name_of, off};
use super::row::{self, RowContext, WebhookNames};
use super::{follow, plan};
use crate::dashboard::layout::{Shell, Tab, path_of};
use crate::dashboard::page::{PageAccess, PageRoute, get};
use crate::dashboard::response::{PageError, PageResponse, go_to, page_with};
use crate::dashboard::text::TextExcerpt;
use crate::dashboard::view::{DisplayDuration, DisplayTime, HtmlFragment, status_words};
use crate::dashboard::visit::Visit;
use model::users::Role;

#[derive(Template)]
#[template(path = "log/list.html")]
struct LogListPage {
    shell: Shell,
    /// The webhook, if the log is one webhook's.
    webhook: Option<LogSubject>,
    around: RowContext,
    filter: LogFilter,
    statuses: Vec<(DeliveryStatus, &'static str)>,
    types: Vec<FilterChoice>,
    shows: Vec<FilterChoice>,
    /// The path of this page.
    here: String,
    /// The query of its filter, each parameter followed by `&`.
    link: String,
    /// The page with its filter and position, to come back to.
    back: String,
    /// The page that replays all of it, for whoever may.
    replay: Option<String>,
    /// What is under way, of the webhook or of the tenant.
    bulk_jobs: Vec<(BulkJob, &'static str)>,
    rows: Vec<HtmlFragment>,
    older: Option<DeliveryId>,
    newer: Option<DeliveryId>,
    /// The search stopped at its bound: up to which time, and where it goes on.
    looked: Option<(DisplayTime, String)>,
    is_first: bool,
    /// The path of the live stream, with the mark to start from.
    live: Option<String>,
    /// Something will happen soon, so that a page without scripts is worth reloading.
    is_moving: bool,
    kept: DisplayDuration,
}

/// A value of a filter, and its label.
pub(super) struct FilterChoice {
    pub(super) value: String,
    pub(super) label: String,
}

/// The webhook whose log it is.
struct LogSubject {
    id: WebhookId,
    name: String,
    target_url: String,
    is_deleted: bool,
    /// Why nothing is sent.
    off: Option<(DisplayTime, &'static str)>,
    rule: String,
}

/// Limits in bytes of the page.
const URL_ROOM: usize = 400;
const CHOICE_ROOM: usize = 80;

/// The most shows and action types that are offered; others can be typed.
const CHOICES_MAX: usize = 100;

/// Bulk jobs that are shown.
const BULK_JOBS_SHOWN: usize = 10;

/// A page is worth reloading for what is due within this time.
const SOON_MS: i64 = 60_000;

pub(super) fn routes() -> Vec<PageRoute> {
    let look = PageAccess::Role(Role::Look);
    vec![
        get("log", "/t/{tenant}/log", look, show),
        get("log_live", "/t/{tenant}/log/live", look, follow::follow_log),
        get(
            "webhook_log",
            "/t/{tenant}/webhooks/{webhook}/log",
            look,
            show_webhook,
        ),
        get(
            "webhook_log_live",
            "/t/{tenant}/webhooks/{webhook}/log/live",
            look,
            follow::follow_webhook,
        ),
    ]
}

async fn show(visit: Visit) -> Result<PageResponse, PageError> {
    list(visit, None).await
}

async fn show_webhook(visit: Visit) -> Result<PageResponse, PageError> {
    let id = WebhookId(visit.id("webhook")?);
    list(visit, Some(id)).await
}

async fn list(visit: Visit, webhook: Option<WebhookId>) -> Result<PageResponse, PageError> {
    let tenant = visit.tenant()?.id;
    let filter = LogFilter::of(&visit.query);
    if let Some(found) = search(&visit, &filter).await? {
        return Ok(found);
    }
    let from = from(&visit)?;
    let mut page = LogPage::default();
    if filter.faults.is_empty() {
        let ask = filter.ask(webhook, from);
        page = visit.ask(|s| s.log(tenant, ask.clone())).await?;
    }
    let here = visit.path.clone();
    let link = filter.link();
    let came_up = matches!(from, Some(LogCursor::NewerThan(_))) && page.newer.is_none();
    if came_up && page.searched_until.is_none() && page.rows.len() < PAGE_ROWS_MAX {
        // Paging back ends at the first page, which is always full.
        return Ok(go_to(&format!("{here}?{link}")));
    }
    let of = match webhook {
        Some(id) => Some(of(&visit, id).await?),
        None => None,
    };
    let status = match filter.faults.is_empty() {
        true => StatusCode::OK,
        false => StatusCode::UNPROCESSABLE_ENTITY,
    };
    page_with(status, &view(&visit, of, filter, from, page).await?)
}

/// Where the search leads: to a delivery by its id, to a notification by its key, or to what is
/// about a code. That stands in bodies, so it becomes the filter's text, which says how far it has
/// looked.
async fn search(visit: &Visit, filter: &LogFilter) -> Result<Option<PageResponse>, PageError> {
    let wanted = visit.query.get("find").unwrap_or_default().trim();
    if wanted.is_empty() {
        return Ok(None);
    }
    let (tenant, path) = (visit.tenant()?.id, path_of(visit.tenant()?));
    let names = visit.dialect()?.log_names;
    if let Some(id) = (names.read)(wanted) {
        let found = visit.ask(|store| store.log_rows(tenant, vec![id])).await?;
        if !found.is_empty() {
            return Ok(Some(go_to(&format!("{path}/deliveries/{id}"))));
        }
    }
    if wanted.len() <= NOTIFICATION_KEY_BYTES_MAX {
        let asked = visit.ask(|s| s.notification_by_key(tenant, wanted.to_owned()));
        if let Some(found) = asked.await? {
            return Ok(Some(go_to(&format!("{path}/notifications/{}", found.id))));
        }
    }
    let about = filter.clone().with_text((names.code_text)(wanted));
    Ok(Some(go_to(&format!("{}?{}", visit.path, about.link()))))
}

/// The position of the page.
fn from(visit: &Visit) -> Result<Option<LogCursor>, PageError> {
    let id = |name: &str| match visit.query.get(name) {
        None | Some("") => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|_| PageError::NotFound),
    };
    let older = id("older")?.map(LogCursor::OlderThan);
    Ok(older.or(id("newer")?.map(LogCursor::NewerThan)))
}

async fn view(
    visit: &Visit,
    webhook: Option<LogSubject>,
    filter: LogFilter,
    from: Option<LogCursor>,
    page: LogPage,
) -> Result<LogListPage, PageError> {
    let tenant = visit.tenant()?;
    let title = match &webhook {
        Some(of) => format!("Log of {}", of.name),
        None => "Log".to_owned(),
    };
    let mut names = WebhookNames::default();
    let dialect = visit.dialect()?;
    names
        .learn(&page.rows, tenant.id, &dialect, &visit.context)
        .await?;
    let around = RowContext {
        path: path_of(tenant),
        may_edit: visit.may(Role::Edit),
        names_webhook: webhook.is_none(),
        names,
        now: visit.now,
    };
    let rows = page.rows.iter().map(|line| row::part(line, &around));
    let rows = rows.collect::<Result<Vec<HtmlFragment>, _>>()?;
    let (here, link) = (visit.path.clone(), filter.link());
    let place = match from {
        None => String::new(),
        Some(LogCursor::OlderThan(id)) => format!("older={id}"),
        Some(LogCursor::NewerThan(id)) => format!("newer={id}"),
    };
    let newest = page.rows.first().map(|line| line.row.id);
    let goes_up = matches!(from, Some(LogCursor::NewerThan(_)));
    let looked = page
        .searched_until
        .and_then(|at| match (goes_up, page.older, page.newer) {
            (false, Some(id), _) => Some((DisplayTime(at), format!("{here}?{link}older={id}"))),
            (true, _, Some(id)) => Some((DisplayTime(at), format!("{here}?{link}newer={id}"))),
            (false, None, _) | (true, _, None) => None,
        });
    let soon = visit.now.plus_ms(SOON_MS);
    let mut due = page.rows.iter().filter_map(|line| line.row.due_at);
    let is_first = from.is_none() && filter.faults.is_empty();
    let mark = follow::mark(newest, visit.now);
    let bulk_jobs = bulk_jobs(visit, webhook.as_ref().map(|of| of.id)).await?;
    let replay = replay_path(visit, webhook.as_ref(), &link);
    let kept = visit.ask(|s| s.tenant_settings(tenant.id)).await?;
    let kept = kept.and_then(|settings| settings.retention_ms);
    Ok(LogListPage {
        shell: Shell::of(visit, Tab::Log, title),
        webhook,
        statuses: DeliveryStatus::ALL.map(|s| (s, status_words(s))).to_vec(),
        types: types(visit)?,
        shows: shows(visit).await?,
        back: format!("{here}?{link}{place}"),
        replay,
        bulk_jobs,
        rows,
        older: page.older,
        newer: page.newer,
        looked,
        is_first,
        live: is_first.then(|| format!("{here}/live?{link}mark={mark}")),
        is_moving: is_first && due.any(|at| at <= soon),
        kept: DisplayDuration(kept.map_or_else(|| visit.policy().map(|p| p.retention_ms), Ok)?),
        around,
        filter,
        here,
        link,
    })
}

fn types(visit: &Visit) -> Result<Vec<FilterChoice>, PageError> {
    let types = visit.dialect()?.dashboard.forms.action_types();
    let choice = |(value, label): (String, String)| FilterChoice {
        label: TextExcerpt::line(&label, CHOICE_ROOM),
        value,
    };
    let fits = |choice: &FilterChoice| choice.value.len() <= CHOICE_ROOM;
    let types = types.into_iter().map(choice);
    Ok(types.filter(fits).take(CHOICES_MAX).collect())
}

/// The tenant's shows, the next ones first as the store has them.
async fn shows(visit: &Visit) -> Result<Vec<FilterChoice>, PageError> {
    let tenant = visit.tenant()?.id;
    let events = visit.ask(|store| store.events(tenant)).await?;
    let choice = |event: Event| FilterChoice {
        label: TextExcerpt::line(&event.name, CHOICE_ROOM),
        value: event.slug,
    };
    let events = events.into_iter();
    let fits = |choice: &FilterChoice| choice.value.len() <= CHOICE_ROOM;
    Ok(events.map(choice).filter(fits).take(CHOICES_MAX).collect())
}

/// The webhook of the log. A deleted one is known by what it left in the log.
async fn of(visit: &Visit, id: WebhookId) -> Result<LogSubject, PageError> {
    let tenant = visit.tenant()?.id;
    let found = visit.ask(|store| store.webhook(tenant, id)).await?;
    let Some(webhook) = found else {
        // Whatever the filter: there is a page as long as any line is left.
        let any = LogQuery {
            webhook: Some(id),
            limit: 1,
            ..LogQuery::default()
        };
        let page = visit.ask(|s| s.log(tenant, any.clone())).await?;
        let left = page.rows.first().ok_or(PageError::NotFound)?;
        return Ok(LogSubject {
            id,
            name: format!("webhook {id}"),
            target_url: TextExcerpt::line(&left.target_url, URL_ROOM),
            is_deleted: true,
            off: None,
            rule: String::new(),
        });
    };
    let name = name_of(visit, &webhook)?;
    let limits = visit.ask(|s| s.call_limits(tenant, id)).await?;
    let policy = visit.policy()?;
    let limited = policy.limited(&limits);
    Ok(LogSubject {
        id,
        name,
        target_url: TextExcerpt::line(&target::masked(&webhook.target_url), URL_ROOM),
        is_deleted: false,
        off: webhook.disabled.map(off),
        rule: plan::rule(limited.as_ref().unwrap_or(policy), webhook.retries_max),
    })
}

/// What is under way and concerns the log that is shown.
async fn bulk_jobs(
    visit: &Visit,
    webhook: Option<WebhookId>,
) -> Result<Vec<(BulkJob, &'static str)>, PageError> {
    let tenant = visit.tenant()?.id;
    let mut running = visit.ask(|s| s.running_bulk_jobs(tenant, None)).await?;
    running.retain(|job| webhook.is_none() || job.webhook.is_none() || job.webhook == webhook);
    running.truncate(BULK_JOBS_SHOWN);
    let named = running.into_iter().map(|job| {
        let words = kind_words(job.what);
        (job, words)
    });
    Ok(named.collect())
}

/// The path of the page that replays what the log shows.
fn replay_path(visit: &Visit, webhook: Option<&LogSubject>, link: &str) -> Option<String> {
    let path = path_of(visit.tenant().ok()?);
    let may_send = webhook.is_none_or(|of| !of.is_deleted && of.off.is_none());
    (may_send && visit.may(Role::Edit)).then(|| match webhook {
        Some(of) => format!("{path}/webhooks/{}/replay?{link}", of.id),
        None => format!("{path}/replay?{link}"),
    })
}
