//! The log: deliveries of a tenant or of one webhook, newest first, filtered.
//!
//! An index finds each status but `delivered`. What no index answers is checked row by row, up to a
//! bound, and the page says how far it came. Searching a body counts by its size.

use crate::sql::Connection;
use model::delivery::DeliveryState;
use model::delivery_filter::ResponseFilter;
use model::id::{DeliveryId, TenantId, WebhookId};
use model::limits;
use model::query::{DeliveryStatus, LogCursor, LogPage, LogQuery, LogRow};

use crate::sql::id_range::{self, IdRange};
use crate::sql::job_error::JobError;
use crate::sql::merge::{self, Direction, LogMerge};
use crate::sql::read_horizon::ReadHorizon;
use crate::sql::rows;
use crate::sql::value::Value;
use crate::sql::webhook_rows;
use crate::sql::{delivery_detail, notification_rows, query};

shared_statements! {
    // The columns that `delivery_detail::delivery_row` reads, and two more.
    ROW = "
        select n.id, w.id, n.key, n.action_type, n.event, coalesce(d.state, 4), d.cause,
          coalesce(d.attempts, 0), n.accepted_at,
          coalesce(d.due_at + (
            select coalesce(max(wall_at - schedule_at), 0) from clock where id = 1
          ), n.accepted_at), d.ended_at,
          d.status, d.failure, d.detail, null, d.body_end, d.began_at,
          n.\"only\" is not null, w.target_url
        from notification n
        join webhook w on w.id = ?2
        left join delivery d on /*postgres d.tenant_id = ?3 and */
          d.notification_id = n.id and d.webhook_id = w.id
        where n.id = ?1 and n.tenant_id = ?3 and (d.state is not null or exists (
          select 1 from fresh
          where /*postgres tenant_id = ?3 and */ notification_id = ?1 and webhook_id = ?2))";
    STATE = "
        select state, status, began_at is not null from delivery
        where /*postgres tenant_id = (select tenant_id from webhook where id = ?2) and */
          notification_id = ?1 and webhook_id = ?2";
    // These columns stand before the body in a row, so that no body is read.
    HEAD = "
        select action_type, event, length(body) from notification
        where /*postgres tenant_id = (select tenant_id from webhook where id = ?2) and */
          id = ?1";
    pub(crate) HAS_TEXT = "
        select instr(body, ?2) > 0 from notification where id = ?1" | "
        select position(?2 in body) > 0 from notification
        where tenant_id = (select tenant_id from webhook where id = ?3) and id = ?1";
}

/// A body of this size costs as much to search as a row to check.
const BODY_BYTES_A_ROW: u32 = 1_024;

/// Only what is materialized without gaps: the next page goes on from the latest row that was
/// shown.
pub(crate) fn log(
    conn: Connection<'_>,
    tenant: TenantId,
    query: &LogQuery,
    horizon: ReadHorizon,
) -> Result<LogPage, JobError> {
    let limit = query.limit.min(limits::PAGE_ROWS_MAX);
    let webhooks = match query.webhook {
        None => merge::all_webhooks(conn, tenant)?,
        Some(id) if webhook_rows::tenant_of(conn, id)? == Some(tenant) => vec![id],
        Some(_) => Vec::new(),
    };
    let ids = IdRange {
        from: id_range::id_at(conn, tenant, query.since)?.unwrap_or(0),
        to: id_range::end_at(conn, tenant, query.until)?.unwrap_or(i64::MAX),
    };
    let ids = match query.notification {
        Some(only) => IdRange {
            from: ids.from.max(only.0),
            to: ids.to.min(only.0.saturating_add(1)),
        },
        None => ids,
    };
    let ids = ids.upto(horizon.of(conn, tenant)?.upto);
    if limit == 0 || ids.from >= ids.to {
        return Ok(LogPage::default());
    }
    let direction = match query.from {
        None | Some(LogCursor::OlderThan(_)) => Direction::Older,
        Some(LogCursor::NewerThan(_)) => Direction::Newer,
    };
    let sources = merge::logs(tenant, &webhooks, query.status, direction, ids, query.from);
    let mut merge = LogMerge::new(conn, direction, sources)?;
    let mut filter = RowFilter::new(conn, tenant, query)?;
    let search = search(&mut merge, &mut filter, limit)?;
    let more = search.last.filter(|_| merge.has_more());
    let mut page = LogPage {
        rows: log_rows(conn, tenant, &search.found, horizon)?,
        ..LogPage::default()
    };
    match (direction, query.from) {
        (Direction::Older, from) => {
            page.older = more;
            page.newer = from.map(|from| {
                search
                    .found
                    .first()
                    .copied()
                    .unwrap_or_else(|| before(from))
            });
        }
        (Direction::Newer, from) => {
            page.rows.reverse();
            page.newer = more;
            page.older = from.map(|from| {
                search
                    .found
                    .first()
                    .copied()
                    .unwrap_or_else(|| behind(from))
            });
        }
    }
    if search.stopped
        && let Some(last) = more
    {
        page.searched_until = notification_rows::accepted_at(conn, tenant, last.notification)?;
    }
    Ok(page)
}

/// Those of the deliveries that are the tenant's, in the order of `asked`.
pub(crate) fn log_rows(
    conn: Connection<'_>,
    tenant: TenantId,
    asked: &[DeliveryId],
    horizon: ReadHorizon,
) -> Result<Vec<LogRow>, JobError> {
    let mut page = Vec::new();
    for id in asked.iter().take(limits::SCANNED_ROWS_MAX) {
        let keys = values![id.notification.0, id.webhook.0, tenant.0];
        let found = query::list(conn, ROW, keys, |row| {
            let target_url: String = row.get(18)?;
            Ok(LogRow {
                row: delivery_detail::delivery_row(row)?,
                target_url: model::target::masked(&target_url),
                is_test: row.get(17)?,
            })
        })?;
        if found.is_empty() {
            horizon.not_found(id.notification)?;
        }
        page.extend(found);
    }
    Ok(page)
}

