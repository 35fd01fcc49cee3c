//! The store's file and its log after a kill and after damage; backup under full load; restore.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::json;

use crate::harness::{API, Client, PATIENCE, Receiver, Server, TENANT, apply, spawn, willcall};

const FRAME: usize = 4_096 + 24;
const CLIENTS: u64 = 4;

fn run(command: &str, more: &[&str], folder: &Path) -> Output {
    let folder = folder.to_str().unwrap();
    willcall(&[&[command], more, &["--data-dir", folder]].concat())
}

fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    text(&output.stdout) + &text(&output.stderr)
}

fn batch(from: u64, count: u64) -> String {
    let one = |id: u64| {
        json!({
            "notification_id": id,
            "event": "democon",
            "action": "pretix.event.order.paid",
            "code": format!("A{id}"),
            "filling": "x".repeat(1_000),
        })
    };
    let all: Vec<_> = (from..from + count).map(one).collect();
    json!(all).to_string()
}

fn hand_in(client: &Client, from: u64, count: u64) {
    let (status, answer) = client.post(&format!("{API}/notifications/"), &batch(from, count));
    assert_eq!(status, 201, "{answer}");
}

/// Asserts that a start is refused; returns what it printed.
fn refused(folder: &Path) -> String {
    let more = ["--listen", "127.0.0.1:0"];
    let output = run("serve", &more, folder);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    said(&output)
}

#[test]
fn a_log_with_a_flipped_bit_after_a_kill_is_refused_and_recovered() {
    let folder = tempfile::tempdir().unwrap();
    assert!(apply(folder.path(), TENANT).status.success());
    let server = Server::start(folder.path(), &[]);
    for n in 0..30 {
        hand_in(&server.client(), n * 10, 10);
    }
    server.kill();
    let log = folder.path().join("willcall.db-wal");
    let mut bytes = fs::read(&log).unwrap();
    let salts = bytes[16..24].to_vec();
    let frames = (0..)
        .take_while(|n| bytes[40 + n * FRAME..48 + n * FRAME] == salts)
        .count();
    let place = 32 + frames / 2 * FRAME + 1_000;
    bytes[place] ^= 1;
    fs::write(&log, &bytes).unwrap();

    let words = refused(folder.path());
    assert!(words.contains("was not closed"), "{words}");
    assert!(words.contains("willcall recover"), "{words}");
    assert_eq!(fs::read(&log).unwrap(), bytes);
    let doctor = run("doctor", &[], folder.path());
    assert!(!doctor.status.success());
    assert!(said(&doctor).contains("WRONG  store"), "{}", said(&doctor));
    let backup = folder.path().join("backup.db");
    let output = run("backup", &[backup.to_str().unwrap()], folder.path());
    assert!(!output.status.success(), "{}", said(&output));

    let recovered = run("recover", &[], folder.path());
    assert!(recovered.status.success(), "{}", said(&recovered));
    let words = said(&recovered);
    for part in ["are lost", "opens again", "newest notification of", "kept"] {
        assert!(words.contains(part), "{part}: {words}");
    }
    let server = Server::start(folder.path(), &[]);
    hand_in(&server.client(), 1_000, 10);
    assert_eq!(server.terminate().0, Some(0));
    let again = run("recover", &[], folder.path());
    assert!(
        said(&again).contains("Nothing is wrong"),
        "{}",
        said(&again)
    );
}

#[test]
fn a_log_that_is_gone_after_a_kill_is_missed() {
    let folder = tempfile::tempdir().unwrap();
    assert!(apply(folder.path(), TENANT).status.success());
    let server = Server::start(folder.path(), &[]);
    hand_in(&server.client(), 0, 10);
    server.kill();
    let log = folder.path().join("willcall.db-wal");
    fs::rename(&log, folder.path().join("elsewhere")).unwrap();
    for _ in 0..2 {
        let words = refused(folder.path());
        assert!(words.contains("(-wal) is missing"), "{words}");
    }
    // With the log put back, everything is there.
    fs::rename(folder.path().join("elsewhere"), &log).unwrap();
    let server = Server::start(folder.path(), &[]);
    let (status, answer) = server
        .client()
        .post(&format!("{API}/notifications/"), &batch(0, 10));
    // The notifications are known.
    assert_eq!(status, 200, "{answer}");
    assert_eq!(server.terminate().0, Some(0));
    assert!(!folder.path().join("willcall.db-mark").exists());
}

/// Clients that send notifications without a pause until told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    accepted: Arc<Mutex<BTreeSet<u64>>>,
    /// A message for each batch; ends with the last client.
    tells: std::sync::mpsc::Receiver<()>,
}

