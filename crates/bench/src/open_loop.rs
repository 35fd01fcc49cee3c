//! The open loops: notifications are sent on a schedule that waits for nothing. The latency of each
//! counts from the moment it was due until the receiver got it, so a server that stalls is charged
//! for everything that had to wait.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio::time::Instant;

use crate::measure::{Samples, float, ratio};
use crate::receiver::ReceiverTally;
use crate::report::{Measure, Scenario};
use crate::sender::{Flood, PreparedCall, open_loop};
use crate::sizes::{BODY_BYTES, Pace};
use crate::stage::{Bench, Stage, StandaloneReceiver, WebhookSetup, discard};

/// Connections of the open loops: enough that no call waits for another's response.
const CONNECTIONS: usize = 16;

/// The bars assume a disk where a commit takes this long.
const BAR_COMMIT_MS: f64 = 0.1;

/// One commit for the notification; its outcome joins the commit of the next.
const COMMITS_MAX: f64 = 1.1;

/// Calls that are sent to the receiver directly, for comparison.
const STRAIGHT: usize = 1_000;

/// The result of a run.
struct PaceRun {
    /// Milliseconds from when each was due until it was received.
    took: Samples,
    late: Samples,
    /// What one delivery cost our server.
    costs: Option<Costs>,
    /// Mean time that a commit waited for the disk, in milliseconds.
    sync_ms: Option<f64>,
    exactness: Vec<Measure>,
}

#[derive(Debug, Clone, Copy)]
struct Costs {
    cpu_us: f64,
    commits: f64,
    switches: f64,
    written: f64,
}

pub(crate) async fn pace(bench: &Bench) -> Result<Scenario> {
    let Pace { per_second, count } = bench.sizes.pace;
    let straight = straight(bench, &bench.calls(count, 1)?, per_second).await?;
    let run = run(bench, bench.sizes.pace).await?;
    let PaceRun { took, late, .. } = &run;
    let p99 = took.percentile(990);
    let mut measures = vec![
        Measure::new("p50", "send to receipt, p50", took.median(), "ms").at_most(0.6),
        Measure::new("p99", "send to receipt, p99", p99, "ms").at_most(2.5),
        Measure::new("p999", "send to receipt, p99.9", took.percentile(999), "ms").at_most(8.0),
        Measure::new(
            "max",
            "send to receipt, slowest",
            took.percentile(1_000),
            "ms",
        ),
        Measure::new(
            "sent_late_p99",
            "of it the sender's own delay, p99",
            late.percentile(990),
            "ms",
        ),
        Measure::new(
            "straight_p50",
            "the same straight at the receiver, p50",
            straight.median(),
            "ms",
        ),
    ];
    if let Some(mean) = run.sync_ms {
        let words = "of it waiting for the disk, mean";
        measures.push(Measure::new("sync_mean", words, mean, "ms"));
        let at_bar = took.median() - (mean - BAR_COMMIT_MS).max(0.0);
        let words = "p50, less what the disk takes above 0.1 ms";
        measures.push(Measure::new("p50_at_bar", words, at_bar, "ms").at_most(0.6));
    }
    measures.extend(costs(
        run.costs,
        ["cpu", "commits", "switches", "written"],
        "",
    ));
    measures.extend(run.exactness);
    let slow = bench.sizes.slow_pace;
    measures.extend(slowly(bench, slow).await?);
    Ok(Scenario {
        name: "pace",
        title: format!(
            "{count} notifications × 1 webhook, {per_second} a second whatever happens; {} at {} a second",
            slow.count, slow.per_second
        ),
        measures,
        notes: Vec::new(),
    })
}

/// The same at a low rate.
async fn slowly(bench: &Bench, pace: Pace) -> Result<Vec<Measure>> {
    let at = format!("at {} a second: ", pace.per_second);
    let run = run(bench, pace).await?;
    let words = |what: &str| format!("{at}{what}");
    let mut measures = vec![
        Measure::new(
            "slow_p50",
            &words("send to receipt, p50"),
            run.took.median(),
            "ms",
        ),
        Measure::new(
            "slow_p99",
            &words("send to receipt, p99"),
            run.took.percentile(990),
            "ms",
        ),
    ];
    let names = ["slow_cpu", "slow_commits", "slow_switches", "slow_written"];
    measures.extend(costs(run.costs, names, &at));
    let names = ["slow_missing", "slow_duplicates", "slow_body_bytes"];
    let exactness = run.exactness.into_iter().zip(names);
    measures.extend(exactness.map(|(measure, name)| Measure {
        name,
        words: words(&measure.words),
        ..measure
    }));
    Ok(measures)
}

