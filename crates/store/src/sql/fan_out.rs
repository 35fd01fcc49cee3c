//! Fan-out: a notification for so many webhooks that a transaction has no time for all their rows.
//! They are materialized in steps, with other jobs in between.
//!
//! The notification is accepted at once, with the list of its webhooks. Notifications of a
//! transaction for the same webhooks share one batch. A step takes one webhook after the other.
//! Tenants take turns, which each engine arranges. A delivery that is not materialized yet is seen
//! by nobody; the subscriber is told with its step.

use std::sync::Arc;

use model::delivery::CancelCause;
use model::id::{NotificationId, TenantId, WebhookId};
use model::limits::UNMATERIALIZED_MAX;
use model::time::Timestamp;

use crate::sql::job_error::JobError;
use crate::sql::row::ReadRow;
use crate::sql::transaction::Transaction;
use crate::sql::{Connection, Row, query, read_horizon, rows};
use crate::sql::{webhook_health, webhook_history, webhook_list};

shared_statements! {
    FIRST = "
        select l.id, l.reached, a.webhooks from listing l
        join audience a on a.listing_id = l.id
        where l.tenant_id = ?1
        order by l.id
        limit 1";
    NOTIFICATIONS = "
        select w.notification_id, n.accepted_at from wide w
        join notification n on n.id = w.notification_id
        where w.listing_id = ?1
        order by w.notification_id" | "
        select w.notification_id, n.accepted_at from wide w
        join notification n on n.tenant_id = ?2 and n.id = w.notification_id
        where w.listing_id = ?1
        order by w.notification_id";
    AUDIENCES = "
        select l.reached, a.webhooks, (
          select min(notification_id) from wide where listing_id = l.id)
        from listing l
        join audience a on a.listing_id = l.id
        where l.tenant_id = ?1
        order by l.id
        limit ?2";
    REACHED = "update listing set reached = ?2, owed = owed - ?3 where id = ?1";
    END = "delete from listing where id = ?1";
    END_AUDIENCE = "delete from audience where listing_id = ?1";
    END_WIDE = "delete from wide where listing_id = ?1";
}

/// Rows that a transaction or a step materializes at most: some milliseconds, for which others
/// wait, if each row is on a page of its own.
pub(crate) const STEP_ROWS: usize = 1_024;

/// So many audiences are searched for a webhook: each takes up to half a millisecond, for which all
/// wait.
const AUDIENCES_READ_MAX: usize = 16;

/// What a step asks of the transaction it runs in.
pub(crate) trait FanOutTransaction: Transaction {
    /// Of these webhooks, those that are not enabled, by id.
    fn not_enabled(&mut self, webhooks: &[WebhookId]) -> Result<Vec<NotEnabled>, JobError>;

    /// Writes the deliveries of these notifications to each of these webhooks, as unattempted.
    fn write_unattempted(
        &mut self,
        tenant: TenantId,
        webhooks: &[WebhookId],
        notifications: &[NotificationId],
    ) -> Result<(), JobError>;

    /// Writes the deliveries of these notifications to a webhook, as cancelled before any attempt.
    fn write_cancelled(
        &mut self,
        tenant: TenantId,
        webhook: NotEnabled,
        notifications: &[NotificationId],
    ) -> Result<(), JobError>;
}

/// A webhook that gets nothing, and what its deliveries become.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NotEnabled {
    pub(crate) webhook: WebhookId,
    pub(crate) at: Timestamp,
    pub(crate) cause: CancelCause,
}

impl NotEnabled {
    /// As the webhook's row has it: `None` if it is enabled.
    pub(crate) fn of_row(
        webhook: WebhookId,
        disabled_at: Option<i64>,
        disabled_cause: Option<i64>,
    ) -> Result<Option<Self>, JobError> {
        let disabled_at = disabled_at.map(Timestamp::from_millis);
        let disabled = rows::disabled(disabled_at, disabled_cause)?;
        Ok(disabled.map(|disabled| Self {
            webhook,
            at: disabled.at,
            cause: rows::cancel_cause(disabled.cause),
        }))
    }

    /// Of a webhook that has no row any more.
    pub(crate) fn gone(webhook: WebhookId) -> Self {
        Self {
            webhook,
            at: Timestamp::EPOCH,
            cause: CancelCause::WebhookDeleted,
        }
    }
}

/// What came of a step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StepDone {
    /// Deliveries that have rows now.
    pub(crate) materialized: usize,
    /// Whether nothing of the tenant is left.
    pub(crate) is_last: bool,
}

/// What a step works on.
struct FanOutBatch {
    id: i64,
    reached: i64,
    webhooks: Arc<[WebhookId]>,
}

/// Whether a tenant that is owed so much has to wait.
pub(crate) fn is_much(owed: usize) -> bool {
    owed >= UNMATERIALIZED_MAX
}

