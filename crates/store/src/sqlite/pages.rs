//! The log of deliveries: pages by keyset, newest first, and one delivery with its attempts.
//!
//! Every status is found by an index, and times become bounds of ids, so a page costs what it
//! shows. Only an action type, and `delivered` among very many undelivered, is filtered row by row.

use model::attempt::Attempt;
use model::delivery::State;
use model::id::{DeliveryId, NotificationId, TenantId, WebhookId};
use model::limits;
use model::query::{
    ATTEMPTS_SHOWN_BYTES_MAX, ATTEMPTS_SHOWN_MAX, DeliveryPage, DeliveryQuery, DeliveryRow,
    DeliveryStory, PageFrom, PastAttempt, Status,
};
use model::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::sqlite::fault::Fault;
use crate::sqlite::fresh::Listed;
use crate::sqlite::{rows, webhooks};

// Without what the latest answer brought beside its status: receivers may have sent 64 KiB of
// lines, and no list shows them.
const COLUMNS: &str = "
    select d.notification_id, d.webhook_id, n.key, n.action_type, n.event, d.state, d.cause,
      d.attempts, n.accepted_at, d.due_at, d.ended_at,
      d.status, d.failure, d.detail, null, d.body_end, d.began_at";
const FRESH_COLUMNS: &str = "
    select d.notification_id, d.webhook_id, n.key, n.action_type, n.event, 4, null,
      0, n.accepted_at, n.accepted_at, null,
      null, null, null, null, null, null";
const STORY: &str = "
    select n.id, ?2, n.key, n.action_type, n.event, coalesce(d.state, 4), d.cause,
      coalesce(d.attempts, 0), n.accepted_at, coalesce(d.due_at, n.accepted_at), d.ended_at,
      d.status, d.failure, d.detail, null, d.body_end, d.began_at,
      n.headers, n.body
    from notification n
    left join delivery d on d.notification_id = n.id and d.webhook_id = ?2
    where n.id = ?1 and n.tenant_id = ?3 and (d.state is not null or exists (
      select 1 from fresh where notification_id = ?1 and webhook_id = ?2))";
const LATEST: &str = "
    select d.attempts, d.began_at, d.duration_ms, e.url, e.headers,
      d.status, d.failure, d.detail, coalesce(d.headers, h.headers), d.body_end, d.body,
      d.next_due_at
    from delivery d
    join envelope e on e.id = d.envelope_id
    left join envelope h on h.id = d.answer_id
    where d.notification_id = ?1 and d.webhook_id = ?2
    limit ?3";
const EARLIER: &str = "
    select a.number, a.began_at, a.duration_ms, e.url, e.headers,
      a.status, a.failure, a.detail, coalesce(a.headers, h.headers), a.body_end, a.body,
      a.next_due_at
    from attempt a
    join envelope e on e.id = a.envelope_id
    left join envelope h on h.id = a.answer_id
    where a.notification_id = ?1 and a.webhook_id = ?2
    order by a.number desc
    limit ?3";
const ACCEPTED_FROM: &str = "
    select id, accepted_at from notification
    where id >= ?1
    order by id
    limit 1";
const LATEST_ID: &str = "select max(id) from notification";

pub(crate) const STATEMENTS: &[&str] = &[STORY, LATEST, EARLIER, ACCEPTED_FROM, LATEST_ID];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Older,
    Newer,
}

/// The log of one webhook, as a query narrows it.
struct Log<'a> {
    conn: &'a Connection,
    webhook: WebhookId,
    status: Option<Status>,
    action_type: Option<&'a str>,
}

/// Ids from `from` up to and without `to`.
#[derive(Clone, Copy)]
pub(crate) struct Ids {
    pub(crate) from: i64,
    pub(crate) to: i64,
}

pub(crate) fn deliveries(
    conn: &Connection,
    tenant: TenantId,
    webhook: WebhookId,
    query: &DeliveryQuery,
    listed: Listed,
) -> Result<DeliveryPage, Fault> {
    // That of a deleted webhook is still there.
    let found = webhooks::find_any(conn, webhook)?;
    if found.is_none_or(|webhook| webhook.tenant != tenant) {
        return Ok(DeliveryPage {
            rows: Vec::new(),
            has_older: false,
            has_newer: false,
        });
    }
    let log = Log {
        conn,
        webhook,
        status: query.status,
        action_type: query.action_type.as_deref(),
    };
    let all = Ids {
        from: id_at(conn, query.since)?.unwrap_or(0),
        to: id_at(conn, query.until)?.unwrap_or(i64::MAX),
    };
    // Only of what is listed, without gaps: pages go on from the latest that was shown.
    let all = all.upto(listed);
    let limit = query.limit.min(limits::PAGE_ROWS_MAX);
    let (page, direction) = match query.from {
        None => (all, Direction::Older),
        Some(PageFrom::OlderThan(id)) => (all.below(id), Direction::Older),
        Some(PageFrom::NewerThan(id)) => (all.above(id), Direction::Newer),
    };
    let mut rows = log.read(page, direction, limit)?;
    if direction == Direction::Newer {
        rows.reverse();
    }
    let notification = |row: &DeliveryRow| row.id.notification;
    let newer = match rows.first().map(notification) {
        Some(newest) => all.above(newest),
        None => all.above(NotificationId(page.to.saturating_sub(1))),
    };
    let older = match rows.last().map(notification) {
        Some(oldest) => all.below(oldest),
        None => all.below(NotificationId(page.from)),
    };
    Ok(DeliveryPage {
        has_older: !log.read(older, Direction::Older, 1)?.is_empty(),
        has_newer: !log.read(newer, Direction::Newer, 1)?.is_empty(),
        rows,
    })
}

