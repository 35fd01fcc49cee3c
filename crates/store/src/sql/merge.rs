//! Merges the logs of many webhooks, by notification and webhook: the log of a tenant without an
//! index of its own.
//!
//! Each log is an index that is read in pieces, the first of one row. So a page costs one seek for
//! each webhook, and the rows that it shows. PostgreSQL is asked for the first rows of all
//! together.

use std::collections::{BTreeMap, BinaryHeap, VecDeque};

use crate::postgres::connection::PostgresConnection;
use crate::postgres::pipeline::Params;
use crate::sql::row::ReadRow;
use crate::sql::statement::to_postgres;
use crate::sql::{Connection, Statement};
use model::id::{DeliveryId, NotificationId, TenantId, WebhookId};
use model::query::{DeliveryStatus, LogCursor};

use crate::sql::id_range::IdRange;
use crate::sql::job_error::JobError;
use crate::sql::query;

shared_statements! {
    LIVE = "
        select id from webhook indexed by webhook_tenant
        where tenant_id = ?1 and disabled_cause is distinct from 3";
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
    conn: Connection<'a>,
    direction: Direction,
    sources: Vec<MergeSource>,
    /// The next row of each source that has one; the first in order is on top.
    heads: BinaryHeap<(i64, i64, usize)>,
}

/// The question for the first rows of many logs of a tenant: webhooks as `?2`, and for each the ids
/// from `?3` up to but without `?4`, all as arrays. Answers the place in them, from 1 on, and the
/// id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct LogHeads {
    sql: &'static str,
    tenant: TenantId,
}

/// A log to be merged: SQL with the owner as `?1`, ids from `?2` up to but without `?3`, and the
/// limit as `?4`.
pub(crate) struct MergeSource {
    sql: Statement,
    heads: Option<LogHeads>,
    owner: i64,
    /// Orders rows of the same notification.
    webhook: i64,
    ids: IdRange,
    ready: VecDeque<i64>,
    piece: i64,
    ended: bool,
}

impl MergeSource {
    pub(crate) fn new(sql: Statement, owner: i64, webhook: i64, ids: IdRange) -> Self {
        Self {
            sql,
            heads: None,
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
        (sql, heads): (Statement, LogHeads),
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
        Self {
            heads: Some(heads),
            ..Self::new(sql, webhook.0, webhook.0, ids)
        }
    }

    fn next(
        &mut self,
        conn: Connection<'_>,
        direction: Direction,
    ) -> Result<Option<i64>, JobError> {
        if self.ready.is_empty() && !self.ended {
            self.read(conn, direction)?;
        }
        Ok(self.ready.pop_front())
    }

    fn read(&mut self, conn: Connection<'_>, direction: Direction) -> Result<(), JobError> {
        let asked = values![self.owner, self.ids.from, self.ids.to, self.piece];
        conn.rows(self.sql, asked, |row| {
            self.ready.push_back(row.get(0)?);
            Ok(true)
        })?;
        self.was_read(direction);
        Ok(())
    }

    /// A piece was read: where the next one begins.
    fn was_read(&mut self, direction: Direction) {
        let count = i64::try_from(self.ready.len()).unwrap_or(i64::MAX);
        self.ended = count < self.piece;
        self.piece = self.piece.saturating_mul(4).min(PIECE_MAX);
        if let Some(last) = self.ready.back() {
            self.ids = match direction {
                Direction::Older => self.ids.below(NotificationId(*last)),
                Direction::Newer => self.ids.above(NotificationId(*last)),
            };
        }
    }
}

impl<'a> LogMerge<'a> {
    pub(crate) fn new(
        conn: Connection<'a>,
        direction: Direction,
        sources: Vec<MergeSource>,
    ) -> Result<Self, JobError> {
        let mut merge = Self {
            conn,
            direction,
            heads: BinaryHeap::with_capacity(sources.len()),
            sources,
        };
        if let Connection::Postgres(conn) = conn {
            merge.read_heads(conn)?;
        }
        for index in 0..merge.sources.len() {
            merge.advance(index)?;
        }
        Ok(merge)
    }