/// One step of the tenant, if its first notification is not above `upto`; `None` if it is, or if
/// nothing is left.
pub(crate) fn step(
    tx: &mut dyn FanOutTransaction,
    tenant: TenantId,
    upto: i64,
) -> Result<Option<StepDone>, JobError> {
    let Some(batch) = first(tx.conn(), tenant)? else {
        return Ok(None);
    };
    let notifications = query::list(
        tx.conn(),
        NOTIFICATIONS,
        values![batch.id, tenant.0],
        |row| Ok((NotificationId(row.get(0)?), rows::time(row, 1)?)),
    )?;
    if notifications.first().is_some_and(|(id, _)| id.0 > upto) {
        return Ok(None);
    }
    let reached = materialize(tx, tenant, &batch, &notifications)?;
    let materialized = reached.count * notifications.len();
    let is_end = batch
        .webhooks
        .last()
        .is_none_or(|last| *last <= reached.upto);
    if is_end {
        for statement in [END, END_AUDIENCE, END_WIDE] {
            tx.conn().execute(statement, values![batch.id])?;
        }
    } else {
        let count = i64::try_from(materialized).unwrap_or(i64::MAX);
        let reached = values![batch.id, reached.upto.0, count];
        tx.conn().execute(REACHED, reached)?;
    }
    Ok(Some(StepDone {
        materialized,
        is_last: is_end && first(tx.conn(), tenant)?.is_none(),
    }))
}

/// How far a step has come.
struct Reached {
    upto: WebhookId,
    /// Webhooks of this step.
    count: usize,
}

/// Materializes what the notifications owe to the next webhooks of the batch, which may have been
/// disabled meanwhile.
fn materialize(
    tx: &mut dyn FanOutTransaction,
    tenant: TenantId,
    batch: &FanOutBatch,
    notifications: &[(NotificationId, Timestamp)],
) -> Result<Reached, JobError> {
    let done = batch
        .webhooks
        .partition_point(|webhook| webhook.0 <= batch.reached);
    let rest = batch.webhooks.get(done..).unwrap_or_default();
    let count = (STEP_ROWS / notifications.len().max(1)).max(1);
    let (next, _) = rest.split_at(count.min(rest.len()));
    let disabled = tx.not_enabled(next)?;
    let is_enabled = |webhook: &WebhookId| {
        let found = disabled.binary_search_by_key(webhook, |not| not.webhook);
        found.is_err()
    };
    let enabled: Vec<WebhookId> = next.iter().copied().filter(is_enabled).collect();
    let ids: Vec<NotificationId> = notifications.iter().map(|(id, _)| *id).collect();
    tx.write_unattempted(tenant, &enabled, &ids)?;
    if let Some((_, due_at)) = notifications.first() {
        for webhook in &enabled {
            tx.post_commit().skipped(*webhook, *due_at);
        }
    }
    for webhook in disabled {
        tx.write_cancelled(tenant, webhook, &ids)?;
        webhook_health::count_failed(tx, webhook.webhook, webhook.at, ids.len())?;
    }
    Ok(Reached {
        upto: next.last().map_or(WebhookId(batch.reached), |last| *last),
        count: next.len(),
    })
}

fn first(conn: Connection<'_>, tenant: TenantId) -> Result<Option<FanOutBatch>, JobError> {
    query::first(conn, FIRST, values![tenant.0], |row| {
        Ok(FanOutBatch {
            id: row.get(0)?,
            reached: row.get(1)?,
            webhooks: audience(row, 2)?,
        })
    })
}

/// The webhooks in this column.
fn audience(row: &Row<'_>, at: usize) -> Result<Arc<[WebhookId]>, JobError> {
    Ok(webhook_list::of_text(&row.cell(at)?.text()?)?)
}

/// Whether the disabled webhook may be owed something that is not materialized yet. No, if all that
/// is left was accepted while it was disabled. Otherwise a few audiences are searched; with more of
/// them the answer is yes.
pub(crate) fn may_owe(
    conn: Connection<'_>,
    tenant: TenantId,
    webhook: WebhookId,
) -> Result<bool, JobError> {
    let Some(first) = read_horizon::first_of(conn, tenant)? else {
        return Ok(false);
    };
    let Some(upto) = webhook_history::enabled_upto(conn, webhook, first)? else {
        return Ok(false);
    };
    let most = rows::bound(AUDIENCES_READ_MAX + 1);
    let (mut read, mut found) = (0, false);
    conn.rows(AUDIENCES, values![tenant.0, most], |row| {
        // The audiences that follow are for later notifications.
        if row.get::<_, i64>(2)? > upto.0 {
            return Ok(false);
        }
        read += 1;
        let is_before_its_turn = row.get::<_, i64>(0)? < webhook.0;
        found = read > AUDIENCES_READ_MAX
            || is_before_its_turn && audience(row, 1)?.binary_search(&webhook).is_ok();
        Ok(!found)
    })?;
    Ok(found)
}
