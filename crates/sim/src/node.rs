//! The node: the real engine, the real web floor with both dialects and the real store, in a
//! runtime of their own with simulated time. It lives until it is killed, stopped, or done.
//!
//! The driver sleeps until the world's next event and makes it happen. A kill drops the runtime
//! with every task wherever it stands, and goes on with the store's files as they are.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use engine::{Engine, NetDial, Resolver, TlsRoots};
use http::Request;
use http::header::LOCATION;
use http_body_util::BodyExt as _;
use model::address::PrivateTargets;
use model::contract::{Backend, Frontend, Store};
use model::lease::Lease;
use model::rng::SeededRng;
use model::time::{Clock, Timestamp};
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use tokio::time::Instant;
use web::dialects::{DialectOptions, KnownEvents};
use web::{Body, Site};

use crate::history::Stall;
use crate::net;
use crate::node_time::NodeTime;
use crate::record::{Record, records};
use crate::requests::RequestId;
use crate::scenario::{Action, DAY, Fault, HOUR, START};
use crate::store::TroubledStore;
use crate::visits;
use crate::world::{Event, SharedWorld, World};

/// How long running attempts may take after a stop was asked for, as `willcall serve` has it.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// After so much calm all that is owed has come to its end.
const CALM_MAX: i64 = 100 * HOUR;

/// How a life ended.
pub(crate) enum LifeEnd {
    Killed { off_ms: i64 },
    Stopped { off_ms: i64 },
    Done(Vec<Record>),
}

/// What the driver has to do with the node because of an event.
enum Duty {
    Request(Asker, Request<Bytes>),
    Reply(
        engine::LookupReply,
        Result<engine::Addresses, engine::NameError>,
    ),
    GiveUp(RequestId, u32),
    Fault(Fault),
    Look,
}

/// Who waits for an answer.
#[derive(Debug, Clone, Copy)]
enum Asker {
    /// An application, and which try it is; whether the answer is lost.
    HandIn(RequestId, u32, bool),
    Person(usize, Action),
}

/// A running node.
struct Node {
    world: SharedWorld,
    time: Arc<NodeTime>,
    store: Arc<dyn Store>,
    site: Site,
    lease: Lease,
    stopping: watch::Sender<bool>,
}

/// Runs a node on the store at `path` until its life ends. `killed` is called at a kill, before
/// anything is dropped, to take the store's files as they are.
pub(crate) fn live(
    world: &SharedWorld,
    path: &Path,
    roots: &TlsRoots,
    lead: &Arc<AtomicI64>,
    killed: impl FnOnce() -> Result<()>,
) -> Result<LifeEnd> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()?;
    let ended = runtime.block_on(async {
        let time = Arc::new(NodeTime {
            start: Instant::now(),
            base: AtomicI64::new(world.lock().now),
            lead: Arc::clone(lead),
        });
        world.lock().begins(&time);
        let mut meters = Registry::default();
        let (node, engine) = start(world, &time, path, roots, &mut meters).await?;
        let failed = engine.failed();
        let driven = tokio::select! {
            biased;
            part = failed => Err(anyhow!("{part} fell over")),
            end = node.drive() => end,
        };
        let end = match driven? {
            LifeEnd::Stopped { off_ms } => node.stop(engine, off_ms).await?,
            end @ (LifeEnd::Killed { .. } | LifeEnd::Done(_)) => end,
        };
        if matches!(end, LifeEnd::Killed { .. }) {
            killed()?;
        }
        Ok(end)
    });
    // With all its tasks, wherever they stand.
    drop(runtime);
    ended
}

