//! The closed loops: one webhook, ten, batches. Measures how fast notifications are accepted,
//! delivered and settled, relative to "raw": the same sender calling the same receiver directly,
//! measured before and after. Also measures CPU and disk of the server.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio::time::Instant;

use crate::measure::{Samples, float, rate, ratio};
use crate::process;
use crate::report::{Measure, Scenario};
use crate::sender::{Flood, PreparedCall};
use crate::sizes::{BATCH, CONNECTIONS, FAN_WEBHOOKS};
use crate::stage::{Bench, StageExtras, StandaloneReceiver, WebhookSetup};

/// CPU of a raw call on the machine that the bars in µs come from: two processors, 137,000 calls a
/// second. Divided by it, the bars hold on any machine.
const BAR_RAW_CPU_US: f64 = 2.0 * 1e6 / 137_000.0;

/// What several nodes on one machine have to keep of what one does.
const NODES_KEEP: f64 = 0.9;

/// The shape of a closed loop, and its bars.
struct ClosedLoop {
    name: &'static str,
    webhooks: usize,
    notifications: u64,
    batch: u64,
    bars: LoopBars,
}

#[derive(Debug, Clone, Copy, Default)]
struct LoopBars {
    ratio: Option<f64>,
    cpu_us: Option<f64>,
    disk_bytes: Option<f64>,
}

/// The result of one run.
struct ThroughputRun {
    raw: [RawBaseline; 2],
    intake: f64,
    delivered: f64,
    ratio: f64,
    /// CPU for a delivery: of everything, of Willcall, of PostgreSQL.
    cpu_us: Option<f64>,
    willcall_us: Option<f64>,
    postgres_us: Option<f64>,
    wal_bytes: Option<f64>,
    disk_bytes: Option<f64>,
    /// The part of raw that one node alone did, if there are several.
    one_node: Option<f64>,
    exact: Vec<Measure>,
}

/// What the machine does without a server.
#[derive(Clone, Copy)]
struct RawBaseline {
    /// Calls per second.
    rate: f64,
    /// CPU of sender and receiver together, for one call.
    cpu_us: f64,
}

pub(crate) async fn one_to_one(bench: &Bench) -> Result<Scenario> {
    let shape = ClosedLoop {
        name: "one-to-one",
        webhooks: 1,
        notifications: bench.sizes.single,
        batch: 1,
        bars: match bench.is_postgres() {
            false => LoopBars {
                ratio: Some(0.20),
                cpu_us: Some(40.0),
                disk_bytes: Some(700.0),
            },
            true => LoopBars {
                ratio: Some(0.12),
                cpu_us: Some(85.0),
                disk_bytes: None,
            },
        },
    };
    repeated(bench, &shape).await
}

pub(crate) async fn fan_out(bench: &Bench) -> Result<Scenario> {
    let shape = ClosedLoop {
        name: "fan-out",
        webhooks: FAN_WEBHOOKS,
        notifications: bench.sizes.fanned,
        batch: 1,
        bars: match bench.is_postgres() {
            false => LoopBars {
                ratio: Some(0.45),
                cpu_us: Some(20.0),
                disk_bytes: None,
            },
            true => LoopBars {
                ratio: Some(0.35),
                cpu_us: Some(36.0),
                disk_bytes: None,
            },
        },
    };
    repeated(bench, &shape).await
}

pub(crate) async fn batches(bench: &Bench) -> Result<Scenario> {
    let shape = ClosedLoop {
        name: "batches",
        webhooks: 1,
        notifications: bench.sizes.single,
        batch: BATCH,
        bars: match bench.is_postgres() {
            false => LoopBars {
                ratio: Some(0.35),
                cpu_us: None,
                disk_bytes: None,
            },
            true => LoopBars {
                ratio: None,
                cpu_us: None,
                disk_bytes: None,
            },
        },
    };
    repeated(bench, &shape).await
}

