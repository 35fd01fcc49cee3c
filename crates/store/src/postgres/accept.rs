//! Accepting: writes down notifications and all their deliveries, in the order given, those of many
//! callers together.
//!
//! Tenant and key identify a notification. If they are known and the content (body, action type and
//! digest) is the same, it is a duplicate, else a conflict. Neither changes anything.
//!
//! A tenant is locked until the transaction ends. So its ids rise in the order in which they are
//! seen, nobody else adds one of its keys, and who wants what of it stands still. A group takes two
//! round trips with its beginning and end, and a third where something is not cached.

mod ask;
mod events;
mod plan;
mod repeated;
pub(crate) mod statements;
mod subscribers;
mod talk;
mod times;
mod write;

use std::collections::BTreeMap;

use model::contract::StoreError;
use model::mutation::{Mutation, is_on};
use model::notification::{AcceptResult, NewNotification};

use crate::postgres::accept::ask::{Asked, Falling, Known};
use crate::postgres::accept::events::{NewEvents, UnknownEvents};
use crate::postgres::accept::plan::{Plan, Planner};
use crate::postgres::accept::repeated::Repeated;
use crate::postgres::accept::subscribers::Subscribers;
use crate::postgres::accept::talk::Statements;
use crate::postgres::accept::write::Columns;
use crate::postgres::locks;
use crate::postgres::session_caches::AcceptCache;
use crate::postgres::tx::PostgresTx;
use crate::sql::job_error::JobError;
use crate::sql::post_commit::PostCommit;
use crate::sql::row::ReadRow;

pub(crate) use crate::postgres::accept::ask::Locking;
pub(crate) use crate::postgres::accept::plan::Acceptance;
pub(crate) use crate::postgres::accept::talk::{Talk, Whose};

/// Takes in one batch in a transaction that the caller has begun and will commit. Waits for its
/// tenants, of which the caller holds none, or the turn to change the catalog as well.
pub(crate) fn accept(
    tx: &mut PostgresTx<'_>,
    batch: &[NewNotification],
) -> Result<Vec<AcceptResult>, JobError> {
    let (acceptances, _) = accept_group(
        Talk::new(tx.conn.session(), Whose::Callers),
        &mut tx.cache.accept,
        tx.post_commit,
        &[batch],
        Locking::All,
    )?;
    match acceptances.into_iter().next() {
        Some(Acceptance::Done(results)) => Ok(results),
        Some(Acceptance::Refused(error)) => Err(JobError::Refused(error)),
        Some(Acceptance::Later) | None => Err(StoreError::Busy.into()),
    }
}

/// Takes in the batches of many callers, and commits them unless the transaction is a caller's.
/// Answers what became of each, and the catalog's version if it has a new one. A batch that is
/// refused costs only itself; an error says that nothing of any was written, or that nobody knows.
pub(crate) fn accept_group(
    mut talk: Talk<'_>,
    cache: &mut AcceptCache,
    post_commit: &mut PostCommit,
    batches: &[&[NewNotification]],
    locking: Locking,
) -> Result<(Vec<Acceptance>, Option<i64>), JobError> {
    let news: Vec<&NewNotification> = batches.iter().copied().flatten().collect();
    if news.is_empty() {
        let nothing = batches.iter().map(|_| Acceptance::Done(Vec::new()));
        return Ok((nothing.collect(), None));
    }
    let asked = Asked::new(&news, locking);
    if locking != Locking::Try {
        wait_for_turn(&mut talk, cache, &news, &asked)?;
    }
    let found = ask(&mut talk, cache, &news, &asked)?;
    let Found {
        known,
        repeated,
        subscribers,
        mut new_events,
    } = found;
    new_events.retain(|tenant| known.tenants.contains_key(&tenant));
    let has_turn = !new_events.is_empty() && take_turn(&mut talk, &mut new_events)?;
    let version = known.version;
    let mut planner = Planner {
        known,
        repeated,
        subscribers,
        new_events,
        has_turn,
        cache,
        post_commit,
        own: BTreeMap::new(),
        plan: Plan::default(),
    };
    let mut first = 0;
    let mut acceptances = Vec::with_capacity(batches.len());
    for batch in batches {
        acceptances.push(planner.batch(first, batch)?);
        first += batch.len();
    }
    let plan = planner.plan;
    if talk.is_own() {
        post_commit.commits();
    }
    let new_version = write(talk, &plan)?;
    if new_version == Some(version.saturating_add(1)) {
        // Nobody else changed the catalog in between.
        cache.version = new_version;
    }
    Ok((acceptances, new_version))
}

