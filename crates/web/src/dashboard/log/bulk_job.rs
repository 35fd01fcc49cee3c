//! Bulk jobs: first how many deliveries of a webhook one is about, then the job itself, whose
//! progress has a page of its own. The store takes the steps.

use askama::Template;
use model::dashboard::{BoundedCount, BulkJob, BulkJobKind, NewBulkJob};
use model::id::{BulkJobId, TenantId, WebhookId};
use model::users::Role;
use model::webhook::Webhook;

use super::names::{filter_facts, kind_words, name_of, off};
use crate::dashboard::layout::{Shell, Tab, path_of};
use crate::dashboard::live::{self, Feed, FeedItem, FeedUpdate, NewsFuture};
use crate::dashboard::page::{PageAccess, PageRoute, get, post};
use crate::dashboard::page_context::PageContext;
use crate::dashboard::response::{PageError, PageResponse, go_to, page};
use crate::dashboard::session::CSRF_FIELD;
use crate::dashboard::view::{DisplayTime, HtmlFragment, status_words};
use crate::dashboard::visit::Visit;
use model::time::Timestamp;

/// The confirmation: how many deliveries the job is about.
#[derive(Template)]
#[template(path = "log/bulk_job_confirm.html")]
struct BulkJobConfirmPage {
    shell: Shell,
    path: String,
    here: String,
    webhook: WebhookId,
    name: String,
    kind: BulkJobKind,
    heading: &'static str,
    count: BoundedCount,
    off: Option<(DisplayTime, &'static str)>,
    running: Option<BulkJobId>,
}

#[derive(Template)]
#[template(path = "log/bulk_job.html")]
struct BulkJobPage {
    shell: Shell,
    /// Where it is shown.
    here: String,
    /// The log of its webhook, or of all.
    log: String,
    heading: &'static str,
    /// What its filter asks for.
    facts: Vec<(&'static str, String)>,
    progress: HtmlFragment,
    is_running: bool,
    may_edit: bool,
    live: String,
}

/// The progress, sent again whenever it changes.
#[derive(Template)]
#[template(path = "log/progress.html")]
struct BulkJobProgress<'a> {
    log: String,
    bulk_job: &'a BulkJob,
    began_at: DisplayTime,
    ended_at: Option<DisplayTime>,
    /// Never less than what is done, so that the bar does not overflow.
    most: u64,
    words: &'static str,
}

pub(super) fn routes() -> Vec<PageRoute> {
    let (look, edit) = (PageAccess::Role(Role::Look), PageAccess::Role(Role::Edit));
    let (retry, stop) = (
        "/t/{tenant}/webhooks/{webhook}/retry",
        "/t/{tenant}/webhooks/{webhook}/stop",
    );
    vec![
        get("retry_failed_ask", retry, edit, ask_retry),
        post("retry_failed", retry, edit, begin_retry),
        get("stop_retrying_ask", stop, edit, ask_stop),
        post("stop_retrying", stop, edit, begin_stop),
        get("bulk_job", "/t/{tenant}/errands/{errand}", look, show),
        post(
            "stop_bulk_job",
            "/t/{tenant}/errands/{errand}/stop",
            edit,
            end_early,
        ),
        get(
            "bulk_job_live",
            "/t/{tenant}/errands/{errand}/live",
            look,
            follow,
        ),
    ]
}

async fn ask_retry(visit: Visit) -> Result<PageResponse, PageError> {
    ask(&visit, BulkJobKind::ReplayUndelivered).await
}

async fn ask_stop(visit: Visit) -> Result<PageResponse, PageError> {
    ask(&visit, BulkJobKind::CancelPending).await
}

async fn begin_retry(visit: Visit) -> Result<PageResponse, PageError> {
    begin(&visit, BulkJobKind::ReplayUndelivered).await
}

async fn begin_stop(visit: Visit) -> Result<PageResponse, PageError> {
    begin(&visit, BulkJobKind::CancelPending).await
}

async fn webhook(visit: &Visit) -> Result<Webhook, PageError> {
    let (tenant, id) = (visit.tenant()?.id, WebhookId(visit.id("webhook")?));
    let found = visit.ask(|store| store.webhook(tenant, id)).await?;
    found.ok_or(PageError::NotFound)
}

async fn count(
    visit: &Visit,
    webhook: WebhookId,
    kind: BulkJobKind,
) -> Result<BoundedCount, PageError> {
    let (tenant, now) = (visit.tenant()?.id, visit.now);
    let counted = visit.ask(|s| s.count_bulk_job(tenant, webhook, kind, now));
    Ok(counted.await?)
}

async fn ask(visit: &Visit, kind: BulkJobKind) -> Result<PageResponse, PageError> {
    // A bulk job is about all deliveries: a query that narrows it is refused.
    visit.query.only(&[])?;
    let webhook = webhook(visit).await?;
    let (tenant, id) = (visit.tenant()?, webhook.id);
    let number = tenant.id;
    let running = visit.ask(|s| s.running_bulk_jobs(number, Some(id))).await?;
    let running = running.into_iter().find(|bulk_job| bulk_job.what == kind);
    page(&BulkJobConfirmPage {
        shell: Shell::of(visit, Tab::Log, kind_words(kind)),
        path: path_of(tenant),
        here: visit.path.clone(),
        webhook: id,
        name: name_of(visit, &webhook)?,
        kind,
        heading: kind_words(kind),
        count: count(visit, id, kind).await?,
        off: webhook.disabled.map(off),
        running: running.map(|bulk_job| bulk_job.id),
    })
}

async fn begin(visit: &Visit, kind: BulkJobKind) -> Result<PageResponse, PageError> {
    visit.form.only(&[CSRF_FIELD])?;
    let webhook = webhook(visit).await?;
    let tenant = visit.tenant()?;
    let expected = count(visit, webhook.id, kind).await?.count;
    let path = path_of(tenant);
    if !webhook.enabled() || expected == 0 {
        let said = match webhook.enabled() {
            true => "nothing",
            false => "off",
        };
        return Ok(go_to(&format!(
            "{path}/webhooks/{}/log?said={said}",
            webhook.id
        )));
    }
    let new = NewBulkJob {
        tenant: tenant.id,
        webhook: Some(webhook.id),
        what: kind,
        filter: None,
        expected,
        actor: visit.actor(),
    };
    let begun = visit.ask(|s| s.start_bulk_job(new.clone(), visit.now));
    let bulk_job = begun.await?;
    Ok(go_to(&format!("{path}/errands/{}", bulk_job.id)))
}

async fn show(visit: Visit) -> Result<PageResponse, PageError> {
    let (tenant, id) = (visit.tenant()?, BulkJobId(visit.id("errand")?));
    let number = tenant.id;
    let bulk_job = visit.ask(|store| store.bulk_job(number, id)).await?;
    let bulk_job = bulk_job.ok_or(PageError::NotFound)?;
    let path = path_of(tenant);
    let heading = kind_words(bulk_job.what);
    page(&BulkJobPage {
        shell: Shell::of(&visit, Tab::Log, heading),
        here: format!("{path}/errands/{id}"),
        log: log_of(&bulk_job, &path),
        heading,
        facts: facts(&bulk_job),
        progress: progress(&bulk_job, &path)?,
        is_running: bulk_job.ended_at.is_none(),
        may_edit: visit.may(Role::Edit),
        live: format!("{path}/errands/{id}/live?mark={}", bulk_job.done),
    })
}

/// Ends it before its time; one that has ended meanwhile stays as it is.
async fn end_early(visit: Visit) -> Result<PageResponse, PageError> {
    visit.form.only(&[CSRF_FIELD])?;
    let (tenant, id) = (visit.tenant()?, BulkJobId(visit.id("errand")?));
    let (number, actor, now) = (tenant.id, visit.actor(), visit.now);
    let stopped = visit.ask(|s| s.stop_bulk_job(number, id, actor.clone(), now));
    stopped.await?.ok_or(PageError::NotFound)?;
    Ok(go_to(&format!("{}/errands/{id}", path_of(tenant))))
}

fn log_of(bulk_job: &BulkJob, path: &str) -> String {
    match bulk_job.webhook {
        Some(webhook) => format!("{path}/webhooks/{webhook}/log"),
        None => format!("{path}/log"),
    }
}

fn facts(bulk_job: &BulkJob) -> Vec<(&'static str, String)> {
    let Some(filter) = &bulk_job.filter else {
        return Vec::new();
    };
    let statuses = filter.statuses.iter().map(|status| status_words(*status));
    let mut facts = vec![("Status", statuses.collect::<Vec<_>>().join(", "))];
    facts.extend(filter_facts(filter));
    facts
}

fn progress(bulk_job: &BulkJob, path: &str) -> Result<HtmlFragment, model::refusal::Refusal> {
    HtmlFragment::of(&BulkJobProgress {
        log: log_of(bulk_job, path),
        bulk_job,
        began_at: DisplayTime(bulk_job.began_at),
        ended_at: bulk_job.ended_at.map(DisplayTime),
        most: bulk_job.expected.max(bulk_job.done).max(1),
        words: match bulk_job.what {
            BulkJobKind::ReplayUndelivered | BulkJobKind::ReplayMatching => "replayed",
            BulkJobKind::CancelPending => "stopped",
        },
    })
}

async fn follow(visit: Visit) -> Result<PageResponse, PageError> {
    let tenant = visit.tenant()?;
    let feed = BulkJobFeed {
        tenant: tenant.id,
        path: path_of(tenant),
        id: BulkJobId(visit.id("errand")?),
        sent_mark: live::mark_of(&visit).to_owned(),
    };
    live::follow(&visit, feed)
}

struct BulkJobFeed {
    tenant: TenantId,
    path: String,
    id: BulkJobId,
    /// How many were done when the latest fragment was sent.
    sent_mark: String,
}

impl Feed for BulkJobFeed {
    fn look<'a>(&'a mut self, context: &'a PageContext, _now: Timestamp) -> NewsFuture<'a> {
        Box::pin(async move {
            let (tenant, id) = (self.tenant, self.id);
            let found = context
                .store
                .ask(|store| store.bulk_job(tenant, id))
                .await?;
            let Some(bulk_job) = found else {
                return Ok(FeedUpdate {
                    over: true,
                    ..FeedUpdate::default()
                });
            };
            let (mark, over) = (bulk_job.done.to_string(), bulk_job.ended_at.is_some());
            let mut news = FeedUpdate {
                over,
                ..FeedUpdate::default()
            };
            if over || mark != self.sent_mark {
                let part = progress(&bulk_job, &self.path)?;
                news.tidings.push(FeedItem::Put(part));
            }
            self.sent_mark.clone_from(&mark);
            news.mark = mark;
            Ok(news)
        })
    }
}
