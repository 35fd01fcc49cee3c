//! The engine as a whole: what it is made from, how it starts and stops. Its lease is handed in.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::contract::{Backend, CommitSubscriber};
use model::delivery::DispatchState;
use model::gate::Gate;
use model::id::DeliveryId;
use model::lease::Lease;
use model::limits::RESPONSES_BYTES_MAX;
use model::policy::Policies;
use model::rng::SeededRng;
use model::signing::Keyring;
use model::tenant::DialectName;
use model::time::Clock;
use prometheus_client::registry::Registry;
use tokio::sync::oneshot;

use crate::attempt::AttemptRunner;
use crate::bulk_jobs::BulkJobRunner;
use crate::dispatch::{Dispatcher, DispatcherParts, ShutdownReport};
use crate::health::Health;
use crate::idle_lifetime::KeepTimes;
use crate::mailbox::Mailbox;
use crate::metrics::Metrics;
use crate::ownership::{AskedAt, Ownership};
use crate::pool::ConnectionPool;
use crate::response_budget::ResponseBudget;
use crate::retention::RetentionWorker;
use crate::tasks::{Alarm, BoxFuture, EngineTask};
use crate::transport::Dial;

/// Sends deliveries. Dropping it ends everything at once; the next engine repeats what was running.
pub struct Engine {
    dispatch: EngineTask<ShutdownReport>,
    retention: EngineTask<()>,
    pool: EngineTask<()>,
    bulk_jobs: EngineTask<()>,
    mailbox: Arc<Mailbox>,
    metrics: Arc<Metrics>,
    stop: oneshot::Sender<Duration>,
    health: Health,
    alarm: Alarm,
}

/// What an engine is made from.
pub struct Parts {
    pub store: Arc<dyn Backend>,
    /// What it sends under, claimed of this store just now. If it is lost, the engine claims
    /// another one.
    pub lease: Lease,
    pub dial: Arc<dyn Dial>,
    pub clock: Clock,
    pub rng: SeededRng,
    pub policies: Policies,
    pub settings: Settings,
    /// What all its tasks pass through.
    pub gate: Gate,
    /// Opens the secrets that calls are signed with.
    pub keyring: Arc<Keyring>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Attempts in flight for all webhooks together.
    pub max_in_flight: usize,
    /// Attempts in flight for one webhook.
    pub max_concurrency_per_webhook: usize,
    pub max_idle_connections: usize,
    /// How long idle connections are kept.
    pub idle_connection_ms: u64,
    /// The same where calls come at longer intervals, and the receiver bears it.
    pub idle_connection_max_ms: u64,
}

/// Says where pending deliveries stand. Cheap to clone.
#[derive(Clone)]
pub struct DeliveryInspector(Arc<Mailbox>);

impl DeliveryInspector {
    pub fn dispatch_state(&self, id: DeliveryId) -> BoxFuture<'static, Option<DispatchState>> {
        let asked = self.0.ask(id);
        Box::pin(async move { tokio::time::timeout(PATIENCE, asked).await.ok()?.ok() })
    }
}

/// The loop answers in its next turn; a page does not wait longer for one that is stuck.
const PATIENCE: Duration = Duration::from_secs(1);