pub(crate) fn delivery(
    conn: &Connection,
    tenant: TenantId,
    id: DeliveryId,
    listed: Listed,
) -> Result<Option<DeliveryStory>, Fault> {
    let keys = (id.notification.0, id.webhook.0);
    let mut statement = conn.prepare_cached(STORY)?;
    let mut found = statement.query((keys.0, keys.1, tenant.0))?;
    let Some(row) = found.next()? else {
        listed.not_found(id.notification)?;
        return Ok(None);
    };
    let mut story = DeliveryStory {
        row: delivery_row(row)?,
        headers: rows::headers(row, 17)?,
        body: rows::bytes(row, 18)?,
        attempts: Vec::new(),
    };
    let mut bytes = 0;
    'all: for sql in [LATEST, EARLIER] {
        let room = ATTEMPTS_SHOWN_MAX.saturating_sub(story.attempts.len());
        let room = i64::try_from(room).unwrap_or(i64::MAX);
        let mut statement = conn.prepare_cached(sql)?;
        let mut found = statement.query((keys.0, keys.1, room))?;
        while let Some(row) = found.next()? {
            let past = past_attempt(row)?;
            bytes += past.attempt.bytes();
            if bytes > ATTEMPTS_SHOWN_BYTES_MAX && !story.attempts.is_empty() {
                break 'all;
            }
            story.attempts.push(past);
        }
    }
    story.attempts.reverse();
    Ok(Some(story))
}

impl Ids {
    pub(crate) fn upto(self, listed: Listed) -> Self {
        self.below(NotificationId(listed.upto.0.saturating_add(1)))
    }

    pub(crate) fn below(self, id: NotificationId) -> Self {
        Self {
            to: self.to.min(id.0),
            ..self
        }
    }

    pub(crate) fn above(self, id: NotificationId) -> Self {
        Self {
            from: self.from.max(id.0.saturating_add(1)),
            ..self
        }
    }
}

impl Log<'_> {
    /// At most `limit` rows, beginning at the newest (`Older`) or the oldest (`Newer`) of `ids`.
    fn read(
        &self,
        ids: Ids,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<DeliveryRow>, Fault> {
        if ids.from >= ids.to || limit == 0 {
            return Ok(Vec::new());
        }
        let mut page = Vec::new();
        for source in sources(self.status) {
            let sql = page_sql(source, self.action_type.is_some(), direction);
            self.read_by(&sql, ids, limit, &mut page)?;
        }
        let id = |row: &DeliveryRow| row.id.notification;
        match direction {
            Direction::Older => page.sort_by_key(|row| std::cmp::Reverse(id(row))),
            Direction::Newer => page.sort_by_key(id),
        }
        page.truncate(limit);
        Ok(page)
    }

    fn read_by(
        &self,
        sql: &str,
        ids: Ids,
        limit: usize,
        page: &mut Vec<DeliveryRow>,
    ) -> Result<(), Fault> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut statement = self.conn.prepare_cached(sql)?;
        let mut found = match self.action_type {
            None => statement.query(params![self.webhook.0, ids.from, ids.to, limit])?,
            Some(action) => {
                statement.query(params![self.webhook.0, ids.from, ids.to, limit, action])?
            }
        };
        while let Some(row) = found.next()? {
            page.push(delivery_row(row)?);
        }
        Ok(())
    }
}

/// Every question that a page may become, to be prepared and looked at.
pub(crate) fn page_statements() -> Vec<String> {
    let statuses = Status::ALL.into_iter().map(Some).chain([None]);
    statuses
        .flat_map(sources)
        .flat_map(|source| [false, true].map(|by_action| (source, by_action)))
        .flat_map(|(source, by_action)| {
            [Direction::Older, Direction::Newer]
                .map(|direction| page_sql(source, by_action, direction))
        })
        .collect()
}

