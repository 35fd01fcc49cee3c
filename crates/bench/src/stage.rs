//! The set-up of one scenario: servers (new ones on a new store, or the one named by `--at`), a
//! receiver, and webhooks created over REST. A run ends not when everything was received, but when
//! the log says so.

use std::net::SocketAddr;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use model::query::DeliveryStatus;
use model::time::Clock;
use tokio::time::Instant;
use web::dialects::{Load, LoadTenant, WebhookRef};

use crate::database::DatabaseSource;
use crate::many_receivers::{ManyReceivers, ManySetup};
use crate::measure::{float, ratio};
use crate::namespace::MountNamespace;
use crate::nodes;
use crate::process::ProcessCost;
use crate::receiver::{Receiver, ReceiverTally, Webhooks};
use crate::report::Measure;
use crate::sender::{BenchConnection, Peer, PreparedCall};
use crate::server::{self, Server};
use crate::sizes::{BODY_BYTES, Sizes};
use crate::stage_store::{StageStore, StoreKind};

/// Time between two polls.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// Without progress for so long, something is lost or has stopped.
const PATIENCE: Duration = Duration::from_secs(60);

/// Seals the secrets of a stage, which ends with it.
const MASTER_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n";

/// What all scenarios need.
pub(crate) struct Bench {
    /// The build that is measured.
    pub(crate) program: PathBuf,
    pub(crate) load: Load,
    pub(crate) clock: Clock,
    pub(crate) store: StoreKind,
    /// How many servers a stage has; several are on one database.
    pub(crate) nodes: usize,
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
    /// Our servers and their store; none of the one named by `--at`.
    pub(crate) servers: Vec<Server>,
    pub(crate) store: Option<StageStore<'a>>,
    /// What calls are sent to: one for each server.
    pub(crate) peers: Vec<Peer>,
    connection: BenchConnection,
    pub(crate) tally: Arc<ReceiverTally>,
    receiver: StageReceiver,
    webhooks: Vec<WebhookRef>,
}

/// Who receives what a stage sends.
enum StageReceiver {
    One(Receiver),
    Many(ManyReceivers),
}

impl StageReceiver {
    /// The target URL of a webhook.
    fn url(&self, webhook: usize) -> String {
        match self {
            Self::One(receiver) => receiver.url(webhook),
            Self::Many(receivers) => receivers.url(webhook),
        }
    }
}

/// The webhooks of a stage.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct WebhookSetup {
    pub(crate) webhooks: usize,
    pub(crate) notifications: u64,
    /// The receiver of the first so many hangs.
    pub(crate) hanging: usize,
    pub(crate) shows: Shows,
}

/// Which notifications the webhooks of a stage get.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Shows {
    /// All of them.
    #[default]
    Any,
    /// Each those of a show of its own, which has its number.
    Own,
    /// The first those of show 0, all others those of show 1.
    First,
}

impl Shows {
    fn of(self, webhook: usize) -> Option<usize> {
        match self {
            Self::Any => None,
            Self::Own => Some(webhook),
            Self::First => Some(webhook.min(1)),
        }
    }

    /// How many there are for so many webhooks.
    fn count(self, webhooks: usize) -> usize {
        match self {
            Self::Any => 1,
            Self::Own => webhooks,
            Self::First => 2,
        }
    }
}

/// CPU time so far, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct CpuTime {
    pub(crate) willcall_us: u64,
    /// None if there is no PostgreSQL, or it is not ours.
    pub(crate) postgres_us: Option<u64>,
}

impl CpuTime {
    pub(crate) fn all_us(self) -> u64 {
        self.willcall_us
            .saturating_add(self.postgres_us.unwrap_or(0))
    }

    /// What was used from `before` until now.
    pub(crate) fn since(self, before: Self) -> Self {
        let postgres = self.postgres_us.zip(before.postgres_us);
        Self {
            willcall_us: self.willcall_us.saturating_sub(before.willcall_us),
            postgres_us: postgres.map(|(after, before)| after.saturating_sub(before)),
        }
    }
}

