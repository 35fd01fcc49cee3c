//! What one node accepts or changes and others send for, when nobody tells them.

use std::time::Duration;

use tokio::time::Instant;

use super::house::{House, WEBHOOKS, hand_in, id_of, share, wait_for};
use super::proxy::Proxy;
use crate::harness::{API, PATIENCE, Receiver, Server};

/// How long it takes until all webhooks have got this notification.
fn delivered_after(house: &House, node: &Server, id: u64) -> Duration {
    let began = Instant::now();
    hand_in(&node.client(), id);
    let mut left = WEBHOOKS;
    while left > 0 {
        let call = house.receiver.calls.recv_timeout(PATIENCE);
        let call = call.unwrap_or_else(|_| panic!("{id}: {left} left: {}", node.log()));
        left -= usize::from(id_of(&call) == id);
    }
    began.elapsed()
}

fn missed(node: &Server) -> u64 {
    let metrics = node.client().get("/metrics").1;
    let mut metrics = metrics.as_str().unwrap().lines();
    let found = metrics.find_map(|line| line.strip_prefix("willcall_store_hints_missed_total "));
    found.unwrap().parse().unwrap()
}

#[test]
fn what_others_accept_is_delivered_within_a_second_though_nothing_of_it_is_heard() {
    let house = House::new(&[]);
    let proxy = Proxy::new(&house.url);
    let first = house.node();
    house.subscribe(&first);
    let second = house.node_on(&proxy.url);
    share(&first, &second);
    // All is heard, so nothing has to be looked for.
    for id in 1..=5 {
        delivered_after(&house, &first, id);
    }
    let before = missed(&second);

    proxy.leave_out_notifications();
    let mut took = Vec::new();
    for id in 10..=14 {
        took.push(delivered_after(&house, &first, id).as_millis());
    }
    // Two looks, and the delivery itself.
    assert!(took.iter().all(|ms| *ms < 1_500), "{took:?}");
    took.sort_unstable();
    assert!(took[2] < 1_200, "{took:?}");
    assert!(missed(&second) > before, "{}", missed(&second));

    // The connection that listens is dead, and does not say so.
    proxy.swallow_listeners();
    let took = delivered_after(&house, &first, 20).as_secs();
    assert!(took < 8, "{took}");
}

#[test]
fn what_is_changed_on_one_node_is_obeyed_by_all_within_a_second_though_nothing_is_heard() {
    let house = House::new(&[]);
    let proxy = Proxy::new(&house.url);
    let first = house.node();
    let failing = Receiver::start(|_| 503);
    house.subscribe_at(&first, &failing);
    let second = house.node_on(&proxy.url);
    share(&first, &second);
    proxy.leave_out_notifications();
    hand_in(&first.client(), 1);
    let calls: Vec<_> = (0..WEBHOOKS).map(|_| failing.next()).collect();
    assert_eq!(calls.len(), WEBHOOKS);
    // The second attempt is due 5 s after the first.
    let (_, webhooks) = first.client().get(&format!("{API}/webhooks/"));
    for webhook in webhooks["results"].as_array().unwrap() {
        let path = format!("{API}/webhooks/{}/", webhook["id"]);
        let client = first.client();
        let changed = client
            .call("PATCH", &path, r#"{"enabled": false}"#)
            .unwrap();
        assert_eq!(changed.0, 200, "{}", changed.1);
    }
    for webhook in webhooks["results"].as_array().unwrap() {
        let path = format!("{API}/webhooks/{}/deliveries/", webhook["id"]);
        let (_, took) = wait_for(
            "cancelled",
            || second.client().get(&path).1["results"][0]["status"].clone(),
            |status| status == "cancelled",
        );
        assert!(took.as_millis() < 1_500, "{took:?}");
    }
    assert!(failing.calls.try_recv().is_err());

    let token = r#"[[organizer]]
slug = "bigevents"
name = "Big Events"
[[organizer.token]]
name = "tests"
token = "a-token-of-some-length-for-the-tests"
active = false
permissions = []
"#;
    let file = house.folder.path().join("revoked.toml");
    std::fs::write(&file, token).unwrap();
    crate::database::done(&["apply", file.to_str().unwrap()], &house.url);
    for node in [&first, &second] {
        let asked = || node.client().get(&format!("{API}/webhooks/")).0;
        let (_, took) = wait_for("revoked", asked, |status| *status == 401 || *status == 403);
        assert!(took.as_millis() < 1_500, "{took:?}");
    }
}
