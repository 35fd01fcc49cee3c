//! Due deliveries of webhooks, page by page, and what may go early after an outage.
//!
//! They are in two places: the table `fresh`, and rows of their own once something was attempted or
//! a time was set. A page merges the two in the order of their due times. All pages of a call are
//! read together: first which deliveries they have, then their notifications, each once however
//! many webhooks it is for. What is due later costs nothing but to look at the first of each place.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use model::contract::{DueCursor, DuePage, DueQuery, RecoveryPage, RecoveryQuery, StoreError};
use model::delivery::{Delivery, DueDelivery};
use model::id::{DeliveryId, NotificationId, WebhookId};
use model::lease::Slots;
use model::limits;
use model::time::Timestamp;
use model::webhook::Headers;
use tokio_postgres::Row;

use crate::postgres::batch::{Batch, Parameter};
use crate::postgres::connection::PostgresConnection;
use crate::postgres::schedule;
use crate::sql::heartbeat::UnattemptedDue;
use crate::sql::job_error::{CorruptRow, JobError};
use crate::sql::row::ReadRow;
use crate::sql::rows;

statements! {
    // Of each webhook so many that are due, and the first one that is not. By the index
    // `delivery_due`, like all that is asked here of deliveries.
    ATTEMPTED = "
        select asked.place, w.tenant_id, d.notification_id, d.due_at, d.round, d.attempts,
          d.round_start, d.round_began_at
        from unnest($1::bigint[], $2::bigint[])
          with ordinality as asked (webhook_id, count, place)
        cross join lateral (
          select tenant_id from webhook where id = asked.webhook_id limit 1) as w
        cross join lateral (
          (select notification_id, due_at, round, attempts, round_start, round_began_at
            from delivery
            where tenant_id = w.tenant_id and webhook_id = asked.webhook_id and state in (0, 4)
              and due_at <= $3
            order by due_at, notification_id
            limit asked.count)
          union all
          (select notification_id, due_at, round, attempts, round_start, round_began_at
            from delivery
            where tenant_id = w.tenant_id and webhook_id = asked.webhook_id and state in (0, 4)
              and due_at > $3
            order by due_at, notification_id
            limit 1)) as d";
    // By id: that is the order of the times at which they were accepted, unless the clock was set.
    UNATTEMPTED = "
        select asked.place, w.tenant_id, f.notification_id, n.accepted_at
        from unnest($1::bigint[], $2::bigint[])
          with ordinality as asked (webhook_id, count, place)
        cross join lateral (
          select tenant_id from webhook where id = asked.webhook_id limit 1) as w
        cross join lateral (
          select notification_id from fresh
          where tenant_id = w.tenant_id and webhook_id = asked.webhook_id
          order by notification_id
          limit asked.count) as f
        cross join lateral (
          select accepted_at from notification
          where tenant_id = w.tenant_id and id = f.notification_id
          limit 1) as n";
    // Of an early attempt both it and the one before name the same time for the next.
    EARLY = "
        select asked.place, w.tenant_id, d.notification_id, d.due_at, d.round, d.attempts,
          d.round_start, d.round_began_at,
          d.began_at is not null and coalesce(d.tried_at <= asked.tried_by, true) and not exists (
            select 1 from attempt
            where tenant_id = w.tenant_id and notification_id = d.notification_id
              and webhook_id = asked.webhook_id and number = d.attempts - 1
              and next_due_at = d.next_due_at)
        from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[])
          with ordinality as asked (webhook_id, due_at, notification_id, tried_by, place)
        cross join lateral (
          select tenant_id from webhook where id = asked.webhook_id limit 1) as w
        cross join lateral (
          select notification_id, due_at, round, attempts, round_start, round_began_at, began_at,
            tried_at, next_due_at
          from delivery
          where tenant_id = w.tenant_id and webhook_id = asked.webhook_id and state in (0, 4)
            and (due_at, notification_id) > (asked.due_at, asked.notification_id)
          order by due_at, notification_id
          limit $5) as d";
    NOTIFICATIONS = "
        select n.tenant_id, n.id, n.key, n.headers, n.body, n.action_type, n.accepted_at
        from unnest($1::bigint[], $2::bigint[]) as asked (tenant_id, id)
        cross join lateral (
          select tenant_id, id, key, headers, body, action_type, accepted_at from notification
          where tenant_id = asked.tenant_id and id = asked.id
          limit 1) as n";
    // A pending delivery, wherever it is. No join and no state beside the keys: either may have the
    // planner take another index than that of the keys.
    ONE = "
        select 1::bigint, d.tenant_id, d.notification_id, d.due_at, d.round, d.attempts,
          d.round_start, d.round_began_at
        from (
          select tenant_id, notification_id, due_at, round, attempts, round_start, round_began_at,
            state
          from delivery
          where tenant_id = (select tenant_id from webhook where id = $1)
            and webhook_id = $1 and notification_id = $2
          limit 1) as d
        where d.state in (0, 4)
        union all
        select 1::bigint, f.tenant_id, f.notification_id, n.accepted_at, 1, 0, 0, null::bigint
        from (
          select tenant_id, notification_id from fresh
          where tenant_id = (select tenant_id from webhook where id = $1)
            and webhook_id = $1 and notification_id = $2
          limit 1) as f
        cross join lateral (
          select accepted_at from notification
          where tenant_id = f.tenant_id and id = f.notification_id
          limit 1) as n";
}

