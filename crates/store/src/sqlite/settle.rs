//! Settling: writes attempts, and the next states of their deliveries.
//!
//! `model::delivery` decides the next state. Here it is only written, if the delivery is still
//! pending in the same round. A late attempt is written all the same, and counts if it was a
//! success.

use model::attempt::{Attempt, Failure, HttpResponse, Outcome};
use model::contract::Settlement;
use model::delivery::DeliveryState;
use model::id::DeliveryId;
use model::mutation::{Mutation, is_on};
use rusqlite::{CachedStatement, OptionalExtension, params};

use crate::sql::handshake;
use crate::sql::job_error::JobError;
use crate::sql::rows;
use crate::sql::webhook_health::{BatchHealth, HourlyOutcome};
use crate::sql::webhooks;
use crate::sqlite::tx::Tx;
use crate::sqlite::{envelopes, unattempted};

statements! {
    // Of an unattempted delivery that is delivered at once: the one write that most deliveries are.
    // The same as `FIRST`, without the values that are null or known then: each costs as much as
    // its binding.
    DELIVERED_AT_ONCE = "
        insert into delivery
          (webhook_id, notification_id, state, round, attempts, round_start, ended_at, began_at,
           duration_ms, envelope_id, status, answer_id, body)
        values (?2, ?1, 1, 1, 1, 0, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
    // Of an unattempted delivery.
    FIRST = "
        insert into delivery
          (webhook_id, notification_id, state, cause, round, attempts, round_start, round_began_at,
           due_at, ended_at, began_at, duration_ms, envelope_id, status, failure, detail, headers,
           answer_id, body_end, next_due_at, body, tried_at)
        values (?2, ?1, ?3, ?4, 1, ?20, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17,
          ?18, ?19, ?21)";
    // An early attempt takes nothing from the schedule of the round, nor does a call on a kept
    // connection that had ended.
    NEXT = "
        update delivery
        set state = ?3, cause = ?4, attempts = attempts + ?20, round_start = round_start + ?5,
          round_began_at = ?6, due_at = ?7, ended_at = ?8,
          began_at = ?9, duration_ms = ?10, envelope_id = ?11, status = ?12, failure = ?13,
          detail = ?14, headers = ?15, answer_id = ?16, body_end = ?17,
          next_due_at = iif(?5 and due_at = ?7, next_due_at, ?18), body = ?19, tried_at = ?21
        where notification_id = ?1 and webhook_id = ?2";
    // The attempt that was the latest until now.
    MOVE_LATEST = "
        insert into attempt
          (notification_id, webhook_id, number, began_at, duration_ms, envelope_id, status, failure,
           detail, headers, answer_id, body_end, next_due_at, body)
        select notification_id, webhook_id, attempts, began_at, duration_ms, envelope_id, status,
          failure, detail, headers, answer_id, body_end, next_due_at, body
        from delivery
        where notification_id = ?1 and webhook_id = ?2 and began_at is not null";
    STALE = "
        insert into attempt
          (notification_id, webhook_id, number, began_at, duration_ms, envelope_id, status, failure,
           detail, headers, answer_id, body_end, body)
        values (?1, ?2, 1 + coalesce((
            select attempts from delivery where notification_id = ?1 and webhook_id = ?2), 0),
          ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";
    DECIDE = "
        select state in (0, 4) and round = ?3 and attempts = ?4,
          (attempts > ?4 and began_at = ?5) or exists (
            select 1 from attempt
            where notification_id = ?1 and webhook_id = ?2 and number > ?4 and began_at = ?5)
        from delivery
        where notification_id = ?1 and webhook_id = ?2";
    // A late attempt belongs to a round that is over, so it takes nothing from the schedule of this
    // one.
    LATE = "
        update delivery
        set state = iif(state = 4, 0, state), attempts = attempts + ?14,
          round_start = round_start + iif(round = ?3, ?14 - 1, ?14),
          began_at = ?4, duration_ms = ?5, envelope_id = ?6, status = ?7, failure = ?8, detail = ?9,
          headers = ?10, answer_id = ?11, body_end = ?12, next_due_at = null, body = ?13,
          tried_at = ?15
        where notification_id = ?1 and webhook_id = ?2";
    LATE_SUCCESS = "
        update delivery
        set state = 1, cause = null, round_began_at = null, due_at = null, ended_at = ?3
        where notification_id = ?1 and webhook_id = ?2 and state <> 1";
}

/// What is to be done with a settlement.
enum SettleDecision {
    /// The delivery is pending in the same round, and its next attempt is this one.
    InTime,
    /// The attempt is an extra one.
    Late,
    /// Nothing is written: the delivery is gone, or this was written before and the answer was
    /// lost.
    Skip,
}

/// An attempt as it is written.
struct AttemptRow<'a> {
    attempt: &'a Attempt,
    answer: Option<&'a HttpResponse>,
    failure: Option<&'a Failure>,
    envelope: i64,
    answer_id: Option<i64>,
}

pub(crate) fn settle(tx: &mut Tx<'_>, batch: &[Settlement]) -> Result<(), JobError> {
    let mut health = BatchHealth::default();
    for settlement in batch {
        settle_one(tx, settlement, &mut health)?;
    }
    health.write(tx.conn.into())
}

fn settle_one<'a>(
    tx: &mut Tx<'_>,
    settlement: &'a Settlement,
    health: &mut BatchHealth<'a>,
) -> Result<(), JobError> {
    let is_first = (settlement.round, settlement.attempts) == (1, 0);
    if is_first && unattempted::take(tx, settlement.id)? {
        settle_first(tx, settlement)?;
        health.add(settlement, HourlyOutcome::of(settlement.next.state));
    } else {
        match settle_decision(tx, settlement)? {
            SettleDecision::Skip => return Ok(()),
            SettleDecision::InTime => {
                move_latest(tx, settlement.id)?;
                write_stale(tx, settlement)?;
                let written = AttemptRow::of(tx, &settlement.attempt)?;
                settle_in_time(tx, settlement, &written, NEXT)?;
                health.add(settlement, HourlyOutcome::of(settlement.next.state));
            }
            SettleDecision::Late => health.add(settlement, settle_late(tx, settlement)?),
        }
    }
    if let Some(until) = settlement.next.pauses_until {
        webhooks::pause(tx, settlement, until)?;
    }
    if let Some(answer) = &settlement.handshake {
        handshake::write(tx, settlement.id.webhook, answer)?;
    }
    if settlement.next.disables_webhook {
        webhooks::disable_gone(tx, settlement)?;
    }
    Ok(())
}

