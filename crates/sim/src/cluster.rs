//! A cluster: three nodes with clocks of their own, on one store behind leases, in one runtime with
//! simulated time.
//!
//! Every task of a node passes its gate, so a frozen node does nothing, and finds out all at once
//! afterwards. A kill closes the gate and drops the tasks.

pub(crate) mod faults;
pub(crate) mod history;
mod link;
mod node;
pub(crate) mod nodes;
mod plan;
mod state;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use http::Request;
use model::contract::Store;
use model::filter::Filter;
use model::lease::Epoch;
use model::leased_store::{Hint, LeasedStore};
use model::tenant::DialectName;
use model::time::Timestamp;
use model::webhook::{DisableCause, Disablement, Headers, NewWebhook};
use tokio::time::Instant;

use crate::assemble::declare;
use crate::cluster::faults::{ClusterPlan, NodeFault};
use crate::cluster::node::{ClusterNode, Shared, clock};
use crate::cluster::nodes::NodeEvent;
use crate::cluster::plan::NODES;
use crate::dialects::Dialect;
use crate::events::{Asker, Duty};
use crate::node_time::NodeTime;
use crate::record::{Record, records};
use crate::scenario::{Action, HOUR, MINUTE, SECOND, START};
use crate::world::{Event, SharedWorld};

/// After so much calm all that is owed has come to its end.
const CALM_MAX: i64 = 8 * HOUR;

/// Whoever comes has its share by then.
const JOINS_MS: i64 = MINUTE;

/// What was lost without a word is looked for by then.
const CALM_MIN: i64 = 2 * MINUTE;

const BULK_JOBS: &str = "a bulk job comes to its end";

/// The nodes, and what drives them.
struct Cluster {
    shared: Shared,
    nodes: Vec<ClusterNode>,
    gap: usize,
    calm: bool,
}

/// Lets the nodes live until all is done.
pub(crate) fn run(world: &SharedWorld, folder: &Path) -> Result<Vec<Record>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()?;
    let done = runtime.block_on(async {
        let mut cluster = Cluster::new(world, folder).await?;
        cluster.drive().await
    });
    drop(runtime);
    done
}

impl Cluster {
    async fn new(world: &SharedWorld, folder: &Path) -> Result<Self> {
        let time = Arc::new(NodeTime {
            start: Instant::now(),
            base: AtomicI64::new(0),
            lead: Arc::default(),
        });
        let store = store::open_inline_exclusively(&folder.join("willcall.db"));
        let store = store.context("the store does not open")?;
        let (clocks, database_lead, faults, gap) = {
            let mut world = world.lock();
            world.time = Some(Arc::clone(&time));
            world.is_stopping = false;
            let plan = world.scenario.cluster.as_ref();
            let plan = plan.context("the scenario has no cluster")?;
            let ClusterPlan {
                clocks,
                database_lead,
                faults,
                gap,
                ..
            } = plan;
            (clocks.clone(), *database_lead, faults.clone(), *gap)
        };
        let (database, post) = (Arc::clone(&time), world.clone());
        let leased = LeasedStore::new(
            Arc::clone(&store),
            move || Timestamp::from_millis(START + database.now() + database_lead),
            move |node, hint| post.lock().post(node, &hint),
        );
        let first = clocks.first().copied().context("no clock")?;
        declare(world, &*store, &clock(&time, first)).await?;
        {
            let mut world = world.lock();
            for (at, fault) in faults {
                world.at(MINUTE / 2 + at, Event::Node(NodeEvent::Fault(fault)));
            }
            for node in 0..NODES {
                let at = 200 * i64::try_from(node)?;
                world.at(at, Event::Node(NodeEvent::Start(node)));
            }
            world.after(SECOND, Event::Node(NodeEvent::Watch));
        }
        let nodes = clocks.iter().enumerate();
        Ok(Self {
            shared: Shared {
                world: world.clone(),
                time,
                leased,
                roots: engine::tls_config(&[])?,
            },
            nodes: nodes
                .map(|(node, clock)| ClusterNode::new(node, *clock))
                .collect(),
            gap,
            calm: false,
        })
    }

