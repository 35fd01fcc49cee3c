//! A database server, nodes, a receiver, and applications that hand in to them meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver as Inbox, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::database::apply;
use crate::harness::{API, Call, Client, PATIENCE, Receiver, Server, spawn};
use crate::postgres_server::PostgresServer;

pub(super) const PAID: &str = "pretix.event.order.paid";

pub(super) const WEBHOOKS: usize = 6;

/// Attempts that a node may have begun and not written down: so many may be made again after it.
pub(super) const IN_FLIGHT_MAX: usize = 64;

/// Applications that hand in at once.
const APPLICATIONS: usize = 3;

/// How long one waits before it hands in again.
const PACE: Duration = Duration::from_millis(20);

pub(super) struct House {
    pub(super) postgres: PostgresServer,
    pub(super) url: String,
    pub(super) folder: tempfile::TempDir,
    pub(super) receiver: Receiver,
}

impl House {
    /// With a tenant, in a server with these settings beside.
    pub(super) fn new(settings: &[(&str, &str)]) -> Self {
        let settings = [&[("fsync", "off"), ("full_page_writes", "off")], settings].concat();
        Self::on(PostgresServer::start(&settings))
    }

    pub(super) fn on(postgres: PostgresServer) -> Self {
        let url = postgres.create_database();
        apply(&url);
        Self {
            postgres,
            url,
            folder: tempfile::tempdir().unwrap(),
            receiver: Receiver::start(|_| 200),
        }
    }

    pub(super) fn node(&self) -> Server {
        self.node_on(&self.url)
    }

    /// One that reaches the database by another URL.
    pub(super) fn node_on(&self, url: &str) -> Server {
        self.node_by(Command::new(env!("CARGO_BIN_EXE_willcall")), url)
    }

    /// One that is started in some other way.
    pub(super) fn node_by(&self, command: Command, url: &str) -> Server {
        let unused = self.folder.path().join("unused");
        let in_flight = IN_FLIGHT_MAX.to_string();
        let more = ["--database-url", url, "--max-in-flight", &in_flight];
        Server::start_by(command, &unused, &more)
    }

    pub(super) fn nodes<const N: usize>(&self) -> [Server; N] {
        std::array::from_fn(|_| self.node())
    }

    /// Makes all webhooks, at the receiver.
    pub(super) fn subscribe(&self, node: &Server) {
        self.subscribe_at(node, &self.receiver);
    }

    /// Each of two or three nodes has some of them.
    pub(super) fn subscribe_at(&self, node: &Server, receiver: &Receiver) {
        for n in 0..WEBHOOKS {
            let url = receiver.url(&format!("/{n}"));
            node.client().webhook(&url, &[PAID]);
        }
    }

    /// Waits for every delivery of what was accepted. Answers how many calls came more than once.
    pub(super) fn duplicates(&self, accepted: &BTreeSet<u64>) -> usize {
        let mut calls: BTreeMap<(String, u64), usize> = BTreeMap::new();
        let mut owed = accepted.len() * WEBHOOKS;
        while owed > 0 {
            let call = self.receiver.next();
            let id = id_of(&call);
            let count = calls.entry((call.path, id)).or_default();
            *count += 1;
            owed -= usize::from(*count == 1 && accepted.contains(&id));
        }
        while let Ok(call) = self.receiver.calls.try_recv() {
            let id = id_of(&call);
            *calls.entry((call.path, id)).or_default() += 1;
        }
        calls.values().map(|count| count - 1).sum()
    }
}

/// Waits until each of two nodes sends for its half: the first one had all.
pub(super) fn share(first: &Server, second: &Server) {
    first.await_log("other nodes send for these slots from now on");
    second.await_log("this node sends for these slots from now on");
}

pub(super) fn id_of(call: &Call) -> u64 {
    let body: Value = serde_json::from_str(&call.body).unwrap();
    body["notification_id"].as_u64().unwrap()
}

