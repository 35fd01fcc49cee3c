//! Settling: writes attempts, and the next states of their deliveries.
//!
//! `model::delivery` decides the next state. Here it is only written, if the delivery is still
//! pending in the same round. A late attempt is written all the same, and counts if it was a
//! success.
//!
//! A batch is written as if one settlement after the other were: all of it at once, as long as none
//! decides about a delivery that another one has changed (`parts`). First the unattempted ones are
//! taken and the rows of others locked, then everything is written. What most batches are takes two
//! round trips.

use std::collections::{BTreeMap, BTreeSet};

use model::attempt::Attempt;
use model::contract::Settlement;
use model::delivery::DeliveryState;
use model::id::{DeliveryId, NotificationId, TenantId, WebhookId};
use model::lease_table::fence_outcomes;
use model::mutation::{Mutation, is_on};
use model::time::{Moment, Timestamp};
use tokio_postgres::Row;

use crate::postgres::batch::{Batch, Parameter};
use crate::postgres::connection::PostgresConnection;
use crate::postgres::envelopes::{self, Interned};
use crate::postgres::health_columns::HealthColumns;
use crate::postgres::settle_columns::{DeliveryColumns, KeyColumns, SettleColumns, integer};
use crate::postgres::tx::PostgresTx;
use crate::postgres::{locks, schedule, unattempted};
use crate::sql::handshake;
use crate::sql::heartbeat::{schedule_at, wall_at};
use crate::sql::job_error::{CorruptRow, JobError};
use crate::sql::row::ReadRow;
use crate::sql::rows;
use crate::sql::webhook_health::{BatchHealth, HourlyOutcome};
use crate::sql::webhooks;

statements! {
    // Locks the rows, in the order given.
    DECIDE = "
        select found.webhook_id, found.notification_id, found.state, found.cause, found.round,
          found.attempts, found.round_start, found.round_began_at, found.due_at, found.ended_at,
          found.next_due_at, found.tried_at,
          found.attempts > asked.attempts and found.began_at = asked.began_at or exists (
            select 1 from attempt
            where tenant_id = asked.tenant_id and notification_id = asked.notification_id
              and webhook_id = asked.webhook_id and number > asked.attempts
              and began_at = asked.began_at)
        from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::integer[], $5::bigint[])
          as asked (tenant_id, webhook_id, notification_id, attempts, began_at)
        cross join lateral (
          select webhook_id, notification_id, state, cause, round, attempts, round_start,
            round_began_at, due_at, ended_at, next_due_at, tried_at, began_at
          from delivery
          where tenant_id = asked.tenant_id and webhook_id = asked.webhook_id
            and notification_id = asked.notification_id
          limit 1
          for update) as found";
    // `unattempted::TAKE` and `envelopes::HOLD` in one, because each statement has its cost. Says
    // with each delivery that it takes whether the day is held.
    TAKE_AND_HOLD = "
        with held as (
          select id from envelope_day
          where id = $4 and not closed
          for key share)
        delete from fresh where ctid = any(array(
          select found.place
          from unnest($1::bigint[], $2::bigint[], $3::bigint[])
            as asked (tenant_id, webhook_id, notification_id)
          cross join lateral (
            select ctid as place from fresh
            where tenant_id = asked.tenant_id and webhook_id = asked.webhook_id
              and notification_id = asked.notification_id
            limit 1) as found))
        returning webhook_id, notification_id, (select id from held) is not null";
    TENANTS = "select id, tenant_id from webhook where id = any($1::bigint[])";
    // Those that can be disabled by what their receiver says.
    ENABLED = "
        select id, tenant_id, version from webhook
        where id = any($1::bigint[]) and disabled_at is null";
}

/// So many webhooks are known with their tenants.
const TENANTS_MAX: usize = 65_536;

/// What is to be done with a settlement.
enum SettleDecision {
    /// The delivery was unattempted.
    First,
    /// It is pending in the same round, and its next attempt is this one.
    InTime(DeliveryColumns),
    /// The attempt is an extra one.
    Late(DeliveryColumns),
}

/// A settlement that is to be written, and what its delivery is until then.
struct Decided<'a> {
    settlement: &'a Settlement,
    tenant: i64,
    decision: SettleDecision,
}

