//! A world for the engine: a real store in memory, receivers on streams in memory, one clock that
//! paused time drives. What the store does can be disturbed, what it keeps cannot.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use model::contract::{Backend, Catalog, Intake, Store};
use model::delivery::DeliveryState;
use model::filter::{Filter, MatchKey};
use model::gate::Gate;
use model::id::{DeliveryId, NotificationId, TenantId, WebhookId};
use model::lease::Lease;
use model::notification::{AcceptResult, NewNotification};
use model::policy::{EventNaming, NameOf, Policies, Policy};
use model::query::{Declaration, DeliveryDetail};
use model::rng::SeededRng;
use model::schedule::Schedule;
use model::tenant::DialectName;
use model::time::{Clock, Timestamp};
use model::webhook::{DisableCause, Disablement, Headers, NewWebhook, Webhook};
use prometheus_client::registry::Registry;
use tokio::time::Instant;

use super::faults::Faults;
use crate::tasks::{Alarm, EngineTask};
use crate::transport::{Deadline, Dial, DialFuture, Endpoint, LookupContext, Stream};
use crate::{Engine, Parts, Settings, ShutdownReport};

pub(super) const DIALECT: &str = "any";
const START_MS: i64 = 1_800_000_000_000;
pub(super) const HOUR_MS: i64 = 3_600_000;

pub(super) const SETTINGS: Settings = Settings {
    max_in_flight: 64,
    max_concurrency_per_webhook: 8,
    max_idle_connections: 64,
    idle_connection_ms: 20_000,
    idle_connection_max_ms: 120_000,
};

pub(super) struct World {
    pub(super) store: Arc<Faults>,
    pub(super) net: Arc<Net>,
    pub(super) clock: Clock,
    pub(super) tenant: TenantId,
    pub(super) settings: Settings,
    pub(super) policy: Policy,
    pub(super) engine: Option<Engine>,
    began: Instant,
    /// The wall clock's distance from what it should be.
    pub(super) step_ms: Arc<AtomicI64>,
    keys: AtomicUsize,
    starts: u8,
}

/// A call that a receiver got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) at: Timestamp,
    pub(super) method: http::Method,
    pub(super) host: String,
    pub(super) path: String,
    pub(super) body: String,
    pub(super) headers: http::HeaderMap,
}