/// What else a new server gets.
#[derive(Default)]
pub(crate) struct StageExtras<'a> {
    /// Sections of other tenants, for `apply`.
    pub(crate) file: String,
    /// A user and their password.
    pub(crate) user: Option<(&'static str, &'static str)>,
    /// The files that it sees instead of the machine's.
    pub(crate) namespace: Option<&'a MountNamespace>,
    /// How many servers, if not as many as usual.
    pub(crate) nodes: Option<usize>,
    /// By which profile calls are signed.
    pub(crate) signed: Option<&'static str>,
    /// Each webhook has a receiver of its own, with what it needs.
    pub(crate) many: Option<ManySetup>,
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

    /// An unused store.
    pub(crate) async fn fresh(&self) -> Result<StageStore<'_>> {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        self.store
            .fresh(self.folder.join(format!("data-{number}")))
            .await
    }

    /// Whether the store is a database.
    pub(crate) fn is_postgres(&self) -> bool {
        self.store.source().is_some()
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

    /// The call that sends the notification of this number about this show.
    pub(crate) fn prepared(&self, number: Range<u64>, show: usize) -> Result<PreparedCall> {
        let call = (self.load.hand_in)(&self.tenant, number, show, BODY_BYTES);
        PreparedCall::new(call, &self.token)
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
        let owed = match setup.shows {
            Shows::Own => Webhooks::One(setup.webhooks),
            Shows::Any | Shows::First => Webhooks::All(setup.webhooks),
        };
        let tally = ReceiverTally::new(number, owed, setup.notifications, setup.hanging)?;
        let receiver = match &extras.many {
            None => {
                let receiver = Receiver::start(self.receiver, Arc::clone(&tally)).await?;
                StageReceiver::One(receiver)
            }
            Some(many) => {
                let many = many.start(setup.webhooks, Arc::clone(&tally)).await?;
                StageReceiver::Many(many)
            }
        };
        let (store, servers) = match self.at {
            Some(_) => (None, Vec::new()),
            None => {
                let store = self.fresh().await?;
                let shows = setup.shows.count(setup.webhooks);
                let servers = self.serve(&store, shows, extras).await?;
                (Some(store), servers)
            }
        };
        let addresses = self.at.into_iter();
        let addresses = addresses.chain(servers.iter().map(|server| server.address));
        let peer = |address| Peer {
            address,
            token: self.token.clone(),
        };
        let peers: Vec<Peer> = addresses.map(peer).collect();
        let first = peers.first().context("a stage has a server")?;
        let mut stage = Stage {
            bench: self,
            connection: BenchConnection::open(first).await?,
            servers,
            store,
            peers,
            tally,
            receiver,
            webhooks: Vec::new(),
        };
        for index in 0..setup.webhooks {
            let url = stage.receiver.url(index);
            let call = (self.load.webhook)(&self.tenant, setup.shows.of(index), &url);
            let answer = stage.connection.call(call).await;
            let answer = stage.explained(answer).await?;
            let made = (self.load.made)(&answer);
            let made = made.context("the new webhook has no id in the response")?;
            if let Some(profile) = extras.signed {
                let call = (self.load.sign)(&self.tenant, &made, profile);
                let answer = stage.connection.call(call).await;
                stage.explained(answer).await?;
            }
            stage.webhooks.push(made);
        }
        Ok(stage)
    }

    /// Starts new servers on a new store, and waits until each has its share.
    async fn serve(
        &self,
        store: &StageStore<'_>,
        shows: usize,
        extras: &StageExtras<'_>,
    ) -> Result<Vec<Server>> {
        let file = (self.load.section)(&self.section(shows)) + &extras.file;
        server::apply(&self.program, store, &file)?;
        if let Some(user) = extras.user {
            server::add_user(&self.program, store, user)?;
        }
        let mut servers = Vec::new();
        for node in 0..extras.nodes.unwrap_or(self.nodes) {
            let mut command = match extras.namespace {
                Some(namespace) => namespace.command(&self.program),
                None => server::command(&self.program),
            };
            command.arg("serve");
            if let Some(roots) = extras.many.as_ref().and_then(|many| many.roots.as_ref()) {
                command.arg("--ca-files").arg(roots);
            }
            if extras.signed.is_some() {
                let file = store.beside("key");
                std::fs::write(&file, MASTER_KEY)?;
                command.arg("--master-key-file").arg(file);
            }
            servers.push(Server::start_by(command, store, node).await?);
        }
        nodes::shared(&mut servers, &self.token).await?;
        Ok(servers)
    }
}

impl<'a> Stage<'a> {
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

    /// The receivers, if each webhook has one of its own.
    pub(crate) fn many(&self) -> Result<&ManyReceivers> {
        match &self.receiver {
            StageReceiver::Many(receivers) => Ok(receivers),
            StageReceiver::One(_) => Err(anyhow!("this stage has one receiver")),
        }
    }

    /// Fails if a server has ended.
    pub(crate) fn check(&mut self) -> Result<()> {
        self.servers.iter_mut().try_for_each(Server::check)
    }

    fn last_words(&self) -> String {
        self.servers.iter().map(Server::last_words).collect()
    }

    /// Whether its servers are ours.
    pub(crate) fn is_own(&self) -> bool {
        self.store.is_some()
    }

    /// What a single call goes to.
    pub(crate) fn peer(&self) -> Result<&Peer> {
        self.peers.first().context("a stage has a server")
    }

