//! Notifications: the list of a tenant, and one in detail.
//!
//! There is no index by tenant. What some webhook wanted is found in the merged logs of the
//! tenant's webhooks, what none wanted in an index of its own.

use crate::sql::{Connection, Row};
use model::dashboard::{NotificationDetail, NotificationQuery, NotificationRow};
use model::id::{NotificationId, TenantId, WebhookId};
use model::limits;

use crate::sql::id_range::IdRange;
use crate::sql::job_error::JobError;
use crate::sql::merge::{self, Direction, LogMerge, MergeSource};
use crate::sql::query;
use crate::sql::read_horizon::ReadHorizon;
use crate::sql::rows;

shared_statements! {
    UNWANTED = "
        select id from notification indexed by notification_unwanted
        where delivery_count = 0 and tenant_id = ?1 and id >= ?2 and id < ?3
        order by id desc
        limit ?4";
    ROW = "
        select id, key, action_type, event, accepted_at, delivery_count, \"only\" is not null
        from notification
        where id = ?1 and tenant_id = ?2";
    DETAIL = "
        select id, key, action_type, event, about, \"only\", accepted_at, delivery_count, headers,
          body
        from notification
        where id = ?1 and tenant_id = ?2";
    BY_KEY = "select id from notification where tenant_id = ?1 and key = ?2";
}

pub(crate) fn page(
    conn: Connection<'_>,
    tenant: TenantId,
    query: &NotificationQuery,
    horizon: ReadHorizon,
) -> Result<Vec<NotificationRow>, JobError> {
    let limit = query.limit.min(limits::PAGE_ROWS_MAX);
    let ids = IdRange {
        from: 0,
        to: query.older_than.map_or(i64::MAX, |id| id.0),
    };
    let ids = ids.upto(horizon.of(conn, tenant)?.upto);
    let mut sources = vec![MergeSource::new(UNWANTED, tenant.0, 0, ids)];
    if !query.unwanted {
        let webhooks = merge::all_webhooks(conn, tenant)?;
        sources.extend(merge::logs(
            tenant,
            &webhooks,
            None,
            Direction::Older,
            ids,
            None,
        ));
    }
    let mut merge = LogMerge::new(conn, Direction::Older, sources)?;
    let mut page: Vec<NotificationRow> = Vec::new();
    let mut latest = None;
    while page.len() < limit
        && let Some(id) = merge.next()?
    {
        // A notification that several webhooks got comes several times, in a row.
        if latest.replace(id.notification) != Some(id.notification) {
            page.extend(query::list(
                conn,
                ROW,
                values![id.notification.0, tenant.0],
                notification_row,
            )?);
        }
    }
    Ok(page)
}

pub(crate) fn detail(
    conn: Connection<'_>,
    tenant: TenantId,
    id: NotificationId,
) -> Result<Option<NotificationDetail>, JobError> {
    query::first(conn, DETAIL, values![id.0, tenant.0], |row| {
        Ok(NotificationDetail {
            id: NotificationId(row.get(0)?),
            key: row.get(1)?,
            action_type: row.get(2)?,
            event: row.get(3)?,
            match_context: row.get(4)?,
            only_webhook: row.get::<_, Option<i64>>(5)?.map(WebhookId),
            accepted_at: rows::time(row, 6)?,
            delivery_count: row.get(7)?,
            headers: rows::headers(row, 8)?,
            body: rows::bytes(row, 9)?,
        })
    })
}

pub(crate) fn detail_by_key(
    conn: Connection<'_>,
    tenant: TenantId,
    key: &str,
) -> Result<Option<NotificationDetail>, JobError> {
    let id: Option<i64> = query::first(conn, BY_KEY, values![tenant.0, key], |row| row.get(0))?;
    match id {
        Some(id) => detail(conn, tenant, NotificationId(id)),
        None => Ok(None),
    }
}

fn notification_row(row: &Row<'_>) -> Result<NotificationRow, JobError> {
    Ok(NotificationRow {
        id: NotificationId(row.get(0)?),
        key: row.get(1)?,
        action_type: row.get(2)?,
        event: row.get(3)?,
        accepted_at: rows::time(row, 4)?,
        delivery_count: row.get(5)?,
        is_test: row.get(6)?,
    })
}
