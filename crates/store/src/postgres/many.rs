//! Changes of many deliveries of one webhook, each kind with one statement for all. Keys that are
//! given as an array are looked up, and locked, in their order.
//!
//! Rows are changed by their place in the table, found for each key by itself: of a condition
//! `= any(…)` on a later column of an index the planner may think that it is cheaper to read all
//! that the webhook has. Where a row is may change until it is locked, so it is locked before, by a
//! statement of its own.

use model::contract::ReplayFilter;
use model::delivery::CancelCause;
use model::id::{TenantId, WebhookId};
use model::time::Timestamp;

use crate::postgres::connection::PostgresConnection;
use crate::postgres::pipeline::Params;
use crate::postgres::text::SafeText;
use crate::postgres::unattempted;
use crate::sql::delivery_change::DeliveryChange;
use crate::sql::delivery_facts::FactsRow;
use crate::sql::job_error::JobError;
use crate::sql::row::ReadRow;
use crate::sql::rows;

// With `+ 0` no index of states is read as a whole.
statements! {
    // Of the webhook and its notifications.
    pub(crate) LOCK = "
        select found.notification_id
        from unnest($2::bigint[]) as asked (notification_id)
        cross join lateral (
          select notification_id from delivery
          where tenant_id = (select tenant_id from webhook where id = $1) and webhook_id = $1
            and notification_id = asked.notification_id
          limit 1
          for update) as found";
    RETRY_NOW = "
        update delivery set due_at = $3
        where ctid = any(array(
          select found.place
          from unnest($2::bigint[]) as asked (notification_id)
          cross join lateral (
            select ctid as place from delivery
            where tenant_id = (select tenant_id from webhook where id = $1) and webhook_id = $1
              and notification_id = asked.notification_id
            limit 1) as found)) and state + 0 in (0, 4)";
    REPLAY = "
        update delivery
        set state = case when attempts = 0 then 4 else 0 end, cause = null, round = round + 1,
          round_start = attempts,
          round_began_at = null, due_at = $3, ended_at = null
        where ctid = any(array(
          select found.place
          from unnest($2::bigint[]) as asked (notification_id)
          cross join lateral (
            select ctid as place from delivery
            where tenant_id = (select tenant_id from webhook where id = $1) and webhook_id = $1
              and notification_id = asked.notification_id
            limit 1) as found)) and state + 0 in (1, 2, 3)";
    CANCEL_UNATTEMPTED = "
        with taken as (
          delete from fresh
          where ctid = any(array(
            select found.place
            from unnest($2::bigint[]) as asked (notification_id)
            cross join lateral (
              select ctid as place from fresh
              where tenant_id = (select tenant_id from webhook where id = $1) and webhook_id = $1
                and notification_id = asked.notification_id
              limit 1) as found))
          returning tenant_id, webhook_id, notification_id)
        insert into delivery
          (tenant_id, webhook_id, notification_id, state, cause, round, attempts, round_start,
           ended_at)
        select tenant_id, webhook_id, notification_id, 3, $4, 1, 0, 0, $3 from taken";
    CANCEL = "
        update delivery
        set state = 3, cause = $4, round_began_at = null, due_at = null, ended_at = $3
        where ctid = any(array(
          select found.place
          from unnest($2::bigint[]) as asked (notification_id)
          cross join lateral (
            select ctid as place from delivery
            where tenant_id = (select tenant_id from webhook where id = $1) and webhook_id = $1
              and notification_id = asked.notification_id
            limit 1) as found)) and state + 0 in (0, 4)";
    PENDING = "
        select notification_id from delivery
        where tenant_id = (select tenant_id from webhook where id = $1) and webhook_id = $1
          and state in (0, 4)
        order by due_at
        limit $2";
    // Of the webhook and its notifications.
    FACTS = "
        select n.id, n.action_type, n.event, n.accepted_at, length(n.body), d.attempted, d.status
        from unnest($3::bigint[]) as asked (id)
        cross join lateral (
          select id, action_type, event, accepted_at, body from notification
          where tenant_id = $1 and id = asked.id
          limit 1) as n
        cross join lateral (
          select began_at is not null as attempted, status from delivery
          where tenant_id = $1 and webhook_id = $2::bigint and notification_id = asked.id
          limit 1) as d
        order by n.id";
    WITH_TEXT = "
        select found.id
        from unnest($2::bigint[]) as asked (id)
        cross join lateral (
          select id, body from notification
          where tenant_id = $1 and id = asked.id
          limit 1) as found
        where position($3::bytea in found.body) > 0
        order by found.id";
    MATCHING = "
        select found.id
        from unnest($2::bigint[]) as asked (id)
        cross join lateral (
          select id, action_type, accepted_at from notification
          where tenant_id = $1 and id = asked.id
          limit 1) as found
        where action_type = coalesce($3, action_type) and accepted_at >= $4 and accepted_at < $5
        order by found.id";
}

