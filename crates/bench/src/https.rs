//! HTTPS to many receivers: what a call costs over a new connection, a resumed one and a kept one,
//! beside a bare client; how often a connection is kept between calls that come seldom; what idle
//! connections and remembered sessions take.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::{Instant, sleep, sleep_until};

use crate::bare_client;
use crate::certificates::{self, Certificates, Chain};
use crate::many_receivers::{ManyReceivers, ManySetup};
use crate::measure::{float, ratio};
use crate::namespace::MountNamespace;
use crate::report::{Measure, Scenario};
use crate::sender::Flood;
use crate::sizes::CONNECTIONS;
use crate::stage::{Bench, Shows, Stage, StageExtras, WebhookSetup};

/// After the last call, outcomes are written down within this time.
const SETTLES_WITHIN: Duration = Duration::from_millis(500);

const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Rounds over the same receivers.
const RESUMED_ROUNDS: u64 = 2;
const KEPT_ROUNDS: u64 = 10;

/// Units of time between two calls to a receiver, for a third of them each.
const PAUSES: [u64; 3] = [5, 10, 25];

/// Until a receiver got so many calls, it is not known how long it keeps connections.
const CALLS_TO_LEARN: u64 = 2;

const KIB: f64 = 1_024.0;

/// A stage on which each webhook has a receiver of its own.
struct Field<'a> {
    bench: &'a Bench,
    stage: Stage<'a>,
    /// Notifications handed in so far.
    sent: u64,
}

/// What the rounds with one kind of certificate cost, in microseconds of CPU for a call.
#[derive(Default)]
struct Costs {
    bare_us: f64,
    new_us: f64,
    resumed_us: f64,
    resumed_share: f64,
    kept_us: f64,
    /// Memory, in KiB, of a connection that is kept and of a receiver that was called.
    kept_kib: f64,
    called_kib: f64,
    /// Threads that the first round had started.
    threads: u64,
}

pub(crate) async fn https(bench: &Bench) -> Result<Scenario> {
    let (count, kept) = (bench.sizes.receivers, bench.sizes.receivers_kept);
    let plain = rounds(bench, None).await?;
    let p256 = rounds(bench, Some(Chain::P256)).await?;
    let p384 = rounds(bench, Some(Chain::P384)).await?;
    let mut measures = vec![
        Measure::new("plain_new", "plain: new", plain.new_us, "µs"),
        Measure::new("plain_kept", "plain: kept", plain.kept_us, "µs"),
    ];
    measures.extend(of_p256(&p256, &plain));
    measures.extend(of_p384(&p384));
    let mut notes = Vec::new();
    match threads_by_name(bench).await? {
        Ok(threads) => {
            let words = "threads that new names start, all at once";
            measures.push(Measure::new("threads", words, float(threads), "").at_most(64.0));
        }
        Err(why) => notes.push(format!("left out: receivers with names, because {why}")),
    }
    Ok(Scenario {
        name: "https",
        title: format!(
            "{count} receivers, each with a certificate of its own, TLS 1.3; connections are kept to {kept}"
        ),
        measures,
        notes,
    })
}

fn of_p256(costs: &Costs, plain: &Costs) -> Vec<Measure> {
    let by = |part: f64, whole: f64| ratio(part, whole);
    let remembered_kib = (costs.called_kib - plain.called_kib).max(0.0);
    let words = "P-256: memory of a remembered receiver, beyond what it takes without TLS";
    vec![
        Measure::new("p256_bare", "P-256: new, bare client", costs.bare_us, "µs"),
        Measure::new("p256_new", "P-256: new", costs.new_us, "µs"),
        Measure::new(
            "p256_new_by_bare",
            "P-256: new, by the bare client's",
            by(costs.new_us, costs.bare_us),
            "",
        )
        .at_most(1.3),
        Measure::new("p256_resumed", "P-256: resumed", costs.resumed_us, "µs"),
        Measure::new(
            "p256_resumed_share",
            "P-256: resumed, of those that can be",
            costs.resumed_share,
            "",
        )
        .at_least(0.95),
        Measure::new(
            "p256_resumed_by_new",
            "P-256: resumed, by new",
            by(costs.resumed_us, costs.new_us),
            "",
        )
        .at_most(0.65),
        Measure::new("p256_kept", "P-256: kept", costs.kept_us, "µs"),
        Measure::new(
            "p256_kept_by_plain",
            "P-256: kept, by plain kept",
            by(costs.kept_us, plain.kept_us),
            "",
        )
        .at_most(1.25),
        Measure::new(
            "kept_memory",
            "P-256: memory of an idle kept connection",
            costs.kept_kib,
            "KiB",
        )
        .at_most(12.0),
        Measure::new("remembered_memory", words, remembered_kib, "KiB").at_most(4.0),
        Measure::new(
            "p256_threads",
            "threads that new addresses start",
            float(costs.threads),
            "",
        )
        .at_most(64.0),
    ]
}

