//! The server is ended at random moments under load. After kill -9 nothing accepted is lost, and
//! only attempts that were in flight are repeated. After SIGTERM nothing is lost and nothing
//! repeated.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::harness::{API, Call, Client, PATIENCE, Receiver, Server, TENANT, apply, spawn};

const KILLS: u64 = 5;
const CLIENTS: u64 = 4;
const IN_FLIGHT_MAX: usize = 16;

#[test]
fn nothing_accepted_is_lost_by_kills_and_duplicates_were_in_the_air() {
    let seed = u64::from(std::process::id());
    println!("seed {seed}: how many notifications are accepted before each kill");
    let folder = tempfile::tempdir().unwrap();
    assert!(apply(folder.path(), TENANT).status.success());
    let receiver = Receiver::start(|_| 200);
    let url = receiver.url("/");
    let start = || {
        Server::start(
            folder.path(),
            &["--max-in-flight", &IN_FLIGHT_MAX.to_string()],
        )
    };

    let accepted = Arc::new(Mutex::new(BTreeSet::new()));
    let ids = Arc::new(AtomicU64::new(1));
    for round in 0..KILLS {
        let server = start();
        if round == 0 {
            server.client().webhook(&url, &["pretix.event.order.paid"]);
        }
        let tells = load(&server, &ids, &accepted, some(seed, round));
        server.kill();
        // Clients end when the server is gone; each has reported what it got by then.
        while tells.recv_timeout(PATIENCE).is_ok() {}
    }

    let _server = start();
    let accepted = accepted.lock().unwrap().clone();
    let received = received(&receiver, &accepted);
    let duplicates: usize = received.values().map(|count| count - 1).sum();
    let bound = usize::try_from(KILLS).unwrap() * IN_FLIGHT_MAX;
    println!("{} accepted, {duplicates} duplicates", accepted.len());
    assert!(
        duplicates <= bound,
        "{duplicates} duplicates, at most {bound} were in the air"
    );
}

#[test]
fn whoever_is_told_to_stop_loses_nothing_and_sends_nothing_twice() {
    let seed = u64::from(std::process::id());
    println!("seed {seed}: how many notifications are accepted before each stop");
    let folder = tempfile::tempdir().unwrap();
    assert!(apply(folder.path(), TENANT).status.success());
    let receiver = Receiver::start(|_| 200);
    let url = receiver.url("/");
    let accepted = Arc::new(Mutex::new(BTreeSet::new()));
    let ids = Arc::new(AtomicU64::new(1));
    for round in 0..KILLS {
        let server = Server::start(folder.path(), &[]);
        if round == 0 {
            server.client().webhook(&url, &["pretix.event.order.paid"]);
        }
        let tells = load(&server, &ids, &accepted, some(seed, round));
        assert_eq!(server.terminate().0, Some(0));
        while tells.recv_timeout(PATIENCE).is_ok() {}
    }
    // A notification may have been accepted though its client got no response.
    let server = Server::start(folder.path(), &[]);
    let last = ids.fetch_add(1, Ordering::Relaxed);
    assert_eq!(hand_in(&server.client(), last), Some(last));
    accepted.lock().unwrap().insert(last);
    let accepted = accepted.lock().unwrap().clone();
    let mut received = received(&receiver, &accepted);
    assert_eq!(server.terminate().0, Some(0));
    while let Ok(call) = receiver.calls.try_recv() {
        count(&mut received, &call);
    }
    let twice: Vec<_> = received.iter().filter(|(_, count)| **count > 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
}

/// A random number of notifications, different in each round.
fn some(seed: u64, round: u64) -> u64 {
    20 + (seed.wrapping_mul(6_364_136_223_846_793_005) >> (8 * round)) % 200
}

/// Clients send notifications until the server, which is ended after `count`, is gone.
fn load(
    server: &Server,
    ids: &Arc<AtomicU64>,
    accepted: &Arc<Mutex<BTreeSet<u64>>>,
    count: u64,
) -> std::sync::mpsc::Receiver<()> {
    let (told, tells) = channel();
    for _ in 0..CLIENTS {
        let (client, ids, accepted, told) = (
            server.client(),
            Arc::clone(ids),
            Arc::clone(accepted),
            told.clone(),
        );
        spawn(move || {
            while let Some(id) = hand_in(&client, ids.fetch_add(1, Ordering::Relaxed)) {
                accepted.lock().unwrap().insert(id);
                told.send(()).ok();
            }
        });
    }
    drop(told);
    for _ in 0..count {
        tells
            .recv_timeout(PATIENCE)
            .expect("notifications are accepted");
    }
    tells
}

/// Waits for every accepted notification; returns how often each was received.
fn received(receiver: &Receiver, accepted: &BTreeSet<u64>) -> BTreeMap<u64, usize> {
    let mut received: BTreeMap<u64, usize> = BTreeMap::new();
    while !accepted.iter().all(|id| received.contains_key(id)) {
        count(&mut received, &receiver.next());
    }
    received
}

fn count(received: &mut BTreeMap<u64, usize>, call: &Call) {
    let body: Value = serde_json::from_str(&call.body).unwrap();
    let id = body["notification_id"].as_u64().unwrap();
    *received.entry(id).or_default() += 1;
}

/// Sends one notification; returns its id if it was accepted, `None` once the server is gone.
fn hand_in(client: &Client, id: u64) -> Option<u64> {
    let body = format!(
        r#"{{"notification_id":{id},"event":"democon","action":"pretix.event.order.paid","code":"A{id}"}}"#
    );
    match client.call("POST", &format!("{API}/notifications/"), &body) {
        Ok((201, _)) => Some(id),
        Ok((status, answer)) => panic!("{status} {answer}"),
        Err(_) => None,
    }
}