async fn start(
    world: &SharedWorld,
    time: &Arc<NodeTime>,
    path: &Path,
    roots: &TlsRoots,
    meters: &mut Registry,
) -> Result<(Node, Engine)> {
    let store = store::open_inline_exclusively(path).context("the store does not open")?;
    let store: Arc<dyn Store> = Arc::new(TroubledStore::new(store, world.clone()));
    let clock = clock(time);
    let lease = store.claim(clock.now()).await?;
    let (rng, options, declared, settings) = given(world);
    let dialects = web::dialects::all(&options);
    if let Some(text) = declared {
        let declared = dialects.declare(&text, &KnownEvents::new(), &mut rng.split("apply"));
        let declared = declared.map_err(|wrong| anyhow!("{wrong:?}"))?;
        let applied = store.apply(declared.declarations, "sim".to_owned(), clock.now());
        applied.await?;
        visits::sign_up(world, &*store, clock.now()).await?;
    }
    let policies = dialects.policies();
    let engine = Engine::start(
        engine::Parts {
            store: Arc::clone(&store) as Arc<dyn Backend>,
            lease,
            dial: Arc::new(dial(world, roots, meters)),
            clock: clock.clone(),
            rng: rng.split("engine"),
            policies: policies.clone(),
            settings,
        },
        meters,
    );
    let (health, inspector) = (engine.health(), engine.inspector());
    let stopping = watch::Sender::new(false);
    let parts = web::Parts {
        store: Arc::clone(&store) as Arc<dyn Frontend>,
        clock,
        rng: rng.split("web"),
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
    };
    let node = Node {
        world: world.clone(),
        time: Arc::clone(time),
        store,
        site: web::build(parts, meters),
        lease,
        stopping,
    };
    Ok((node, engine))
}

/// What the scenario gives this life: chance, settings, and for the first one the tenants.
fn given(world: &SharedWorld) -> (SeededRng, DialectOptions, Option<String>, engine::Settings) {
    let world = world.lock();
    let scenario = &world.scenario;
    let life = world.history.lives.len();
    let mut options = DialectOptions::default();
    if let Some(days) = scenario.retention_days {
        options.retention.all_ms = Some(i64::from(days) * DAY);
    }
    let settings = engine::Settings {
        max_in_flight: scenario.max_in_flight,
        max_concurrency_per_webhook: scenario.max_concurrency_per_webhook,
        max_idle_connections: scenario.max_in_flight,
        idle_connection_ms: 4_000,
    };
    let declared = (life == 1).then(|| scenario.declarations());
    let rng = scenario.rng.split(&format!("life {life}"));
    (rng, options, declared, settings)
}

/// The simulated network below the real vetting.
fn dial(world: &SharedWorld, roots: &TlsRoots, meters: &mut Registry) -> NetDial {
    let (begun, connected) = (world.clone(), world.clone());
    let begin = move |name: &str, reply| begun.lock().look_up(name, reply);
    let resolver = Resolver::deferred(Box::new(begin), meters);
    let connect = move |address: SocketAddr| net::connect(&connected, address);
    let connect = Box::new(connect);
    NetDial::over(connect, resolver, PrivateTargets::None, roots)
}

fn clock(time: &Arc<NodeTime>) -> Clock {
    let (wall, steady) = (Arc::clone(time), Arc::clone(time));
    Clock::watched(
        move || Timestamp::from_millis(START + wall.now() + wall.lead.load(Ordering::Relaxed)),
        move || steady.steady_ms(),
    )
}