    /// Makes the world happen until all is done.
    async fn drive(&mut self) -> Result<Vec<Record>> {
        let world = self.shared.world.clone();
        let wake = world.lock().waker();
        loop {
            let next = world.lock().sleeps_until();
            if next == i64::MAX {
                return Err(anyhow!("nothing happens any more"));
            }
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(self.shared.time.at(next)) => {}
                () = wake.notified() => continue,
            }
            let now = self.shared.time.now();
            while let Some(duty) = next_duty(&world, now) {
                if let Some(records) = self.perform(duty).await? {
                    return Ok(records);
                }
            }
            let calms = world.lock().is_calm && !std::mem::replace(&mut self.calm, true);
            if calms {
                self.calm_down();
            }
        }
    }

    async fn perform(&mut self, duty: Duty) -> Result<Option<Vec<Record>>> {
        let world = self.shared.world.clone();
        match duty {
            Duty::Request(asker, request) => self.ask(asker, request).await?,
            Duty::Reply(reply, found) => reply.answer(&found),
            Duty::GiveUp(id, tries) => world.lock().gave_up(id, tries),
            Duty::Fault(fault) => world.lock().strikes(fault),
            Duty::Node(event) => self.happens(event)?,
            Duty::Look => {
                if self.is_done().await? {
                    let table = self.shared.leased.table();
                    world.lock().judge_shares(&table);
                    let left = self.shared.leased.bulk_jobs().await?;
                    if !left.is_empty() {
                        let words = format!("{left:?} never ended");
                        world.lock().history.broken.push((BULK_JOBS, words));
                    }
                    return Ok(Some(records(&world, &**self.shared.leased.store()).await?));
                }
                world.lock().after(MINUTE, Event::Look);
            }
        }
        Ok(None)
    }

    /// Somebody asks one of the nodes.
    async fn ask(&mut self, asker: Asker, request: Request<Bytes>) -> Result<()> {
        if matches!(asker, Asker::Person(_, Action::Create)) {
            fill(&**self.shared.leased.store(), self.gap).await?;
        }
        let node = {
            let mut world = self.shared.world.lock();
            let cluster = world.cluster.as_mut().context("no cluster")?;
            usize::try_from(cluster.rng.below(NODES as u64))?
        };
        if let Some(node) = self.nodes.get_mut(node) {
            node.ask(&self.shared, asker, request);
        }
        Ok(())
    }

    fn happens(&mut self, event: NodeEvent) -> Result<()> {
        let world = self.shared.world.clone();
        match event {
            NodeEvent::Fault(fault) => self.strike(fault),
            NodeEvent::Start(node) => {
                if let Some(node) = self.nodes.get_mut(node) {
                    node.start(&self.shared);
                }
            }
            NodeEvent::Stopped { life, is_clean } => self.stopped(life, is_clean),
            NodeEvent::Thaw { life } => {
                if let Some(node) = world.lock().node_thaws(life) {
                    self.nodes.get(node).into_iter().for_each(ClusterNode::thaw);
                }
            }
            NodeEvent::Hint(to, hint) => {
                if world.lock().hears(to) {
                    self.shared.leased.hint(to, &hint);
                }
            }
            NodeEvent::Watch => {
                let version = self.shared.leased.store().version();
                let told = world.lock().watch_store(version);
                for node in told {
                    self.shared.leased.hint(node, &Hint::All);
                }
                let table = self.shared.leased.table();
                let database_now = self.shared.leased.now().as_millis();
                let mut world = world.lock();
                world.judge_takeover(&table, database_now);
                world.after(SECOND, Event::Node(NodeEvent::Watch));
            }
        }
        Ok(())
    }

    fn strike(&mut self, fault: NodeFault) {
        let mut world = self.shared.world.lock();
        if world.is_calm || !world.is_struck(fault) {
            return;
        }
        world.history.fault(fault.name());
        world.says(|| format!("fault: {fault:?}"));
        world.store_is_cut(fault);
        match fault {
            NodeFault::Kill { node, off_ms } => {
                if let Some(off_ms) = off_ms {
                    world.after(off_ms, Event::Node(NodeEvent::Start(node)));
                }
                drop(world);
                if let Some(node) = self.nodes.get_mut(node) {
                    node.end(&self.shared, true);
                }
            }
            NodeFault::Stop { node, .. } => {
                drop(world);
                self.nodes.get(node).into_iter().for_each(ClusterNode::stop);
            }
            NodeFault::Freeze { node, ms } => {
                let life = world.life_of(node);
                if let Some(life) = life {
                    world.after(ms, Event::Node(NodeEvent::Thaw { life }));
                }
                drop(world);
                self.nodes
                    .get(node)
                    .into_iter()
                    .for_each(ClusterNode::freeze);
            }
            NodeFault::Cut { .. } | NodeFault::Pause { .. } => {}
        }
    }

    /// A process has ended as it was told to.
    fn stopped(&mut self, life: usize, is_clean: bool) {
        let mut world = self.shared.world.lock();
        let Some(node) = world.node_of(life) else {
            return;
        };
        world.says(|| format!("node {node} stopped, clean: {is_clean}"));
        let off_ms = world.stops(node);
        drop(world);
        if let Some(node) = self.nodes.get_mut(node) {
            // What was in flight is repeated by the next owner.
            node.end(&self.shared, !is_clean);
        }
        if let Some(off_ms) = off_ms {
            let mut world = self.shared.world.lock();
            world.after(off_ms, Event::Node(NodeEvent::Start(node)));
        }
    }

    /// All is well from now on; who has not left for good runs.
    fn calm_down(&mut self) {
        let mut world = self.shared.world.lock();
        world.nodes_calm_down();
        let frozen = world.frozen_lives();
        for life in frozen {
            world.after(0, Event::Node(NodeEvent::Thaw { life }));
        }
    }

    async fn is_done(&self) -> Result<bool> {
        let calm = {
            let world = self.shared.world.lock();
            let latest = world.history.lives.last();
            let is_new = latest.is_some_and(|life| life.began_at > world.now - JOINS_MS);
            match world.calm_without_requests() {
                Some(calm) if calm >= CALM_MIN && !is_new => calm,
                _ => return Ok(false),
            }
        };
        let store = self.shared.leased.store();
        let owed = store.pending_webhooks(Epoch::FIRST, None, 1).await?;
        Ok(owed.is_empty() || calm > CALM_MAX)
    }
}

/// Lets events happen until one needs a node.
fn next_duty(world: &SharedWorld, until: i64) -> Option<Duty> {
    let mut world = world.lock();
    while let Some(event) = world.pop(until) {
        if let Some(duty) = world.happens(event) {
            return Some(duty);
        }
    }
    None
}

/// Creates webhooks that nobody calls, so that the next one has another slot.
async fn fill(store: &dyn Store, count: usize) -> Result<()> {
    let dialect = DialectName::new(Dialect::default().name());
    let tenants = store.tenants(dialect).await?;
    let tenant = tenants.first().context("a tenant is gone")?.id;
    for _ in 0..count {
        let webhook = NewWebhook {
            tenant,
            key: None,
            target_url: "http://nobody.example/".to_owned(),
            disabled: Some(Disablement {
                at: Timestamp::from_millis(START),
                cause: DisableCause::Requested,
            }),
            filter: Filter::default(),
            settings: "{}".to_owned(),
            headers: Headers::default(),
            retries_max: None,
        };
        let created =
            store.create_webhook(webhook, "sim".to_owned(), Timestamp::from_millis(START));
        created.await?;
    }
    Ok(())
}