fn settle_decision(tx: &mut Tx<'_>, settlement: &Settlement) -> Result<SettleDecision, JobError> {
    let id = settlement.id;
    let found: Option<(bool, Option<bool>)> = tx
        .hot
        .get(tx.conn, DECIDE)?
        .query_row(
            params![
                id.notification.0,
                id.webhook.0,
                settlement.round,
                settlement.attempts,
                settlement.attempt.began_at.as_millis(),
            ],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()?;
    Ok(match found {
        // A settlement that was written before finds one attempt more than it names.
        Some((_, Some(true))) if !is_on(Mutation::SettleTwice) => SettleDecision::Skip,
        Some((true, _)) => SettleDecision::InTime,
        Some((false, _)) if is_on(Mutation::IgnoreRound) => SettleDecision::InTime,
        Some((false, _)) => SettleDecision::Late,
        None => {
            let now = tx.schedule_at(settlement.ended_at)?;
            // Unattempted, although it was attempted: a backup was restored, for example.
            match unattempted::defer(tx, id, now)? {
                true => SettleDecision::Late,
                false => SettleDecision::Skip,
            }
        }
    })
}

/// Writes the first attempt of an unattempted delivery.
fn settle_first(tx: &mut Tx<'_>, settlement: &Settlement) -> Result<(), JobError> {
    write_stale(tx, settlement)?;
    let written = AttemptRow::of(tx, &settlement.attempt)?;
    let (attempt, next) = (&settlement.attempt, &settlement.next);
    let is_delivered_at_once =
        next.state == DeliveryState::Delivered && !next.early && next.due_at.is_none();
    let is_delivered_at_once = is_delivered_at_once && settlement.stale.is_none();
    let delivered = written
        .answer
        .zip(written.answer_id)
        .filter(|(answer, _)| is_delivered_at_once && answer.note.is_none())
        .filter(|(answer, _)| rows::body_end_number(answer.body_end).is_none());
    let Some((answer, answer_id)) = delivered else {
        return settle_in_time(tx, settlement, &written, FIRST);
    };
    let statement = tx.hot.get(tx.conn, DELIVERED_AT_ONCE)?;
    statement.raw_bind_parameter(1, settlement.id.notification.0)?;
    statement.raw_bind_parameter(2, settlement.id.webhook.0)?;
    statement.raw_bind_parameter(3, settlement.ended_at.as_millis())?;
    statement.raw_bind_parameter(4, attempt.began_at.as_millis())?;
    statement.raw_bind_parameter(5, attempt.duration_ms)?;
    statement.raw_bind_parameter(6, written.envelope)?;
    statement.raw_bind_parameter(7, answer.status)?;
    statement.raw_bind_parameter(8, answer_id)?;
    statement.raw_bind_parameter(9, written.body())?;
    statement.raw_execute()?;
    Ok(())
}

/// Writes an attempt that the delivery waited for, by `FIRST` or `NEXT`.
fn settle_in_time(
    tx: &mut Tx<'_>,
    settlement: &Settlement,
    written: &AttemptRow<'_>,
    sql: &'static str,
) -> Result<(), JobError> {
    let next = &settlement.next;
    let (state, cause) = rows::state_number(next.state);
    let ended = next.state.is_end();
    // Future times are shown as wall-clock times, as they look now.
    let next_due_at = match next.due_at {
        Some(due_at) => Some(tx.wall(due_at)?.as_millis()),
        None => None,
    };
    let due_at = due_at(tx, settlement)?;
    let statement = tx.hot.get(tx.conn, sql)?;
    statement.raw_bind_parameter(1, settlement.id.notification.0)?;
    statement.raw_bind_parameter(2, settlement.id.webhook.0)?;
    statement.raw_bind_parameter(3, state)?;
    statement.raw_bind_parameter(4, cause)?;
    let free = settlement.calls() - u32::from(!next.early);
    statement.raw_bind_parameter(5, free)?;
    let began_at = (!ended).then_some(next.round_began_at.as_millis());
    statement.raw_bind_parameter(6, began_at)?;
    statement.raw_bind_parameter(7, due_at)?;
    let ended_at = ended.then_some(settlement.ended_at.as_millis());
    statement.raw_bind_parameter(8, ended_at)?;
    written.bind(statement, 9)?;
    statement.raw_bind_parameter(18, next_due_at)?;
    statement.raw_bind_parameter(19, written.body())?;
    statement.raw_bind_parameter(20, settlement.calls())?;
    let tried_at = (!ended).then_some(next.began_at.as_millis());
    statement.raw_bind_parameter(21, tried_at)?;
    statement.raw_execute()?;
    Ok(())
}

/// When a delivery that stays pending is due: at the time of the schedule, else at once.
fn due_at(tx: &mut Tx<'_>, settlement: &Settlement) -> Result<Option<i64>, JobError> {
    let next = &settlement.next;
    if next.state.is_end() {
        return Ok(None);
    }
    let due_at = match next.due_at {
        Some(due_at) => due_at,
        None => tx.schedule_at(settlement.ended_at)?,
    };
    Ok(Some(due_at.as_millis()))
}

fn settle_late(tx: &mut Tx<'_>, settlement: &Settlement) -> Result<HourlyOutcome, JobError> {
    let keys = (settlement.id.notification.0, settlement.id.webhook.0);
    move_latest(tx, settlement.id)?;
    write_stale(tx, settlement)?;
    let written = AttemptRow::of(tx, &settlement.attempt)?;
    let statement = tx.hot.get(tx.conn, LATE)?;
    statement.raw_bind_parameter(1, keys.0)?;
    statement.raw_bind_parameter(2, keys.1)?;
    statement.raw_bind_parameter(3, settlement.round)?;
    written.bind(statement, 4)?;
    statement.raw_bind_parameter(13, written.body())?;
    statement.raw_bind_parameter(14, settlement.calls())?;
    statement.raw_bind_parameter(15, settlement.next.began_at.as_millis())?;
    statement.raw_execute()?;
    if settlement.next.state != DeliveryState::Delivered {
        return Ok(HourlyOutcome::Nothing);
    }
    let ended_at = settlement.ended_at.as_millis();
    let mut success = tx.conn.prepare_cached(LATE_SUCCESS)?;
    Ok(match success.execute((keys.0, keys.1, ended_at))? {
        0 => HourlyOutcome::Nothing,
        _ => HourlyOutcome::Delivered,
    })
}

/// Moves the latest attempt out of the delivery's row, if there is one.
fn move_latest(tx: &mut Tx<'_>, id: DeliveryId) -> Result<(), JobError> {
    if is_on(Mutation::OmitAttempt) {
        return Ok(());
    }
    let keys = [id.notification.0, id.webhook.0];
    tx.hot.get(tx.conn, MOVE_LATEST)?.execute(keys)?;
    Ok(())
}

/// Writes the call before the attempt that met an ended connection, if there was one.
fn write_stale(tx: &mut Tx<'_>, settlement: &Settlement) -> Result<(), JobError> {
    let Some(stale) = &settlement.stale else {
        return Ok(());
    };
    let written = AttemptRow::of(tx, stale)?;
    let statement = tx.hot.get(tx.conn, STALE)?;
    statement.raw_bind_parameter(1, settlement.id.notification.0)?;
    statement.raw_bind_parameter(2, settlement.id.webhook.0)?;
    written.bind(statement, 3)?;
    statement.raw_bind_parameter(12, written.body())?;
    statement.raw_execute()?;
    Ok(())
}

impl<'a> AttemptRow<'a> {
    fn of(tx: &mut Tx<'_>, attempt: &'a Attempt) -> Result<Self, JobError> {
        let (answer, failure) = match &attempt.outcome {
            Outcome::Answered(answer) => (Some(answer), None),
            Outcome::Failed(failure) => (None, Some(failure)),
        };
        Ok(Self {
            attempt,
            answer,
            failure,
            envelope: envelopes::intern(tx, attempt)?,
            answer_id: match answer {
                Some(answer) => envelopes::intern_response(tx, &answer.headers)?,
                None => None,
            },
        })
    }

    /// Binds `began_at, duration_ms, envelope_id, status, failure, detail, headers, answer_id,
    /// body_end` from parameter `from` on.
    fn bind(&self, statement: &mut CachedStatement<'_>, from: usize) -> Result<(), JobError> {
        let Self {
            attempt,
            answer,
            failure,
            ..
        } = self;
        let detail = failure.map(|failure| failure.detail.as_str());
        let detail = detail.or_else(|| answer.and_then(|answer| answer.note.as_deref()));
        // Header lines in an envelope are not written again.
        let headers = answer.filter(|_| self.answer_id.is_none());
        let headers = headers.and_then(|answer| rows::blob(&answer.headers.0));
        let body_end = answer.and_then(|answer| rows::body_end_number(answer.body_end));
        let failure = failure.map(|failure| rows::failure_number(failure.kind));
        statement.raw_bind_parameter(from, attempt.began_at.as_millis())?;
        statement.raw_bind_parameter(from + 1, attempt.duration_ms)?;
        statement.raw_bind_parameter(from + 2, self.envelope)?;
        statement.raw_bind_parameter(from + 3, answer.map(|answer| answer.status))?;
        statement.raw_bind_parameter(from + 4, failure)?;
        statement.raw_bind_parameter(from + 5, detail.filter(|detail| !detail.is_empty()))?;
        statement.raw_bind_parameter(from + 6, headers)?;
        statement.raw_bind_parameter(from + 7, self.answer_id)?;
        statement.raw_bind_parameter(from + 8, body_end)?;
        Ok(())
    }

    fn body(&self) -> Option<&[u8]> {
        self.answer.and_then(|answer| rows::blob(&answer.body))
    }
}
