//! The thread that watches: hears what other nodes have done, and tells them what was done here.
//!
//! Hints (`hints.rs`) go through one channel. They are only hints: one may be lost, so every second
//! this looks itself whether the catalog has changed, and whether another node accepted something.

use std::sync::atomic::Ordering;
use std::time::Duration;

use model::contract::PendingWebhook;
use model::id::WebhookId;
use tokio::time::Instant;

use crate::postgres::connection::PostgresConnection;
use crate::postgres::hints::Hint;
use crate::postgres::session::Heard;
use crate::postgres::shared::Shared;
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

/// How often it looks, whatever it hears.
const LOOK_EVERY: Duration = Duration::from_secs(1);

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
        for hint in shared.take_hints() {
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
    let words = hint.to_words();
    query::exists(conn, NOTIFY, values![&*words]).map(drop)
}

/// Does what another node hints at.
fn obey(shared: &Shared, heard: &Heard) {
    let own = shared.own_slots();
    let is_own = |webhook: &WebhookId| own.has(*webhook);
    let Some(subscriber) = shared.subscriber.get() else {
        return shared.changed();
    };
    match Hint::parse(&heard.text) {
        Hint::All => return changed_elsewhere(shared),
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
