//! Pruning in sets: a part of a webhook's log with a handful of statements, and what only
//! notifications older than a tenant's oldest one needed.
//!
//! Several nodes prune at once, and what is looked at here may be replayed meanwhile. So each
//! statement decides under the locks of the rows that it removes.

use std::collections::BTreeSet;

use model::id::{NotificationId, TenantId};
use tokio_postgres::Row;

use crate::postgres::connection::PostgresConnection;
use crate::postgres::many;
use crate::postgres::pipeline::Params;
use crate::sql::id_range::LogRange;
use crate::sql::job_error::{CorruptRow, JobError};
use crate::sql::row::ReadRow;
use crate::sql::row_budget::RowBudget;
use crate::sql::rows::{RETRYING, UNATTEMPTED};

statements! {
    LOGGED = "
        select notification_id, state, attempts from delivery
        where tenant_id = $1::bigint and webhook_id = $2::bigint
          and notification_id >= $3 and notification_id < $4
        order by notification_id
        limit $5";
    // Keys that are given as an array are looked up in their order. The rows are locked.
    DROP_DELIVERIES = "
        with gone as (
          delete from delivery where ctid = any(array(
            select found.place
            from unnest($3::bigint[]) as asked (notification_id)
            cross join lateral (
              select ctid as place from delivery
              where tenant_id = $1::bigint and webhook_id = $2::bigint
                and notification_id = asked.notification_id
              limit 1) as found))
            and state + 0 in (1, 2, 3)
          returning notification_id),
        tried as (
          delete from attempt where ctid = any(array(
            select found.place
            from gone
            cross join lateral (
              select ctid as place from attempt
              where tenant_id = $1::bigint and notification_id = gone.notification_id and webhook_id = $2::bigint
              offset 0) as found)))
        select notification_id from gone";
    // Attempts are numbered without gaps. The latest one is part of the delivery's row.
    DROP_ATTEMPTS = "
        delete from attempt
        where tenant_id = $1::bigint and webhook_id = $2::bigint and notification_id = $3 and number < $4 + (
          select min(number) from attempt
          where tenant_id = $1::bigint and webhook_id = $2::bigint and notification_id = $3)";
    DROP_NOTIFICATIONS = "
        delete from notification
        where tenant_id = $1 and id = any($2) and coalesce(removed_count, 0) + 1 >= delivery_count
        returning id";
    // Another node may have counted since; so whether it was the last is asked once more.
    COUNT_REMOVED = "
        update notification set removed_count = coalesce(removed_count, 0) + 1
        where tenant_id = $1 and id = any($2)
        returning id, removed_count >= delivery_count";
    DROP_COUNTED = "delete from notification where tenant_id = $1 and id = any($2)";
    // What a notification may still be explained with has its id or a later one. Later ones of the
    // tenant have later ids than anything here.
    DROP_HISTORY = "
        delete from webhook_past where ctid = any(array(
          select ctid from webhook_past
          where tenant_id = $1 and until < coalesce(
            (select min(id) from notification where tenant_id = $1), 9223372036854775807)
          order by until
          limit $2))";
    DROP_FALLS = "
        delete from clock_fall where tenant_id = $1 and notification_id = any(array(
          select notification_id from clock_fall
          where tenant_id = $1 and notification_id < coalesce(
            (select min(id) from notification where tenant_id = $1), 9223372036854775807)
          order by notification_id
          limit $2))";
}

