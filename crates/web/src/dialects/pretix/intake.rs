//! How an application hands in notifications: one, a JSON array of them, or one a line.
//!
//! Everything that is sound goes to the store as one batch, and is answered only once it is
//! durable. What is not sound is refused in its place and harms nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;
use http::StatusCode;
use model::contract::StoreError;
use model::limits::{INTAKE_BATCH_MAX, NOTIFICATION_BODY_BYTES_MAX};
use model::notification::{Acceptance, NewNotification};
use model::refusal::Refusal;
use model::tenant::Tenant;
use model::time::Timestamp;
use model::webhook::Headers;

use super::input::{Decode, read_json};
use super::json::{Object, Value};
use super::wire::Draft;
use super::{Pretix, answer, refuse};
use crate::body::Form;
use crate::meters::Intake;
use crate::route::{Admitted, Answer};
use crate::state::{Shared, refused};

/// 2020-01-01T00:00:00Z: ids made here count microseconds from then, and stay below 2^53 until
/// the year 2305, so that every language can hold them.
const IDS_BEGIN_MS: i64 = 1_577_836_800_000;

/// How often notifications without an id get another one, because theirs was taken.
const ID_TRIES: usize = 5;

/// Gives ids to notifications that come without one.
#[derive(Debug, Default)]
pub(super) struct Ids(AtomicI64);

/// One notification as it was handed in, sound or not.
type Read = Result<Draft, Refusal>;

/// What became of one notification: under which id, and how many deliveries it has.
struct Done {
    status: StatusCode,
    id: String,
    deliveries: u32,
}

pub(super) async fn take_notifications(
    pretix: Arc<Pretix>,
    request: Admitted,
) -> Result<Answer, Refusal> {
    let tenant = request.tenant()?;
    let organizer = tenant.key.as_str();
    let (reads, is_batch) = read(&pretix, &request, organizer).inspect_err(|_| {
        request.shared.meters.intake(Intake::Refused);
    })?;
    let mut drafts = Vec::new();
    let mut refusals: Vec<Option<Refusal>> = Vec::with_capacity(reads.len());
    for read in reads {
        match read {
            Ok(draft) => {
                drafts.push(draft);
                refusals.push(None);
            }
            Err(refusal) => refusals.push(Some(refusal)),
        }
    }
    let mut accepted = accept(&pretix.ids, &request.shared, tenant, &drafts)
        .await?
        .into_iter();
    let mut done = refusals.into_iter().map(|refusal| match refusal {
        None => accepted.next().unwrap_or(Err(Refusal::Internal)),
        Some(refusal) => {
            request.shared.meters.intake(Intake::Refused);
            Err(refusal)
        }
    });
    if is_batch {
        return Ok(answer_batch(&request, done));
    }
    let done = done.next().unwrap_or(Err(Refusal::Internal))?;
    Ok(answer::json(
        &request.asked,
        done.status,
        &Value::object(done.pairs()),
    ))
}

fn answer_batch(request: &Admitted, all: impl Iterator<Item = Result<Done, Refusal>>) -> Answer {
    let mut status = StatusCode::OK;
    let entry = |done: Result<Done, Refusal>| match done {
        Ok(done) => {
            if done.status == StatusCode::CREATED {
                status = StatusCode::CREATED;
            }
            let [id, deliveries] = done.pairs();
            let code = ("status", Value::int(done.status.as_u16()));
            Value::object([code, id, deliveries])
        }
        Err(refusal) => refused_entry(&refusal),
    };
    let entries = Value::List(all.map(entry).collect());
    answer::json(&request.asked, status, &entries)
}

fn refused_entry(refusal: &Refusal) -> Value {
    let code = ("status", Value::int(refuse::status(refusal).as_u16()));
    let why = if matches!(refusal, Refusal::Invalid(_)) {
        ("errors", refuse::faults(refusal))
    } else {
        let words = refuse::words(refusal, "Notification");
        ("detail", Value::text(words))
    };
    Value::object([code, why])
}

