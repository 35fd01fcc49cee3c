//! What the engine asks for: which lanes there are, what calling them takes, what is due.

use std::collections::BTreeMap;
use std::ops::Bound;

use model::contract::{
    Backlog, BacklogCursor, DueCursor, DuePage, DueQuery, PendingWebhook, RecoveryPage,
    RecoveryQuery, WebhookTarget,
};
use model::delivery::{Delivery, DueDelivery};
use model::id::{DeliveryId, NotificationId, TenantId, WebhookId};
use model::limits;
use model::tenant::DialectName;
use model::time::Timestamp;
use rusqlite::fallible_streaming_iterator::FallibleStreamingIterator as _;
use rusqlite::{Connection, OptionalExtension, Params, Row, Rows, Statement, params};

use crate::sqlite::job_error::JobError;
use crate::sqlite::tx::Tx;
use crate::sqlite::{clock, notification_rows, rows, unattempted};

statements! {
    // Seeks over all that the lane before has pending.
    NEXT_RETRIED = "
        select webhook_id, due_at from delivery indexed by delivery_due
        where state in (0, 4) and webhook_id > ?1
        order by webhook_id, due_at
        limit 1";
    NEXT_FRESH = "
        select f.webhook_id, n.accepted_at from fresh f
        join notification n on n.id = f.notification_id
        where f.webhook_id > ?1
        order by f.webhook_id, f.notification_id
        limit 1";
    TARGET = "
        select w.id, t.dialect, w.target_url, w.headers, w.disabled_at, w.key, w.retries_max,
          w.paused_until, w.tenant_id, s.failing_since, s.ended_at, s.success, w.version
        from webhook w join tenant t on t.id = w.tenant_id
        left join standing s on s.webhook_id = w.id
        where w.id = ?1";
    RETRIED = "
        select d.notification_id, d.webhook_id, d.round, d.attempts, d.round_start,
          d.round_began_at, d.due_at, n.headers, n.body, n.key
        from delivery d indexed by delivery_due
        join notification n on n.id = d.notification_id
        where d.state in (0, 4) and d.webhook_id = ?1 and d.due_at <= ?2
        order by d.due_at, d.notification_id
        limit ?3";
    RETRIED_AFTER = "
        select due_at from delivery indexed by delivery_due
        where state in (0, 4) and webhook_id = ?1 and (due_at, notification_id) > (?2, ?3)
        order by due_at, notification_id
        limit 1";
    // Due since they were accepted, and that is the order of their ids.
    FRESH = "
        select f.notification_id, f.webhook_id, 1, 0, 0, null, n.accepted_at, n.headers, n.body, n.key
        from fresh f
        join notification n on n.id = f.notification_id
        where f.webhook_id = ?1
        order by f.notification_id
        limit ?2";
    UNLISTED = "
        select id, ?1, 1, 0, 0, null, accepted_at, headers, body, key from notification
        where id = ?2";
    ONE = "
        select d.notification_id, d.webhook_id, d.round, d.attempts, d.round_start,
          d.round_began_at, d.due_at, n.headers, n.body, n.key
        from delivery d
        join notification n on n.id = d.notification_id
        where d.notification_id = ?2 and d.webhook_id = ?1 and d.state in (0, 4)";
    FRESH_AFTER = "
        select n.accepted_at from fresh f
        join notification n on n.id = f.notification_id
        where f.webhook_id = ?1 and f.notification_id > ?2
        order by f.notification_id
        limit 1";
    // Of an attempt ahead of its time both it and the one before name the same time for the next.
    AHEAD = "
        select d.notification_id, d.webhook_id, d.round, d.attempts, d.round_start,
          d.round_began_at, d.due_at, n.headers, n.body, n.key,
          coalesce(d.began_at <= ?4, 0) and not exists (
            select 1 from attempt a
            where a.notification_id = d.notification_id and a.webhook_id = d.webhook_id
              and a.number = d.attempts - 1 and a.next_due_at = d.next_due_at)
        from delivery d indexed by delivery_due
        join notification n on n.id = d.notification_id
        where d.state in (0, 4) and d.webhook_id = ?1 and (d.due_at, d.notification_id) > (?2, ?3)
        order by d.due_at, d.notification_id
        limit ?5";
    // The indexes have all of it, in this order.
    PENDING_RETRIED = "
        select webhook_id, due_at, notification_id from delivery indexed by delivery_due
        where state in (0, 4) and (webhook_id, due_at, notification_id) > (?1, ?2, ?3)
        order by webhook_id, due_at, notification_id
        limit ?4";
    PENDING_FRESH = "
        select webhook_id, notification_id from fresh
        where (webhook_id, notification_id) > (?1, ?2)
        order by webhook_id, notification_id
        limit ?3";
    DIALECT = "
        select t.dialect from webhook w join tenant t on t.id = w.tenant_id
        where w.id = ?1";
}

