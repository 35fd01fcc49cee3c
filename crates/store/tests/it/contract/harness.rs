//! A new store for each test on the engine of its list, things to put in it, and what its
//! subscriber was told.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use bytes::Bytes;
use model::attempt::{Attempt, BodyEnd, Failure, FailureKind, HttpResponse, Outcome};
use model::contract::{
    CommitSubscriber, PendingWebhook, ReplayRequest, ReplayResult, ReplayScope, Settlement, Store,
    StoreError, StoreFuture,
};
use model::delivery::{CancelCause, DeliveryState, DueDelivery, NextState};
use model::filter::{Filter, MatchKey};
use model::id::{DeliveryId, NotificationId, TenantId, WebhookId};
use model::lease::{Epoch, Lease, Slots};
use model::notification::{AcceptResult, NewNotification};
use model::query::{Declaration, DeliveryDetail, DeliveryRow, LogQuery};
use model::tenant::DialectName;
use model::time::{TimeBounds, Timestamp};
use model::webhook::{DisableCause, Disablement, Headers, NewWebhook, Webhook};
use tempfile::TempDir;

use crate::databases::TestDatabase;

/// A store with one tenant, and what its subscriber heard. Whoever has it owns all slots.
pub(crate) struct Given {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) tenant: TenantId,
    pub(crate) heard: Arc<Heard>,
    pub(crate) lease: Lease,
    // Dropped behind the store.
    place: Place,
}

/// Where the store keeps what it has.
enum Place {
    /// In memory, or where the test itself knows.
    Elsewhere,
    File(TempDir),
    Database(TestDatabase),
}

impl Place {
    fn open(&self) -> Arc<dyn Store> {
        match self {
            Self::Elsewhere => unreachable!("nobody knows where it is"),
            Self::File(folder) => {
                store::open_inline_at(&folder.path().join("willcall.db")).unwrap()
            }
            Self::Database(database) => database.open(),
        }
    }
}

/// Whether these cases are those on PostgreSQL.
pub(crate) fn is_postgres() -> bool {
    module_path!().contains("::postgres::")
}

/// How many histories are drawn at random: a store on PostgreSQL takes longer to make.
pub(crate) fn histories(on_sqlite: u32) -> u32 {
    match is_postgres() {
        true => on_sqlite.div_ceil(8),
        false => on_sqlite,
    }
}

/// A subscriber that records what it is told.
#[derive(Default)]
pub(crate) struct Heard {
    told: Mutex<Vec<Told>>,
    more: Condvar,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Told {
    Accepted(Vec<DueDelivery>),
    Asked(Vec<DueDelivery>),
    PassedOver(Vec<PendingWebhook>),
    Changed(Vec<WebhookId>),
    ChangedElsewhere,
    BulkJobStarted,
}

impl CommitSubscriber for Heard {
    fn on_accepted(&self, deliveries: Vec<DueDelivery>) {
        self.hear(Told::Accepted(deliveries));
    }

    fn on_requested(&self, deliveries: Vec<DueDelivery>) {
        self.hear(Told::Asked(deliveries));
    }

    fn on_skipped(&self, lanes: Vec<PendingWebhook>) {
        self.hear(Told::PassedOver(lanes));
    }

    fn on_changed(&self, webhooks: &[WebhookId]) {
        self.hear(Told::Changed(webhooks.to_vec()));
    }

    fn on_external_change(&self) {
        self.hear(Told::ChangedElsewhere);
    }

    fn on_bulk_job_started(&self) {
        self.hear(Told::BulkJobStarted);
    }

    fn on_leases_changed(&self) {}
}

impl Heard {
    fn hear(&self, told: Told) {
        self.told.lock().unwrap().push(told);
        self.more.notify_all();
    }

    /// What it was told since this was last asked.
    pub(crate) fn take(&self) -> Vec<Told> {
        std::mem::take(&mut self.told.lock().unwrap())
    }

    /// Waits until it was told more than so many things, which must come.
    pub(crate) fn wait_beyond(&self, count: usize) {
        let told = self.told.lock().unwrap();
        let limit = Duration::from_secs(60);
        let heard = self
            .more
            .wait_timeout_while(told, limit, |told| told.len() <= count);
        assert!(!heard.unwrap().1.timed_out(), "nothing happens");
    }
}

/// The answer of a store with threads.
pub(crate) fn wait<T>(reply: StoreFuture<T>) -> Result<T, StoreError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(reply)
}

pub(crate) fn at(ms: i64) -> Timestamp {
    Timestamp::from_millis(ms)
}

pub(crate) fn pair(topic: &str, scope: &str) -> MatchKey {
    MatchKey {
        topic: topic.to_owned(),
        scope: scope.to_owned(),
    }
}

