//! Settling: attempts, and what they make of their deliveries.
//!
//! The next state is decided elsewhere (`model::delivery`); here it is only written, if the
//! delivery is still pending in the same round. An attempt that comes late is written down all
//! the same, and a success counts even then.

use model::attempt::{Attempt, Outcome};
use model::contract::Settlement;
use model::delivery::State;
use model::id::DeliveryId;
use model::time::Timestamp;
use rusqlite::{OptionalExtension, params};

use crate::sqlite::fault::Fault;
use crate::sqlite::standings::{CameTo, Fared};
use crate::sqlite::writer::Tx;
use crate::sqlite::{envelopes, rows, webhooks};

// A settlement that was written before finds one more attempt than it names. Without `returning`,
// which costs more than all the rest: it makes a table of its own. An attempt ahead of its time
// takes nothing from the round's schedule.
const SETTLE: &str = "
    update delivery
    set state = ?5, cause = ?6, attempts = attempts + 1, round_began_at = ?7, due_at = ?8,
      ended_at = ?9, round_start = round_start + ?10
    where notification_id = ?1 and webhook_id = ?2 and state in (0, 4) and round = ?3
      and attempts = ?4";
const IS_WRITTEN: &str = "
    select exists (
      select 1 from attempt
      where notification_id = ?1 and webhook_id = ?2 and number > ?3 and began_at = ?4)
    from delivery
    where notification_id = ?1 and webhook_id = ?2";
// A late attempt belongs to a round that is over, so it takes nothing from this one's schedule.
const COUNT_LATE: &str = "
    update delivery
    set attempts = attempts + 1,
      round_start = round_start + iif(round = ?3, 0, 1)
    where notification_id = ?1 and webhook_id = ?2
    returning attempts";
const LATE_SUCCESS: &str = "
    update delivery
    set state = 1, cause = null, round_began_at = null, due_at = null, ended_at = ?3
    where notification_id = ?1 and webhook_id = ?2 and state <> 1";
const ADD_ATTEMPT: &str = "
    insert into attempt
      (notification_id, webhook_id, number, began_at, duration_ms, envelope_id, status, failure,
       detail, headers, answer_id, body, body_end, next_due_at)
    values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)";

pub(crate) const STATEMENTS: &[&str] = &[SETTLE, IS_WRITTEN, COUNT_LATE, LATE_SUCCESS, ADD_ATTEMPT];

pub(crate) fn settle(tx: &mut Tx<'_>, batch: &[Settlement]) -> Result<(), Fault> {
    let mut fared = Fared::default();
    for settlement in batch {
        settle_one(tx, settlement, &mut fared)?;
    }
    fared.write(tx)
}

fn settle_one<'a>(
    tx: &mut Tx<'_>,
    settlement: &'a Settlement,
    fared: &mut Fared<'a>,
) -> Result<(), Fault> {
    if let Some(number) = settle_in_time(tx, settlement)? {
        let next_due_at = settlement.next.due_at;
        add_attempt(tx, settlement.id, number, &settlement.attempt, next_due_at)?;
        fared.add(settlement, CameTo::of(settlement.next.state));
    } else if let Some(came_to) = settle_late(tx, settlement)? {
        fared.add(settlement, came_to);
    } else {
        return Ok(());
    }
    if let Some(until) = settlement.next.pauses_until {
        webhooks::pause(tx, settlement, until)?;
    }
    if settlement.next.disables_webhook {
        webhooks::disable_gone(tx, settlement)?;
    }
    Ok(())
}

/// The number of the attempt, if the delivery was pending in its round.
fn settle_in_time(tx: &mut Tx<'_>, settlement: &Settlement) -> Result<Option<u32>, Fault> {
    let next = &settlement.next;
    let (state, cause) = rows::state_number(next.state);
    let ended = next.state.is_end();
    let settled = tx.hot.get(tx.conn, SETTLE)?.execute(params![
        settlement.id.notification.0,
        settlement.id.webhook.0,
        settlement.round,
        settlement.attempts,
        state,
        cause,
        (!ended).then_some(next.round_began_at.as_millis()),
        due_at(settlement),
        ended.then_some(settlement.ended_at.as_millis()),
        next.ahead,
    ])?;
    Ok((settled > 0).then_some(settlement.attempts.saturating_add(1)))
}

/// When a delivery is due that stays pending: the schedule names a time, else at once.
fn due_at(settlement: &Settlement) -> Option<i64> {
    let next = &settlement.next;
    let due_at = next.due_at.unwrap_or(settlement.ended_at);
    (!next.state.is_end()).then_some(due_at.as_millis())
}

/// Nothing is to be written for a delivery that is gone, nor for a settlement that was written
/// before, whose answer was lost.
fn settle_late(tx: &mut Tx<'_>, settlement: &Settlement) -> Result<Option<CameTo>, Fault> {
    let id = settlement.id;
    let (notification, webhook) = (id.notification.0, id.webhook.0);
    let began_at = settlement.attempt.began_at.as_millis();
    let written: Option<bool> = tx
        .conn
        .prepare_cached(IS_WRITTEN)?
        .query_row(
            params![notification, webhook, settlement.attempts, began_at],
            |row| row.get(0),
        )
        .optional()?;
    if written != Some(false) {
        return Ok(None);
    }
    let number = tx
        .conn
        .prepare_cached(COUNT_LATE)?
        .query_row(params![notification, webhook, settlement.round], |row| {
            row.get(0)
        })?;
    add_attempt(tx, id, number, &settlement.attempt, None)?;
    let mut ended = 0;
    if settlement.next.state == State::Delivered {
        ended = tx.conn.prepare_cached(LATE_SUCCESS)?.execute(params![
            notification,
            webhook,
            settlement.ended_at.as_millis()
        ])?;
    }
    Ok(Some(match ended {
        0 => CameTo::Nothing,
        _ => CameTo::Delivered,
    }))
}

fn add_attempt(
    tx: &mut Tx<'_>,
    id: DeliveryId,
    number: u32,
    attempt: &Attempt,
    next_due_at: Option<Timestamp>,
) -> Result<(), Fault> {
    let envelope = envelopes::intern(tx, attempt)?;
    let (answer, failure) = match &attempt.outcome {
        Outcome::Answered(answer) => (Some(answer), None),
        Outcome::Failed(failure) => (None, Some(failure)),
    };
    let answer_id = match answer {
        Some(answer) => envelopes::intern_answer(tx, &answer.headers)?,
        None => None,
    };
    let headers = answer.filter(|_| answer_id.is_none());
    tx.hot.get(tx.conn, ADD_ATTEMPT)?.execute(params![
        id.notification.0,
        id.webhook.0,
        number,
        attempt.began_at.as_millis(),
        attempt.duration_ms,
        envelope,
        answer.map(|answer| answer.status),
        failure.map(|failure| rows::failure_number(failure.kind)),
        failure
            .map(|failure| failure.detail.as_str())
            .filter(|detail| !detail.is_empty()),
        headers.and_then(|answer| rows::blob(&answer.headers.0)),
        answer_id,
        answer.and_then(|answer| rows::blob(&answer.body)),
        answer.and_then(|answer| rows::body_end_number(answer.body_end)),
        next_due_at.map(Timestamp::as_millis),
    ])?;
    Ok(())
}
