//! One scenario's stage: a server (of its own on a fresh folder, or the one named by `--at`), a
//! receiver, webhooks made over REST; and the end of a run, which is not that everything came but
//! that the log says so.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use model::query::DeliveryStatus;
use model::time::Clock;
use tokio::time::Instant;
use web::dialects::{Load, LoadTenant, WebhookRef};

use crate::measure::{float, ratio};
use crate::process::ProcessCost;
use crate::receiver::{Receiver, ReceiverTally, Webhooks};
use crate::report::Measure;
use crate::sender::{BenchConnection, Peer, PreparedCall};
use crate::server::{self, Server};
use crate::silent_dns::SilentDnsServer;
use crate::sizes::{BODY_BYTES, Sizes};

/// Between two looks at what has come.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// Without any progress for so long something is lost or has stopped.
const PATIENCE: Duration = Duration::from_secs(60);

/// What all scenarios need.
pub(crate) struct Bench {
    /// The build that is measured.
    pub(crate) program: PathBuf,
    pub(crate) load: Load,
    pub(crate) clock: Clock,
    /// The file of the store in a data folder.
    pub(crate) store_file: fn(&Path) -> PathBuf,
    pub(crate) sizes: Sizes,
    /// Everything is made below this folder.
    pub(crate) folder: PathBuf,
    pub(crate) token: String,
    pub(crate) tenant: String,
    /// Another server than one of our own.
    pub(crate) at: Option<SocketAddr>,
    pub(crate) receiver: SocketAddr,
    pub(crate) runs: u32,
    pub(crate) count: AtomicU32,
}

pub(crate) struct Stage<'a> {
    bench: &'a Bench,
    pub(crate) server: Option<Server>,
    pub(crate) data_dir: PathBuf,
    pub(crate) peer: Peer,
    connection: BenchConnection,
    pub(crate) tally: Arc<ReceiverTally>,
    _receiver: Receiver,
    webhooks: Vec<WebhookRef>,
}

/// How webhooks of a stage are to be.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct WebhookSetup {
    pub(crate) webhooks: usize,
    pub(crate) notifications: u64,
    /// The first of them hang.
    pub(crate) hanging: usize,
    /// Each has a show of its own; else all hear of everything.
    pub(crate) by_show: bool,
}

/// What else is on a stage with a server of our own.
#[derive(Default)]
pub(crate) struct StageExtras<'a> {
    /// Sections of other tenants for `apply`.
    pub(crate) file: String,
    /// Somebody who may sign in, and their password.
    pub(crate) user: Option<(&'static str, &'static str)>,
    /// The name server that the server asks, instead of the machine's.
    pub(crate) names: Option<&'a SilentDnsServer>,
}

/// A receiver with no server before it, which ends with this, and how to reach it.
pub(crate) struct StandaloneReceiver {
    pub(crate) peer: Peer,
    pub(crate) tally: Arc<ReceiverTally>,
    _receiver: Receiver,
}

impl Bench {
    /// A receiver of so many notifications on this machine, whatever is measured: so is told what
    /// it can do with nothing between.
    pub(crate) async fn alone(&self, count: u64) -> Result<StandaloneReceiver> {
        let tally = ReceiverTally::new(self.load.number, Webhooks::All(1), count, 0)?;
        let here = SocketAddr::from(([127, 0, 0, 1], 0));
        let receiver = Receiver::start(here, Arc::clone(&tally)).await?;
        let peer = Peer {
            address: receiver.address,
            token: self.token.clone(),
        };
        Ok(StandaloneReceiver {
            peer,
            tally,
            _receiver: receiver,
        })
    }

    /// A data folder that nobody has used.
    pub(crate) fn fresh(&self) -> PathBuf {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        self.folder.join(format!("data-{number}"))
    }

    pub(crate) fn section(&self, shows: usize) -> LoadTenant {
        LoadTenant {
            key: self.tenant.clone(),
            token: self.token.clone(),
            shows,
            webhooks: Vec::new(),
        }
    }