impl Done {
    fn pairs(&self) -> [(&'static str, Value); 2] {
        [
            ("notification_id", Value::Int(self.id.clone())),
            ("deliveries", Value::int(self.deliveries)),
        ]
    }
}

/// What was handed in, and whether it came as several.
fn read(
    pretix: &Pretix,
    request: &Admitted,
    organizer: &str,
) -> Result<(Vec<Read>, bool), Refusal> {
    let form = Form::of(&request.asked.headers);
    let sound = |value: Value| {
        let draft = Draft::read(value, organizer, &pretix.kinds).map_err(Refusal::Invalid)?;
        if draft.bytes_max() > NOTIFICATION_BODY_BYTES_MAX {
            return Err(Refusal::TooLarge(NOTIFICATION_BODY_BYTES_MAX));
        }
        Ok(draft)
    };
    if form.is_json_lines() {
        // Each line by itself: one that is not text spoils no other.
        let lines = request.body.split(|byte| *byte == b'\n');
        let lines = lines.filter(|line| !line.trim_ascii().is_empty());
        bounded(lines.clone().count())?;
        let read = |line: &[u8]| sound(read_json(&form.decoded(line)?)?);
        return Ok((lines.map(read).collect(), true));
    }
    if request.body.is_empty() {
        return Ok((vec![sound(Value::Object(Object::default()))], false));
    }
    if form.kind != "application/json" {
        return Err(form.unknown());
    }
    let value = read_json(&form.decoded(&request.body)?)?;
    if let Value::List(values) = value {
        bounded(values.len())?;
        return Ok((values.into_iter().map(sound).collect(), true));
    }
    Ok((vec![sound(value)], false))
}

fn bounded(count: usize) -> Result<(), Refusal> {
    if count <= INTAKE_BATCH_MAX {
        return Ok(());
    }
    Err(Refusal::BadRequest(format!(
        "A batch may have at most {INTAKE_BATCH_MAX} notifications, not {count}."
    )))
}

/// Hands drafts to the store and says of each what became of it, in their order.
async fn accept(
    ids: &Ids,
    shared: &Shared,
    tenant: &Tenant,
    drafts: &[Draft],
) -> Result<Vec<Result<Done, Refusal>>, Refusal> {
    let at = shared.clock.now();
    let mut all: Vec<Option<Result<Done, Refusal>>> = drafts.iter().map(|_| None).collect();
    for _ in 0..ID_TRIES {
        let open: Vec<(usize, &Draft, String)> = drafts
            .iter()
            .enumerate()
            .filter(|(index, _)| all.get(*index).is_some_and(Option::is_none))
            .map(|(index, draft)| {
                let id = draft.id.clone();
                (index, draft, id.unwrap_or_else(|| ids.next(shared, at)))
            })
            .collect();
        if open.is_empty() {
            break;
        }
        let batch = || {
            let all = open.iter();
            all.map(|(_, draft, id)| notification(tenant, draft, id, at))
                .collect()
        };
        let (acceptances, twice) = ask(shared, batch).await?;
        assert_eq!(
            acceptances.len(),
            open.len(),
            "the store answers each notification"
        );
        for ((index, draft, id), acceptance) in open.into_iter().zip(acceptances) {
            let made = draft.id.is_none();
            let is_new = matches!(acceptance, Acceptance::Accepted { .. });
            let is_own = twice && matches!(acceptance, Acceptance::Repeated { .. });
            if made && !is_new && !is_own {
                // Another process made the same id at the same moment.
                continue;
            }
            if let Some(place) = all.get_mut(index) {
                *place = Some(done(shared, id, &acceptance, made));
            }
        }
    }
    let unlucky = || Err(refused(&StoreError::Busy));
    Ok(all
        .into_iter()
        .map(|done| done.unwrap_or_else(unlucky))
        .collect())
}

/// What the store says, and whether it was asked twice because the first answer was lost.
async fn ask(
    shared: &Shared,
    batch: impl Fn() -> Vec<NewNotification>,
) -> Result<(Vec<Acceptance>, bool), Refusal> {
    match shared.store.accept(batch()).await {
        Err(StoreError::Unknown) => {
            let again = shared.store.accept(batch()).await;
            again.map(|acceptances| (acceptances, true))
        }
        answer => answer.map(|acceptances| (acceptances, false)),
    }
    .map_err(|error| refused(&error))
}

fn done(shared: &Shared, id: String, acceptance: &Acceptance, made: bool) -> Result<Done, Refusal> {
    let (what, done) = match *acceptance {
        Acceptance::Accepted { deliveries, .. } => {
            let status = StatusCode::CREATED;
            (
                Intake::Accepted,
                Ok(Done {
                    status,
                    id,
                    deliveries,
                }),
            )
        }
        // With an id made here, what is repeated is this very request.
        Acceptance::Repeated { deliveries, .. } => {
            let status = if made {
                StatusCode::CREATED
            } else {
                StatusCode::OK
            };
            (
                Intake::Repeated,
                Ok(Done {
                    status,
                    id,
                    deliveries,
                }),
            )
        }
        Acceptance::Contradicted { .. } => {
            let words = format!("Notification {id} was handed in before with another body.");
            (Intake::Contradicted, Err(Refusal::Contradiction(words)))
        }
    };
    shared.meters.intake(what);
    done
}

pub(super) fn notification(
    tenant: &Tenant,
    draft: &Draft,
    id: &str,
    at: Timestamp,
) -> NewNotification {
    NewNotification {
        tenant: tenant.id,
        key: id.to_owned(),
        action_type: draft.action.clone(),
        pairs: draft.pairs.clone(),
        event: draft.event.clone(),
        headers: Headers::default(),
        body: Bytes::from(draft.body(id)),
        digest: None,
        about: None,
        only: None,
        at,
    }
}

impl Ids {
    /// Larger than every one before, and by chance different from those of other processes.
    pub(super) fn next(&self, shared: &Shared, at: Timestamp) -> String {
        let spread = i64::try_from(shared.draw(1_000)).unwrap_or(0);
        let micros = at.as_millis().saturating_sub(IDS_BEGIN_MS).max(0);
        let fresh = micros.saturating_mul(1_000).saturating_add(spread);
        let next = |last: i64| fresh.max(last.saturating_add(1));
        let step = |last| Some(next(last));
        let last = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, step);
        next(last.unwrap_or_default()).to_string()
    }
}
