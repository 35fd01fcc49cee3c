//! Whether calls of a webhook are CloudEvents, and whether its receiver is to agree to them, over
//! REST: the same for every dialect, under a path of our own beside its resource.

use http::StatusCode;
use model::call_limits::CallBounds;
use model::cloud_event::{CloudEventChoice, CloudEventMode};
use model::contract::StoreError;
use model::handshake::{Handshake, HandshakeAnswer, HandshakeVerdict};
use model::refusal::Refusal;
use model::webhook::Webhook;
use serde_json::{Value, json};

use super::own_block::{Fields, answer, no_content};
use crate::gateway::api::{AdmittedRequest, ApiResponse};
use crate::gateway::store::refused;

/// What is said of a handshake that the server has no name for.
const NO_ORIGIN: &str = "This server has no name to ask receivers under. Its operator adds one to \
    the setting allowed_hosts that is not its own machine's, such as tickets.example.org.";

/// How far a handshake has come, for its webhook and this server as they are now.
pub(crate) enum HandshakeState<'a> {
    NotAsked,
    Granted {
        answer: &'a HandshakeAnswer,
        per_minute: Option<u32>,
    },
    Refused {
        answer: &'a HandshakeAnswer,
        reason: &'a str,
    },
}

impl<'a> HandshakeState<'a> {
    pub(crate) fn of(handshake: &'a Handshake, target_url: &str, bounds: &CallBounds) -> Self {
        let Some(answer) = handshake.answer_to(target_url, bounds.origin.as_deref()) else {
            return Self::NotAsked;
        };
        match &answer.verdict {
            HandshakeVerdict::Granted { per_minute } => Self::Granted {
                answer,
                per_minute: *per_minute,
            },
            HandshakeVerdict::Refused { reason } => Self::Refused { answer, reason },
        }
    }

    fn shown(&self) -> Value {
        let (state, answer, per_minute, reason) = match self {
            Self::NotAsked => ("not_asked", None, None, None),
            Self::Granted { answer, per_minute } => ("granted", Some(answer), *per_minute, None),
            Self::Refused { answer, reason } => ("refused", Some(answer), None, Some(reason)),
        };
        json!({
            "state": state,
            "at": answer.map(|answer| answer.at.to_string()),
            "origin": answer.map(|answer| answer.question.origin.as_str()),
            "calls_per_minute": per_minute,
            "reason": reason,
        })
    }
}

/// What is wrong with a handshake that is chosen, if anything is.
pub(crate) fn handshake_fault(chosen: bool, bounds: &CallBounds) -> Option<&'static str> {
    (chosen && bounds.origin.is_none()).then_some(NO_ORIGIN)
}

/// Shows the mode, or null, and how far its handshake has come.
pub(crate) async fn show(
    request: &AdmittedRequest,
    webhook: &Webhook,
) -> Result<ApiResponse, Refusal> {
    let (tenant, id) = (webhook.tenant, webhook.id);
    let asking = request.ask(move |store| store.cloud_events(tenant, id));
    let events = asking.await?;
    let handshake = events.as_ref().and_then(|events| events.handshake.as_ref());
    let bounds = &request.context.bounds;
    let state = handshake.map(|own| HandshakeState::of(own, &webhook.target_url, bounds));
    let shown = json!({
        "mode": events.as_ref().map(|events| events.mode.as_str()),
        "handshake": handshake.is_some(),
        "handshake_state": state.map(|state| state.shown()),
    });
    Ok(answer(StatusCode::OK, &shown))
}

/// Chooses a mode: calls are CloudEvents from now on. With a handshake their receiver is asked
/// before.
pub(crate) async fn choose(
    request: &AdmittedRequest,
    webhook: &Webhook,
) -> Result<ApiResponse, Refusal> {
    let mut fields = Fields::read(&request.body, &["mode", "handshake"])?;
    let named = fields.text("mode");
    let mode: Option<CloudEventMode> = named.and_then(|name| name.parse().ok());
    if mode.is_none() && fields.faults.is_empty() {
        let names = CloudEventMode::ALL.map(CloudEventMode::as_str).join(" or ");
        fields.fault::<()>("mode", format!("It has to be {names}."));
    }
    let handshake = match fields.given.get("handshake") {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(Value::Bool(true)) => true,
        Some(_) => {
            fields.fault::<()>("handshake", "It has to be true or false.");
            false
        }
    };
    if let Some(words) = handshake_fault(handshake, &request.context.bounds) {
        fields.fault::<()>("handshake", words);
    }
    let choice = mode.map(|mode| CloudEventChoice { mode, handshake });
    let choice = fields.done(choice)?;
    set(request, webhook, Some(choice)).await?;
    show(request, webhook).await
}

/// Calls are as their dialect has them from now on.
pub(crate) async fn leave(
    request: &AdmittedRequest,
    webhook: &Webhook,
) -> Result<ApiResponse, Refusal> {
    set(request, webhook, None).await?;
    Ok(no_content())
}

async fn set(
    request: &AdmittedRequest,
    webhook: &Webhook,
    choice: Option<CloudEventChoice>,
) -> Result<(), Refusal> {
    let (tenant, id) = (webhook.tenant, webhook.id);
    let (actor, at) = (request.editor_of(webhook), request.context.clock.now());
    let change = move |store: &dyn model::contract::Frontend| {
        store.set_cloud_events(tenant, id, choice, actor.clone(), at)
    };
    let changed = request.context.store.try_ask(change).await;
    changed.map_err(|error| match matches!(error, StoreError::Stale) {
        true => Refusal::NoSuchObject,
        false => refused(&error),
    })
}