/// Removes what has ended of a part of a log. Answers where to go on in it; `None` if that was all.
pub(crate) fn drop_part(
    conn: &PostgresConnection,
    part: &LogRange,
    budget: &mut RowBudget,
) -> Result<Option<NotificationId>, JobError> {
    let asked = budget.rows();
    let (tenant, webhook) = (part.tenant.0, part.webhook);
    let (from, to) = (part.ids.from, part.ids.to);
    let keys: Params<'_> = &[&tenant, &webhook, &from, &to, &asked];
    let logged = conn.session().query(LOGGED, keys)?;
    let is_full = usize::try_from(asked).is_ok_and(|asked| logged.len() >= asked);
    let (mut ended, mut next) = (Vec::new(), None);
    for row in &logged {
        let notification: i64 = row.column(0)?;
        let state: i64 = row.column(1)?;
        next = Some(notification);
        if [RETRYING, UNATTEMPTED].contains(&state) {
            budget.take(1);
        } else if !has_room(conn, part, row, ended.is_empty(), budget)? {
            break;
        } else {
            ended.push(notification);
        }
        next = is_full.then(|| notification.saturating_add(1));
    }
    if !ended.is_empty() {
        drop_deliveries(conn, part, &ended)?;
    }
    Ok(next.map(NotificationId))
}

/// Whether the delivery of a row of `LOGGED` can go in this step. Of the first one attempts may go
/// before it, as it may have more than fit into any step.
fn has_room(
    conn: &PostgresConnection,
    part: &LogRange,
    row: &Row,
    is_first: bool,
    budget: &mut RowBudget,
) -> Result<bool, JobError> {
    let attempts: i64 = row.column(2)?;
    // The delivery, its notification, and its attempts but the latest.
    let rows = usize::try_from(attempts.saturating_add(1)).unwrap_or(usize::MAX);
    if rows <= budget.0 || !is_first {
        let fits = rows <= budget.0;
        if fits {
            budget.take(rows);
        }
        return Ok(fits);
    }
    let notification: i64 = row.column(0)?;
    let room = i32::try_from(budget.0).unwrap_or(i32::MAX);
    let keys: Params<'_> = &[&part.tenant.0, &part.webhook, &notification, &room];
    let dropped = conn.session().execute(DROP_ATTEMPTS, keys)?;
    budget.take(usize::try_from(dropped).unwrap_or(usize::MAX));
    Ok(budget.left())
}

/// Removes these deliveries unless they are pending again, and notifications that have no other.
fn drop_deliveries(
    conn: &PostgresConnection,
    part: &LogRange,
    ended: &[i64],
) -> Result<(), JobError> {
    let session = conn.session();
    let keys: Params<'_> = &[&part.tenant.0, &part.webhook, &ended];
    let answers = session.pipeline(&[
        (many::LOCK, &[&part.webhook, &ended]),
        (DROP_DELIVERIES, keys),
    ])?;
    let gone: Vec<i64> = match answers.as_slice() {
        [_, gone] => numbers(&gone.rows)?,
        _ => return Err(CorruptRow("answer").into()),
    };
    let dropped = session.query(DROP_NOTIFICATIONS, &[&part.tenant.0, &gone])?;
    let dropped: BTreeSet<i64> = numbers(&dropped)?.into_iter().collect();
    let mut left: Vec<i64> = gone
        .into_iter()
        .filter(|id| !dropped.contains(id))
        .collect();
    if left.is_empty() {
        return Ok(());
    }
    left.sort_unstable();
    let counted = session.query(COUNT_REMOVED, &[&part.tenant.0, &left])?;
    let mut last = Vec::new();
    for row in &counted {
        if row.column(1)? {
            last.push(row.column::<i64>(0)?);
        }
    }
    if !last.is_empty() {
        session.execute(DROP_COUNTED, &[&part.tenant.0, &last])?;
    }
    Ok(())
}

/// Removes former states of the tenant's webhooks and falls of the clock that no notification needs
/// any more.
pub(crate) fn drop_leftovers_of(
    conn: &PostgresConnection,
    tenant: TenantId,
    budget: &mut RowBudget,
) -> Result<(), JobError> {
    for sql in [DROP_HISTORY, DROP_FALLS] {
        let dropped = conn.session().execute(sql, &[&tenant.0, &budget.rows()])?;
        budget.take(usize::try_from(dropped).unwrap_or(usize::MAX));
    }
    Ok(())
}

/// The first column.
fn numbers(rows: &[Row]) -> Result<Vec<i64>, JobError> {
    rows.iter().map(|row| row.column(0)).collect()
}
