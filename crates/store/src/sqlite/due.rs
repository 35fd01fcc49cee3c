//! Due deliveries of a webhook, page by page, and what may go early after an outage.
//!
//! They are in three places: rows of their own once something was attempted or a time was set, rows
//! of the table `fresh`, and the notification's own row. A page merges the three in the order of
//! their due times. What is due later costs nothing but to look at the first of each place.

use model::contract::{DueCursor, DuePage, DueQuery, RecoveryPage, RecoveryQuery};
use model::delivery::{Delivery, DueDelivery};
use model::id::{DeliveryId, NotificationId, WebhookId};
use model::limits;
use model::time::Timestamp;
use rusqlite::fallible_streaming_iterator::FallibleStreamingIterator as _;
use rusqlite::{CachedStatement, Connection, Params, Row, Rows, Statement, params};

use crate::sql::heartbeat::UnattemptedDue;
use crate::sql::job_error::JobError;
use crate::sql::rows;
use crate::sqlite::tx::Tx;
use crate::sqlite::{query, unattempted, unattempted_rows};

statements! {
    ATTEMPTED = "
        select d.notification_id, d.webhook_id, d.round, d.attempts, d.round_start,
          d.round_began_at, d.due_at, n.headers, n.body, n.key, n.action_type,
          n.accepted_at
        from delivery d indexed by delivery_due
        join notification n on n.id = d.notification_id
        where d.state in (0, 4) and d.webhook_id = ?1 and d.due_at <= ?2
        order by d.due_at, d.notification_id
        limit ?3";
    AFTER_ATTEMPTED = "
        select due_at from delivery indexed by delivery_due
        where state in (0, 4) and webhook_id = ?1 and (due_at, notification_id) > (?2, ?3)
        order by due_at, notification_id
        limit 1";
    // By id: that is the order of the times at which they were accepted, unless the clock was set.
    UNATTEMPTED = "
        select f.notification_id, f.webhook_id, 1 as round, 0 as attempts, 0 as round_start,
          null as round_began_at, n.accepted_at as due_at, n.headers, n.body, n.key, n.action_type,
          n.accepted_at
        from fresh f
        join notification n on n.id = f.notification_id
        where f.webhook_id = ?1
        order by f.notification_id
        limit ?2";
    AFTER_UNATTEMPTED = "
        select n.accepted_at from fresh f
        join notification n on n.id = f.notification_id
        where f.webhook_id = ?1 and f.notification_id > ?2
        order by f.notification_id
        limit 1";
    INLINE = "
        select id as notification_id, ?1 as webhook_id, 1 as round, 0 as attempts,
          0 as round_start, null as round_began_at, accepted_at as due_at, headers, body, key,
          action_type, accepted_at
        from notification
        where id = ?2";
    ONE = "
        select d.notification_id, d.webhook_id, d.round, d.attempts, d.round_start,
          d.round_began_at, d.due_at, n.headers, n.body, n.key, n.action_type,
          n.accepted_at
        from delivery d
        join notification n on n.id = d.notification_id
        where d.notification_id = ?2 and d.webhook_id = ?1 and d.state in (0, 4)";
    // Of an early attempt both it and the one before name the same time for the next.
    EARLY = "
        select d.notification_id, d.webhook_id, d.round, d.attempts, d.round_start,
          d.round_began_at, d.due_at, n.headers, n.body, n.key, n.action_type,
          n.accepted_at,
          d.began_at is not null and coalesce(d.tried_at <= ?4, 1) and not exists (
            select 1 from attempt a
            where a.notification_id = d.notification_id and a.webhook_id = d.webhook_id
              and a.number = d.attempts - 1 and a.next_due_at = d.next_due_at) as may_go_early
        from delivery d indexed by delivery_due
        join notification n on n.id = d.notification_id
        where d.state in (0, 4) and d.webhook_id = ?1 and (d.due_at, d.notification_id) > (?2, ?3)
        order by d.due_at, d.notification_id
        limit ?5";
}

/// The columns of every question for whole deliveries, by which the SQL names them, in this order.
/// They are read by their place, because a look-up by name costs more than the value.
#[derive(Debug, Clone, Copy)]
enum DueColumn {
    NotificationId,
    WebhookId,
    Round,
    Attempts,
    RoundStart,
    RoundBeganAt,
    DueAt,
    Headers,
    Body,
    Key,
    ActionType,
    AcceptedAt,
    /// Of `EARLY` only.
    MayGoEarly,
}