    /// The calls that hand in these notifications, `batch` at a time.
    pub(crate) fn calls(&self, count: u64, batch: u64) -> Result<Arc<Vec<PreparedCall>>> {
        let mut calls = Vec::new();
        let mut from = 0;
        while from < count {
            let to = count.min(from + batch.max(1));
            let call = (self.load.hand_in)(&self.tenant, from..to, 0, BODY_BYTES);
            calls.push(PreparedCall::new(call, &self.token)?);
            from = to;
        }
        Ok(Arc::new(calls))
    }

    /// Sets a stage; a server of our own is fresh.
    pub(crate) async fn set(&self, setup: WebhookSetup) -> Result<Stage<'_>> {
        self.set_with(setup, &StageExtras::default()).await
    }

    /// The same with something beside it.
    pub(crate) async fn set_with(
        &self,
        setup: WebhookSetup,
        extras: &StageExtras<'_>,
    ) -> Result<Stage<'_>> {
        let number = self.load.number;
        let owed = match setup.by_show {
            true => Webhooks::One(setup.webhooks),
            false => Webhooks::All(setup.webhooks),
        };
        let tally = ReceiverTally::new(number, owed, setup.notifications, setup.hanging)?;
        let receiver = Receiver::start(self.receiver, Arc::clone(&tally)).await?;
        let data_dir = self.fresh();
        let (server, address) = match self.at {
            Some(address) => (None, address),
            None => {
                let shows = if setup.by_show { setup.webhooks } else { 1 };
                let server = self.serve(&data_dir, shows, extras).await?;
                let address = server.address;
                (Some(server), address)
            }
        };
        let peer = Peer {
            address,
            token: self.token.clone(),
        };
        let mut stage = Stage {
            bench: self,
            connection: BenchConnection::open(&peer).await?,
            server,
            data_dir,
            peer,
            tally,
            _receiver: receiver,
            webhooks: Vec::new(),
        };
        for index in 0..setup.webhooks {
            let show = setup.by_show.then_some(index);
            let url = stage._receiver.url(index);
            let call = (self.load.webhook)(&self.tenant, show, &url);
            let answer = stage.connection.call(call).await;
            let answer = stage.explained(answer).await?;
            let made = (self.load.made)(&answer);
            stage
                .webhooks
                .push(made.context("a webhook was made without a name")?);
        }
        Ok(stage)
    }

    /// A server of our own on a fresh folder.
    async fn serve(
        &self,
        data_dir: &Path,
        shows: usize,
        extras: &StageExtras<'_>,
    ) -> Result<Server> {
        let file = (self.load.section)(&self.section(shows)) + &extras.file;
        server::apply(&self.program, data_dir, &file)?;
        if let Some(user) = extras.user {
            server::add_user(&self.program, data_dir, user)?;
        }
        match extras.names {
            Some(names) => Server::start_by(names.command(&self.program), data_dir).await,
            None => Server::start(&self.program, data_dir).await,
        }
    }
}

