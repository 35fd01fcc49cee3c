//! Pruning: removes what ended long ago, in bounded steps. Nothing pending is ever removed.
//!
//! Each dialect has a retention of its own, and a webhook has one dialect. So pruning walks along
//! each webhook's log until it meets what is young enough. Notifications that no webhook wanted are
//! in no log and are found by tenant. Tallies of attempts come last. Pruning remembers where it
//! stopped, so that a step does not look again at what the one before had to leave.
//!
//! On PostgreSQL each node prunes what belongs to its slots; what is of no webhook and of no tenant
//! goes with the first slot.

use std::collections::BTreeMap;

use crate::postgres;
use crate::sql::id_range::{IdRange, LogRange};
use crate::sql::{Connection, Row};
use model::id::{NotificationId, TenantId, WebhookId};
use model::limits;
use model::mutation::{Mutation, is_on};
use model::tenant::DialectName;
use model::time::{TimeBounds, Timestamp};

use crate::sql::job_error::JobError;
use crate::sql::row_budget::RowBudget;
use crate::sql::rows::{self, RETRYING, UNATTEMPTED};
use crate::sql::transaction::PruneCursor;
use crate::sql::transaction::Transaction;
use crate::sql::transaction::drop_some;
use crate::sql::{expiry, id_range, query};
use crate::sql::{statistics, stored_responses, webhook_health};

shared_statements! {
    NEXT_WEBHOOK = "
        select w.id, w.tenant_id, t.dialect, t.kept_ms,
          w.disabled_cause is not distinct from 3 and w.declared is null
        from webhook w join tenant t on t.id = w.tenant_id
        where w.id >= ?1 /*postgres and get_bit(?2::bytea, w.slot) = 1 */
        order by w.id
        limit 1";
    NEXT_TENANT = "
        select id, id, dialect, kept_ms from tenant
        where id >= ?1 /*postgres and get_bit(?2::bytea, (id & 255)::int) = 1 */
        order by id
        limit 1";
    LOGGED = "
        select d.notification_id, d.state from delivery d
        where /*postgres d.tenant_id = (select tenant_id from webhook where id = ?1) and */
          d.webhook_id = ?1 and d.notification_id >= ?2 and d.notification_id < ?3
        order by d.notification_id
        limit ?4";
    DROP_UNWANTED = "
        delete from notification where id in (
          select id from notification indexed by notification_unwanted
          where delivery_count = 0 and tenant_id = ?1 and id < ?2
          limit ?3)" | "
        delete from notification where tenant_id = ?1 and id = any(array(
          select id from notification
          where delivery_count = 0 and tenant_id = ?1 and id < ?2
          order by id
          limit ?3))";
    // Attempts are numbered without gaps. The latest one is part of the delivery's row.
    DROP_ATTEMPTS = "
        delete from attempt
        where /*postgres tenant_id = (select tenant_id from webhook where id = ?2) and */
          notification_id = ?1 and webhook_id = ?2 and number < ?3 + (
            select min(number) from attempt
            where /*postgres tenant_id = (select tenant_id from webhook where id = ?2) and */
              notification_id = ?1 and webhook_id = ?2)";
    DROP_DELIVERY = "
        delete from delivery
        where /*postgres tenant_id = (select tenant_id from webhook where id = ?2) and */
          notification_id = ?1 and webhook_id = ?2";
    DROP_NOTIFICATION = "
        delete from notification
        where /*postgres tenant_id = (select tenant_id from webhook where id = ?2) and */
          id = ?1 and coalesce(removed_count, 0) + 1 >= delivery_count";
    COUNT_REMOVED = "
        update notification set removed_count = coalesce(removed_count, 0) + 1
        where /*postgres tenant_id = (select tenant_id from webhook where id = ?2) and */
          id = ?1";
    // `webhook_past` explains it to notifications, until the oldest one left is later.
    HAS_NOTHING_LEFT = "
        select 1 from webhook
        where id = ?1
          and not exists (select 1 from webhook_past where webhook_id = ?1)
          and not exists (
            select 1 from delivery
            where /*postgres tenant_id = (select tenant_id from webhook where id = ?1) and */ webhook_id = ?1)
          and not exists (
            select 1 from fresh
            where /*postgres tenant_id = (select tenant_id from webhook where id = ?1) and */ webhook_id = ?1)
          and not exists (select 1 from errand where webhook_id = ?1)
          and not exists (select 1 from tally where webhook_id = ?1)";
    DROP_HEALTH = "
        delete from standing where webhook_id = ?1";
    DROP_WEBHOOK = "
        delete from webhook
        where id = ?1 and disabled_cause is not distinct from 3 and declared is null";
    DROP_RESPONSES = "
        delete from kept_answer where id in (
          select id from kept_answer indexed by kept_answer_age
          where kept_at < ?1
          limit ?2)" | "
        delete from kept_answer where id = any(array(
          select id from kept_answer
          where kept_at < ?1
          order by kept_at
          limit ?2))";
}