pub(crate) fn filter(wishes: &[(&str, Option<&str>)]) -> Filter {
    let all = wishes.iter();
    Filter(
        all.flat_map(|(topic, scope)| Filter::of(topic, *scope).0)
            .collect(),
    )
}

/// What an audit entry says.
pub(crate) fn read(detail: &str) -> serde_json::Value {
    serde_json::from_str(detail).unwrap()
}

pub(crate) fn headers(name: &str, value: &str) -> Headers {
    Headers::from_pairs([(name, value.as_bytes())])
}

pub(crate) fn declaration(key: &str) -> Declaration {
    Declaration {
        dialect: DialectName::new("pretix"),
        key: key.to_owned(),
        name: Some(key.to_uppercase()),
        events: Vec::new(),
        tokens: Vec::new(),
        webhooks: Vec::new(),
    }
}

pub(crate) fn answered(status: u16) -> Outcome {
    Outcome::Answered(HttpResponse {
        status,
        headers: headers("Server", "s"),
        body: Bytes::from_static(b"ok"),
        body_end: BodyEnd::Whole,
        note: None,
    })
}

pub(crate) fn failed(kind: FailureKind) -> Outcome {
    Outcome::Failed(Failure::new(kind, "as it happens"))
}

pub(crate) fn delivery_id(notification: i64, webhook: WebhookId) -> DeliveryId {
    DeliveryId {
        notification: NotificationId(notification),
        webhook,
    }
}

pub(crate) fn attempt(began_at: i64, outcome: Outcome) -> Attempt {
    Attempt {
        began_at: at(began_at),
        duration_ms: 7,
        url: "https://example.org/hook".into(),
        request_headers: headers("User-Agent", "Willcall/0"),
        outcome,
    }
}

pub(crate) fn delivered() -> NextState {
    ended(DeliveryState::Delivered)
}

pub(crate) fn ended(state: DeliveryState) -> NextState {
    NextState {
        state,
        due_at: None,
        began_at: at(0),
        round_began_at: at(0),
        disables_webhook: false,
        pauses_until: None,
        early: false,
    }
}

pub(crate) fn retry(due_at: i64) -> NextState {
    NextState {
        state: DeliveryState::Pending,
        due_at: Some(at(due_at)),
        began_at: at(0),
        round_began_at: at(0),
        disables_webhook: false,
        pauses_until: None,
        early: false,
    }
}

pub(crate) fn gone() -> NextState {
    NextState {
        disables_webhook: true,
        ..ended(DeliveryState::Cancelled(CancelCause::ReceiverGone))
    }
}

/// A settlement of the first round: the attempt takes no time.
pub(crate) fn settlement(
    id: DeliveryId,
    ended_at: i64,
    outcome: Outcome,
    mut next: NextState,
) -> Settlement {
    next.began_at = at(ended_at);
    Settlement {
        stale: None,
        id,
        round: 1,
        attempts: 0,
        webhook_version: 1,
        ended_at: at(ended_at),
        attempt: attempt(ended_at, outcome),
        next,
        handshake: None,
    }
}

impl Given {
    pub(crate) fn new() -> Self {
        match is_postgres() {
            true => Self::kept(),
            false => Self::on(store::open_inline().unwrap()),
        }
    }

    /// On what is still there after the store was closed.
    pub(crate) fn kept() -> Self {
        let place = match is_postgres() {
            true => Place::Database(TestDatabase::new()),
            false => Place::File(tempfile::tempdir().unwrap()),
        };
        Self::at(place, None)
    }

    /// The same store after it was closed and opened again.
    pub(crate) fn reopened(self) -> Self {
        let Self {
            store,
            tenant,
            place,
            ..
        } = self;
        drop(store);
        if let Place::Database(database) = &place {
            database.leave();
        }
        Self::at(place, Some(tenant))
    }

    /// The same store as a process that was killed left it.
    pub(crate) fn killed(self) -> Self {
        let place = match self.place {
            Place::Elsewhere => unreachable!("nobody knows where it is"),
            // The files as they are, never closed.
            Place::File(folder) => {
                let copied = tempfile::tempdir().unwrap();
                for entry in std::fs::read_dir(folder.path()).unwrap() {
                    let entry = entry.unwrap();
                    std::fs::copy(entry.path(), copied.path().join(entry.file_name())).unwrap();
                }
                Place::File(copied)
            }
            Place::Database(database) => {
                database.ask("update lease set until = 0");
                Place::Database(database)
            }
        };
        Self::at(place, Some(self.tenant))
    }

    /// Another store on the same tables, as of a node that owns nothing.
    pub(crate) fn beside(&self) -> Self {
        let mut beside = Self::unheard(self.place.open());
        beside.tenant = self.tenant;
        beside
    }

