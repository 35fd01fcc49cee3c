//! Large stores: a million deliveries that wait, a hundred thousand webhooks. The cost of an
//! operation must not depend on how much is stored.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::time::Instant;
use web::dialects::LoadTenant;

use crate::fill::{DUE_LANES, DirectStore, commits};
use crate::measure::{Samples, float, micros, ratio};
use crate::memory::{highest, mib};
use crate::nodes;
use crate::receiver::{Receiver, ReceiverTally, Webhooks};
use crate::report::{Measure, Scenario};
use crate::sender::{BenchConnection, Peer};
use crate::server::{self, Server};
use crate::sizes::BODY_BYTES;
use crate::stage::Bench;
use crate::stage_store::StageStore;

/// Notifications in a batch to be matched, and batches that are timed.
const MATCHED: u64 = 500;
const MATCHED_BATCHES: u64 = 11;

/// With a hundred times as much in the store an operation may cost twice as much, because of deeper
/// indexes and colder caches.
const TIMES_MAX: f64 = 2.0;

/// How long it may take until another node sends for what a node had: that stopped, or was killed.
const TAKEOVER_MS: f64 = 2_000.0;
const KILLED_MS: f64 = 15_000.0;

/// Nodes that are taken over from.
const TAKEOVERS: u64 = 2;

/// How long the first delivery may take.
const FIRST_LIMIT: Duration = Duration::from_secs(60);

/// How long a commit takes on this machine; needed to compare numbers of different machines.
pub(crate) async fn commit(bench: &Bench) -> Result<Scenario> {
    let store = bench.fresh().await?;
    let file = (bench.load.section)(&bench.section(1));
    server::apply(&bench.program, &store, &file)?;
    let direct = DirectStore::open(bench, &store).await?;
    let samples = commits(bench, &direct).await?;
    direct.close().await?;
    store.discard().await?;
    Ok(Scenario {
        name: "commit",
        title: format!(
            "{} commits of one notification on this disk, through the store's own writer",
            samples.count()
        ),
        measures: vec![
            Measure::new("p50", "a durable commit, p50", samples.median(), "µs"),
            Measure::new(
                "p99",
                "a durable commit, p99",
                samples.percentile(990),
                "µs",
            ),
        ],
        notes: Vec::new(),
    })
}

/// Builds a store in which notifications wait for webhooks.
async fn waiting_store<'a>(
    bench: &'a Bench,
    receiver: &Receiver,
    notifications: u64,
    webhooks: usize,
) -> Result<(StageStore<'a>, DirectStore, u64)> {
    let store = bench.fresh().await?;
    let tenant = LoadTenant {
        webhooks: (0..webhooks)
            .map(|index| (receiver.url(index), true))
            .collect(),
        ..bench.section(1)
    };
    server::apply(&bench.program, &store, &(bench.load.section)(&tenant))?;
    let mut direct = DirectStore::open(bench, &store).await?;
    let count = direct.wait(bench, notifications).await?;
    Ok((store, direct, count))
}

pub(crate) async fn waiting(bench: &Bench) -> Result<Scenario> {
    let (notifications, webhooks) = bench.sizes.waiting;
    let numbers = notifications + TAKEOVERS;
    let tally = ReceiverTally::new(bench.load.number, Webhooks::All(webhooks), numbers, 0)?;
    let here = SocketAddr::from(([127, 0, 0, 1], 0));
    let receiver = Receiver::start(here, Arc::clone(&tally)).await?;

    let (few_store, mut few, few_count) = waiting_store(bench, &receiver, 1, webhooks).await?;
    let few_due = few.due(bench.sizes.asks).await?;
    few.close().await?;
    few_store.discard().await?;

    let began = Instant::now();
    let (store, mut many, count) = waiting_store(bench, &receiver, notifications, webhooks).await?;
    let built = began.elapsed().as_secs_f64();
    let many_due = many.due(bench.sizes.asks).await?;
    many.close().await?;
    let bytes = store.bytes().await?;
    let due = u64::try_from(DUE_LANES.min(webhooks))?;
    let mut watched = watched(bench, &store, &tally, due).await?;
    if bench.nodes > 1 {
        watched.extend(takeovers(bench, &store, &tally, notifications..numbers).await?);
    }
    store.discard().await?;
    let (few_us, many_us) = (few_due.median(), many_due.median());
    let mut measures = vec![
        Measure::new("built", "built through the store", built, "s"),
        Measure::new(
            "bytes",
            "disk for a delivery",
            ratio(float(bytes), float(count)),
            "B",
        ),
    ];
    measures.extend(watched);
    measures.extend([
        Measure::new(
            "due_few",
            &format!("what is due among {few_count}"),
            few_us,
            "µs",
        ),
        Measure::new(
            "due_many",
            &format!("what is due among {count}"),
            many_us,
            "µs",
        ),
        Measure::new(
            "due_ratio",
            "ratio of the two",
            ratio(many_us, few_us),
            "times",
        )
        .at_most(TIMES_MAX),
    ]);
    Ok(Scenario {
        name: "waiting",
        title: format!(
            "{count} deliveries wait for a retry, of {webhooks} webhooks; {due} are due"
        ),
        measures,
        notes: Vec::new(),
    })
}

