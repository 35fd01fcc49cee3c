//! Unattempted deliveries: never attempted, and due since they were accepted. Each has a row in the
//! table `fresh`, and whoever removes it decides what becomes of the delivery.
//!
//! Rows are removed by their place in the table: in its order, so that nobody waits in a circle;
//! and because a plan that was made while the table was empty, as it often is, then cannot read it
//! all.

use model::delivery::CancelCause;
use model::id::{DeliveryId, WebhookId};
use model::time::Timestamp;

use crate::postgres::batch::Parameter;
use crate::postgres::connection::PostgresConnection;
use crate::sql::job_error::JobError;
use crate::sql::rows;

statements! {
    // Answers those that were unattempted, of `tenant_id, webhook_id, notification_id`.
    pub(crate) TAKE = "
        delete from fresh where ctid = any(array(
          select found.place
          from unnest($1::bigint[], $2::bigint[], $3::bigint[])
            as asked (tenant_id, webhook_id, notification_id)
          cross join lateral (
            select ctid as place from fresh
            where tenant_id = asked.tenant_id and webhook_id = asked.webhook_id
              and notification_id = asked.notification_id
            limit 1) as found))
        returning webhook_id, notification_id";
    DEFER = "
        with taken as (
          delete from fresh
          where tenant_id = (select tenant_id from webhook where id = $1)
            and webhook_id = $1 and notification_id = $2
          returning tenant_id, webhook_id, notification_id)
        insert into delivery
          (tenant_id, webhook_id, notification_id, state, round, attempts, round_start, due_at)
        select tenant_id, webhook_id, notification_id, 4, 1, 0, 0, $3 from taken";
    CANCEL = "
        with taken as (
          delete from fresh
          where tenant_id = (select tenant_id from webhook where id = $1)
            and webhook_id = $1 and notification_id = $2
          returning tenant_id, webhook_id, notification_id)
        insert into delivery
          (tenant_id, webhook_id, notification_id, state, cause, round, attempts, round_start,
           ended_at)
        select tenant_id, webhook_id, notification_id, 3, $3, 1, 0, 0, $4 from taken";
    CANCEL_SOME = "
        with taken as (
          delete from fresh where ctid = any(array(
            select ctid from fresh
            where tenant_id = (select tenant_id from webhook where id = $1) and webhook_id = $1
            order by notification_id
            limit $2))
          returning tenant_id, webhook_id, notification_id)
        insert into delivery
          (tenant_id, webhook_id, notification_id, state, cause, round, attempts, round_start,
           ended_at)
        select tenant_id, webhook_id, notification_id, 3, $3, 1, 0, 0, $4 from taken";
}

/// The delivery waits until `due_at`, if it is unattempted. Answers whether it was.
pub(crate) fn defer(
    conn: &PostgresConnection,
    id: DeliveryId,
    due_at: Timestamp,
) -> Result<bool, JobError> {
    let (webhook, notification) = (id.webhook.0, id.notification.0);
    let values: [Parameter<'_>; 3] = [&webhook, &notification, &due_at.as_millis()];
    Ok(conn.session().execute(DEFER, &values)? > 0)
}

/// Cancels the delivery, if it is unattempted. Answers whether it was.
pub(crate) fn cancel(
    conn: &PostgresConnection,
    id: DeliveryId,
    cause: CancelCause,
    at: Timestamp,
) -> Result<bool, JobError> {
    let (webhook, notification) = (id.webhook.0, id.notification.0);
    let values: [Parameter<'_>; 4] = [&webhook, &notification, &number(cause), &at.as_millis()];
    Ok(conn.session().execute(CANCEL, &values)? > 0)
}

/// Cancels at most `limit` unattempted deliveries of a webhook, the first first. Answers how many.
pub(crate) fn cancel_some(
    conn: &PostgresConnection,
    webhook: WebhookId,
    cause: CancelCause,
    at: Timestamp,
    limit: i64,
) -> Result<usize, JobError> {
    let values: [Parameter<'_>; 4] = [&webhook.0, &limit, &number(cause), &at.as_millis()];
    let cancelled = conn.session().execute(CANCEL_SOME, &values)?;
    Ok(usize::try_from(cancelled).unwrap_or(usize::MAX))
}

/// As a column has it.
pub(crate) fn number(cause: CancelCause) -> i16 {
    i16::try_from(rows::cause_number(cause)).unwrap_or(i16::MAX)
}
