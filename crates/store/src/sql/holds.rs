//! Which webhooks somebody paused: columns of their rows, null where nobody ever did.

use model::call_limits::CallRate;
use model::contract::StoreError;
use model::hold::{Drain, Hold, HoldChange, Holds};
use model::id::{TenantId, WebhookId};
use model::time::Timestamp;
use serde_json::json;

use crate::sql::audit::AuditRecord;
use crate::sql::job_error::{CorruptRow, JobError};
use crate::sql::row::ReadRow;
use crate::sql::transaction::Transaction;
use crate::sql::{Connection, query, rows, webhook_rows};

shared_statements! {
    HOLD = "
        select held_at, held_by from webhook
        where id = ?1 and tenant_id = ?2 and held_at is not null";
    HOLDS = "
        select held_at, holds, drain_in_million_s, drain_since, held_from from webhook
        where id = ?1";
    PAUSE = "
        update webhook
        set held_at = ?2, held_from = ?3, held_by = ?4, drain_in_million_s = null,
          drain_since = null
        where id = ?1";
    RESUME = "
        update webhook
        set held_at = null, held_from = null, held_by = null, holds = ?2,
          drain_in_million_s = ?3, drain_since = ?4
        where id = ?1";
}

/// The hold of a webhook of the tenant, if it is paused.
pub(crate) fn hold(
    conn: Connection<'_>,
    tenant: TenantId,
    webhook: WebhookId,
) -> Result<Option<Hold>, JobError> {
    query::first(conn, HOLD, values![webhook.0, tenant.0], |row| {
        Ok(Hold {
            at: rows::time(row, 0)?,
            by: row.get(1)?,
        })
    })
}

/// The first four columns of `HOLDS`, from `at` on.
pub(crate) fn stored(row: &impl ReadRow, at: usize) -> Result<Holds, JobError> {
    let held_at: Option<i64> = row.column(at)?;
    let past: Option<String> = row.column(at + 1)?;
    let rate: Option<i64> = row.column(at + 2)?;
    let since: Option<i64> = row.column(at + 3)?;
    let drain = rate.zip(since).map(|(micros, since)| {
        let rate = u32::try_from(micros).ok().and_then(CallRate::of_micros);
        let since = Timestamp::from_millis(since);
        rate.map(|rate| Drain { rate, since })
            .ok_or(CorruptRow("drain_in_million_s"))
    });
    let past = past.as_deref().map_or(Some(Vec::new()), past_of);
    Ok(Holds {
        is_held: held_at.is_some(),
        past: past.ok_or(CorruptRow("holds"))?,
        drain: drain.transpose()?,
    })
}

fn past_of(text: &str) -> Option<Vec<(Timestamp, Timestamp)>> {
    let pairs: Vec<(i64, i64)> = serde_json::from_str(text).ok()?;
    let time = Timestamp::from_millis;
    let pairs = pairs.into_iter();
    Some(pairs.map(|(from, to)| (time(from), time(to))).collect())
}

/// Pauses or resumes a webhook that is there; nothing changes if it is so already.
pub(crate) fn change(
    tx: &mut dyn Transaction,
    (tenant, webhook): (TenantId, WebhookId),
    change: HoldChange,
    actor: &str,
    at: Timestamp,
) -> Result<(), JobError> {
    if webhook_rows::find(tx.conn(), tenant, webhook)?.is_none() {
        return Err(StoreError::Stale.into());
    }
    let found = query::first(tx.conn(), HOLDS, values![webhook.0], |row| {
        Ok((stored(row, 0)?, row.get::<_, Option<i64>>(4)?))
    })?;
    let (mut holds, held_from) = found.ok_or(StoreError::Stale)?;
    let now = tx.schedule(at)?;
    let (action, detail) = match change {
        HoldChange::Pause if holds.is_held => return Ok(()),
        HoldChange::Pause => {
            tx.execute(
                PAUSE,
                values![webhook.0, at.as_millis(), now.as_millis(), actor],
            )?;
            ("webhook.paused", json!({}))
        }
        HoldChange::Resume { .. } if !holds.is_held => return Ok(()),
        HoldChange::Resume { drain } => {
            holds.add(held_from.map_or(now, Timestamp::from_millis), now);
            let past = holds.past.iter();
            let past: Vec<(i64, i64)> = past
                .map(|(from, to)| (from.as_millis(), to.as_millis()))
                .collect();
            tx.execute(
                RESUME,
                values![
                    webhook.0,
                    json!(past).to_string(),
                    drain.map(CallRate::micros),
                    drain.map(|_| at.as_millis()),
                ],
            )?;
            let rate = drain.map(|rate| rate.to_string());
            ("webhook.resumed", json!({ "calls_per_second": rate }))
        }
    };
    tx.post_commit().changed(webhook);
    tx.post_commit().catalog_changed();
    AuditRecord::new(tenant, at, actor, action)
        .about(webhook)
        .with(detail)
        .write(tx)
}