/// The result of searching a log.
struct LogSearch {
    found: Vec<DeliveryId>,
    /// The last row that was checked.
    last: Option<DeliveryId>,
    /// Whether it ended because it had checked enough rows.
    stopped: bool,
}

fn search(
    merge: &mut LogMerge<'_>,
    filter: &mut RowFilter<'_>,
    limit: usize,
) -> Result<LogSearch, JobError> {
    let mut search = LogSearch {
        found: Vec::new(),
        last: None,
        stopped: false,
    };
    while search.found.len() < limit {
        if filter.looked_at >= limits::SCANNED_ROWS_MAX {
            search.stopped = true;
            break;
        }
        let Some(id) = merge.next()? else {
            break;
        };
        search.last = Some(id);
        if filter.matches(id)? {
            search.found.push(id);
        }
    }
    Ok(search)
}

/// The conditions that no index answers.
struct RowFilter<'a> {
    /// Checked for each row, because ids do not tell all: the clock was set back meanwhile.
    conn: Connection<'a>,
    tenant: TenantId,
    times: Option<&'a LogQuery>,
    only_delivered: bool,
    response: Option<ResponseFilter>,
    needs_head: bool,
    action_type: Option<&'a str>,
    event: Option<&'a str>,
    text: &'a [u8],
    looked_at: usize,
}

impl<'a> RowFilter<'a> {
    fn new(conn: Connection<'a>, tenant: TenantId, query: &'a LogQuery) -> Result<Self, JobError> {
        let needs_head =
            query.action_type.is_some() || query.event.is_some() || !query.text.is_empty();
        let asks_times = query.since.is_some() || query.until.is_some();
        let falls = asks_times && !id_range::falls(conn, tenant)?.is_empty();
        Ok(Self {
            conn,
            tenant,
            times: falls.then_some(query),
            only_delivered: query.status == Some(DeliveryStatus::Delivered),
            response: query.response,
            needs_head,
            action_type: query.action_type.as_deref(),
            event: query.event.as_deref(),
            text: query.text.as_bytes(),
            looked_at: 0,
        })
    }

    fn matches(&mut self, id: DeliveryId) -> Result<bool, JobError> {
        self.looked_at += 1;
        if let Some(query) = self.times {
            let accepted_at =
                notification_rows::accepted_at(self.conn, self.tenant, id.notification)?;
            let is_within = accepted_at.is_some_and(|at| {
                query.since.is_none_or(|since| at >= since)
                    && query.until.is_none_or(|until| at < until)
            });
            if !is_within {
                return Ok(false);
            }
        }
        let keys = values![id.notification.0, id.webhook.0];
        let by_state = self.only_delivered || self.response.is_some();
        if by_state && !self.has_state(keys)? {
            return Ok(false);
        }
        if !self.needs_head {
            return Ok(true);
        }
        self.looked_at += usize::from(by_state);
        let head = query::first(self.conn, HEAD, keys, |row| {
            let has = |at, wanted: Option<&str>| -> Result<bool, JobError> {
                Ok(match wanted {
                    Some(wanted) => row.get::<_, Option<String>>(at)?.as_deref() == Some(wanted),
                    None => true,
                })
            };
            let body_bytes: u32 = row.get(2)?;
            Ok((has(0, self.action_type)? && has(1, self.event)?).then_some(body_bytes))
        })?;
        let Some(body_bytes) = head.flatten() else {
            return Ok(false);
        };
        if self.text.is_empty() {
            return Ok(true);
        }
        let rows = usize::try_from(body_bytes / BODY_BYTES_A_ROW);
        self.looked_at = self.looked_at.saturating_add(rows.unwrap_or(usize::MAX));
        let searched = values![id.notification.0, self.text, id.webhook.0];
        let has_text: Option<bool> = query::first(self.conn, HAS_TEXT, searched, |row| row.get(0))?;
        Ok(has_text == Some(true))
    }
}

impl RowFilter<'_> {
    fn has_state(&self, keys: &[Value<'_>]) -> Result<bool, JobError> {
        let found = query::first(self.conn, STATE, keys, |row| {
            let (state, status, attempted) = (row.get::<_, i64>(0)?, row.get(1)?, row.get(2)?);
            Ok((state, status, attempted))
        })?;
        // What was never attempted may have no row.
        let (state, status, attempted) = found.unwrap_or((rows::UNATTEMPTED, None, false));
        let is_delivered = state == rows::state_number(DeliveryState::Delivered).0;
        Ok((is_delivered || !self.only_delivered)
            && self.response.is_none_or(|one| one.is_of(status, attempted)))
    }
}

/// The cursor behind which a page of newer rows begins with `from` itself.
fn before(from: LogCursor) -> DeliveryId {
    let (LogCursor::OlderThan(id) | LogCursor::NewerThan(id)) = from;
    DeliveryId {
        webhook: WebhookId(id.webhook.0.saturating_sub(1)),
        ..id
    }
}

/// The cursor behind which a page of older rows begins with `from` itself.
fn behind(from: LogCursor) -> DeliveryId {
    let (LogCursor::OlderThan(id) | LogCursor::NewerThan(id)) = from;
    DeliveryId {
        webhook: WebhookId(id.webhook.0.saturating_add(1)),
        ..id
    }
}
