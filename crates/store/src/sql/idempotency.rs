//! Idempotency keys: runs an operation once, and stores a record of what came of it.
//!
//! The record is no response yet. The caller makes the response from it, now or, if the process
//! dies before, when the key is used again.

use model::contract::{Conflict, ReplayResult, ReplayScope, StoreError};
use model::id::{NotificationId, WebhookId};
use model::idempotency::{IdempotencyKey, IdempotentOperation, IdempotentResult};
use model::mutation::{Mutation, is_on};
use model::notification::AcceptResult;
use model::query::StoredResponse;
use model::time::Timestamp;
use model::webhook::Headers;
use serde::{Deserialize, Serialize};

use crate::sql::job_error::{CorruptRow, JobError};
use crate::sql::replay;
use crate::sql::rows;
use crate::sql::transaction::Transaction;
use crate::sql::{query, stored_responses, webhook_rows, webhooks};

shared_statements! {
    FIND = "
        select request, body from kept_answer
        where key = ?1 and holder = ?2 and kept_at >= ?3";
}

/// The record as it is stored, as JSON.
#[derive(Serialize, Deserialize)]
enum OperationRecord {
    /// For each: its key, what became of it, the notification's id, how many deliveries.
    Accepted(Vec<(String, AcceptedAs, i64, u32)>),
    Created(i64),
    Saved(i64),
    Requeued(usize),
}

#[derive(Clone, Copy, Serialize, Deserialize)]
enum AcceptedAs {
    Accepted,
    Repeated,
    /// With the time at which the other one was accepted.
    Contradicted(i64),
}

pub(crate) fn run(
    tx: &mut dyn Transaction,
    key: &IdempotencyKey,
    operation: &IdempotentOperation,
    at: Timestamp,
) -> Result<IdempotentResult, JobError> {
    tx.lock_idempotency_key(key)?;
    let name = name(&key.key, operation);
    if !is_on(Mutation::RepeatIdempotencyKey)
        && let Some(record) = find(tx, key, &name, at)?
    {
        return result_of(tx, record);
    }
    let (result, record, answer) = match operation {
        IdempotentOperation::Accept { batch, .. } => {
            let acceptances = tx.accept(batch)?;
            let names = batch.iter().map(|new| new.key.clone());
            let all: Vec<_> = names.zip(acceptances).collect();
            let record = OperationRecord::Accepted(all.iter().map(accepted_record).collect());
            (IdempotentResult::Accepted(all), record, None)
        }
        IdempotentOperation::CreateWebhook { webhook, actor } => {
            let made = webhooks::create(tx, webhook.clone(), actor, at)?;
            let record = OperationRecord::Created(made.id.0);
            (IdempotentResult::Created(Box::new(made)), record, None)
        }
        IdempotentOperation::SaveWebhook {
            webhook,
            actor,
            answer,
        } => {
            let saved = webhooks::save(tx, (**webhook).clone(), actor, at)?;
            let record = OperationRecord::Saved(saved.id.0);
            (
                IdempotentResult::Saved(Box::new(saved)),
                record,
                answer.as_deref(),
            )
        }
        IdempotentOperation::Replay { ask, counted } => {
            let done = replay::replay(tx, ask, at)?.with(*counted);
            let last = !matches!(&ask.which, ReplayScope::Filtered(pick) if !pick.last);
            let count = match done {
                ReplayResult::Done { count, more: false } => count,
                ReplayResult::Reached { count, upto: None } if last => count,
                // Nothing was done, or not everything.
                ReplayResult::Done { .. }
                | ReplayResult::Reached { .. }
                | ReplayResult::Unknown
                | ReplayResult::Disabled => return Ok(IdempotentResult::Replayed(done)),
            };
            (
                IdempotentResult::Replayed(done),
                OperationRecord::Requeued(count),
                None,
            )
        }
    };
    match answer {
        Some(answer) => stored_responses::store(tx, answer, at)?,
        None => {
            let unmade = StoredResponse {
                key: name,
                holder: key.holder,
                request: key.request,
                status: 0,
                headers: Headers::default(),
                body: serde_json::to_vec(&record)?.into(),
            };
            stored_responses::store(tx, &unmade, at)?;
        }
    }
    Ok(result)
}

