//! The form for how a webhook is called: its limits, whether calls are CloudEvents, and whether its
//! receiver is to agree to them. `calls_view.rs` shows it on the webhook's page.

use askama::Template;
use http::StatusCode;
use model::call_limits::{CallBounds, CallLimits, TypedLimits};
use model::cloud_event::{CloudEventChoice, CloudEventMode};
use model::contract::StoreError;
use model::refusal::Refusal;
use model::users::Role;
use model::webhook::Webhook;

use super::calls_view::stored;
use super::faults::Faults;
use super::layout::{Shell, Tab};
use super::page::{PageAccess, PageRoute, get, post};
use super::response::{PageError, PageResponse, go_to, page_with};
use super::visit::Visit;
use super::webhook::name_of;
use super::webhook_form::{find, path_to};
use crate::dialect::cloud_events::handshake_fault;
use crate::dialect::limits::time_limit_words;
use crate::gateway::store::refused;

/// The field of the form's mode where calls are plain.
const PLAIN: &str = "plain";

#[derive(Template)]
#[template(path = "calls.html")]
struct CallsPage {
    shell: Shell,
    name: String,
    /// The path of the webhook's page.
    path: String,
    url: String,
    faults: Faults,
    typed: TypedLimits,
    calls_at_a_time_max: u32,
    times: String,
    /// What a call may take without a limit of the webhook's own, in seconds.
    usual_seconds: u32,
    schedules: Vec<String>,
    /// The chosen schedule, which the operator does not have any more.
    missing: Option<String>,
    mode: String,
    handshake: bool,
    /// The name under which receivers are asked.
    origin: Option<String>,
}

/// What the form has of CloudEvents, as it is typed.
struct TypedEvents {
    mode: String,
    handshake: bool,
}

pub(super) fn routes() -> Vec<PageRoute> {
    let edit = PageAccess::Role(Role::Edit);
    let path = "/t/{tenant}/webhooks/{webhook}/calls";
    vec![
        get("calls", path, edit, ask),
        post("calls_save", path, edit, save),
    ]
}

async fn ask(visit: Visit) -> Result<PageResponse, PageError> {
    let webhook = find(&visit).await?;
    let (limits, events) = stored(&visit, &webhook).await?;
    let choice = events.map(|events| events.choice());
    let mode = choice.map_or(PLAIN, |choice| choice.mode.as_str());
    let events = TypedEvents {
        mode: mode.to_owned(),
        handshake: choice.is_some_and(|choice| choice.handshake),
    };
    form(
        &visit,
        &webhook,
        (limits.typed(), events),
        Faults::default(),
    )
}

fn form(
    visit: &Visit,
    webhook: &Webhook,
    (typed, events): (TypedLimits, TypedEvents),
    faults: Faults,
) -> Result<PageResponse, PageError> {
    let status = match faults.is_empty() {
        true => StatusCode::OK,
        false => StatusCode::UNPROCESSABLE_ENTITY,
    };
    let policy = visit.policy()?;
    let bounds: &CallBounds = &policy.bounds;
    let described = (visit.dialect()?.dashboard.describe)(webhook);
    let name = name_of(described.name, webhook);
    let is_missing = |name: &&String| !bounds.schedules.contains_key(*name);
    page_with(
        status,
        &CallsPage {
            shell: Shell::of(visit, Tab::Webhooks, format!("Calls of {name}")),
            path: path_to(visit.tenant()?, webhook.id),
            url: model::target::masked(&webhook.target_url),
            calls_at_a_time_max: bounds.calls_at_a_time_max,
            times: time_limit_words(bounds),
            usual_seconds: policy.exchange_limit_ms / 1_000,
            schedules: bounds.schedules.keys().cloned().collect(),
            missing: typed.schedule.as_ref().filter(is_missing).cloned(),
            faults,
            typed,
            mode: events.mode,
            handshake: events.handshake,
            origin: bounds.origin.clone(),
            name,
        },
    )
}

async fn save(visit: Visit) -> Result<PageResponse, PageError> {
    let webhook = find(&visit).await?;
    let text = |name: &str| {
        let text = visit.form.get(name).unwrap_or_default().trim();
        (!text.is_empty()).then(|| text.to_owned())
    };
    let typed = TypedLimits {
        calls_at_a_time: text("calls_at_a_time"),
        calls_per_second: text("calls_per_second"),
        time_limit: text("time_limit"),
        schedule: text("schedule"),
    };
    let events = TypedEvents {
        mode: text("cloud_events").unwrap_or_else(|| PLAIN.to_owned()),
        handshake: text("handshake").is_some(),
    };
    let mut faults = Faults::default();
    let mode: Option<CloudEventMode> = events.mode.parse().ok();
    if mode.is_none() && events.mode != PLAIN {
        faults.add("cloud_events", "Choose one of the forms below.");
    }
    let bounds = &visit.policy()?.bounds;
    if let Some(words) = handshake_fault(events.handshake, bounds) {
        faults.add("handshake", words);
    } else if events.handshake && mode.is_none() {
        faults.add(
            "handshake",
            "It goes with CloudEvents: choose one of their forms as well.",
        );
    }
    let judged = typed.judged(bounds);
    let limits = match judged {
        Ok(limits) if faults.is_empty() => limits,
        Ok(_) => return form(&visit, &webhook, (typed, events), faults),
        Err(wrong) => {
            wrong.iter().for_each(|fault| faults.add_fault(fault));
            return form(&visit, &webhook, (typed, events), faults);
        }
    };
    let handshake = events.handshake;
    let choice = mode.map(|mode| CloudEventChoice { mode, handshake });
    change(&visit, &webhook, limits, choice).await?;
    let path = path_to(visit.tenant()?, webhook.id);
    Ok(go_to(&format!("{path}?said=calls-saved")))
}

async fn change(
    visit: &Visit,
    webhook: &Webhook,
    limits: CallLimits,
    choice: Option<CloudEventChoice>,
) -> Result<(), Refusal> {
    let (tenant, id, at) = (webhook.tenant, webhook.id, visit.now);
    let store = visit.context.store.get();
    let gone = |error: StoreError| match matches!(error, StoreError::Stale) {
        true => Refusal::NoSuchObject,
        false => refused(&error),
    };
    let saved = store.set_call_limits(tenant, id, limits, visit.actor(), at);
    saved.await.map_err(gone)?;
    let saved = store.set_cloud_events(tenant, id, choice, visit.actor(), at);
    saved.await.map_err(gone)
}