/// What was found of the deliveries of a batch.
#[derive(Default)]
struct Found {
    /// The latest heartbeat, if it was asked for.
    latest: Option<Moment>,
    /// What was unattempted, and is taken.
    taken: BTreeSet<DeliveryId>,
    rows: BTreeMap<DeliveryId, FoundRow>,
}

/// A delivery's row, locked.
struct FoundRow {
    columns: DeliveryColumns,
    /// Whether the settlement was written before.
    is_written: bool,
    /// Whether any attempt is an extra one.
    is_extra: bool,
}

/// Rows to be written, and what each settlement counts as.
struct Written<'a> {
    columns: SettleColumns<'a>,
    outcomes: Vec<HourlyOutcome>,
}

/// Writes a batch. `Fenced` if a webhook is another owner's. After an error that may come of one
/// settlement the transaction is to be undone, and parts of the batch may be tried again.
pub(crate) fn settle(tx: &mut PostgresTx<'_>, batch: &[Settlement]) -> Result<(), JobError> {
    fence_outcomes(tx.slots, batch)?;
    lock_gone(tx.conn, batch)?;
    let mut health = BatchHealth::default();
    let mut is_counted = false;
    let parts = parts(batch);
    for (number, part) in (1..).zip(&parts) {
        let (decided, latest) = decide(tx, part)?;
        let written = Written::of(tx, &decided, latest)?;
        for (one, outcome) in decided.iter().zip(&written.outcomes) {
            health.add(one.settlement, *outcome);
        }
        let asks = decided.iter().any(|one| {
            let next = &one.settlement.next;
            let answers = one.settlement.handshake.is_some();
            next.disables_webhook || next.pauses_until.is_some() || answers
        });
        // With the last part, if nothing follows it.
        let is_last = number == parts.len() && !asks;
        let columns = is_last.then(|| HealthColumns::of(&health));
        is_counted |= is_last;
        let mut batch = Batch::default();
        written.columns.send(columns.as_ref(), &mut batch);
        batch.send(tx.conn.session())?;
        if asks {
            obey(tx, &decided)?;
        }
    }
    if !is_counted {
        let columns = HealthColumns::of(&health);
        let mut batch = Batch::default();
        columns.write(&mut batch);
        batch.send(tx.conn.session())?;
    }
    Ok(())
}

/// Parts that can be written at once, one after the other: of each delivery one settlement, and at
/// most one that disables its webhook, as the last.
fn parts(batch: &[Settlement]) -> Vec<&[Settlement]> {
    let mut parts = Vec::new();
    let mut rest = batch;
    while !rest.is_empty() {
        let mut seen = BTreeSet::new();
        let mut is_gone = false;
        let count = rest
            .iter()
            .take_while(|one| {
                let is_next = !is_gone && seen.insert(one.id);
                is_gone |= one.next.disables_webhook;
                is_next
            })
            .count();
        let (part, behind) = rest.split_at(count);
        parts.push(part);
        rest = behind;
    }
    parts
}

/// If webhooks are to be disabled, what a change of the catalog needs is locked before anything
/// else. Others of a catalog's changes wait for rows that are locked here.
fn lock_gone(conn: &PostgresConnection, batch: &[Settlement]) -> Result<(), JobError> {
    let gone = batch.iter().filter(|one| one.next.disables_webhook);
    let gone: Vec<(i64, i64)> = gone
        .map(|one| (one.id.webhook.0, one.webhook_version))
        .collect();
    if gone.is_empty() {
        return Ok(());
    }
    let webhooks: Vec<i64> = gone.iter().map(|(webhook, _)| *webhook).collect();
    let mut keys = BTreeSet::new();
    for row in &conn.session().query(ENABLED, &[&webhooks])? {
        // Of another version it is not disabled, and never will be by this.
        if gone.contains(&(row.column(0)?, row.column(2)?)) {
            keys.insert(locks::CATALOG);
            keys.extend(locks::of_change(TenantId(row.column(1)?)));
        }
    }
    if keys.is_empty() {
        return Ok(());
    }
    let keys: Vec<_> = keys.into_iter().collect();
    locks::take(conn, &keys)
}