pub(crate) fn lanes(
    tx: &mut Tx<'_>,
    after: Option<WebhookId>,
    limit: usize,
) -> Result<Vec<PendingWebhook>, JobError> {
    let unlisted = unattempted::not_materialized(tx)?;
    let since = tx.unattempted_due()?;
    let mut lanes: Vec<PendingWebhook> = Vec::new();
    let mut retried = tx.conn.prepare_cached(NEXT_RETRIED)?;
    let mut fresh = tx.conn.prepare_cached(NEXT_FRESH)?;
    while lanes.len() < limit {
        let latest = lanes.last().map(|lane| lane.webhook).or(after);
        let latest = latest.map_or(i64::MIN, |webhook| webhook.0);
        let all = [
            next_lane(&mut retried, latest)?,
            next_lane(&mut fresh, latest)?.map(|lane| PendingWebhook {
                due_at: since.due_at(lane.due_at),
                ..lane
            }),
            next_unlisted(tx.conn, &unlisted, since, latest)?,
        ];
        // Of the same lane in several the earliest one.
        let first = all.into_iter().flatten();
        match first.min_by_key(|lane| (lane.webhook, lane.due_at)) {
            Some(lane) => lanes.push(lane),
            None => break,
        }
    }
    Ok(lanes)
}

fn next_lane(
    statement: &mut Statement<'_>,
    after: i64,
) -> Result<Option<PendingWebhook>, JobError> {
    let next = statement.query_row([after], |row| {
        Ok(PendingWebhook {
            webhook: WebhookId(row.get(0)?),
            due_at: Timestamp::from_millis(row.get(1)?),
        })
    });
    Ok(next.optional()?)
}

fn next_unlisted(
    conn: &Connection,
    unlisted: &BTreeMap<WebhookId, Vec<i64>>,
    since: clock::UnattemptedDue,
    after: i64,
) -> Result<Option<PendingWebhook>, JobError> {
    let above = (Bound::Excluded(WebhookId(after)), Bound::Unbounded);
    let next = unlisted.range(above).next();
    let Some((&webhook, ids)) = next else {
        return Ok(None);
    };
    let first = next_mark(conn, since, &mut ids.iter())?;
    Ok(first.map(|DueCursor { due_at, .. }| PendingWebhook { webhook, due_at }))
}

pub(crate) fn targets(
    conn: &Connection,
    webhooks: &[WebhookId],
) -> Result<Vec<WebhookTarget>, JobError> {
    let mut targets = Vec::with_capacity(webhooks.len());
    let mut statement = conn.prepare_cached(TARGET)?;
    for webhook in webhooks {
        let mut rows = statement.query([webhook.0])?;
        if let Some(row) = rows.next()? {
            targets.push(target(row)?);
        }
    }
    Ok(targets)
}

fn target(row: &Row<'_>) -> Result<WebhookTarget, JobError> {
    let succeeded = row.get::<_, Option<bool>>(11)?.unwrap_or(false);
    Ok(WebhookTarget {
        webhook: WebhookId(row.get(0)?),
        tenant: TenantId(row.get(8)?),
        dialect: rows::dialect(row, 1)?,
        key: row.get(5)?,
        target_url: row.get(2)?,
        headers: rows::headers(row, 3)?,
        retries_max: row.get(6)?,
        paused_until: rows::time_if_any(row, 7)?,
        failing_since: rows::time_if_any(row, 9)?,
        succeeded_at: rows::time_if_any(row, 10)?.filter(|_| succeeded),
        version: row.get(12)?,
        enabled: rows::time_if_any(row, 4)?.is_none(),
    })
}

