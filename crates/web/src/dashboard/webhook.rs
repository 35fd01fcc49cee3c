//! The page of one webhook: what it is, its health, and what can be done with it; enabling,
//! disabling and deleting it.

use std::borrow::Cow;

use askama::Template;
use model::contract::StoreError;
use model::dashboard::{BoundedCount, BulkJobKind, WebhookHealth};
use model::delivery::probe_words;
use model::refusal::Refusal;
use model::target::masked;
use model::time::Timestamp;
use model::users::Role;
use model::webhook::{DisableCause, Disablement, Webhook};

use super::calls_view::CallsView;
use super::charts::ChartsView;
use super::health::{self, HistoryBar, LastCall, WebhookStatus};
use super::layout::{Shell, Tab, path_of};
use super::page::{PageAccess, PageRoute, get, post};
use super::response::{PageError, PageResponse, go_to, page};
use super::view::DisplayTime;
use super::visit::Visit;
use super::webhook_form::{find, path_to};
use crate::dialect::dashboard::WebhookFact;
use crate::gateway::operations::SAVE_TRIES;
use crate::gateway::store::refused;

#[derive(Template)]
#[template(path = "webhook.html")]
struct WebhookPage {
    shell: Shell,
    name: String,
    /// The prefix of the paths below.
    path: String,
    url: String,
    wants: String,
    health: WebhookStatus,
    /// What the status means, and what to do.
    meaning: Cow<'static, str>,
    doubt: Option<String>,
    facts: Vec<WebhookFact>,
    calls: CallsView,
    last: Option<LastCall>,
    bar: HistoryBar,
    statistics: ChartsView,
    created_at: DisplayTime,
    updated_at: DisplayTime,
    enabled: bool,
    may_edit: bool,
    deletes: bool,
}

#[derive(Template)]
#[template(path = "webhook_confirm.html")]
struct ConfirmPage {
    shell: Shell,
    heading: String,
    path: String,
    action: &'static str,
    button: &'static str,
    url: String,
    what: &'static str,
    /// Pending deliveries that will be cancelled.
    owed: BoundedCount,
}

pub(super) fn routes() -> Vec<PageRoute> {
    let edit = PageAccess::Role(Role::Edit);
    vec![
        get(
            "webhook",
            "/t/{tenant}/webhooks/{webhook}",
            PageAccess::Role(Role::Look),
            show,
        ),
        post(
            "webhook_enable",
            "/t/{tenant}/webhooks/{webhook}/enable",
            edit,
            enable,
        ),
        get(
            "webhook_disable_ask",
            "/t/{tenant}/webhooks/{webhook}/disable",
            edit,
            ask_disable,
        ),
        post(
            "webhook_disable",
            "/t/{tenant}/webhooks/{webhook}/disable",
            edit,
            disable,
        ),
        get(
            "webhook_delete_ask",
            "/t/{tenant}/webhooks/{webhook}/delete",
            edit,
            ask_delete,
        ),
        post(
            "webhook_delete",
            "/t/{tenant}/webhooks/{webhook}/delete",
            edit,
            delete,
        ),
    ]
}

/// The name of a webhook, or its URL if it has none.
pub(super) fn name_of(name: Option<String>, webhook: &Webhook) -> String {
    name.unwrap_or_else(|| format!("Webhook {}", webhook.id))
}

async fn show(visit: Visit) -> Result<PageResponse, PageError> {
    let webhook = find(&visit).await?;
    let tenant = visit.tenant()?;
    let (id, since) = (tenant.id, health::since(visit.now));
    let standings = visit
        .ask(|store| store.standings(id, vec![webhook.id], since))
        .await?;
    let health = standings.into_iter().find(|own| own.webhook == webhook.id);
    let dialect = visit.dialect()?;
    let described = (dialect.dashboard.describe)(&webhook);
    let name = name_of(described.name, &webhook);
    let may_edit = visit.may(Role::Edit);
    let path = path_to(tenant, webhook.id);
    let whose = (tenant.id, Some(webhook.id));
    let page_of = WebhookPage {
        statistics: ChartsView::of(&visit, whose, &path).await?,
        shell: Shell::of(&visit, Tab::Webhooks, name.as_str()),
        path,
        url: masked(&webhook.target_url),
        wants: described.wants,
        health: WebhookStatus::of(&webhook, health.as_ref(), visit.now),
        meaning: meaning(&webhook, health.as_ref(), visit.now),
        doubt: dialect.dashboard.forms.doubt(&webhook),
        calls: CallsView::of(&visit, &webhook).await?,
        facts: dialect.dashboard.forms.facts(&webhook, may_edit),
        last: health
            .as_ref()
            .and_then(|own| own.latest.as_ref())
            .map(LastCall::of),
        bar: health.as_ref().map_or_else(HistoryBar::default, |own| {
            HistoryBar::of(&own.hours, visit.now)
        }),
        created_at: DisplayTime(webhook.created_at),
        updated_at: DisplayTime(webhook.updated_at),
        enabled: webhook.enabled(),
        may_edit,
        deletes: dialect.dashboard.deletes,
        name,
    };
    page(&page_of)
}

/// What the status means, and what to do about it.
fn meaning(webhook: &Webhook, health: Option<&WebhookHealth>, now: Timestamp) -> Cow<'static, str> {
    let is_probed = |health: &WebhookHealth| health::waits_for_probe(webhook, health, now);
    match health.is_some_and(is_probed) {
        true => format!("Its receiver has failed for long: {}.", probe_words()).into(),
        false => usual_meaning(webhook, health).into(),
    }
}