    /// Adds to an error what the server says at `/readyz`, and the end of its log.
    pub(crate) async fn explained<T>(&self, done: Result<T>) -> Result<T> {
        let error = match done {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        let health = match self.peer() {
            Ok(peer) => nodes::look(peer, "/readyz").await,
            Err(error) => Err(error),
        };
        let health = match health {
            Ok(words) => format!(" /readyz says: {}.", words.trim_end().trim_end_matches('.')),
            Err(_) => " It does not answer at /readyz.".to_owned(),
        };
        Err(anyhow!("{error:#}.{health}{}", self.last_words()))
    }

    /// The place among `peers` of the node that sends to the only webhook: that which sends a
    /// notification of this number.
    pub(crate) async fn owner(&mut self, number: u64) -> Result<usize> {
        let before = self.attempts().await?;
        let call = (self.bench.load.hand_in)(&self.bench.tenant, number..number + 1, 0, BODY_BYTES);
        self.connection.call(call).await?;
        self.received(1).await?;
        let began = Instant::now();
        loop {
            let after = self.attempts().await?;
            let mut pairs = after.iter().zip(&before);
            if let Some(place) = pairs.position(|(after, before)| after > before) {
                return Ok(place);
            }
            if began.elapsed() > PATIENCE {
                bail!("no node says that it sent something.{}", self.last_words());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// How many attempts each of our servers has made.
    async fn attempts(&self) -> Result<Vec<f64>> {
        let mut all = Vec::new();
        for peer in &self.peers {
            let metrics = nodes::look(peer, "/metrics").await?;
            all.push(nodes::sum(&metrics, "willcall_attempts_total"));
        }
        Ok(all)
    }

    /// CPU time of our servers so far, and of their PostgreSQL.
    pub(crate) fn cpu(&self) -> Result<Option<CpuTime>> {
        if !self.is_own() {
            return Ok(None);
        }
        let own: Result<Vec<u64>> = self.servers.iter().map(Server::cpu_us).collect();
        let source = self.bench.store.source();
        let postgres_us = source.map(DatabaseSource::cpu_us).transpose()?;
        Ok(Some(CpuTime {
            willcall_us: own?.iter().sum(),
            postgres_us: postgres_us.flatten(),
        }))
    }

    /// Bytes of WAL that PostgreSQL has written so far.
    pub(crate) async fn wal_bytes(&self) -> Result<Option<u64>> {
        match self.bench.store.source() {
            Some(source) => source.wal_bytes().await.map(Some),
            None => Ok(None),
        }
    }

    /// What our servers have cost so far.
    pub(crate) fn effort(&self) -> Result<Option<ProcessCost>> {
        if !self.is_own() {
            return Ok(None);
        }
        let mut all = ProcessCost::default();
        for server in &self.servers {
            let cost = server.effort()?;
            all.cpu_us += cost.cpu_us;
            all.switches += cost.switches;
            all.written += cost.written;
        }
        Ok(Some(all))
    }

    /// Seconds that our servers have waited for commits so far, and how often.
    pub(crate) async fn syncs(&self) -> Result<Option<(f64, f64)>> {
        if !self.is_own() {
            return Ok(None);
        }
        let mut all = (0.0, 0.0);
        for peer in &self.peers {
            let metrics = nodes::look(peer, "/metrics").await?;
            let value = |name: &str| {
                // In a file only waiting for the disk counts. The second name is that of builds
                // before the metrics were renamed; the third is that of a database.
                let names = ["fsync", "sync", "commit"];
                names.iter().find_map(|what| {
                    nodes::metric(
                        &metrics,
                        &format!("willcall_store_{what}_duration_seconds_{name}"),
                    )
                })
            };
            let Some((sum, count)) = value("sum").zip(value("count")) else {
                return Ok(None);
            };
            all = (all.0 + sum, all.1 + count);
        }
        Ok(Some(all))
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

    /// Takes the stage down: stops our servers in order, or deletes the webhooks of the other one.
    /// Returns the store, if it is ours.
    pub(crate) async fn strike(mut self) -> Result<Option<StageStore<'a>>> {
        let mut servers = std::mem::take(&mut self.servers);
        for server in &servers {
            server.ask_to_stop()?;
        }
        for server in &mut servers {
            server.stopped().await?;
        }
        if !self.is_own() {
            for made in &self.webhooks {
                let call = (self.bench.load.end)(&self.bench.tenant, made);
                self.connection.call(call).await?;
            }
        }
        Ok(self.store.take())
    }

    /// Takes the stage down and removes its store.
    pub(crate) async fn clear(self) -> Result<()> {
        match self.strike().await? {
            Some(store) => store.discard().await,
            None => Ok(()),
        }
    }

    /// The same by killing our servers: an orderly stop would wait for running attempts.
    pub(crate) async fn kill(mut self) -> Result<()> {
        let store = self.store.take();
        drop(self);
        match store {
            Some(store) => store.discard().await,
            None => Ok(()),
        }
    }
}
