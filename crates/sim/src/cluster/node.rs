//! A node of a cluster: its tasks, behind a gate, and what it is told.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use engine::TlsRoots;
use http::Request;
use model::contract::Store;
use model::gate::Gate;
use model::leased_store::{LeasedStore, NodeNumber};
use model::time::{Clock, Timestamp};
use tokio::sync::Notify;

use crate::assemble::{self, Counter, NodeParts};
use crate::cluster::faults::NodeClock;
use crate::cluster::link::Link;
use crate::cluster::nodes::NodeEvent;
use crate::events::Asker;
use crate::node::STOP_LIMIT;
use crate::node_time::NodeTime;
use crate::scenario::START;
use crate::tasks::NodeTasks;
use crate::world::{Event, SharedWorld};

/// A claim that failed is made again after so long, as a process that is started again would.
const CLAIM_AGAIN: Duration = Duration::from_secs(1);

/// A node, be it on or off.
pub(crate) struct ClusterNode {
    node: usize,
    clock: NodeClock,
    life: Option<NodeLife>,
}

/// A process.
struct NodeLife {
    number: NodeNumber,
    tasks: NodeTasks,
    /// Whom others ask, while it runs.
    counter: Arc<Mutex<Option<Counter>>>,
    stop: Arc<Notify>,
}

/// What all nodes share.
pub(crate) struct Shared {
    pub(crate) world: SharedWorld,
    pub(crate) time: Arc<NodeTime>,
    pub(crate) leased: LeasedStore,
    pub(crate) roots: TlsRoots,
}

/// A client whose connection may end without an answer.
struct Client {
    world: SharedWorld,
    asker: Option<Asker>,
}

impl Client {
    fn leaves(mut self) {
        self.asker = None;
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if let Some(asker) = self.asker {
            self.world.lock().is_answered(asker, None);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A clock that is as wrong as this one.
pub(crate) fn clock(time: &Arc<NodeTime>, clock: NodeClock) -> Clock {
    let (wall, steady) = (Arc::clone(time), Arc::clone(time));
    Clock::watched(
        move || {
            let now = wall.now();
            Timestamp::from_millis(START + now + clock.lead(now))
        },
        move || steady.steady_ms(),
    )
}

impl ClusterNode {
    pub(crate) fn new(node: usize, clock: NodeClock) -> Self {
        Self {
            node,
            clock,
            life: None,
        }
    }

    /// Starts it, unless it is on.
    pub(crate) fn start(&mut self, shared: &Shared) {
        if self.life.is_some() {
            return;
        }
        let store = shared.leased.node();
        let number = store.number();
        let life = shared.world.lock().node_begins(self.node, number);
        let mut tasks = NodeTasks::new();
        let counter = Arc::default();
        let stop = Arc::new(Notify::new());
        let process = Process {
            world: shared.world.clone(),
            life,
            store: Arc::new(Link {
                inner: Arc::new(store),
                leased: shared.leased.clone(),
                world: shared.world.clone(),
                node: self.node,
                life,
            }),
            clock: clock(&shared.time, self.clock),
            gate: tasks.gate.clone(),
            roots: shared.roots.clone(),
            counter: Arc::clone(&counter),
            stop: Arc::clone(&stop),
        };
        tasks.spawn(process.run());
        self.life = Some(NodeLife {
            number,
            tasks,
            counter,
            stop,
        });
    }

    /// Ends its process at once, wherever it stands.
    pub(crate) fn end(&mut self, shared: &Shared, killed: bool) {
        let Some(life) = self.life.take() else {
            return;
        };
        life.tasks.gate.close();
        shared.leased.leave(life.number);
        shared.world.lock().node_ends(self.node, killed);
    }

    pub(crate) fn freeze(&self) {
        if let Some(life) = &self.life {
            life.tasks.gate.close();
        }
    }

    pub(crate) fn thaw(&self) {
        if let Some(life) = &self.life {
            life.tasks.gate.open();
        }
    }

    pub(crate) fn stop(&self) {
        if let Some(life) = &self.life {
            life.stop.notify_one();
        }
    }

    /// Takes a request, or there is nobody.
    pub(crate) fn ask(&mut self, shared: &Shared, asker: Asker, request: Request<Bytes>) {
        let client = Client {
            world: shared.world.clone(),
            asker: Some(asker),
        };
        let Some(life) = &mut self.life else {
            return;
        };
        let counter = lock(&life.counter).clone();
        if let Some(counter) = counter {
            life.tasks.spawn(async move {
                counter.serve(asker, request).await;
                client.leaves();
            });
        }
    }
}

/// What a process does from its start to its end.
struct Process {
    world: SharedWorld,
    life: usize,
    store: Arc<dyn Store>,
    clock: Clock,
    gate: Gate,
    roots: TlsRoots,
    counter: Arc<Mutex<Option<Counter>>>,
    stop: Arc<Notify>,
}

impl Process {
    async fn run(self) {
        let lease = loop {
            match self.store.claim(self.clock.now()).await {
                Ok(lease) => break lease,
                Err(_) => tokio::time::sleep(CLAIM_AGAIN).await,
            }
        };
        let running = assemble::start(NodeParts {
            world: &self.world,
            life: self.life,
            store: self.store,
            lease,
            clock: self.clock,
            gate: self.gate,
            roots: &self.roots,
        });
        *lock(&self.counter) = Some(running.counter);
        tokio::select! {
            biased;
            part = running.engine.failed() => {
                let words = format!("{part} fell over in life {}", self.life);
                self.world.lock().history.broken.push(("the node runs", words));
            }
            () = self.stop.notified() => {}
        }
        *lock(&self.counter) = None;
        running.stopping.send_replace(true);
        let stopped = running.engine.stop(STOP_LIMIT).await;
        let (life, is_clean) = (self.life, stopped.is_clean());
        let event = NodeEvent::Stopped { life, is_clean };
        self.world.lock().after(0, Event::Node(event));
    }
}
