//! Trouble that needs no node: the store's, the network's, and their end.

use crate::conn::Packet;
use crate::history::{History, Life};
use crate::node_time::NodeTime;
use crate::scenario::Fault;
use crate::world::{Event, World};
use std::sync::Arc;

impl World {
    /// A life begins.
    pub(crate) fn begins(&mut self, time: &Arc<NodeTime>) {
        let now = self.now;
        self.is_stopping = false;
        self.time = Some(Arc::clone(time));
        self.history.lives.push(Life {
            began_at: now,
            ended_at: None,
            killed: false,
        });
        let life = self.history.lives.len();
        self.says(|| format!("life {life} begins"));
    }

    /// A life has ended: who waited for an answer gets none.
    pub(crate) fn ends(&mut self, killed: bool) {
        let now = self.now;
        self.time = None;
        self.is_stopping = true;
        if let Some(life) = self.history.lives.last_mut() {
            life.ended_at = Some(now);
            life.killed = killed;
        }
        for (webhook, action) in std::mem::take(&mut self.pending) {
            self.acted(webhook, action, None);
        }
        self.says(|| match killed {
            true => "killed".to_owned(),
            false => "ended".to_owned(),
        });
    }

    /// A fault of the store or the network.
    pub(crate) fn strikes(&mut self, fault: Fault) {
        let now = self.now;
        match fault {
            Fault::Store { kind, ms } => {
                self.store.kind = Some(kind);
                self.store.number += 1;
                self.history.store_troubles.push((now, now + ms));
                let number = self.store.number;
                self.after(ms, Event::StoreWell(number));
            }
            Fault::Partition { receiver, ms } => {
                self.history.partitions.push((receiver, now, now + ms));
                self.net.partitions.insert(receiver, now + ms);
            }
            Fault::ResetConnections => {
                let ids: Vec<u64> = self.net.conns.keys().copied().collect();
                for id in ids {
                    if self.net.rng.below(2) == 0 {
                        self.receiver_leaves(id, 0, Packet::Reset);
                    }
                }
            }
            Fault::Kill { .. }
            | Fault::Stop { .. }
            | Fault::Freeze { .. }
            | Fault::Suspend { .. }
            | Fault::Step { .. }
            | Fault::Drift { .. }
            | Fault::SetRight => unreachable!("these are the node's"),
        }
    }

    pub(crate) fn store_is_well(&mut self, number: u64) {
        if self.store.number == number {
            self.store.kind = None;
        }
    }

    /// No more trouble.
    pub(crate) fn calms_down(&mut self) {
        let now = self.now;
        self.is_calm = true;
        self.history.calm_at = Some(now);
        self.store.kind = None;
        self.net.partitions.clear();
        for trouble in &mut self.history.store_troubles {
            trouble.1 = trouble.1.min(now);
        }
        self.says(|| "calm".to_owned());
    }
}

impl World {
    /// For how long it has been calm, if nobody waits for an answer.
    pub(crate) fn calm_without_requests(&self) -> Option<i64> {
        let requests = &self.workload.requests;
        let waits = requests.iter().any(|request| !request.is_done);
        let webhooks = &self.history.webhooks;
        let edits = webhooks.iter().any(|webhook| webhook.is_edited);
        let calm = self.history.calm_for(self.now);
        calm.filter(|_| !waits && !edits)
    }
}

impl History {
    /// For how long it has been calm.
    pub(crate) fn calm_for(&self, now: i64) -> Option<i64> {
        self.calm_at.map(|at| now - at)
    }
}

impl Fault {
    /// A word for counting.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kill { .. } => "kill",
            Self::Stop { .. } => "stop",
            Self::Freeze { .. } => "freeze",
            Self::Suspend { .. } => "suspend",
            Self::Step { .. } => "clock set wrong",
            Self::Drift { .. } => "clock drifts",
            Self::SetRight => "clock set right",
            Self::Store { .. } => "store in trouble",
            Self::Partition { .. } => "partition",
            Self::ResetConnections => "connections reset",
        }
    }
}