const DUE_COLUMNS: [&str; 13] = [
    "notification_id",
    "webhook_id",
    "round",
    "attempts",
    "round_start",
    "round_began_at",
    "due_at",
    "headers",
    "body",
    "key",
    "action_type",
    "accepted_at",
    "may_go_early",
];

/// Where a delivery that is due was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DueSource {
    /// In a row of its own.
    Attempted,
    /// In `fresh`.
    Unattempted,
    /// In its notification's row.
    Inline,
}

/// All pages of one call: the statements are looked up once for all webhooks.
struct DueReader<'c> {
    conn: &'c Connection,
    attempted: CachedStatement<'c>,
    unattempted: CachedStatement<'c>,
    inline: CachedStatement<'c>,
    since: UnattemptedDue,
    now: Timestamp,
}

/// A walk through the rows of one place, in order. The body of a row is read only when it is taken.
struct SourceCursor<'r> {
    source: DueSource,
    rows: Rows<'r>,
    since: UnattemptedDue,
    /// The row that it stands at; `None` behind the last that is due.
    at: Option<DueCursor>,
}

/// A walk through inline deliveries, by id. Each is read as a whole: its time alone costs nearly as
/// much.
struct InlineCursor<'r, 'c, I> {
    webhook: i64,
    ids: I,
    statement: &'r mut CachedStatement<'c>,
    since: UnattemptedDue,
    /// The one that it stands at, if it was looked at.
    at: Option<DueDelivery>,
}

pub(crate) fn due(
    tx: &mut Tx<'_>,
    queries: &[DueQuery],
    now: Timestamp,
) -> Result<Vec<DuePage>, JobError> {
    let since = tx.unattempted_due()?.by(now);
    let mut reader = DueReader::new(tx.conn, since, now)?;
    let inline = unattempted::inline_deliveries(tx)?;
    // One more than is taken, to tell when that is due.
    let limits = queries
        .iter()
        .map(|query| (query.webhook, query.limit.saturating_add(1)));
    let first = inline.first_unattempted(limits);
    let pages = queries.iter().map(|query| {
        let first = first.get(&query.webhook);
        let ids = first.map(|first| inline.unattempted_of(query.webhook, first));
        reader.page(query, ids.into_iter().flatten())
    });
    pages.collect()
}

/// A delivery that is pending.
pub(crate) fn one(conn: &Connection, id: DeliveryId) -> Result<Option<DueDelivery>, JobError> {
    let keys = params![id.webhook.0, id.notification.0];
    for sql in [ONE, INLINE] {
        let mut statement = prepare(conn, sql)?;
        let mut rows = statement.query(keys)?;
        if let Some(row) = rows.next()? {
            return delivery(row).map(Some);
        }
    }
    Ok(None)
}

/// A statement with the columns of `DueColumn`.
fn prepare<'c>(conn: &'c Connection, sql: &'static str) -> Result<CachedStatement<'c>, JobError> {
    let statement = conn.prepare_cached(sql)?;
    debug_assert!(has_due_columns(&statement), "not the columns of {sql}");
    Ok(statement)
}

fn has_due_columns(statement: &Statement<'_>) -> bool {
    let mut names = statement.column_names().zip(DUE_COLUMNS);
    statement.column_count() > DueColumn::Key as usize && names.all(|(own, name)| own == name)
}

impl<'c> DueReader<'c> {
    fn new(conn: &'c Connection, since: UnattemptedDue, now: Timestamp) -> Result<Self, JobError> {
        Ok(Self {
            conn,
            attempted: prepare(conn, ATTEMPTED)?,
            unattempted: prepare(conn, UNATTEMPTED)?,
            inline: prepare(conn, INLINE)?,
            since,
            now,
        })
    }

