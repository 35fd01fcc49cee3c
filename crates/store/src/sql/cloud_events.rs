//! Whether calls of webhooks are CloudEvents, and whether their receivers are asked before.

use model::cloud_event::{CloudEventChoice, CloudEventMode, CloudEvents};
use model::contract::StoreError;
use model::id::{TenantId, WebhookId};
use model::time::Timestamp;
use serde_json::{Value, json};

use crate::sql::audit::AuditRecord;
use crate::sql::job_error::JobError;
use crate::sql::row::ReadRow;
use crate::sql::transaction::Transaction;
use crate::sql::{Connection, handshake, query, rows, webhook_rows};

shared_statements! {
    CHOSEN = "
        select cloud_events, handshake_since, handshake_at, handshake_url, handshake_origin,
          handshake_rate, handshake_refused
        from webhook
        where id = ?1 and tenant_id = ?2";
    SET_MODE = "update webhook set cloud_events = ?2 where id = ?1";
    SET_HANDSHAKE = "
        update webhook
        set handshake_since = ?2, handshake_at = null, handshake_url = null,
          handshake_origin = null, handshake_rate = null, handshake_refused = null
        where id = ?1";
}

pub(crate) fn chosen(
    conn: Connection<'_>,
    tenant: TenantId,
    webhook: WebhookId,
) -> Result<Option<CloudEvents>, JobError> {
    let found = query::first(conn, CHOSEN, values![webhook.0, tenant.0], |row| {
        let mode = stored(row.column(0)?)?;
        let handshake = handshake::stored(row, 1)?;
        Ok(mode.map(|mode| CloudEvents { mode, handshake }))
    })?;
    Ok(found.flatten())
}

/// The column `cloud_events`.
pub(crate) fn stored(number: Option<i64>) -> Result<Option<CloudEventMode>, JobError> {
    Ok(number.map(rows::cloud_event_mode).transpose()?)
}

/// Changes the choice of a webhook that is there. Answers whether that was a change.
pub(crate) fn choose(
    tx: &mut dyn Transaction,
    (tenant, webhook): (TenantId, WebhookId),
    new: Option<CloudEventChoice>,
    actor: &str,
    at: Timestamp,
) -> Result<bool, JobError> {
    if webhook_rows::find(tx.conn(), tenant, webhook)?.is_none() {
        return Err(StoreError::Stale.into());
    }
    let old = chosen(tx.conn(), tenant, webhook)?.map(|events| events.choice());
    if old == new {
        return Ok(false);
    }
    let number = new.map(|new| rows::cloud_event_number(new.mode));
    tx.execute(SET_MODE, values![webhook.0, number])?;
    let asks = |choice: Option<CloudEventChoice>| choice.is_some_and(|choice| choice.handshake);
    if asks(old) != asks(new) {
        let since = asks(new).then_some(at.as_millis());
        tx.execute(SET_HANDSHAKE, values![webhook.0, since])?;
    }
    tx.post_commit().changed(webhook);
    tx.post_commit().catalog_changed();
    AuditRecord::new(tenant, at, actor, "webhook.cloud_events")
        .about(webhook)
        .with(json!({ "before": shown(old), "after": shown(new) }))
        .write(tx)?;
    Ok(true)
}

fn shown(choice: Option<CloudEventChoice>) -> Value {
    json!({
        "mode": choice.map(|choice| choice.mode.as_str()),
        "handshake": choice.is_some_and(|choice| choice.handshake),
    })
}
