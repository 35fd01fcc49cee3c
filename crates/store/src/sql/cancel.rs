//! Cancelling: all that a webhook has pending, in bounded steps, or single deliveries on request.

use model::delivery::CancelCause;
use model::id::{DeliveryId, TenantId, WebhookId};
use model::limits;
use model::mutation::{Mutation, is_on};
use model::time::Timestamp;
use model::webhook::DisableCause;
use serde_json::json;

use crate::sql::audit::AuditRecord;
use crate::sql::job_error::JobError;
use crate::sql::rows;
use crate::sql::transaction::Transaction;
use crate::sql::{webhook_health, webhook_rows};

shared_statements! {
    CANCEL_ONE = "
        update delivery
        set state = 3, cause = ?4, round_began_at = null, due_at = null, ended_at = ?3
        where /*postgres tenant_id = (select tenant_id from webhook where id = ?2) and */
          notification_id = ?1 and webhook_id = ?2 and state + 0 in (0, 4)";
}

/// The most deliveries named in one audit entry.
const NAMES_MAX: usize = 50;

/// Cancels what the webhook has pending, one bounded step. Answers how many.
pub(crate) fn cancel_pending(
    tx: &mut dyn Transaction,
    webhook: WebhookId,
    cause: DisableCause,
    at: Timestamp,
) -> Result<usize, JobError> {
    if is_on(Mutation::SendAfterDisable) {
        return Ok(0);
    }
    let cause = rows::cancel_cause(cause);
    let cancelled = tx.cancel_some(webhook, cause, at, rows::bound(limits::BULK_STEP_MAX))?;
    webhook_health::count_failed(tx, webhook, at, cancelled)?;
    Ok(cancelled)
}

pub(crate) fn cancel(
    tx: &mut dyn Transaction,
    webhook: WebhookId,
    at: Timestamp,
) -> Result<usize, JobError> {
    let stored = webhook_rows::find_any(tx.conn(), webhook)?;
    match stored.and_then(|webhook| webhook.disabled) {
        Some(disabled) => cancel_pending(tx, webhook, disabled.cause, at),
        None => Ok(0),
    }
}

/// Cancels those of `asked` that are the tenant's and pending. Answers how many.
pub(crate) fn cancel_deliveries(
    tx: &mut dyn Transaction,
    tenant: TenantId,
    mut asked: Vec<DeliveryId>,
    actor: &str,
    at: Timestamp,
) -> Result<usize, JobError> {
    asked.sort_by_key(|id| (id.webhook, id.notification));
    asked.truncate(limits::BULK_STEP_MAX);
    let mut count = 0;
    for of_webhook in asked.chunk_by(|one, other| one.webhook == other.webhook) {
        let Some(webhook) = of_webhook.first().map(|id| id.webhook) else {
            continue;
        };
        if webhook_rows::tenant_of(tx.conn(), webhook)? == Some(tenant) {
            count += cancel_of_webhook(tx, tenant, webhook, of_webhook, actor, at)?;
        }
    }
    Ok(count)
}

fn cancel_of_webhook(
    tx: &mut dyn Transaction,
    tenant: TenantId,
    webhook: WebhookId,
    asked: &[DeliveryId],
    actor: &str,
    at: Timestamp,
) -> Result<usize, JobError> {
    let mut names = Vec::new();
    let mut count = 0;
    for id in asked {
        if cancel_one(tx, *id, at)? {
            count += 1;
            names.push(id.to_string());
        }
    }
    if count == 0 {
        return Ok(0);
    }
    names.truncate(NAMES_MAX);
    webhook_health::count_failed(tx, webhook, at, count)?;
    tx.post_commit().changed(webhook);
    AuditRecord::new(tenant, at, actor, "deliveries.stopped")
        .about(webhook)
        .with(json!({ "count": count, "deliveries": names }))
        .write(tx)?;
    Ok(count)
}

/// Cancels a delivery on request, if it is pending. Answers whether it was.
pub(crate) fn cancel_one(
    tx: &mut dyn Transaction,
    id: DeliveryId,
    at: Timestamp,
) -> Result<bool, JobError> {
    if tx.cancel_unattempted(id, CancelCause::Requested, at)? {
        return Ok(true);
    }
    let cancelled = tx.execute(
        CANCEL_ONE,
        values![
            id.notification.0,
            id.webhook.0,
            at.as_millis(),
            rows::cause_number(CancelCause::Requested),
        ],
    )?;
    Ok(cancelled > 0)
}
