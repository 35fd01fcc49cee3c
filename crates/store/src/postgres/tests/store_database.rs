//! A database with the tables of a store, and what tests write into it and read from it.

use std::sync::Arc;

use bytes::Bytes;
use model::attempt::{Attempt, BodyEnd, Failure, FailureKind, HttpResponse, Outcome};
use model::contract::Settlement;
use model::delivery::{DeliveryState, NextState};
use model::id::{DeliveryId, NotificationId, WebhookId};
use model::lease::Lease;
use model::time::{Heartbeat, Moment, Timestamp};
use model::webhook::Headers;

use crate::postgres::connection::PostgresConnection;
use crate::postgres::leases::LeaseChange;
use crate::postgres::migrate::migrate;
use crate::postgres::postgres_server::PostgresServer;
use crate::postgres::session::{Committed, TransactionMode};
use crate::postgres::settings::DatabaseSettings;
use crate::postgres::tests::support::{open, settings};
use crate::postgres::tx::{PostgresTx, SessionCache};
use crate::postgres::{leases, settle};
use crate::sql::job_error::JobError;
use crate::sql::post_commit::PostCommit;

pub(super) struct StoreDatabase {
    url: String,
}

/// What a thread of a node has: a session, and what it keeps.
pub(super) struct Thread {
    pub(super) conn: PostgresConnection,
    pub(super) cache: SessionCache,
}

pub(super) fn at(ms: i64) -> Timestamp {
    Timestamp::from_millis(ms)
}

pub(super) fn beat(ms: i64) -> Heartbeat {
    Heartbeat::certain(Moment::same(at(ms)))
}

pub(super) fn id(notification: i64, webhook: i64) -> DeliveryId {
    DeliveryId {
        notification: NotificationId(notification),
        webhook: WebhookId(webhook),
    }
}

pub(super) fn answered(status: u16) -> Outcome {
    Outcome::Answered(HttpResponse {
        status,
        headers: Headers::from_pairs([("Server", b"s".as_slice())]),
        body: Bytes::from_static(b"ok"),
        body_end: BodyEnd::Whole,
        note: None,
    })
}

pub(super) fn failed() -> Outcome {
    Outcome::Failed(Failure::new(FailureKind::Connect, "refused"))
}

/// The first attempt of a delivery, which is delivered or, after a failure, due again.
pub(super) fn settlement(id: DeliveryId, ended_at: i64, outcome: Outcome) -> Settlement {
    let state = match outcome.is_success() {
        true => DeliveryState::Delivered,
        false => DeliveryState::Pending,
    };
    Settlement {
        id,
        round: 1,
        attempts: 0,
        webhook_version: 1,
        ended_at: at(ended_at),
        stale: None,
        attempt: Attempt {
            began_at: at(ended_at),
            duration_ms: 7,
            url: format!("https://example.org/{}", id.webhook).into(),
            request_headers: Headers::from_pairs([("User-Agent", b"Willcall".as_slice())]),
            outcome,
        },
        next: NextState {
            state,
            due_at: (!state.is_end()).then(|| at(ended_at + 60_000)),
            began_at: at(ended_at),
            round_began_at: at(ended_at),
            disables_webhook: false,
            pauses_until: None,
            early: false,
        },
        handshake: None,
    }
}

impl StoreDatabase {
    pub(super) fn new() -> Self {
        let url = PostgresServer::shared().create_database();
        migrate(&open(&url)).unwrap();
        Self { url }
    }

    /// Removes everything but the schema.
    pub(super) fn empty(&self) {
        self.ask(
            "truncate tenant, webhook, notification, fresh, delivery, attempt, envelope,
               envelope_day, standing, tally, audit, clock, lease, webhook_past
             restart identity cascade;
             alter sequence notification_id restart;
             alter sequence lease_epoch restart",
        );
    }

    pub(super) fn settings(&self) -> Arc<DatabaseSettings> {
        Arc::new(settings(&self.url))
    }

    pub(super) fn thread(&self) -> Thread {
        Thread {
            conn: PostgresConnection::new(open(&self.url)),
            cache: SessionCache::default(),
        }
    }

    /// What psql answers.
    pub(super) fn ask(&self, sql: &str) -> String {
        let (_, name) = self.url.rsplit_once('/').unwrap();
        let name = name.split('?').next().unwrap();
        PostgresServer::shared().run_sql(name, sql)
    }

    /// Waits until a session waits for another.
    pub(super) fn until_waiting(&self) {
        let waiting = "select count(*) from pg_stat_activity
            where datname = current_database() and wait_event_type = 'Lock'";
        while self.ask(waiting) != "1" {}
    }

    /// Webhooks of one tenant, with the ids 1 to `count`.
    pub(super) fn webhooks(&self, count: i64) {
        self.ask(&format!(
            "insert into tenant (dialect, key, name, created_at) values ('pretix', 'a', 'A', 0);
             insert into webhook
               (tenant_id, target_url, filter, settings, created_at, updated_at, version)
             select 1, 'https://example.org/' || n, '[]', '{{}}', 0, 0, 1
             from generate_series(1, {count}) n"
        ));
    }

    /// Notifications with the next ids, each unattempted for the webhooks 1 to `webhooks`.
    pub(super) fn notify(&self, count: i64, webhooks: i64) {
        self.ask(&format!(
            "with new as (
               insert into notification
                 (tenant_id, id, key, action_type, body, accepted_at, delivery_count)
               select 1, n, n::text, 'paid', '\\x7b7d', 1000, {webhooks}
               from (
                 select nextval('notification_id') as n from generate_series(1, {count})) as n
               returning id)
             insert into fresh (tenant_id, webhook_id, notification_id)
             select 1, w, id from new, generate_series(1, {webhooks}) w"
        ));
    }
}

/// The answer, of which nobody else hears.
pub(super) fn unheard<T>(change: Result<LeaseChange<T>, JobError>) -> Result<T, JobError> {
    Ok(change?.tell(&mut PostCommit::default()))
}

impl Thread {
    pub(super) fn begin(&self) {
        let session = self.conn.session();
        session.begin(TransactionMode::ReadWrite).unwrap();
    }

    pub(super) fn commit(&self) {
        let committed = self.conn.session().commit().unwrap();
        assert_eq!(committed, Committed::Durable);
    }

    pub(super) fn undo(&self) {
        self.conn.session().rollback().unwrap();
    }

    /// A transaction of leases.
    pub(super) fn lease<T>(
        &self,
        work: impl FnOnce(&PostgresConnection) -> Result<T, JobError>,
    ) -> Result<T, JobError> {
        self.begin();
        let done = work(&self.conn);
        match &done {
            Ok(_) => self.commit(),
            Err(_) => self.undo(),
        }
        done
    }

    /// Settles in a transaction under the lease, which it leaves open.
    pub(super) fn settle(&mut self, lease: Lease, batch: &[Settlement]) -> Result<(), JobError> {
        let slots = leases::begin(&self.conn, lease.epoch)?;
        let mut tx = PostgresTx {
            conn: &self.conn,
            cache: &mut self.cache,
            post_commit: &mut PostCommit::default(),
            slots: Some(slots),
        };
        settle::settle(&mut tx, batch)
    }

    /// The same in a transaction of its own.
    pub(super) fn write(&mut self, lease: Lease, batch: &[Settlement]) -> Result<(), JobError> {
        let done = self.settle(lease, batch);
        match &done {
            Ok(()) => self.commit(),
            Err(_) => {
                self.undo();
                self.cache = SessionCache::default();
            }
        }
        done
    }
}
