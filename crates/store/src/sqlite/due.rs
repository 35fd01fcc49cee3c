//! What the engine asks for: which lanes there are, what calling them takes, what is due.

use model::contract::{DueAsk, DueRead, LaneStart, LaneTarget};
use model::delivery::Due;
use model::id::WebhookId;
use model::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::sqlite::fault::Fault;
use crate::sqlite::rows;

// One seek per lane, over all that the lane before has pending.
const NEXT_LANE: &str = "
    select webhook_id, due_at from delivery indexed by delivery_due
    where state = 0 and webhook_id > ?1
    order by webhook_id, due_at
    limit 1";
const TARGET: &str = "
    select w.id, t.dialect, w.target_url, w.headers, w.disabled_at, w.key, w.retries_max,
      w.paused_until, s.failing_since
    from webhook w join tenant t on t.id = w.tenant_id
    left join standing s on s.webhook_id = w.id
    where w.id = ?1";
const DUE: &str = "
    select d.notification_id, d.webhook_id, d.round, d.attempts, d.round_start,
      d.round_began_at, d.due_at, n.headers, n.body, n.key
    from delivery d indexed by delivery_due
    join notification n on n.id = d.notification_id
    where d.state = 0 and d.webhook_id = ?1 and d.due_at <= ?2
    order by d.due_at, d.notification_id
    limit ?3";
const DUE_AFTER: &str = "
    select due_at from delivery indexed by delivery_due
    where state = 0 and webhook_id = ?1 and (due_at, notification_id) > (?2, ?3)
    order by due_at, notification_id
    limit 1";

pub(crate) const STATEMENTS: &[&str] = &[NEXT_LANE, TARGET, DUE, DUE_AFTER];

pub(crate) fn lanes(
    conn: &Connection,
    after: Option<WebhookId>,
    limit: usize,
) -> Result<Vec<LaneStart>, Fault> {
    let mut lanes: Vec<LaneStart> = Vec::new();
    let mut statement = conn.prepare_cached(NEXT_LANE)?;
    while lanes.len() < limit {
        let latest = lanes.last().map(|lane| lane.webhook).or(after);
        let next = statement
            .query_row([latest.map_or(i64::MIN, |webhook| webhook.0)], |row| {
                Ok(LaneStart {
                    webhook: WebhookId(row.get(0)?),
                    due_at: Timestamp::from_millis(row.get(1)?),
                })
            })
            .optional()?;
        match next {
            Some(lane) => lanes.push(lane),
            None => break,
        }
    }
    Ok(lanes)
}

pub(crate) fn targets(conn: &Connection, webhooks: &[WebhookId]) -> Result<Vec<LaneTarget>, Fault> {
    let mut targets = Vec::with_capacity(webhooks.len());
    let mut statement = conn.prepare_cached(TARGET)?;
    for webhook in webhooks {
        let mut rows = statement.query([webhook.0])?;
        if let Some(row) = rows.next()? {
            targets.push(target(row)?);
        }
    }
    Ok(targets)
}

fn target(row: &Row<'_>) -> Result<LaneTarget, Fault> {
    Ok(LaneTarget {
        webhook: WebhookId(row.get(0)?),
        dialect: rows::dialect(row, 1)?,
        key: row.get(5)?,
        target_url: row.get(2)?,
        headers: rows::headers(row, 3)?,
        retries_max: row.get(6)?,
        paused_until: rows::time_if_any(row, 7)?,
        enabled: rows::time_if_any(row, 4)?.is_none(),
        failing_since: rows::time_if_any(row, 8)?,
    })
}

pub(crate) fn due(
    conn: &Connection,
    lanes: &[DueAsk],
    now: Timestamp,
) -> Result<Vec<DueRead>, Fault> {
    lanes.iter().map(|ask| due_of(conn, *ask, now)).collect()
}

fn due_of(conn: &Connection, ask: DueAsk, now: Timestamp) -> Result<DueRead, Fault> {
    let limit = i64::try_from(ask.limit).unwrap_or(i64::MAX);
    let mut deliveries = Vec::new();
    let mut statement = conn.prepare_cached(DUE)?;
    let mut rows = statement.query(params![ask.webhook.0, now.as_millis(), limit])?;
    while let Some(row) = rows.next()? {
        deliveries.push(Due {
            delivery: rows::delivery(row)?,
            key: row.get(9)?,
            headers: rows::headers(row, 7)?,
            body: rows::bytes(row, 8)?,
        });
    }
    let latest = match deliveries.last() {
        // All that is due was read, and what follows is due after now.
        _ if deliveries.len() < ask.limit => (now.as_millis(), i64::MAX),
        Some(Due { delivery, .. }) => (delivery.due_at.as_millis(), delivery.id.notification.0),
        None => (i64::MIN, i64::MIN),
    };
    let next_due_at = conn
        .prepare_cached(DUE_AFTER)?
        .query_row(params![ask.webhook.0, latest.0, latest.1], |row| row.get(0))
        .optional()?
        .map(Timestamp::from_millis);
    Ok(DueRead {
        webhook: ask.webhook,
        deliveries,
        next_due_at,
    })
}