/// Takes and locks the deliveries of a part, and decides what is to be done. Answers what is to be
/// written, in order, and the latest heartbeat as far as that needs it. Nothing is written of a
/// delivery that is gone, or if it was written before and the answer was lost.
fn decide<'a>(
    tx: &mut PostgresTx<'_>,
    part: &'a [Settlement],
) -> Result<(Vec<Decided<'a>>, Option<Moment>), JobError> {
    learn_tenants(tx, part)?;
    let known = part.iter().filter_map(|settlement| {
        let tenant = tx.cache.settle.tenants.get(&settlement.id.webhook);
        tenant.map(|tenant| (*tenant, settlement))
    });
    let mut known: Vec<(i64, &Settlement)> = known.collect();
    // Rows are locked in this order.
    known.sort_by_key(|(_, settlement)| (settlement.id.webhook, settlement.id.notification));
    let found = find(tx, &known)?;
    let tenants: BTreeMap<DeliveryId, i64> = known
        .iter()
        .map(|(tenant, settlement)| (settlement.id, *tenant))
        .collect();
    let decided = part.iter().filter_map(|settlement| {
        Some(Decided {
            settlement,
            tenant: *tenants.get(&settlement.id)?,
            decision: found.decide(settlement)?,
        })
    });
    Ok((decided.collect(), found.latest))
}

/// What there is of these deliveries, by a question that most often is the only one.
fn find(tx: &mut PostgresTx<'_>, known: &[(i64, &Settlement)]) -> Result<Found, JobError> {
    let envelopes = &mut tx.cache.settle.envelopes;
    let is_first = |settlement: &Settlement| (settlement.round, settlement.attempts) == (1, 0);
    let (first, others): (Vec<_>, Vec<_>) =
        known.iter().copied().partition(|(_, one)| is_first(one));
    let (taken, decided) = (AskedColumns::of(&first), AskedColumns::of(&others));
    let day = envelopes.open_day();
    let mut batch = Batch::default();
    let take = match &day {
        Some(day) => taken.take_and_hold(day, &mut batch),
        None => taken.take(&mut batch),
    };
    let asks_time = known.iter().any(|(_, one)| !one.next.state.is_end());
    let latest = asks_time.then(|| batch.add(schedule::LATEST, []));
    let decide = decided.decide(&mut batch);
    let answers = batch.send(tx.conn.session())?;
    if let Some(day) = day {
        let is_held = match answers.rows(take).first() {
            Some(row) => row.column(2)?,
            None => envelopes::hold(tx.conn, day)?,
        };
        if !is_held {
            envelopes.forget();
        }
    }
    let mut found = Found {
        latest: schedule::latest_of(answers.rows(latest))?,
        ..Found::default()
    };
    found.add_taken(answers.rows(take))?;
    found.add_rows(answers.rows(decide))?;
    found.look_again(tx.conn, &first, &others)?;
    Ok(found)
}

/// Learns whose the webhooks are. A webhook that is gone has nothing left.
fn learn_tenants(tx: &mut PostgresTx<'_>, part: &[Settlement]) -> Result<(), JobError> {
    let tenants = &mut tx.cache.settle.tenants;
    let webhooks = part.iter().map(|settlement| settlement.id.webhook);
    let unknown: BTreeSet<WebhookId> = webhooks
        .filter(|webhook| !tenants.contains_key(webhook))
        .collect();
    if unknown.is_empty() {
        return Ok(());
    }
    if tenants.len() + unknown.len() > TENANTS_MAX {
        tenants.clear();
        return learn_tenants(tx, part);
    }
    let unknown: Vec<i64> = unknown.iter().map(|webhook| webhook.0).collect();
    for row in &tx.conn.session().query(TENANTS, &[&unknown])? {
        tenants.insert(WebhookId(row.column(0)?), row.column(1)?);
    }
    Ok(())
}

