//! Which webhooks have something pending, and what the engine has to know to call them.

use std::collections::BTreeMap;
use std::ops::Bound;

use model::contract::{PendingWebhook, WebhookTarget};
use model::id::{TenantId, WebhookId};
use model::mutation::{Mutation, is_on};
use model::time::Timestamp;
use model::webhook_tls::WebhookTls;
use rusqlite::{Connection, OptionalExtension, Row, Statement};

use crate::sql::heartbeat::UnattemptedDue;
use crate::sql::job_error::JobError;
use crate::sql::rows;
use crate::sql::{
    call_limits, cloud_events, handshake, holds, own_headers, signatures, webhook_tls,
};
use crate::sqlite::tx::Tx;
use crate::sqlite::{unattempted, unattempted_rows};

statements! {
    // Seeks over all that the webhook before has pending.
    NEXT_ATTEMPTED = "
        select webhook_id, due_at from delivery indexed by delivery_due
        where state in (0, 4) and webhook_id > ?1
        order by webhook_id, due_at
        limit 1";
    NEXT_UNATTEMPTED = "
        select f.webhook_id, n.accepted_at from fresh f
        join notification n on n.id = f.notification_id
        where f.webhook_id > ?1
        order by f.webhook_id, f.notification_id
        limit 1";
    TARGET = "
        select w.id, w.tenant_id, w.key, w.target_url, w.headers, w.disabled_at, w.retries_max,
          w.paused_until, w.version, t.dialect, s.failing_since, s.ended_at, s.success,
          t.key as tenant_key, w.cloud_events,
          w.calls_at_a_time, w.calls_in_million_s, w.time_limit_ms, w.schedule,
          w.handshake_since, w.handshake_at, w.handshake_url, w.handshake_origin, w.handshake_rate,
          w.handshake_refused, w.held_at, w.holds, w.drain_in_million_s, w.drain_since, w.settings
        from webhook w join tenant t on t.id = w.tenant_id
        left join standing s on s.webhook_id = w.id
        where w.id = ?1";
}

/// Webhooks with something pending, by id and each once, with the earliest due time there is.
pub(crate) fn webhooks(
    tx: &mut Tx<'_>,
    after: Option<WebhookId>,
    limit: usize,
) -> Result<Vec<PendingWebhook>, JobError> {
    let inline = unattempted::not_materialized(tx)?;
    let since = tx.unattempted_due()?;
    let mut found: Vec<PendingWebhook> = Vec::new();
    let mut attempted = tx.conn.prepare_cached(NEXT_ATTEMPTED)?;
    let mut unattempted = tx.conn.prepare_cached(NEXT_UNATTEMPTED)?;
    while found.len() < limit {
        let latest = found.last().map(|pending| pending.webhook).or(after);
        let latest = latest.map_or(i64::MIN, |webhook| webhook.0);
        let next = [
            next_in(&mut attempted, latest)?.filter(|_| !is_on(Mutation::ForgetRetryOnRestart)),
            next_in(&mut unattempted, latest)?.map(|pending| PendingWebhook {
                due_at: since.due_at(pending.due_at),
                ..pending
            }),
            next_inline(tx.conn, &inline, since, latest)?,
        ];
        // Of a webhook that is found in several places the earliest time.
        let next = next.into_iter().flatten();
        match next.min_by_key(|pending| (pending.webhook, pending.due_at)) {
            Some(pending) => found.push(pending),
            None => break,
        }
    }
    Ok(found)
}

fn next_in(statement: &mut Statement<'_>, after: i64) -> Result<Option<PendingWebhook>, JobError> {
    let next = statement.query_row([after], |row| {
        Ok(PendingWebhook {
            webhook: WebhookId(row.get(0)?),
            due_at: Timestamp::from_millis(row.get(1)?),
        })
    });
    Ok(next.optional()?)
}

fn next_inline(
    conn: &Connection,
    inline: &BTreeMap<WebhookId, Vec<i64>>,
    since: UnattemptedDue,
    after: i64,
) -> Result<Option<PendingWebhook>, JobError> {
    let above = (Bound::Excluded(WebhookId(after)), Bound::Unbounded);
    let next = inline.range(above).next();
    let Some((&webhook, ids)) = next else {
        return Ok(None);
    };
    let first = unattempted_rows::first_accepted(conn, ids.iter().copied())?;
    Ok(first.map(|(_, accepted_at)| PendingWebhook {
        webhook,
        due_at: since.due_at(accepted_at),
    }))
}

pub(crate) fn targets(
    conn: &Connection,
    webhooks: &[WebhookId],
) -> Result<Vec<WebhookTarget>, JobError> {
    let mut targets = Vec::with_capacity(webhooks.len());
    let mut statement = conn.prepare_cached(TARGET)?;
    for webhook in webhooks {
        let mut rows = statement.query([webhook.0])?;
        if let Some(row) = rows.next()? {
            let target = target(row)?;
            targets.push(WebhookTarget {
                signatures: signatures::signatures(conn.into(), target.tenant, *webhook)?,
                own_headers: own_headers::own_headers(conn.into(), target.tenant, *webhook)?,
                tls: webhook_tls::webhook_tls(conn.into(), target.tenant, *webhook)?,
                ..target
            });
        }
    }
    Ok(targets)
}

fn target(row: &Row<'_>) -> Result<WebhookTarget, JobError> {
    let succeeded = row.get::<_, Option<bool>>("success")?.unwrap_or(false);
    Ok(WebhookTarget {
        webhook: WebhookId(row.get("id")?),
        tenant: TenantId(row.get("tenant_id")?),
        dialect: rows::dialect(row, "dialect")?,
        tenant_key: row.get("tenant_key")?,
        key: row.get("key")?,
        target_url: row.get("target_url")?,
        settings: row.get("settings")?,
        headers: rows::headers(row, "headers")?,
        retries_max: row.get("retries_max")?,
        paused_until: rows::time_if_any(row, "paused_until")?,
        failing_since: rows::time_if_any(row, "failing_since")?,
        succeeded_at: rows::time_if_any(row, "ended_at")?.filter(|_| succeeded),
        version: row.get("version")?,
        enabled: rows::time_if_any(row, "disabled_at")?.is_none()
            || is_on(Mutation::SendAfterDisable),
        signatures: Vec::new(),
        own_headers: Vec::new(),
        tls: WebhookTls::default(),
        cloud_events: cloud_events::stored(row.get("cloud_events")?)?,
        limits: call_limits::stored(row, 15)?,
        handshake: handshake::stored(row, 19)?,
        holds: holds::stored(row, 25)?,
    })
}
