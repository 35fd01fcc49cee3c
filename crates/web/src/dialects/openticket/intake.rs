//! How an application reports triggers: one, a JSON array of them, or one a line.
//!
//! All valid ones go to the store as one batch, and the response comes once they are durable. An
//! invalid one is refused in its place and does not affect the others.

use std::sync::Arc;

use http::StatusCode;
use model::limits::INTAKE_BATCH_MAX;
use model::notification::AcceptResult;
use model::refusal::Refusal;
use model::tenant::{Permission, Tenant};
use serde::Serialize;

use super::context::OpenTicket;
use super::members::Items;
use super::notification::notification;
use super::wire::{self, Draft};
use super::{answer, guid, input, lookup, refuse};
use crate::gateway::api::{AdmittedRequest, ApiResponse};
use crate::gateway::context::Context;
use crate::gateway::metrics::IntakeResult;
use crate::gateway::operations;
use crate::gateway::store::refused;
use crate::transport::media_type::MediaType;

/// One trigger as handed in, or why it is invalid.
type DraftResult = Result<Draft, Refusal>;

/// The result for one trigger: its id, and how many webhooks get it.
#[derive(Debug, Serialize)]
struct IntakeReceipt {
    #[serde(skip)]
    status: StatusCode,
    id: String,
    invocations: u32,
    /// Why nobody hears of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    warning: Option<String>,
}

/// A trigger that was handed over to the store.
struct PendingTrigger<'a> {
    id: String,
    /// Whether the id was made here.
    made: bool,
    tenant: &'a Tenant,
    /// Resource and trigger.
    topic: String,
    /// What is said of it if it is not known to fire.
    unknown: Option<String>,
}