impl Node {
    /// Makes the world happen until this life is over.
    async fn drive(&self) -> Result<LifeEnd> {
        let wake = self.world.lock().waker();
        loop {
            let next = self.world.lock().sleeps_until();
            if next == i64::MAX {
                return Err(anyhow!("nothing happens any more"));
            }
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(self.time.at(next)) => {}
                () = wake.notified() => continue,
            }
            let now = self.time.now();
            while let Some(duty) = self.next_duty(now) {
                if let Some(end) = self.perform(duty).await? {
                    return Ok(end);
                }
            }
        }
    }

    /// Lets events happen until one needs the node.
    fn next_duty(&self, until: i64) -> Option<Duty> {
        let mut world = self.world.lock();
        while let Some(event) = world.pop(until) {
            if let Some(duty) = world.happens(event) {
                return Some(duty);
            }
        }
        None
    }

    async fn perform(&self, duty: Duty) -> Result<Option<LifeEnd>> {
        match duty {
            Duty::Request(asker, request) => self.request(asker, request),
            Duty::Reply(reply, found) => reply.answer(&found),
            Duty::GiveUp(id, tries) => self.world.lock().gave_up(id, tries),
            Duty::Look => {
                if self.is_done().await? {
                    return Ok(Some(LifeEnd::Done(
                        records(&self.world, &*self.store).await?,
                    )));
                }
                self.world.lock().after(HOUR, Event::Look);
            }
            Duty::Fault(Fault::Kill { off_ms }) => return Ok(Some(LifeEnd::Killed { off_ms })),
            Duty::Fault(Fault::Stop { off_ms }) => return Ok(Some(LifeEnd::Stopped { off_ms })),
            Duty::Fault(Fault::Freeze { ms }) => {
                self.stand_still(ms, false);
                tokio::time::advance(Duration::from_millis(ms.unsigned_abs())).await;
            }
            Duty::Fault(Fault::Suspend { ms }) => {
                self.stand_still(ms, true);
                self.time.base.fetch_add(ms, Ordering::Relaxed);
            }
            Duty::Fault(Fault::Step { by_ms } | Fault::Drift { by_ms }) => self.set_clock(by_ms),
            Duty::Fault(Fault::SetRight) => self.set_clock(0),
            Duty::Fault(fault) => self.world.lock().strikes(fault),
        }
        Ok(None)
    }

    /// The world goes on for so long without the node. What would need it waits until then.
    fn stand_still(&self, ms: i64, suspended: bool) {
        let mut world = self.world.lock();
        let from = world.now;
        let until = from + ms;
        world.history.stalls.push(Stall {
            from,
            until,
            suspended,
        });
        let mut waiting = Vec::new();
        while let Some(event) = world.pop(until) {
            if world.is_for_the_node(&event) {
                waiting.push(event);
            } else if world.happens(event).is_some() {
                unreachable!("only what is for the node needs it");
            }
        }
        for event in waiting {
            world.at(until, event);
        }
    }

    fn set_clock(&self, lead: i64) {
        self.time.lead.store(lead, Ordering::Relaxed);
        let mut world = self.world.lock();
        let now = world.now;
        world.history.clock.push((now, lead));
    }

    /// Has the site answer a request, in a task of its own.
    fn request(&self, asker: Asker, request: Request<Bytes>) {
        let site = self.site.clone().asked_from([127, 0, 0, 1].into());
        let world = self.world.clone();
        let (store, clock) = (Arc::clone(&self.store), clock(&self.time));
        let client = async move {
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
        };
        #[expect(
            clippy::disallowed_methods,
            reason = "the one place of the simulator that spawns: a client's connection"
        )]
        drop(tokio::spawn(client));
    }

    async fn is_done(&self) -> Result<bool> {
        let calm = {
            let world = self.world.lock();
            let waits = world
                .workload
                .requests
                .iter()
                .any(|request| !request.is_done);
            let edits = world
                .history
                .webhooks
                .iter()
                .any(|webhook| webhook.is_edited);
            match world.history.calm_for(world.now) {
                Some(calm) if !waits && !edits => calm,
                _ => return Ok(false),
            }
        };
        let owed = self
            .store
            .pending_webhooks(self.lease.epoch, None, 1)
            .await?;
        Ok(owed.is_empty() || calm > CALM_MAX)
    }

    /// Stops in the order of `willcall serve`. The world goes on meanwhile.
    async fn stop(&self, engine: Engine, off_ms: i64) -> Result<LifeEnd> {
        self.stopping.send_replace(true);
        self.world.lock().is_stopping = true;
        let stopped = engine.stop(STOP_LIMIT);
        let stopped = tokio::select! {
            biased;
            stopped = stopped => stopped,
            end = self.drive() => {
                // Killed while it stopped.
                return end.map(|_| LifeEnd::Killed { off_ms });
            }
        };
        self.store.close().await?;
        let is_clean = stopped.is_clean();
        self.world
            .lock()
            .says(|| format!("stopped, clean: {is_clean}"));
        Ok(match is_clean {
            true => LifeEnd::Stopped { off_ms },
            // What was in flight is repeated by the next start.
            false => LifeEnd::Killed { off_ms },
        })
    }
}

