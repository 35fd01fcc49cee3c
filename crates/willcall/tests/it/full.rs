//! A full disk: intake says so, nothing accepted is lost, and intake goes on when there is space
//! again.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::{API, Receiver, Server, TENANT, apply};

/// Space for the store's files at the start and a few thousand notifications.
const FILE_KIB_MAX: u32 = 4_096;

#[test]
fn a_full_disk_refuses_loses_nothing_and_goes_on_when_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    assert!(apply(folder.path(), TENANT).status.success());
    let receiver = Receiver::start(|_| 200);
    let server = Server::start_cramped(folder.path(), FILE_KIB_MAX);
    let client = server.client();
    client.webhook(&receiver.url("/"), &["pretix.event.order.paid"]);

    let mut accepted = BTreeSet::new();
    let mut next_id = 1_u64;
    let refused = loop {
        let ids: Vec<u64> = (next_id..next_id + 100).collect();
        next_id += 100;
        let batch: Vec<Value> = ids.iter().map(|id| notification(*id)).collect();
        let (status, answer) =
            client.post(&format!("{API}/notifications/"), &json!(batch).to_string());
        match status {
            201 => accepted.extend(ids),
            _ => break (status, answer),
        }
        assert!(next_id < 1_000_000, "the limit is never reached");
    };
    assert_eq!(refused.0, 503, "{}", refused.1);
    assert!(
        !accepted.is_empty(),
        "nothing was accepted before the limit"
    );
    assert!(
        refused.1["detail"]
            .as_str()
            .is_some_and(|words| !words.is_empty()),
        "{}",
        refused.1
    );

    server.give_room();
    // The store goes on by itself; when is not tested here, only that it does.
    let last = notification(0).to_string();
    let taken = (0..100_000).any(|_| client.post(&format!("{API}/notifications/"), &last).0 == 201);
    assert!(taken, "it does not go on when there is room");
    accepted.insert(0);
    while !accepted.is_empty() {
        let body: Value = serde_json::from_str(&receiver.next().body).unwrap();
        accepted.remove(&body["notification_id"].as_u64().unwrap());
    }
}

fn notification(id: u64) -> Value {
    json!({
        "notification_id": id,
        "event": "democon",
        "action": "pretix.event.order.paid",
        "code": format!("A{id}"),
        "filling": "x".repeat(1_000),
    })
}

/// A command in namespaces of its own, where the folder `data` is a disk of so many MiB with the
/// content of `seed`; nothing if this machine allows no namespaces.
fn on_small_disk(folder: &Path, mib: u32) -> Option<Command> {
    let script = "mount -t tmpfs -o size=$1m none \"$2/data\" && cp \"$2\"/seed/* \"$2/data\" && \
                  shift 2 && exec \"$@\"";
    let begin = || {
        let mut command = Command::new("unshare");
        command.args(["-rm", "sh", "-c", script, "sh", &mib.to_string()]);
        command.arg(folder);
        command
    };
    let tried = begin().arg("true").output();
    if !tried.as_ref().is_ok_and(|tried| tried.status.success()) {
        println!("this machine allows no namespaces, so nothing is shown: {tried:?}");
        return None;
    }
    let mut command = begin();
    command.arg(env!("CARGO_BIN_EXE_willcall"));
    Some(command)
}

/// A folder for `on_small_disk`, with a tenant.
fn from_seed() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for part in ["seed", "data"] {
        std::fs::create_dir(folder.path().join(part)).unwrap();
    }
    let applied = apply(&folder.path().join("seed"), TENANT);
    assert!(applied.status.success());
    folder
}

#[test]
fn a_disk_says_that_it_is_nearly_full_then_full_and_all_goes_on_when_there_is_room() {
    let folder = from_seed();
    let Some(command) = on_small_disk(folder.path(), 16) else {
        return;
    };
    let server = Server::start_by(command, &folder.path().join("data"), &[]);
    let client = server.client();
    let ready = || {
        let (status, words) = client.get("/readyz");
        (status, words.as_str().unwrap().to_owned())
    };
    let (status, words) = ready();
    assert_eq!(status, 200, "{words}");
    assert!(
        words.contains("The disk of the store is nearly full: "),
        "{words}"
    );
    server.await_log("the disk of the store is nearly full");
    let metrics = client.get("/metrics").1;
    let free = metrics.as_str().unwrap().lines().find_map(|line| {
        let number = line.strip_prefix("willcall_store_disk_free_bytes ")?;
        number.parse::<u64>().ok()
    });
    assert!(matches!(free, Some(1..16_777_216)), "{free:?}");

    // All the free space, but for what the log already has.
    let data = server.inside(&folder.path().join("data"));
    let filling = data.join("filling");
    let mut file = std::fs::File::create(&filling).unwrap();
    while file.write_all(&[0; 4_096]).is_ok() {}
    let batch: Vec<Value> = (1..=100).map(notification).collect();
    let path = format!("{API}/notifications/");
    let refused = (1..10_000).find_map(|number| {
        let batch: Vec<Value> = batch
            .iter()
            .map(|one| {
                let mut one = one.clone();
                let id = one["notification_id"].as_u64().unwrap();
                one["notification_id"] = json!(id + number * 100);
                one
            })
            .collect();
        let (status, answer) = client.post(&path, &json!(batch).to_string());
        (status != 201).then_some((status, answer.to_string()))
    });
    let (status, words) = refused.expect("it is refused");
    assert_eq!(status, 503, "{words}");
    assert!(words.contains("The disk of the server is full"), "{words}");
    let (status, words) = ready();
    assert_eq!(status, 503, "{words}");
    assert!(
        words.contains("the disk is full, or its quota. Make room"),
        "{words}"
    );
    let large = json!(batch).to_string();
    for _ in 0..50 {
        assert_eq!(client.post(&path, &large).0, 503);
    }
    let log = server.log();
    assert_eq!(log.matches("no room left to write").count(), 1, "{log}");

    std::fs::remove_file(filling).unwrap();
    drop(file);
    let mut answers = (0..1_000).map(|_| client.post(&path, &large).0);
    assert!(answers.any(|status| status == 201));
    let (status, words) = ready();
    assert_eq!(status, 200, "{words}");
}

#[test]
fn the_doctor_says_how_much_room_the_disk_has() {
    let folder = from_seed();
    for (mib, word) in [
        (40, "WRONG  disk"),
        (120, "odd    disk"),
        (400, "good   disk"),
    ] {
        let Some(mut command) = on_small_disk(folder.path(), mib) else {
            return;
        };
        let data = folder.path().join("data");
        let data = data.to_str().unwrap();
        command.args(["doctor", "--listen", "127.0.0.1:0", "--data-dir", data]);
        let said = String::from_utf8(command.output().unwrap().stdout).unwrap();
        assert!(said.contains(word), "{mib}: {said}");
        assert!(said.contains(" MiB free for "), "{said}");
        assert_eq!(said.matches("free for").count(), 1, "{said}");
    }
}