fn of_p384(costs: &Costs) -> Vec<Measure> {
    let by = |part: f64, whole: f64| ratio(part, whole);
    vec![
        Measure::new("p384_bare", "P-384: new, bare client", costs.bare_us, "µs"),
        Measure::new("p384_new", "P-384: new", costs.new_us, "µs"),
        Measure::new("p384_resumed", "P-384: resumed", costs.resumed_us, "µs"),
        Measure::new(
            "p384_resumed_by_new",
            "P-384: resumed, by new",
            by(costs.resumed_us, costs.new_us),
            "",
        ),
        Measure::new("p384_kept", "P-384: kept", costs.kept_us, "µs"),
    ]
}

/// New, resumed and kept connections to all receivers.
async fn rounds(bench: &Bench, chain: Option<Chain>) -> Result<Costs> {
    let (count, kept) = (
        bench.sizes.receivers,
        bench.sizes.receivers_kept.min(bench.sizes.receivers),
    );
    let certificates = chain.map(|chain| Certificates::new(chain, count, false));
    let certificates = certificates.transpose()?.map(Arc::new);
    let rounds = 1 + RESUMED_ROUNDS;
    let calls = u64::try_from(count)? * rounds + u64::try_from(kept)? * (1 + KEPT_ROUNDS);
    let mut field = Field::set(bench, certificates.clone(), None, count, calls).await?;
    let mut costs = Costs::default();
    let bare = |certificates: &Option<Arc<Certificates>>, field: &Field<'_>| {
        let sockets = field
            .many()
            .map(|many| (0..count).map(|index| many.socket(index)).collect());
        let root = certificates
            .as_ref()
            .map(|certificates| certificates.root.clone());
        async move {
            match root {
                Some(root) => bare_client::cost_of_new_connections(&root, sockets?).await,
                None => Ok(0.0),
            }
        }
    };
    costs.bare_us = bare(&certificates, &field).await?;
    let before = (field.memory()?, field.threads()?);
    (costs.new_us, costs.threads) = field.round(count).await?;
    costs.threads = costs.threads.saturating_sub(before.1);
    costs.called_kib = field.grown_kib(before.0, count)?;
    let handshakes = field.many()?.handshakes();
    costs.resumed_us = field.rounds(count, RESUMED_ROUNDS).await?;
    let (full, resumed) = field.many()?.handshakes();
    let (full, resumed) = (full - handshakes.0, resumed - handshakes.1);
    costs.resumed_share = ratio(float(resumed), float(full + resumed));
    costs.bare_us = costs.bare_us.midpoint(bare(&certificates, &field).await?);
    field.many()?.close_after_answers(false);
    let before = field.memory()?;
    field.round(kept).await?;
    costs.kept_kib = field.grown_kib(before, kept)?;
    costs.kept_us = field.rounds(kept, KEPT_ROUNDS).await?;
    field.end().await?;
    Ok(costs)
}

/// How often calls that come seldom go over a connection that was kept.
pub(crate) async fn intervals(bench: &Bench) -> Result<Scenario> {
    let each = bench.sizes.receivers_paused;
    let count = each * PAUSES.len();
    let certificates = Arc::new(Certificates::new(Chain::P256, count, false)?);
    let (unit, units) = bench.sizes.pauses;
    let calls: u64 = PAUSES.iter().map(|pause| units / pause + 1).sum();
    let calls = calls * u64::try_from(each)?;
    let mut field = Field::set(bench, Some(certificates), None, count, calls).await?;
    field.many()?.close_after_answers(false);
    let began = Instant::now();
    let group = |place: usize| place * each..(place + 1) * each;
    let mut learnt = [0; PAUSES.len()];
    for passed in 0..=units {
        sleep_until(began + unit * u32::try_from(passed)?).await;
        for (place, pause) in PAUSES.iter().enumerate() {
            if passed % pause == 0 {
                field.call(group(place)).await?;
            }
            if passed == pause * (CALLS_TO_LEARN - 1) {
                let learnt = learnt.get_mut(place).context("each has a place")?;
                *learnt = field.many()?.connections(group(place));
            }
        }
    }
    let mut measures = Vec::new();
    for (place, (pause, learnt)) in PAUSES.iter().zip(learnt).enumerate() {
        let new = field.many()?.connections(group(place)) - learnt;
        let calls = (units / pause + 1 - CALLS_TO_LEARN) * u64::try_from(each)?;
        let share = 1.0 - ratio(float(new), float(calls));
        let (name, bar) = match pause {
            5 => ("kept_at_5_s", Some(0.95)),
            10 => ("kept_at_10_s", Some(0.95)),
            _ => ("kept_at_25_s", None),
        };
        let words = format!("a call every {pause} s: over a kept connection, from the third on");
        measures.push(Measure::new(name, &words, share, "").at_least_if(bar));
    }
    field.end().await?;
    Ok(Scenario {
        name: "https-intervals",
        title: format!(
            "{count} receivers that keep idle connections for 60 s, called at three intervals"
        ),
        measures,
        notes: Vec::new(),
    })
}