/// A delivery without what its notification has.
#[derive(Debug, Clone)]
struct Found {
    tenant: i64,
    delivery: Delivery,
}

/// A notification as its deliveries share it.
struct Shared {
    key: Arc<str>,
    action_type: Arc<str>,
    accepted_at: Timestamp,
    headers: Headers,
    body: Bytes,
}

type Notifications = BTreeMap<(i64, NotificationId), Shared>;

/// A page, and what is left to read for it.
struct Page {
    query: DueQuery,
    /// Without what its owner holds.
    deliveries: Vec<Found>,
    /// How many more it may have.
    room: usize,
    next_due_at: Option<Timestamp>,
    recovery: Option<EarlyPage>,
}

#[derive(Default)]
struct EarlyPage {
    deliveries: Vec<Found>,
    next: Option<DueCursor>,
}

/// What there is of a webhook in both places, in order: one more of each than fits.
#[derive(Default)]
struct Sources {
    attempted: Vec<Found>,
    unattempted: Vec<Found>,
}

/// Pages of the webhooks asked for. `Fenced` if one of them is not in `slots`.
pub(crate) fn due(
    conn: &PostgresConnection,
    slots: Slots,
    queries: &[DueQuery],
    now: Timestamp,
) -> Result<Vec<DuePage>, JobError> {
    if !queries.iter().all(|query| slots.has(query.webhook)) {
        return Err(StoreError::Fenced.into());
    }
    let sources = read_sources(conn, queries, now)?;
    let pages = queries.iter().zip(sources);
    let mut pages: Vec<Page> = pages
        .map(|(query, sources)| Page::merge(query, sources, now))
        .collect();
    read_early(conn, &mut pages, now)?;
    let found = pages.iter().flat_map(|page| {
        let early = page.recovery.iter().flat_map(|early| &early.deliveries);
        page.deliveries.iter().chain(early)
    });
    let notifications = read_notifications(conn, found)?;
    Ok(pages
        .into_iter()
        .map(|page| page.complete(&notifications))
        .collect())
}

