//! A node, put together: the engine, the web floor with both dialects, and its store, on the
//! simulated network and clocks.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Result, anyhow};
use bytes::Bytes;
use engine::{Engine, NetDial, Resolver, TlsClient, TlsRoots};
use http::Request;
use http::header::LOCATION;
use http_body_util::BodyExt as _;
use model::address::PrivateTargets;
use model::contract::{Backend, Frontend, Store};
use model::gate::Gate;
use model::lease::Lease;
use model::rng::SeededRng;
use model::time::Clock;
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use web::dialects::{DialectOptions, KnownEvents};
use web::{Body, Site};

use crate::events::Asker;
use crate::net;
use crate::scenario::DAY;
use crate::visits;
use crate::world::SharedWorld;

/// What a node is made from.
pub(crate) struct NodeParts<'a> {
    pub(crate) world: &'a SharedWorld,
    /// Which life of a node it is, from 0.
    pub(crate) life: usize,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) lease: Lease,
    pub(crate) clock: Clock,
    pub(crate) gate: Gate,
    pub(crate) roots: &'a TlsRoots,
}

/// Whom applications and people ask.
#[derive(Clone)]
pub(crate) struct Counter {
    world: SharedWorld,
    store: Arc<dyn Store>,
    clock: Clock,
    site: Site,
}

/// A node that runs.
pub(crate) struct RunningNode {
    pub(crate) engine: Engine,
    pub(crate) counter: Counter,
    /// Told when it begins to stop.
    pub(crate) stopping: watch::Sender<bool>,
}

/// Makes what the scenario declares, in the first life of all.
pub(crate) async fn declare(world: &SharedWorld, store: &dyn Store, clock: &Clock) -> Result<()> {
    let (options, text, rng) = {
        let world = world.lock();
        let scenario = &world.scenario;
        (
            options(&world),
            scenario.declarations(),
            scenario.rng.split("life 1"),
        )
    };
    let dialects = web::dialects::all(&options);
    let declared = dialects.declare(&text, &KnownEvents::new(), &mut rng.split("apply"));
    let declared = declared.map_err(|wrong| anyhow!("{wrong:?}"))?;
    let applied = store.apply(declared.declarations, "sim".to_owned(), clock.now());
    applied.await?;
    visits::sign_up(world, store, clock.now()).await
}

/// Starts a node.
pub(crate) fn start(parts: NodeParts<'_>) -> RunningNode {
    let mut meters = Registry::default();
    let (options, settings, rng) = given(parts.world, parts.life);
    let dialects = web::dialects::all(&options);
    let policies = dialects.policies();
    let engine = Engine::start(
        engine::Parts {
            store: Arc::clone(&parts.store) as Arc<dyn Backend>,
            lease: parts.lease,
            dial: Arc::new(dial(parts.world, parts.life, parts.roots, &mut meters)),
            clock: parts.clock.clone(),
            rng: rng.split("engine"),
            policies: policies.clone(),
            settings,
            gate: parts.gate,
            keyring: Arc::default(),
        },
        &mut meters,
    );
    let (health, inspector) = (engine.health(), engine.inspector());
    let stopping = watch::Sender::new(false);
    let site = web::Parts {
        store: Arc::clone(&parts.store) as Arc<dyn Frontend>,
        clock: parts.clock.clone(),
        rng: rng.split("web"),
        keyring: Arc::default(),
        settings: web::WebSettings::default(),
        dialects,
        policies,
        stopping: stopping.subscribe(),
        health: Arc::new(move || {
            health.check()?;
            Ok(health.note().into_iter().collect())
        }),
        dispatch_state: Arc::new(move |id| inspector.dispatch_state(id)),
        metrics: Arc::new(String::new),
        backlog: Arc::new(|| 0),
    };
    RunningNode {
        engine,
        counter: Counter {
            world: parts.world.clone(),
            store: parts.store,
            clock: parts.clock,
            site: web::build(site, &mut meters),
        },
        stopping,
    }
}

fn options(world: &crate::world::World) -> DialectOptions {
    let mut options = DialectOptions::default();
    if let Some(days) = world.scenario.retention_days {
        options.retention.all_ms = Some(i64::from(days) * DAY);
    }
    options
}

/// What the scenario gives this life: settings and chance.
fn given(world: &SharedWorld, life: usize) -> (DialectOptions, engine::Settings, SeededRng) {
    let world = world.lock();
    let scenario = &world.scenario;
    let settings = engine::Settings {
        max_in_flight: scenario.max_in_flight,
        max_concurrency_per_webhook: scenario.max_concurrency_per_webhook,
        max_idle_connections: scenario.max_in_flight,
        idle_connection_ms: 4_000,
        idle_connection_max_ms: 120_000,
    };
    let rng = scenario.rng.split(&format!("life {}", life + 1));
    (options(&world), settings, rng)
}

/// The simulated network below the real vetting.
fn dial(world: &SharedWorld, life: usize, roots: &TlsRoots, meters: &mut Registry) -> NetDial {
    let (begun, connected) = (world.clone(), world.clone());
    let begin = move |name: &str, reply| begun.lock().look_up(name, reply);
    let resolver = Resolver::deferred(Box::new(begin), meters);
    let connect = move |address: SocketAddr| net::connect(&connected, life, address);
    let connect = Box::new(connect);
    let tls = Arc::new(TlsClient::new(roots, meters));
    NetDial::over(connect, resolver, PrivateTargets::None, tls)
}

impl Counter {
    /// A client and its request, until it has an answer.
    pub(crate) fn serve(
        &self,
        asker: Asker,
        request: Request<Bytes>,
    ) -> impl Future<Output = ()> + Send + use<> {
        let Self {
            world,
            store,
            clock,
            site,
        } = self.clone();
        let site = site.asked_from([127, 0, 0, 1].into());
        async move {
            visits::sign_in(&world, &*store, request.headers(), clock.now()).await;
            let answer = site.answer(request.map(Body::from)).await;
            let status = answer.status().as_u16();
            let elsewhere = answer.headers().get(LOCATION).cloned();
            let elsewhere = elsewhere.filter(|_| status == 303);
            let body = answer.into_body().collect().await;
            let body = body
                .map(http_body_util::Collected::to_bytes)
                .unwrap_or_default();
            // Of an answer that leads elsewhere that is all there is.
            let body = elsewhere.map_or(body, |to| Bytes::copy_from_slice(to.as_bytes()));
            world.lock().is_answered(asker, Some((status, &body)));
        }
    }
}