/// Threads that a round over new names starts; the inner error says why this machine cannot.
async fn threads_by_name(bench: &Bench) -> Result<Result<u64, String>> {
    let count = bench.sizes.receivers;
    let hosts: PathBuf = bench.folder.join("hosts");
    let nsswitch: PathBuf = bench.folder.join("nsswitch-hosts.conf");
    for (file, text) in [
        (&hosts, certificates::hosts(count)),
        (&nsswitch, "hosts: files\n".to_owned()),
    ] {
        std::fs::write(file, text)
            .with_context(|| format!("the file {} cannot be written", file.display()))?;
    }
    let namespace = MountNamespace(vec![
        (hosts, "/etc/hosts"),
        (nsswitch, "/etc/nsswitch.conf"),
    ]);
    if let Err(why) = namespace.try_out() {
        return Ok(Err(format!("{why:#}")));
    }
    let certificates = Arc::new(Certificates::new(Chain::P256, count, true)?);
    let calls = u64::try_from(count)?;
    let mut field = Field::set(bench, Some(certificates), Some(&namespace), count, calls).await?;
    let before = field.threads()?;
    let (_, most) = field.round(count).await?;
    field.end().await?;
    Ok(Ok(most.saturating_sub(before)))
}

impl<'a> Field<'a> {
    async fn set(
        bench: &'a Bench,
        certificates: Option<Arc<Certificates>>,
        namespace: Option<&MountNamespace>,
        count: usize,
        calls: u64,
    ) -> Result<Self> {
        let roots = match &certificates {
            Some(certificates) => {
                let file = bench.folder.join("roots.pem");
                std::fs::write(&file, &certificates.root)
                    .with_context(|| format!("the file {} cannot be written", file.display()))?;
                Some(file)
            }
            None => None,
        };
        let extras = StageExtras {
            namespace,
            nodes: Some(1),
            many: Some(ManySetup {
                certificates,
                roots,
                by_name: namespace.is_some(),
            }),
            ..StageExtras::default()
        };
        let setup = WebhookSetup {
            webhooks: count,
            notifications: calls,
            shows: Shows::Own,
            ..WebhookSetup::default()
        };
        let stage = bench.set_with(setup, &extras).await?;
        Ok(Self {
            bench,
            stage,
            sent: 0,
        })
    }

    fn many(&self) -> Result<&ManyReceivers> {
        self.stage.many()
    }

    fn memory(&self) -> Result<u64> {
        let server = self.stage.servers.first().context("the server is ours")?;
        Ok(server.memory()?.own())
    }

    fn threads(&self) -> Result<u64> {
        let server = self.stage.servers.first().context("the server is ours")?;
        server.threads()
    }

    /// By how much memory has grown for each of so many, in KiB.
    fn grown_kib(&self, before: u64, count: usize) -> Result<f64> {
        let grown = self.memory()?.saturating_sub(before);
        Ok(ratio(float(grown), float(u64::try_from(count)?)) / KIB)
    }

    /// Has one call made to each of these receivers.
    async fn call(&mut self, receivers: std::ops::Range<usize>) -> Result<()> {
        let mut calls = Vec::with_capacity(receivers.len());
        for index in receivers {
            let number = self.sent..self.sent + 1;
            calls.push(self.bench.prepared(number, index)?);
            self.sent += 1;
        }
        let count = calls.len();
        let flood = Flood::prepare(&self.stage.peers, Arc::new(calls), count, CONNECTIONS).await?;
        let sent = flood.run().await;
        self.stage.explained(sent).await?;
        self.stage.received(self.sent).await
    }

    /// One call to each of the first receivers: the server's CPU for each in microseconds, and the
    /// most threads that it had.
    async fn round(&mut self, count: usize) -> Result<(f64, u64)> {
        let before = self.cpu_us()?;
        let mut most = 0;
        let pid = self
            .stage
            .servers
            .first()
            .context("the server is ours")?
            .id();
        {
            let calls = self.call(0..count);
            tokio::pin!(calls);
            loop {
                tokio::select! {
                    biased;
                    done = &mut calls => break done?,
                    () = sleep(LOOK_EVERY) => {}
                }
                most = most.max(crate::process::threads(pid)?);
            }
        }
        sleep(SETTLES_WITHIN).await;
        let cost = ratio(self.cpu_us()? - before, float(u64::try_from(count)?));
        Ok((cost, most))
    }

    /// Several rounds: the server's CPU for a call.
    async fn rounds(&mut self, count: usize, rounds: u64) -> Result<f64> {
        let before = self.cpu_us()?;
        for _ in 0..rounds {
            self.call(0..count).await?;
        }
        sleep(SETTLES_WITHIN).await;
        let calls = float(u64::try_from(count)? * rounds);
        Ok(ratio(self.cpu_us()? - before, calls))
    }

    fn cpu_us(&self) -> Result<f64> {
        let cpu = self.stage.cpu()?.context("the server is ours")?;
        Ok(float(cpu.all_us()))
    }

    async fn end(self) -> Result<()> {
        self.stage.clear().await
    }
}