/// Later parts of a request have rows of their own, under names that no header can hold.
fn name(key: &str, operation: &IdempotentOperation) -> String {
    match operation {
        IdempotentOperation::Accept {
            part: part @ 1.., ..
        } => format!("{key}\n{part}"),
        IdempotentOperation::Accept { .. }
        | IdempotentOperation::CreateWebhook { .. }
        | IdempotentOperation::SaveWebhook { .. }
        | IdempotentOperation::Replay { .. } => key.to_owned(),
    }
}

/// The record of an earlier run. Nothing has been written when this is asked, so a refusal leaves
/// nothing to undo.
fn find(
    tx: &mut dyn Transaction,
    key: &IdempotencyKey,
    name: &str,
    at: Timestamp,
) -> Result<Option<OperationRecord>, JobError> {
    let kept_from = stored_responses::kept_from(tx, at)?.as_millis();
    let asked = values![name, key.holder.0, kept_from];
    let found = query::first(tx.conn(), FIND, asked, |row| {
        Ok((rows::hash(row, 0)?, rows::bytes(row, 1)?))
    })?;
    let Some((request, record)) = found else {
        return Ok(None);
    };
    if request != key.request {
        let taken = StoreError::Conflict(Conflict::IdempotencyKey);
        return Err(JobError::Refused(taken));
    }
    // A complete response is no record: the caller finds it among the stored responses.
    match serde_json::from_slice(&record) {
        Ok(record) => Ok(Some(record)),
        Err(_) => Err(JobError::Refused(StoreError::Stale)),
    }
}

fn result_of(tx: &dyn Transaction, record: OperationRecord) -> Result<IdempotentResult, JobError> {
    let webhook = |id| {
        let found = webhook_rows::find_any(tx.conn(), WebhookId(id))?;
        let found = found.ok_or(CorruptRow("record of a webhook that is gone"));
        found.map(Box::new).map_err(JobError::from)
    };
    Ok(match record {
        OperationRecord::Accepted(all) => {
            IdempotentResult::Accepted(all.into_iter().map(read).collect())
        }
        OperationRecord::Created(id) => IdempotentResult::Created(webhook(id)?),
        OperationRecord::Saved(id) => IdempotentResult::Saved(webhook(id)?),
        OperationRecord::Requeued(count) => {
            IdempotentResult::Replayed(ReplayResult::Done { count, more: false })
        }
    })
}

fn accepted_record((name, acceptance): &(String, AcceptResult)) -> (String, AcceptedAs, i64, u32) {
    let (what, id, deliveries) = match *acceptance {
        AcceptResult::Accepted { id, deliveries } => (AcceptedAs::Accepted, id, deliveries),
        AcceptResult::Duplicate { id, deliveries } => (AcceptedAs::Repeated, id, deliveries),
        AcceptResult::Conflict { id, accepted_at } => {
            (AcceptedAs::Contradicted(accepted_at.as_millis()), id, 0)
        }
    };
    (name.clone(), what, id.0, deliveries)
}

fn read((name, what, id, deliveries): (String, AcceptedAs, i64, u32)) -> (String, AcceptResult) {
    let id = NotificationId(id);
    let acceptance = match what {
        AcceptedAs::Accepted => AcceptResult::Accepted { id, deliveries },
        AcceptedAs::Repeated => AcceptResult::Duplicate { id, deliveries },
        AcceptedAs::Contradicted(at) => AcceptResult::Conflict {
            id,
            accepted_at: Timestamp::from_millis(at),
        },
    };
    (name, acceptance)
}