/// Everything that decides about a group.
struct Found<'g, 'a> {
    known: Known,
    repeated: Repeated<'a>,
    subscribers: Subscribers<'g>,
    new_events: NewEvents<'a>,
}

/// Waits for the turn to change the catalog, if it may be needed: it comes before the tenants.
fn wait_for_turn(
    talk: &mut Talk<'_>,
    cache: &mut AcceptCache,
    news: &[&NewNotification],
    asked: &Asked<'_>,
) -> Result<(), JobError> {
    let unknown = UnknownEvents::new(news, &cache.events);
    let mut may_change = asked.has_several_tenants();
    if !unknown.is_empty() {
        let mut statements = Statements::default();
        unknown.ask(&mut statements);
        let mut answers = talk.ask(&statements)?;
        let new = unknown.read(&mut answers, &mut cache.events)?;
        may_change |= !new.is_empty();
    }
    if may_change {
        let keys = vec![locks::CATALOG.number()];
        let mut statements = Statements::default();
        statements.add(locks::TAKE, vec![&keys]);
        talk.ask(&statements)?;
    }
    Ok(())
}

/// Locks the tenants, and finds out everything that is to be known but for new shows.
fn ask<'g, 'a>(
    talk: &mut Talk<'_>,
    cache: &mut AcceptCache,
    news: &'g [&'a NewNotification],
    asked: &Asked<'a>,
) -> Result<Found<'g, 'a>, JobError> {
    let mut subscribers = Subscribers::new(news);
    let mut missing = subscribers.find(&mut cache.subscriptions);
    let unknown = UnknownEvents::new(news, &cache.events);
    let mut statements = Statements::default();
    asked.ask(&mut statements);
    missing.ask(&mut statements);
    unknown.ask(&mut statements);
    let mut answers = talk.ask(&statements)?;
    drop(statements);
    let (mut known, mut repeated) = asked.read(&mut answers, news)?;
    if cache.version != Some(known.version) {
        cache.version = Some(known.version);
        if !is_on(Mutation::StaleFilter) {
            cache.subscriptions.forget();
            subscribers.forget();
        }
    }
    subscribers.read(missing, &mut answers)?;
    let new_events = unknown.read(&mut answers, &mut cache.events)?;
    missing = subscribers.find(&mut cache.subscriptions);
    let mut falling = Some(Falling::of(news, &known)).filter(|falling| !falling.is_empty());
    while !missing.is_empty() || falling.is_some() || repeated.is_asked() {
        let mut statements = Statements::default();
        missing.ask(&mut statements);
        if let Some(falling) = &falling {
            falling.ask(&mut statements);
        }
        repeated.ask(&mut statements);
        let mut answers = talk.ask(&statements)?;
        drop(statements);
        subscribers.read(missing, &mut answers)?;
        if let Some(falling) = falling.take() {
            falling.read(&mut answers, &mut known)?;
        }
        repeated.read(&mut answers)?;
        missing = subscribers.find(&mut cache.subscriptions);
    }
    Ok(Found {
        known,
        repeated,
        subscribers,
        new_events,
    })
}

/// Tries to get the turn to change the catalog, and asks how many shows there are. Answers whether
/// it did.
fn take_turn(talk: &mut Talk<'_>, new_events: &mut NewEvents<'_>) -> Result<bool, JobError> {
    let keys = vec![locks::CATALOG.number()];
    let mut statements = Statements::default();
    statements.add(locks::TRY, vec![&keys]);
    new_events.ask(&mut statements);
    let mut answers = talk.ask(&statements)?;
    drop(statements);
    let has_turn = answers.next()?.rows.first().map(|row| row.column(0));
    new_events.read(&mut answers)?;
    Ok(has_turn.transpose()?.unwrap_or(false))
}

/// Writes what was decided. Answers the catalog's version, if this transaction counts a new one.
fn write(talk: Talk<'_>, plan: &Plan<'_>) -> Result<Option<i64>, JobError> {
    let columns = Columns::of(plan);
    let mut statements = Statements::default();
    let counts_version = talk.is_own() && !plan.events.is_empty();
    columns.write(&mut statements, counts_version);
    let answers = talk.end(&statements)?;
    if !counts_version {
        return Ok(None);
    }
    let last = answers
        .last()
        .and_then(|answer| answer.rows.into_iter().next());
    last.map(|row| row.column(0)).transpose()
}