/// Hands in one notification; returns the status and the whole response, with lower case letters.
pub(super) fn send(client: &Client, id: u64) -> std::io::Result<(u16, String)> {
    let body =
        format!(r#"{{"event":"democon","action":"{PAID}","code":"A{id}","notification_id":{id}}}"#);
    let answer = client.exchange("POST", &format!("{API}/notifications/"), &body)?;
    let answer = answer.to_ascii_lowercase();
    let status = answer.split(' ').nth(1).and_then(|word| word.parse().ok());
    let status = status.ok_or_else(|| std::io::Error::other("no status line came"))?;
    Ok((status, answer))
}

pub(super) fn hand_in(client: &Client, id: u64) {
    let (status, answer) = send(client, id).unwrap();
    assert!(status == 201 || status == 200, "{answer}");
}

/// What `/readyz` says.
pub(super) fn ready(node: &Server) -> (u16, String) {
    let (status, words) = node.client().get("/readyz");
    let words = words.as_str().map(str::to_owned);
    (status, words.unwrap_or_default())
}

/// Asks again until the answer is as expected; returns it, and how long that took.
pub(super) fn wait_for<T: std::fmt::Debug>(
    what: &str,
    ask: impl Fn() -> T,
    mut is: impl FnMut(&T) -> bool,
) -> (T, Duration) {
    let begun = Instant::now();
    let (_never, between) = channel::<()>();
    loop {
        let found = ask();
        if is(&found) {
            return (found, begun.elapsed());
        }
        assert!(begun.elapsed() < PATIENCE, "{what}: {found:?}");
        // What is asked has to do its work meanwhile.
        assert!(between.recv_timeout(PACE).is_err());
    }
}

/// How many lines of a level a node has logged.
pub(super) fn lines_of(node: &Server, level: &str) -> Vec<String> {
    let level = format!("\"{level}\"");
    let log = node.log();
    let lines = log.lines().filter(|line| line.contains(&level));
    lines.map(str::to_owned).collect()
}

/// Applications that hand in to nodes in turn, each notification again until it is accepted. A
/// refusal has to say when to come again.
pub(super) struct Load {
    clients: Arc<Mutex<Vec<Client>>>,
    accepted: Arc<Mutex<BTreeSet<u64>>>,
    tells: Inbox<()>,
    /// Ends them when it is dropped.
    running: Vec<Sender<()>>,
}

impl Load {
    pub(super) fn on(nodes: &[&Server]) -> Self {
        let clients = nodes.iter().map(|node| node.client()).collect();
        let clients = Arc::new(Mutex::new(clients));
        let accepted = Arc::<Mutex<BTreeSet<u64>>>::default();
        let ids = Arc::new(AtomicU64::new(1));
        let (told, tells) = channel();
        let mut running = Vec::new();
        for _ in 0..APPLICATIONS {
            let (run, runs) = channel();
            running.push(run);
            let (clients, accepted) = (Arc::clone(&clients), Arc::clone(&accepted));
            let (ids, told) = (Arc::clone(&ids), told.clone());
            spawn(move || {
                let mut tries = 0;
                loop {
                    let id = ids.fetch_add(1, Ordering::Relaxed);
                    while !try_one(&clients, &mut tries, id) {
                        if is_over(&runs) {
                            return;
                        }
                    }
                    accepted.lock().unwrap().insert(id);
                    if told.send(()).is_err() || is_over(&runs) {
                        return;
                    }
                }
            });
        }
        Self {
            clients,
            accepted,
            tells,
            running,
        }
    }

    /// From now on they hand in to these.
    pub(super) fn turn_to(&self, nodes: &[&Server]) {
        *self.clients.lock().unwrap() = nodes.iter().map(|node| node.client()).collect();
    }

    /// Waits until so many more were accepted.
    pub(super) fn wait_for(&self, count: usize) {
        while self.tells.try_recv().is_ok() {}
        for _ in 0..count {
            self.tells.recv_timeout(PATIENCE).expect("one is accepted");
        }
    }

    /// Ends it; returns what was accepted.
    pub(super) fn end(self) -> BTreeSet<u64> {
        drop(self.running);
        // Each ends within what it is about to say.
        while self.tells.recv_timeout(PATIENCE).is_ok() {}
        let accepted = self.accepted.lock().unwrap();
        accepted.clone()
    }
}

/// Waits for a moment. Answers whether this is the end.
fn is_over(runs: &Inbox<()>) -> bool {
    runs.recv_timeout(PACE) == Err(RecvTimeoutError::Disconnected)
}

/// Whether it was accepted.
fn try_one(clients: &Mutex<Vec<Client>>, tries: &mut usize, id: u64) -> bool {
    let client = {
        let clients = clients.lock().unwrap();
        clients[*tries % clients.len()].clone()
    };
    *tries += 1;
    match send(&client, id) {
        Ok((200 | 201, _)) => true,
        Ok((503, answer)) => {
            assert!(answer.contains("\r\nretry-after: "), "{answer}");
            false
        }
        Ok((status, answer)) => panic!("{status} {answer}"),
        // The node is gone.
        Err(_) => false,
    }
}

/// A database server of which no process does anything, until this is dropped.
pub(super) struct Frozen<'p>(&'p PostgresServer);

impl<'p> Frozen<'p> {
    pub(super) fn new(postgres: &'p PostgresServer) -> Self {
        signal_all(postgres, "STOP");
        Self(postgres)
    }
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        signal_all(self.0, "CONT");
    }
}

/// Kills all processes of a database server, and waits until they are gone.
pub(super) fn kill_all(postgres: &PostgresServer) {
    let pids = signal_all(postgres, "KILL");
    for pid in pids {
        let status = PathBuf::from(format!("/proc/{pid}/stat"));
        let is_gone = |stat: &String| stat.is_empty() || stat.contains(") Z ");
        let stat = || std::fs::read_to_string(&status).unwrap_or_default();
        wait_for("its end", stat, is_gone);
    }
    // In a container nobody may take note of its end, and it would seem to run.
    let socket = format!(".s.PGSQL.{}.lock", postgres.port);
    for lock in [
        postgres.data().join("postmaster.pid"),
        postgres.folder.join(socket),
    ] {
        std::fs::remove_file(lock).unwrap();
    }
}

/// Sends a signal to all processes of a database server: first to the one that makes the others.
fn signal_all(postgres: &PostgresServer, signal: &str) -> Vec<String> {
    let file = std::fs::read_to_string(postgres.data().join("postmaster.pid")).unwrap();
    let main = file.lines().next().unwrap();
    let children = format!("/proc/{main}/task/{main}/children");
    let children = std::fs::read_to_string(children).unwrap_or_default();
    let children = children.split_whitespace();
    let pids: Vec<String> = [main]
        .into_iter()
        .chain(children)
        .map(str::to_owned)
        .collect();
    // A child may have ended meanwhile.
    let mut kill = Command::new("kill");
    kill.args(["-s", signal]).args(&pids).stderr(Stdio::null());
    kill.status().unwrap();
    pids
}
