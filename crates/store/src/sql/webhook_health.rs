//! Webhook health: the result of the latest attempt of each webhook, and counts by the hour.
//!
//! Settling adds up a whole batch in memory and writes once for each webhook. Accepting writes
//! nothing here. Each step of cancelling counts its deliveries as failed.

use std::collections::BTreeMap;

use crate::sql::{Connection, Row};
use model::contract::Settlement;
use model::dashboard::{HOUR_MS, HourlyCounts, LatestAttempt, WebhookHealth};
use model::delivery::DeliveryState;
use model::id::{DeliveryId, NotificationId, TenantId, WebhookId};
use model::limits;
use model::time::Timestamp;

use crate::sql::heartbeat;
use crate::sql::job_error::JobError;
use crate::sql::row_budget::RowBudget;
use crate::sql::rows;
use crate::sql::transaction::Transaction;
use crate::sql::{holds, owed, query, webhook_rows};

shared_statements! {
    // A success in the batch begins anew; else the first failure stays the first.
    SAVE = "
        insert into standing
          (webhook_id, notification_id, ended_at, success, words, failing_since)
        values (?1, ?2, ?3, ?4, ?5, ?6)
        on conflict (webhook_id) do update
        set notification_id = ?2, ended_at = ?3, success = ?4, words = ?5,
          failing_since = case when ?7 then ?6 else coalesce(standing.failing_since, ?6) end";
    COUNT = "
        insert into tally (webhook_id, hour, delivered, retried, failed)
        values (?1, ?2, ?3, ?4, ?5)
        on conflict (webhook_id, hour) do update
        set delivered = tally.delivered + ?3, retried = tally.retried + ?4,
          failed = tally.failed + ?5";
    LATEST = "
        select notification_id, ended_at, success, words, failing_since from standing
        where webhook_id = ?1";
    EARLIEST = "
        select due_at from delivery indexed by delivery_due
        where /*postgres tenant_id = (select tenant_id from webhook where id = ?1) and */
          state in (0, 4) and webhook_id = ?1
        order by due_at
        limit 1";
    EARLIEST_UNATTEMPTED = "
        select n.accepted_at from fresh f
        join notification n on /*postgres n.tenant_id = f.tenant_id and */ n.id = f.notification_id
        where /*postgres f.tenant_id = (select tenant_id from webhook where id = ?1) and */
          f.webhook_id = ?1
        order by f.notification_id
        limit 1";
    // Of those in this state.
    OLDEST_OWED = "
        select n.accepted_at from delivery d indexed by delivery_state
        join notification n on /*postgres n.tenant_id = d.tenant_id and */ n.id = d.notification_id
        where /*postgres d.tenant_id = (select tenant_id from webhook where id = ?1) and */
          d.state <> 1 and d.state = ?2 and d.webhook_id = ?1
        order by d.notification_id
        limit 1";
    RETRYING = "
        select notification_id from delivery indexed by delivery_state
        where /*postgres tenant_id = (select tenant_id from webhook where id = ?1) and */
          state <> 1 and state = 0 and webhook_id = ?1
        limit 1";
    HOURS = "
        select hour, delivered, retried, failed from tally
        where webhook_id = ?1 and hour >= ?2
        order by hour";
    DROP = "
        delete from tally where webhook_id = ?1 and hour in (
          select hour from tally
          where webhook_id = ?1 and hour < ?2
          limit ?3)";
}

/// Those of pending deliveries that have a row: to be tried again, and never tried.
const OWED_STATES: [i64; 2] = [0, 4];

/// What an attempt counts as in its hour.
#[derive(Debug, Clone, Copy)]
pub(crate) enum HourlyOutcome {
    Delivered,
    Retried,
    Failed,
    /// Nothing changed: the delivery had ended, or was replayed meanwhile.
    Nothing,
}

/// The health of the webhooks in one batch of settlements.
#[derive(Default)]
pub(crate) struct BatchHealth<'a>(BTreeMap<WebhookId, WebhookBatch<'a>>);

pub(crate) struct WebhookBatch<'a> {
    pub(crate) latest: &'a Settlement,
    /// Whether there was a success.
    pub(crate) success: bool,
    pub(crate) failing_since: Option<Timestamp>,
    pub(crate) hours: BTreeMap<i64, HourCounts>,
}

#[derive(Default)]
pub(crate) struct HourCounts {
    pub(crate) delivered: u32,
    pub(crate) retried: u32,
    pub(crate) failed: u32,
}

impl HourlyOutcome {
    pub(crate) fn of(state: DeliveryState) -> Self {
        match state {
            DeliveryState::Pending => Self::Retried,
            DeliveryState::Delivered => Self::Delivered,
            DeliveryState::Failed | DeliveryState::Cancelled(_) => Self::Failed,
        }
    }
}

impl<'a> BatchHealth<'a> {
    pub(crate) fn add(&mut self, settlement: &'a Settlement, outcome: HourlyOutcome) {
        let webhook = self
            .0
            .entry(settlement.id.webhook)
            .or_insert_with(|| WebhookBatch {
                latest: settlement,
                success: false,
                failing_since: None,
                hours: BTreeMap::new(),
            });
        webhook.latest = settlement;
        if settlement.attempt.outcome.is_success() {
            webhook.success = true;
            webhook.failing_since = None;
        } else {
            webhook.failing_since.get_or_insert(settlement.ended_at);
        }
        let counts = webhook.hours.entry(hour(settlement.ended_at)).or_default();
        match outcome {
            HourlyOutcome::Delivered => counts.delivered += 1,
            HourlyOutcome::Retried => counts.retried += 1,
            HourlyOutcome::Failed => counts.failed += 1,
            HourlyOutcome::Nothing => {}
        }
    }

