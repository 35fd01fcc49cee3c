//! What happens to the nodes of a cluster and to their paths, and what of it is wrong.

use model::lease::Slots;
use model::lease_table::LeaseTable;
use model::leased_store::{Hint, NodeNumber};

use crate::cluster::faults::{CutKind, NodeFault};
use crate::cluster::history::ClusterHistory;
use crate::cluster::nodes::{Cluster, NodeEvent, NodeState, StorePath};
use crate::history::Life;
use crate::scenario::SECOND;
use crate::world::{Event, World};

const TAKEOVER: &str = "what a dead node owned has an owner within 15 s";

/// A lease that was not renewed for so long is taken by whoever is well.
const TAKEOVER_MS: i64 = 15 * SECOND;

/// Who was in trouble needs so long to be itself again.
const RECOVERS_MS: i64 = 6 * SECOND;

impl World {
    fn both(&mut self) -> Option<(&mut Cluster, &mut ClusterHistory)> {
        Some((self.cluster.as_mut()?, self.history.cluster.as_mut()?))
    }

    /// A node begins a life. Answers which.
    pub(crate) fn node_begins(&mut self, node: usize, number: NodeNumber) -> usize {
        let (now, life) = (self.now, self.history.lives.len());
        self.history.lives.push(Life {
            began_at: now,
            ended_at: None,
            killed: false,
        });
        if let Some((cluster, history)) = self.both() {
            history.node_of.push(node);
            cluster.numbers.insert(number, life);
            if let Some(state) = cluster.nodes.get_mut(node) {
                let cut = state.cut;
                *state = NodeState {
                    life: Some(life),
                    cut,
                    missed: true,
                    well_since: now,
                    ..NodeState::default()
                };
            }
        }
        self.says(|| format!("node {node} begins life {life}"));
        life
    }

    /// A life of a node has ended.
    pub(crate) fn node_ends(&mut self, node: usize, killed: bool) {
        let now = self.now;
        let Some((cluster, history)) = self.both() else {
            return;
        };
        let state = cluster.nodes.get_mut(node);
        let Some(life) = state.and_then(|state| state.life.take()) else {
            return;
        };
        // An owner that is well has renewed.
        if killed || history.sign_of(life).is_none_or(|at| at < now - 4 * SECOND) {
            history.loses(now, life);
        }
        for frozen in history.frozen.iter_mut().filter(|(one, _, _)| *one == node) {
            frozen.2 = frozen.2.min(now);
        }
        if let Some(life) = self.history.lives.get_mut(life) {
            life.ended_at = Some(now);
            life.killed = killed;
        }
        self.history.disturbed(now, now);
        self.says(|| format!("node {node} ends life {life}, killed: {killed}"));
    }

    /// Something goes wrong with a path or with the database.
    pub(crate) fn store_is_cut(&mut self, fault: NodeFault) {
        let now = self.now;
        let Some((cluster, history)) = self.both() else {
            return;
        };
        let until = match fault {
            NodeFault::Cut { node, kind, ms } => {
                if let Some(state) = cluster.nodes.get_mut(node) {
                    state.cut = Some((kind, now + ms));
                    state.missed = true;
                    state.well_since = now + ms;
                }
                now + ms
            }
            NodeFault::Pause { ms } => {
                cluster.paused_until = now + ms;
                for state in &mut cluster.nodes {
                    state.well_since = state.well_since.max(now + ms);
                }
                now + ms
            }
            NodeFault::Freeze { node, ms } => {
                if let Some(state) = cluster.nodes.get_mut(node) {
                    state.is_frozen = true;
                    state.well_since = state.well_since.max(now + ms);
                }
                history.frozen.push((node, now, now + ms));
                now + ms
            }
            NodeFault::Kill { .. } | NodeFault::Stop { .. } => now,
        };
        self.history.disturbed(now, until);
    }

    fn state(&mut self, node: usize) -> Option<&mut NodeState> {
        self.cluster.as_mut()?.nodes.get_mut(node)
    }