/// Rows of one step: some ten milliseconds of work, which others may have to wait for. The pages
/// are old, so most have to be read first.
const STEP_ROWS: usize = 1_000;

/// Steps that tallies may take before it is the turn of the log again: some minutes.
const TALLY_STEPS: u32 = 5_000;

const _: () = assert!(STEP_ROWS <= limits::BULK_STEP_MAX);

/// Up to where things are removed.
struct RetentionBounds<'a> {
    now: TimeBounds,
    by_dialect: &'a BTreeMap<DialectName, Timestamp>,
    /// What was found: by the time up to which things are removed, on PostgreSQL for each tenant.
    found: BTreeMap<(TenantId, Timestamp), RetentionBound>,
}

#[derive(Clone, Copy)]
struct RetentionBound {
    before: Timestamp,
    id: i64,
}

/// What decides how long something is kept.
struct RetentionRule {
    tenant: TenantId,
    dialect: DialectName,
    /// The tenant's own retention.
    own_ms: Option<i64>,
}

/// One step: removes what is old and materialized. Answers whether there may be more.
pub(crate) fn prune(
    tx: &mut dyn Transaction,
    before: &BTreeMap<DialectName, Timestamp>,
    now: TimeBounds,
) -> Result<bool, JobError> {
    let mut budget = RowBudget(STEP_ROWS);
    tx.keep_latest_id()?;
    let has_first = tx.slots().has(WebhookId(0));
    if has_first {
        let kept_from = stored_responses::kept_from(tx, now.earliest)?.as_millis();
        drop_some(tx, DROP_RESPONSES, kept_from, &mut budget)?;
        expiry::prune(tx, now, &mut budget)?;
    }
    let mut bounds = RetentionBounds {
        now,
        by_dialect: before,
        found: BTreeMap::new(),
    };
    let start = PruneCursor::Log(WebhookId(0), NotificationId(0));
    let mut at = Some(tx.prune_cursor().take().unwrap_or(start));
    while let Some(here) = at {
        if !budget.left() {
            *tx.prune_cursor() = at;
            return Ok(true);
        }
        budget.take(1);
        at = match here {
            PruneCursor::Log(webhook, from) => {
                prune_log(tx, webhook, from, &mut bounds, &mut budget)?
            }
            PruneCursor::Unwanted(tenant) => {
                let next = prune_unwanted(tx, tenant, &mut bounds, &mut budget)?;
                next.or(Some(PruneCursor::Tallies(0)))
            }
            PruneCursor::Tallies(_) if !has_first => None,
            PruneCursor::Tallies(steps) => {
                statistics::prune(tx, now, &mut budget)?;
                let goes_on = !budget.left() && steps < TALLY_STEPS;
                goes_on.then_some(PruneCursor::Tallies(steps + 1))
            }
        };
    }
    if has_first {
        tx.drop_leftovers(now, &mut budget)?;
    }
    Ok(!budget.left())
}