    /// `inline`: notifications in whose own rows an unattempted delivery of this webhook is.
    fn page(
        &mut self,
        query: &DueQuery,
        inline: impl Iterator<Item = i64>,
    ) -> Result<DuePage, JobError> {
        let (conn, since, now) = (self.conn, self.since, self.now);
        let (webhook, limit) = (query.webhook.0, query.limit);
        let bound = rows::bound(limit);
        let attempted = params![webhook, now.as_millis(), bound];
        let attempted = self.attempted.query(attempted)?;
        let unattempted = self.unattempted.query(params![webhook, bound])?;
        let mut cursors = [
            SourceCursor::begin(DueSource::Attempted, attempted, since, now)?,
            SourceCursor::begin(DueSource::Unattempted, unattempted, since, now)?,
        ];
        let mut inline = InlineCursor {
            webhook,
            ids: inline,
            statement: &mut self.inline,
            since,
            at: None,
        };
        let mut found: Vec<(DueSource, DueDelivery)> = Vec::new();
        while found.len() < limit {
            let next_inline = inline.look()?;
            let first = cursors.iter_mut().min_by_key(|cursor| cursor.order());
            let first = first.filter(|cursor| cursor.at.is_some());
            match (first, next_inline) {
                (Some(cursor), other) if other.is_none_or(|other| cursor.at < Some(other)) => {
                    found.extend(cursor.take(now)?);
                }
                (_, Some(cursor)) if cursor.due_at <= now => {
                    found.extend(inline.take());
                }
                _ => break,
            }
        }
        let latest = found.iter().map(|(_, due)| due.delivery.due_at).max();
        let next_due_at = [
            next_attempted(conn, webhook, &found)?,
            next_unattempted(conn, webhook, &found)?.map(|at| since.due_at(at)),
            inline.next_due_at(conn)?,
        ];
        let room = limit.saturating_sub(found.len());
        let ahead = match query.recovery {
            Some(ahead) if room > 0 => Some(early(conn, query.webhook, ahead, room, now)?),
            Some(_) | None => None,
        };
        Ok(DuePage {
            webhook: query.webhook,
            deliveries: found.into_iter().map(|(_, due)| due).collect(),
            // The unattempted come by id: not the order of their times, if the clock was set back.
            next_due_at: next_due_at
                .into_iter()
                .flatten()
                .min()
                .map(|at| at.max(latest.unwrap_or(at))),
            recovery: ahead,
        })
    }
}

impl<'r> SourceCursor<'r> {
    fn begin(
        source: DueSource,
        rows: Rows<'r>,
        since: UnattemptedDue,
        now: Timestamp,
    ) -> Result<Self, JobError> {
        let mut cursor = Self {
            source,
            rows,
            since,
            at: None,
        };
        cursor.advance(now)?;
        Ok(cursor)
    }

    fn advance(&mut self, now: Timestamp) -> Result<(), JobError> {
        let next = self.rows.next()?.map(place).transpose()?;
        let next = next.map(|next| match self.source {
            DueSource::Attempted => next,
            DueSource::Unattempted | DueSource::Inline => DueCursor {
                due_at: self.since.due_at(next.due_at),
                ..next
            },
        });
        self.at = next.filter(|next| next.due_at <= now);
        Ok(())
    }

    /// Those that are at an end come last.
    fn order(&self) -> (bool, Option<DueCursor>) {
        (self.at.is_none(), self.at)
    }

    fn take(&mut self, now: Timestamp) -> Result<Option<(DueSource, DueDelivery)>, JobError> {
        let (source, since) = (self.source, self.since);
        let due = self.rows.get().map(|row| match source {
            DueSource::Attempted => delivery(row),
            DueSource::Unattempted | DueSource::Inline => unattempted_delivery(row, since),
        });
        let due = due.transpose()?;
        self.advance(now)?;
        Ok(due.map(|due| (source, due)))
    }
}

impl<I: Iterator<Item = i64>> InlineCursor<'_, '_, I> {
    /// Where the first stands that is left, if its notification is still there.
    fn look(&mut self) -> Result<Option<DueCursor>, JobError> {
        while self.at.is_none()
            && let Some(id) = self.ids.next()
        {
            let mut rows = self.statement.query([self.webhook, id])?;
            let row = rows.next()?;
            self.at = row
                .map(|row| unattempted_delivery(row, self.since))
                .transpose()?;
        }
        Ok(self.at.as_ref().map(|due| DueCursor {
            due_at: due.delivery.due_at,
            notification: due.delivery.id.notification,
        }))
    }

    fn take(&mut self) -> Option<(DueSource, DueDelivery)> {
        self.at.take().map(|due| (DueSource::Inline, due))
    }

    /// When the first is due that is left.
    fn next_due_at(mut self, conn: &Connection) -> Result<Option<Timestamp>, JobError> {
        if let Some(due) = self.at {
            return Ok(Some(due.delivery.due_at));
        }
        let next = unattempted_rows::first_accepted(conn, &mut self.ids)?;
        Ok(next.map(|(_, accepted_at)| self.since.due_at(accepted_at)))
    }
}

