//! Many seeds, on as many threads as there are processors, and what is printed of them.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use model::mutation::Mutation;
use tokio::time::Instant;

use crate::arguments::{Arguments, Seeds};
use crate::output::print;
use crate::run::{Counts, Kind, Outcome, run};
use crate::scenario::DAY;

/// Violations printed of one seed.
const SHOWN: usize = 8;

/// Each mutation is to be found within so many seeds, from this one on. The rarest, an outcome of a
/// round that is over, is found by one of the first three hundred.
const MUTATION_SEEDS: u64 = 200;
const MUTATION_FROM: u64 = 100;

/// Every seed that ever failed.
const KNOWN: &str = include_str!("../seeds.txt");

/// Runs all that was asked for. True if no promise was broken, or every mutation was found.
pub(crate) fn run_all(chosen: &Arguments) -> Result<bool> {
    let began = Instant::now();
    match chosen.seeds {
        Seeds::Range { from, count } => batch(chosen, |index| {
            (index < count).then(|| (chosen.kind, from.wrapping_add(index)))
        }),
        Seeds::For { from, time } => batch(chosen, |index| {
            (began.elapsed() < time).then(|| (kind_of(chosen, index), from.wrapping_add(index)))
        }),
        Seeds::Known => {
            let known = known()?;
            batch(chosen, |index| {
                known.get(usize::try_from(index).ok()?).copied()
            })
        }
        Seeds::Mutations => mutations(chosen),
    }
}

/// Of fresh seeds every fourth is a cluster, unless all are.
fn kind_of(chosen: &Arguments, index: u64) -> Kind {
    match index % 4 {
        3 => Kind::Cluster,
        _ => chosen.kind,
    }
}

fn known() -> Result<Vec<(Kind, u64)>> {
    let lines = KNOWN.lines().filter(|line| !line.starts_with('#'));
    let seed = |line: &str| {
        let mut words = line.split(' ');
        let first = words.next().unwrap_or_default();
        let (kind, number) = match first {
            "cluster" => (Kind::Cluster, words.next().unwrap_or_default()),
            _ => (Kind::Node, first),
        };
        let seed = number.parse();
        let seed = seed.with_context(|| format!("seeds.txt: {line}"))?;
        Ok((kind, seed))
    };
    lines.map(seed).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs the seeds that `seed` names by their index, until it names none.
fn batch(chosen: &Arguments, seed: impl Fn(u64) -> Option<(Kind, u64)> + Sync) -> Result<bool> {
    let began = Instant::now();
    let failed = AtomicBool::new(false);
    let total = Mutex::new(Counts::default());
    on_all(chosen.jobs, |index| {
        let Some((kind, seed)) = seed(index) else {
            return Ok(false);
        };
        let outcome = run(kind, seed, chosen.mutation, chosen.trace)?;
        if !outcome.violations.is_empty() {
            failed.store(true, Ordering::Relaxed);
            tell(&outcome, chosen);
        }
        if chosen.is_single() {
            let (hash, lines) = (outcome.hash, outcome.lines);
            print(&format!("trace {hash:016x}, {lines} lines"));
            let expected = chosen.expected.unwrap_or(hash);
            if hash != expected {
                failed.store(true, Ordering::Relaxed);
                print(&format!(
                    "not the trace {expected:016x}: that is of another commit, or of other options"
                ));
            }
        }
        lock(&total).add(&outcome.counts);
        Ok(true)
    })?;
    summarize(&lock(&total), began.elapsed().as_secs_f64());
    Ok(!failed.into_inner())
}

/// Has so many threads do `work` with one index after the other, until it says that there is no
/// more.
fn on_all(jobs: usize, work: impl Fn(u64) -> Result<bool> + Sync) -> Result<()> {
    let next = AtomicU64::new(0);
    let broken: Mutex<Option<anyhow::Error>> = Mutex::default();
    let worker = || {
        loop {
            match work(next.fetch_add(1, Ordering::Relaxed)) {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    lock(&broken).get_or_insert(error);
                    return;
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(worker);
        }
    });
    let broken = lock(&broken).take();
    broken.map_or(Ok(()), Err)
}

/// Runs every mutation until a checker finds it, and says which did, and after how many seeds.
fn mutations(chosen: &Arguments) -> Result<bool> {
    let missed = AtomicBool::new(false);
    on_all(chosen.jobs, |index| {
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        let Some(mutation) = Mutation::ALL.get(index).copied() else {
            return Ok(false);
        };
        let name = mutation.as_str();
        let kind = match mutation.needs_nodes() {
            true => Kind::Cluster,
            false => Kind::Node,
        };
        for seed in MUTATION_FROM..MUTATION_FROM + MUTATION_SEEDS {
            let outcome = run(kind, seed, Some(mutation), false)?;
            if let Some(violation) = outcome.violations.first() {
                let promise = violation.promise;
                print(&format!("{name}: found by seed {seed}: {promise}"));
                return Ok(true);
            }
        }
        missed.store(true, Ordering::Relaxed);
        print(&format!("{name}: NOT found in {MUTATION_SEEDS} seeds"));
        Ok(true)
    })?;
    Ok(!missed.into_inner())
}

fn tell(outcome: &Outcome, chosen: &Arguments) {
    let mut text = format!("seed {}: {} broken", outcome.seed, outcome.violations.len());
    let mut line = |words: std::fmt::Arguments<'_>| write!(text, "\n  {words}").unwrap_or_default();
    for violation in outcome.violations.iter().take(SHOWN) {
        line(format_args!("{violation}"));
    }
    if !chosen.trace && chosen.mutation.is_none() {
        for words in &outcome.tail {
            line(format_args!("  {words}"));
        }
    }
    let mutation = chosen
        .mutation
        .map(|one| format!(" --mutation {}", one.as_str()));
    let (seed, mutation) = (outcome.seed, mutation.unwrap_or_default());
    let kind = match outcome.kind {
        Kind::Node => "",
        Kind::Cluster => "--cluster ",
    };
    line(format_args!(
        "repeat: sim {kind}--seed {seed}{mutation} --trace --expect {:016x}",
        outcome.hash
    ));
    print(&text);
}

fn summarize(total: &Counts, seconds: f64) {
    let faults: u64 = total.faults.values().sum();
    let days = total.simulated_ms / DAY;
    print(&format!(
        "{} seeds in {seconds:.1} s: {days} days, {} accepted, {} deliveries, {} calls, {} \
         duplicates, {faults} faults",
        total.seeds, total.accepted, total.deliveries, total.calls, total.duplicates
    ));
    for (kind, count) in &total.faults {
        print(&format!("  {count:>8} {kind}"));
    }
}