/// A delivery that is pending.
pub(crate) fn one(
    conn: &PostgresConnection,
    id: DeliveryId,
) -> Result<Option<DueDelivery>, JobError> {
    let keys: [Parameter<'_>; 2] = [&id.webhook.0, &id.notification.0];
    let found = conn.session().query(ONE, &keys)?;
    let Some(row) = found.first() else {
        return Ok(None);
    };
    let found = found_row(row, id.webhook)?;
    let notifications = read_notifications(conn, [&found].into_iter())?;
    Ok(found.complete(&notifications))
}

/// For each query what there is.
fn read_sources(
    conn: &PostgresConnection,
    queries: &[DueQuery],
    now: Timestamp,
) -> Result<Vec<Sources>, JobError> {
    let webhooks: Vec<i64> = queries.iter().map(|query| query.webhook.0).collect();
    let counts = queries.iter().map(|query| rows::bound(query.limit));
    let counts: Vec<i64> = counts.map(|count| count.saturating_add(1)).collect();
    let now_ms = now.as_millis();
    let mut batch = Batch::default();
    let latest = batch.add(schedule::LATEST, []);
    let attempted = batch.add(ATTEMPTED, [&webhooks as _, &counts as _, &now_ms as _]);
    let unattempted = batch.add(UNATTEMPTED, [&webhooks as _, &counts as _]);
    let answers = batch.send(conn.session())?;
    let latest = schedule::latest_of(answers.rows(Some(latest)))?;
    let since = UnattemptedDue::of(latest).by(now);
    let mut sources: Vec<Sources> = queries.iter().map(|_| Sources::default()).collect();
    for row in answers.rows(Some(attempted)) {
        let place = place(row)?;
        let query = queries.get(place).ok_or(CorruptRow("answer"))?;
        let found = found_row(row, query.webhook)?;
        let own = sources.get_mut(place).ok_or(CorruptRow("answer"))?;
        own.attempted.push(found);
    }
    for row in answers.rows(Some(unattempted)) {
        let place = place(row)?;
        let query = queries.get(place).ok_or(CorruptRow("answer"))?;
        let own = sources.get_mut(place).ok_or(CorruptRow("answer"))?;
        let notification = NotificationId(row.column(2)?);
        own.unattempted.push(Found {
            tenant: row.column(1)?,
            delivery: Delivery {
                id: DeliveryId {
                    notification,
                    webhook: query.webhook,
                },
                round: 1,
                attempts: 0,
                round_attempts: 0,
                round_began_at: None,
                due_at: since.due_at(rows::time(row, 3)?),
            },
        });
    }
    for own in &mut sources {
        own.attempted.sort_by_key(Found::cursor);
        own.unattempted
            .sort_by_key(|found| found.delivery.id.notification);
    }
    Ok(sources)
}

/// Looks for those pages that have room and ask for it through what is due after `now`, a bounded
/// step of it, for what an outage delayed.
fn read_early(
    conn: &PostgresConnection,
    pages: &mut [Page],
    now: Timestamp,
) -> Result<(), JobError> {
    let due_by = DueCursor {
        due_at: now,
        notification: NotificationId(i64::MAX),
    };
    let mut asked: Vec<(&mut Page, RecoveryQuery)> = pages
        .iter_mut()
        .filter(|page| page.room > 0)
        .filter_map(|page| page.query.recovery.map(|query| (page, query)))
        .collect();
    if asked.is_empty() {
        return Ok(());
    }
    for (_, query) in &mut asked {
        query.after = Some(query.after.map_or(due_by, |after| after.max(due_by)));
    }
    let after = |query: &RecoveryQuery| query.after.unwrap_or(due_by);
    let webhooks: Vec<i64> = asked.iter().map(|(page, _)| page.query.webhook.0).collect();
    let due_at = asked
        .iter()
        .map(|(_, query)| after(query).due_at.as_millis());
    let due_at: Vec<i64> = due_at.collect();
    let ids = asked.iter().map(|(_, query)| after(query).notification.0);
    let ids: Vec<i64> = ids.collect();
    let tried_by = asked.iter().map(|(_, query)| query.tried_by.as_millis());
    let tried_by: Vec<i64> = tried_by.collect();
    let count = rows::bound(limits::RECOVERY_ROWS_MAX);
    let values: [Parameter<'_>; 5] = [&webhooks, &due_at, &ids, &tried_by, &count];
    let mut found: Vec<Vec<(Found, bool)>> = asked.iter().map(|_| Vec::new()).collect();
    for row in &conn.session().query(EARLY, &values)? {
        let place = place(row)?;
        let webhook = webhooks.get(place).ok_or(CorruptRow("answer"))?;
        let own = found.get_mut(place).ok_or(CorruptRow("answer"))?;
        own.push((found_row(row, WebhookId(*webhook))?, row.column(8)?));
    }
    for ((page, query), mut found) in asked.into_iter().zip(found) {
        found.sort_by_key(|(found, _)| found.cursor());
        let limit = query.limit.min(page.room);
        page.recovery = Some(EarlyPage::of(found, after(&query), limit));
    }
    Ok(())
}

/// The notifications of these deliveries.
fn read_notifications<'f>(
    conn: &PostgresConnection,
    found: impl Iterator<Item = &'f Found>,
) -> Result<Notifications, JobError> {
    let keys = found.map(|found| (found.tenant, found.delivery.id.notification.0));
    let keys: std::collections::BTreeSet<(i64, i64)> = keys.collect();
    let mut notifications = Notifications::new();
    if keys.is_empty() {
        return Ok(notifications);
    }
    let (tenants, ids): (Vec<i64>, Vec<i64>) = keys.into_iter().unzip();
    for row in &conn.session().query(NOTIFICATIONS, &[&tenants, &ids])? {
        let key = (row.column(0)?, NotificationId(row.column(1)?));
        notifications.insert(
            key,
            Shared {
                key: row.column(2)?,
                action_type: row.column(5)?,
                accepted_at: rows::time(row, 6)?,
                headers: rows::headers(row, 3)?,
                body: rows::bytes(row, 4)?,
            },
        );
    }
    Ok(notifications)
}

impl Page {
    fn merge(query: &DueQuery, sources: Sources, now: Timestamp) -> Self {
        let mut attempted = sources.attempted.into_iter().peekable();
        let mut unattempted = sources.unattempted.into_iter().peekable();
        let mut deliveries: Vec<Found> = Vec::new();
        while deliveries.len() < query.limit {
            let due = |found: &&Found| found.delivery.due_at <= now;
            let heads = [attempted.peek(), unattempted.peek()];
            let [one, other] = heads.map(|head| head.filter(due).map(Found::cursor));
            let taken = match (one, other) {
                (Some(one), Some(other)) if other < one => unattempted.next(),
                (None, Some(_)) => unattempted.next(),
                (Some(_), _) => attempted.next(),
                (None, None) => break,
            };
            deliveries.extend(taken);
        }
        let room = query.limit.saturating_sub(deliveries.len());
        let latest = deliveries.iter().map(|found| found.delivery.due_at).max();
        let heads = [attempted.peek(), unattempted.peek()];
        let next = heads.into_iter().flatten();
        let next = next.map(|found| found.delivery.due_at).min();
        deliveries.retain(|found| !found.is_held_by(query));
        Self {
            query: query.clone(),
            deliveries,
            room,
            // The unattempted come by id: not the order of their times, if the clock was set back.
            next_due_at: next.map(|at| at.max(latest.unwrap_or(at))),
            recovery: None,
        }
    }

    fn complete(self, notifications: &Notifications) -> DuePage {
        let complete = |found: Vec<Found>| -> Vec<DueDelivery> {
            let found = found.into_iter();
            found
                .filter_map(|found| found.complete(notifications))
                .collect()
        };
        DuePage {
            webhook: self.query.webhook,
            deliveries: complete(self.deliveries),
            next_due_at: self.next_due_at,
            recovery: self.recovery.map(|early| RecoveryPage {
                deliveries: complete(early.deliveries),
                next: early.next,
            }),
        }
    }
}

impl EarlyPage {
    /// Of a step of rows, in order, each with whether it may go early.
    fn of(found: Vec<(Found, bool)>, after: DueCursor, limit: usize) -> Self {
        let is_step = found.len() >= limits::RECOVERY_ROWS_MAX;
        let mut found = found.into_iter();
        let mut page = Self {
            deliveries: Vec::new(),
            next: Some(after),
        };
        while page.deliveries.len() < limit {
            let Some((found, may_go_early)) = found.next() else {
                page.next = page.next.filter(|_| is_step);
                break;
            };
            page.next = Some(found.cursor());
            if may_go_early {
                page.deliveries.push(found);
            }
        }
        page
    }
}

impl Found {
    /// Whether the owner has it as it is: unattempted.
    fn is_held_by(&self, query: &DueQuery) -> bool {
        let delivery = &self.delivery;
        let is_unattempted = (delivery.round, delivery.attempts) == (1, 0);
        is_unattempted && query.held.binary_search(&delivery.id.notification).is_ok()
    }

    /// Its place in the order in which a webhook's deliveries are due.
    fn cursor(&self) -> DueCursor {
        DueCursor {
            due_at: self.delivery.due_at,
            notification: self.delivery.id.notification,
        }
    }

    /// `None` without its notification.
    fn complete(self, notifications: &Notifications) -> Option<DueDelivery> {
        let key = (self.tenant, self.delivery.id.notification);
        let shared = notifications.get(&key)?;
        Some(DueDelivery {
            delivery: self.delivery,
            key: Arc::clone(&shared.key),
            action_type: Arc::clone(&shared.action_type),
            accepted_at: shared.accepted_at,
            headers: shared.headers.clone(),
            body: shared.body.clone(),
        })
    }
}

/// Which of the queries a row belongs to.
fn place(row: &Row) -> Result<usize, JobError> {
    let place: i64 = row.column(0)?;
    let place = usize::try_from(place.saturating_sub(1));
    Ok(place.map_err(|_| CorruptRow("answer"))?)
}

/// `tenant_id, notification_id, due_at, round, attempts, round_start, round_began_at` from 1 on.
fn found_row(row: &Row, webhook: WebhookId) -> Result<Found, JobError> {
    let (attempts, round_start): (u32, u32) = (row.column(5)?, row.column(6)?);
    Ok(Found {
        tenant: row.column(1)?,
        delivery: Delivery {
            id: DeliveryId {
                notification: NotificationId(row.column(2)?),
                webhook,
            },
            round: row.column(4)?,
            attempts,
            round_attempts: attempts.saturating_sub(round_start),
            round_began_at: rows::time_if_any(row, 7)?,
            due_at: rows::time(row, 3)?,
        },
    })
}
