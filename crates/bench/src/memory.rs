//! Memory of an idle server and of one under load: resident pages without those of the program's
//! own files (`process.rs` defines it).

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::measure::{float, ratio};
use crate::process::Memory;
use crate::report::{Measure, Scenario};
use crate::sender::Flood;
use crate::server::Server;
use crate::sizes::{CONNECTIONS, FAN_WEBHOOKS};
use crate::stage::{Bench, WebhookSetup};

const LOOK_EVERY: Duration = Duration::from_millis(100);

const MIB: f64 = 1_048_576.0;

pub(crate) fn mib(memory: Memory) -> f64 {
    ratio(float(memory.own()), MIB)
}

pub(crate) async fn memory(bench: &Bench) -> Result<Scenario> {
    let mut stage = bench
        .set(WebhookSetup {
            webhooks: FAN_WEBHOOKS,
            notifications: bench.sizes.fanned,
            ..WebhookSetup::default()
        })
        .await?;
    ensure!(
        stage.is_own(),
        "memory can be measured only of our own server"
    );
    let idle = largest(&stage.servers)?;
    let calls = bench.calls(bench.sizes.fanned, 1)?;
    let flood = Flood::prepare(&stage.peers, Arc::clone(&calls), calls.len(), CONNECTIONS).await?;
    let most = highest(&stage.servers, flood.run()).await;
    let mut most = stage.explained(most).await?;
    let owed = bench.sizes.fanned * u64::try_from(FAN_WEBHOOKS)?;
    while stage.tally.received() < owed {
        stage.check()?;
        let memory = largest(&stage.servers)?;
        if memory.own() > most.own() {
            most = memory;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let program = ratio(float(idle.program), MIB);
    stage.clear().await?;
    Ok(Scenario {
        name: "memory",
        title: format!(
            "resident, without the program's own pages; load: {} notifications × {FAN_WEBHOOKS} webhooks",
            bench.sizes.fanned
        ),
        measures: vec![
            Measure::new("idle", "idle", mib(idle), "MiB").at_most(20.0),
            Measure::new("loaded", "under load, at most", mib(most), "MiB").at_most(64.0),
            Measure::new(
                "program",
                "not counted: the program's own pages",
                program,
                "MiB",
            ),
        ],
        notes: Vec::new(),
    })
}

/// The memory of that server that has most now.
fn largest(servers: &[Server]) -> Result<Memory> {
    let mut most = Memory::default();
    for server in servers {
        let memory = server.memory()?;
        if memory.own() > most.own() {
            most = memory;
        }
    }
    Ok(most)
}

/// The highest memory of any of these servers while `work` runs.
pub(crate) async fn highest<T>(
    servers: &[Server],
    work: impl Future<Output = Result<T>>,
) -> Result<Memory> {
    let mut most = largest(servers)?;
    tokio::pin!(work);
    loop {
        tokio::select! {
            biased;
            done = &mut work => return done.map(|_| most),
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        let memory = largest(servers)?;
        if memory.own() > most.own() {
            most = memory;
        }
    }
}