/// Does what receivers ask for beside.
fn obey(tx: &mut PostgresTx<'_>, decided: &[Decided<'_>]) -> Result<(), JobError> {
    // Of each version of a webhook the longest pause.
    let mut pauses: BTreeMap<(WebhookId, i64), (Timestamp, &Settlement)> = BTreeMap::new();
    for Decided { settlement, .. } in decided {
        if let Some(until) = settlement.next.pauses_until {
            let version = (settlement.id.webhook, settlement.webhook_version);
            let longest = pauses.entry(version).or_insert((until, settlement));
            longest.0 = longest.0.max(until);
        }
    }
    for (until, settlement) in pauses.into_values() {
        webhooks::pause(tx, settlement, until)?;
    }
    let answers = decided.iter().filter_map(|one| {
        let answer = one.settlement.handshake.as_deref();
        Some((one.settlement.id.webhook, answer?))
    });
    // Of a webhook the latest.
    for (webhook, answer) in answers.collect::<BTreeMap<_, _>>() {
        handshake::write(tx, webhook, answer)?;
    }
    for Decided { settlement, .. } in decided {
        if settlement.next.disables_webhook {
            webhooks::disable_gone(tx, settlement)?;
        }
    }
    Ok(())
}

/// Keys of deliveries that are asked for, and by what a settlement that was written is known again.
#[derive(Default)]
struct AskedColumns {
    keys: KeyColumns,
    attempts: Vec<i32>,
    began_at: Vec<i64>,
}

impl AskedColumns {
    fn of(asked: &[(i64, &Settlement)]) -> Self {
        let mut columns = Self::default();
        for (tenant, settlement) in asked {
            columns.keys.push(*tenant, settlement.id);
            columns.attempts.push(integer(settlement.attempts));
            let began_at = settlement.attempt.began_at.as_millis();
            columns.began_at.push(began_at);
        }
        columns
    }

    /// Adds the statement that takes what is unattempted of these, if there are any. Answers the
    /// place of its answer.
    fn take<'a>(&'a self, batch: &mut Batch<'a>) -> Option<usize> {
        let is_asked = !self.keys.is_empty();
        is_asked.then(|| batch.add(unattempted::TAKE, self.keys.values()))
    }

    /// The same for the one that holds the day of envelopes as well.
    fn take_and_hold<'a>(&'a self, day: &'a i64, batch: &mut Batch<'a>) -> Option<usize> {
        let is_asked = !self.keys.is_empty();
        let day: Parameter<'a> = day;
        let values = self.keys.values().into_iter().chain([day]);
        is_asked.then(|| batch.add(TAKE_AND_HOLD, values))
    }

    /// The same for the one that locks rows.
    fn decide<'a>(&'a self, batch: &mut Batch<'a>) -> Option<usize> {
        let is_asked = !self.keys.is_empty();
        is_asked.then(|| {
            let rest: [Parameter<'a>; 2] = [&self.attempts, &self.began_at];
            batch.add(DECIDE, self.keys.values().into_iter().chain(rest))
        })
    }
}

impl Found {
    fn add_taken(&mut self, rows: &[Row]) -> Result<(), JobError> {
        for row in rows {
            self.taken.insert(delivery_id(row)?);
        }
        Ok(())
    }

    fn add_rows(&mut self, rows: &[Row]) -> Result<(), JobError> {
        for row in rows {
            let found = FoundRow {
                columns: DeliveryColumns {
                    state: row.column(2)?,
                    cause: row.column(3)?,
                    round: row.column(4)?,
                    attempts: row.column(5)?,
                    round_start: row.column(6)?,
                    round_began_at: row.column(7)?,
                    due_at: row.column(8)?,
                    ended_at: row.column(9)?,
                    next_due_at: row.column(10)?,
                    tried_at: row.column(11)?,
                },
                is_written: row.column::<Option<bool>>(12)?.unwrap_or(false),
                is_extra: false,
            };
            self.rows.insert(delivery_id(row)?, found);
        }
        Ok(())
    }

