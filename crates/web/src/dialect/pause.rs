//! Pausing a webhook and resuming it, over REST: the same for every dialect, under a path of our
//! own beside its resource.

use http::StatusCode;
use model::call_limits::{CallBounds, CallRate, TypedLimits};
use model::contract::StoreError;
use model::hold::HoldChange;
use model::refusal::Refusal;
use model::webhook::Webhook;
use serde_json::{Value, json};

use super::own_block::{Fields, answer};
use crate::gateway::api::{AdmittedRequest, ApiResponse};
use crate::gateway::store::refused;

const FIELDS: [&str; 2] = ["paused", "calls_per_second"];

const DISABLED: &str = "The webhook is disabled: nothing waits for it, so there is nothing to \
                        pause.";

/// Shows whether it is paused, by whom and since when, and how many deliveries wait.
pub(crate) async fn show(
    request: &AdmittedRequest,
    webhook: &Webhook,
) -> Result<ApiResponse, Refusal> {
    let (tenant, id, now) = (webhook.tenant, webhook.id, request.context.clock.now());
    let health = request.ask(move |store| store.standings(tenant, vec![id], now));
    let health = health.await?.into_iter().next();
    let hold = health.as_ref().and_then(|health| health.hold.as_ref());
    let waiting = health.as_ref().map(|health| health.waiting);
    let waiting = waiting.unwrap_or_default();
    let shown = json!({
        "paused": hold.is_some(),
        "by": hold.map(|hold| hold.by.as_str()),
        "since": hold.map(|hold| hold.at.to_string()),
        "waiting": { "count": waiting.count, "more": waiting.more },
    });
    Ok(answer(StatusCode::OK, &shown))
}

/// Pauses or resumes it; nothing changes if it is so already.
pub(crate) async fn set(
    request: &AdmittedRequest,
    webhook: &Webhook,
) -> Result<ApiResponse, Refusal> {
    let mut fields = Fields::read(&request.body, &FIELDS)?;
    let paused = match fields.given.get("paused") {
        Some(Value::Bool(paused)) => Some(*paused),
        _ => fields.fault("paused", "It has to be true or false."),
    };
    let typed = match fields.given.get("calls_per_second") {
        None | Some(Value::Null) => None,
        Some(Value::Number(number)) => Some(number.to_string()),
        Some(_) => fields.fault(
            "calls_per_second",
            "It has to be a number, or null for none.",
        ),
    };
    if typed.is_some() && paused == Some(true) {
        let words = "It goes with \"paused\": false, for what has waited.";
        fields.fault::<()>("calls_per_second", words);
    }
    let drain = drain(typed, &request.context.bounds);
    let drain = drain.unwrap_or_else(|words| fields.fault("calls_per_second", words));
    let paused = fields.done(paused)?;
    if paused && !webhook.enabled() {
        return Err(Refusal::Contradiction(DISABLED.to_owned()));
    }
    let change = match paused {
        true => HoldChange::Pause,
        false => HoldChange::Resume { drain },
    };
    let (tenant, id) = (webhook.tenant, webhook.id);
    let (actor, at) = (request.editor_of(webhook), request.context.clock.now());
    let set = |store: &dyn model::contract::Frontend| {
        store.change_hold(tenant, id, change, actor.clone(), at)
    };
    let done = request.context.store.try_ask(set).await;
    done.map_err(|error| match matches!(error, StoreError::Stale) {
        true => Refusal::NoSuchObject,
        false => refused(&error),
    })?;
    show(request, webhook).await
}

/// The rate at which what has waited is to be sent, as it was typed.
pub(crate) fn drain(
    typed: Option<String>,
    bounds: &CallBounds,
) -> Result<Option<CallRate>, String> {
    let typed = TypedLimits {
        calls_per_second: typed,
        ..TypedLimits::default()
    };
    let judged = typed.judged(bounds).map_err(|faults| {
        let words = faults.into_iter().flat_map(|fault| fault.reasons);
        words.collect::<Vec<_>>().join(" ")
    });
    Ok(judged?.calls_per_second)
}