    /// Whether a fault meets somebody.
    pub(crate) fn is_struck(&mut self, fault: NodeFault) -> bool {
        match fault {
            NodeFault::Kill { node, .. } => self.life_of(node).is_some(),
            NodeFault::Stop { node, off_ms } => {
                let state = self.state(node).filter(|state| state.life.is_some());
                let state = state.filter(|state| state.stops.is_none());
                state.is_some_and(|state| {
                    state.stops = Some(off_ms);
                    true
                })
            }
            NodeFault::Freeze { node, .. } => self
                .state(node)
                .is_some_and(|state| state.life.is_some() && !state.is_frozen),
            NodeFault::Cut { .. } | NodeFault::Pause { .. } => true,
        }
    }

    pub(crate) fn life_of(&mut self, node: usize) -> Option<usize> {
        self.state(node)?.life
    }

    /// The node that lives this life now.
    pub(crate) fn node_of(&self, life: usize) -> Option<usize> {
        let mut nodes = self.cluster.as_ref()?.nodes.iter();
        nodes.position(|node| node.life == Some(life))
    }

    /// A node goes on, if it stands still in this life.
    pub(crate) fn node_thaws(&mut self, life: usize) -> Option<usize> {
        let now = self.now;
        let node = self.node_of(life)?;
        let state = self.state(node)?;
        state.is_frozen = false;
        state.well_since = state.well_since.min(now);
        let frozen = self.history.cluster.as_mut()?.frozen.iter_mut();
        for frozen in frozen.filter(|(one, _, _)| *one == node) {
            frozen.2 = frozen.2.min(now);
        }
        self.says(|| format!("node {node} goes on"));
        Some(node)
    }

    /// After how long a node that was told to stop is started again.
    pub(crate) fn stops(&mut self, node: usize) -> Option<i64> {
        self.state(node)?.stops.take()?
    }

    /// Lives that stand still.
    pub(crate) fn frozen_lives(&self) -> Vec<usize> {
        let nodes = self.cluster.iter().flat_map(|cluster| &cluster.nodes);
        let frozen = nodes.filter(|node| node.is_frozen);
        frozen.filter_map(|node| node.life).collect()
    }

    /// How this node reaches the store.
    pub(crate) fn store_path(&self, node: usize) -> StorePath {
        let Some(cluster) = &self.cluster else {
            return StorePath::Open;
        };
        let cut = cluster.nodes.get(node).and_then(|state| state.cut);
        match cut.filter(|(_, until)| *until > self.now) {
            Some((CutKind::Refuses, _)) => StorePath::Refuses,
            Some((CutKind::Hangs, until)) => StorePath::Waits(until),
            Some((CutKind::LosesAnswers, _)) => StorePath::LosesAnswers,
            None if cluster.paused_until > self.now => StorePath::Waits(cluster.paused_until),
            None => StorePath::Open,
        }
    }

    /// Whether this life is over.
    pub(crate) fn is_over(&self, life: usize) -> bool {
        let life = self.history.lives.get(life);
        life.is_none_or(|life| life.ended_at.is_some())
    }

    /// A hint begins its way.
    pub(crate) fn post(&mut self, to: NodeNumber, hint: &Hint) {
        let is_calm = self.is_calm;
        let Some(cluster) = &mut self.cluster else {
            return;
        };
        let (plan, rng) = (cluster.hints, &mut cluster.rng);
        let is_lost = !is_calm && rng.below(100) < plan.lost_percent;
        let copies = match rng.below(20) {
            _ if is_lost => 0,
            0 => 2,
            _ => 1,
        };
        let delays: Vec<u64> = (0..copies)
            .map(|_| 1 + rng.below(plan.late_ms_max))
            .collect();
        if is_lost {
            self.history.fault("hint lost");
        }
        for delay in delays {
            let event = NodeEvent::Hint(to, hint.clone());
            self.after(delay.cast_signed(), Event::Node(event));
        }
    }

    /// Whether a hint reaches its node.
    pub(crate) fn hears(&mut self, to: NodeNumber) -> bool {
        let Some((cluster, history)) = self.both() else {
            return false;
        };
        let node = cluster.numbers.get(&to);
        let node = node.and_then(|life| history.node_of.get(*life)).copied();
        let path = node.map(|node| self.store_path(node));
        path == Some(StorePath::Open)
    }