impl World {
    /// Makes an event happen as far as it needs no node.
    fn happens(&mut self, event: Event) -> Option<Duty> {
        match event {
            Event::ToReceiver(id, packet) => self.received(id, packet),
            Event::ToNode(id, packet) => self.arrived(id, packet),
            Event::Connected(id, is_open) => self.connected(id, is_open),
            Event::Idle(id, requests) => self.idle(id, requests),
            Event::LookedUp(reply, found) => return Some(Duty::Reply(reply, found)),
            Event::HandIn(id) if self.is_stopping => self.finds_nobody(id),
            Event::HandIn(id) => {
                let prepared = self.prepare(id)?;
                let tries = self.workload.requests.get(id)?.tries;
                self.after(prepared.patience_ms, Event::GiveUp(id, tries));
                let asker = Asker::HandIn(id, tries, prepared.loses_answer);
                return Some(Duty::Request(asker, prepared.request));
            }
            Event::GiveUp(id, tries) => return Some(Duty::GiveUp(id, tries)),
            Event::Act(webhook, action) => {
                let request = self.act(webhook, action)?;
                if self.is_stopping {
                    self.acted(webhook, action, None);
                    return None;
                }
                self.pending.push((webhook, action));
                return Some(Duty::Request(Asker::Person(webhook, action), request));
            }
            Event::Fault(fault) => {
                let is_moot = match fault {
                    Fault::SetRight => false,
                    Fault::Step { .. }
                    | Fault::Drift { .. }
                    | Fault::Partition { .. }
                    | Fault::Store { .. } => self.is_calm,
                    // What is off can neither be killed nor stand still.
                    Fault::Kill { .. }
                    | Fault::Stop { .. }
                    | Fault::Freeze { .. }
                    | Fault::Suspend { .. }
                    | Fault::ResetConnections => self.is_calm || self.time.is_none(),
                };
                if is_moot {
                    return None;
                }
                if !matches!(fault, Fault::Drift { .. }) {
                    self.history.fault(fault.name());
                    self.says(|| format!("fault: {fault:?}"));
                }
                return Some(Duty::Fault(fault));
            }
            Event::StoreWell(number) => self.store_is_well(number),
            Event::Calm => {
                self.calms_down();
                self.after(HOUR, Event::Look);
            }
            Event::Look => return Some(Duty::Look),
        }
        None
    }

    /// The same while the node is off: applications and people find nobody.
    pub(crate) fn happens_without_node(&mut self, event: Event, lead: &AtomicI64) {
        self.is_stopping = true;
        match self.happens(event) {
            Some(Duty::Fault(Fault::Step { by_ms } | Fault::Drift { by_ms })) => {
                self.clock_is_set(lead, by_ms);
            }
            Some(Duty::Fault(Fault::SetRight)) => self.clock_is_set(lead, 0),
            Some(Duty::Fault(fault @ (Fault::Store { .. } | Fault::Partition { .. }))) => {
                self.strikes(fault);
            }
            Some(Duty::Look) => self.after(HOUR, Event::Look),
            Some(Duty::GiveUp(id, tries)) => self.gave_up(id, tries),
            // What is killed is off already; nobody waits for a name any more.
            Some(Duty::Fault(_) | Duty::Reply(..) | Duty::Request(..)) | None => {}
        }
    }

    fn clock_is_set(&mut self, lead: &AtomicI64, to: i64) {
        lead.store(to, Ordering::Relaxed);
        self.history.clock.push((self.now, to));
    }

    fn is_for_the_node(&self, event: &Event) -> bool {
        match event {
            Event::HandIn(_)
            | Event::Act(..)
            | Event::LookedUp(..)
            | Event::GiveUp(..)
            | Event::Fault(_)
            | Event::Look => true,
            Event::ToReceiver(..)
            | Event::ToNode(..)
            | Event::Connected(..)
            | Event::Idle(..)
            | Event::StoreWell(_)
            | Event::Calm => false,
        }
    }

    /// An answer has reached whoever waits for it, unless it is lost or comes too late.
    fn is_answered(&mut self, asker: Asker, answer: Option<(u16, &[u8])>) {
        match asker {
            Asker::HandIn(id, tries, loses) => {
                let request = self.workload.requests.get(id);
                let waits = request.is_some_and(|one| one.tries == tries && !one.is_done);
                if waits && !loses {
                    self.answered(id, answer);
                }
            }
            Asker::Person(webhook, action) => {
                let place = self
                    .pending
                    .iter()
                    .position(|one| *one == (webhook, action));
                if let Some(place) = place {
                    self.pending.remove(place);
                    self.acted(webhook, action, answer);
                }
            }
        }
    }

    /// A client has waited long enough; if it has no answer, it will ask again.
    fn gave_up(&mut self, id: RequestId, tries: u32) {
        let request = self.workload.requests.get(id);
        if request.is_some_and(|one| one.tries == tries && !one.is_done) {
            self.answered(id, None);
        }
    }
}
