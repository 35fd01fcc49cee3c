//! Changes of many deliveries of one webhook, each kind with one statement for all. Keys that are
//! given as an array are looked up, and locked, in their order.

use model::contract::ReplayFilter;
use model::delivery::CancelCause;
use model::id::{TenantId, WebhookId};
use model::time::Timestamp;

use crate::postgres::connection::PostgresConnection;
use crate::postgres::pipeline::Params;
use crate::postgres::text::SafeText;
use crate::sql::delivery_change::DeliveryChange;
use crate::sql::job_error::JobError;
use crate::sql::row::ReadRow;
use crate::sql::rows;

// The state is asked for so that no index of states is taken for one of keys.
statements! {
    RETRY_NOW = "
        update delivery set due_at = $3
        where tenant_id = (select tenant_id from webhook where id = $1) and webhook_id = $1
          and notification_id = any($2::bigint[]) and state + 0 in (0, 4)";
    REPLAY = "
        update delivery
        set state = case when attempts = 0 then 4 else 0 end, cause = null, round = round + 1,
          round_start = attempts,
          round_began_at = null, due_at = $3, ended_at = null
        where tenant_id = (select tenant_id from webhook where id = $1) and webhook_id = $1
          and notification_id = any($2::bigint[]) and state + 0 in (1, 2, 3)";
    CANCEL_UNATTEMPTED = "
        with taken as (
          delete from fresh
          where tenant_id = (select tenant_id from webhook where id = $1) and webhook_id = $1
            and notification_id = any($2::bigint[])
          returning tenant_id, webhook_id, notification_id)
        insert into delivery
          (tenant_id, webhook_id, notification_id, state, cause, round, attempts, round_start,
           ended_at)
        select tenant_id, webhook_id, notification_id, 3, $4, 1, 0, 0, $3 from taken";
    CANCEL = "
        update delivery
        set state = 3, cause = $4, round_began_at = null, due_at = null, ended_at = $3
        where tenant_id = (select tenant_id from webhook where id = $1) and webhook_id = $1
          and notification_id = any($2::bigint[]) and state + 0 in (0, 4)";
    MATCHING = "
        select id from notification
        where tenant_id = $1 and id = any($2::bigint[])
          and action_type = coalesce($3, action_type) and accepted_at >= $4 and accepted_at < $5
        order by id";
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
    let cause = rows::cause_number(CancelCause::Requested);
    let cause = i16::try_from(cause).unwrap_or(i16::MAX);
    let keys: Params<'_> = &[&webhook.0, &notifications, &at];
    let keys_and_cause: Params<'_> = &[&webhook.0, &notifications, &at, &cause];
    let statements: &[(&str, Params<'_>)] = match change {
        DeliveryChange::RetryNow => &[(RETRY_NOW, keys)],
        DeliveryChange::Replay => &[(REPLAY, keys)],
        // In this order: what is not unattempted any more is found in its new place.
        DeliveryChange::Cancel => &[
            (CANCEL_UNATTEMPTED, keys_and_cause),
            (CANCEL, keys_and_cause),
        ],
    };
    let answers = conn.session().pipeline(statements)?;
    let changed = answers.iter().map(|answer| answer.count).sum::<u64>();
    Ok(usize::try_from(changed).unwrap_or(usize::MAX))
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