impl Load {
    fn begin(server: &Server) -> Self {
        let (stop, accepted, next) = (Arc::default(), Arc::default(), Arc::new(AtomicU64::new(0)));
        let (told, tells) = std::sync::mpsc::channel();
        for _ in 0..CLIENTS {
            let (client, told) = (server.client(), told.clone());
            let stop: Arc<AtomicBool> = Arc::clone(&stop);
            let accepted: Arc<Mutex<BTreeSet<u64>>> = Arc::clone(&accepted);
            let next = Arc::clone(&next);
            spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let from = next.fetch_add(20, Ordering::Relaxed);
                    hand_in(&client, from, 20);
                    accepted.lock().unwrap().extend(from..from + 20);
                    told.send(()).ok();
                }
            });
        }
        Self {
            stop,
            accepted,
            tells,
        }
    }

    fn accepted(&self) -> BTreeSet<u64> {
        self.accepted.lock().unwrap().clone()
    }

    fn wait_for(&self, count: usize) {
        while self.accepted.lock().unwrap().len() < count {
            self.tells.recv_timeout(PATIENCE).expect("more is accepted");
        }
    }

    fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        while self.tells.recv_timeout(PATIENCE).is_ok() {}
    }
}

#[test]
fn a_backup_beside_full_load_ends_and_is_put_back() {
    let folder = tempfile::tempdir().unwrap();
    assert!(apply(folder.path(), TENANT).status.success());
    let receiver = Receiver::start(|_| 200);
    let server = Server::start(folder.path(), &[]);
    server
        .client()
        .webhook(&receiver.url("/"), &["pretix.event.order.paid"]);
    let load = Load::begin(&server);
    load.wait_for(3_000);
    let before = load.accepted();
    let backup = folder.path().join("backup.db");
    let name = backup.to_str().unwrap();
    let output = run("backup", &[name], folder.path());
    assert!(output.status.success(), "{}", said(&output));
    assert!(
        said(&output).contains("every page of it is whole"),
        "{}",
        said(&output)
    );
    let mode = fs::metadata(&backup).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // Intake went on meanwhile, and a second backup overwrites nothing.
    load.wait_for(load.accepted().len() + 100);
    let output = run("backup", &[name], folder.path());
    assert!(
        said(&output).contains("exists already"),
        "{}",
        said(&output)
    );
    let refused = run("restore", &[name], folder.path());
    assert!(!refused.status.success(), "{}", said(&refused));
    assert!(
        said(&refused).contains("another willcall runs"),
        "{}",
        said(&refused)
    );
    load.end();
    assert_eq!(server.terminate().0, Some(0));

    let restored = run("restore", &[name], folder.path());
    assert!(restored.status.success(), "{}", said(&restored));
    assert!(
        said(&restored).contains("willcall.db.before-"),
        "{}",
        said(&restored)
    );
    // Earlier calls say nothing about what the backup has.
    while receiver.calls.try_recv().is_ok() {}
    let server = Server::start(folder.path(), &[]);
    let last = 10_000_000;
    hand_in(&server.client(), last, 1);
    for id in before.iter().step_by(400) {
        let (status, _) = server
            .client()
            .post(&format!("{API}/notifications/"), &batch(*id, 1));
        assert_eq!(status, 200, "{id} is known");
    }
    assert_eq!(server.terminate().0, Some(0));
    let doctor = run("doctor", &[], folder.path());
    assert!(said(&doctor).contains("good   store"), "{}", said(&doctor));
}

#[test]
fn a_server_whose_file_was_moved_does_not_say_at_its_end_that_all_is_written_down() {
    let folder = tempfile::tempdir().unwrap();
    assert!(apply(folder.path(), TENANT).status.success());
    let server = Server::start(folder.path(), &[]);
    hand_in(&server.client(), 1, 3);
    let (file, other) = ("willcall.db", "elsewhere.db");
    std::fs::rename(folder.path().join(file), folder.path().join(other)).unwrap();
    server.await_log("a file of the store was removed or replaced");
    server.signal(&["TERM"]);
    let (status, log) = server.end();
    assert_eq!(status, Some(1), "{log}");
    assert!(!log.contains("everything is written down"), "{log}");
    assert!(log.contains("put it back before the next start"), "{log}");
    std::fs::rename(folder.path().join(other), folder.path().join(file)).unwrap();
    let again = Server::start(folder.path(), &[]);
    let (_, same) = again
        .client()
        .post(&format!("{API}/notifications/"), &batch(1, 3));
    let known = |one: &serde_json::Value| one["status"] == 200;
    assert!(same.as_array().unwrap().iter().all(known), "{same}");
}

#[test]
fn a_backup_that_finds_no_room_says_so_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    assert!(apply(folder.path(), TENANT).status.success());
    let elsewhere = tempfile::tempdir().unwrap();
    let to = elsewhere.path().join("backup.db");
    let script = "trap '' XFSZ; ulimit -S -f 64; exec \"$0\" \"$@\"";
    let output = std::process::Command::new("bash")
        .args(["-c", script, env!("CARGO_BIN_EXE_willcall"), "backup"])
        .args([
            to.to_str().unwrap(),
            "--data-dir",
            folder.path().to_str().unwrap(),
        ])
        .output()
        .unwrap();
    assert!(!output.status.success());
    assert!(
        said(&output).contains("no room left for the backup"),
        "{}",
        said(&output)
    );
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);
}
