//! The one place of the simulator that spawns: clients' connections, and what nodes of a cluster
//! have under way.

use model::gate::Gate;
use tokio::task::JoinSet;

/// Runs something that nobody waits for.
#[expect(
    clippy::disallowed_methods,
    reason = "this program's place that spawns; what panics is noticed by who waits for its answer"
)]
pub(crate) fn apart(work: impl Future<Output = ()> + Send + 'static) {
    drop(tokio::spawn(work));
}

/// The tasks of a node, all behind its gate. Dropping them ends them.
pub(crate) struct NodeTasks {
    pub(crate) gate: Gate,
    set: JoinSet<()>,
}

impl NodeTasks {
    pub(crate) fn new() -> Self {
        Self {
            gate: Gate::new(),
            set: JoinSet::new(),
        }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "this program's place that spawns"
    )]
    pub(crate) fn spawn(&mut self, work: impl Future<Output = ()> + Send + 'static) {
        while self.set.try_join_next().is_some() {}
        self.set.spawn(self.gate.around(Box::pin(work)));
    }
}
