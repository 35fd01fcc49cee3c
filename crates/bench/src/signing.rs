//! What signatures cost: the CPU of a delivery to ten webhooks whose calls are signed, against the
//! same without signatures, in turn.

use std::hint::black_box;
use std::sync::Arc;

use anyhow::{Context, Result};
use rcgen::{KeyPair, PKCS_ED25519, SigningKey};

use crate::measure::{Samples, float, ratio};
use crate::process;
use crate::report::{Measure, Scenario};
use crate::sender::Flood;
use crate::sizes::{BODY_BYTES, CONNECTIONS, FAN_WEBHOOKS};
use crate::stage::{Bench, StageExtras, WebhookSetup};
use crate::tasks;

/// How often each is run at least, in turn: a single run says little about a few per cent.
const TURNS: u32 = 3;

/// Signatures that are timed.
const SIGNED: u32 = 20_000;

/// A v1 signature may add so much.
const V1_MAX: f64 = 0.05;

/// A v1a signature may add what the signature itself takes, and so much of that.
const V1A_MAX: f64 = 1.1;

pub(crate) async fn signing(bench: &Bench) -> Result<Scenario> {
    let (mut none, mut v1, mut v1a) = (Vec::new(), Vec::new(), Vec::new());
    let mut exact = Vec::new();
    for _ in 0..bench.runs.max(TURNS) {
        for (profile, costs) in [
            (None, &mut none),
            (Some("standard"), &mut v1),
            (Some("standard_ed25519"), &mut v1a),
        ] {
            let (cost, measures) = cost(bench, profile).await?;
            costs.push(cost);
            exact.extend(measures);
        }
    }
    let [none, v1, v1a] = [none, v1, v1a].map(|costs| Samples::of(costs).median());
    let ed25519 = on_each_core(ed25519_us).await?;
    let mut measures = vec![
        Measure::new("none", "CPU for a delivery, not signed", none, "µs"),
        Measure::new("v1", "the same with v1", v1, "µs"),
        Measure::new("v1_adds", "added by v1", ratio(v1, none) - 1.0, "").at_most(V1_MAX),
        Measure::new("v1a", "the same with v1a", v1a, "µs"),
        Measure::new("ed25519", "one Ed25519 signature alone", ed25519, "µs"),
        Measure::new(
            "v1a_adds",
            "added by v1a, by that",
            ratio(v1a - none, ed25519),
            "",
        )
        .at_most(V1A_MAX),
    ];
    // For these the worst run counts.
    for name in ["missing", "duplicates"] {
        let same = exact.iter().filter(|measure| measure.name == name);
        measures.extend(same.max_by(|a, b| a.value.total_cmp(&b.value)).cloned());
    }
    let count = bench.sizes.fanned;
    Ok(Scenario {
        name: "signing",
        title: format!("{count} notifications × {FAN_WEBHOOKS} webhooks, Standard Webhooks"),
        measures,
        notes: Vec::new(),
    })
}

/// CPU of the server for a delivery, in microseconds, and whether all went well.
async fn cost(bench: &Bench, profile: Option<&'static str>) -> Result<(f64, Vec<Measure>)> {
    let setup = WebhookSetup {
        webhooks: FAN_WEBHOOKS,
        notifications: bench.sizes.fanned,
        ..WebhookSetup::default()
    };
    let extras = StageExtras {
        nodes: Some(1),
        signed: profile,
        ..StageExtras::default()
    };
    let mut stage = bench.set_with(setup, &extras).await?;
    let calls = bench.calls(bench.sizes.fanned, 1)?;
    let flood = Flood::prepare(&stage.peers, Arc::clone(&calls), calls.len(), CONNECTIONS).await?;
    let before = stage.cpu()?.context("the server is ours")?;
    let sent = flood.run().await;
    stage.explained(sent).await?;
    let owed = bench.sizes.fanned * u64::try_from(FAN_WEBHOOKS)?;
    stage.received(owed).await?;
    stage.settled(0).await?;
    let after = stage.cpu()?.context("the server is ours")?;
    let exact = stage.exactness(owed, 0).await?;
    stage.clear().await?;
    let cpu = float(after.since(before).all_us());
    Ok((ratio(cpu, float(owed)), exact))
}

/// What it costs while every core does the same, as while server, sender and receiver run: cores
/// that share a processor's parts are slower when all are busy. The mean of all.
async fn on_each_core(work: fn() -> Result<f64>) -> Result<f64> {
    let cores = std::thread::available_parallelism()?.get();
    let running: Vec<_> = (0..cores).map(|_| tasks::on_own_thread(work)).collect();
    let mut sum = 0.0;
    for one in running {
        sum += one.await??;
    }
    Ok(ratio(sum, float(u64::try_from(cores)?)))
}

/// CPU of one signature over as much as a call has, in microseconds, on this thread.
fn ed25519_us() -> Result<f64> {
    let key = KeyPair::generate_for(&PKCS_ED25519)?;
    let signed = vec![b'x'; BODY_BYTES];
    let before = process::thread_cpu_us()?;
    for _ in 0..SIGNED {
        black_box(key.sign(black_box(&signed))?);
    }
    Ok((process::thread_cpu_us()? - before) / f64::from(SIGNED))
}
