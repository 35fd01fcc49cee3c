//! What is done to all deliveries of a webhook at once: first how many it is about, then the
//! errand itself, whose progress has a page of its own. The store takes the steps.

use askama::Template;
use model::board::{Count, Errand, ErrandKind, NewErrand};
use model::id::{ErrandId, TenantId, WebhookId};
use model::people::Role;
use model::webhook::Webhook;

use super::list::{name_of, off};
use crate::pages::layout::{Shell, Tab, path_of};
use crate::pages::live::{self, Feed, Looking, News, Tiding};
use crate::pages::page::{Needs, Page, get, post};
use crate::pages::session::PROOF_FIELD;
use crate::pages::shown::{Shown, Trouble, go_to, page};
use crate::pages::view::{Part, When};
use crate::pages::visit::Visit;
use crate::state::Shared;
use model::time::Timestamp;

/// Before it begins: what it is about.
#[derive(Template)]
#[template(path = "log/errand_ask.html")]
struct Ask {
    shell: Shell,
    path: String,
    here: String,
    webhook: WebhookId,
    name: String,
    kind: ErrandKind,
    heading: &'static str,
    count: Count,
    off: Option<(When, &'static str)>,
    running: Option<ErrandId>,
}

#[derive(Template)]
#[template(path = "log/errand.html")]
struct ErrandPage {
    shell: Shell,
    path: String,
    webhook: WebhookId,
    heading: &'static str,
    progress: Part,
    is_running: bool,
    live: String,
}

/// How far it has come; told anew whenever it moves.
#[derive(Template)]
#[template(path = "log/progress.html")]
struct Progress<'a> {
    path: &'a str,
    errand: &'a Errand,
    began_at: When,
    ended_at: Option<When>,
    /// At least what is done, so that a bar never runs over.
    most: u64,
    words: &'static str,
}

pub(super) fn places() -> Vec<Page> {
    let (look, edit) = (Needs::Role(Role::Look), Needs::Role(Role::Edit));
    let (retry, stop) = (
        "/t/{tenant}/webhooks/{webhook}/retry",
        "/t/{tenant}/webhooks/{webhook}/stop",
    );
    vec![
        get("retry_failed_ask", retry, edit, ask_retry),
        post("retry_failed", retry, edit, begin_retry),
        get("stop_retrying_ask", stop, edit, ask_stop),
        post("stop_retrying", stop, edit, begin_stop),
        get("errand", "/t/{tenant}/errands/{errand}", look, show),
        get(
            "errand_live",
            "/t/{tenant}/errands/{errand}/live",
            look,
            follow,
        ),
    ]
}

async fn ask_retry(visit: Visit) -> Result<Shown, Trouble> {
    ask(&visit, ErrandKind::RetryFailed).await
}

async fn ask_stop(visit: Visit) -> Result<Shown, Trouble> {
    ask(&visit, ErrandKind::StopRetrying).await
}

async fn begin_retry(visit: Visit) -> Result<Shown, Trouble> {
    begin(&visit, ErrandKind::RetryFailed).await
}

async fn begin_stop(visit: Visit) -> Result<Shown, Trouble> {
    begin(&visit, ErrandKind::StopRetrying).await
}

/// What it is called on pages.
pub(super) fn kind_words(kind: ErrandKind) -> &'static str {
    match kind {
        ErrandKind::RetryFailed => "Send again all that did not arrive",
        ErrandKind::StopRetrying => "Stop all that is waiting",
    }
}

async fn webhook(visit: &Visit) -> Result<Webhook, Trouble> {
    let (tenant, id) = (visit.tenant()?.id, WebhookId(visit.id("webhook")?));
    let found = visit.shared.ask(|store| store.webhook(tenant, id)).await?;
    found.ok_or(Trouble::NotFound)
}

async fn count(visit: &Visit, webhook: WebhookId, kind: ErrandKind) -> Result<Count, Trouble> {
    let (tenant, now) = (visit.tenant()?.id, visit.now);
    let counted = visit
        .shared
        .ask(|s| s.count_errand(tenant, webhook, kind, now));
    Ok(counted.await?)
}

