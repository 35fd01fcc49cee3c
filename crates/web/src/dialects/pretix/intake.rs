//! How an application hands in notifications: one, a JSON array of them, or one a line.
//!
//! All valid ones go to the store as one batch, and the response comes once they are durable. An
//! invalid one is refused in its place and does not affect the others.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use model::contract::StoreError;
use model::limits::{INTAKE_BATCH_MAX, INTAKE_BODY_BYTES_MAX, NOTIFICATION_BODY_BYTES_MAX};
use model::mutation::{Mutation, is_on};
use model::notification::{AcceptResult, NewNotification};
use model::refusal::{Fault, Refusal};
use model::tenant::{Permission, Tenant};

use super::context::Pretix;
use super::input::{Decode, read_json};
use super::json::{JsonObject, JsonValue};
use super::notification::notification;
use super::wire::Draft;
use super::{answer, refuse};
use crate::gateway::api::{AdmittedRequest, ApiResponse};
use crate::gateway::context::Context;
use crate::gateway::metrics::IntakeResult;
use crate::gateway::operations;
use crate::gateway::store::refused;
use crate::transport::media_type::MediaType;

/// How often notifications without an id get another one because theirs was taken.
const ID_TRIES: u32 = 5;

/// One notification as handed in, or why it is invalid.
type DraftResult<'a> = Result<Draft<'a>, Refusal>;

/// The result for one notification: its id, and how many deliveries it has.
struct IntakeReceipt {
    status: StatusCode,
    id: String,
    deliveries: u32,
    /// Why no webhook can get it.
    warning: Option<Arc<str>>,
}

/// A valid notification without a result yet.
struct PendingDraft<'a> {
    draft: Draft<'a>,
    /// Its own id, or the one made for this try.
    id: String,
    /// Its position in the batch.
    place: usize,
}

pub(super) async fn take_notifications(
    pretix: Arc<Pretix>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    let tenant = request.tenant()?;
    let form = MediaType::of(&request.head.headers);
    let texts = texts(&form, &request.body);
    let reads = texts.as_ref().map_err(Clone::clone);
    let reads = reads.and_then(|texts| texts.read(&pretix, tenant.key.as_str()));
    let (reads, is_batch) = reads.inspect_err(|refusal| {
        request.context.intake_metrics.count(IntakeResult::Refused);
        log_refusal(&request, tenant, refusal);
    })?;
    let mut done = accept(&pretix, &request, tenant, reads).await?;
    for refusal in done.iter().filter_map(|done| done.as_ref().err()) {
        log_refusal(&request, tenant, refusal);
    }
    if is_batch {
        return Ok(answer_batch(&request, &done));
    }
    let done = done.pop().unwrap_or(Err(Refusal::Internal))?;
    let body = JsonValue::Object(JsonObject::of(done.pairs()));
    Ok(answer::json(&request.head, done.status, &body))
}

/// Logs a refusal: applications do not always look at responses.
fn log_refusal(request: &AdmittedRequest, tenant: &Tenant, refusal: &Refusal) {
    let token = request.caller.actor(tenant, Permission::NotificationsWrite);
    let reason = || {
        if let Refusal::Invalid(faults) = refusal {
            return said(faults);
        }
        refuse::words(refusal, "Notification")
    };
    let status = refuse::status(refusal).as_u16();
    request
        .context
        .intake_warnings
        .refused(tenant, &token, status, reason);
}

/// The faults in one line.
fn said(faults: &[Fault]) -> String {
    let fault = |fault: &Fault| format!("{}: {}", fault.field, fault.reasons.join(" "));
    faults.iter().map(fault).collect::<Vec<_>>().join(" ")
}

fn answer_batch(request: &AdmittedRequest, all: &[Result<IntakeReceipt, Refusal>]) -> ApiResponse {
    let mut status = StatusCode::OK;
    let entries = all.iter().map(|done| match done {
        Ok(done) => {
            if done.status == StatusCode::CREATED {
                status = StatusCode::CREATED;
            }
            let code = ("status", JsonValue::int(done.status.as_u16()));
            JsonValue::Object(JsonObject::of(std::iter::once(code).chain(done.pairs())))
        }
        Err(refusal) => refused_entry(refusal),
    });
    let entries = JsonValue::List(entries.collect());
    answer::json(&request.head, status, &entries)
}