/// Changes those of the deliveries that are in a state for it. Answers how many.
pub(crate) fn change(
    conn: &PostgresConnection,
    change: DeliveryChange,
    webhook: WebhookId,
    notifications: &[i64],
    at: Timestamp,
) -> Result<usize, JobError> {
    let at = at.as_millis();
    let cause = unattempted::number(CancelCause::Requested);
    let keys: Params<'_> = &[&webhook.0, &notifications, &at];
    let keys_and_cause: Params<'_> = &[&webhook.0, &notifications, &at, &cause];
    let lock: (&str, Params<'_>) = (LOCK, &[&webhook.0, &notifications]);
    let statements: &[(&str, Params<'_>)] = match change {
        DeliveryChange::RetryNow => &[lock, (RETRY_NOW, keys)],
        DeliveryChange::Replay => &[lock, (REPLAY, keys)],
        // In this order: what is not unattempted any more is found in its new place.
        DeliveryChange::Cancel => &[
            (CANCEL_UNATTEMPTED, keys_and_cause),
            lock,
            (CANCEL, keys_and_cause),
        ],
    };
    let answers = conn.session().pipeline(statements)?;
    let changes = statements.iter().zip(&answers);
    let changes = changes.filter(|((sql, _), _)| *sql != LOCK);
    let changed: u64 = changes.map(|(_, answer)| answer.count).sum();
    Ok(usize::try_from(changed).unwrap_or(usize::MAX))
}

/// Cancels at most `limit` of the deliveries that a webhook has pending: what is due first first,
/// unattempted ones last. Answers how many.
pub(crate) fn cancel_some(
    conn: &PostgresConnection,
    webhook: WebhookId,
    cause: CancelCause,
    at: Timestamp,
    limit: i64,
) -> Result<usize, JobError> {
    let cancelled = cancel_listed(conn, webhook, cause, at, limit)?;
    let left = limit.saturating_sub(rows::bound(cancelled));
    let unattempted = unattempted::cancel_some(conn, webhook, cause, at, left)?;
    Ok(cancelled + unattempted)
}

/// Those of the table `delivery`.
fn cancel_listed(
    conn: &PostgresConnection,
    webhook: WebhookId,
    cause: CancelCause,
    at: Timestamp,
    limit: i64,
) -> Result<usize, JobError> {
    let session = conn.session();
    let pending = session.query(PENDING, &[&webhook.0, &limit])?;
    let pending: Result<Vec<i64>, JobError> = pending.iter().map(|row| row.column(0)).collect();
    let mut pending = pending?;
    if pending.is_empty() {
        return Ok(0);
    }
    pending.sort_unstable();
    let (at, cause) = (at.as_millis(), unattempted::number(cause));
    let answers = session.pipeline(&[
        (LOCK, &[&webhook.0, &pending]),
        (CANCEL, &[&webhook.0, &pending, &at, &cause]),
    ])?;
    let cancelled = answers.last().map_or(0, |answer| answer.count);
    Ok(usize::try_from(cancelled).unwrap_or(usize::MAX))
}

/// Those of the notifications that are of the action type and the time of a filter.
pub(crate) fn matching(
    conn: &PostgresConnection,
    tenant: TenantId,
    filter: &ReplayFilter,
    notifications: &[i64],
) -> Result<Vec<i64>, JobError> {
    let action_type = filter.action_type.as_deref().map(SafeText);
    let since = filter.since.unwrap_or(Timestamp::EPOCH).as_millis();
    let until = filter.until.map_or(i64::MAX, Timestamp::as_millis);
    let asked: Params<'_> = &[&tenant.0, &notifications, &action_type, &since, &until];
    let found = conn.session().query(MATCHING, asked)?;
    found.iter().map(|row| row.column(0)).collect()
}

/// What a filter asks of these deliveries of a webhook, in the order of their notifications.
pub(crate) fn facts(
    conn: &PostgresConnection,
    tenant: TenantId,
    webhook: WebhookId,
    notifications: &[i64],
) -> Result<Vec<FactsRow>, JobError> {
    let asked: Params<'_> = &[&tenant.0, &webhook.0, &notifications];
    let found = conn.session().query(FACTS, asked)?;
    found.iter().map(FactsRow::read).collect()
}

/// Those of the notifications whose body has the text, in their order.
pub(crate) fn with_text(
    conn: &PostgresConnection,
    tenant: TenantId,
    text: &[u8],
    notifications: &[i64],
) -> Result<Vec<i64>, JobError> {
    let asked: Params<'_> = &[&tenant.0, &notifications, &text];
    let found = conn.session().query(WITH_TEXT, asked)?;
    found.iter().map(|row| row.column(0)).collect()
}