async fn ask(visit: &Visit, kind: ErrandKind) -> Result<Shown, Trouble> {
    // It is about all: what seems to ask for some of it must not come to more.
    visit.query.only(&[])?;
    let webhook = webhook(visit).await?;
    let (tenant, id) = (visit.tenant()?, webhook.id);
    let number = tenant.id;
    let running = visit.shared.ask(|s| s.running_errands(number, id)).await?;
    let running = running.into_iter().find(|errand| errand.what == kind);
    page(&Ask {
        shell: Shell::of(visit, Tab::Log, kind_words(kind)),
        path: path_of(tenant),
        here: visit.path.clone(),
        webhook: id,
        name: name_of(visit, &webhook)?,
        kind,
        heading: kind_words(kind),
        count: count(visit, id, kind).await?,
        off: webhook.disabled.map(off),
        running: running.map(|errand| errand.id),
    })
}

async fn begin(visit: &Visit, kind: ErrandKind) -> Result<Shown, Trouble> {
    visit.form.only(&[PROOF_FIELD])?;
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
    let new = NewErrand {
        tenant: tenant.id,
        webhook: webhook.id,
        what: kind,
        expected,
        actor: visit.actor(),
    };
    let begun = visit.shared.ask(|s| s.begin_errand(new.clone(), visit.now));
    let errand = begun.await?;
    Ok(go_to(&format!("{path}/errands/{}", errand.id)))
}

async fn show(visit: Visit) -> Result<Shown, Trouble> {
    let (tenant, id) = (visit.tenant()?, ErrandId(visit.id("errand")?));
    let number = tenant.id;
    let errand = visit.shared.ask(|store| store.errand(number, id)).await?;
    let errand = errand.ok_or(Trouble::NotFound)?;
    let path = path_of(tenant);
    let heading = kind_words(errand.what);
    page(&ErrandPage {
        shell: Shell::of(&visit, Tab::Log, heading),
        webhook: errand.webhook,
        heading,
        progress: progress(&errand, &path)?,
        is_running: errand.ended_at.is_none(),
        live: format!("{path}/errands/{id}/live?mark={}", errand.done),
        path,
    })
}

fn progress(errand: &Errand, path: &str) -> Result<Part, model::refusal::Refusal> {
    Part::of(&Progress {
        path,
        errand,
        began_at: When(errand.began_at),
        ended_at: errand.ended_at.map(When),
        most: errand.expected.max(errand.done).max(1),
        words: match errand.what {
            ErrandKind::RetryFailed => "sent again",
            ErrandKind::StopRetrying => "stopped",
        },
    })
}

async fn follow(visit: Visit) -> Result<Shown, Trouble> {
    let tenant = visit.tenant()?;
    let feed = ErrandFeed {
        tenant: tenant.id,
        path: path_of(tenant),
        id: ErrandId(visit.id("errand")?),
        told: live::mark_of(&visit).to_owned(),
    };
    live::follow(&visit, feed)
}

struct ErrandFeed {
    tenant: TenantId,
    path: String,
    id: ErrandId,
    /// How many were done when it was told last.
    told: String,
}

impl Feed for ErrandFeed {
    fn look<'a>(&'a mut self, shared: &'a Shared, _now: Timestamp) -> Looking<'a> {
        Box::pin(async move {
            let (tenant, id) = (self.tenant, self.id);
            let found = shared.ask(|store| store.errand(tenant, id)).await?;
            let Some(errand) = found else {
                return Ok(News {
                    over: true,
                    ..News::default()
                });
            };
            let (mark, over) = (errand.done.to_string(), errand.ended_at.is_some());
            let mut news = News {
                over,
                ..News::default()
            };
            if over || mark != self.told {
                let part = progress(&errand, &self.path)?;
                news.tidings.push(Tiding::Put(part));
            }
            self.told.clone_from(&mark);
            news.mark = mark;
            Ok(news)
        })
    }
}
