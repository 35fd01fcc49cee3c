//! Merges the logs of many webhooks, by notification and webhook: the log of a tenant without an
//! index of its own.
//!
//! Each log is an index that is read in pieces, the first of one row. So a page costs one seek for
//! each webhook, and the rows that it shows.

use std::collections::{BinaryHeap, VecDeque};

use model::id::{DeliveryId, NotificationId, TenantId, WebhookId};
use model::query::{DeliveryStatus, LogCursor};
use rusqlite::{Connection, params};

use crate::sqlite::id_range::IdRange;
use crate::sqlite::job_error::JobError;
use crate::sqlite::query;

statements! {
    LIVE = "
        select id from webhook indexed by webhook_tenant
        where tenant_id = ?1 and disabled_cause is not 3";
    DELETED = "
        select id from webhook indexed by webhook_deleted
        where tenant_id = ?1 and disabled_cause = 3";
}

/// The most rows that are read ahead of one log.
const PIECE_MAX: i64 = 256;

/// The order of a merge: from the newest down or from the oldest up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Older,
    Newer,
}

/// Logs that are read as one, in the order of their ids.
pub(crate) struct LogMerge<'a> {
    conn: &'a Connection,
    direction: Direction,
    sources: Vec<MergeSource>,
    /// The next row of each source that has one; the first in order is on top.
    heads: BinaryHeap<(i64, i64, usize)>,
}

/// A log to be merged: SQL with the owner as `?1`, ids from `?2` up to but without `?3`, and the
/// limit as `?4`.
pub(crate) struct MergeSource {
    sql: std::sync::Arc<str>,
    owner: i64,
    /// Orders rows of the same notification.
    webhook: i64,
    ids: IdRange,
    ready: VecDeque<i64>,
    piece: i64,
    ended: bool,
}

impl MergeSource {
    pub(crate) fn new(sql: &std::sync::Arc<str>, owner: i64, webhook: i64, ids: IdRange) -> Self {
        Self {
            sql: std::sync::Arc::clone(sql),
            owner,
            webhook,
            ids,
            ready: VecDeque::new(),
            piece: 1,
            ended: false,
        }
    }

    /// The ids of a webhook's log behind `from`.
    fn log(
        sql: &std::sync::Arc<str>,
        webhook: WebhookId,
        ids: IdRange,
        from: Option<LogCursor>,
    ) -> Self {
        let ids = match from {
            None => ids,
            Some(LogCursor::OlderThan(id)) if webhook < id.webhook => {
                ids.below(NotificationId(id.notification.0.saturating_add(1)))
            }
            Some(LogCursor::OlderThan(id)) => ids.below(id.notification),
            Some(LogCursor::NewerThan(id)) if webhook > id.webhook => {
                ids.above(NotificationId(id.notification.0.saturating_sub(1)))
            }
            Some(LogCursor::NewerThan(id)) => ids.above(id.notification),
        };
        Self::new(sql, webhook.0, webhook.0, ids)
    }

    fn next(&mut self, conn: &Connection, direction: Direction) -> Result<Option<i64>, JobError> {
        if self.ready.is_empty() && !self.ended {
            self.read(conn, direction)?;
        }
        Ok(self.ready.pop_front())
    }

    fn read(&mut self, conn: &Connection, direction: Direction) -> Result<(), JobError> {
        let mut statement = conn.prepare_cached(&self.sql)?;
        let asked = params![self.owner, self.ids.from, self.ids.to, self.piece];
        let mut found = statement.query(asked)?;
        while let Some(row) = found.next()? {
            self.ready.push_back(row.get(0)?);
        }
        let count = i64::try_from(self.ready.len()).unwrap_or(i64::MAX);
        self.ended = count < self.piece;
        self.piece = self.piece.saturating_mul(4).min(PIECE_MAX);
        if let Some(last) = self.ready.back() {
            self.ids = match direction {
                Direction::Older => self.ids.below(NotificationId(*last)),
                Direction::Newer => self.ids.above(NotificationId(*last)),
            };
        }
        Ok(())
    }
}

impl<'a> LogMerge<'a> {
    pub(crate) fn new(
        conn: &'a Connection,
        direction: Direction,
        sources: Vec<MergeSource>,
    ) -> Result<Self, JobError> {
        let mut merge = Self {
            conn,
            direction,
            heads: BinaryHeap::with_capacity(sources.len()),
            sources,
        };
        for index in 0..merge.sources.len() {
            merge.advance(index)?;
        }
        Ok(merge)
    }

    /// The next row in order.
    pub(crate) fn next(&mut self) -> Result<Option<DeliveryId>, JobError> {
        let Some((notification, webhook, index)) = self.heads.pop() else {
            return Ok(None);
        };
        self.advance(index)?;
        Ok(Some(DeliveryId {
            notification: NotificationId(self.directed(notification)),
            webhook: WebhookId(self.directed(webhook)),
        }))
    }