    /// Looks elsewhere for what was not found where it was to be expected: somebody may have
    /// deferred it meanwhile; or it is unattempted, although it was attempted: a backup was
    /// restored, for example.
    fn look_again(
        &mut self,
        conn: &PostgresConnection,
        first: &[(i64, &Settlement)],
        others: &[(i64, &Settlement)],
    ) -> Result<(), JobError> {
        let first = first
            .iter()
            .filter(|(_, one)| !self.taken.contains(&one.id));
        let first: Vec<(i64, &Settlement)> = first.copied().collect();
        let others = others
            .iter()
            .filter(|(_, one)| !self.rows.contains_key(&one.id));
        let others: Vec<(i64, &Settlement)> = others.copied().collect();
        if first.is_empty() && others.is_empty() {
            return Ok(());
        }
        let (decided, taken) = (AskedColumns::of(&first), AskedColumns::of(&others));
        let mut batch = Batch::default();
        let latest = Some(batch.add(schedule::LATEST, []));
        let (take, decide) = (taken.take(&mut batch), decided.decide(&mut batch));
        let answers = batch.send(conn.session())?;
        self.latest = schedule::latest_of(answers.rows(latest))?;
        self.add_rows(answers.rows(decide))?;
        let unattempted = answers.rows(take).iter().map(delivery_id);
        let unattempted: BTreeSet<DeliveryId> = unattempted.collect::<Result<_, _>>()?;
        for (_, settlement) in others {
            if unattempted.contains(&settlement.id) {
                let now = schedule_at(self.latest, settlement.ended_at);
                self.rows.insert(settlement.id, FoundRow::deferred(now));
            }
        }
        Ok(())
    }

    /// What is to be done with a settlement. `None` if its delivery is gone, or if it was written
    /// before and the answer was lost.
    fn decide(&self, settlement: &Settlement) -> Option<SettleDecision> {
        if self.taken.contains(&settlement.id) {
            return Some(SettleDecision::First);
        }
        let FoundRow {
            columns,
            is_written,
            is_extra,
        } = self.rows.get(&settlement.id)?;
        // A settlement that was written before finds one attempt more than it names.
        if *is_written && !is_on(Mutation::SettleTwice) {
            return None;
        }
        let is_awaited = [rows::RETRYING, rows::UNATTEMPTED].contains(&columns.state)
            && (columns.round, columns.attempts) == (settlement.round, settlement.attempts);
        match !is_extra && (is_awaited || is_on(Mutation::IgnoreRound)) {
            true => Some(SettleDecision::InTime(*columns)),
            false => Some(SettleDecision::Late(*columns)),
        }
    }
}

impl FoundRow {
    /// An unattempted delivery that waits until then.
    fn deferred(due_at: Timestamp) -> Self {
        Self {
            columns: DeliveryColumns {
                state: rows::UNATTEMPTED,
                round: 1,
                due_at: Some(due_at.as_millis()),
                ..DeliveryColumns::default()
            },
            is_written: false,
            is_extra: true,
        }
    }
}

impl<'a> Written<'a> {
    fn of(
        tx: &mut PostgresTx<'_>,
        decided: &[Decided<'a>],
        latest: Option<Moment>,
    ) -> Result<Self, JobError> {
        let mut written = Self {
            columns: SettleColumns::default(),
            outcomes: Vec::with_capacity(decided.len()),
        };
        let mut interned = intern(tx, decided)?.into_iter();
        for one in decided {
            let outcome = written.add(one, latest, &mut interned);
            let outcome = outcome.ok_or(CorruptRow("envelope"))?;
            written.outcomes.push(outcome);
        }
        Ok(written)
    }

    /// Answers what it counts as; `None` if an envelope is missing.
    fn add(
        &mut self,
        one: &Decided<'a>,
        latest: Option<Moment>,
        interned: &mut impl Iterator<Item = Interned>,
    ) -> Option<HourlyOutcome> {
        let Decided {
            settlement,
            tenant,
            ref decision,
        } = *one;
        let id = settlement.id;
        let before = decision.before();
        if before.is_some() && !is_on(Mutation::OmitAttempt) {
            self.columns.move_latest(tenant, id);
        }
        if let Some(stale) = &settlement.stale {
            let number = before.map_or(0, |before| before.attempts).saturating_add(1);
            self.columns
                .add_stale(tenant, id, number, stale, interned.next()?);
        }
        let interned = interned.next()?;
        let state = HourlyOutcome::of(settlement.next.state);
        let (row, outcome) = match decision {
            SettleDecision::First if SettleColumns::is_delivered_at_once(settlement) => {
                self.columns.deliver_at_once(tenant, settlement, interned);
                return Some(state);
            }
            SettleDecision::First => (first(settlement, latest), state),
            SettleDecision::InTime(before) => (in_time(before, settlement, latest), state),
            SettleDecision::Late(before) => late(before, settlement),
        };
        self.columns.write(tenant, settlement, row, interned);
        Some(outcome)
    }
}

impl SettleDecision {
    /// The row until now, if there is one.
    fn before(&self) -> Option<&DeliveryColumns> {
        match self {
            Self::First => None,
            Self::InTime(before) | Self::Late(before) => Some(before),
        }
    }
}

/// The envelopes of all calls, in the order in which they are written: one that met a connection
/// which had ended is before its attempt.
fn intern(tx: &mut PostgresTx<'_>, decided: &[Decided<'_>]) -> Result<Vec<Interned>, JobError> {
    let notifications = decided.iter().map(|one| one.settlement.id.notification);
    let ends = decided.iter().map(|one| one.settlement.ended_at);
    let (Some(latest), Some(at)) = (notifications.max(), ends.max()) else {
        return Ok(Vec::new());
    };
    let calls = decided.iter().flat_map(|one| {
        let stale = one.settlement.stale.as_deref();
        stale.into_iter().chain([&one.settlement.attempt])
    });
    let calls: Vec<&Attempt> = calls.collect();
    envelopes::intern(tx.conn, &mut tx.cache.settle.envelopes, &calls, latest, at)
}

