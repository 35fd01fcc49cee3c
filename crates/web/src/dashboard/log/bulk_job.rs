//! Bulk jobs: first how many deliveries of a webhook one is about, then the job itself, whose
//! progress has a page of its own. The store takes the steps.

use askama::Template;
use model::dashboard::{BoundedCount, BulkJob, BulkJobKind, NewBulkJob};
use model::id::{BulkJobId, TenantId, WebhookId};
use model::users::Role;
use model::webhook::Webhook;

use super::names::{kind_words, name_of, off};
use crate::dashboard::layout::{Shell, Tab, path_of};
use crate::dashboard::live::{self, Feed, FeedItem, FeedUpdate, NewsFuture};
use crate::dashboard::page::{PageAccess, PageRoute, get, post};
use crate::dashboard::page_context::PageContext;
use crate::dashboard::response::{PageError, PageResponse, go_to, page};
use crate::dashboard::session::CSRF_FIELD;
use crate::dashboard::view::{DisplayTime, HtmlFragment};
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
    path: String,
    webhook: WebhookId,
    heading: &'static str,
    progress: HtmlFragment,
    is_running: bool,
    live: String,
}

/// The progress, sent again whenever it changes.
#[derive(Template)]
#[template(path = "log/progress.html")]
struct BulkJobProgress<'a> {
    path: &'a str,
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
    let running = visit.ask(|s| s.running_bulk_jobs(number, id)).await?;
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
        webhook: webhook.id,
        what: kind,
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
        webhook: bulk_job.webhook,
        heading,
        progress: progress(&bulk_job, &path)?,
        is_running: bulk_job.ended_at.is_none(),
        live: format!("{path}/errands/{id}/live?mark={}", bulk_job.done),
        path,
    })
}

fn progress(bulk_job: &BulkJob, path: &str) -> Result<HtmlFragment, model::refusal::Refusal> {
    HtmlFragment::of(&BulkJobProgress {
        path,
        bulk_job,
        began_at: DisplayTime(bulk_job.began_at),
        ended_at: bulk_job.ended_at.map(DisplayTime),
        most: bulk_job.expected.max(bulk_job.done).max(1),
        words: match bulk_job.what {
            BulkJobKind::ReplayUndelivered => "replayed",
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
