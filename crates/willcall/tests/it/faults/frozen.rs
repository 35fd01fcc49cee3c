//! A node that is frozen until another one has its slots, and goes on then.

use std::collections::BTreeSet;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use tokio::time::Instant;

use super::gate::Gate;
use super::house::{House, PAID, WEBHOOKS, hand_in, id_of, ready, share, wait_for};
use crate::harness::{API, PATIENCE, Receiver, Server};

/// The notification whose first calls are not answered before the end.
const HELD: u64 = 7;

/// Each delivery was delivered by the only attempt that the log has: of a call of the frozen node
/// nobody knows what became.
fn assert_log(node: &Server) {
    let (_, webhooks) = node.client().get(&format!("{API}/webhooks/"));
    for webhook in webhooks["results"].as_array().unwrap() {
        assert_eq!(webhook["action_types"][0], PAID);
        let path = format!("{API}/webhooks/{}/deliveries/", webhook["id"]);
        let (log, _) = wait_for(
            "delivered",
            || node.client().get(&path).1["results"].clone(),
            |rows| {
                let rows = rows.as_array().unwrap();
                rows.len() == 3 && rows.iter().all(|row| row["status"] == "delivered")
            },
        );
        let attempts = log
            .as_array()
            .unwrap()
            .iter()
            .map(|row| &row["attempt_count"]);
        assert!(attempts.clone().all(|count| *count == 1), "{log}");
    }
}

#[test]
fn what_a_frozen_node_had_in_flight_is_sent_by_others_and_its_late_word_counts_for_nothing() {
    let mut house = House::new(&[]);
    let (gate, (begins, begun)) = (Arc::<Gate>::default(), channel());
    let seen = Mutex::new(BTreeSet::new());
    let (held_at, begins) = (Arc::clone(&gate), Mutex::new(begins));
    house.receiver = Receiver::start(move |call| {
        let is_held = id_of(call) == HELD && seen.lock().unwrap().insert(call.path.clone());
        begins
            .lock()
            .unwrap()
            .send((id_of(call), call.path.clone()))
            .unwrap();
        if is_held {
            held_at.pass();
        }
        200
    });
    let next = || begun.recv_timeout(PATIENCE).unwrap();
    let [first, second] = house.nodes();
    house.subscribe(&first);
    share(&first, &second);
    hand_in(&second.client(), HELD);
    let held: BTreeSet<_> = (0..WEBHOOKS).map(|_| next().1).collect();
    assert_eq!(held.len(), WEBHOOKS);

    first.signal(&["STOP"]);
    let frozen_at = Instant::now();
    // What comes meanwhile is sent by the other one, as soon as it may, and so is what was begun:
    // the older node has the slots of every second one.
    hand_in(&second.client(), 8);
    let path = |n: usize| format!("/{n}");
    let all = (0..WEBHOOKS).map(|n| (8, path(n)));
    let again = (1..WEBHOOKS).step_by(2).map(|n| (HELD, path(n)));
    let mut owed: BTreeSet<_> = all.chain(again).collect();
    while !owed.is_empty() {
        let call = next();
        assert!(owed.remove(&call), "{call:?}");
    }
    let taken = frozen_at.elapsed().as_secs();
    assert!(taken < 20, "its slots had an owner after {taken} s");

    first.signal(&["CONT"]);
    gate.open();
    first.await_log("this node lost its slots");
    // Both send again, and what the frozen one knew is forgotten.
    first.await_log("this node has slots again");
    wait_for("ready", || ready(&first), |(status, _)| *status == 200);
    hand_in(&first.client(), 9);
    let mut paths = BTreeSet::new();
    while paths.len() < WEBHOOKS {
        let (id, path) = next();
        assert_eq!(id, 9, "nothing else is sent again");
        assert!(paths.insert(path));
    }
    assert_log(&second);
}
