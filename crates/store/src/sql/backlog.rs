//! The backlog: what is pending, counted by dialect in bounded steps.

use std::collections::BTreeMap;

use crate::sql::{Connection, Row};
use model::contract::{Backlog, BacklogCursor};
use model::id::WebhookId;
use model::lease::Slots;
use model::limits;
use model::tenant::DialectName;

use crate::sql::job_error::JobError;
use crate::sql::{query, rows};

shared_statements! {
    // The indexes have all of it, in this order. PostgreSQL's begin with the tenant, and there each
    // step of the walk seeks over all that the webhook before has pending.
    ATTEMPTED = "
        select webhook_id, due_at, notification_id from delivery indexed by delivery_due
        where state in (0, 4) and (webhook_id, due_at, notification_id) > (?1, ?5, ?2)
        order by webhook_id, due_at, notification_id
        limit ?3" | "
        with recursive walk (tenant_id, webhook_id) as (
          (select tenant_id, webhook_id from delivery
            where state in (0, 4) and (tenant_id, webhook_id) >= (
              coalesce((select tenant_id from webhook where id = ?1), -9223372036854775807), ?1)
            order by tenant_id, webhook_id
            limit 1)
          union all
          select next.tenant_id, next.webhook_id from walk
          cross join lateral (
            select tenant_id, webhook_id from delivery
            where state in (0, 4) and (tenant_id, webhook_id) > (walk.tenant_id, walk.webhook_id)
            order by tenant_id, webhook_id
            limit 1) as next)
        select d.webhook_id, d.due_at, d.notification_id from walk
        cross join lateral (
          select webhook_id, due_at, notification_id from delivery
          where tenant_id = walk.tenant_id and webhook_id = walk.webhook_id and state in (0, 4)
            and (due_at, notification_id) > (
              case when walk.webhook_id = ?1 then ?5 else -9223372036854775807 end,
              case when walk.webhook_id = ?1 then ?2 else -9223372036854775807 end)
          order by due_at, notification_id
          limit ?3) as d
        where get_bit(?4::bytea, (walk.webhook_id & 255)::integer) = 1
        limit ?3";
    UNATTEMPTED = "
        select webhook_id, notification_id from fresh
        where (webhook_id, notification_id) > (?1, ?2)
        order by webhook_id, notification_id
        limit ?3" | "
        with recursive walk (tenant_id, webhook_id) as (
          (select tenant_id, webhook_id from fresh
            where (tenant_id, webhook_id) >= (
              coalesce((select tenant_id from webhook where id = ?1), -9223372036854775807), ?1)
            order by tenant_id, webhook_id
            limit 1)
          union all
          select next.tenant_id, next.webhook_id from walk
          cross join lateral (
            select tenant_id, webhook_id from fresh
            where (tenant_id, webhook_id) > (walk.tenant_id, walk.webhook_id)
            order by tenant_id, webhook_id
            limit 1) as next)
        select f.webhook_id, f.notification_id from walk
        cross join lateral (
          select webhook_id, notification_id from fresh
          where tenant_id = walk.tenant_id and webhook_id = walk.webhook_id
            and notification_id > case
              when walk.webhook_id = ?1 then ?2 else -9223372036854775807 end
          order by notification_id
          limit ?3) as f
        where get_bit(?4::bytea, (walk.webhook_id & 255)::integer) = 1
        limit ?3";
    DIALECT = "
        select t.dialect from webhook w join tenant t on t.id = w.tenant_id
        where w.id = ?1";
}

/// One step over webhooks of these slots: first what was attempted, then what was not.
pub(crate) fn backlog(
    conn: Connection<'_>,
    slots: Slots,
    after: Option<BacklogCursor>,
) -> Result<Backlog, JobError> {
    let limit = i64::try_from(limits::BULK_STEP_MAX).unwrap_or(i64::MAX);
    let [unattempted, webhook, due_at, notification] =
        after.map_or([0, i64::MIN, i64::MIN, i64::MIN], BacklogCursor::place);
    let unattempted = unattempted != 0;
    let mut of_webhooks: Vec<(WebhookId, u64)> = Vec::new();
    let (mut looked_at, mut last) = (0, None);
    let statement = match unattempted {
        true => UNATTEMPTED,
        false => ATTEMPTED,
    };
    let slots = slots.to_bytes();
    let values = values![webhook, notification, limit, slots, due_at];
    conn.rows(statement, values, |row| {
        let webhook = WebhookId(row.get(0)?);
        looked_at += 1;
        match of_webhooks.last_mut() {
            Some((latest, count)) if *latest == webhook => *count += 1,
            Some(_) | None => of_webhooks.push((webhook, 1)),
        }
        // Only the last row says where to go on: reading less of the others halves the work.
        if looked_at == limits::BULK_STEP_MAX {
            last = Some(backlog_mark(row, unattempted)?);
        }
        Ok(true)
    })?;
    Ok(Backlog {
        counts: by_dialect(conn, of_webhooks)?,
        next: match (last, unattempted) {
            (Some(last), _) => Some(last),
            (None, false) => Some(BacklogCursor::new([1, i64::MIN, 0, i64::MIN])),
            (None, true) => None,
        },
    })
}

/// Where counting goes on after this row.
fn backlog_mark(row: &Row<'_>, unattempted: bool) -> Result<BacklogCursor, JobError> {
    let (due_at, at) = match unattempted {
        true => (0, 1),
        false => (row.get(1)?, 2),
    };
    let (webhook, notification) = (row.get(0)?, row.get(at)?);
    Ok(BacklogCursor::new([
        i64::from(unattempted),
        webhook,
        due_at,
        notification,
    ]))
}

fn by_dialect(
    conn: Connection<'_>,
    of_webhooks: Vec<(WebhookId, u64)>,
) -> Result<BTreeMap<DialectName, u64>, JobError> {
    let mut counts = BTreeMap::new();
    for (webhook, count) in of_webhooks {
        let of_webhook = values![webhook.0];
        if let Some(dialect) = query::first(conn, DIALECT, of_webhook, |row| rows::dialect(row, 0))?
        {
            *counts.entry(dialect).or_default() += count;
        }
    }
    Ok(counts)
}
