//! The world around the node: virtual time, and everything that will happen, in order.
//!
//! All of it is plain data. Nothing here is a task or a thread, so the world goes on while the node
//! is off, frozen, or being started. Time is in milliseconds since the simulation began.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use engine::LookupReply;
use model::rng::SeededRng;
use tokio::sync::Notify;

use crate::cluster::history::ClusterHistory;
use crate::cluster::nodes::{Cluster, NodeEvent};
use crate::conn::{ConnId, Net, Packet};
use crate::history::History;
use crate::mood::Receiver;
use crate::node_time::NodeTime;
use crate::requests::{RequestId, Workload};
use crate::scenario::{Action, Fault, Planned, Scenario, StoreFault};
use crate::trace::Trace;

/// Something that happens at its time.
pub(crate) enum Event {
    /// A packet arrives at a receiver.
    ToReceiver(ConnId, Packet),
    /// A packet arrives at the node.
    ToNode(ConnId, Packet),
    /// A connection is answered or refused.
    Connected(ConnId, bool),
    /// A name is answered.
    LookedUp(LookupReply, Result<engine::Addresses, engine::NameError>),
    /// A receiver ends an idle connection.
    Idle(ConnId, u32),
    /// An application makes a request, or repeats it.
    HandIn(RequestId),
    /// An application has waited long enough for an answer.
    GiveUp(RequestId, u32),
    /// Somebody does something.
    Act(usize, Action),
    Fault(Fault),
    /// The store is as it should be again.
    StoreWell(u64),
    /// Something happens to a node of a cluster.
    Node(NodeEvent),
    /// The trouble is over.
    Calm,
    /// Time to look whether all is done.
    Look,
}

/// The network, the receivers, the applications and people, and what is known of all of them.
pub(crate) struct World {
    pub(crate) now: i64,
    pub(crate) scenario: Scenario,
    pub(crate) net: Net,
    pub(crate) receivers: Vec<Receiver>,
    pub(crate) workload: Workload,
    pub(crate) history: History,
    pub(crate) trace: Trace,
    pub(crate) store: StoreTrouble,
    pub(crate) is_calm: bool,
    /// The node takes no connections: it stops, or is off.
    pub(crate) is_stopping: bool,
    /// What people did and have no answer to.
    pub(crate) pending: Vec<(usize, Action)>,
    /// Calls to the store at this moment.
    pub(crate) calls_at: (i64, u32),
    /// The nodes, if there are several.
    pub(crate) cluster: Option<Cluster>,
    /// The time of the node that runs, or of all of them.
    pub(crate) time: Option<Arc<NodeTime>>,
    queue: BTreeMap<(i64, u64), Event>,
    sequence: u64,
    wakes_at: i64,
    wake: Arc<Notify>,
}

/// What is wrong with the store.
pub(crate) struct StoreTrouble {
    pub(crate) kind: Option<StoreFault>,
    pub(crate) number: u64,
    pub(crate) rng: SeededRng,
}

/// The world, as the node's network and the driver share it. There is one thread.
#[derive(Clone)]
pub(crate) struct SharedWorld(Arc<Mutex<World>>);

impl SharedWorld {
    pub(crate) fn new(world: World) -> Self {
        Self(Arc::new(Mutex::new(world)))
    }

    /// The world at this moment: the node's time goes on between events, too.
    pub(crate) fn lock(&self) -> MutexGuard<'_, World> {
        let mut world = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(time) = &world.time {
            let now = time.now();
            world.now = world.now.max(now);
        }
        world
    }
}

impl World {
    pub(crate) fn new(scenario: Scenario, traced: bool) -> Self {
        let rng = &scenario.rng;
        let (net, store) = (rng.split("network"), rng.split("store"));
        let receivers = scenario.receivers(&rng.split("receivers"));
        let workload = Workload::new(&scenario, rng.split("workload"));
        let mut world = Self {
            now: 0,
            net: Net::new(net),
            receivers,
            workload,
            history: History {
                webhooks: scenario.webhooks(),
                clock: vec![(0, 0)],
                ..History::default()
            },
            trace: Trace::new(traced),
            store: StoreTrouble {
                kind: None,
                number: 0,
                rng: store,
            },
            is_calm: false,
            is_stopping: true,
            pending: Vec::new(),
            calls_at: (0, 0),
            cluster: None,
            time: None,
            queue: BTreeMap::new(),
            sequence: 0,
            wakes_at: i64::MAX,
            wake: Arc::default(),
            scenario,
        };
        if let Some(plan) = &world.scenario.cluster {
            let rng = world.scenario.rng.split("nodes");
            world.cluster = Some(Cluster::new(plan.clocks.len(), plan.hints, rng));
            world.history.cluster = Some(ClusterHistory::new(plan.clocks.clone()));
        }
        let (most, each) = (
            world.scenario.max_in_flight,
            world.scenario.max_concurrency_per_webhook,
        );
        let theme = world.scenario.theme;
        world.says(|| format!("{theme:?}; in flight at most {most}, of one webhook {each}"));
        for (at, planned) in world.scenario.plan() {
            let event = match planned {
                Planned::HandIn(id) => Event::HandIn(id),
                Planned::Act(webhook, action) => Event::Act(webhook, action),
                Planned::Fault(fault) => Event::Fault(fault),
                Planned::Calm => Event::Calm,
            };
            world.at(at, event);
        }
        world
    }

    /// Has `event` happen at `at`, or now if that has passed.
    pub(crate) fn at(&mut self, at: i64, event: Event) {
        let at = at.max(self.now);
        self.sequence += 1;
        self.queue.insert((at, self.sequence), event);
        if at < self.wakes_at {
            self.wake.notify_one();
        }
    }

    /// Has `event` happen in so many milliseconds.
    pub(crate) fn after(&mut self, ms: i64, event: Event) {
        self.at(self.now.saturating_add(ms), event);
    }

    /// When the next event is due. Whoever asks sleeps until then, and is woken before if something
    /// earlier comes up.
    pub(crate) fn sleeps_until(&mut self) -> i64 {
        let next = self.queue.first_key_value();
        self.wakes_at = next.map_or(i64::MAX, |((at, _), _)| *at);
        self.wakes_at
    }

    pub(crate) fn waker(&self) -> Arc<Notify> {
        Arc::clone(&self.wake)
    }

    /// The next event that is due by `until`; the world's time is its time then, else `until`.
    pub(crate) fn pop(&mut self, until: i64) -> Option<Event> {
        let entry = self.queue.first_entry().filter(|e| e.key().0 <= until);
        let Some(entry) = entry else {
            self.now = self.now.max(until);
            return None;
        };
        let ((at, _), event) = entry.remove_entry();
        self.now = self.now.max(at);
        Some(event)
    }

    /// Writes a line of the trace.
    pub(crate) fn says(&mut self, words: impl FnOnce() -> String) {
        self.trace.line(self.now, words);
    }
}