    fn at(place: Place, tenant: Option<TenantId>) -> Self {
        let store = place.open();
        let heard = Arc::new(Heard::default());
        store.subscribe(heard.clone());
        let mut given = Self {
            lease: wait(store.claim(at(0))).unwrap(),
            store,
            tenant: TenantId(0),
            heard,
            place,
        };
        assert_eq!(given.lease.slots, Slots::ALL);
        given.tenant = tenant.unwrap_or_else(|| given.another_tenant("bigevents"));
        given.heard.take();
        given
    }

    pub(crate) fn on(store: Arc<dyn Store>) -> Self {
        let heard = Arc::new(Heard::default());
        store.subscribe(heard.clone());
        let mut given = Self::unheard(store);
        given.heard = heard;
        given
    }

    /// On a store that has another subscriber.
    pub(crate) fn unheard(store: Arc<dyn Store>) -> Self {
        let mut given = Self {
            store,
            tenant: TenantId(0),
            heard: Arc::default(),
            lease: Lease::SOLE,
            place: Place::Elsewhere,
        };
        given.tenant = given.another_tenant("bigevents");
        given
    }

    /// The same store, for another tenant.
    pub(crate) fn of(&self, tenant: TenantId) -> Self {
        Self {
            store: Arc::clone(&self.store),
            tenant,
            heard: Arc::clone(&self.heard),
            lease: self.lease,
            place: Place::Elsewhere,
        }
    }

    /// The epoch under which all slots are owned.
    pub(crate) fn epoch(&self) -> Epoch {
        self.lease.epoch
    }

    /// Waits until everything that was accepted is spread over its webhooks, which happens in
    /// steps.
    pub(crate) fn fan_out(&self) {
        if let Place::Database(database) = &self.place {
            self.fan_out_in(database);
        }
    }

    /// The same of a store in this database.
    pub(crate) fn fan_out_in(&self, database: &TestDatabase) {
        loop {
            let heard = self.heard.told.lock().unwrap().len();
            if database.ask("select exists (select 1 from listing)") == "f" {
                return;
            }
            self.heard.wait_beyond(heard);
        }
    }

    /// Ids of notifications rise by a good deal: on PostgreSQL, days of envelopes end only after
    /// some hundred more.
    pub(crate) fn skip_ids(&self) {
        if let Place::Database(database) = &self.place {
            database.ask("select setval('notification_id', nextval('notification_id') + 2000)");
        }
    }

    /// The whole numbers that a question of the tables answers, which must be the same on both
    /// engines.
    pub(crate) fn numbers(&self, sql: &str) -> Vec<i64> {
        match &self.place {
            Place::Elsewhere => unreachable!("nobody knows where it is"),
            Place::File(folder) => {
                let file = folder.path().join("willcall.db");
                let conn = rusqlite::Connection::open(file).unwrap();
                let mut statement = conn.prepare(sql).unwrap();
                let found = statement.query_map([], |row| row.get(0)).unwrap();
                found.map(Result::unwrap).collect()
            }
            Place::Database(database) => {
                let found = database.ask(sql);
                found.lines().map(|line| line.parse().unwrap()).collect()
            }
        }
    }

    /// The only one.
    pub(crate) fn number(&self, sql: &str) -> i64 {
        let found = self.numbers(sql);
        assert_eq!(found.len(), 1, "{sql}");
        found[0]
    }

    /// Changes the tables.
    pub(crate) fn execute(&self, sql: &str) {
        match &self.place {
            Place::Elsewhere => unreachable!("nobody knows where it is"),
            Place::File(folder) => {
                let file = folder.path().join("willcall.db");
                let conn = rusqlite::Connection::open(file).unwrap();
                conn.execute_batch(sql).unwrap();
            }
            Place::Database(database) => drop(database.ask(sql)),
        }
    }

    pub(crate) fn another_tenant(&self, key: &str) -> TenantId {
        self.tenant_of("pretix", key)
    }

    pub(crate) fn tenant_of(&self, dialect: &str, key: &str) -> TenantId {
        let dialect = DialectName::new(dialect);
        let declared = Declaration {
            dialect: dialect.clone(),
            ..declaration(key)
        };
        let applied = self.store.apply(vec![declared], "test".to_owned(), at(0));
        wait(applied).unwrap();
        let tenant = self.store.tenant(dialect, key.to_owned());
        wait(tenant).unwrap().unwrap().id
    }

    pub(crate) fn new_webhook(&self, wishes: &[(&str, Option<&str>)]) -> NewWebhook {
        NewWebhook {
            tenant: self.tenant,
            key: None,
            target_url: "https://user:secret@example.org/hook".to_owned(),
            disabled: None,
            filter: filter(wishes),
            settings: "{}".to_owned(),
            headers: Headers::default(),
            retries_max: None,
        }
    }

    pub(crate) fn webhook(&self, wishes: &[(&str, Option<&str>)]) -> Webhook {
        let new = self.new_webhook(wishes);
        wait(self.store.create_webhook(new, "test".to_owned(), at(0))).unwrap()
    }