/// What a receiver does with a call.
#[derive(Debug, Clone, Copy)]
pub(super) enum Does {
    Answers(u16),
    AnswersAfter(u16, Duration),
    /// With `Retry-After`.
    Busy(u16, &'static str),
    /// With these lines.
    Says(u16, &'static [(&'static str, &'static str)]),
    Hangs,
}

/// Decides by the call and its number at this host, counted from 0.
type Character = Box<dyn Fn(&Call, usize) -> Does + Send + Sync>;

/// Receivers by host name; the others answer 200.
pub(super) struct Net {
    clock: Clock,
    characters: Mutex<BTreeMap<String, Character>>,
    calls: Mutex<Vec<Call>>,
    counts: Mutex<BTreeMap<String, usize>>,
    running: Mutex<BTreeMap<String, usize>>,
    /// The most calls at once, by host and over all (under the empty name).
    most: Mutex<BTreeMap<String, usize>>,
    connections: Mutex<Vec<EngineTask<()>>>,
}

/// A wall clock that is `step` ahead of where it should be.
fn clock(began: Instant, step: Arc<AtomicI64>) -> Clock {
    let steady = move || i64::try_from(began.elapsed().as_millis()).unwrap();
    let wall = move || START_MS + steady() + step.load(Ordering::Relaxed);
    Clock::watched(move || Timestamp::from_millis(wall()), steady)
}

impl World {
    pub(super) async fn new() -> Self {
        Self::on(store::open_inline().unwrap()).await
    }

    pub(super) async fn on(store: Arc<dyn Store>) -> Self {
        let began = Instant::now();
        let step_ms = Arc::new(AtomicI64::new(0));
        let clock = clock(began, Arc::clone(&step_ms));
        let store = Arc::new(Faults::around(store));
        let mut world = Self {
            net: Arc::new(Net::new(clock.clone())),
            store,
            clock,
            tenant: TenantId(0),
            settings: SETTINGS,
            policy: policy(),
            engine: None,
            began,
            step_ms,
            keys: AtomicUsize::new(0),
            starts: 0,
        };
        world.tenant = world.add_tenant(DIALECT).await;
        world
    }

    /// As a process has it that begins now and knows nothing of what the clock was before.
    pub(super) fn forget_clock(&mut self) {
        self.clock = clock(self.began, Arc::clone(&self.step_ms));
    }

    /// With an engine that runs.
    pub(super) async fn running() -> Self {
        let mut world = Self::new().await;
        world.start();
        world
    }

    pub(super) fn start(&mut self) {
        self.start_with(Arc::new(Arc::clone(&self.net)));
    }

    pub(super) fn start_with(&mut self, dial: Arc<dyn Dial>) {
        // Each start draws otherwise.
        let seed = self.starts.wrapping_add(7);
        self.starts = self.starts.wrapping_add(1);
        let parts = Parts {
            store: Arc::clone(&self.store) as Arc<dyn Backend>,
            lease: Lease::SOLE,
            dial,
            clock: self.clock.clone(),
            rng: SeededRng::from_seed([seed; 32]),
            policies: self.policies(),
            settings: self.settings,
            gate: Gate::default(),
            keyring: Arc::default(),
        };
        self.engine = Some(Engine::start(parts, &mut Registry::default()));
    }

    pub(super) fn policies(&self) -> Policies {
        BTreeMap::from([(DialectName::new(DIALECT), self.policy.clone())])
    }

    /// Sets the wall clock, by so much from where it should be.
    pub(super) fn set_clock(&self, step_ms: i64) {
        self.step_ms.store(step_ms, Ordering::Relaxed);
    }

    /// As if the process had been killed.
    pub(super) fn kill(&mut self) {
        self.engine = None;
    }

    pub(super) async fn stop(&mut self, within: Duration) -> ShutdownReport {
        self.engine.take().unwrap().stop(within).await
    }

    pub(super) async fn add_tenant(&self, dialect: &str) -> TenantId {
        self.add_tenant_named(dialect, "house").await
    }

    pub(super) async fn add_tenant_named(&self, dialect: &str, key: &str) -> TenantId {
        let dialect = DialectName::new(dialect);
        let declaration = Declaration {
            dialect: dialect.clone(),
            key: key.to_owned(),
            name: Some("House".to_owned()),
            events: vec![],
            tokens: vec![],
            webhooks: vec![],
        };
        let now = self.clock.now();
        let applied = self.store.apply(vec![declaration], "test".to_owned(), now);
        applied.await.unwrap();
        let tenant = self.store.tenant(dialect, key.to_owned()).await;
        tenant.unwrap().unwrap().id
    }

    /// A webhook that calls this URL and wants the notifications about `topic`.
    pub(super) async fn webhook(&self, url: &str, topic: &str) -> WebhookId {
        self.webhook_of(self.tenant, url, topic).await
    }

    pub(super) async fn webhook_of(&self, tenant: TenantId, url: &str, topic: &str) -> WebhookId {
        let new = NewWebhook {
            tenant,
            key: Some(format!(
                "hook {}",
                self.keys.fetch_add(1, Ordering::Relaxed)
            )),
            target_url: url.to_owned(),
            disabled: None,
            filter: Filter::of(topic, None),
            settings: "{}".to_owned(),
            headers: Headers::default(),
            retries_max: None,
        };
        let created = self
            .store
            .create_webhook(new, "test".to_owned(), self.clock.now());
        created.await.unwrap().id
    }

    pub(super) async fn change(&self, webhook: WebhookId, change: impl FnOnce(&mut Webhook)) {
        let found = self.store.webhook(self.tenant, webhook).await;
        let mut found = found.unwrap().unwrap();
        change(&mut found);
        let saved = self
            .store
            .save_webhook(found, "test".to_owned(), self.clock.now());
        saved.await.unwrap();
    }

    pub(super) async fn disable(&self, webhook: WebhookId) {
        let disabled = Disablement {
            at: self.clock.now(),
            cause: DisableCause::Requested,
        };
        self.change(webhook, |webhook| webhook.disabled = Some(disabled))
            .await;
    }

    pub(super) async fn enable(&self, webhook: WebhookId) {
        self.change(webhook, |webhook| webhook.disabled = None)
            .await;
    }

    /// Hands in `count` notifications about `topic`; their bodies are counted from 0 on.
    pub(super) async fn hand_in(&self, topic: &str, count: usize) -> Vec<NotificationId> {
        self.hand_in_with(self.tenant, topic, count, |number| number.to_string())
            .await
    }

    pub(super) async fn hand_in_with(
        &self,
        tenant: TenantId,
        topic: &str,
        count: usize,
        body: impl Fn(usize) -> String,
    ) -> Vec<NotificationId> {
        let batch = self.batch(tenant, topic, count, body);
        let accepted = self.store.accept(batch).await;
        let id = |accepted| match accepted {
            AcceptResult::Accepted { id, .. } => id,
            other @ (AcceptResult::Duplicate { .. } | AcceptResult::Conflict { .. }) => {
                panic!("{other:?}")
            }
        };
        accepted.unwrap().into_iter().map(id).collect()
    }

    pub(super) fn batch(
        &self,
        tenant: TenantId,
        topic: &str,
        count: usize,
        body: impl Fn(usize) -> String,
    ) -> Vec<NewNotification> {
        let pair = MatchKey {
            topic: topic.to_owned(),
            scope: String::new(),
        };
        let new = |number| NewNotification {
            tenant,
            key: self.keys.fetch_add(1, Ordering::Relaxed).to_string(),
            action_type: topic.to_owned(),
            match_keys: vec![pair.clone()],
            event: None,
            headers: Headers::default(),
            body: Bytes::from(body(number)),
            digest: None,
            match_context: None,
            only_webhook: None,
            at: self.clock.now(),
        };
        (0..count).map(new).collect()
    }

    pub(super) async fn story(
        &self,
        notification: NotificationId,
        webhook: WebhookId,
    ) -> DeliveryDetail {
        let id = DeliveryId {
            notification,
            webhook,
        };
        let story = self.store.delivery(self.tenant, id).await;
        story.unwrap().unwrap()
    }

    pub(super) async fn state(
        &self,
        notification: NotificationId,
        webhook: WebhookId,
    ) -> DeliveryState {
        self.story(notification, webhook).await.row.state
    }

    pub(super) fn health(&self) -> Result<(), String> {
        self.engine.as_ref().unwrap().health().check()
    }
}

impl Net {
    fn new(clock: Clock) -> Self {
        Self {
            clock,
            characters: Mutex::default(),
            calls: Mutex::default(),
            counts: Mutex::default(),
            running: Mutex::default(),
            most: Mutex::default(),
            connections: Mutex::default(),
        }
    }

    /// Gives the receiver at `host` a character.
    pub(super) fn at(
        &self,
        host: &str,
        character: impl Fn(&Call, usize) -> Does + Send + Sync + 'static,
    ) {
        let mut characters = self.characters.lock().unwrap();
        characters.insert(host.to_owned(), Box::new(character));
    }

    pub(super) fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    pub(super) fn calls_at(&self, host: &str) -> Vec<Call> {
        let calls = self.calls.lock().unwrap();
        calls
            .iter()
            .filter(|call| call.host == host)
            .cloned()
            .collect()
    }

    /// Milliseconds since the first call there, of each call.
    pub(super) fn times_at(&self, host: &str) -> Vec<i64> {
        let calls = self.calls_at(host);
        let Some(first) = calls.first().map(|call| call.at) else {
            return vec![];
        };
        calls.iter().map(|call| call.at.ms_since(first)).collect()
    }

    /// The most calls that were open at once at this host, or over all with the empty name.
    pub(super) fn most_at_once(&self, host: &str) -> usize {
        self.most.lock().unwrap().get(host).copied().unwrap_or(0)
    }

    /// Connections that were opened.
    pub(super) fn connections(&self) -> usize {
        self.connections.lock().unwrap().len()
    }

    /// How many are open now.
    pub(super) fn open(&self) -> usize {
        self.running.lock().unwrap().get("").copied().unwrap_or(0)
    }

    fn enter(&self, host: &str) {
        let mut running = self.running.lock().unwrap();
        let mut most = self.most.lock().unwrap();
        for name in [host, ""] {
            let count = running.entry(name.to_owned()).or_default();
            *count += 1;
            let most = most.entry(name.to_owned()).or_default();
            *most = (*most).max(*count);
        }
    }

    fn leave(&self, host: &str) {
        let mut running = self.running.lock().unwrap();
        for name in [host, ""] {
            *running.entry(name.to_owned()).or_default() -= 1;
        }
    }

    fn decide(&self, call: &Call) -> Does {
        let mut counts = self.counts.lock().unwrap();
        let count = counts.entry(call.host.clone()).or_default();
        let number = *count;
        *count += 1;
        drop(counts);
        self.calls.lock().unwrap().push(call.clone());
        let characters = self.characters.lock().unwrap();
        characters
            .get(&call.host)
            .map_or(Does::Answers(200), |character| character(call, number))
    }
}

/// Leaves when the answer is there, or the caller has hung up.
struct Visit<'a>(&'a Net, &'a str);

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        self.0.leave(self.1);
    }
}

