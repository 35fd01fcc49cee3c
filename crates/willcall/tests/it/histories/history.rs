//! One history: rounds of trouble, each ended by a fault, each followed by a calm in which
//! everything promised has to come true. The seed decides what is drawn; how threads and processes
//! interleave is up to the machine.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use model::rng::SeededRng;
use serde_json::json;
use tempfile::TempDir;

use super::client::{Load, Site, TENANTS, WEBHOOKS, tenants};
use super::damage::Saved;
use super::ledger::{Ledger, Tally, WebhookEdits};
use super::power::Journaled;
use super::receivers::Receivers;
use super::small_disk::SmallDisk;
use crate::harness::{Server, apply, cramped, spawn_serve};

/// Requests before a fault, at most.
const REQUESTS_MAX: u64 = 300;

/// Load lasts no longer than this before a fault.
const TROUBLE_MAX: Duration = Duration::from_secs(3);

/// Disks that are drawn for one power failure.
const DISKS: usize = 3;

/// What happens to the server in a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Kill,
    /// Stopped for seconds, as by a hypervisor.
    Freeze,
    FullDisk,
    /// A file is cut or a bit flipped after a kill.
    Damage,
    PowerLoss,
    /// Power fails on a disk that only says that it has synced the log.
    LyingDisk,
}

pub(crate) struct History {
    rng: SeededRng,
    home: TempDir,
    disk: Option<SmallDisk>,
    receivers: Receivers,
    ledger: Arc<Mutex<Ledger>>,
    ids: Arc<AtomicU64>,
    round: usize,
    /// How often a server was started; its user agent says it to receivers.
    run: u64,
}

type Verdict = Result<(), String>;

/// Lives through so many rounds. Returns what was seen, or the first promise that was broken.
pub(crate) fn live(seed: u64, faults: &[Fault], rounds: usize) -> Result<Tally, String> {
    let mut history = History::begin(seed, faults.contains(&Fault::FullDisk));
    for _ in 0..rounds {
        history.round += 1;
        let fault = faults[history.drawn(faults.len() as u64)];
        let done = history.round(fault);
        done.map_err(|why| format!("round {} ({fault:?}): {why}", history.round))?;
    }
    let ledger = history.ledger.lock().unwrap();
    Ok(ledger.tally.clone())
}