/// One of a batch.
#[derive(Debug, Serialize)]
struct BatchEntry {
    status: u16,
    #[serde(flatten)]
    rest: EntryBody,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum EntryBody {
    Done(IntakeReceipt),
    Refused(refuse::RefusalBody),
}

pub(super) async fn report_triggers(
    open: Arc<OpenTicket>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    // Of what names no company.
    let usual = lookup::owner(&request, None);
    let (reads, is_batch) = read(&open, &request).inspect_err(|refusal| {
        log_refusal(&request, refusal);
    })?;
    let mut batch = Vec::new();
    let mut places = Vec::with_capacity(reads.len());
    let at = request.context.clock.now();
    for read in reads {
        places.push(read.and_then(|draft| {
            let owner = match &draft.company {
                None => usual.clone(),
                named => lookup::owner(&request, named.as_ref()),
            };
            let tenant = owner.map_err(|fault| Refusal::Invalid(vec![fault]))?;
            let unknown = draft.judge(&open.triggers).err();
            if let Some(words) = unknown.clone().filter(|_| open.strict_reports) {
                return Err(Refusal::invalid("trigger", words));
            }
            let made = draft.id.is_none();
            let id = draft.id.clone();
            let id = id.unwrap_or_else(|| guid::fresh(|end| request.context.rng.below(end)));
            let topic = wire::topic(&draft.resource, &draft.trigger);
            batch.push(notification(tenant, draft, &id, at));
            Ok(PendingTrigger {
                id,
                made,
                tenant,
                topic,
                unknown,
            })
        }));
    }
    let accepted = match &request.key {
        None => {
            let accepted = request.ask(|store| store.accept(batch.clone()));
            accepted.await?
        }
        Some(key) => {
            let done = operations::accept(&request.context, key, batch, 0).await;
            let done = done.map_err(|error| refused(&error))?;
            let (names, accepted): (Vec<_>, Vec<_>) = done.into_iter().unzip();
            let sound = places.iter_mut().flatten();
            sound
                .zip(names)
                .for_each(|(reported, name)| reported.id = name);
            accepted
        }
    };
    let mut accepted = accepted.into_iter();
    let all = places.into_iter().map(|place| {
        let come = match place {
            Ok(reported) => match accepted.next() {
                Some(acceptance) => done(&request.context, reported, &acceptance),
                None => Err(Refusal::Internal),
            },
            Err(refusal) => Err(refusal),
        };
        come.inspect_err(|refusal| log_refusal(&request, refusal))
    });
    let mut all: Vec<Result<IntakeReceipt, Refusal>> = all.collect();
    if is_batch {
        return answer_batch(all.into_iter());
    }
    let done = all.pop().unwrap_or(Err(Refusal::Internal))?;
    answer::json(done.status, &done)
}

/// Counts what was refused, and has the log say it: who reports it may not look at answers.
fn log_refusal(request: &AdmittedRequest, refusal: &Refusal) {
    let metrics = &request.context.intake_metrics;
    metrics.count(match matches!(refusal, Refusal::Contradiction(_)) {
        true => IntakeResult::Conflict,
        false => IntakeResult::Refused,
    });
    let Some(tenant) = request.tenants.first() else {
        return;
    };
    let token = request.caller.actor(tenant, Permission::NotificationsWrite);
    let status = refuse::status(refusal).as_u16();
    let reason = || refuse::words(refusal).to_string();
    let intake_warnings = &request.context.intake_warnings;
    intake_warnings.refused(tenant, &token, status, reason);
}

fn answer_batch(
    all: impl Iterator<Item = Result<IntakeReceipt, Refusal>>,
) -> Result<ApiResponse, Refusal> {
    let mut status = StatusCode::OK;
    let entry = |done: Result<IntakeReceipt, Refusal>| match done {
        Ok(done) => {
            if done.status == StatusCode::CREATED {
                status = StatusCode::CREATED;
            }
            BatchEntry {
                status: done.status.as_u16(),
                rest: EntryBody::Done(done),
            }
        }
        Err(refusal) => BatchEntry {
            status: refuse::status(&refusal).as_u16(),
            rest: EntryBody::Refused(refuse::words(&refusal)),
        },
    };
    let entries: Vec<BatchEntry> = all.map(entry).collect();
    answer::json(status, &entries)
}

/// What was handed in, and whether it came as several.
fn read(open: &OpenTicket, request: &AdmittedRequest) -> Result<(Vec<DraftResult>, bool), Refusal> {
    let form = MediaType::of(&request.head.headers);
    let triggers = &open.triggers;
    if form.is_json_lines() {
        let text = input::text(&request.body)?;
        let lines = text.lines().filter(|line| !line.trim().is_empty());
        bounded(lines.clone().count())?;
        return Ok((
            lines.map(|line| Draft::read(line, triggers)).collect(),
            true,
        ));
    }
    if form.kind() != input::JSON {
        return Err(form.unknown());
    }
    let text = input::text(&request.body)?;
    if !text.trim_ascii_start().starts_with('[') {
        return Ok((vec![Draft::read(text, triggers)], false));
    }
    let items = Items::<INTAKE_BATCH_MAX>::read(text)?;
    bounded(items.count)?;
    let reads = items
        .kept
        .iter()
        .map(|item| Draft::read(item.get(), triggers));
    Ok((reads.collect(), true))
}

fn bounded(count: usize) -> Result<(), Refusal> {
    if count <= INTAKE_BATCH_MAX {
        return Ok(());
    }
    Err(Refusal::BadRequest(format!(
        "A batch may have at most {INTAKE_BATCH_MAX} triggers, not {count}."
    )))
}

fn done(
    context: &Context,
    reported: PendingTrigger<'_>,
    acceptance: &AcceptResult,
) -> Result<IntakeReceipt, Refusal> {
    let PendingTrigger { id, made, .. } = reported;
    let (what, status, invocations) = match *acceptance {
        AcceptResult::Accepted { deliveries, .. } => {
            (IntakeResult::Accepted, StatusCode::CREATED, deliveries)
        }
        // With an id made here, the duplicate is this very request: its answer was lost.
        AcceptResult::Duplicate { deliveries, .. } if made => {
            (IntakeResult::Duplicate, StatusCode::CREATED, deliveries)
        }
        AcceptResult::Duplicate { deliveries, .. } => {
            (IntakeResult::Duplicate, StatusCode::OK, deliveries)
        }
        AcceptResult::Conflict { accepted_at, .. } => {
            let words = format!(
                "Trigger {id} was reported before with other content: it first came at \
                 {accepted_at}."
            );
            return Err(Refusal::Contradiction(words));
        }
    };
    context.intake_metrics.count(what);
    // A webhook may subscribe to a pair that is not known to fire, and then gets it.
    let unknown = reported.unknown.filter(|_| invocations == 0);
    let warning = unknown.map(|words| {
        context.intake_metrics.unknown_types.inc();
        let intake_warnings = &context.intake_warnings;
        intake_warnings
            .unknown_type(reported.tenant, &reported.topic, || words)
            .to_string()
    });
    Ok(IntakeReceipt {
        status,
        id,
        invocations,
        warning,
    })
}
