//! Limits that webhooks have of their own: columns of their rows, null where there is none.

use model::call_limits::{CallLimits, CallRate};
use model::contract::StoreError;
use model::id::{TenantId, WebhookId};
use model::time::Timestamp;
use serde_json::{Value, json};

use crate::sql::audit::AuditRecord;
use crate::sql::job_error::{CorruptRow, JobError};
use crate::sql::row::ReadRow;
use crate::sql::transaction::Transaction;
use crate::sql::{Connection, query, webhook_rows};

shared_statements! {
    LIMITS = "
        select calls_at_a_time, calls_in_million_s, time_limit_ms, schedule from webhook
        where id = ?1 and tenant_id = ?2";
    SET_LIMITS = "
        update webhook
        set calls_at_a_time = ?2, calls_in_million_s = ?3, time_limit_ms = ?4, schedule = ?5
        where id = ?1";
}

/// The limits of a webhook of the tenant; none if it is not there.
pub(crate) fn limits(
    conn: Connection<'_>,
    tenant: TenantId,
    webhook: WebhookId,
) -> Result<CallLimits, JobError> {
    let found = query::first(conn, LIMITS, values![webhook.0, tenant.0], |row| {
        stored(row, 0)
    })?;
    Ok(found.unwrap_or_default())
}

/// The four columns of `LIMITS`, from `at` on.
pub(crate) fn stored(row: &impl ReadRow, at: usize) -> Result<CallLimits, JobError> {
    let rate: Option<i64> = row.column(at + 1)?;
    let rate = rate.map(|micros| {
        let micros = u32::try_from(micros).ok();
        let rate = micros.and_then(CallRate::of_micros);
        rate.ok_or(CorruptRow("calls_in_million_s"))
    });
    Ok(CallLimits {
        calls_at_a_time: row.column(at)?,
        calls_per_second: rate.transpose()?,
        time_limit_ms: row.column(at + 2)?,
        schedule: row.column(at + 3)?,
    })
}

/// Changes the limits of a webhook that is there. Answers whether that was a change.
pub(crate) fn set_limits(
    tx: &mut dyn Transaction,
    (tenant, webhook): (TenantId, WebhookId),
    new: &CallLimits,
    actor: &str,
    at: Timestamp,
) -> Result<bool, JobError> {
    if webhook_rows::find(tx.conn(), tenant, webhook)?.is_none() {
        return Err(StoreError::Stale.into());
    }
    let old = limits(tx.conn(), tenant, webhook)?;
    if old == *new {
        return Ok(false);
    }
    tx.execute(
        SET_LIMITS,
        values![
            webhook.0,
            new.calls_at_a_time,
            new.calls_per_second.map(CallRate::micros),
            new.time_limit_ms,
            new.schedule
        ],
    )?;
    tx.post_commit().changed(webhook);
    tx.post_commit().catalog_changed();
    AuditRecord::new(tenant, at, actor, "webhook.limits")
        .about(webhook)
        .with(json!({ "before": shown(&old), "after": shown(new) }))
        .write(tx)?;
    Ok(true)
}

fn shown(limits: &CallLimits) -> Value {
    let typed = limits.typed();
    json!({
        "calls_at_a_time": typed.calls_at_a_time,
        "calls_per_second": typed.calls_per_second,
        "time_limit": typed.time_limit,
        "schedule": typed.schedule,
    })
}
