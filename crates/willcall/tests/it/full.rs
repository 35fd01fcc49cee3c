//! No room left to write: intake says so, nothing accepted is lost, and it goes on when there is
//! room again.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::harness::{API, Receiver, Server, TENANT, apply};

/// Room for the store's files at the start and a few thousand notifications.
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
    // The store takes up by itself; how soon is its business, that it does is ours.
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