impl History {
    fn begin(seed: u64, on_small_disk: bool) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let home = tempfile::tempdir().unwrap();
        let data = home.path().join("data");
        std::fs::create_dir(&data).unwrap();
        let disk = on_small_disk.then(|| SmallDisk::mount(&data)).flatten();
        let applied = apply(&data, &tenants());
        assert!(applied.status.success(), "{applied:?}");
        Self {
            rng: SeededRng::from_seed(bytes),
            home,
            disk,
            receivers: Receivers::start(WEBHOOKS.len(), TENANTS),
            ledger: Arc::default(),
            ids: Arc::new(AtomicU64::new(1)),
            round: 0,
            run: 0,
        }
    }

    fn drawn(&mut self, end: u64) -> usize {
        usize::try_from(self.rng.below(end)).unwrap()
    }

    fn chance(&mut self, one_in: u64) -> bool {
        self.rng.below(one_in) == 0
    }

    fn pause(&mut self, ms_max: u64) {
        let ms = self.rng.below(ms_max);
        std::thread::park_timeout(Duration::from_millis(ms));
    }

    fn data(&self) -> PathBuf {
        self.home.path().join("data")
    }

    fn count(&self, what: &'static str) {
        *self
            .ledger
            .lock()
            .unwrap()
            .tally
            .faults
            .entry(what)
            .or_default() += 1;
    }

    /// The latest run ended without being told to.
    fn crashed(&self, what: &'static str) {
        self.count(what);
        self.ledger.lock().unwrap().crashed.insert(self.run);
    }

    /// The settings of the next run.
    fn next(&mut self) -> [String; 2] {
        self.run += 1;
        ["--user-agent".to_owned(), format!("run-{}", self.run)]
    }

    fn round(&mut self, fault: Fault) -> Verdict {
        self.receivers.trouble(&mut self.rng);
        let server = match fault {
            Fault::Kill => self.kill()?,
            Fault::Freeze => self.freeze()?,
            Fault::FullDisk => self.full_disk()?,
            Fault::Damage => self.damage()?,
            Fault::PowerLoss => self.power_loss(false)?,
            Fault::LyingDisk => self.power_loss(true)?,
        };
        let site = Site::at(server.address);
        self.receivers.calm();
        let mut ledger = self.ledger.lock().unwrap();
        ledger
            .is_known(&site)
            .map_err(|why| format!("{why}\n{}", server.log()))?;
        let ended = ledger.ends_well(&site, &self.receivers);
        ended.map_err(|why| format!("{why}\n{}", server.log()))?;
        drop(ledger);
        // The room of a log that was not closed would be too much for a small disk.
        if self.disk.is_none() && self.chance(3) {
            server.kill();
            return Ok(());
        }
        match server.terminate() {
            (Some(0), _) => Ok(()),
            (status, _) => Err(format!("a stop in the calm ended with {status:?}")),
        }
    }

    /// Starts a server, which has to start, and makes the webhooks if there are none yet.
    fn start(&mut self, journaled: Option<&Journaled>) -> Result<Server, String> {
        let started = self.try_start(command(journaled));
        let server = started.map_err(|(status, log)| format!("no start: {status:?} {log}"))?;
        let mut ledger = self.ledger.lock().unwrap();
        if ledger.webhooks.is_empty() {
            ledger.webhooks = self.webhooks(&Site::at(server.address))?;
        }
        drop(ledger);
        Ok(server)
    }

    /// The exit status and the log if it does not start.
    fn try_start(&mut self, command: Command) -> Result<Server, (Option<i32>, String)> {
        let [name, value] = self.next();
        Server::try_start_by(command, &self.data(), &[&name, &value])
    }

    fn webhooks(&self, site: &Site) -> Result<Vec<WebhookEdits>, String> {
        let mut made = Vec::new();
        for (tenant, slug) in TENANTS.iter().enumerate() {
            for (index, action_types) in WEBHOOKS.iter().enumerate() {
                let body = json!({
                    "target_url": self.receivers.url(index, &format!("/{slug}/{index}")),
                    "all_events": true,
                    "limit_events": [],
                    "action_types": action_types,
                    "comment": "0",
                });
                let (_, answer) = site.call(tenant, "POST", "webhooks/", &body.to_string())?;
                made.push(WebhookEdits {
                    tenant,
                    index,
                    id: answer["id"].as_i64().ok_or_else(|| answer.to_string())?,
                    asked: vec![true],
                    saved: 0,
                    disturbed: 0,
                });
            }
        }
        Ok(made)
    }

    /// Load for a while.
    fn load(&mut self, server: &Server) -> Load {
        let rng = self.rng.split(&format!("round {}", self.round));
        let load = Load::begin(&Site::at(server.address), &self.ledger, &self.ids, &rng);
        load.wait_for(1 + self.rng.below(REQUESTS_MAX), TROUBLE_MAX);
        load
    }

    /// Kills a server under load, in one of four while it stops.
    fn kill_under(&mut self, server: Server, load: Load, what: &'static str) {
        if self.chance(4) {
            server.signal(&["TERM"]);
            self.pause(60);
        }
        server.kill();
        self.crashed(what);
        load.end();
    }

    /// Begins a start and kills it somewhere in it.
    fn kill_a_start(&mut self, journaled: Option<&Journaled>) {
        let [name, value] = self.next();
        let mut command = command(journaled);
        let settings = [name.as_str(), &value];
        let mut child = spawn_serve(command.stderr(Stdio::null()), &self.data(), &settings);
        self.pause(200);
        child.kill().unwrap();
        child.wait().unwrap();
        self.crashed("kills of a start");
    }

    fn kill(&mut self) -> Result<Server, String> {
        let server = self.start(None)?;
        let load = self.load(&server);
        self.kill_under(server, load, "kills");
        if self.chance(3) {
            self.kill_a_start(None);
        }
        self.start(None)
    }

    fn freeze(&mut self) -> Result<Server, String> {
        let server = self.start(None)?;
        let load = self.load(&server);
        server.signal(&["STOP"]);
        self.pause(3_000);
        server.signal(&["CONT"]);
        self.count("freezes");
        load.wait_for(self.rng.below(100), TROUBLE_MAX);
        load.end();
        // It goes on, or is stopped in order, with all that waits.
        if self.chance(2) {
            return Ok(server);
        }
        match server.terminate() {
            (Some(0), _) => self.start(None),
            (status, _) => Err(format!("a stop after a freeze ended with {status:?}")),
        }
    }

    fn full_disk(&mut self) -> Result<Server, String> {
        let Some(disk) = self.disk.take() else {
            return self.full_by_limit();
        };
        disk.fill(1 + self.rng.below(4));
        let server = self.start(None)?;
        let load = self.load(&server);
        disk.fill(0);
        self.count("full disks");
        load.wait_for(REQUESTS_MAX, TROUBLE_MAX / 3);
        let server = if self.chance(2) {
            self.kill_under(server, load, "kills on a full disk");
            // It may start, or say why not.
            match self.try_start(command(None)) {
                Ok(server) => {
                    server.kill();
                    self.crashed("kills on a full disk");
                }
                Err((status, log)) => refused_clearly(status, &log, "full")?,
            }
            disk.empty();
            self.start(None)
        } else {
            disk.empty();
            load.wait_for(50, TROUBLE_MAX);
            self.kill_under(server, load, "kills");
            self.start(None)
        };
        self.disk = Some(disk);
        server
    }

    fn full_by_limit(&mut self) -> Result<Server, String> {
        drop(self.start(None)?);
        let started = self.try_start(cramped(4_096));
        let server = started.map_err(|(status, log)| format!("no start: {status:?} {log}"))?;
        let load = self.load(&server);
        load.wait_for(REQUESTS_MAX, TROUBLE_MAX);
        self.count("full disks");
        self.kill_under(server, load, "kills on a full disk");
        self.start(None)
    }

    fn damage(&mut self) -> Result<Server, String> {
        let server = self.start(None)?;
        let load = self.load(&server);
        self.kill_under(server, load, "kills");
        self.receivers.calm();
        let saved = Saved::of(&self.data());
        let told = saved.damage(&mut self.rng);
        self.count("damaged files");
        match self.try_start(command(None)) {
            Ok(server) => {
                self.count("damage that took nothing");
                let site = Site::at(server.address);
                let known = self.ledger.lock().unwrap().is_known(&site);
                known.map_err(|why| format!("{told}, it opens, and {why}\n{}", server.log()))?;
                Ok(server)
            }
            Err((status, log)) => {
                refused_clearly(status, &log, "willcall.db")
                    .map_err(|why| format!("{told}: {why}"))?;
                saved.put_back();
                self.start(None)
            }
        }
    }

    fn power_loss(&mut self, lies: bool) -> Result<Server, String> {
        let journal = self.home.path().join("journal");
        let journaled = Journaled::begin(&self.data(), &journal, lies);
        let mut server = self.start(Some(&journaled))?;
        let mut load = self.load(&server);
        if self.chance(3) {
            // What a killed process wrote need not be durable, and the next one builds on it.
            self.kill_under(server, load, "kills");
            server = self.start(Some(&journaled))?;
            load = self.load(&server);
        }
        self.kill_under(server, load, "power losses");
        if self.chance(4) {
            self.kill_a_start(Some(&journaled));
        }
        // The same moment can leave many different disks.
        for _ in 1..DISKS {
            let told = journaled.power_fails(&mut self.rng);
            let mut ledger = self.ledger.lock().unwrap().clone();
            self.start_after(&told, &mut ledger)?.kill();
            self.count("power losses");
            self.ledger.lock().unwrap().discarded.insert(self.run);
        }
        let told = journaled.power_fails(&mut self.rng);
        self.receivers.calm();
        let ledger = Arc::clone(&self.ledger);
        self.start_after(&told, &mut ledger.lock().unwrap())
    }

    /// Starts a server on what a power failure left, which has to know everything.
    fn start_after(&mut self, told: &str, ledger: &mut Ledger) -> Result<Server, String> {
        let started = self.try_start(command(None));
        let server = started.map_err(|(status, log)| {
            format!("power failed ({told}): no start: {status:?} {log}")
        })?;
        let known = ledger.is_known(&Site::at(server.address));
        known.map_err(|why| format!("power failed ({told}): {why}\n{}", server.log()))?;
        Ok(server)
    }
}

/// The binary, journaled if asked.
fn command(journaled: Option<&Journaled>) -> Command {
    let plain = || Command::new(env!("CARGO_BIN_EXE_willcall"));
    journaled.map_or_else(plain, Journaled::command)
}

/// A start that was refused says why in a sentence for people that has these words.
fn refused_clearly(status: Option<i32>, log: &str, words: &str) -> Verdict {
    let is_clear = status == Some(1) && log.contains(words) && !log.contains("panicked");
    match is_clear {
        true => Ok(()),
        false => Err(format!("it ended with {status:?} and said: {log}")),
    }
}