/// Starts a server on the waiting deliveries, and watches it until it is idle.
async fn watched(
    bench: &Bench,
    store: &StageStore<'_>,
    tally: &ReceiverTally,
    due: u64,
) -> Result<Vec<Measure>> {
    let began = Instant::now();
    let mut server = Server::start(&bench.program, store, 0).await?;
    let listens_ms = began.elapsed().as_secs_f64() * 1_000.0;
    let come = async {
        while tally.received() < due {
            server.check()?;
            ensure!(
                began.elapsed() < FIRST_LIMIT,
                "due deliveries were not received.{}",
                server.last_words()
            );
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    };
    come.await?;
    let first = tally.first().context("a received call has a time")?;
    let first_ms = first.saturating_duration_since(began).as_secs_f64() * 1_000.0;
    let rest = async {
        tokio::time::sleep(Duration::from_secs(bench.sizes.watched_s)).await;
        Ok(())
    };
    let most = highest(std::slice::from_ref(&server), rest).await?;
    let cpu = process_idle(&server, bench.sizes.watched_s).await?;
    server.stop().await?;
    let too_many = tally.calls().saturating_sub(due);
    Ok(vec![
        Measure::new("start", "start until it listens", listens_ms, "ms"),
        Measure::new(
            "first",
            "start until the first delivery comes",
            first_ms,
            "ms",
        )
        .at_most(1_000.0),
        Measure::new("memory", "memory, at most", mib(most), "MiB").at_most(64.0),
        Measure::new("idle_cpu", "CPU while nothing is due", cpu, "ms/s"),
        Measure::new("not_due", "came and was not due", float(too_many), "").at_most(0.0),
    ])
}

/// How long it takes until another node sends everything, when one of two stops, and when it is
/// killed. Each hands in a notification of these numbers, for all webhooks.
async fn takeovers(
    bench: &Bench,
    store: &StageStore<'_>,
    tally: &ReceiverTally,
    mut numbers: Range<u64>,
) -> Result<Vec<Measure>> {
    let mut servers = vec![
        Server::start(&bench.program, store, 1).await?,
        Server::start(&bench.program, store, 2).await?,
    ];
    nodes::shared(&mut servers, &bench.token).await?;
    let mut stopping = servers.remove(0);
    stopping.ask_to_stop()?;
    let stopped_ms = takeover(bench, &mut servers, tally, numbers.next()).await?;
    stopping.stopped().await?;
    servers.push(Server::start(&bench.program, store, 3).await?);
    nodes::shared(&mut servers, &bench.token).await?;
    drop(servers.pop());
    let killed_ms = takeover(bench, &mut servers, tally, numbers.next()).await?;
    for server in servers {
        server.stop().await?;
    }
    Ok(vec![
        Measure::new(
            "takeover",
            "one of two nodes stops, until the other sends for all",
            stopped_ms,
            "ms",
        )
        .at_most(TAKEOVER_MS),
        Measure::new(
            "takeover_killed",
            "the same when it is killed",
            killed_ms,
            "ms",
        )
        .at_most(KILLED_MS),
    ])
}

/// Hands a notification in at the only server that goes on, and waits until all webhooks have it.
/// Milliseconds.
async fn takeover(
    bench: &Bench,
    servers: &mut [Server],
    tally: &ReceiverTally,
    number: Option<u64>,
) -> Result<f64> {
    let began = Instant::now();
    let number = number.context("there is a number for each")?;
    let server = servers.first_mut().context("one goes on")?;
    let peer = Peer {
        address: server.address,
        token: bench.token.clone(),
    };
    let call = (bench.load.hand_in)(&bench.tenant, number..number + 1, 0, BODY_BYTES);
    BenchConnection::open(&peer).await?.call(call).await?;
    let (_, webhooks) = bench.sizes.waiting;
    while (0..webhooks).any(|webhook| tally.came(webhook, number).is_none()) {
        server.check()?;
        ensure!(
            began.elapsed() < FIRST_LIMIT,
            "nobody took over what a node had.{}",
            server.last_words()
        );
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(began.elapsed().as_secs_f64() * 1_000.0)
}

/// Milliseconds of CPU per second while the server is idle.
async fn process_idle(server: &Server, seconds: u64) -> Result<f64> {
    let before = server.cpu_us()?;
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let used = server.cpu_us()?.saturating_sub(before);
    Ok(ratio(float(used) / 1_000.0, float(seconds)))
}

pub(crate) async fn matching(bench: &Bench) -> Result<Scenario> {
    let (tenants, each) = bench.sizes.many;
    let numbers = MATCHED * MATCHED_BATCHES + 1;
    let tally = ReceiverTally::new(bench.load.number, Webhooks::All(1), numbers, 0)?;
    let here = SocketAddr::from(([127, 0, 0, 1], 0));
    let receiver = Receiver::start(here, Arc::clone(&tally)).await?;

    let (few_us, _) = matched(bench, &receiver, 1, 10, None).await?;
    let (many_us, applied_s) = matched(bench, &receiver, tenants, each, Some(&tally)).await?;
    let wrong = tally.calls().saturating_sub(1);
    Ok(Scenario {
        name: "matching",
        title: format!(
            "{} webhooks of {tenants} tenants, one of which matches",
            tenants * each
        ),
        measures: vec![
            Measure::new("apply", "`willcall apply` of them all", applied_s, "s"),
            Measure::new(
                "few",
                "accepting a notification with 10 webhooks",
                few_us,
                "µs",
            ),
            Measure::new("many", "accepting one with all of them", many_us, "µs"),
            Measure::new("ratio", "ratio of the two", ratio(many_us, few_us), "times")
                .at_most(TIMES_MAX),
            Measure::new("wrong", "came where nobody wanted it", float(wrong), "").at_most(0.0),
        ],
        notes: Vec::new(),
    })
}

/// Microseconds to accept one notification of a batch, with so many webhooks, of which one per
/// tenant matches; and seconds to apply the webhooks. With `seen`, one is first sent through a
/// server.
async fn matched(
    bench: &Bench,
    receiver: &Receiver,
    tenants: usize,
    each: usize,
    seen: Option<&ReceiverTally>,
) -> Result<(f64, f64)> {
    let store = bench.fresh().await?;
    let mut file = String::new();
    for tenant in 0..tenants {
        let key = match tenant {
            0 => bench.tenant.clone(),
            other => format!("{}-{other}", bench.tenant),
        };
        // Only the first webhook of the first tenant may be called; the tally counts other calls.
        let webhooks = (0..each).map(|index| (receiver.url(tenant * each + index), index == 0));
        let tenant = LoadTenant {
            key,
            token: format!("{}{tenant}", bench.token),
            shows: 1,
            webhooks: webhooks.collect(),
        };
        file.push_str(&(bench.load.section)(&tenant));
    }
    let began = Instant::now();
    server::apply(&bench.program, &store, &file)?;
    let applied_s = began.elapsed().as_secs_f64();
    if let Some(tally) = seen {
        one_comes(bench, &store, tally).await?;
    }
    let direct = DirectStore::open(bench, &store).await?;
    let mut samples = Vec::new();
    for batch in 0..MATCHED_BATCHES {
        let from = 1 + batch * MATCHED;
        let (accepted, took) = direct.accept(bench, from..from + MATCHED).await?;
        ensure!(
            accepted.iter().all(|(_, deliveries)| *deliveries == 1),
            "a notification does not have exactly one delivery"
        );
        samples.push(micros(took) / float(MATCHED));
    }
    direct.close().await?;
    store.discard().await?;
    Ok((Samples::of(samples).median(), applied_s))
}

/// Sends one notification through a server and waits until it is received.
async fn one_comes(bench: &Bench, store: &StageStore<'_>, tally: &ReceiverTally) -> Result<()> {
    let mut server = Server::start(&bench.program, store, 0).await?;
    let peer = Peer {
        address: server.address,
        token: format!("{}0", bench.token),
    };
    let mut connection = BenchConnection::open(&peer).await?;
    let call = (bench.load.hand_in)(&bench.tenant, 0..1, 0, BODY_BYTES);
    connection.call(call).await?;
    let began = Instant::now();
    while tally.received() == 0 {
        server.check()?;
        ensure!(
            began.elapsed() < FIRST_LIMIT,
            "nothing was received.{}",
            server.last_words()
        );
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // Stops when everything is settled, so a wrong call would have been received by now.
    server.stop().await
}
