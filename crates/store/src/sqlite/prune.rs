//! Pruning: removes what ended long ago, in bounded steps. Nothing pending is ever removed.
//!
//! Each dialect has a retention of its own, and a webhook has one dialect. So pruning walks along
//! each webhook's log until it meets what is young enough. Notifications that no webhook wanted are
//! in no log and are found by tenant. Pruning remembers where it stopped, so that a step does not
//! look again at what the one before had to leave.

use std::collections::BTreeMap;

use model::id::{NotificationId, TenantId, WebhookId};
use model::limits;
use model::mutation::{Mutation, is_on};
use model::tenant::DialectName;
use model::time::{TimeBounds, Timestamp};
use rusqlite::{Row, params};

use crate::sqlite::envelope_cache::EnvelopeCache;
use crate::sqlite::envelopes;
use crate::sqlite::job_error::JobError;
use crate::sqlite::row_budget::{RowBudget, drop_some};
use crate::sqlite::rows::{self, RETRYING, UNATTEMPTED};
use crate::sqlite::tx::PruneCursor;
use crate::sqlite::tx::Tx;
use crate::sqlite::{
    expiry, fan_out, id_range, query, stored_responses, unattempted, webhook_health,
    webhook_history,
};

statements! {
    OLDEST = "
        select id, accepted_at from notification
        where id >= 0
        order by id
        limit 1";
    NEXT_WEBHOOK = "
        select w.id, t.dialect, t.kept_ms, w.disabled_cause is 3 and w.declared is null
        from webhook w join tenant t on t.id = w.tenant_id
        where w.id >= ?1
        order by w.id
        limit 1";
    NEXT_TENANT = "
        select id, dialect, kept_ms from tenant
        where id >= ?1
        order by id
        limit 1";
    LOGGED = "
        select d.notification_id, d.state from delivery d
        where d.webhook_id = ?1 and d.notification_id >= ?2 and d.notification_id < ?3
        order by d.notification_id
        limit ?4";
    // Before anything is removed, so that no id is used twice.
    COUNT = "
        insert into counted (what, latest)
        select 'notification', id from notification order by id desc limit 1
        on conflict (what) do update set latest = max(latest, excluded.latest)";
    DROP_UNWANTED = "
        delete from notification where id in (
          select id from notification indexed by notification_unwanted
          where delivery_count = 0 and tenant_id = ?1 and id < ?2
          limit ?3)";
    // Attempts are numbered without gaps. The latest one is part of the delivery's row.
    DROP_ATTEMPTS = "
        delete from attempt
        where notification_id = ?1 and webhook_id = ?2 and number < ?3 + (
          select min(number) from attempt where notification_id = ?1 and webhook_id = ?2)";
    DROP_DELIVERY = "
        delete from delivery where notification_id = ?1 and webhook_id = ?2";
    DROP_NOTIFICATION = "
        delete from notification
        where id = ?1 and coalesce(removed_count, 0) + 1 >= delivery_count";
    COUNT_REMOVED = "
        update notification set removed_count = coalesce(removed_count, 0) + 1
        where id = ?1";
    // `webhook_past` explains it to notifications, until the oldest one left is later.
    HAS_NOTHING_LEFT = "
        select 1 from webhook
        where id = ?1
          and not exists (select 1 from webhook_past where webhook_id = ?1)
          and not exists (select 1 from delivery where webhook_id = ?1)
          and not exists (select 1 from fresh where webhook_id = ?1)
          and not exists (select 1 from errand where webhook_id = ?1)
          and not exists (select 1 from tally where webhook_id = ?1)";
    DROP_HEALTH = "
        delete from standing where webhook_id = ?1";
    DROP_WEBHOOK = "
        delete from webhook where id = ?1";
    DROP_RESPONSES = "
        delete from kept_answer where id in (
          select id from kept_answer indexed by kept_answer_age
          where kept_at < ?1
          limit ?2)";
    DROP_ENVELOPES = "
        delete from envelope where id in (
          select id from envelope indexed by envelope_hash
          where day < ?1
          limit ?2)";
}

/// Rows of one step: some ten milliseconds of work, which others may have to wait for. The pages
/// are old, so most have to be read first.
const STEP_ROWS: usize = 1_000;

const _: () = assert!(STEP_ROWS <= limits::BULK_STEP_MAX);

/// Up to where things are removed.
struct RetentionBounds {
    now: TimeBounds,
    by_dialect: BTreeMap<DialectName, RetentionBound>,
    /// For tenants with a retention of their own.
    by_own_ms: BTreeMap<i64, RetentionBound>,
}