    /// A webhook that wants everything about "paid".
    pub(crate) fn paid_webhook(&self) -> WebhookId {
        self.webhook(&[("paid", None)]).id
    }

    pub(crate) fn new_notification(&self, key: &str, time: i64) -> NewNotification {
        NewNotification {
            tenant: self.tenant,
            key: key.to_owned(),
            action_type: "order.paid".to_owned(),
            match_keys: vec![pair("paid", "democon")],
            event: None,
            headers: Headers::default(),
            body: Bytes::from(format!("{{\"id\": \"{key}\"}}")),
            digest: None,
            match_context: None,
            only_webhook: None,
            at: at(time),
        }
    }

    pub(crate) fn accept(&self, new: NewNotification) -> AcceptResult {
        wait(self.store.accept(vec![new])).unwrap().remove(0)
    }

    /// Sends a notification and answers its id.
    pub(crate) fn notified(&self, key: &str, time: i64) -> i64 {
        let answer = self.accept(self.new_notification(key, time));
        let AcceptResult::Accepted { id, .. } = answer else {
            panic!("{answer:?}");
        };
        id.0
    }

    /// Settles an attempt that follows everything written about the delivery.
    pub(crate) fn settle(&self, settlement: Settlement) {
        let story = wait(self.store.delivery(self.tenant, settlement.id)).unwrap();
        let attempts = story.map_or(0, |story| story.row.attempts);
        self.settle_again(Settlement {
            attempts,
            ..settlement
        });
    }

    /// Settles exactly this.
    pub(crate) fn settle_again(&self, settlement: Settlement) {
        let settled = self.store.settle(self.epoch(), [settlement].into());
        self.store.flush();
        wait(settled).unwrap();
    }

    /// One step of pruning what was accepted before.
    pub(crate) fn prune(&self, before: i64, time: i64) -> StoreFuture<bool> {
        self.prune_between(before, TimeBounds::exactly(at(time)))
    }

    /// The same while the clock is in doubt.
    pub(crate) fn prune_between(&self, before: i64, now: TimeBounds) -> StoreFuture<bool> {
        let before = [(DialectName::new("pretix"), at(before))];
        self.store.prune(self.epoch(), before.into(), now)
    }

    pub(crate) fn story(&self, id: DeliveryId) -> DeliveryDetail {
        wait(self.store.delivery(self.tenant, id)).unwrap().unwrap()
    }

    pub(crate) fn state(&self, id: DeliveryId) -> DeliveryState {
        self.story(id).row.state
    }

    pub(crate) fn log(&self, webhook: WebhookId) -> Vec<DeliveryRow> {
        let query = LogQuery {
            webhook: Some(webhook),
            limit: 50,
            ..LogQuery::default()
        };
        let page = wait(self.store.log(self.tenant, query)).unwrap();
        page.rows.into_iter().map(|found| found.row).collect()
    }

    pub(crate) fn stored(&self, id: WebhookId) -> Webhook {
        wait(self.store.webhook(self.tenant, id)).unwrap().unwrap()
    }

    pub(crate) fn save(&self, webhook: Webhook, time: i64) -> Result<Webhook, StoreError> {
        wait(
            self.store
                .save_webhook(webhook, "test".to_owned(), at(time)),
        )
    }

    pub(crate) fn disable(&self, id: WebhookId, time: i64) -> Webhook {
        let disabled = Disablement {
            at: at(time),
            cause: DisableCause::Requested,
        };
        let webhook = Webhook {
            disabled: Some(disabled),
            ..self.stored(id)
        };
        self.save(webhook, time).unwrap()
    }

    pub(crate) fn enable(&self, id: WebhookId, time: i64) -> Webhook {
        let webhook = Webhook {
            disabled: None,
            ..self.stored(id)
        };
        self.save(webhook, time).unwrap()
    }

    pub(crate) fn replay(&self, webhook: WebhookId, which: ReplayScope, time: i64) -> ReplayResult {
        let ask = ReplayRequest {
            tenant: self.tenant,
            webhook,
            which,
            actor: "test".to_owned(),
        };
        wait(self.store.replay(ask, at(time))).unwrap()
    }

    /// A page of what is due for the webhook, and when the next is due.
    pub(crate) fn due(
        &self,
        webhook: WebhookId,
        limit: usize,
        time: i64,
    ) -> (Vec<DueDelivery>, Option<i64>) {
        let ask = model::contract::DueQuery::new(webhook, limit);
        let read = wait(self.store.due(self.epoch(), vec![ask], at(time)))
            .unwrap()
            .remove(0);
        assert_eq!(read.webhook, webhook);
        (read.deliveries, read.next_due_at.map(Timestamp::as_millis))
    }
}