impl Engine {
    /// Starts sending. Call it within a runtime, before the store accepts anything.
    pub fn start(parts: Parts, registry: &mut Registry) -> Self {
        let Parts {
            store,
            lease,
            dial,
            clock,
            rng,
            policies,
            settings,
            gate,
            keyring,
        } = parts;
        if let Some(last) = store.last_heartbeat() {
            clock.begins_after(last.bounds);
        }
        let metrics = Arc::new(Metrics::new(registry, policies.keys()));
        let alarm = Alarm::new();
        let health = Health::new(alarm.clone());
        let mailbox = Arc::new(Mailbox::default());
        let bell = mailbox.bell();
        store.subscribe(Arc::clone(&mailbox) as Arc<dyn CommitSubscriber>);
        let pool = Arc::new(pool(settings));
        let runner = runner(dial, &clock, &pool, &metrics, &health);
        let retention_ms = retention_ms(&policies);
        let (stop, stopped) = oneshot::channel();
        let ownership = Ownership::of(lease, AskedAt::now(&clock));
        let epoch = ownership.current_epoch();
        let dispatch = Dispatcher::new(DispatcherParts {
            store: Arc::clone(&store),
            ownership,
            clock: clock.clone(),
            rng: rng.split("jitter"),
            policies,
            runner: Arc::new(runner),
            mailbox: Arc::clone(&mailbox),
            metrics: Arc::clone(&metrics),
            health: health.clone(),
            stop: stopped,
            max_in_flight: settings.max_in_flight,
            shortage: health.shortage(),
            max_concurrency_per_webhook: settings.max_concurrency_per_webhook,
            gate: gate.clone(),
            keyring,
        });
        let bulk_jobs = BulkJobRunner {
            store: Arc::clone(&store),
            epoch: epoch.clone(),
            clock: clock.clone(),
            bell,
        };
        let retention = RetentionWorker {
            store,
            epoch,
            clock,
            metrics: Arc::clone(&metrics),
            retention_ms,
        };
        Self {
            dispatch: EngineTask::behind(&gate, "the delivery loop", &alarm, dispatch.run()),
            retention: EngineTask::behind(&gate, "the retention worker", &alarm, retention.run()),
            pool: EngineTask::behind(&gate, "the connection pool", &alarm, pool.run()),
            bulk_jobs: EngineTask::behind(&gate, "the bulk jobs", &alarm, bulk_jobs.run()),
            mailbox,
            metrics,
            stop,
            health,
            alarm,
        }
    }

    /// Begins nothing more, lets running attempts end for at most `within`, and has every outcome
    /// written.
    pub async fn stop(self, within: Duration) -> ShutdownReport {
        let Self {
            dispatch,
            retention,
            pool,
            bulk_jobs,
            stop,
            ..
        } = self;
        drop((retention, pool, bulk_jobs));
        // A loop that is gone cannot be told; its own end says so.
        let told = stop.send(within).is_ok();
        match dispatch.join().await {
            Some(stopped) if told => stopped,
            Some(_) | None => ShutdownReport {
                attempts_dropped: 0,
                outcomes_unwritten: 0,
                fell_over: true,
            },
        }
    }

    /// A handle that says where a pending delivery stands.
    pub fn inspector(&self) -> DeliveryInspector {
        DeliveryInspector(Arc::clone(&self.mailbox))
    }

    /// Answers how many deliveries are owed, of the slots of this node, as they were last counted.
    pub fn backlog(&self) -> impl Fn() -> u64 + Send + Sync + 'static {
        let metrics = Arc::clone(&self.metrics);
        move || metrics.owed()
    }

    /// Whether deliveries flow.
    pub fn health(&self) -> Health {
        self.health.clone()
    }

    /// Resolves with the name of a part that fell over. Only a restart mends that.
    pub fn failed(&self) -> impl Future<Output = &'static str> + Send + use<> {
        self.alarm.listen()
    }
}

fn runner(
    dial: Arc<dyn Dial>,
    clock: &Clock,
    pool: &Arc<ConnectionPool>,
    metrics: &Metrics,
    health: &Health,
) -> AttemptRunner {
    AttemptRunner::new(
        dial,
        clock.clone(),
        Arc::clone(pool),
        ResponseBudget::new(RESPONSES_BYTES_MAX, metrics.truncated.clone()),
        metrics.opened.clone(),
        health.shortage(),
    )
}

fn pool(settings: Settings) -> ConnectionPool {
    let times = KeepTimes {
        usual: Duration::from_millis(settings.idle_connection_ms),
        longest: Duration::from_millis(settings.idle_connection_max_ms),
    };
    ConnectionPool::new(settings.max_idle_connections, times)
}

/// How long each dialect's log is kept.
fn retention_ms(policies: &Policies) -> BTreeMap<DialectName, i64> {
    let each = policies.iter();
    each.map(|(dialect, policy)| (dialect.clone(), policy.retention_ms))
        .collect()
}

impl ShutdownReport {
    /// Whether nothing was left undone.
    pub fn is_clean(&self) -> bool {
        self.attempts_dropped == 0 && self.outcomes_unwritten == 0 && !self.fell_over
    }
}