fn refused_entry(refusal: &Refusal) -> JsonValue<'_> {
    let code = ("status", JsonValue::int(refuse::status(refusal).as_u16()));
    let why = if matches!(refusal, Refusal::Invalid(_)) {
        ("errors", refuse::faults(refusal))
    } else {
        let words = refuse::words(refusal, "Notification");
        ("detail", JsonValue::text(words))
    };
    JsonValue::object([code, why])
}

impl IntakeReceipt {
    fn pairs<'a>(&'a self) -> impl Iterator<Item = (&'a str, JsonValue<'a>)> {
        let usual = [
            ("notification_id", JsonValue::Int(self.id.as_str().into())),
            ("deliveries", JsonValue::int(self.deliveries)),
        ];
        let warning = self.warning.as_deref();
        let warning = warning.map(|words| ("warning", JsonValue::text(words)));
        usual.into_iter().chain(warning)
    }
}

/// The body as JSON texts.
enum JsonInput<'a> {
    /// One text: a notification or a list of them.
    One(Cow<'a, str>),
    /// A text for each notification. Invalid UTF-8 affects only its own.
    Lines(Vec<Result<Cow<'a, str>, Refusal>>),
}

fn texts<'a>(form: &MediaType<'_>, body: &'a Bytes) -> Result<JsonInput<'a>, Refusal> {
    let is_json = form.kind() == "application/json";
    if !is_json && form.is_json_lines() {
        let lines = body.split(|byte| *byte == b'\n');
        let lines = lines.filter(|line| !line.trim_ascii().is_empty());
        bounded(lines.clone().count())?;
        let lines = lines.map(|line| form.decoded(line));
        return Ok(JsonInput::Lines(lines.collect()));
    }
    if body.is_empty() {
        return Ok(JsonInput::One("{}".into()));
    }
    if !is_json {
        return Err(form.unknown());
    }
    Ok(JsonInput::One(form.decoded(body)?))
}

impl JsonInput<'_> {
    /// All notifications, and whether they came as a batch.
    fn read<'a>(
        &'a self,
        pretix: &'a Pretix,
        organizer: &str,
    ) -> Result<(Vec<DraftResult<'a>>, bool), Refusal> {
        let action_types = &pretix.action_types;
        // Written as pretix writes, a text may become six times as long.
        let mut left = INTAKE_BODY_BYTES_MAX;
        let mut sound = |value: JsonValue<'a>| {
            let draft = Draft::read(value, organizer, action_types).map_err(Refusal::Invalid)?;
            if pretix.strict && draft.is_unknown() {
                return Err(Refusal::invalid(
                    "action",
                    action_types.unknown(&draft.action),
                ));
            }
            if draft.bytes_max() > NOTIFICATION_BODY_BYTES_MAX {
                return Err(Refusal::TooLarge(NOTIFICATION_BODY_BYTES_MAX));
            }
            let rest = left.checked_sub(draft.bytes_max());
            left = rest.ok_or(Refusal::TooLarge(INTAKE_BODY_BYTES_MAX))?;
            Ok(draft)
        };
        let text = match self {
            Self::One(text) => text,
            Self::Lines(lines) => {
                let read = |line: &'a Result<Cow<'_, str>, Refusal>| {
                    sound(read_json(line.as_ref().map_err(Clone::clone)?)?)
                };
                return Ok((lines.iter().map(read).collect(), true));
            }
        };
        let value = read_json(text)?;
        if let JsonValue::List(values) = value {
            bounded(values.len())?;
            return Ok((values.into_iter().map(sound).collect(), true));
        }
        Ok((vec![sound(value)], false))
    }
}

fn bounded(count: usize) -> Result<(), Refusal> {
    if count <= INTAKE_BATCH_MAX {
        return Ok(());
    }
    Err(Refusal::BadRequest(format!(
        "A batch may have at most {INTAKE_BATCH_MAX} notifications, not {count}."
    )))
}

