//! A delivery as a row of the log, and in detail with its attempts.

use crate::sql::{Connection, Row};
use model::attempt::Attempt;
use model::delivery::DeliveryState;
use model::id::{DeliveryId, TenantId};
use model::query::{
    ATTEMPTS_SHOWN_BYTES_MAX, ATTEMPTS_SHOWN_MAX, AttemptRecord, DeliveryDetail, DeliveryRow,
};

use crate::sql::job_error::JobError;
use crate::sql::read_horizon::ReadHorizon;
use crate::sql::{query, rows};

shared_statements! {
    DETAIL = "
        select n.id, ?2, n.key, n.action_type, n.event, coalesce(d.state, 4), d.cause,
          coalesce(d.attempts, 0), n.accepted_at,
          coalesce(d.due_at + (
            select coalesce(max(wall_at - schedule_at), 0) from clock where id = 1
          ), n.accepted_at), d.ended_at,
          d.status, d.failure, d.detail, null, d.body_end, d.began_at,
          n.headers, n.body
        from notification n
        left join delivery d on /*postgres d.tenant_id = ?3 and */
          d.notification_id = n.id and d.webhook_id = ?2
        where n.id = ?1 and n.tenant_id = ?3 and (d.state is not null or exists (
          select 1 from fresh
          where /*postgres tenant_id = ?3 and */ notification_id = ?1 and webhook_id = ?2))";
    LATEST = "
        select d.attempts, d.began_at, d.duration_ms, e.url, e.headers,
          d.status, d.failure, d.detail, coalesce(d.headers, h.headers), d.body_end, d.body,
          d.next_due_at
        from delivery d
        join envelope e on e.id = d.envelope_id
        left join envelope h on h.id = d.answer_id
        where /*postgres d.tenant_id = ?4 and */ d.notification_id = ?1 and d.webhook_id = ?2
        limit ?3";
    EARLIER = "
        select a.number, a.began_at, a.duration_ms, e.url, e.headers,
          a.status, a.failure, a.detail, coalesce(a.headers, h.headers), a.body_end, a.body,
          a.next_due_at
        from attempt a
        join envelope e on e.id = a.envelope_id
        left join envelope h on h.id = a.answer_id
        where /*postgres a.tenant_id = ?4 and */ a.notification_id = ?1 and a.webhook_id = ?2
        order by a.number desc
        limit ?3";
}

pub(crate) fn delivery(
    conn: Connection<'_>,
    tenant: TenantId,
    id: DeliveryId,
    horizon: ReadHorizon,
) -> Result<Option<DeliveryDetail>, JobError> {
    let (notification, webhook) = (id.notification.0, id.webhook.0);
    let keys = values![notification, webhook, tenant.0];
    let found = query::first(conn, DETAIL, keys, |row| {
        Ok(DeliveryDetail {
            row: delivery_row(row)?,
            headers: rows::headers(row, 17)?,
            body: rows::bytes(row, 18)?,
            attempts: Vec::new(),
        })
    })?;
    let Some(mut detail) = found else {
        horizon.not_found(id.notification)?;
        return Ok(None);
    };
    let mut bytes = 0;
    let mut is_full = false;
    for sql in [LATEST, EARLIER] {
        let room = ATTEMPTS_SHOWN_MAX.saturating_sub(detail.attempts.len());
        let room = rows::bound(room);
        conn.rows(sql, values![notification, webhook, room, tenant.0], |row| {
            let past = past_attempt(row)?;
            bytes += past.attempt.bytes();
            is_full |= bytes > ATTEMPTS_SHOWN_BYTES_MAX && !detail.attempts.is_empty();
            if !is_full {
                detail.attempts.push(past);
            }
            Ok(!is_full)
        })?;
        if is_full {
            break;
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