impl Stage<'_> {
    /// Waits until so many deliveries have come.
    pub(crate) async fn received(&mut self, count: u64) -> Result<()> {
        let mut latest = (Instant::now(), 0);
        loop {
            let received = self.tally.received();
            if received >= count {
                return Ok(());
            }
            if received > latest.1 {
                latest = (Instant::now(), received);
            } else if latest.0.elapsed() > PATIENCE {
                bail!(
                    "only {received} of {count} deliveries came.{}",
                    self.last_words()
                );
            }
            self.check()?;
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until no webhook from the `from`th on is owed anything.
    pub(crate) async fn settled(&mut self, from: usize) -> Result<()> {
        let began = Instant::now();
        for index in from..self.webhooks.len() {
            for status in [DeliveryStatus::Pending, DeliveryStatus::Retrying] {
                while self.rows(index, status, true).await? > 0 {
                    if began.elapsed() > PATIENCE {
                        bail!("what came is not settled.{}", self.last_words());
                    }
                    tokio::time::sleep(LOOK_EVERY).await;
                }
            }
        }
        Ok(())
    }

    /// Rows of the log of a webhook from the `from`th on that say delivered.
    pub(crate) async fn delivered(&mut self, from: usize) -> Result<u64> {
        let mut rows = 0;
        for index in from..self.webhooks.len() {
            rows += self.rows(index, DeliveryStatus::Delivered, false).await?;
        }
        Ok(rows)
    }

    async fn rows(
        &mut self,
        webhook: usize,
        status: DeliveryStatus,
        first_page: bool,
    ) -> Result<u64> {
        let made = self
            .webhooks
            .get(webhook)
            .context("there is no such webhook")?;
        let load = &self.bench.load;
        let mut call = (load.log)(&self.bench.tenant, made, status);
        let mut rows = 0;
        loop {
            let page = (load.page)(&self.connection.call(call.clone()).await?);
            let page = page.ok_or_else(|| anyhow!("a page of the log is no page"))?;
            rows += page.rows;
            match page.after(&call) {
                Some(next) if !first_page => call = next,
                Some(_) | None => return Ok(rows),
            }
        }
    }

    /// An error if the server has ended.
    pub(crate) fn check(&mut self) -> Result<()> {
        self.server.as_mut().map_or(Ok(()), Server::check)
    }

    fn last_words(&self) -> String {
        self.server
            .as_ref()
            .map_or_else(String::new, Server::last_words)
    }

    /// Explains a failure by what the server says of itself, and said last.
    pub(crate) async fn explained<T>(&self, done: Result<T>) -> Result<T> {
        let error = match done {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        let health = match BenchConnection::open(&self.peer).await {
            Ok(mut connection) => connection.look("/readyz").await,
            Err(error) => Err(error),
        };
        let health = match health {
            Ok(words) => format!(" /readyz says: {}.", words.trim_end().trim_end_matches('.')),
            Err(_) => " It does not answer at /readyz.".to_owned(),
        };
        Err(anyhow!("{error:#}.{health}{}", self.last_words()))
    }

    /// CPU time of a server of our own so far.
    pub(crate) fn cpu_us(&self) -> Result<Option<u64>> {
        self.server.as_ref().map(Server::cpu_us).transpose()
    }

    /// What a server of our own has cost so far.
    pub(crate) fn effort(&self) -> Result<Option<ProcessCost>> {
        self.server.as_ref().map(Server::effort).transpose()
    }

    /// How long a server of our own has waited for the disk so far, in seconds, and how often.
    pub(crate) async fn syncs(&self) -> Result<Option<(f64, f64)>> {
        if self.server.is_none() {
            return Ok(None);
        }
        let metrics = BenchConnection::open(&self.peer)
            .await?
            .look("/metrics")
            .await?;
        let value = |name: &str| {
            let line = metrics.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|value| value.trim().parse().ok())
        };
        let sum = value("willcall_store_sync_duration_seconds_sum ");
        let count = value("willcall_store_sync_duration_seconds_count ");
        Ok(sum.zip(count))
    }

    /// What is measured of every run: that nothing was lost and nothing came twice.
    pub(crate) async fn exactness(&mut self, owed: u64, from: usize) -> Result<Vec<Measure>> {
        let delivered = self.delivered(from).await?;
        let tally = &self.tally;
        let missing = owed.saturating_sub(tally.received().min(delivered));
        let again = float(tally.again());
        let size = ratio(float(tally.bytes()), float(tally.calls()));
        if tally.strange() > 0 {
            bail!("{} calls came that nobody expected", tally.strange());
        }
        Ok(vec![
            Measure::new(
                "missing",
                "not received, or not delivered in the log",
                float(missing),
                "",
            )
            .at_most(0.0),
            Measure::new("duplicates", "received again", again, "").at_most(0.0),
            Measure::new("body_bytes", "body of a call", size, "B"),
        ])
    }

    /// Takes the stage down: a server of our own stops in order, another one keeps no webhook.
    /// Answers the folder of the one that stopped.
    pub(crate) async fn strike(mut self) -> Result<PathBuf> {
        match self.server.take() {
            Some(server) => server.stop().await?,
            None => {
                for made in &self.webhooks {
                    let call = (self.bench.load.end)(&self.bench.tenant, made);
                    self.connection.call(call).await?;
                }
            }
        }
        Ok(self.data_dir)
    }
}

/// Removes a folder of which nothing is needed any more.
pub(crate) fn discard(data_dir: &Path) -> Result<()> {
    std::fs::remove_dir_all(data_dir)
        .with_context(|| format!("the folder {} cannot be removed", data_dir.display()))
}
