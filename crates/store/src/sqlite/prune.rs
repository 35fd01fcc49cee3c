//! Pruning: what ended and is old goes, in bounded steps. Nothing that is pending ever goes.
//!
//! Ids rise with the time of acceptance, so pruning walks along the ids until it meets what is
//! young enough. It remembers where it stopped: what must stay is not looked at in every step.

use model::id::{DeliveryId, NotificationId, WebhookId};
use model::limits;
use model::time::Timestamp;
use rusqlite::{OptionalExtension, params};

use crate::sqlite::envelopes::{self, Envelopes};
use crate::sqlite::fault::Fault;
use crate::sqlite::rows::PENDING;
use crate::sqlite::writer::Tx;

const NEXT: &str = "
    select id, accepted_at from notification
    where id >= ?1
    order by id
    limit 1";
const DELIVERIES: &str = "
    select webhook_id, state from delivery
    where notification_id = ?1 and webhook_id >= ?2
    order by webhook_id
    limit ?3";
// Attempts are numbered without gaps.
const DROP_ATTEMPTS: &str = "
    delete from attempt
    where notification_id = ?1 and webhook_id = ?2 and number < ?3 + (
      select min(number) from attempt where notification_id = ?1 and webhook_id = ?2)";
const DROP_DELIVERY: &str = "
    delete from delivery where notification_id = ?1 and webhook_id = ?2";
const DROP_NOTIFICATION: &str = "
    delete from notification
    where id = ?1 and not exists (select 1 from delivery where notification_id = ?1)";
const DROP_ANSWERS: &str = "
    delete from kept_answer where id in (
      select id from kept_answer indexed by kept_answer_age
      where kept_at < ?1
      limit ?2)";
const DROP_ENVELOPES: &str = "
    delete from envelope where id in (
      select id from envelope indexed by envelope_hash
      where day < ?1
      limit ?2)";

pub(crate) const STATEMENTS: &[&str] = &[
    NEXT,
    DELIVERIES,
    DROP_ATTEMPTS,
    DROP_DELIVERY,
    DROP_NOTIFICATION,
    DROP_ANSWERS,
    DROP_ENVELOPES,
];

/// Rows of one step: some ten milliseconds of work, which others may have to wait for. The pages
/// are old ones, so most have to be read first.
const STEP_ROWS: usize = 1_000;

const _: () = assert!(STEP_ROWS <= limits::SWEEP_ROWS_MAX);

/// Rows that this step may still look at or remove.
struct Budget(usize);

/// Removes what is old; answers whether there may be more.
pub(crate) fn prune(tx: &mut Tx<'_>, before: Timestamp, now: Timestamp) -> Result<bool, Fault> {
    let mut budget = Budget(STEP_ROWS);
    let kept_from = now.plus_ms(-limits::IDEMPOTENCY_KEPT_MS).as_millis();
    drop_some(tx, DROP_ANSWERS, kept_from, &mut budget)?;
    let mut from = tx.memory.pruned_to.take().unwrap_or(DeliveryId {
        notification: NotificationId(0),
        webhook: WebhookId(0),
    });
    while budget.left() {
        let next: Option<(i64, i64)> = tx
            .conn
            .prepare_cached(NEXT)?
            .query_row([from.notification.0], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let Some((id, _)) = next.filter(|(_, at)| *at < before.as_millis()) else {
            drop_envelopes(tx, &mut budget)?;
            return Ok(!budget.left());
        };
        if id != from.notification.0 {
            from.webhook = WebhookId(0);
        }
        from.notification = NotificationId(id);
        if let Some(stopped_at) = prune_one(tx, from, &mut budget)? {
            from.webhook = stopped_at;
        } else {
            from = DeliveryId {
                notification: NotificationId(id.saturating_add(1)),
                webhook: WebhookId(0),
            };
        }
    }
    tx.memory.pruned_to = Some(from);
    Ok(true)
}

/// Prunes one notification's deliveries from `from` on, and it too if none is left. Answers the
/// webhook to go on with, if the budget did not reach.
fn prune_one(
    tx: &Tx<'_>,
    from: DeliveryId,
    budget: &mut Budget,
) -> Result<Option<WebhookId>, Fault> {
    let notification = from.notification.0;
    let asked = budget.rows();
    let deliveries: Vec<(i64, i64)> = tx
        .conn
        .prepare_cached(DELIVERIES)?
        .query_map(params![notification, from.webhook.0, asked], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?
        .collect::<Result<_, _>>()?;
    for (webhook, state) in deliveries {
        if !budget.left() {
            return Ok(Some(WebhookId(webhook)));
        }
        if state == PENDING {
            budget.take(1);
            continue;
        }
        let room = budget.rows();
        let dropped =
            tx.conn
                .prepare_cached(DROP_ATTEMPTS)?
                .execute(params![notification, webhook, room])?;
        budget.take(dropped);
        if !budget.left() {
            return Ok(Some(WebhookId(webhook)));
        }
        tx.conn
            .prepare_cached(DROP_DELIVERY)?
            .execute([notification, webhook])?;
        budget.take(1);
    }
    if !budget.left() {
        // There may be deliveries beyond those that were asked for.
        return Ok(Some(from.webhook));
    }
    let dropped = tx
        .conn
        .prepare_cached(DROP_NOTIFICATION)?
        .execute([notification])?;
    budget.take(dropped);
    Ok(None)
}

/// Removes envelopes that no attempt is left of: those from before the oldest notification.
fn drop_envelopes(tx: &mut Tx<'_>, budget: &mut Budget) -> Result<(), Fault> {
    let oldest = tx
        .conn
        .prepare_cached(NEXT)?
        .query_row([0], |row| row.get(1))
        .optional()?;
    let day = match oldest {
        Some(at) => envelopes::day(Timestamp::from_millis(at)),
        None => {
            // Nothing is left at all, so what is remembered goes, too.
            tx.memory.envelopes = Envelopes::default();
            i64::MAX
        }
    };
    drop_some(tx, DROP_ENVELOPES, day, budget)
}

fn drop_some(
    tx: &Tx<'_>,
    sql: &'static str,
    before: i64,
    budget: &mut Budget,
) -> Result<(), Fault> {
    let dropped = tx
        .conn
        .prepare_cached(sql)?
        .execute([before, budget.rows()])?;
    budget.take(dropped);
    Ok(())
}

impl Budget {
    fn left(&self) -> bool {
        self.0 > 0
    }

    fn rows(&self) -> i64 {
        i64::try_from(self.0).unwrap_or(i64::MAX)
    }

    fn take(&mut self, rows: usize) {
        self.0 = self.0.saturating_sub(rows);
    }
}