pub(crate) fn due(
    tx: &mut Tx<'_>,
    lanes: &[DueQuery],
    now: Timestamp,
) -> Result<Vec<DuePage>, JobError> {
    let unlisted = unattempted::not_materialized(tx)?;
    let since = tx.unattempted_due()?.by(now);
    let of_lanes = lanes.iter().map(|ask| {
        let unlisted = unlisted.get(&ask.webhook);
        let unlisted = unlisted.map_or(&[][..], Vec::as_slice);
        due_of(tx.conn, *ask, now, since, unlisted)
    });
    of_lanes.collect()
}

/// A delivery that is pending.
pub(crate) fn one(conn: &Connection, id: DeliveryId) -> Result<Option<DueDelivery>, JobError> {
    let keys = params![id.webhook.0, id.notification.0];
    let mut statement = conn.prepare_cached(ONE)?;
    let mut rows = statement.query(keys)?;
    if let Some(row) = rows.next()? {
        return whole(row).map(Some);
    }
    let mut statement = conn.prepare_cached(UNLISTED)?;
    let mut rows = statement.query(keys)?;
    rows.next()?.map(whole).transpose()
}

/// `unlisted`: notifications of which a fresh delivery of this webhook is in no table.
fn due_of(
    conn: &Connection,
    ask: DueQuery,
    now: Timestamp,
    since: clock::UnattemptedDue,
    unlisted: &[i64],
) -> Result<DuePage, JobError> {
    let (webhook, limit) = (ask.webhook.0, ask.limit);
    let bound = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut retried = conn.prepare_cached(RETRIED)?;
    let retried = retried.query(params![webhook, now.as_millis(), bound])?;
    let mut fresh = conn.prepare_cached(FRESH)?;
    let fresh = fresh.query(params![webhook, bound])?;
    let mut unlisted_row = conn.prepare_cached(UNLISTED)?;
    let mut of_tables = [
        DueSource::begin(RETRIED_AFTER, retried, now, None)?,
        DueSource::begin(FRESH_AFTER, fresh, now, Some(since))?,
    ];
    let mut ids = unlisted.iter();
    let mut next_unlisted = next_mark(conn, since, &mut ids)?;
    let mut found: Vec<(&str, DueDelivery)> = Vec::new();
    while found.len() < limit {
        let first = of_tables.iter_mut().min_by_key(|kind| kind.order());
        let first = first.filter(|kind| kind.mark.is_some());
        match (first, next_unlisted) {
            (Some(kind), other) if other.is_none_or(|other| kind.mark < Some(other)) => {
                found.extend(kind.take(now)?);
            }
            (_, Some(mark)) if mark.due_at <= now => {
                let mut rows = unlisted_row.query(params![webhook, mark.notification.0])?;
                if let Some(row) = rows.next()? {
                    found.push((FRESH_AFTER, whole_unattempted(row, since)?));
                }
                next_unlisted = next_mark(conn, since, &mut ids)?;
            }
            _ => break,
        }
    }
    // What follows the last of its kind is the next of it.
    let last = |kind: &str| {
        let last = found.iter().rev().find(|(own, _)| *own == kind);
        last.map_or((i64::MIN, i64::MIN), |(_, due)| {
            let Delivery { id, due_at, .. } = &due.delivery;
            (due_at.as_millis(), id.notification.0)
        })
    };
    let (due_at, notification) = last(RETRIED_AFTER);
    let after = params![webhook, due_at, notification];
    let next_retried = next_at(conn, RETRIED_AFTER, after)?;
    let (_, notification) = last(FRESH_AFTER);
    let next_fresh = next_at(conn, FRESH_AFTER, params![webhook, notification])?;
    let next_fresh = next_fresh.map(|accepted_at| since.due_at(accepted_at));
    let next_unlisted = next_unlisted.map(|mark| mark.due_at);
    let next_due_at = [next_retried, next_fresh, next_unlisted];
    let room = limit.saturating_sub(found.len());
    let ahead = match ask.recovery {
        Some(ahead) if room > 0 => Some(read_ahead(conn, ask.webhook, ahead, room, now)?),
        Some(_) | None => None,
    };
    Ok(DuePage {
        webhook: ask.webhook,
        deliveries: found.into_iter().map(|(_, due)| due).collect(),
        next_due_at: next_due_at.into_iter().flatten().min(),
        recovery: ahead,
    })
}

