//! Whether calls of webhooks are CloudEvents.

use model::cloud_event::CloudEventMode;
use model::contract::StoreError;
use model::id::{TenantId, WebhookId};
use model::time::Timestamp;
use serde_json::json;

use crate::sql::audit::AuditRecord;
use crate::sql::job_error::JobError;
use crate::sql::row::ReadRow;
use crate::sql::transaction::Transaction;
use crate::sql::{Connection, query, rows, webhook_rows};

shared_statements! {
    MODE = "select cloud_events from webhook where id = ?1 and tenant_id = ?2";
    SET_MODE = "update webhook set cloud_events = ?2 where id = ?1";
}

pub(crate) fn mode(
    conn: Connection<'_>,
    tenant: TenantId,
    webhook: WebhookId,
) -> Result<Option<CloudEventMode>, JobError> {
    let found = query::first(conn, MODE, values![webhook.0, tenant.0], |row| {
        stored(row.column(0)?)
    })?;
    Ok(found.flatten())
}

/// The column `cloud_events`.
pub(crate) fn stored(number: Option<i64>) -> Result<Option<CloudEventMode>, JobError> {
    Ok(number.map(rows::cloud_event_mode).transpose()?)
}

/// Changes the mode of a webhook that is there. Answers whether that was a change.
pub(crate) fn set_mode(
    tx: &mut dyn Transaction,
    (tenant, webhook): (TenantId, WebhookId),
    new: Option<CloudEventMode>,
    actor: &str,
    at: Timestamp,
) -> Result<bool, JobError> {
    if webhook_rows::find(tx.conn(), tenant, webhook)?.is_none() {
        return Err(StoreError::Stale.into());
    }
    if mode(tx.conn(), tenant, webhook)? == new {
        return Ok(false);
    }
    let number = new.map(rows::cloud_event_number);
    tx.execute(SET_MODE, values![webhook.0, number])?;
    tx.post_commit().changed(webhook);
    tx.post_commit().catalog_changed();
    AuditRecord::new(tenant, at, actor, "webhook.cloud_events")
        .about(webhook)
        .with(json!({ "mode": new.map(CloudEventMode::as_str) }))
        .write(tx)?;
    Ok(true)
}