impl Dial for Arc<Net> {
    fn dial<'a>(
        &'a self,
        endpoint: &'a Endpoint,
        _asker: LookupContext,
        _limit: Deadline,
    ) -> DialFuture<'a> {
        Box::pin(async move {
            let (ours, theirs) = tokio::io::duplex(64 * 1024);
            let (net, host) = (Self::clone(self), endpoint.host.clone());
            let serving = async move {
                let service = service_fn(|request| serve(&net, &host, request));
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(theirs), service);
                connection.await.ok();
            };
            let part = EngineTask::spawn("receiver", &Alarm::new(), serving);
            self.connections.lock().unwrap().push(part);
            Ok(Box::new(ours) as Box<dyn Stream>)
        })
    }
}

async fn serve(
    net: &Arc<Net>,
    host: &str,
    request: http::Request<hyper::body::Incoming>,
) -> Result<http::Response<Full<Bytes>>, Infallible> {
    net.enter(host);
    let visit = Visit(net, host);
    let path = request.uri().path().to_owned();
    let method = request.method().clone();
    let headers = request.headers().clone();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let call = Call {
        at: net.clock.now(),
        method,
        host: host.to_owned(),
        path,
        body: String::from_utf8(body.to_vec()).unwrap(),
        headers,
    };
    let mut response = http::Response::new(Full::default());
    let status = match net.decide(&call) {
        Does::Answers(status) => status,
        Does::Busy(status, after) => {
            let after = http::HeaderValue::from_static(after);
            response
                .headers_mut()
                .insert(http::header::RETRY_AFTER, after);
            status
        }
        Does::Says(status, lines) => {
            for (name, value) in lines {
                let value = http::HeaderValue::from_static(value);
                response.headers_mut().append(*name, value);
            }
            status
        }
        Does::AnswersAfter(status, wait) => {
            tokio::time::sleep(wait).await;
            status
        }
        Does::Hangs => std::future::pending().await,
    };
    drop(visit);
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
    Ok(response)
}

/// The schedule of the pretix dialect.
pub(super) fn policy() -> Policy {
    let minutes = |minutes: i64| minutes * 60_000;
    Policy {
        schedule: Schedule {
            delays_ms: vec![
                5_000,
                30_000,
                minutes(1),
                minutes(5),
                minutes(20),
                HOUR_MS,
                4 * HOUR_MS,
                6 * HOUR_MS,
                12 * HOUR_MS,
                12 * HOUR_MS,
                24 * HOUR_MS,
            ],
            jitter_from_ms: minutes(5),
            jitter_percent: 10,
            final_attempt_after_ms: Some(72 * HOUR_MS),
        },
        exchange_limit_ms: 30_000,
        gone_disables: true,
        retry_after_max_ms: None,
        dedupe_header: None,
        user_agent: "Willcall/0".to_owned(),
        content_type: "application/json".to_owned(),
        event_naming: EventNaming::default(),
        retention_ms: 30 * 24 * HOUR_MS,
        bounds: Arc::default(),
        name_of: NameOf::default(),
    }
}

pub(super) async fn seconds(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}