    /// Whether there is a row behind those that were read.
    pub(crate) fn has_more(&self) -> bool {
        !self.heads.is_empty()
    }

    fn advance(&mut self, index: usize) -> Result<(), JobError> {
        let Some(source) = self.sources.get_mut(index) else {
            return Ok(());
        };
        let webhook = source.webhook;
        if let Some(id) = source.next(self.conn, self.direction)? {
            let head = (self.directed(id), self.directed(webhook), index);
            self.heads.push(head);
        }
        Ok(())
    }

    /// Ids as the heap orders them, and back.
    fn directed(&self, id: i64) -> i64 {
        match self.direction {
            Direction::Older => id,
            Direction::Newer => id.saturating_neg(),
        }
    }
}

/// All webhooks of a tenant, deleted or not.
pub(crate) fn all_webhooks(
    conn: &Connection,
    tenant: TenantId,
) -> Result<Vec<WebhookId>, JobError> {
    let mut all = Vec::new();
    for sql in [LIVE, DELETED] {
        let found = query::list(conn, sql, [tenant.0], |row| Ok(WebhookId(row.get(0)?)))?;
        all.extend(found);
    }
    Ok(all)
}

/// All SQL that reads the log of a webhook, to be prepared and tested.
pub(crate) fn log_statements() -> Vec<String> {
    let statuses = DeliveryStatus::ALL.into_iter().map(Some).chain([None]);
    statuses
        .flat_map(|status| {
            [Direction::Older, Direction::Newer].map(|direction| log_sqls(status, direction))
        })
        .flatten()
        .collect()
}

/// The SQL for the ids of this status in a webhook's log, one for each index that has some. For
/// `Delivered` it finds all that were attempted.
pub(crate) fn log_sqls(status: Option<DeliveryStatus>, direction: Direction) -> Vec<String> {
    let indexes = indexes(status).iter();
    indexes.map(|index| log_sql(index, direction)).collect()
}

/// Where deliveries of a status are found, in the order of a webhook's log.
#[derive(Clone, Copy)]
struct StatusIndex {
    /// The table, as `d`, and its index.
    from: &'static str,
    /// The condition that selects the status.
    only: &'static str,
}

const UNATTEMPTED: StatusIndex = StatusIndex {
    from: "fresh d",
    only: "",
};

/// All but the unattempted. Most are delivered, and an index of those would be as large as the log.
/// So for that status the reader checks the state.
const ATTEMPTED: StatusIndex = StatusIndex {
    from: "delivery d",
    only: "",
};

const fn in_state(only: &'static str) -> StatusIndex {
    StatusIndex {
        from: "delivery d indexed by delivery_state",
        only,
    }
}

fn indexes(status: Option<DeliveryStatus>) -> &'static [StatusIndex] {
    match status {
        None => &[ATTEMPTED, UNATTEMPTED],
        Some(DeliveryStatus::Delivered) => &[ATTEMPTED],
        Some(DeliveryStatus::Pending) => {
            const { &[in_state("and d.state <> 1 and d.state = 4"), UNATTEMPTED] }
        }
        Some(DeliveryStatus::Retrying) => const { &[in_state("and d.state <> 1 and d.state = 0")] },
        Some(DeliveryStatus::Failed) => const { &[in_state("and d.state <> 1 and d.state = 2")] },
        Some(DeliveryStatus::Cancelled) => {
            const { &[in_state("and d.state <> 1 and d.state = 3")] }
        }
    }
}

fn log_sql(StatusIndex { from, only }: &StatusIndex, direction: Direction) -> String {
    let order = match direction {
        Direction::Older => "desc",
        Direction::Newer => "asc",
    };
    format!(
        "
    select d.notification_id from {from}
    where d.webhook_id = ?1 and d.notification_id >= ?2 and d.notification_id < ?3
      {only}
    order by d.notification_id {order}
    limit ?4"
    )
}

/// The logs of these webhooks, of this status, as sources of a merge.
pub(crate) fn logs(
    webhooks: &[WebhookId],
    status: Option<DeliveryStatus>,
    direction: Direction,
    ids: IdRange,
    from: Option<LogCursor>,
) -> Vec<MergeSource> {
    let sqls = log_sqls(status, direction).into_iter();
    let sqls: Vec<std::sync::Arc<str>> = sqls.map(std::sync::Arc::from).collect();
    let each = webhooks.iter().flat_map(|webhook| {
        sqls.iter()
            .map(|sql| MergeSource::log(sql, *webhook, ids, from))
    });
    each.collect()
}
