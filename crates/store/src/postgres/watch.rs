//! The thread that watches: hears what other nodes have done, and tells them what was done here.
//!
//! Hints are ids of webhooks that got something due, on one channel. They are only hints: a hint
//! may be lost, so every second this looks itself whether the catalog has changed, and whether
//! another node accepted something.

use std::sync::atomic::Ordering;
use std::time::Duration;

use model::id::WebhookId;
use tokio::time::Instant;

use crate::postgres::connection::PostgresConnection;
use crate::postgres::session::Heard;
use crate::postgres::shared::{Hint, Shared};
use crate::postgres::watch_state::WatchState;
use crate::postgres::worker::Worker;
use crate::sql::job_error::JobError;
use crate::sql::query;
use crate::sync::lock;

shared_statements! {
    NOTIFY = "select pg_notify('willcall', ?1)";
    // What another node accepted moves the sequence, what it changed the version.
    LOOK = "
        select version, (select last_value from notification_id),
          pg_current_wal_insert_lsn() - '0/0'::pg_lsn
        from catalog
        where id = 1";
}

const CHANNEL: &str = "willcall";

/// What is said instead of ids when there are too many.
const ALL: &str = "*";

/// How often it looks, whatever it hears.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A notification holds less than 8,000 bytes.
const IDS_A_HINT: usize = 300;

/// What was seen at the latest look.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Seen {
    version: i64,
    written: i64,
}

pub(crate) fn run(mut worker: Worker, watch: &WatchState) {
    let mut seen = None;
    while !watch.is_closed() {
        if worker.connect().is_err() {
            // Nothing can be heard meanwhile.
            seen = None;
            let pause = worker.retry_after().unwrap_or(LOOK_EVERY);
            watch.pause(pause);
            continue;
        }
        if let Err(error) = listen(&mut worker, watch, &mut seen) {
            tracing::debug!(?error, "the session that listens to other nodes ended");
        }
    }
}

/// Listens until the session breaks or the executor closes.
fn listen(
    worker: &mut Worker,
    watch: &WatchState,
    seen: &mut Option<Seen>,
) -> Result<(), JobError> {
    let shared = std::sync::Arc::clone(&worker.shared);
    let conn = worker.conn()?;
    let session = conn.session();
    session.listen(CHANNEL)?;
    let waker = session.waker();
    shared.set_hint_waker(waker.clone());
    *lock(&watch.waker) = Some(waker);
    let own = session.facts().backend;
    if seen.is_some() {
        // What was told before this session listened was not heard.
        changed_elsewhere(&shared);
    }
    let mut look_at = Instant::now();
    while !watch.is_closed() {
        if look_at <= Instant::now() {
            look_at = Instant::now() + LOOK_EVERY;
            look(conn, &shared, seen)?;
        }
        while let Some(hint) = shared.take_hint() {
            tell(conn, &hint)?;
        }
        let limit = look_at.saturating_duration_since(Instant::now());
        for heard in session.wait_for_notification(limit)? {
            if heard.backend != own {
                obey(&shared, &heard);
            }
        }
    }
    Ok(())
}

fn look(
    conn: &PostgresConnection,
    shared: &Shared,
    seen: &mut Option<Seen>,
) -> Result<(), JobError> {
    let now = query::first(conn, LOOK, values![], |row| {
        Ok(Seen {
            version: row.get(0)?,
            written: row.get(1)?,
        })
    })?;
    let Some(now) = now else {
        return Ok(());
    };
    let version = u64::try_from(now.version).unwrap_or(0);
    if shared.version.fetch_max(version, Ordering::AcqRel) < version {
        changed_elsewhere(shared);
    }
    if seen.is_some_and(|before| before.written != now.written) {
        shared.changed();
    }
    *seen = Some(now);
    Ok(())
}

fn tell(conn: &PostgresConnection, hint: &Hint) -> Result<(), JobError> {
    match hint {
        Hint::All => notify(conn, ALL),
        Hint::Webhooks(webhooks) => webhooks.chunks(IDS_A_HINT).try_for_each(|some| {
            let ids: Vec<String> = some.iter().map(|id| id.0.to_string()).collect();
            notify(conn, &ids.join(" "))
        }),
    }
}

fn notify(conn: &PostgresConnection, words: &str) -> Result<(), JobError> {
    query::exists(conn, NOTIFY, values![words]).map(drop)
}

/// Does what another node hints at. What cannot be read is a hint at anything.
fn obey(shared: &Shared, heard: &Heard) {
    let ids: Result<Vec<i64>, _> = heard.text.split(' ').map(str::parse).collect();
    let Ok(ids) = ids else {
        return changed_elsewhere(shared);
    };
    let own = shared.own_slots();
    let webhooks = ids.into_iter().map(WebhookId);
    let webhooks: Vec<WebhookId> = webhooks.filter(|webhook| own.has(*webhook)).collect();
    if let Some(subscriber) = shared.subscriber.get()
        && !webhooks.is_empty()
    {
        subscriber.on_changed(&webhooks);
    }
    shared.changed();
}

fn changed_elsewhere(shared: &Shared) {
    shared.changed();
    if let Some(subscriber) = shared.subscriber.get() {
        subscriber.on_external_change();
    }
}