fn usual_meaning(webhook: &Webhook, health: Option<&WebhookHealth>) -> &'static str {
    match webhook.disabled.map(|disabled| disabled.cause) {
        Some(DisableCause::Gone) => {
            return "Its receiver answered 410 Gone, so nothing is sent any more. Enable it once \
                    the receiver is back.";
        }
        Some(DisableCause::Requested) => {
            return "Somebody switched it off: nothing is sent, and what happens meanwhile is not \
                    kept for it.";
        }
        Some(DisableCause::Deleted) => return "It is kept for the log.",
        None => {}
    }
    if health.is_some_and(|health| health.hold.is_some()) {
        return "What comes for it waits until it is resumed; nothing is lost, and no retry is used \
                up.";
    }
    let Some(health) = health.filter(|health| health.latest.is_some()) else {
        return "Nothing was sent to it yet. Send a test to see whether it is reached.";
    };
    if health::is_untried(webhook, health) {
        return "The latest call failed before that. Send a test to see whether it is reached.";
    }
    match (health.failing_since, health.retrying) {
        (Some(_), true) => "The latest call failed. What failed is tried again by itself.",
        (Some(_), false) => "The latest call failed, and nothing waits to be tried again.",
        (None, true) => "The latest call arrived; something that failed before is tried again.",
        (None, false) => "The latest call arrived.",
    }
}

async fn enable(visit: Visit) -> Result<PageResponse, PageError> {
    switch(&visit, None, "enabled").await
}

async fn disable(visit: Visit) -> Result<PageResponse, PageError> {
    switch(&visit, Some(DisableCause::Requested), "disabled").await
}

async fn delete(visit: Visit) -> Result<PageResponse, PageError> {
    may_delete(&visit)?;
    let webhook = find(&visit).await?;
    save(&visit, webhook, Some(DisableCause::Deleted)).await?;
    Ok(go_to(&format!("{}?said=deleted", path_of(visit.tenant()?))))
}

async fn ask_disable(visit: Visit) -> Result<PageResponse, PageError> {
    let what = "Nothing is sent while it is disabled, and what happens meanwhile is not kept for \
                it. It can be enabled again at any time.";
    confirm(visit, "Disable", "disable", what).await
}

async fn ask_delete(visit: Visit) -> Result<PageResponse, PageError> {
    may_delete(&visit)?;
    let what = "It cannot be brought back: a new one gets another GUID and another nonce. Its \
                log stays as long as any.";
    confirm(visit, "Delete", "delete", what).await
}

/// Whether the dialect deletes webhooks at all.
fn may_delete(visit: &Visit) -> Result<(), PageError> {
    match visit.dialect()?.dashboard.deletes {
        true => Ok(()),
        false => Err(PageError::NotFound),
    }
}

async fn confirm(
    visit: Visit,
    button: &'static str,
    action: &'static str,
    what: &'static str,
) -> Result<PageResponse, PageError> {
    let webhook = find(&visit).await?;
    let (tenant, id, now) = (visit.tenant()?.id, webhook.id, visit.now);
    let owed = visit
        .ask(|store| store.count_bulk_job(tenant, id, BulkJobKind::CancelPending, now))
        .await?;
    let name = name_of(
        (visit.dialect()?.dashboard.describe)(&webhook).name,
        &webhook,
    );
    let heading = format!("{button} \u{201c}{name}\u{201d}?");
    page(&ConfirmPage {
        shell: Shell::of(&visit, Tab::Webhooks, heading.as_str()),
        heading,
        path: path_to(visit.tenant()?, webhook.id),
        action,
        button,
        url: masked(&webhook.target_url),
        what,
        owed,
    })
}

/// Enables or disables the webhook, then redirects to its page.
async fn switch(
    visit: &Visit,
    cause: Option<DisableCause>,
    said: &str,
) -> Result<PageResponse, PageError> {
    let webhook = find(visit).await?;
    let path = path_to(visit.tenant()?, webhook.id);
    let said = match save(visit, webhook, cause).await? {
        true => said,
        false => "unchanged",
    };
    Ok(go_to(&format!("{path}?said={said}")))
}

/// Saves that the webhook is enabled or disabled. Returns whether that changed it.
async fn save(
    visit: &Visit,
    mut webhook: Webhook,
    cause: Option<DisableCause>,
) -> Result<bool, PageError> {
    let (actor, at) = (visit.actor(), visit.now);
    for _ in 0..SAVE_TRIES {
        let disabled = cause.map(|cause| Disablement { at, cause });
        let is_so = webhook.disabled.map(|own| own.cause) == cause
            // Disabled by its receiver counts as disabled.
            || (cause == Some(DisableCause::Requested) && !webhook.enabled());
        if is_so {
            return Ok(false);
        }
        let new = Webhook {
            disabled,
            ..webhook
        };
        let saved = visit.try_ask(|store| store.save_webhook(new.clone(), actor.clone(), at));
        match saved.await {
            Ok(_) => return Ok(true),
            Err(StoreError::Stale) => webhook = find(visit).await?,
            Err(error) => return Err(refused(&error).into()),
        }
    }
    Err(Refusal::Busy(1).into())
}
