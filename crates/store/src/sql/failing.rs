//! Failing webhooks over all tenants: those that have failed for longest first. Each question looks
//! at a bounded part of the index of those that fail, whatever else is stored.

use std::collections::BTreeMap;

use model::dashboard::{
    FailingCount, FailingCounts, FailingPage, FailingQuery, FailingWebhook, LatestAttempt,
};
use model::id::{DeliveryId, NotificationId, TenantId, WebhookId};
use model::limits;
use model::time::Timestamp;

use crate::sql::job_error::JobError;
use crate::sql::{Connection, Row, dashboard_queries, owed, query, rows, webhook_rows};

shared_statements! {
    FAILING = "
        select s.webhook_id, s.failing_since, s.notification_id, s.ended_at, s.success, s.words,
          w.tenant_id, coalesce(w.disabled_at, w.held_at)
        from standing s indexed by standing_failing
        cross join webhook w on w.id = s.webhook_id
        where s.failing_since is not null and (s.failing_since, s.webhook_id) > (?1, ?2)
        order by s.failing_since, s.webhook_id
        limit ?3" | "
        select f.webhook_id, f.failing_since, f.notification_id, f.ended_at, f.success, f.words,
          w.tenant_id, coalesce(w.disabled_at, w.held_at)
        from (
          select webhook_id, failing_since, notification_id, ended_at, success, words
          from standing
          where failing_since is not null and (failing_since, webhook_id) > (?1, ?2)
          order by failing_since, webhook_id
          limit ?3) f
        cross join lateral (
          select tenant_id, disabled_at, held_at from webhook where id = f.webhook_id limit 1) w
        order by f.failing_since, f.webhook_id";
}

struct FailingRow {
    webhook: WebhookId,
    since: Timestamp,
    latest: LatestAttempt,
    tenant: TenantId,
    /// Neither disabled nor paused.
    is_enabled: bool,
}

/// A page of those that are enabled, of these tenants.
pub(crate) fn failing(conn: Connection<'_>, asked: &FailingQuery) -> Result<FailingPage, JobError> {
    let found = behind(conn, asked.after)?;
    let is_all = found.len() < limits::FAILING_SCANNED_MAX;
    let mut page = FailingPage::default();
    for row in found {
        if page.rows.len() >= asked.limit {
            return Ok(page);
        }
        page.after = Some((row.since, row.webhook));
        let among = asked.among.as_ref();
        if !row.is_enabled || among.is_some_and(|among| !among.contains(&row.tenant)) {
            continue;
        }
        let webhook = webhook_rows::find(conn, row.tenant, row.webhook)?;
        let settings = dashboard_queries::settings(conn, row.tenant)?;
        let (Some(webhook), Some(settings)) = (webhook, settings) else {
            continue;
        };
        page.rows.push(FailingWebhook {
            tenant: settings.tenant,
            failing_since: row.since,
            latest: row.latest,
            waiting: owed::count(conn, row.webhook, limits::WAITING_COUNTED_MAX)?,
            webhook,
        });
    }
    if is_all {
        page.after = None;
    }
    Ok(page)
}

/// How many fail of each tenant, of those that have failed for longest.
pub(crate) fn counts(conn: Connection<'_>) -> Result<FailingCounts, JobError> {
    let found = behind(conn, None)?;
    let is_part = found.len() >= limits::FAILING_SCANNED_MAX;
    let mut tenants: BTreeMap<TenantId, FailingCount> = BTreeMap::new();
    for row in found.iter().filter(|row| row.is_enabled) {
        let since = row.since;
        let count = tenants
            .entry(row.tenant)
            .or_insert(FailingCount { count: 0, since });
        count.count += 1;
    }
    Ok(FailingCounts { tenants, is_part })
}

/// Those behind this one, of all tenants, disabled or not.
fn behind(
    conn: Connection<'_>,
    after: Option<(Timestamp, WebhookId)>,
) -> Result<Vec<FailingRow>, JobError> {
    let after = after.map_or((i64::MIN, i64::MIN), |(since, webhook)| {
        (since.as_millis(), webhook.0)
    });
    let bound = rows::bound(limits::FAILING_SCANNED_MAX);
    query::list(conn, FAILING, values![after.0, after.1, bound], failing_row)
}

fn failing_row(row: &Row<'_>) -> Result<FailingRow, JobError> {
    let webhook = WebhookId(row.get(0)?);
    Ok(FailingRow {
        webhook,
        since: rows::time(row, 1)?,
        latest: LatestAttempt {
            delivery: DeliveryId {
                notification: NotificationId(row.get(2)?),
                webhook,
            },
            ended_at: rows::time(row, 3)?,
            success: row.get(4)?,
            words: row.get(5)?,
        },
        tenant: TenantId(row.get(6)?),
        is_enabled: rows::time_if_any(row, 7)?.is_none(),
    })
}
