//! A delivery as a row of the log, and in detail with its attempts.

use model::attempt::Attempt;
use model::delivery::DeliveryState;
use model::id::{DeliveryId, TenantId};
use model::query::{
    ATTEMPTS_SHOWN_BYTES_MAX, ATTEMPTS_SHOWN_MAX, AttemptRecord, DeliveryDetail, DeliveryRow,
};
use rusqlite::{Connection, Row};

use crate::sqlite::job_error::JobError;
use crate::sqlite::rows;
use crate::sqlite::unattempted::ReadHorizon;

statements! {
    DETAIL = "
        select n.id, ?2, n.key, n.action_type, n.event, coalesce(d.state, 4), d.cause,
          coalesce(d.attempts, 0), n.accepted_at,
          coalesce(d.due_at + (
            select coalesce(max(wall_at - schedule_at), 0) from clock where id = 1
          ), n.accepted_at), d.ended_at,
          d.status, d.failure, d.detail, null, d.body_end, d.began_at,
          n.headers, n.body
        from notification n
        left join delivery d on d.notification_id = n.id and d.webhook_id = ?2
        where n.id = ?1 and n.tenant_id = ?3 and (d.state is not null or exists (
          select 1 from fresh where notification_id = ?1 and webhook_id = ?2))";
    LATEST = "
        select d.attempts, d.began_at, d.duration_ms, e.url, e.headers,
          d.status, d.failure, d.detail, coalesce(d.headers, h.headers), d.body_end, d.body,
          d.next_due_at
        from delivery d
        join envelope e on e.id = d.envelope_id
        left join envelope h on h.id = d.answer_id
        where d.notification_id = ?1 and d.webhook_id = ?2
        limit ?3";
    EARLIER = "
        select a.number, a.began_at, a.duration_ms, e.url, e.headers,
          a.status, a.failure, a.detail, coalesce(a.headers, h.headers), a.body_end, a.body,
          a.next_due_at
        from attempt a
        join envelope e on e.id = a.envelope_id
        left join envelope h on h.id = a.answer_id
        where a.notification_id = ?1 and a.webhook_id = ?2
        order by a.number desc
        limit ?3";
}

pub(crate) fn delivery(
    conn: &Connection,
    tenant: TenantId,
    id: DeliveryId,
    horizon: ReadHorizon,
) -> Result<Option<DeliveryDetail>, JobError> {
    let keys = (id.notification.0, id.webhook.0);
    let mut statement = conn.prepare_cached(DETAIL)?;
    let mut found = statement.query((keys.0, keys.1, tenant.0))?;
    let Some(row) = found.next()? else {
        horizon.not_found(id.notification)?;
        return Ok(None);
    };
    let mut detail = DeliveryDetail {
        row: delivery_row(row)?,
        headers: rows::headers(row, 17)?,
        body: rows::bytes(row, 18)?,
        attempts: Vec::new(),
    };
    let mut bytes = 0;
    'all: for sql in [LATEST, EARLIER] {
        let room = ATTEMPTS_SHOWN_MAX.saturating_sub(detail.attempts.len());
        let room = rows::bound(room);
        let mut statement = conn.prepare_cached(sql)?;
        let mut found = statement.query((keys.0, keys.1, room))?;
        while let Some(row) = found.next()? {
            let past = past_attempt(row)?;
            bytes += past.attempt.bytes();
            if bytes > ATTEMPTS_SHOWN_BYTES_MAX && !detail.attempts.is_empty() {
                break 'all;
            }
            detail.attempts.push(past);
        }
    }
    detail.attempts.reverse();
    Ok(Some(detail))
}

/// Reads the first 17 columns of `DETAIL`. `null` stands for the header lines of the latest
/// response: they may be 64 KiB, and no list shows them.
pub(crate) fn delivery_row(row: &Row<'_>) -> Result<DeliveryRow, JobError> {
    let state = rows::state(row.get(5)?, row.get(6)?)?;
    let attempts = row.get(7)?;
    let attempted =
        row.get::<_, Option<i64>>(11)?.is_some() || row.get::<_, Option<i64>>(12)?.is_some();
    let latest = attempted.then(|| rows::outcome(row, 11, bytes::Bytes::new()));
    Ok(DeliveryRow {
        id: rows::delivery_id(row)?,
        key: row.get(2)?,
        action_type: row.get(3)?,
        event: row.get(4)?,
        state,
        attempts,
        accepted_at: rows::time(row, 8)?,
        due_at: rows::time_if_any(row, 9)?.filter(|_| state == DeliveryState::Pending),
        ended_at: rows::time_if_any(row, 10)?,
        latest: latest.transpose()?,
        latest_at: rows::time_if_any(row, 16)?,
    })
}

fn past_attempt(row: &Row<'_>) -> Result<AttemptRecord, JobError> {
    Ok(AttemptRecord {
        number: row.get(0)?,
        attempt: Attempt {
            began_at: rows::time(row, 1)?,
            duration_ms: row.get(2)?,
            url: row.get(3)?,
            request_headers: rows::headers(row, 4)?,
            outcome: rows::outcome(row, 5, rows::bytes(row, 10)?)?,
        },
        next_due_at: rows::time_if_any(row, 11)?,
    })
}