#[derive(Clone, Copy)]
struct RetentionBound {
    before: Timestamp,
    id: i64,
}

/// What decides how long something is kept.
struct RetentionRule {
    dialect: DialectName,
    /// The tenant's own retention.
    own_ms: Option<i64>,
}

/// One step: removes what is old and materialized. Answers whether there may be more.
pub(crate) fn prune(
    tx: &mut Tx<'_>,
    before: &BTreeMap<DialectName, Timestamp>,
    now: TimeBounds,
) -> Result<bool, JobError> {
    let mut budget = RowBudget(STEP_ROWS);
    tx.execute(COUNT, [])?;
    let kept_from = stored_responses::kept_from(tx, now.earliest)?.as_millis();
    drop_some(tx, DROP_RESPONSES, kept_from, &mut budget)?;
    expiry::prune(tx, now, &mut budget)?;
    let mut bounds = RetentionBounds::of(tx, before, now)?;
    let start = PruneCursor::Log(WebhookId(0), NotificationId(0));
    let mut at = Some(tx.cache.prune_cursor.take().unwrap_or(start));
    while let Some(here) = at {
        if !budget.left() {
            tx.cache.prune_cursor = at;
            return Ok(true);
        }
        budget.take(1);
        at = match here {
            PruneCursor::Log(webhook, from) => {
                prune_log(tx, webhook, from, &mut bounds, &mut budget)?
            }
            PruneCursor::Unwanted(tenant) => prune_unwanted(tx, tenant, &mut bounds, &mut budget)?,
        };
    }
    drop_leftovers(tx, &mut budget)?;
    Ok(!budget.left())
}

