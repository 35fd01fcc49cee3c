//! The thread that watches: hears what other nodes have done, and tells them what was done here.
//!
//! Hints (`hints.rs`) go through one channel, and each has a number. A hint may be lost, so twice a
//! second this looks itself: whether the catalog has changed, whether somebody accepted something,
//! and whether it heard all hints that were told. If not, all that is owed is looked through.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use model::contract::PendingWebhook;
use model::id::WebhookId;
use tokio::time::Instant;

use crate::postgres::connection::PostgresConnection;
use crate::postgres::heard_hints::HeardHints;
use crate::postgres::hints::Hint;
use crate::postgres::session::Committed;
use crate::postgres::shared::Shared;
use crate::postgres::watch_state::WatchState;
use crate::postgres::worker::Worker;
use crate::sql::job_error::{CorruptRow, JobError};
use crate::sql::query;
use crate::sync::lock;

/// What it is about was committed before it got its number.
/// A hint is not waited for on the disk: a server that crashes forgets who listens anyway.
const NOTIFY: &str = "
    select pg_notify('willcall', nextval('hint_id') || ' ' || $1::text),
      set_config('synchronous_commit', 'off', true)";

shared_statements! {
    // What another node accepted moves the sequence, what it changed the version.
    LOOK = "
        select version, (select last_value from notification_id),
          (select case when is_called then last_value else 0 end from hint_id)
        from catalog
        where id = 1";
}

const CHANNEL: &str = "willcall";

/// How often it looks, whatever it hears.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// At each so many looks it asks who holds up the database.
const HOLD_UPS_EVERY: u32 = 4;

/// What was seen at a look.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Seen {
    version: i64,
    written: i64,
    /// The number of the latest hint.
    told: i64,
}

pub(crate) fn run(mut worker: Worker, watch: &WatchState) {
    let mut seen = None;
    while !watch.is_closed() {
        if worker.connect().is_err() {
            // Nothing is heard meanwhile. Other threads may have the sessions that this one lacks.
            changed_elsewhere(&worker.shared);
            watch.pause(LOOK_EVERY);
            continue;
        }
        if let Err(error) = listen(&mut worker, watch, &mut seen) {
            worker.met(&error);
            changed_elsewhere(&worker.shared);
            if worker.is_connected() {
                // It was refused, and is not asked again at once.
                watch.pause(LOOK_EVERY);
            }
        }
    }
}

/// Listens until the session breaks or the executor closes.
fn listen(
    worker: &mut Worker,
    watch: &WatchState,
    seen: &mut Option<Seen>,
) -> Result<(), JobError> {
    let shared = Arc::clone(&worker.shared);
    let conn = worker.conn()?;
    let session = conn.session();
    session.listen(CHANNEL)?;
    let waker = session.waker();
    shared.set_hint_waker(waker.clone());
    *lock(&watch.waker) = Some(waker);
    let own = session.facts().backend;
    let is_first = seen.is_none();
    let told = look(conn, &shared, seen)?;
    let mut hints = HeardHints::after(told);
    // What was told before this session listened was not heard.
    if !is_first || told != shared.told_at_start.load(Ordering::Acquire) {
        changed_elsewhere(&shared);
    }
    let mut look_at = Instant::now() + LOOK_EVERY;
    let mut looks = 0_u32;
    while !watch.is_closed() {
        tell_all(conn, &shared)?;
        let limit = look_at.saturating_duration_since(Instant::now());
        hear(conn, &shared, &mut hints, own, limit)?;
        if look_at <= Instant::now() {
            look_at = Instant::now() + LOOK_EVERY;
            let told = look(conn, &shared, seen)?;
            worker.works();
            // Hints that came before this answer have been received, but not taken.
            hear(conn, &shared, &mut hints, own, Duration::ZERO)?;
            looks += 1;
            if looks.is_multiple_of(HOLD_UPS_EVERY) {
                shared.hold_ups.look(conn)?;
            }
            if hints.misses(told) {
                shared.metrics.hints_missed.inc();
                changed_elsewhere(&shared);
            }
        }
    }
    // The last one is that this node has given up its slots.
    tell_all(conn, &shared)
}

fn tell_all(conn: &PostgresConnection, shared: &Shared) -> Result<(), JobError> {
    for hint in shared.take_hints() {
        tell(conn, &hint).inspect_err(|_| shared.hint_at_all())?;
    }
    Ok(())
}

/// Waits for what others tell, for so long at most, and obeys it.
fn hear(
    conn: &PostgresConnection,
    shared: &Shared,
    hints: &mut HeardHints,
    own: i32,
    limit: Duration,
) -> Result<(), JobError> {
    for heard in conn.session().wait_for_notification(limit)? {
        let (number, about) = heard.text.split_once(' ').unwrap_or(("", &heard.text));
        if let Ok(number) = number.parse() {
            hints.hear(number);
        }
        if heard.backend != own {
            obey(shared, about);
        }
    }
    Ok(())
}

/// Looks what has changed. Answers the number of the latest hint.
fn look(
    conn: &PostgresConnection,
    shared: &Shared,
    seen: &mut Option<Seen>,
) -> Result<i64, JobError> {
    let now = query::first(conn, LOOK, values![], |row| {
        Ok(Seen {
            version: row.get(0)?,
            written: row.get(1)?,
            told: row.get(2)?,
        })
    })?;
    let now = now.ok_or(CorruptRow("catalog"))?;
    let version = u64::try_from(now.version).unwrap_or(0);
    if shared.version.fetch_max(version, Ordering::AcqRel) < version {
        changed_elsewhere(shared);
    }
    if seen.is_some_and(|before| before.written != now.written) {
        shared.changed();
    }
    *seen = Some(now);
    Ok(now.told)
}

fn tell(conn: &PostgresConnection, hint: &Hint) -> Result<(), JobError> {
    let words = hint.to_words();
    // A sequence is changed by transactions that write only. What became of it is not asked: a hint
    // that is repeated does no harm.
    let (_, committed) = conn.session().transaction(&[(NOTIFY, &[&words])])?;
    match committed {
        Committed::Durable | Committed::NotReplicated => Ok(()),
    }
}

/// Does what another node hints at.
fn obey(shared: &Shared, about: &str) {
    let own = shared.own_slots();
    let is_own = |webhook: &WebhookId| own.has(*webhook);
    let Some(subscriber) = shared.subscriber.get() else {
        return shared.changed();
    };
    match Hint::parse(about) {
        Hint::All => return changed_elsewhere(shared),
        Hint::Leases => return subscriber.on_leases_changed(),
        Hint::Changed(webhooks) => {
            let webhooks: Vec<WebhookId> = webhooks.into_iter().filter(is_own).collect();
            if !webhooks.is_empty() {
                subscriber.on_changed(&webhooks);
            }
        }
        Hint::Due(due_at, webhooks) => {
            let webhooks = webhooks.into_iter().filter(is_own);
            let lanes = webhooks.map(|webhook| PendingWebhook { webhook, due_at });
            let lanes: Vec<PendingWebhook> = lanes.collect();
            if !lanes.is_empty() {
                subscriber.on_skipped(lanes);
            }
        }
    }
    shared.changed();
}

fn changed_elsewhere(shared: &Shared) {
    shared.changed();
    if let Some(subscriber) = shared.subscriber.get() {
        subscriber.on_external_change();
    }
}