/// Measures of what a delivery cost; `names` are for CPU, commits, switches and bytes.
fn costs(costs: Option<Costs>, names: [&'static str; 4], at: &str) -> Vec<Measure> {
    let Some(costs) = costs else {
        return Vec::new();
    };
    let [cpu, commits, switches, written] = names;
    let words = |what: &str| format!("{at}{what} for a delivery");
    vec![
        Measure::new(cpu, &words("CPU of the server"), costs.cpu_us, "µs"),
        Measure::new(commits, &words("commits"), costs.commits, "").at_most(COMMITS_MAX),
        Measure::new(switches, &words("context switches"), costs.switches, ""),
        Measure::new(
            written,
            &words("bytes written to files"),
            costs.written,
            "B",
        ),
    ]
}

/// Sends notifications at a pace and waits until all are settled.
async fn run(bench: &Bench, pace: Pace) -> Result<PaceRun> {
    let Pace { per_second, count } = pace;
    let setup = WebhookSetup {
        webhooks: 1,
        notifications: count,
        ..WebhookSetup::default()
    };
    let calls = bench.calls(count, 1)?;
    let mut stage = bench.set(setup).await?;
    let (before, synced_before) = (stage.effort()?, stage.syncs().await?);
    let sent = open_loop(&stage.peer, calls, per_second, CONNECTIONS).await;
    let sent = stage.explained(sent).await?;
    stage.received(count).await?;
    // The log is read only afterwards, because that costs something, too.
    let (after, synced) = (stage.effort()?, stage.syncs().await?);
    stage.settled(0).await?;
    let arrivals: Vec<(usize, u64)> = (0..count).map(|number| (0, number)).collect();
    let took = latencies(&stage.tally, &sent, &arrivals);
    let late = Samples::of(sent.iter().map(|(_, late)| late.as_secs_f64() * 1_000.0));
    let synced = synced.zip(synced_before);
    let synced = synced.map(|(after, before)| (after.0 - before.0, after.1 - before.1));
    let costs = after.zip(before).zip(synced);
    let costs = costs.map(|((after, before), (_, commits))| {
        let each = |after: u64, before: u64| ratio(float(after - before), float(count));
        Costs {
            cpu_us: each(after.cpu_us, before.cpu_us),
            commits: ratio(commits, float(count)),
            switches: each(after.switches, before.switches),
            written: each(after.written, before.written),
        }
    });
    let exactness = stage.exactness(count, 0).await?;
    let is_own = stage.server.is_some();
    let data_dir = stage.strike().await?;
    if is_own {
        discard(&data_dir)?;
    }
    Ok(PaceRun {
        took,
        late,
        costs,
        sync_ms: synced.map(|(sum, number)| ratio(sum * 1_000.0, number)),
        exactness,
    })
}

/// The latency of the first of these calls at the same pace without a server: what this machine
/// needs to wake sender and receiver.
async fn straight(bench: &Bench, calls: &[PreparedCall], per_second: u32) -> Result<Samples> {
    let calls: Vec<PreparedCall> = calls
        .iter()
        .take(STRAIGHT)
        .map(PreparedCall::straight)
        .collect();
    let count = u64::try_from(calls.len())?;
    let StandaloneReceiver { peer, tally, .. } = &bench.alone(count).await?;
    let sent = open_loop(peer, Arc::new(calls), per_second, CONNECTIONS).await?;
    let arrivals: Vec<(usize, u64)> = (0..count).map(|number| (0, number)).collect();
    Ok(latencies(tally, &sent, &arrivals))
}

/// Latencies in milliseconds, from when each was due. `arrivals` has their webhooks and numbers.
pub(crate) fn latencies(
    tally: &ReceiverTally,
    sent: &[(Instant, Duration)],
    arrivals: &[(usize, u64)],
) -> Samples {
    let began = tally.began();
    let pairs = sent.iter().zip(arrivals);
    Samples::of(pairs.filter_map(|((meant, _), (webhook, number))| {
        let came = began + tally.came(*webhook, *number)?;
        Some(came.saturating_duration_since(*meant).as_secs_f64() * 1_000.0)
    }))
}

/// Latency of healthy webhooks while others hang, compared with none hanging before and after.
pub(crate) async fn fairness(bench: &Bench) -> Result<Scenario> {
    let (webhooks, hanging) = bench.sizes.fair;
    let (before, mut again) = others(bench, webhooks, 0).await?;
    let mut during = Vec::new();
    for count in hanging {
        let (took, more) = others(bench, webhooks, count).await?;
        during.push((count, took));
        again += more;
    }
    let (after, more) = others(bench, webhooks, 0).await?;
    again += more;
    let (first, second) = (before.percentile(990), after.percentile(990));
    let quiet = f64::midpoint(first, second);
    let noise = ratio(first.max(second), first.min(second));
    let mut measures = vec![
        Measure::new(
            "p50_before",
            "none hangs, before, p50",
            before.median(),
            "ms",
        ),
        Measure::new("p99_before", "none hangs, before, p99", first, "ms"),
        Measure::new("p99_after", "none hangs, after, p99", second, "ms"),
        Measure::new(
            "noise",
            "the larger p99 of these by the smaller",
            noise,
            "times",
        ),
    ];
    let names = [
        ["p50_one", "p99_one", "ratio_one"],
        ["p50_many", "p99_many", "ratio_many"],
    ];
    for ((count, took), [p50, p99, moved]) in during.iter().zip(names) {
        let words = |what: &str| format!("{count} of {webhooks} hang, {what} of the others");
        let p99_ms = took.percentile(990);
        let times = ratio(p99_ms, quiet);
        measures.push(Measure::new(p50, &words("p50"), took.median(), "ms"));
        measures.push(Measure::new(p99, &words("p99"), p99_ms, "ms"));
        measures
            .push(Measure::new(moved, &words("change of the p99"), times, "times").at_most(1.1));
    }
    measures.push(Measure::new("duplicates", "received again", float(again), "").at_most(0.0));
    let Pace { per_second, count } = bench.sizes.fair_pace;
    Ok(Scenario {
        name: "fairness",
        title: format!(
            "{webhooks} webhooks in turn, {count} notifications, {per_second} a second; those that \
             hang have {} waiting each",
            bench.sizes.fair_backlog
        ),
        measures,
        notes: Vec::new(),
    })
}

/// Latency of deliveries to healthy webhooks while `hanging` others hang, and the number of
/// duplicates.
async fn others(bench: &Bench, webhooks: usize, hanging: usize) -> Result<(Samples, u64)> {
    let Pace { per_second, count } = bench.sizes.fair_pace;
    let backlog = bench.sizes.fair_backlog;
    let setup = WebhookSetup {
        webhooks,
        notifications: count + backlog * u64::try_from(hanging)?,
        hanging,
        by_show: true,
    };
    let mut stage = bench.set(setup).await?;
    let prepared = |from: u64, to: u64, show: usize| {
        let call = (bench.load.hand_in)(&bench.tenant, from..to, show, BODY_BYTES);
        PreparedCall::new(call, &bench.token)
    };
    if hanging > 0 {
        // With numbers beyond those of the loop.
        let mut from = (count..).step_by(usize::try_from(backlog.max(1))?);
        let waiting: Result<Vec<PreparedCall>> = (0..hanging)
            .zip(&mut from)
            .map(|(show, from)| prepared(from, from + backlog, show))
            .collect();
        let waiting = Arc::new(waiting?);
        let calls = waiting.len();
        Flood::prepare(&stage.peer, waiting, calls, 1)
            .await?
            .run()
            .await?;
        tokio::time::sleep(Duration::from_millis(bench.sizes.fair_rest_ms)).await;
    }
    let mut in_turn = (hanging..webhooks).cycle();
    let mut calls = Vec::new();
    let mut arrivals = Vec::new();
    for number in 0..count {
        let show = in_turn.next().unwrap_or_default();
        calls.push(prepared(number, number + 1, show)?);
        arrivals.push((show, number));
    }
    let sent = open_loop(&stage.peer, Arc::new(calls), per_second, CONNECTIONS).await;
    let sent = stage.explained(sent).await?;
    all_come(&mut stage, &arrivals).await?;
    let took = latencies(&stage.tally, &sent, &arrivals);
    anyhow::ensure!(stage.tally.strange() == 0, "unexpected calls were received");
    let again = stage.tally.again();
    let is_own = stage.server.is_some();
    if hanging == 0 || !is_own {
        stage.settled(hanging).await?;
        let data_dir = stage.strike().await?;
        if is_own {
            discard(&data_dir)?;
        }
    } else {
        // An orderly stop would wait for hanging calls: kill this server.
        let data_dir = stage.data_dir.clone();
        drop(stage);
        discard(&data_dir)?;
    }
    Ok((took, again))
}

/// Waits for each of these: the total would also count calls to webhooks that hang.
pub(crate) async fn all_come(stage: &mut Stage<'_>, arrivals: &[(usize, u64)]) -> Result<()> {
    let began = Instant::now();
    let missing = |stage: &Stage<'_>| {
        let mut all = arrivals.iter();
        all.any(|(webhook, number)| stage.tally.came(*webhook, *number).is_none())
    };
    while missing(stage) {
        stage.check()?;
        anyhow::ensure!(
            began.elapsed() < Duration::from_secs(60),
            "deliveries to healthy webhooks were not received"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}
