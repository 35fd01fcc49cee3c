//! The set-up of one scenario: a server (a new one on a new folder, or the one named by `--at`), a
//! receiver, and webhooks created over REST. A run ends not when everything was received, but when
//! the log says so.

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

/// Time between two polls.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// Without progress for so long, something is lost or has stopped.
const PATIENCE: Duration = Duration::from_secs(60);

/// What all scenarios need.
pub(crate) struct Bench {
    /// The build that is measured.
    pub(crate) program: PathBuf,
    pub(crate) load: Load,
    pub(crate) clock: Clock,
    /// Returns the store's file in a data folder.
    pub(crate) store_file: fn(&Path) -> PathBuf,
    pub(crate) sizes: Sizes,
    /// All files are made below this folder.
    pub(crate) folder: PathBuf,
    pub(crate) token: String,
    pub(crate) tenant: String,
    /// Measure the server at this address instead of a new one.
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

/// The webhooks of a stage.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct WebhookSetup {
    pub(crate) webhooks: usize,
    pub(crate) notifications: u64,
    /// The receiver of the first so many hangs.
    pub(crate) hanging: usize,
    /// Each webhook has a show of its own; otherwise all get everything.
    pub(crate) by_show: bool,
}

/// What else a new server gets.
#[derive(Default)]
pub(crate) struct StageExtras<'a> {
    /// Sections of other tenants, for `apply`.
    pub(crate) file: String,
    /// A user and their password.
    pub(crate) user: Option<(&'static str, &'static str)>,
    /// The name server to use instead of the machine's.
    pub(crate) names: Option<&'a SilentDnsServer>,
}

/// A receiver without a server, and how to reach it. It ends when this is dropped.
pub(crate) struct StandaloneReceiver {
    pub(crate) peer: Peer,
    pub(crate) tally: Arc<ReceiverTally>,
    _receiver: Receiver,
}

impl Bench {
    /// Starts a receiver for `count` notifications on this machine, to measure what the machine can
    /// do without a server between.
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

    /// The path of an unused data folder.
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

    /// The calls that send `count` notifications, `batch` at a time.
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

    /// Sets a stage up.
    pub(crate) async fn set(&self, setup: WebhookSetup) -> Result<Stage<'_>> {
        self.set_with(setup, &StageExtras::default()).await
    }

    /// Sets a stage up with extras.
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
                .push(made.context("the new webhook has no id in the response")?);
        }
        Ok(stage)
    }

    /// Starts a new server on a new folder.
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
    /// Waits until `count` deliveries were received.
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
                    "only {received} of {count} deliveries were received.{}",
                    self.last_words()
                );
            }
            self.check()?;
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until no webhook from index `from` on has a pending delivery.
    pub(crate) async fn settled(&mut self, from: usize) -> Result<()> {
        let began = Instant::now();
        for index in from..self.webhooks.len() {
            for status in [DeliveryStatus::Pending, DeliveryStatus::Retrying] {
                while self.rows(index, status, true).await? > 0 {
                    if began.elapsed() > PATIENCE {
                        bail!(
                            "deliveries were received but are not settled.{}",
                            self.last_words()
                        );
                    }
                    tokio::time::sleep(LOOK_EVERY).await;
                }
            }
        }
        Ok(())
    }

    /// Counts the rows of the log that say delivered, of webhooks from index `from` on.
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
            let page = page.ok_or_else(|| anyhow!("a page of the log cannot be read"))?;
            rows += page.rows;
            match page.after(&call) {
                Some(next) if !first_page => call = next,
                Some(_) | None => return Ok(rows),
            }
        }
    }

    /// Fails if the server has ended.
    pub(crate) fn check(&mut self) -> Result<()> {
        self.server.as_mut().map_or(Ok(()), Server::check)
    }

    fn last_words(&self) -> String {
        self.server
            .as_ref()
            .map_or_else(String::new, Server::last_words)
    }

    /// Adds to an error what the server says at `/readyz`, and the end of its log.
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

    /// CPU time of our server so far.
    pub(crate) fn cpu_us(&self) -> Result<Option<u64>> {
        self.server.as_ref().map(Server::cpu_us).transpose()
    }

    /// What our server has cost so far.
    pub(crate) fn effort(&self) -> Result<Option<ProcessCost>> {
        self.server.as_ref().map(Server::effort).transpose()
    }

    /// Seconds that our server has waited for the disk so far, and how often.
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
        // The second name is that of builds before the metrics were renamed.
        let sum = value("willcall_store_fsync_duration_seconds_sum ")
            .or_else(|| value("willcall_store_sync_duration_seconds_sum "));
        let count = value("willcall_store_fsync_duration_seconds_count ")
            .or_else(|| value("willcall_store_sync_duration_seconds_count "));
        Ok(sum.zip(count))
    }

    /// Measures of every run: nothing was lost, nothing came twice.
    pub(crate) async fn exactness(&mut self, owed: u64, from: usize) -> Result<Vec<Measure>> {
        let delivered = self.delivered(from).await?;
        let tally = &self.tally;
        let missing = owed.saturating_sub(tally.received().min(delivered));
        let again = float(tally.again());
        let size = ratio(float(tally.bytes()), float(tally.calls()));
        if tally.strange() > 0 {
            bail!("{} unexpected calls were received", tally.strange());
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

    /// Takes the stage down: stops our server in order, or deletes the webhooks of the other one.
    /// Returns the data folder.
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

/// Removes a data folder.
pub(crate) fn discard(data_dir: &Path) -> Result<()> {
    std::fs::remove_dir_all(data_dir)
        .with_context(|| format!("the folder {} cannot be removed", data_dir.display()))
}