/// Hands the valid ones to the store and returns all results in order.
async fn accept(
    pretix: &Pretix,
    request: &AdmittedRequest,
    tenant: &Tenant,
    reads: Vec<DraftResult<'_>>,
) -> Result<Vec<Result<IntakeReceipt, Refusal>>, Refusal> {
    let context = &*request.context;
    let at = context.clock.now();
    let mut all: Vec<Result<IntakeReceipt, Refusal>> = Vec::with_capacity(reads.len());
    let mut open: Vec<PendingDraft<'_>> = Vec::with_capacity(reads.len());
    for (place, read) in reads.into_iter().enumerate() {
        all.push(Err(match read {
            Ok(draft) => {
                let id = draft.id.as_deref().unwrap_or_default().to_owned();
                open.push(PendingDraft { draft, id, place });
                // Unless one of the tries succeeds.
                refused(&StoreError::Busy)
            }
            Err(refusal) => refusal,
        }));
    }
    let refused_count = all.len() - open.len();
    for part in 0..ID_TRIES {
        if open.is_empty() {
            break;
        }
        for open in open.iter_mut().filter(|open| open.draft.id.is_none()) {
            open.id = pretix.ids.next(&context.rng, at);
        }
        let batch = || {
            let new = |open: &PendingDraft<'_>| notification(tenant, &open.draft, &open.id, at);
            open.iter().map(new).collect()
        };
        let (acceptances, twice) = match &request.key {
            None => ask(context, batch).await?,
            Some(key) => {
                let done = operations::accept(context, key, batch(), part).await;
                let done = done.map_err(|error| refused(&error))?;
                let (names, acceptances): (Vec<_>, Vec<_>) = done.into_iter().unzip();
                let named = open.iter_mut().zip(names);
                named.for_each(|(open, name)| open.id = name);
                (acceptances, false)
            }
        };
        assert_eq!(
            acceptances.len(),
            open.len(),
            "the store answers each notification"
        );
        let tried = std::mem::take(&mut open);
        for (tried, acceptance) in tried.into_iter().zip(acceptances) {
            let made = tried.draft.id.is_none();
            let is_new = matches!(acceptance, AcceptResult::Accepted { .. });
            let is_own = twice && matches!(acceptance, AcceptResult::Duplicate { .. });
            if made && !is_new && !is_own {
                // Another process made the same id at the same moment.
                open.push(tried);
            } else if let Some(place) = all.get_mut(tried.place) {
                let mut done = done(context, tried.id, &acceptance, made);
                if let Ok(done) = &mut done
                    && tried.draft.is_unknown()
                {
                    let action = &*tried.draft.action;
                    let judged = || pretix.action_types.unknown(action);
                    done.warning =
                        Some(context.intake_warnings.unknown_type(tenant, action, judged));
                    context.intake_metrics.unknown_types.inc();
                }
                *place = done;
            }
        }
    }
    for _ in 0..refused_count {
        context.intake_metrics.count(IntakeResult::Refused);
    }
    Ok(all)
}

/// The store's answer, and whether it was asked twice because the first answer was lost.
async fn ask(
    context: &Context,
    batch: impl Fn() -> Vec<NewNotification>,
) -> Result<(Vec<AcceptResult>, bool), Refusal> {
    match context.store.get().accept(batch()).await {
        Err(StoreError::Unknown) => {
            let again = context.store.get().accept(batch()).await;
            again.map(|acceptances| (acceptances, !is_on(Mutation::LostAnswerIsFailure)))
        }
        answer => answer.map(|acceptances| (acceptances, false)),
    }
    .map_err(|error| refused(&error))
}

fn done(
    context: &Context,
    id: String,
    acceptance: &AcceptResult,
    made: bool,
) -> Result<IntakeReceipt, Refusal> {
    let (what, status, deliveries) = match *acceptance {
        AcceptResult::Accepted { deliveries, .. } => {
            (IntakeResult::Accepted, StatusCode::CREATED, deliveries)
        }
        // With an id made here, the duplicate is this very request.
        AcceptResult::Duplicate { deliveries, .. } if made => {
            (IntakeResult::Duplicate, StatusCode::CREATED, deliveries)
        }
        AcceptResult::Duplicate { deliveries, .. } => {
            (IntakeResult::Duplicate, StatusCode::OK, deliveries)
        }
        AcceptResult::Conflict { accepted_at, .. } => {
            context.intake_metrics.count(IntakeResult::Conflict);
            return Err(Refusal::Contradiction(format!(
                "Notification {id} was handed in before with another body: it first came at \
                 {accepted_at}."
            )));
        }
    };
    context.intake_metrics.count(what);
    Ok(IntakeReceipt {
        status,
        id,
        deliveries,
        warning: None,
    })
}