/// The row of a delivery that was unattempted.
fn first(settlement: &Settlement, latest: Option<Moment>) -> DeliveryColumns {
    let unattempted = DeliveryColumns {
        round: 1,
        ..DeliveryColumns::default()
    };
    in_time(&unattempted, settlement, latest)
}

/// The row after an attempt that the delivery waited for.
fn in_time(
    before: &DeliveryColumns,
    settlement: &Settlement,
    latest: Option<Moment>,
) -> DeliveryColumns {
    let next = &settlement.next;
    let (state, cause) = rows::state_number(next.state);
    let is_owed = !next.state.is_end();
    // An early attempt takes nothing from the schedule of the round, nor does a call on a kept
    // connection that had ended.
    let free = settlement.calls() - u32::from(!next.early);
    let due_at = is_owed.then(|| {
        let due_at = next.due_at;
        due_at.unwrap_or_else(|| schedule_at(latest, settlement.ended_at))
    });
    let due_at = due_at.map(Timestamp::as_millis);
    // Future times are shown as wall-clock times, as they look now.
    let next_due_at = next
        .due_at
        .map(|due_at| wall_at(latest, due_at).as_millis());
    let stays = free > 0 && due_at.is_some() && before.due_at == due_at;
    DeliveryColumns {
        state,
        cause,
        round: before.round,
        attempts: before.attempts.saturating_add(settlement.calls()),
        round_start: before.round_start.saturating_add(free),
        round_began_at: is_owed.then_some(next.round_began_at.as_millis()),
        due_at,
        ended_at: (!is_owed).then_some(settlement.ended_at.as_millis()),
        next_due_at: if stays {
            before.next_due_at
        } else {
            next_due_at
        },
        tried_at: is_owed.then_some(next.began_at.as_millis()),
    }
}

/// The row after an extra attempt, and what that counts as.
fn late(before: &DeliveryColumns, settlement: &Settlement) -> (DeliveryColumns, HourlyOutcome) {
    let calls = settlement.calls();
    // It belongs to a round that is over, so it takes nothing from the schedule of this one.
    let free = match before.round == settlement.round {
        true => calls - 1,
        false => calls,
    };
    let state = match before.state {
        rows::UNATTEMPTED => rows::RETRYING,
        state => state,
    };
    let row = DeliveryColumns {
        state,
        attempts: before.attempts.saturating_add(calls),
        round_start: before.round_start.saturating_add(free),
        next_due_at: None,
        tried_at: Some(settlement.next.began_at.as_millis()),
        ..*before
    };
    if settlement.next.state != DeliveryState::Delivered || state == rows::DELIVERED {
        return (row, HourlyOutcome::Nothing);
    }
    let row = DeliveryColumns {
        state: rows::DELIVERED,
        cause: None,
        round_began_at: None,
        due_at: None,
        ended_at: Some(settlement.ended_at.as_millis()),
        ..row
    };
    (row, HourlyOutcome::Delivered)
}

/// `webhook_id, notification_id` from 0 on.
fn delivery_id(row: &Row) -> Result<DeliveryId, JobError> {
    Ok(DeliveryId {
        webhook: WebhookId(row.column(0)?),
        notification: NotificationId(row.column(1)?),
    })
}