/// Runs the loop as often as was asked for; reports the median of each number.
async fn repeated(bench: &Bench, shape: &ClosedLoop) -> Result<Scenario> {
    let mut runs = Vec::new();
    for _ in 0..bench.runs {
        let one_node = match bench.nodes {
            1 => None,
            _ => Some(run(bench, shape, 1).await?.ratio),
        };
        runs.push(ThroughputRun {
            one_node,
            ..run(bench, shape, bench.nodes).await?
        });
    }
    let median = |value: &dyn Fn(&ThroughputRun) -> Option<f64>| {
        let samples = Samples::of(runs.iter().filter_map(value));
        (samples.count() > 0).then(|| samples.median())
    };
    let mut measures = measures(shape, &median);
    // For these the worst run counts.
    let exact = runs.iter().flat_map(|run| run.exact.iter());
    for name in ["missing", "duplicates", "body_bytes"] {
        let same = exact.clone().filter(|measure| measure.name == name);
        measures.extend(same.max_by(|a, b| a.value.total_cmp(&b.value)).cloned());
    }
    let calls = shape.notifications.div_ceil(shape.batch.max(1));
    Ok(Scenario {
        name: shape.name,
        title: format!(
            "{} notifications × {} webhook{}, {calls} calls over {CONNECTIONS} connections",
            shape.notifications,
            shape.webhooks,
            if shape.webhooks == 1 { "" } else { "s" }
        ),
        measures,
        notes: Vec::new(),
    })
}

/// Returns the median over all runs of a number that each may have.
type Median<'a> = dyn Fn(&dyn Fn(&ThroughputRun) -> Option<f64>) -> Option<f64> + 'a;

/// The measures of a loop.
fn measures(shape: &ClosedLoop, median: &Median<'_>) -> Vec<Measure> {
    let value =
        |value: &dyn Fn(&ThroughputRun) -> f64| median(&|run| Some(value(run))).unwrap_or(0.0);
    let mut measures = vec![
        Measure::new(
            "raw_before",
            "raw, before",
            value(&|run| run.raw[0].rate),
            "/s",
        ),
        Measure::new(
            "raw_after",
            "raw, after",
            value(&|run| run.raw[1].rate),
            "/s",
        ),
        Measure::new(
            "raw_cpu",
            "CPU of sender and receiver for a call of raw",
            value(&|run| run.raw_cpu_us()),
            "µs",
        ),
        Measure::new(
            "intake",
            "notifications accepted",
            value(&|run| run.intake),
            "/s",
        ),
        Measure::new(
            "delivered",
            "deliveries settled",
            value(&|run| run.delivered),
            "/s",
        ),
        Measure::new(
            "ratio",
            "deliveries settled, of raw",
            value(&|run| run.ratio),
            "of raw",
        )
        .at_least_if(shape.bars.ratio),
    ];
    if let Some(one) = median(&|run| run.one_node) {
        let words = "deliveries settled by one node alone, of raw";
        measures.push(Measure::new("one_node", words, one, "of raw"));
    }
    let of_one = |run: &ThroughputRun| Some(ratio(run.ratio, run.one_node?));
    if let Some(kept) = median(&of_one) {
        let words = "all nodes against one alone";
        measures.push(Measure::new("of_one", words, kept, "times").at_least(NODES_KEEP));
    }
    measures.extend(costs(shape, median));
    measures
}

/// What a delivery costs.
fn costs(shape: &ClosedLoop, median: &Median<'_>) -> Vec<Measure> {
    let mut measures = Vec::new();
    if let Some(cpu) = median(&|run| run.cpu_us) {
        let cpu = Measure::new("cpu", "CPU of the server for a delivery", cpu, "µs");
        measures.push(cpu.at_most_if(shape.bars.cpu_us));
    }
    let shares: [(&str, &str, Option<f64>); 2] = [
        (
            "cpu_willcall",
            "of it Willcall",
            median(&|run| run.postgres_us.and(run.willcall_us)),
        ),
        (
            "cpu_postgres",
            "of it PostgreSQL",
            median(&|run| run.postgres_us),
        ),
    ];
    for (name, words, share) in shares {
        measures.extend(share.map(|share| Measure::new(name, words, share, "µs")));
    }
    // Comparable between machines.
    let in_calls = |run: &ThroughputRun| Some(ratio(run.cpu_us?, run.raw_cpu_us()));
    if let Some(calls) = median(&in_calls) {
        let words = "CPU of the server for a delivery, in raw calls";
        let bar = shape.bars.cpu_us.map(|us| us / BAR_RAW_CPU_US);
        let measure = Measure::new("cpu_of_raw", words, calls, "times");
        measures.push(measure.at_most_if(bar));
    }
    if let Some(wal) = median(&|run| run.wal_bytes) {
        measures.push(Measure::new("wal", "WAL for a delivery", wal, "B"));
    }
    if let Some(disk) = median(&|run| run.disk_bytes) {
        let disk = Measure::new("disk", "disk for a delivery, server stopped", disk, "B");
        measures.push(disk.at_most_if(shape.bars.disk_bytes));
    }
    measures
}

