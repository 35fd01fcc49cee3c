//! Statistics: tallies of attempts as they come, merged by the hour, and added up for a chart.
//!
//! Rows are sorted by period first. So what is written at one time lies together, whoever's it is,
//! and a webhook without attempts costs nothing; a reader seeks once for each period that it asks
//! for. Merging takes rows of one hour, in the order of their owners, and is itself what removes
//! them, so that two nodes that merge at once count nothing twice.

use std::collections::BTreeMap;

use bytes::Bytes;
use model::limits::{TALLIES_FINE_MS, TALLIES_KEPT_MS, TALLY_PARTS_MAX, TALLY_ROWS_MAX};
use model::statistics::{AttemptTally, PERIOD_MS, StatisticsQuery, TallyOwner, TallyRow};
use model::time::{TimeBounds, Timestamp};

use crate::postgres;
use crate::postgres::statistics::TallyPlace;
use crate::seldom::Seldom;
use crate::sql::job_error::JobError;
use crate::sql::row_budget::RowBudget;
use crate::sql::transaction::Transaction;
use crate::sql::{Connection, query, rows, webhook_rows};

shared_statements! {
    INSERT = "
        insert into statistic (minutes, starts_at, owner_id, part, tally)
        values (?1, ?2, ?3, ?4, ?5)
        on conflict do nothing";
    READ = "
        select tally from statistic
        where minutes = ?1 and starts_at = ?2 and owner_id = ?3
        limit ?4";
    FIRST = "
        select starts_at from statistic
        where minutes = ?1
        order by starts_at
        limit 1";
    LAST = "
        select starts_at from statistic
        where minutes = ?1
        order by starts_at desc
        limit 1";
    BOUND = "
        select owner_id from statistic
        where minutes = ?1 and starts_at = ?2
        order by owner_id
        limit 1 offset ?3";
    TAKE = "
        delete from statistic
        where minutes = ?1 and starts_at = ?2 and owner_id <= ?3
        returning owner_id, part, tally";
    DROP = "
        delete from statistic
        where minutes = ?1 and starts_at = ?2 and owner_id <= ?3";
}

/// How long a period is, in minutes: as it comes, and merged.
const FINE: i64 = 5;
const HOURLY: i64 = 60;

const HOUR_MS: i64 = 60 * 60_000;

const _: () = assert!(FINE * 60_000 == PERIOD_MS);

/// Writes rows down that are not there yet.
pub(crate) fn record(conn: Connection<'_>, rows: &[TallyRow]) -> Result<(), JobError> {
    let rows = rows.iter().take(TALLY_ROWS_MAX);
    let rows = rows.map(|row| (place_of(row), row.tally.to_bytes()));
    write(conn, FINE, &rows.collect::<Vec<_>>())
}

fn write(
    conn: Connection<'_>,
    minutes: i64,
    rows: &[(TallyPlace, Vec<u8>)],
) -> Result<(), JobError> {
    match conn {
        Connection::Sqlite(_) => {
            let mut insert = conn.prepare(INSERT)?;
            for ((starts_at, owner, part), tally) in rows {
                insert.execute(values![minutes, starts_at, owner, part, tally.as_slice()])?;
            }
            Ok(())
        }
        Connection::Postgres(conn) => postgres::statistics::insert(conn, minutes, rows),
    }
}

fn place_of(row: &TallyRow) -> TallyPlace {
    let starts_at = row.starts_at.as_millis().div_euclid(PERIOD_MS) * PERIOD_MS;
    (starts_at, owner_id(row.owner), row.part)
}

/// Tenants are below zero.
fn owner_id(owner: TallyOwner) -> i64 {
    match owner {
        TallyOwner::Webhook(webhook) => webhook.0,
        TallyOwner::Tenant(tenant) => tenant.0.saturating_neg(),
    }
}

/// A tally for each step.
pub(crate) fn statistics(
    conn: Connection<'_>,
    asked: &StatisticsQuery,
) -> Result<Vec<AttemptTally>, JobError> {
    let mut steps = vec![AttemptTally::default(); usize::from(asked.steps)];
    let owner = match asked.webhook {
        None => TallyOwner::Tenant(asked.tenant),
        Some(webhook) if webhook_rows::tenant_of(conn, webhook)? == Some(asked.tenant) => {
            TallyOwner::Webhook(webhook)
        }
        Some(_) => return Ok(steps),
    };
    for minutes in [FINE, HOURLY] {
        let periods = periods(conn, asked, minutes)?;
        read(conn, (minutes, owner_id(owner)), &periods, |at, tally| {
            let step = asked.step_of(Timestamp::from_millis(at));
            if let Some(sum) = step.and_then(|step| steps.get_mut(step)) {
                add(sum, tally);
            }
        })?;
    }
    Ok(steps)
}

