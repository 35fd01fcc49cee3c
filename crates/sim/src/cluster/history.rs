//! What happened to nodes and their leases, as the database and the world's clock have it.

use std::collections::{BTreeMap, BTreeSet};

use model::id::WebhookId;
use model::lease::{Epoch, Slots};
use model::lease_table::LeaseTable;

use crate::cluster::faults::NodeClock;

/// An attempt that began as long ago may still be under way: a look-up, a connection, an exchange.
const UNDER_WAY_MS: i64 = 45_000;

/// What was heard so long before the latest sign of life may be unwritten.
const UNWRITTEN_MS: i64 = 6_000;

pub(crate) struct ClusterHistory {
    pub(crate) clocks: Vec<NodeClock>,
    /// Of which node each life was.
    pub(crate) node_of: Vec<usize>,
    /// Which slots each life owned, from each time on.
    owned: Vec<(i64, BTreeMap<usize, Slots>)>,
    /// Whose each epoch is.
    lives: BTreeMap<Epoch, usize>,
    /// When each life last asked for a lease that was given.
    signs: BTreeMap<usize, i64>,
    /// When leases were claimed.
    pub(crate) claims: Vec<i64>,
    /// Leases that were lost: of a life, from its latest sign of life on, until it claimed another.
    losses: Vec<(usize, i64, i64)>,
    /// Nodes that were frozen, from when until when.
    pub(crate) frozen: Vec<(usize, i64, i64)>,
    /// What the clocks of nodes said of attempts, and when that was in truth.
    walls: BTreeMap<i64, BTreeSet<i64>>,
}

impl ClusterHistory {
    pub(crate) fn new(clocks: Vec<NodeClock>) -> Self {
        Self {
            clocks,
            node_of: Vec::new(),
            owned: vec![(0, BTreeMap::new())],
            lives: BTreeMap::new(),
            signs: BTreeMap::new(),
            claims: Vec::new(),
            losses: Vec::new(),
            frozen: Vec::new(),
            walls: BTreeMap::new(),
        }
    }

    /// A lease was claimed, renewed or released by this life. Answers what is wrong with all of
    /// them.
    pub(crate) fn leased(
        &mut self,
        at: i64,
        asked_at: i64,
        life: usize,
        is_claim: bool,
        table: &LeaseTable,
    ) -> Option<String> {
        if is_claim {
            let known = self.lives.values().filter(|known| **known == life);
            if known.count() > 0 {
                self.loses(at, life);
            }
            self.claims.push(at);
            let newest = table.rows().iter().map(|row| row.epoch).max();
            self.lives.extend(newest.map(|epoch| (epoch, life)));
        }
        self.signs.insert(life, asked_at);
        let mut owned: BTreeMap<usize, Slots> = BTreeMap::new();
        let mut seen = Slots::NONE;
        let mut wrong = None;
        for row in table.rows() {
            if !seen.and(row.slots).is_empty() {
                wrong = Some(format!("slots have two owners at {at}: {table:?}"));
            }
            seen = seen.or(row.slots);
            if let Some(life) = self.lives.get(&row.epoch) {
                let slots = owned.entry(*life).or_insert(Slots::NONE);
                *slots = slots.or(row.slots);
            }
        }
        if self.owned.last().is_none_or(|(_, before)| *before != owned) {
            self.owned.push((at, owned));
        }
        wrong
    }

    /// A life is over, or has to claim another lease: what it had under way is not written.
    pub(crate) fn loses(&mut self, at: i64, life: usize) {
        let from = self.signs.get(&life).copied().unwrap_or(at);
        self.losses.push((life, from, at));
    }

    pub(crate) fn sign_of(&self, life: usize) -> Option<i64> {
        self.signs.get(&life).copied()
    }

    pub(crate) fn life_of(&self, epoch: Epoch) -> Option<usize> {
        self.lives.get(&epoch).copied()
    }

    /// Who owned the slot of this webhook then; of two who changed in that millisecond both.
    pub(crate) fn owners(&self, webhook: WebhookId, at: i64) -> Vec<usize> {
        let first = self.owned.partition_point(|(from, _)| *from < at);
        let end = self.owned.partition_point(|(from, _)| *from <= at);
        let owned = self.owned.get(first.saturating_sub(1)..end);
        let all = owned.unwrap_or_default().iter().flat_map(|(_, all)| all);
        let own = all.filter(|(_, slots)| slots.has(webhook));
        own.map(|(life, _)| *life).collect()
    }

    /// Whether the node of this life was frozen at some moment of this time.
    pub(crate) fn was_frozen(&self, life: usize, from: i64, until: i64) -> bool {
        let node = self.node_of.get(life);
        let mut frozen = self.frozen.iter();
        frozen.any(|(one, since, thawed)| node == Some(one) && *since <= until && *thawed >= from)
    }

    /// Whether what came of a call may be unknown to the log, because the lease was lost under
    /// which it was made.
    pub(crate) fn is_lost(&self, life: usize, sent_at: i64, heard_at: Option<i64>) -> bool {
        let mut losses = self.losses.iter().filter(|(one, _, _)| *one == life);
        losses.any(|(_, from, until)| {
            sent_at <= *until
                && match heard_at {
                    Some(heard_at) => heard_at >= from - UNWRITTEN_MS,
                    None => sent_at >= from - UNDER_WAY_MS,
                }
        })
    }

    /// A node had this written of an attempt, by its clock.
    pub(crate) fn said(&mut self, node: usize, said: i64) {
        if let Some(clock) = self.clocks.get(node) {
            let truth = clock.truth(said);
            self.walls.entry(said).or_default().insert(truth);
        }
    }

    /// When it was in truth, if that can be told.
    pub(crate) fn truth(&self, said: i64) -> Option<i64> {
        let truths = self.walls.get(&said)?;
        truths.first().copied().filter(|_| truths.len() == 1)
    }

    /// By how much clocks may have been ahead at some time between these.
    pub(crate) fn leads(&self, from: i64, until: i64) -> Vec<i64> {
        let clocks = self.clocks.iter();
        clocks
            .flat_map(|clock| [clock.lead(from), clock.lead(until)])
            .collect()
    }
}
