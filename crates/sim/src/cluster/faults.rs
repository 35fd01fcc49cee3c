//! What can go wrong with nodes and their clocks, and all that is drawn of it for a world.

/// The clock of a node, which is never set, and never right.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NodeClock {
    /// By how much it is ahead when the simulation begins.
    pub(crate) lead: i64,
    /// By so many millionths it goes too fast.
    pub(crate) drift: i64,
}

/// What happens to hints on their way to other nodes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HintPlan {
    pub(crate) lost_percent: u64,
    pub(crate) late_ms_max: u64,
}

/// In what way a node does not reach the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CutKind {
    /// Each call is refused.
    Refuses,
    /// Calls wait, and are made when it is over.
    Hangs,
    /// What is asked is done, and its answer is lost.
    LosesAnswers,
}

/// Something that goes wrong with a node, or with the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NodeFault {
    /// It is killed, and started again after so long, if ever.
    Kill { node: usize, off_ms: Option<i64> },
    /// It is told to stop, and started again so long after that, if ever.
    Stop { node: usize, off_ms: Option<i64> },
    /// It stands still; clocks go on.
    Freeze { node: usize, ms: i64 },
    /// Its path to the store is cut.
    Cut { node: usize, kind: CutKind, ms: i64 },
    /// The database answers nobody.
    Pause { ms: i64 },
}

/// All that is drawn.
pub(crate) struct ClusterPlan {
    pub(crate) clocks: Vec<NodeClock>,
    /// By how much the database's clock is ahead.
    pub(crate) database_lead: i64,
    pub(crate) hints: HintPlan,
    pub(crate) faults: Vec<(i64, NodeFault)>,
    /// Webhooks of nobody that are created before each, so that slots differ.
    pub(crate) gap: usize,
}

impl NodeClock {
    /// By how much it is ahead then.
    pub(crate) fn lead(self, now: i64) -> i64 {
        self.lead + now * self.drift / 1_000_000
    }

    /// When it was in truth that it said this, at the latest.
    pub(crate) fn truth(self, said: i64) -> i64 {
        let about = (said - self.lead) * 1_000_000 / (1_000_000 + self.drift);
        let mut near = (about - 2..=about + 2).rev();
        near.find(|at| at + self.lead(*at) == said).unwrap_or(about)
    }
}

impl NodeFault {
    /// A word for counting.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kill { .. } => "node killed",
            Self::Stop { .. } => "node stopped",
            Self::Freeze { .. } => "node frozen",
            Self::Cut { kind, .. } => match kind {
                CutKind::Refuses => "path to the store refuses",
                CutKind::Hangs => "path to the store hangs",
                CutKind::LosesAnswers => "path to the store loses answers",
            },
            Self::Pause { .. } => "database pauses",
        }
    }
}
