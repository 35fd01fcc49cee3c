//! One seed, from its scenario to what the checkers say.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use anyhow::{Context, Result};
use model::mutation::Mutation;

use crate::checkers::{self, Violation};
use crate::cluster;
use crate::history::History;
use crate::node::{LifeEnd, live};
use crate::record::Record;
use crate::scenario::{Scenario, TROUBLE};
use crate::world::{SharedWorld, World};

/// What became of a seed.
pub(crate) struct Outcome {
    pub(crate) kind: Kind,
    pub(crate) seed: u64,
    pub(crate) hash: u64,
    pub(crate) lines: u64,
    pub(crate) violations: Vec<Violation>,
    /// The latest lines of the trace.
    pub(crate) tail: Vec<String>,
    pub(crate) counts: Counts,
}

/// What a run, or many, came to.
#[derive(Debug, Default, Clone)]
pub(crate) struct Counts {
    pub(crate) seeds: u64,
    pub(crate) simulated_ms: i64,
    pub(crate) accepted: u64,
    pub(crate) deliveries: u64,
    pub(crate) calls: u64,
    pub(crate) duplicates: u64,
    pub(crate) faults: BTreeMap<&'static str, u64>,
}

/// Which worlds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One node, and a week.
    Node,
    /// Several nodes, and minutes.
    Cluster,
}

/// Runs a seed. Whatever falls over on the way is a violation, too.
pub(crate) fn run(
    kind: Kind,
    seed: u64,
    mutation: Option<Mutation>,
    traced: bool,
) -> Result<Outcome> {
    set_mutation(mutation);
    let scenario = match kind {
        Kind::Node => Scenario::draw(seed),
        Kind::Cluster => Scenario::draw_cluster(seed),
    };
    let world = SharedWorld::new(World::new(scenario, traced));
    let folder = folder()?;
    let lived = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| match kind {
        Kind::Node => lives(&world, folder.path()),
        Kind::Cluster => cluster::run(&world, folder.path()),
    }));
    let mut world = world.lock();
    let mut violations = match lived {
        Ok(Ok(records)) => checkers::check(&world, &records),
        Ok(Err(error)) => vec![Violation::new("the node runs", format!("{error:#}"))],
        Err(panic) => {
            let words = panic.downcast_ref::<String>().cloned();
            let words = words.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
            let words = words.unwrap_or_else(|| "a panic".to_owned());
            vec![Violation::new("the node runs", words)]
        }
    };
    let broken = std::mem::take(&mut world.history.broken);
    violations.extend(
        broken
            .into_iter()
            .map(|(who, what)| Violation::new(who, what)),
    );
    Ok(Outcome {
        kind,
        seed,
        hash: world.trace.hash(),
        lines: world.trace.count(),
        violations,
        tail: world.trace.tail().to_vec(),
        counts: counts(&world.history, world.net.lost, world.now),
    })
}

#[cfg(feature = "mutations")]
fn set_mutation(mutation: Option<Mutation>) {
    model::mutation::set(mutation);
}

#[cfg(not(feature = "mutations"))]
fn set_mutation(_: Option<Mutation>) {}

fn counts(history: &History, lost: u64, now: i64) -> Counts {
    let accepted = history
        .handed_in
        .iter()
        .filter(|one| one.accepted_at.is_some());
    let mut calls: Vec<(usize, &str)> = history
        .calls
        .iter()
        .filter(|call| call.is_success())
        .map(|call| (call.webhook, call.code.as_str()))
        .collect();
    let succeeded = calls.len();
    calls.sort_unstable();
    calls.dedup();
    let mut faults = history.faults.clone();
    faults.insert("packet lost", lost);
    Counts {
        seeds: 1,
        simulated_ms: now,
        accepted: accepted.count() as u64,
        deliveries: calls.len() as u64,
        calls: history.calls.len() as u64,
        duplicates: (succeeded - calls.len()) as u64,
        faults,
    }
}

impl Counts {
    pub(crate) fn add(&mut self, other: &Self) {
        self.seeds += other.seeds;
        self.simulated_ms += other.simulated_ms;
        self.accepted += other.accepted;
        self.deliveries += other.deliveries;
        self.calls += other.calls;
        self.duplicates += other.duplicates;
        for (kind, count) in &other.faults {
            *self.faults.entry(kind).or_default() += count;
        }
    }
}

/// A folder in memory, where the machine has one: what is simulated needs no disk.
fn folder() -> Result<tempfile::TempDir> {
    let memory = Path::new("/dev/shm");
    let made = match memory.is_dir() {
        true => tempfile::tempdir_in(memory),
        false => tempfile::tempdir(),
    };
    made.context("no temporary folder")
}

/// One life after the other, until all is done.
fn lives(world: &SharedWorld, folder: &Path) -> Result<Vec<Record>> {
    let lead = Arc::new(AtomicI64::new(0));
    let mut number = 0;
    let roots = engine::tls_config(&[])?;
    let mut home = folder.join("0");
    std::fs::create_dir(&home)?;
    loop {
        let end = live(world, &home.join("willcall.db"), &roots, &lead, || {
            number += 1;
            copied(&home, &folder.join(number.to_string()))
        })?;
        let (off_ms, killed) = match end {
            LifeEnd::Done(records) => return Ok(records),
            LifeEnd::Killed { off_ms } => (off_ms, true),
            LifeEnd::Stopped { off_ms } => (off_ms, false),
        };
        if killed {
            std::fs::remove_dir_all(&home)?;
            home = folder.join(number.to_string());
        }
        let mut world = world.lock();
        world.ends(killed);
        // Whatever was drawn, calm begins with a node that runs.
        let until = (world.now + off_ms).min(TROUBLE).max(world.now);
        while let Some(event) = world.pop(until) {
            world.happens_without_node(event, &lead);
        }
    }
}

/// The files of a store as they are at this moment, in another folder. What SQLite shares between
/// processes dies with them.
fn copied(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if !name.to_string_lossy().ends_with("-shm") {
            std::fs::copy(entry.path(), to.join(name))?;
        }
    }
    Ok(())
}