/// The due time behind the last that was found in a row of its own.
fn next_attempted(
    conn: &Connection,
    webhook: i64,
    found: &[(DueSource, DueDelivery)],
) -> Result<Option<Timestamp>, JobError> {
    let last = last_of(DueSource::Attempted, found);
    let (due_at, notification) = last.map_or((i64::MIN, i64::MIN), |last| {
        (last.due_at.as_millis(), last.id.notification.0)
    });
    next_at(
        conn,
        AFTER_ATTEMPTED,
        params![webhook, due_at, notification],
    )
}

/// When the next one in `fresh` was accepted, behind the last that was found there. An inline one
/// does not count: it may have a higher id and an earlier time, if the clock was set back.
fn next_unattempted(
    conn: &Connection,
    webhook: i64,
    found: &[(DueSource, DueDelivery)],
) -> Result<Option<Timestamp>, JobError> {
    let last = last_of(DueSource::Unattempted, found);
    let notification = last.map_or(i64::MIN, |last| last.id.notification.0);
    next_at(conn, AFTER_UNATTEMPTED, params![webhook, notification])
}

fn last_of(source: DueSource, found: &[(DueSource, DueDelivery)]) -> Option<&Delivery> {
    let last = found.iter().rev().find(|(own, _)| *own == source);
    last.map(|(_, due)| &due.delivery)
}

fn next_at(
    conn: &Connection,
    sql: &'static str,
    params: impl Params,
) -> Result<Option<Timestamp>, JobError> {
    let found = query::first(conn, sql, params, |row| Ok(row.get(0)?))?;
    Ok(found.map(Timestamp::from_millis))
}

/// Looks through what is due after `now`, a bounded step of it, for what an outage delayed.
fn early(
    conn: &Connection,
    webhook: WebhookId,
    query: RecoveryQuery,
    room: usize,
    now: Timestamp,
) -> Result<RecoveryPage, JobError> {
    let due_by = DueCursor {
        due_at: now,
        notification: NotificationId(i64::MAX),
    };
    let after = query.after.map_or(due_by, |after| after.max(due_by));
    let limit = query.limit.min(room);
    let (mut deliveries, mut looked_at, mut next) = (Vec::new(), 0, Some(after));
    let mut statement = prepare(conn, EARLY)?;
    let mut rows = statement.query(params![
        webhook.0,
        after.due_at.as_millis(),
        after.notification.0,
        query.tried_by.as_millis(),
        rows::bound(limits::RECOVERY_ROWS_MAX),
    ])?;
    while deliveries.len() < limit {
        let Some(row) = rows.next()? else {
            if looked_at < limits::RECOVERY_ROWS_MAX {
                next = None;
            }
            break;
        };
        looked_at += 1;
        next = Some(place(row)?);
        if row.get(DueColumn::MayGoEarly as usize)? {
            deliveries.push(delivery(row)?);
        }
    }
    Ok(RecoveryPage { deliveries, next })
}

/// Where a row stands in the order in which a webhook's deliveries are due.
fn place(row: &Row<'_>) -> Result<DueCursor, JobError> {
    Ok(DueCursor {
        due_at: rows::time(row, DueColumn::DueAt as usize)?,
        notification: NotificationId(row.get(DueColumn::NotificationId as usize)?),
    })
}

fn delivery(row: &Row<'_>) -> Result<DueDelivery, JobError> {
    let attempts: u32 = row.get(DueColumn::Attempts as usize)?;
    let round_start: u32 = row.get(DueColumn::RoundStart as usize)?;
    let id = DeliveryId {
        notification: NotificationId(row.get(DueColumn::NotificationId as usize)?),
        webhook: WebhookId(row.get(DueColumn::WebhookId as usize)?),
    };
    Ok(DueDelivery {
        delivery: Delivery {
            id,
            round: row.get(DueColumn::Round as usize)?,
            attempts,
            round_attempts: attempts.saturating_sub(round_start),
            round_began_at: rows::time_if_any(row, DueColumn::RoundBeganAt as usize)?,
            due_at: rows::time(row, DueColumn::DueAt as usize)?,
        },
        key: row.get(DueColumn::Key as usize)?,
        action_type: row.get(DueColumn::ActionType as usize)?,
        accepted_at: rows::time(row, DueColumn::AcceptedAt as usize)?,
        headers: rows::headers(row, DueColumn::Headers as usize)?,
        body: rows::bytes(row, DueColumn::Body as usize)?,
    })
}

/// The same of an unattempted one, whose stored time is when it was accepted.
fn unattempted_delivery(row: &Row<'_>, since: UnattemptedDue) -> Result<DueDelivery, JobError> {
    let mut due = delivery(row)?;
    due.delivery.due_at = since.due_at(due.delivery.due_at);
    Ok(due)
}
