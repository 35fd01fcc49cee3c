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
use crate::stage::{Bench, Shows, Stage, StandaloneReceiver, WebhookSetup};

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
    postgres_us: Option<f64>,
    commits: f64,
    switches: f64,
    written: f64,
}

/// The bars of `pace`.
struct PaceBars {
    p50_ms: f64,
    p99_ms: f64,
    p999_ms: Option<f64>,
}

/// Which nodes the notifications are sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Via {
    /// The only one.
    Sole,
    /// The one that owns the webhook's slot.
    Owner,
    /// The others.
    Others,
}

const IN_FILE: PaceBars = PaceBars {
    p50_ms: 0.6,
    p99_ms: 2.5,
    p999_ms: Some(8.0),
};

const ON_POSTGRES: PaceBars = PaceBars {
    p50_ms: 1.5,
    p99_ms: 5.0,
    p999_ms: None,
};

/// When another node owns the slot than the one that accepts.
const BY_OTHERS: PaceBars = PaceBars {
    p50_ms: 3.0,
    p99_ms: 10.0,
    p999_ms: None,
};

pub(crate) async fn pace(bench: &Bench) -> Result<Scenario> {
    let Pace { per_second, count } = bench.sizes.pace;
    let straight = straight(bench, &bench.calls(count, 1)?, per_second).await?;
    let via = match bench.nodes {
        1 => Via::Sole,
        _ => Via::Owner,
    };
    let run = run(bench, bench.sizes.pace, via).await?;
    let bars = match bench.is_postgres() {
        false => IN_FILE,
        true => ON_POSTGRES,
    };
    let names = ["p50", "p99", "p999", "max", "sent_late_p99"];
    let mut measures = receipts(&run, names, "", &bars);
    measures.push(Measure::new(
        "straight_p50",
        "the same straight at the receiver, p50",
        straight.median(),
        "ms",
    ));
    match run.sync_ms {
        Some(mean) if bench.is_postgres() => {
            measures.push(Measure::new(
                "commit_mean",
                "a transaction, mean",
                mean,
                "ms",
            ));
        }
        Some(mean) => {
            let words = "of it waiting for the disk, mean";
            measures.push(Measure::new("sync_mean", words, mean, "ms"));
            let at_bar = run.took.median() - (mean - BAR_COMMIT_MS).max(0.0);
            let words = "p50, less what the disk takes above 0.1 ms";
            measures.push(Measure::new("p50_at_bar", words, at_bar, "ms").at_most(bars.p50_ms));
        }
        None => {}
    }
    let names = ["cpu", "cpu_postgres", "commits", "switches", "written"];
    measures.extend(costs(bench, run.costs, names, ""));
    measures.extend(run.exactness);
    if bench.nodes > 1 {
        measures.extend(by_others(bench).await?);
    }
    let slow = bench.sizes.slow_pace;
    measures.extend(slowly(bench, slow, via).await?);
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

/// Measures of how long it took until receipt.
fn receipts(
    run: &PaceRun,
    [p50, p99, p999, max, late]: [&'static str; 5],
    at: &str,
    bars: &PaceBars,
) -> Vec<Measure> {
    let PaceRun {
        took, late: lates, ..
    } = run;
    let measure = |name, what: &str, value| Measure::new(name, &format!("{at}{what}"), value, "ms");
    vec![
        measure(p50, "send to receipt, p50", took.median()).at_most(bars.p50_ms),
        measure(p99, "send to receipt, p99", took.percentile(990)).at_most(bars.p99_ms),
        measure(p999, "send to receipt, p99.9", took.percentile(999)).at_most_if(bars.p999_ms),
        measure(max, "send to receipt, slowest", took.percentile(1_000)),
        measure(
            late,
            "of it the sender's own delay, p99",
            lates.percentile(990),
        ),
    ]
}

/// The same if another node owns the slot than those that accept.
async fn by_others(bench: &Bench) -> Result<Vec<Measure>> {
    let run = run(bench, bench.sizes.pace, Via::Others).await?;
    let at = "accepted by another node: ";
    let names = [
        "other_p50",
        "other_p99",
        "other_p999",
        "other_max",
        "other_sent_late_p99",
    ];
    let mut measures = receipts(&run, names, at, &BY_OTHERS);
    let names = ["other_missing", "other_duplicates", "other_body_bytes"];
    let exactness = run.exactness.into_iter().zip(names);
    measures.extend(exactness.map(|(measure, name)| Measure {
        name,
        words: format!("{at}{}", measure.words),
        ..measure
    }));
    Ok(measures)
}

/// The same at a low rate.
async fn slowly(bench: &Bench, pace: Pace, via: Via) -> Result<Vec<Measure>> {
    let at = format!("at {} a second: ", pace.per_second);
    let run = run(bench, pace, via).await?;
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
    let names = [
        "slow_cpu",
        "slow_cpu_postgres",
        "slow_commits",
        "slow_switches",
        "slow_written",
    ];
    measures.extend(costs(bench, run.costs, names, &at));
    let names = ["slow_missing", "slow_duplicates", "slow_body_bytes"];
    let exactness = run.exactness.into_iter().zip(names);
    measures.extend(exactness.map(|(measure, name)| Measure {
        name,
        words: words(&measure.words),
        ..measure
    }));
    Ok(measures)
}

/// Measures of what a delivery cost; `names` are for CPU, that of PostgreSQL, commits, switches and
/// bytes.
fn costs(bench: &Bench, costs: Option<Costs>, names: [&'static str; 5], at: &str) -> Vec<Measure> {
    let Some(costs) = costs else {
        return Vec::new();
    };
    let [cpu, postgres, commits, switches, written] = names;
    let words = |what: &str| format!("{at}{what} for a delivery");
    // A database has one commit for the notification and one for its outcome.
    let commits_max = (!bench.is_postgres()).then_some(COMMITS_MAX);
    let mut measures = vec![Measure::new(
        cpu,
        &words("CPU of the server"),
        costs.cpu_us,
        "µs",
    )];
    measures.extend(costs.postgres_us.map(|us| {
        let words = format!("{at}of it PostgreSQL");
        Measure::new(postgres, &words, us, "µs")
    }));
    measures.extend([
        Measure::new(commits, &words("commits"), costs.commits, "").at_most_if(commits_max),
        Measure::new(switches, &words("context switches"), costs.switches, ""),
        Measure::new(
            written,
            &words("bytes written to files"),
            costs.written,
            "B",
        ),
    ]);
    measures
}

/// Sends notifications at a pace and waits until all are settled.
async fn run(bench: &Bench, pace: Pace, via: Via) -> Result<PaceRun> {
    let Pace { per_second, count } = pace;
    // Which node owns the slot is found out with one more.
    let probes = u64::from(via != Via::Sole);
    let owed = count + probes;
    let setup = WebhookSetup {
        webhooks: 1,
        notifications: owed,
        ..WebhookSetup::default()
    };
    let calls = bench.calls(count, 1)?;
    let mut stage = bench.set(setup).await?;
    let peers = match via {
        Via::Sole => stage.peers.clone(),
        Via::Owner | Via::Others => {
            let owner = stage.owner(count).await?;
            let peers = stage.peers.iter().enumerate();
            let wanted = peers.filter(|(place, _)| (*place == owner) == (via == Via::Owner));
            wanted.map(|(_, peer)| peer.clone()).collect()
        }
    };
    let (before, synced_before) = (stage.effort()?, stage.syncs().await?);
    let cpu_before = stage.cpu()?;
    let sent = open_loop(&peers, calls, per_second, CONNECTIONS).await;
    let sent = stage.explained(sent).await?;
    stage.received(owed).await?;
    // The log is read only afterwards, because that costs something, too.
    let cpu = stage.cpu()?.zip(cpu_before);
    let (after, synced) = (stage.effort()?, stage.syncs().await?);
    stage.settled(0).await?;
    let arrivals: Vec<(usize, u64)> = (0..count).map(|number| (0, number)).collect();
    let took = latencies(&stage.tally, &sent, &arrivals);
    let late = Samples::of(sent.iter().map(|(_, late)| late.as_secs_f64() * 1_000.0));
    let synced = synced.zip(synced_before);
    let synced = synced.map(|(after, before)| (after.0 - before.0, after.1 - before.1));
    let cpu = cpu.map(|(after, before)| after.since(before));
    let costs = after.zip(before).zip(synced).zip(cpu);
    let costs = costs.map(|(((after, before), (_, commits)), cpu)| {
        let each = |spent: u64| ratio(float(spent), float(count));
        Costs {
            cpu_us: each(cpu.all_us()),
            postgres_us: cpu.postgres_us.map(each),
            commits: ratio(commits, float(count)),
            switches: each(after.switches - before.switches),
            written: each(after.written - before.written),
        }
    });
    let exactness = stage.exactness(owed, 0).await?;
    stage.clear().await?;
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
    let sent = open_loop(
        std::slice::from_ref(peer),
        Arc::new(calls),
        per_second,
        CONNECTIONS,
    )
    .await?;
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
        shows: Shows::Own,
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
        Flood::prepare(&stage.peers, waiting, calls, 1)
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
    let sent = open_loop(&stage.peers, Arc::new(calls), per_second, CONNECTIONS).await;
    let sent = stage.explained(sent).await?;
    all_come(&mut stage, &arrivals).await?;
    let took = latencies(&stage.tally, &sent, &arrivals);
    anyhow::ensure!(stage.tally.strange() == 0, "unexpected calls were received");
    let again = stage.tally.again();
    if hanging == 0 || !stage.is_own() {
        stage.settled(hanging).await?;
        stage.clear().await?;
    } else {
        // An orderly stop would wait for hanging calls.
        stage.kill().await?;
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