impl ThroughputRun {
    fn raw_cpu_us(&self) -> f64 {
        let [before, after] = self.raw;
        f64::midpoint(before.cpu_us, after.cpu_us)
    }
}

async fn run(bench: &Bench, shape: &ClosedLoop, nodes: usize) -> Result<ThroughputRun> {
    let singles = bench.calls(shape.notifications, 1)?;
    let calls = match shape.batch {
        1 => Arc::clone(&singles),
        batch => bench.calls(shape.notifications, batch)?,
    };
    let before = raw(bench, &singles).await?;
    let setup = WebhookSetup {
        webhooks: shape.webhooks,
        notifications: shape.notifications,
        ..WebhookSetup::default()
    };
    let extras = StageExtras {
        nodes: Some(nodes),
        ..StageExtras::default()
    };
    let mut stage = bench.set_with(setup, &extras).await?;
    let owed = shape.notifications * u64::try_from(shape.webhooks)?;
    let flood = Flood::prepare(&stage.peers, Arc::clone(&calls), calls.len(), CONNECTIONS).await?;
    let wal_before = stage.wal_bytes().await?;
    let cpu_before = stage.cpu()?;
    let began = Instant::now();
    let intake = flood.run().await;
    let intake = stage.explained(intake).await?;
    stage.received(owed).await?;
    stage.settled(0).await?;
    let took = began.elapsed();
    let cpu_after = stage.cpu()?;
    let wal_after = stage.wal_bytes().await?;
    let exact = stage.exactness(owed, 0).await?;
    let disk_bytes = match stage.strike().await? {
        Some(store) => {
            let bytes = store.bytes().await?;
            store.discard().await?;
            Some(ratio(float(bytes), float(owed)))
        }
        None => None,
    };
    let after = raw(bench, &singles).await?;
    let delivered = rate(owed, took);
    let each = |count: u64| ratio(float(count), float(owed));
    let cpu = cpu_after.zip(cpu_before);
    let cpu = cpu.map(|(after, before)| after.since(before));
    let wal = wal_after.zip(wal_before);
    Ok(ThroughputRun {
        raw: [before, after],
        intake: rate(shape.notifications, intake),
        delivered,
        ratio: ratio(delivered, f64::midpoint(before.rate, after.rate)),
        cpu_us: cpu.map(|cpu| each(cpu.all_us())),
        willcall_us: cpu.map(|cpu| each(cpu.willcall_us)),
        postgres_us: cpu.and_then(|cpu| cpu.postgres_us).map(each),
        wal_bytes: wal.map(|(after, before)| each(after.saturating_sub(before))),
        disk_bytes,
        one_node: None,
        exact,
    })
}

/// Sends the same calls to a receiver directly.
async fn raw(bench: &Bench, calls: &Arc<Vec<PreparedCall>>) -> Result<RawBaseline> {
    let StandaloneReceiver { peer, tally, .. } = &bench.alone(bench.sizes.single).await?;
    let straight = Arc::new(calls.iter().map(PreparedCall::straight).collect::<Vec<_>>());
    let count = usize::try_from(bench.sizes.raw)?;
    let flood = Flood::prepare(std::slice::from_ref(peer), straight, count, CONNECTIONS).await?;
    let own = std::process::id();
    let cpu_before = process::cpu_us(own)?;
    let took: Duration = flood.run().await?;
    let cpu_us = process::cpu_us(own)?.saturating_sub(cpu_before);
    Ok(RawBaseline {
        rate: rate(tally.calls(), took),
        cpu_us: ratio(float(cpu_us), float(tally.calls())),
    })
}