    /// Reads the first rows of all logs that are read alike with one question.
    fn read_heads(&mut self, conn: &PostgresConnection) -> Result<(), JobError> {
        let mut alike: BTreeMap<LogHeads, Vec<&mut MergeSource>> = BTreeMap::new();
        for source in &mut self.sources {
            if let Some(heads) = source.heads {
                alike.entry(heads).or_default().push(source);
            }
        }
        for (heads, mut sources) in alike {
            let webhooks: Vec<i64> = sources.iter().map(|source| source.webhook).collect();
            let from: Vec<i64> = sources.iter().map(|source| source.ids.from).collect();
            let to: Vec<i64> = sources.iter().map(|source| source.ids.to).collect();
            let asked: Params<'_> = &[&heads.tenant.0, &webhooks, &from, &to];
            let rows = conn.session().query(&to_postgres(heads.sql), asked)?;
            let mut rows = rows.iter().peekable();
            for (place, source) in (1_i64..).zip(&mut sources) {
                let own = rows.next_if(|row| row.column(0).is_ok_and(|at: i64| at == place));
                source
                    .ready
                    .extend(own.map(|row| row.column::<i64>(1)).transpose()?);
                source.was_read(self.direction);
            }
        }
        Ok(())
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
    conn: Connection<'_>,
    tenant: TenantId,
) -> Result<Vec<WebhookId>, JobError> {
    let mut all = Vec::new();
    for sql in [LIVE, DELETED] {
        let found = query::list(conn, sql, values![tenant.0], |row| {
            Ok(WebhookId(row.get(0)?))
        })?;
        all.extend(found);
    }
    Ok(all)
}

/// How a part of a webhook's log is read.
#[derive(Clone, Copy)]
pub(crate) struct LogPart {
    pub(crate) sql: Statement,
    /// What `LogHeads` has.
    pub(crate) heads: &'static str,
}

/// The ids of a part of a webhook's log: those in a table, as `d`, that a condition selects. The
/// newest first, and the oldest first.
macro_rules! log_part {
    ($from:literal, $only:literal) => {
        [
            log_part!($from, $only, "desc"),
            log_part!($from, $only, "asc"),
        ]
    };
    ($from:literal, $only:literal, $order:literal) => {
        LogPart {
            sql: Statement::of_both(concat!(
                "select d.notification_id from ",
                $from,
                " where /*postgres d.tenant_id = (select tenant_id from webhook where id = ?1) ",
                "and */ d.webhook_id = ?1 and d.notification_id >= ?2 and d.notification_id < ?3",
                $only,
                " order by d.notification_id ",
                $order,
                " limit ?4"
            )),
            heads: concat!(
                "select asked.place, first.notification_id from ",
                "unnest(?2::bigint[], ?3::bigint[], ?4::bigint[]) with ordinality ",
                "as asked (webhook_id, since, upto, place) ",
                "cross join lateral (select d.notification_id from ",
                $from,
                " where d.tenant_id = ?1 and d.webhook_id = asked.webhook_id ",
                "and d.notification_id >= asked.since and d.notification_id < asked.upto",
                $only,
                " order by d.notification_id ",
                $order,
                " limit 1) as first order by asked.place"
            ),
        }
    };
}

const UNATTEMPTED: [LogPart; 2] = log_part!("fresh d", "");
/// All but the unattempted. Most are delivered, and an index of those would be as large as the log.
/// So for that status the reader checks the state.
const ATTEMPTED: [LogPart; 2] = log_part!("delivery d", "");
const DEFERRED: [LogPart; 2] = log_part!(
    "delivery d indexed by delivery_state",
    " and d.state <> 1 and d.state = 4"
);
const RETRYING: [LogPart; 2] = log_part!(
    "delivery d indexed by delivery_state",
    " and d.state <> 1 and d.state = 0"
);
const FAILED: [LogPart; 2] = log_part!(
    "delivery d indexed by delivery_state",
    " and d.state <> 1 and d.state = 2"
);
const CANCELLED: [LogPart; 2] = log_part!(
    "delivery d indexed by delivery_state",
    " and d.state <> 1 and d.state = 3"
);

/// All that reads the log of a webhook, to be prepared and tested.
pub(crate) const LOG_PARTS: [[LogPart; 2]; 6] = [
    UNATTEMPTED,
    ATTEMPTED,
    DEFERRED,
    RETRYING,
    FAILED,
    CANCELLED,
];

/// Where deliveries of a status are found, in the order of a webhook's log. For `Delivered` all
/// that were attempted.
fn parts(status: Option<DeliveryStatus>) -> &'static [[LogPart; 2]] {
    match status {
        None => &[ATTEMPTED, UNATTEMPTED],
        Some(DeliveryStatus::Delivered) => &[ATTEMPTED],
        Some(DeliveryStatus::Pending) => &[DEFERRED, UNATTEMPTED],
        Some(DeliveryStatus::Retrying) => &[RETRYING],
        Some(DeliveryStatus::Failed) => &[FAILED],
        Some(DeliveryStatus::Cancelled) => &[CANCELLED],
    }
}

/// The logs of these webhooks, of this status, as sources of a merge.
pub(crate) fn logs(
    tenant: TenantId,
    webhooks: &[WebhookId],
    status: Option<DeliveryStatus>,
    direction: Direction,
    ids: IdRange,
    from: Option<LogCursor>,
) -> Vec<MergeSource> {
    let each = webhooks.iter().flat_map(|webhook| {
        parts(status).iter().map(move |[older, newer]| {
            let part = match direction {
                Direction::Older => older,
                Direction::Newer => newer,
            };
            let heads = LogHeads {
                sql: part.heads,
                tenant,
            };
            MergeSource::log((part.sql, heads), *webhook, ids, from)
        })
    });
    each.collect()
}