/// Prunes the log of `webhook`, or of the next there is. Answers where to go on.
fn prune_log(
    tx: &mut dyn Transaction,
    webhook: WebhookId,
    from: NotificationId,
    bounds: &mut RetentionBounds<'_>,
    budget: &mut RowBudget,
) -> Result<Option<PruneCursor>, JobError> {
    let slots = tx.slots().to_bytes();
    let next = |row: &Row<'_>| Ok((rule(row)?, row.get(4)?));
    let found: Option<((i64, RetentionRule), bool)> =
        query::first(tx.conn(), NEXT_WEBHOOK, values![webhook.0, slots], next)?;
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
    let part = LogRange {
        tenant: rule.tenant,
        webhook: id,
        ids: IdRange { from, to },
    };
    let rest = match tx.conn() {
        Connection::Sqlite(_) => drop_part(tx, &part, budget)?,
        Connection::Postgres(conn) => postgres::prune::drop_part(conn, &part, budget)?,
    };
    if let Some(next) = rest {
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

/// Removes what has ended of a part of a log. Answers where to go on in it; `None` if that was all.
fn drop_part(
    tx: &dyn Transaction,
    part: &LogRange,
    budget: &mut RowBudget,
) -> Result<Option<NotificationId>, JobError> {
    let asked = budget.rows();
    let IdRange { from, to } = part.ids;
    let found = values![part.webhook, from, to, asked];
    let logged: Vec<(i64, i64)> = query::list(tx.conn(), LOGGED, found, |row| {
        Ok((row.get(0)?, row.get(1)?))
    })?;
    let rest = usize::try_from(asked).is_ok_and(|asked| logged.len() >= asked);
    let mut reached = from;
    for (notification, state) in logged {
        reached = notification;
        if [RETRYING, UNATTEMPTED].contains(&state) && !is_on(Mutation::PruneOwed) {
            budget.take(1);
        } else if !drop_delivery(tx, notification, part.webhook, budget)? {
            return Ok(Some(NotificationId(reached)));
        }
    }
    Ok(rest.then(|| NotificationId(reached.saturating_add(1))))
}

/// Removes a deleted webhook once nothing is left that was accepted before: the log of a tenant
/// looks at every webhook there is. It is not for one that an operator's file names, which the file
/// would bring back.
fn drop_deleted_webhook(
    tx: &mut dyn Transaction,
    webhook: i64,
    budget: &mut RowBudget,
) -> Result<(), JobError> {
    if !query::exists(tx.conn(), HAS_NOTHING_LEFT, values![webhook])?
        || tx.is_owed_inline(WebhookId(webhook))?
        || tx.is_fan_out_left()?
    {
        return Ok(());
    }
    let health = tx.execute(DROP_HEALTH, values![webhook])?;
    tx.execute(DROP_WEBHOOK, values![webhook])?;
    budget.take(1 + health);
    Ok(())
}

/// Removes a delivery with its attempts, and its notification if it was the last. Answers false if
/// the budget was too small.
fn drop_delivery(
    tx: &dyn Transaction,
    notification: i64,
    webhook: i64,
    budget: &mut RowBudget,
) -> Result<bool, JobError> {
    let room = budget.rows();
    let dropped = tx.execute(DROP_ATTEMPTS, values![notification, webhook, room])?;
    budget.take(dropped);
    if !budget.left() {
        return Ok(false);
    }
    tx.execute(DROP_DELIVERY, values![notification, webhook])?;
    let dropped = tx.execute(DROP_NOTIFICATION, values![notification, webhook])?;
    if dropped == 0 {
        tx.execute(COUNT_REMOVED, values![notification, webhook])?;
    }
    budget.take(1 + dropped);
    Ok(true)
}

/// Removes what no webhook wanted of `tenant`, or of the next there is. Answers where to go on.
fn prune_unwanted(
    tx: &mut dyn Transaction,
    tenant: TenantId,
    bounds: &mut RetentionBounds<'_>,
    budget: &mut RowBudget,
) -> Result<Option<PruneCursor>, JobError> {
    let slots = tx.slots().to_bytes();
    let asked = values![tenant.0, slots];
    let Some((id, rule)) = query::first(tx.conn(), NEXT_TENANT, asked, rule)? else {
        return Ok(None);
    };
    let to = bounds.get(tx, &rule)?.id;
    let room = budget.rows();
    let dropped = tx.execute(DROP_UNWANTED, values![id, to, room])?;
    budget.take(dropped);
    let rest = i64::try_from(dropped).is_ok_and(|dropped| dropped >= room);
    tx.drop_leftovers_of(rule.tenant, budget)?;
    let next = if rest { id } else { id.saturating_add(1) };
    Ok(Some(PruneCursor::Unwanted(TenantId(next))))
}

/// `id, tenant_id, dialect, kept_ms`.
fn rule(row: &Row<'_>) -> Result<(i64, RetentionRule), JobError> {
    let rule = RetentionRule {
        tenant: TenantId(row.get(1)?),
        dialect: rows::dialect(row, 2)?,
        own_ms: row.get(3)?,
    };
    Ok((row.get(0)?, rule))
}

impl RetentionBounds<'_> {
    fn get(
        &mut self,
        tx: &mut dyn Transaction,
        rule: &RetentionRule,
    ) -> Result<RetentionBound, JobError> {
        let before = match rule.own_ms {
            Some(own_ms) => Some(self.now.earliest.plus_ms(own_ms.saturating_neg())),
            None => self.by_dialect.get(&rule.dialect).copied(),
        };
        let Some(before) = before else {
            return Ok(RetentionBound::NOTHING);
        };
        let whose = match tx.conn() {
            Connection::Sqlite(_) => TenantId(0),
            Connection::Postgres(_) => rule.tenant,
        };
        if let Some(bound) = self.found.get(&(whose, before)) {
            return Ok(*bound);
        }
        // Times later than the latest are those of a clock which was ahead.
        let id = id_range::first_kept(tx.conn(), whose, before, self.now.latest)?;
        // Without its row an inline delivery would look unattempted.
        let id = id.min(tx.materialized_upto()?.saturating_add(1));
        let bound = RetentionBound { before, id };
        self.found.insert((whose, before), bound);
        Ok(bound)
    }
}

impl RetentionBound {
    const NOTHING: Self = Self {
        before: Timestamp::EPOCH,
        id: 0,
    };
}
