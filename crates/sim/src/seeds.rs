//! Many seeds, on as many threads as there are processors, and what is printed of them.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::Result;
use tokio::time::Instant;

use crate::arguments::{Arguments, Seeds};
use crate::print;
use crate::run::{Counts, Outcome, run};
use crate::scenario::DAY;

/// Violations printed of one seed.
const SHOWN: usize = 8;

/// Runs all that was asked for. True if no promise was broken.
pub(crate) fn run_all(chosen: &Arguments) -> Result<bool> {
    let began = Instant::now();
    let (from, count, time) = match chosen.seeds {
        Seeds::Range { from, count } => (from, count, None),
        Seeds::For { from, time } => (from, u64::MAX - from, Some(time)),
    };
    let next = AtomicU64::new(0);
    let failed = AtomicBool::new(false);
    let total = Mutex::new(Counts::default());
    let broken: Mutex<Option<anyhow::Error>> = Mutex::default();
    let work = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let is_over = time.is_some_and(|time| began.elapsed() >= time);
            if index >= count || is_over {
                return;
            }
            match run(from + index, chosen.mutation, chosen.trace) {
                Ok(outcome) => {
                    if !outcome.violations.is_empty() {
                        failed.store(true, Ordering::Relaxed);
                        tell(&outcome, chosen);
                    }
                    if count == 1 {
                        print(&format!(
                            "trace {:016x}, {} lines",
                            outcome.hash, outcome.lines
                        ));
                    }
                    let mut total = total
                        .lock()
                        .unwrap_or_else(std::sync::PoisonError::into_inner);
                    total.add(&outcome.counts);
                }
                Err(error) => {
                    let mut broken = broken
                        .lock()
                        .unwrap_or_else(std::sync::PoisonError::into_inner);
                    *broken = Some(error);
                    return;
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..chosen.jobs {
            scope.spawn(work);
        }
    });
    if let Some(error) = broken
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
    {
        return Err(error);
    }
    let total = total
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    summarize(&total, began.elapsed().as_secs_f64());
    Ok(!failed.into_inner())
}

fn tell(outcome: &Outcome, chosen: &Arguments) {
    let mut text = format!("seed {}: {} broken", outcome.seed, outcome.violations.len());
    for violation in outcome.violations.iter().take(SHOWN) {
        text.push_str(&format!("\n  {violation}"));
    }
    if !chosen.trace && chosen.mutation.is_none() {
        for line in &outcome.tail {
            text.push_str(&format!("\n    {line}"));
        }
    }
    let mutation = chosen
        .mutation
        .map(|one| format!(" --mutation {}", one.as_str()));
    let mutation = mutation.unwrap_or_default();
    text.push_str(&format!(
        "\n  repeat: sim --seed {}{mutation} --trace",
        outcome.seed
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