    /// By webhook, in the order of their ids.
    pub(crate) fn webhooks(&self) -> &BTreeMap<WebhookId, WebhookBatch<'a>> {
        &self.0
    }

    /// Writes row by row, which costs least on SQLite.
    pub(crate) fn write(&self, conn: Connection<'_>) -> Result<(), JobError> {
        let mut save = conn.prepare(SAVE)?;
        let mut count = conn.prepare(COUNT)?;
        for (id, webhook) in &self.0 {
            let outcome = &webhook.latest.attempt.outcome;
            save.execute(values![
                id.0,
                webhook.latest.id.notification.0,
                webhook.latest.ended_at.as_millis(),
                outcome.is_success(),
                outcome.words(),
                webhook.failing_since.map(Timestamp::as_millis),
                webhook.success,
            ])?;
            for (hour, counts) in &webhook.hours {
                let HourCounts {
                    delivered,
                    retried,
                    failed,
                } = counts;
                count.execute(values![id.0, hour, delivered, retried, failed])?;
            }
        }
        Ok(())
    }
}

/// Counts cancelled deliveries of the webhook.
pub(crate) fn count_failed(
    tx: &dyn Transaction,
    webhook: WebhookId,
    at: Timestamp,
    count: usize,
) -> Result<(), JobError> {
    const NONE: i64 = 0;
    if count > 0 {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        tx.execute(COUNT, values![webhook.0, hour(at), NONE, NONE, count])?;
    }
    Ok(())
}

/// Removes the counts of hours that ended before `before`.
pub(crate) fn prune(
    tx: &dyn Transaction,
    webhook: WebhookId,
    before: Timestamp,
    budget: &mut RowBudget,
) -> Result<(), JobError> {
    let dropped = tx.execute(DROP, values![webhook.0, hour(before), budget.rows()])?;
    budget.take(dropped);
    Ok(())
}

pub(crate) fn webhook_health(
    conn: Connection<'_>,
    tenant: TenantId,
    asked: &[WebhookId],
    since: Timestamp,
) -> Result<Vec<WebhookHealth>, JobError> {
    let mut webhook_health = Vec::new();
    for webhook in asked.iter().take(limits::SCANNED_ROWS_MAX) {
        if webhook_rows::tenant_of(conn, *webhook)? == Some(tenant) {
            webhook_health.push(health_of(conn, *webhook, since)?);
        }
    }
    Ok(webhook_health)
}

fn health_of(
    conn: Connection<'_>,
    webhook: WebhookId,
    since: Timestamp,
) -> Result<WebhookHealth, JobError> {
    let latest = query::first(conn, LATEST, values![webhook.0], |row| latest(webhook, row))?;
    let (latest, failing_since) = latest.unzip();
    let first = |sql| query::list(conn, sql, values![webhook.0], |row| rows::time(row, 0));
    let lag_ms = heartbeat::lag_ms(conn)?;
    let retried = first(EARLIEST)?.into_iter().map(|at| at.plus_ms(lag_ms));
    let unattempted = first(EARLIEST_UNATTEMPTED)?;
    let next_due_at = retried.chain(unattempted.iter().copied()).min();
    let mut oldest = unattempted;
    for state in OWED_STATES {
        let of_state = values![webhook.0, state];
        oldest.extend(query::list(conn, OLDEST_OWED, of_state, |row| {
            rows::time(row, 0)
        })?);
    }
    let retrying: Option<i64> = query::first(conn, RETRYING, values![webhook.0], |row| row.get(0))?;
    Ok(WebhookHealth {
        webhook,
        latest,
        failing_since: failing_since.flatten(),
        hold: match webhook_rows::tenant_of(conn, webhook)? {
            Some(tenant) => holds::hold(conn, tenant, webhook)?,
            None => None,
        },
        next_due_at,
        retrying: retrying.is_some(),
        waiting: owed::count(conn, webhook, limits::WAITING_COUNTED_MAX)?,
        oldest_waiting_at: oldest.into_iter().min(),
        hours: query::list(conn, HOURS, values![webhook.0, hour(since)], hourly_counts)?,
    })
}

fn latest(
    webhook: WebhookId,
    row: &Row<'_>,
) -> Result<(LatestAttempt, Option<Timestamp>), JobError> {
    let delivery = DeliveryId {
        notification: NotificationId(row.get(0)?),
        webhook,
    };
    let latest = LatestAttempt {
        delivery,
        ended_at: rows::time(row, 1)?,
        success: row.get(2)?,
        words: row.get(3)?,
    };
    Ok((latest, rows::time_if_any(row, 4)?))
}

fn hourly_counts(row: &Row<'_>) -> Result<HourlyCounts, JobError> {
    let count = |at| {
        row.get::<_, i64>(at)
            .map(|count| u64::try_from(count).unwrap_or(0))
    };
    Ok(HourlyCounts {
        hour: row.get(0)?,
        delivered: count(1)?,
        retried: count(2)?,
        failed: count(3)?,
    })
}

fn hour(at: Timestamp) -> i64 {
    at.as_millis().div_euclid(HOUR_MS)
}