/// Where the deliveries of a status are found, in the order of a webhook's log.
#[derive(Clone, Copy)]
pub(crate) struct Source {
    /// The table, as `d`, and its index.
    pub(crate) from: &'static str,
    /// The condition that the index stands for.
    pub(crate) only: &'static str,
    columns: &'static str,
}

const FRESH: Source = Source {
    from: "fresh d",
    only: "",
    columns: FRESH_COLUMNS,
};

/// All that is not fresh.
pub(crate) const TRIED: Source = tried("delivery d", "");

const fn tried(from: &'static str, only: &'static str) -> Source {
    Source {
        from,
        only,
        columns: COLUMNS,
    }
}

const BY_STATE: &str = "delivery d indexed by delivery_state";

pub(crate) fn sources(status: Option<Status>) -> &'static [Source] {
    match status {
        None => &[TRIED, FRESH],
        Some(Status::Delivered) => const { &[tried("delivery d", "and d.state = 1")] },
        Some(Status::Pending) => {
            const { &[tried(BY_STATE, "and d.state <> 1 and d.state = 4"), FRESH] }
        }
        Some(Status::Retrying) => const { &[tried(BY_STATE, "and d.state <> 1 and d.state = 0")] },
        Some(Status::Exhausted) => const { &[tried(BY_STATE, "and d.state <> 1 and d.state = 2")] },
        Some(Status::Cancelled) => const { &[tried(BY_STATE, "and d.state <> 1 and d.state = 3")] },
    }
}

fn page_sql(source: &Source, by_action: bool, direction: Direction) -> String {
    let Source {
        from,
        only,
        columns,
    } = source;
    let of_action = if by_action {
        "and n.action_type = ?5"
    } else {
        ""
    };
    let order = match direction {
        Direction::Older => "desc",
        Direction::Newer => "asc",
    };
    // `cross join` keeps the order of the tables: the log leads, the rest is looked up.
    format!(
        "{columns}
    from {from}
    cross join notification n on n.id = d.notification_id
    where d.webhook_id = ?1 and d.notification_id >= ?2 and d.notification_id < ?3
      {only} {of_action}
    order by d.notification_id {order}
    limit ?4"
    )
}

pub(crate) fn delivery_row(row: &Row<'_>) -> Result<DeliveryRow, Fault> {
    let state = rows::state(row.get(5)?, row.get(6)?)?;
    let attempts = row.get(7)?;
    let attempted =
        row.get::<_, Option<i64>>(11)?.is_some() || row.get::<_, Option<i64>>(12)?.is_some();
    let latest = attempted.then(|| rows::outcome(row, 11, bytes::Bytes::new()));
    Ok(DeliveryRow {
        id: rows::delivery_id(row)?,
        key: row.get(2)?,
        action_type: row.get(3)?,
        event: row.get(4)?,
        state,
        attempts,
        accepted_at: rows::time(row, 8)?,
        due_at: rows::time_if_any(row, 9)?.filter(|_| state == State::Pending),
        ended_at: rows::time_if_any(row, 10)?,
        latest: latest.transpose()?,
        latest_at: rows::time_if_any(row, 16)?,
    })
}

fn past_attempt(row: &Row<'_>) -> Result<PastAttempt, Fault> {
    Ok(PastAttempt {
        number: row.get(0)?,
        attempt: Attempt {
            began_at: rows::time(row, 1)?,
            duration_ms: row.get(2)?,
            url: row.get(3)?,
            request_headers: rows::headers(row, 4)?,
            outcome: rows::outcome(row, 5, rows::bytes(row, 10)?)?,
        },
        next_due_at: rows::time_if_any(row, 11)?,
    })
}

/// The id of the latest notification that is there; 0 if there is none.
pub(crate) fn latest_id(conn: &Connection) -> Result<i64, Fault> {
    let latest: Option<i64> = conn
        .prepare_cached(LATEST_ID)?
        .query_row([], |row| row.get(0))?;
    Ok(latest.unwrap_or(0))
}

/// The id from which on notifications were accepted at `at` or later, found by halving.
pub(crate) fn id_at(conn: &Connection, at: Option<Timestamp>) -> Result<Option<i64>, Fault> {
    let Some(at) = at else {
        return Ok(None);
    };
    // All below `low` are earlier than `at`, none from `high` on is.
    let (mut low, mut high) = (0, latest_id(conn)?.saturating_add(1));
    let mut statement = conn.prepare_cached(ACCEPTED_FROM)?;
    while low < high {
        let middle = low + (high - low) / 2;
        let found: Option<(i64, i64)> = statement
            .query_row([middle], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        match found {
            Some((id, accepted_at)) if accepted_at < at.as_millis() => low = id.saturating_add(1),
            Some(_) | None => high = middle,
        }
    }
    Ok(Some(low))
}
