//! The nodes of a cluster and how each reaches the store, as plain data of the world.

use std::collections::BTreeMap;

use model::leased_store::{Hint, NodeNumber};
use model::rng::SeededRng;

use crate::cluster::faults::{CutKind, HintPlan, NodeFault};

/// Something that happens to nodes.
pub(crate) enum NodeEvent {
    Fault(NodeFault),
    Start(usize),
    /// A life has stopped, cleanly or not.
    Stopped {
        life: usize,
        is_clean: bool,
    },
    Thaw {
        life: usize,
    },
    Hint(NodeNumber, Hint),
    /// Each node looks each second whether others changed something.
    Watch,
}

pub(crate) struct Cluster {
    pub(crate) nodes: Vec<NodeState>,
    /// Until then the database answers nobody.
    pub(crate) paused_until: i64,
    pub(crate) hints: HintPlan,
    pub(crate) rng: SeededRng,
    /// Which life each number of the leased store is.
    pub(crate) numbers: BTreeMap<NodeNumber, usize>,
    /// Since when there are slots of nobody.
    pub(crate) bare_since: Option<i64>,
}

/// A node, as far as the world knows.
#[derive(Default)]
pub(crate) struct NodeState {
    /// The life that it lives, unless it is off.
    pub(crate) life: Option<usize>,
    /// It was told to stop, and what comes after that.
    pub(crate) stops: Option<Option<i64>>,
    pub(crate) is_frozen: bool,
    pub(crate) cut: Option<(CutKind, i64)>,
    /// Hints to it may have been lost.
    pub(crate) missed: bool,
    /// The version of the catalog that it saw last.
    pub(crate) version: u64,
    /// Since when nothing is in its way.
    pub(crate) well_since: i64,
}

/// How a node reaches the store at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StorePath {
    Open,
    /// Whoever asks waits until then.
    Waits(i64),
    Refuses,
    LosesAnswers,
}

impl Cluster {
    pub(crate) fn new(nodes: usize, hints: HintPlan, rng: SeededRng) -> Self {
        Self {
            nodes: (0..nodes).map(|_| NodeState::default()).collect(),
            paused_until: 0,
            hints,
            rng,
            numbers: BTreeMap::new(),
            bare_since: None,
        }
    }
}