/// What one question finds, in order. The body of a row is read only when it is taken.
struct DueSource<'a> {
    /// Finds what follows.
    after: &'static str,
    rows: Rows<'a>,
    /// Of what is fresh.
    since: Option<clock::UnattemptedDue>,
    /// The row that it stands at; `None` behind the last that is due.
    mark: Option<DueCursor>,
}

impl<'a> DueSource<'a> {
    fn begin(
        after: &'static str,
        rows: Rows<'a>,
        now: Timestamp,
        since: Option<clock::UnattemptedDue>,
    ) -> Result<Self, JobError> {
        let mut kind = Self {
            after,
            rows,
            since,
            mark: None,
        };
        kind.advance(now)?;
        Ok(kind)
    }

    fn advance(&mut self, now: Timestamp) -> Result<(), JobError> {
        let mut next = self.rows.next()?.map(mark).transpose()?;
        if let (Some(since), Some(mark)) = (self.since, &mut next) {
            mark.due_at = since.due_at(mark.due_at);
        }
        self.mark = next.filter(|mark| mark.due_at <= now);
        Ok(())
    }

    /// Those that are at an end come last.
    fn order(&self) -> (bool, Option<DueCursor>) {
        (self.mark.is_none(), self.mark)
    }

    fn take(&mut self, now: Timestamp) -> Result<Option<(&'static str, DueDelivery)>, JobError> {
        let since = self.since;
        let due = self.rows.get().map(|row| match since {
            Some(since) => whole_unattempted(row, since),
            None => whole(row),
        });
        let due = due.transpose()?;
        self.advance(now)?;
        Ok(due.map(|due| (self.after, due)))
    }
}

/// The next of these notifications that is still there.
fn next_mark(
    conn: &Connection,
    since: clock::UnattemptedDue,
    ids: &mut std::slice::Iter<'_, i64>,
) -> Result<Option<DueCursor>, JobError> {
    for id in ids {
        let notification = NotificationId(*id);
        if let Some(accepted_at) = notification_rows::accepted_at(conn, notification)? {
            return Ok(Some(DueCursor {
                due_at: since.due_at(accepted_at),
                notification,
            }));
        }
    }
    Ok(None)
}

fn next_at(
    conn: &Connection,
    sql: &'static str,
    params: impl Params,
) -> Result<Option<Timestamp>, JobError> {
    let found = conn
        .prepare_cached(sql)?
        .query_row(params, |row| row.get(0))
        .optional()?;
    Ok(found.map(Timestamp::from_millis))
}

/// Goes through what is due after `now`, a bounded step of it.
fn read_ahead(
    conn: &Connection,
    webhook: WebhookId,
    ask: RecoveryQuery,
    room: usize,
    now: Timestamp,
) -> Result<RecoveryPage, JobError> {
    let due_by = DueCursor {
        due_at: now,
        notification: NotificationId(i64::MAX),
    };
    let after = ask.after.map_or(due_by, |after| after.max(due_by));
    let limit = ask.limit.min(room);
    let (mut deliveries, mut looked_at, mut next) = (Vec::new(), 0, Some(after));
    let mut statement = conn.prepare_cached(AHEAD)?;
    let mut rows = statement.query(params![
        webhook.0,
        after.due_at.as_millis(),
        after.notification.0,
        ask.tried_by.as_millis(),
        i64::try_from(limits::RECOVERY_ROWS_MAX).unwrap_or(i64::MAX),
    ])?;
    while deliveries.len() < limit {
        let Some(row) = rows.next()? else {
            if looked_at < limits::RECOVERY_ROWS_MAX {
                next = None;
            }
            break;
        };
        looked_at += 1;
        next = Some(mark(row)?);
        if row.get(10)? {
            deliveries.push(whole(row)?);
        }
    }
    Ok(RecoveryPage { deliveries, next })
}

