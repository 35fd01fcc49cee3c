//! The backlog: what is pending, counted by dialect in bounded steps.

use std::collections::BTreeMap;

use model::contract::{Backlog, BacklogCursor};
use model::id::WebhookId;
use model::limits;
use model::tenant::DialectName;
use rusqlite::{Connection, Row, params};

use crate::sqlite::job_error::JobError;
use crate::sqlite::rows;

statements! {
    // The indexes have all of it, in this order.
    ATTEMPTED = "
        select webhook_id, due_at, notification_id from delivery indexed by delivery_due
        where state in (0, 4) and (webhook_id, due_at, notification_id) > (?1, ?2, ?3)
        order by webhook_id, due_at, notification_id
        limit ?4";
    UNATTEMPTED = "
        select webhook_id, notification_id from fresh
        where (webhook_id, notification_id) > (?1, ?2)
        order by webhook_id, notification_id
        limit ?3";
    DIALECT = "
        select t.dialect from webhook w join tenant t on t.id = w.tenant_id
        where w.id = ?1";
}

/// One step: first what was attempted, then what was not.
pub(crate) fn backlog(
    conn: &Connection,
    after: Option<BacklogCursor>,
) -> Result<Backlog, JobError> {
    let limit = i64::try_from(limits::BULK_STEP_MAX).unwrap_or(i64::MAX);
    let [unattempted, webhook, due_at, notification] =
        after.map_or([0, i64::MIN, i64::MIN, i64::MIN], BacklogCursor::place);
    let unattempted = unattempted != 0;
    let mut of_webhooks: Vec<(WebhookId, u64)> = Vec::new();
    let (mut looked_at, mut last) = (0, None);
    let mut statement = conn.prepare_cached(match unattempted {
        true => UNATTEMPTED,
        false => ATTEMPTED,
    })?;
    let mut rows = match unattempted {
        true => statement.query(params![webhook, notification, limit])?,
        false => statement.query(params![webhook, due_at, notification, limit])?,
    };
    while let Some(row) = rows.next()? {
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
    }
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
    conn: &Connection,
    of_webhooks: Vec<(WebhookId, u64)>,
) -> Result<BTreeMap<DialectName, u64>, JobError> {
    let mut counts = BTreeMap::new();
    let mut statement = conn.prepare_cached(DIALECT)?;
    for (webhook, count) in of_webhooks {
        let mut found = statement.query([webhook.0])?;
        if let Some(row) = found.next()? {
            *counts.entry(rows::dialect(row, 0)?).or_default() += count;
        }
    }
    Ok(counts)
}
