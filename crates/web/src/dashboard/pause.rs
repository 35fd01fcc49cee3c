//! Pausing a webhook, and resuming it with a rate for what has waited.

use askama::Template;
use http::StatusCode;
use model::hold::{Hold, HoldChange};
use model::id::WebhookId;
use model::users::Role;
use model::webhook::Webhook;

use super::health::WaitingDeliveries;
use super::layout::{Shell, Tab, path_of};
use super::page::{PageAccess, PageRoute, get, post};
use super::response::{PageError, PageResponse, go_to, page_with};
use super::session::CSRF_FIELD;
use super::text::TextExcerpt;
use super::view::DisplayTime;
use super::visit::Visit;
use crate::dialect::pause::drain;

#[derive(Template)]
#[template(path = "pause.html")]
struct PausePage {
    shell: Shell,
    webhook: String,
    here: String,
    enabled: bool,
    hold: Option<(String, DisplayTime)>,
    waiting: Option<WaitingDeliveries>,
    rate: String,
    fault: Option<String>,
}

/// The most bytes of what was typed that are shown again.
const SHOWN_ROOM: usize = 100;

pub(super) fn routes() -> Vec<PageRoute> {
    let edit = PageAccess::Role(Role::Edit);
    let path = "/t/{tenant}/webhooks/{webhook}/pause";
    vec![
        get("pause_ask", path, edit, ask),
        post("pause", path, edit, pause),
        post(
            "resume",
            "/t/{tenant}/webhooks/{webhook}/resume",
            edit,
            resume,
        ),
    ]
}

async fn webhook(visit: &Visit) -> Result<Webhook, PageError> {
    let (tenant, id) = (visit.tenant()?.id, WebhookId(visit.id("webhook")?));
    let found = visit.ask(|store| store.webhook(tenant, id)).await?;
    found.ok_or(PageError::NotFound)
}

async fn ask(visit: Visit) -> Result<PageResponse, PageError> {
    let webhook = webhook(&visit).await?;
    show(&visit, &webhook, "", None).await
}

async fn show(
    visit: &Visit,
    webhook: &Webhook,
    rate: &str,
    fault: Option<String>,
) -> Result<PageResponse, PageError> {
    let (tenant, id) = (visit.tenant()?, webhook.id);
    let (number, now) = (tenant.id, visit.now);
    let health = visit.ask(|s| s.standings(number, vec![id], now)).await?;
    let health = health.into_iter().next();
    let shown = |hold: &Hold| {
        let by = TextExcerpt::line(&hold.by, SHOWN_ROOM);
        (by, DisplayTime(hold.at))
    };
    let hold = health.as_ref().and_then(|health| health.hold.as_ref());
    let count = health.as_ref().map(|health| health.waiting);
    let count = count.unwrap_or_default();
    let oldest = health.as_ref().and_then(|health| health.oldest_waiting_at);
    let path = format!("{}/webhooks/{id}", path_of(tenant));
    let status = match fault {
        None => StatusCode::OK,
        Some(_) => StatusCode::UNPROCESSABLE_ENTITY,
    };
    page_with(
        status,
        &PausePage {
            shell: Shell::of(visit, Tab::Webhooks, "Pause"),
            here: path.clone(),
            webhook: path,
            enabled: webhook.enabled(),
            hold: hold.map(shown),
            waiting: WaitingDeliveries::new(count, oldest),
            rate: TextExcerpt::line(rate, SHOWN_ROOM),
            fault,
        },
    )
}

async fn pause(visit: Visit) -> Result<PageResponse, PageError> {
    visit.form.only(&[CSRF_FIELD])?;
    let webhook = webhook(&visit).await?;
    if !webhook.enabled() {
        return show(&visit, &webhook, "", None).await;
    }
    change(&visit, &webhook, HoldChange::Pause).await
}

async fn resume(visit: Visit) -> Result<PageResponse, PageError> {
    visit.form.only(&[CSRF_FIELD, "calls_per_second"])?;
    let webhook = webhook(&visit).await?;
    let typed = visit.form.get("calls_per_second").unwrap_or_default();
    let typed = typed.trim().to_owned();
    let given = (!typed.is_empty()).then(|| typed.clone());
    match drain(given, &visit.policy()?.bounds) {
        Ok(drain) => change(&visit, &webhook, HoldChange::Resume { drain }).await,
        Err(words) => show(&visit, &webhook, &typed, Some(words)).await,
    }
}

async fn change(
    visit: &Visit,
    webhook: &Webhook,
    change: HoldChange,
) -> Result<PageResponse, PageError> {
    let (tenant, id) = (visit.tenant()?, webhook.id);
    let (number, actor, now) = (tenant.id, visit.actor(), visit.now);
    let changed = visit.ask(|s| s.change_hold(number, id, change, actor.clone(), now));
    changed.await?;
    let said = match change {
        HoldChange::Pause => "paused",
        HoldChange::Resume { .. } => "resumed",
    };
    Ok(go_to(&format!(
        "{}/webhooks/{id}?said={said}",
        path_of(tenant)
    )))
}
