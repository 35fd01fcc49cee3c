//! Limits of a webhook's own, over REST and in an operator's file: the same for every dialect,
//! under a path of our own beside its resource. `model/src/call_limits.rs` judges what was typed.

use http::StatusCode;
use model::call_limits::{CallBounds, CallLimits, CallRate, FIELDS, TypedLimits};
use model::cloud_event::{CloudEventChoice, CloudEventMode};
use model::contract::StoreError;
use model::refusal::Refusal;
use model::webhook::Webhook;
use serde_json::{Value, json};

use super::cloud_events::handshake_fault;
use super::own_block::{Fields, answer, no_content};
use super::section::FileTable;
use crate::gateway::api::{AdmittedRequest, ApiResponse};
use crate::gateway::store::refused;

/// The keys of a webhook in a file that say how it is called.
pub(crate) const KEYS: [&str; 6] = [
    "calls_at_a_time",
    "calls_per_second",
    "time_limit",
    "schedule",
    "cloud_events",
    "handshake",
];

/// In a file: no limit, and no CloudEvents.
const NONE: &str = "none";

/// What a file says of how a webhook is called. `None`: nothing, so that it stays.
pub(crate) struct DeclaredCalls {
    pub(crate) limits: Option<CallLimits>,
    pub(crate) cloud_events: Option<Option<CloudEventChoice>>,
}

pub(crate) async fn show(
    request: &AdmittedRequest,
    webhook: &Webhook,
) -> Result<ApiResponse, Refusal> {
    let (tenant, id) = (webhook.tenant, webhook.id);
    let limits = request.ask(move |store| store.call_limits(tenant, id));
    Ok(answer(StatusCode::OK, &shown(&limits.await?)))
}

/// Sets all limits; one that is left out or null is none.
pub(crate) async fn set(
    request: &AdmittedRequest,
    webhook: &Webhook,
) -> Result<ApiResponse, Refusal> {
    let mut fields = Fields::read(&request.body, &FIELDS)?;
    let typed = TypedLimits {
        calls_at_a_time: number(&mut fields, "calls_at_a_time"),
        calls_per_second: number(&mut fields, "calls_per_second"),
        time_limit: number(&mut fields, "time_limit"),
        schedule: fields.text("schedule"),
    };
    let judged = typed.judged(&request.context.bounds);
    let judged = judged.map_err(|faults| fields.faults.extend(faults)).ok();
    let limits = fields.done(judged)?;
    save(request, webhook, limits.clone()).await?;
    Ok(answer(StatusCode::OK, &shown(&limits)))
}

/// Takes all limits away.
pub(crate) async fn clear(
    request: &AdmittedRequest,
    webhook: &Webhook,
) -> Result<ApiResponse, Refusal> {
    save(request, webhook, CallLimits::default()).await?;
    Ok(no_content())
}

fn number(fields: &mut Fields, field: &str) -> Option<String> {
    match fields.given.get(field) {
        None | Some(Value::Null) => None,
        Some(Value::Number(number)) => Some(number.to_string()),
        Some(_) => fields.fault(field, "It has to be a number, or null for none."),
    }
}

fn shown(limits: &CallLimits) -> Value {
    let rate = limits.calls_per_second.map(|rate| match rate.micros() {
        whole if whole % 1_000_000 == 0 => json!(whole / 1_000_000),
        part => json!(f64::from(part) / 1_000_000.0),
    });
    json!({
        "calls_at_a_time": limits.calls_at_a_time,
        "calls_per_second": rate,
        "time_limit": limits.time_limit_ms.map(|ms| ms / 1_000),
        "schedule": limits.schedule,
    })
}

async fn save(
    request: &AdmittedRequest,
    webhook: &Webhook,
    limits: CallLimits,
) -> Result<(), Refusal> {
    let (tenant, id) = (webhook.tenant, webhook.id);
    let (actor, at) = (request.editor_of(webhook), request.context.clock.now());
    let change = move |store: &dyn model::contract::Frontend| {
        store.set_call_limits(tenant, id, limits.clone(), actor.clone(), at)
    };
    let changed = request.context.store.try_ask(change).await;
    changed.map_err(|error| match matches!(error, StoreError::Stale) {
        true => Refusal::NoSuchObject,
        false => refused(&error),
    })
}

/// Reads how a webhook is called. A file that names one limit names them all.
pub(crate) fn declared(entry: &FileTable<'_>) -> DeclaredCalls {
    let is_there = FIELDS.iter().any(|field| entry.get(field).is_some());
    let given = |text: Option<String>| text.filter(|text| text != NONE);
    let typed = TypedLimits {
        calls_at_a_time: given(entry.number("calls_at_a_time")),
        calls_per_second: given(entry.number("calls_per_second")),
        time_limit: given(entry.number("time_limit")),
        schedule: given(entry.text("schedule").map(str::to_owned)),
    };
    let limits = match typed.judged(entry.bounds()) {
        Ok(limits) => is_there.then_some(limits),
        Err(faults) => {
            for fault in faults {
                entry.wrong(&fault.field, fault.reasons.join(" "));
            }
            None
        }
    };
    DeclaredCalls {
        limits,
        cloud_events: declared_events(entry),
    }
}

/// A file that names the form of calls says of the handshake, too.
fn declared_events(entry: &FileTable<'_>) -> Option<Option<CloudEventChoice>> {
    let handshake = entry.flag("handshake").unwrap_or(false);
    if let Some(words) = handshake_fault(handshake, entry.bounds()) {
        entry.wrong("handshake", words);
    }
    let named = entry.text("cloud_events");
    if handshake && named.is_none_or(|name| name == NONE) {
        let words = "goes with cloud_events, which has to be binary or structured";
        entry.wrong("handshake", words);
    }
    match named? {
        NONE => Some(None),
        name => {
            let mode: Option<CloudEventMode> = name.parse().ok();
            if mode.is_none() {
                let names = CloudEventMode::ALL.map(CloudEventMode::as_str).join(", ");
                entry.wrong("cloud_events", format!("has to be one of {names}, {NONE}"));
            }
            mode.map(|mode| Some(CloudEventChoice { mode, handshake }))
        }
    }
}

/// The rate in words.
pub(crate) fn rate_words(rate: CallRate) -> String {
    match rate.micros() {
        1_000_000 => "1 call a second".to_owned(),
        _ => format!("{rate} calls a second"),
    }
}

/// The bounds in words, for a form.
pub(crate) fn time_limit_words(bounds: &CallBounds) -> String {
    format!("1 to {} seconds", bounds.time_limit_ms_max / 1_000)
}