/// The periods of this length that are asked for and may have rows.
fn periods(
    conn: Connection<'_>,
    asked: &StatisticsQuery,
    minutes: i64,
) -> Result<Vec<i64>, JobError> {
    let ms = minutes * 60_000;
    let edge = |sql| query::first(conn, sql, values![minutes], |row| row.get(0));
    let (first, last): (Option<i64>, Option<i64>) = (edge(FIRST)?, edge(LAST)?);
    let (Some(first), Some(last)) = (first, last) else {
        return Ok(Vec::new());
    };
    let from = asked.from.as_millis().div_euclid(ms) * ms;
    let to = asked.to().as_millis().min(last.saturating_add(1));
    let count = to.saturating_sub(from.max(first)).div_euclid(ms) + 1;
    let periods = (0..count.max(0)).map(|place| from.max(first) + place * ms);
    Ok(periods.filter(|at| *at < to).collect())
}

/// Hands each tally of the owner in these periods to `each`, with the time of its period.
fn read(
    conn: Connection<'_>,
    (minutes, owner): (i64, i64),
    periods: &[i64],
    mut each: impl FnMut(i64, &[u8]),
) -> Result<(), JobError> {
    let limit = rows::bound(TALLY_PARTS_MAX);
    if let Connection::Postgres(conn) = conn {
        return postgres::statistics::read(conn, (minutes, owner), periods, limit, each);
    }
    let mut statement = conn.prepare(READ)?;
    for period in periods {
        statement.rows(values![minutes, period, owner, limit], |row| {
            let tally: Bytes = row.get(0)?;
            each(*period, &tally);
            Ok(true)
        })?;
    }
    Ok(())
}

/// Adds a stored tally. One that cannot be read is left out: a chart is no reason to keep the page
/// of a webhook from anybody, nor to keep all else that is old.
fn add(sum: &mut AttemptTally, stored: &[u8]) {
    static SELDOM: Seldom = Seldom::new();
    match AttemptTally::from_bytes(stored) {
        Some(tally) => sum.merge(&tally),
        None if SELDOM.is_time() => {
            tracing::warn!("a tally of attempts in the store cannot be read; it is left out");
        }
        None => {}
    }
}

/// Merges what is older than charts show so finely, and removes what none shows.
pub(crate) fn prune(
    tx: &dyn Transaction,
    now: TimeBounds,
    budget: &mut RowBudget,
) -> Result<(), JobError> {
    let fine = now.earliest.plus_ms(-TALLIES_FINE_MS - HOUR_MS).as_millis();
    let kept = now.earliest.plus_ms(-TALLIES_KEPT_MS).as_millis();
    while budget.left() {
        let Some(first) = first_before(tx, FINE, fine)? else {
            break;
        };
        merge(tx, first.div_euclid(HOUR_MS) * HOUR_MS, budget)?;
    }
    while budget.left() {
        let Some(first) = first_before(tx, HOURLY, kept)? else {
            break;
        };
        let upto = bound(tx, HOURLY, first, budget.rows())?.unwrap_or(i64::MAX);
        let dropped = tx.execute(DROP, values![HOURLY, first, upto])?;
        budget.take(dropped.max(1));
    }
    Ok(())
}

/// The first period of this length that begins before `before`.
fn first_before(tx: &dyn Transaction, minutes: i64, before: i64) -> Result<Option<i64>, JobError> {
    let first: Option<i64> = query::first(tx.conn(), FIRST, values![minutes], |row| row.get(0))?;
    Ok(first.filter(|first| *first < before))
}

/// The owner of the row that is so many behind the first of its period, if there are as many.
fn bound(
    tx: &dyn Transaction,
    minutes: i64,
    period: i64,
    count: i64,
) -> Result<Option<i64>, JobError> {
    let behind = (count - 1).max(0);
    query::first(tx.conn(), BOUND, values![minutes, period, behind], |row| {
        row.get(0)
    })
}

/// Merges a part of an hour: its first owners, with all that they have in it.
fn merge(tx: &dyn Transaction, hour: i64, budget: &mut RowBudget) -> Result<(), JobError> {
    let count = HOUR_MS / PERIOD_MS;
    let periods: Vec<i64> = (0..count).map(|place| hour + place * PERIOD_MS).collect();
    let mut upto = i64::MAX;
    for period in &periods {
        // For each of these rows one is removed, and one may be written for twelve.
        let bound = bound(tx, FINE, *period, budget.rows() / (count + 1))?;
        upto = upto.min(bound.unwrap_or(i64::MAX));
    }
    let mut merged: BTreeMap<i64, (i64, AttemptTally)> = BTreeMap::new();
    let mut taken = 0;
    for period in &periods {
        let places = values![FINE, period, upto];
        tx.conn().rows(TAKE, places, |row| {
            let (owner, part) = (row.get(0)?, row.get(1)?);
            let stored: Bytes = row.get(2)?;
            // No other row of this hour has the part of one that was merged.
            let (_, sum) = merged
                .entry(owner)
                .or_insert_with(|| (part, AttemptTally::default()));
            add(sum, &stored);
            taken += 1;
            Ok(true)
        })?;
    }
    let merged = merged.into_iter();
    let merged = merged.map(|(owner, (part, sum))| ((hour, owner, part), sum.to_bytes()));
    let merged: Vec<(TallyPlace, Vec<u8>)> = merged.collect();
    write(tx.conn(), HOURLY, &merged)?;
    budget.take(taken + merged.len() + 1);
    Ok(())
}
