//! Replaying all that a filter of the log shows: first how many of each status those are, then the
//! bulk job.

use askama::Template;
use http::StatusCode;
use model::dashboard::{BoundedCount, BulkJobKind, NewBulkJob, StatusCounts};
use model::delivery_filter::DeliveryFilter;
use model::id::WebhookId;
use model::limits::BULK_JOBS_RUNNING_MAX;
use model::query::DeliveryStatus;
use model::users::Role;
use model::webhook::Webhook;

use super::filter::{LogFilter, NAMES};
use super::names::{filter_facts, name_of, off};
use crate::dashboard::layout::{Shell, Tab, path_of};
use crate::dashboard::page::{PageAccess, PageRoute, get, post};
use crate::dashboard::response::{PageError, PageResponse, go_to, page_with};
use crate::dashboard::session::CSRF_FIELD;
use crate::dashboard::view::{DisplayTime, status_words};
use crate::dashboard::visit::Visit;
use crate::transport::query::Query;

/// A status is taken if its box, named by this and the status, is checked.
const TAKE: &str = "take_";

#[derive(Template)]
#[template(path = "log/replay.html")]
struct ReplayPage {
    shell: Shell,
    here: String,
    /// The log with its filter.
    log: String,
    /// The webhook's name and id, if it is about one.
    webhook: Option<(String, WebhookId)>,
    off: Option<(DisplayTime, &'static str)>,
    facts: Vec<(&'static str, String)>,
    /// The filter as the form sends it again.
    fields: Vec<(&'static str, String)>,
    choices: Vec<StatusChoice>,
    asks_pending: bool,
    fault: Option<String>,
    path: String,
}

/// A status that can be replayed.
struct StatusChoice {
    status: DeliveryStatus,
    words: &'static str,
    count: BoundedCount,
    checked: bool,
}

pub(super) fn routes() -> Vec<PageRoute> {
    let edit = PageAccess::Role(Role::Edit);
    let (all, one) = (
        "/t/{tenant}/replay",
        "/t/{tenant}/webhooks/{webhook}/replay",
    );
    vec![
        get("replay_ask", all, edit, ask),
        post("replay", all, edit, begin),
        get("replay_webhook_ask", one, edit, ask),
        post("replay_webhook", one, edit, begin),
    ]
}

/// What a replay is about.
struct ReplaySubject {
    webhook: Option<Webhook>,
    filter: LogFilter,
    counts: StatusCounts,
}

impl ReplaySubject {
    async fn of(visit: &Visit, query: &Query) -> Result<Self, PageError> {
        let tenant = visit.tenant()?.id;
        let webhook = match visit.param("webhook") {
            "" => None,
            _ => {
                let id = WebhookId(visit.id("webhook")?);
                let found = visit.ask(|store| store.webhook(tenant, id)).await?;
                Some(found.ok_or(PageError::NotFound)?)
            }
        };
        let filter = LogFilter::of(query);
        let mut counts = Vec::new();
        if filter.faults.is_empty() {
            let (of, meant) = (webhook.as_ref().map(|found| found.id), filter.replayed());
            let now = visit.now;
            let counted = visit.ask(|s| s.count_matching(tenant, of, meant.clone(), now));
            counts = counted.await?;
        }
        Ok(Self {
            webhook,
            filter,
            counts,
        })
    }

    fn log(&self, path: &str) -> String {
        let link = self.filter.link();
        match &self.webhook {
            Some(webhook) => format!("{path}/webhooks/{}/log?{link}", webhook.id),
            None => format!("{path}/log?{link}"),
        }
    }

    /// What arrived is sent again only if it was filtered for, or chosen.
    fn is_usual(&self, status: DeliveryStatus) -> bool {
        self.filter.is(&status) || DeliveryFilter::UNDELIVERED.contains(&status)
    }
}

async fn ask(visit: Visit) -> Result<PageResponse, PageError> {
    visit.query.only(&NAMES)?;
    let subject = ReplaySubject::of(&visit, &visit.query).await?;
    show(&visit, &subject, None)
}

async fn begin(visit: Visit) -> Result<PageResponse, PageError> {
    let boxes = DeliveryFilter::REPLAYED.map(|status| format!("{TAKE}{}", status.as_str()));
    let mut known = vec![CSRF_FIELD];
    known.extend(NAMES);
    known.extend(boxes.iter().map(String::as_str));
    visit.form.only(&known)?;
    let subject = ReplaySubject::of(&visit, &visit.form).await?;
    let is_off = subject.webhook.as_ref().is_some_and(|one| !one.enabled());
    if !subject.filter.faults.is_empty() || is_off {
        return show(&visit, &subject, None);
    }
    let named = DeliveryFilter::REPLAYED.iter().zip(&boxes);
    let named = named.filter(|(_, name)| visit.form.get(name).is_some());
    let mut filter = subject.filter.replayed();
    let chosen: Vec<DeliveryStatus> = named.map(|(status, _)| *status).collect();
    filter.statuses.retain(|status| chosen.contains(status));
    if filter.statuses.is_empty() {
        let words = "Choose at least one status.".to_owned();
        return show(&visit, &subject, Some(words));
    }
    let counts = subject.counts.iter();
    let counts = counts.filter(|(status, _)| chosen.contains(status));
    let tenant = visit.tenant()?;
    let new = NewBulkJob {
        tenant: tenant.id,
        webhook: subject.webhook.as_ref().map(|webhook| webhook.id),
        what: BulkJobKind::ReplayMatching,
        filter: Some(filter),
        expected: counts.map(|(_, count)| count.count).sum(),
        actor: visit.actor(),
    };
    let number = tenant.id;
    let running = visit.ask(|s| s.running_bulk_jobs(number, None)).await?;
    if running.len() >= BULK_JOBS_RUNNING_MAX {
        let words = format!("{BULK_JOBS_RUNNING_MAX} bulk jobs are under way. Wait, or stop one.");
        return show(&visit, &subject, Some(words));
    }
    let begun = visit.ask(|s| s.start_bulk_job(new.clone(), visit.now));
    let bulk_job = begun.await?;
    Ok(go_to(&format!(
        "{}/errands/{}",
        path_of(tenant),
        bulk_job.id
    )))
}

fn show(
    visit: &Visit,
    subject: &ReplaySubject,
    fault: Option<String>,
) -> Result<PageResponse, PageError> {
    let path = path_of(visit.tenant()?);
    let log = subject.log(&path);
    if !subject.filter.faults.is_empty() {
        // The log says what is wrong with its filter.
        return Ok(go_to(&log));
    }
    let webhook = match &subject.webhook {
        Some(webhook) => Some((name_of(visit, webhook)?, webhook.id)),
        None => None,
    };
    let disabled = subject.webhook.as_ref().and_then(|found| found.disabled);
    let choices = subject.counts.iter().map(|(status, count)| StatusChoice {
        status: *status,
        words: status_words(*status),
        count: *count,
        checked: subject.is_usual(*status),
    });
    let is_there = |choice: &StatusChoice| choice.count.count > 0 || choice.count.more;
    let fields = subject.filter.fields().into_iter();
    let status = match fault {
        None => StatusCode::OK,
        Some(_) => StatusCode::UNPROCESSABLE_ENTITY,
    };
    page_with(
        status,
        &ReplayPage {
            shell: Shell::of(visit, Tab::Log, "Replay what the filter shows"),
            here: visit.path.clone(),
            log,
            webhook,
            off: disabled.map(off),
            facts: filter_facts(&subject.filter.replayed()),
            fields: fields
                .map(|(name, value)| (name, value.to_owned()))
                .collect(),
            choices: choices.filter(is_there).collect(),
            asks_pending: subject.filter.is(&DeliveryStatus::Pending),
            fault,
            path,
        },
    )
}