/// Prunes the log of `webhook`, or of the next there is. Answers where to go on.
fn prune_log(
    tx: &mut Tx<'_>,
    webhook: WebhookId,
    from: NotificationId,
    bounds: &mut RetentionBounds,
    budget: &mut RowBudget,
) -> Result<Option<PruneCursor>, JobError> {
    let next = |row: &Row<'_>| Ok((rule(row)?, row.get(3)?));
    let found: Option<((i64, RetentionRule), bool)> =
        query::first(tx.conn, NEXT_WEBHOOK, [webhook.0], next)?;
    let Some(((id, rule), is_deleted)) = found else {
        return Ok(Some(PruneCursor::Unwanted(TenantId(0))));
    };
    let from = if id == webhook.0 { from.0 } else { 0 };
    let RetentionBound { before, id: to } = bounds.get(tx, &rule)?;
    if from == 0 {
        webhook_health::prune(tx, WebhookId(id), before, budget)?;
    }
    if !budget.left() {
        return Ok(Some(PruneCursor::Log(WebhookId(id), NotificationId(from))));
    }
    let asked = budget.rows();
    let logged: Vec<(i64, i64)> = tx
        .conn
        .prepare_cached(LOGGED)?
        .query_map(params![id, from, to, asked], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?
        .collect::<Result<_, _>>()?;
    let rest = usize::try_from(asked).is_ok_and(|asked| logged.len() >= asked);
    let mut reached = from;
    for (notification, state) in logged {
        reached = notification;
        if [RETRYING, UNATTEMPTED].contains(&state) && !is_on(Mutation::PruneOwed) {
            budget.take(1);
        } else if !drop_delivery(tx, notification, id, budget)? {
            return Ok(Some(PruneCursor::Log(
                WebhookId(id),
                NotificationId(reached),
            )));
        }
    }
    if rest {
        let next = NotificationId(reached.saturating_add(1));
        return Ok(Some(PruneCursor::Log(WebhookId(id), next)));
    }
    if is_deleted {
        drop_deleted_webhook(tx, id, budget)?;
    }
    Ok(Some(PruneCursor::Log(
        WebhookId(id.saturating_add(1)),
        NotificationId(0),
    )))
}

/// Removes a deleted webhook once nothing is left that was accepted before: the log of a tenant
/// looks at every webhook there is. It is not for one that an operator's file names, which the file
/// would bring back.
fn drop_deleted_webhook(
    tx: &mut Tx<'_>,
    webhook: i64,
    budget: &mut RowBudget,
) -> Result<(), JobError> {
    if !query::exists(tx.conn, HAS_NOTHING_LEFT, [webhook])?
        || unattempted::not_materialized(tx)?.contains_key(&WebhookId(webhook))
        || fan_out::is_left(tx)?
    {
        return Ok(());
    }
    let health = tx.execute(DROP_HEALTH, [webhook])?;
    tx.execute(DROP_WEBHOOK, [webhook])?;
    budget.take(1 + health);
    Ok(())
}

/// Removes a delivery with its attempts, and its notification if it was the last. Answers false if
/// the budget was too small.
fn drop_delivery(
    tx: &Tx<'_>,
    notification: i64,
    webhook: i64,
    budget: &mut RowBudget,
) -> Result<bool, JobError> {
    let attempts = params![notification, webhook, budget.rows()];
    let dropped = tx.execute(DROP_ATTEMPTS, attempts)?;
    budget.take(dropped);
    if !budget.left() {
        return Ok(false);
    }
    tx.execute(DROP_DELIVERY, [notification, webhook])?;
    let dropped = tx.execute(DROP_NOTIFICATION, [notification])?;
    if dropped == 0 {
        tx.execute(COUNT_REMOVED, [notification])?;
    }
    budget.take(1 + dropped);
    Ok(true)
}

/// Removes what no webhook wanted of `tenant`, or of the next there is. Answers where to go on.
fn prune_unwanted(
    tx: &mut Tx<'_>,
    tenant: TenantId,
    bounds: &mut RetentionBounds,
    budget: &mut RowBudget,
) -> Result<Option<PruneCursor>, JobError> {
    let Some((id, rule)) = query::first(tx.conn, NEXT_TENANT, [tenant.0], rule)? else {
        return Ok(None);
    };
    let to = bounds.get(tx, &rule)?.id;
    let room = budget.rows();
    let dropped = tx.execute(DROP_UNWANTED, [id, to, room])?;
    budget.take(dropped);
    let rest = i64::try_from(dropped).is_ok_and(|dropped| dropped >= room);
    let next = if rest { id } else { id.saturating_add(1) };
    Ok(Some(PruneCursor::Unwanted(TenantId(next))))
}

/// Removes what only notifications older than the oldest one needed: envelopes without an attempt,
/// and former states of webhooks.
fn drop_leftovers(tx: &mut Tx<'_>, budget: &mut RowBudget) -> Result<(), JobError> {
    let oldest: Option<(i64, i64)> =
        query::first(tx.conn, OLDEST, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let first = oldest.map_or(i64::MAX, |(id, _)| id);
    drop_some(tx, webhook_history::DROP, first, budget)?;
    drop_some(tx, id_range::DROP_FALLS, first, budget)?;
    let day = match oldest {
        Some((_, at)) => envelopes::day(Timestamp::from_millis(at)),
        None => {
            // Nothing is left at all, so the cache is emptied, too.
            tx.cache.envelopes = EnvelopeCache::default();
            i64::MAX
        }
    };
    drop_some(tx, DROP_ENVELOPES, day, budget)
}

/// `id, dialect, kept_ms`.
fn rule(row: &Row<'_>) -> Result<(i64, RetentionRule), JobError> {
    let rule = RetentionRule {
        dialect: rows::dialect(row, 1)?,
        own_ms: row.get(2)?,
    };
    Ok((row.get(0)?, rule))
}

impl RetentionBounds {
    fn of(
        tx: &mut Tx<'_>,
        before: &BTreeMap<DialectName, Timestamp>,
        now: TimeBounds,
    ) -> Result<Self, JobError> {
        let mut by_dialect = BTreeMap::new();
        for (dialect, before) in before {
            by_dialect.insert(
                dialect.clone(),
                RetentionBound::at(tx, *before, now.latest)?,
            );
        }
        Ok(Self {
            now,
            by_dialect,
            by_own_ms: BTreeMap::new(),
        })
    }

    fn get(&mut self, tx: &mut Tx<'_>, rule: &RetentionRule) -> Result<RetentionBound, JobError> {
        let Some(own_ms) = rule.own_ms else {
            let bound = self.by_dialect.get(&rule.dialect).copied();
            return Ok(bound.unwrap_or(RetentionBound::NOTHING));
        };
        if let Some(bound) = self.by_own_ms.get(&own_ms) {
            return Ok(*bound);
        }
        let before = self.now.earliest.plus_ms(own_ms.saturating_neg());
        let bound = RetentionBound::at(tx, before, self.now.latest)?;
        self.by_own_ms.insert(own_ms, bound);
        Ok(bound)
    }
}

impl RetentionBound {
    const NOTHING: Self = Self {
        before: Timestamp::EPOCH,
        id: 0,
    };

    /// `latest`: a time after it is that of a clock which was ahead.
    fn at(tx: &mut Tx<'_>, before: Timestamp, latest: Timestamp) -> Result<Self, JobError> {
        let id = id_range::first_kept(tx.conn, before, latest)?;
        // Without its row an inline delivery would look unattempted.
        let id = id.min(unattempted::materialized_upto(tx)?.saturating_add(1));
        Ok(Self { before, id })
    }
}