/// Where a row stands in the order in which a lane is read.
fn mark(row: &Row<'_>) -> Result<DueCursor, JobError> {
    Ok(DueCursor {
        due_at: rows::time(row, 6)?,
        notification: NotificationId(row.get(0)?),
    })
}

/// Of the first ten columns, which all questions for deliveries have.
fn whole(row: &Row<'_>) -> Result<DueDelivery, JobError> {
    Ok(DueDelivery {
        delivery: rows::delivery(row)?,
        key: row.get(9)?,
        headers: rows::headers(row, 7)?,
        body: rows::bytes(row, 8)?,
    })
}

/// The same of a fresh one, whose time is when it was accepted.
fn whole_unattempted(row: &Row<'_>, since: clock::UnattemptedDue) -> Result<DueDelivery, JobError> {
    let mut due = whole(row)?;
    due.delivery.due_at = since.due_at(due.delivery.due_at);
    Ok(due)
}

/// First what was tried, then what was not.
pub(crate) fn backlog(
    conn: &Connection,
    after: Option<BacklogCursor>,
) -> Result<Backlog, JobError> {
    let limit = i64::try_from(limits::BULK_STEP_MAX).unwrap_or(i64::MAX);
    let [fresh, webhook, due_at, notification] =
        after.map_or([0, i64::MIN, i64::MIN, i64::MIN], BacklogCursor::place);
    let fresh = fresh != 0;
    let mut of_webhooks: Vec<(WebhookId, u64)> = Vec::new();
    let (mut looked_at, mut last) = (0, None);
    let mut statement = conn.prepare_cached(match fresh {
        true => PENDING_FRESH,
        false => PENDING_RETRIED,
    })?;
    let mut rows = match fresh {
        true => statement.query(params![webhook, notification, limit])?,
        false => statement.query(params![webhook, due_at, notification, limit])?,
    };
    while let Some(row) = rows.next()? {
        let webhook = WebhookId(row.get(0)?);
        looked_at += 1;
        match of_webhooks.last_mut() {
            Some((latest, count)) if *latest == webhook => *count += 1,
            Some(_) | None => of_webhooks.push((webhook, 1)),
        }
        // Only the last row says where it goes on: reading less of the others halves the work.
        if looked_at == limits::BULK_STEP_MAX {
            last = Some(backlog_mark(row, fresh)?);
        }
    }
    Ok(Backlog {
        counts: by_dialect(conn, of_webhooks)?,
        next: match (last, fresh) {
            (Some(last), _) => Some(last),
            (None, false) => Some(BacklogCursor::new([1, i64::MIN, 0, i64::MIN])),
            (None, true) => None,
        },
    })
}

/// Where counting goes on after this row.
fn backlog_mark(row: &Row<'_>, fresh: bool) -> Result<BacklogCursor, JobError> {
    let (due_at, at) = match fresh {
        true => (0, 1),
        false => (row.get(1)?, 2),
    };
    let (webhook, notification) = (row.get(0)?, row.get(at)?);
    Ok(BacklogCursor::new([
        i64::from(fresh),
        webhook,
        due_at,
        notification,
    ]))
}

fn by_dialect(
    conn: &Connection,
    of_webhooks: Vec<(WebhookId, u64)>,
) -> Result<BTreeMap<DialectName, u64>, JobError> {
    let mut counts = BTreeMap::new();
    let mut statement = conn.prepare_cached(DIALECT)?;
    for (webhook, count) in of_webhooks {
        let mut found = statement.query([webhook.0])?;
        if let Some(row) = found.next()? {
            *counts.entry(rows::dialect(row, 0)?).or_default() += count;
        }
    }
    Ok(counts)
}