    /// The nodes that find, as they look, that anything may have changed.
    pub(crate) fn watch_store(&mut self, version: u64) -> Vec<NodeNumber> {
        let Some(cluster) = &self.cluster else {
            return Vec::new();
        };
        let nodes = 0..cluster.nodes.len();
        let open: Vec<usize> = nodes
            .filter(|node| self.store_path(*node) == StorePath::Open)
            .collect();
        let Some(cluster) = &mut self.cluster else {
            return Vec::new();
        };
        let mut told = Vec::new();
        for node in open {
            let Some(state) = cluster.nodes.get_mut(node) else {
                continue;
            };
            let (Some(life), false) = (state.life, state.is_frozen) else {
                continue;
            };
            if std::mem::take(&mut state.missed) || state.version != version {
                state.version = version;
                let mut numbers = cluster.numbers.iter();
                told.extend(
                    numbers
                        .find(|(_, one)| **one == life)
                        .map(|(number, _)| *number),
                );
            }
        }
        told
    }

    /// Whether somebody is there who takes what others leave, and does not.
    pub(crate) fn judge_takeover(&mut self, table: &LeaseTable, database_now: i64) {
        let now = self.now;
        // What is offered to a node that then dies waits once more.
        let struck_at = self.history.store_troubles.last().map_or(0, |(at, _)| *at);
        let Some((cluster, history)) = self.both() else {
            return;
        };
        let is_live = |life: usize| {
            let rows = table.rows().iter();
            let mut own = rows.filter(|row| history.life_of(row.epoch) == Some(life));
            own.any(|row| row.until.as_millis() > database_now)
        };
        let mut nodes = cluster.nodes.iter();
        let is_well = nodes.any(|node| {
            let life = node
                .life
                .filter(|_| !node.is_frozen && node.stops.is_none());
            node.well_since + RECOVERS_MS <= now && life.is_some_and(is_live)
        });
        let rows = table.rows().iter();
        let late_ms = TAKEOVER_MS - model::limits::LEASE_MS;
        let mut late = rows
            .clone()
            .filter(|row| row.until.as_millis() + late_ms < database_now);
        let taken = rows.clone().map(|row| row.slots);
        let taken = taken.fold(Slots::NONE, Slots::or);
        // A claim whose answer was lost holds what nobody uses until it is overdue.
        let is_orphan = |epoch| {
            let life = history.life_of(epoch);
            let mut younger = rows.clone().filter(|row| row.epoch > epoch);
            younger.any(|row| history.life_of(row.epoch) == life)
        };
        let has_orphans = rows.clone().any(|row| is_orphan(row.epoch));
        let is_bare = is_well && !has_orphans && taken != Slots::ALL;
        let bare = is_bare.then(|| cluster.bare_since.map_or(now, |since| since.max(struck_at)));
        cluster.bare_since = bare;
        let words = match late.next() {
            Some(row) if is_well => format!("nobody took the slots of {row:?} by {now}"),
            _ if bare.is_some_and(|since| since + TAKEOVER_MS < now) => {
                format!("slots are nobody's since {bare:?}: {table:?}")
            }
            _ => return,
        };
        self.history.broken.push((TAKEOVER, words));
    }

    /// What is wrong with the shares when all has been calm for long.
    pub(crate) fn judge_shares(&mut self, table: &LeaseTable) {
        let running = self.cluster.iter().flat_map(|cluster| &cluster.nodes);
        let running = running.filter(|node| node.life.is_some()).count();
        let shares: Vec<usize> = table.rows().iter().map(|row| row.slots.len()).collect();
        let least = Slots::COUNT / running.max(1);
        let is_even = shares.len() == running
            && shares.iter().sum::<usize>() == Slots::COUNT
            && shares
                .iter()
                .all(|share| [least, least + 1].contains(share));
        if !is_even {
            let words = format!("{running} nodes have {shares:?} slots");
            self.history.broken.push(("shares are even", words));
        }
    }

    /// No more trouble for nodes.
    pub(crate) fn nodes_calm_down(&mut self) {
        let now = self.now;
        if let Some(cluster) = &mut self.cluster {
            cluster.paused_until = now;
            for node in &mut cluster.nodes {
                node.cut = None;
                node.well_since = node.well_since.min(now);
            }
        }
    }
}
