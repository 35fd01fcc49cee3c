//! The node: the real engine, the real web floor with both dialects and the real store, in a
//! runtime of their own with simulated time. It lives until it is killed, stopped, or done.
//!
//! The driver sleeps until the world's next event and makes it happen. A kill drops the runtime
//! with every task wherever it stands, and goes on with the store's files as they are.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use engine::{Engine, TlsRoots};
use model::contract::Store;
use model::gate::Gate;
use model::lease::Lease;
use model::time::{Clock, Timestamp};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::assemble::{self, Counter, NodeParts, declare};
use crate::events::Duty;
use crate::history::Stall;
use crate::node_time::NodeTime;
use crate::record::{Record, records};
use crate::scenario::{Fault, HOUR, START};
use crate::store::TroubledStore;
use crate::tasks::apart;
use crate::world::{Event, SharedWorld};

/// How long running attempts may take after a stop was asked for, as `willcall serve` has it.
pub(crate) const STOP_LIMIT: Duration = Duration::from_secs(30);

/// After so much calm all that is owed has come to its end.
const CALM_MAX: i64 = 100 * HOUR;

/// How a life ended.
pub(crate) enum LifeEnd {
    Killed { off_ms: i64 },
    Stopped { off_ms: i64 },
    Done(Vec<Record>),
}

/// A running node.
struct Node {
    world: SharedWorld,
    time: Arc<NodeTime>,
    store: Arc<dyn Store>,
    counter: Counter,
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
        let (node, engine) = start(world, &time, path, roots).await?;
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

/// Starts the node and, in its first life, has the tenants made.
async fn start(
    world: &SharedWorld,
    time: &Arc<NodeTime>,
    path: &Path,
    roots: &TlsRoots,
) -> Result<(Node, Engine)> {
    let store = store::open_inline_exclusively(path).context("the store does not open")?;
    let store: Arc<dyn Store> = Arc::new(TroubledStore::new(store, world.clone()));
    let clock = clock(time);
    let lease = store.claim(clock.now()).await?;
    let life = world.lock().history.lives.len() - 1;
    if life == 0 {
        declare(world, &*store, &clock).await?;
    }
    let running = assemble::start(NodeParts {
        world,
        life,
        store: Arc::clone(&store),
        lease,
        clock,
        gate: Gate::default(),
        roots,
    });
    let node = Node {
        world: world.clone(),
        time: Arc::clone(time),
        store,
        counter: running.counter,
        lease,
        stopping: running.stopping,
    };
    Ok((node, running.engine))
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
            Duty::Request(asker, request) => apart(self.counter.serve(asker, request)),
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
            Duty::Node(_) => unreachable!("there is one node"),
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

    async fn is_done(&self) -> Result<bool> {
        let Some(calm) = self.world.lock().calm_without_requests() else {
            return Ok(false);
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
