//! A node that is told to stop while it waits for an answer.

use std::collections::BTreeSet;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use super::gate::Gate;
use super::house::{House, WEBHOOKS, hand_in, id_of, share};
use crate::harness::{PATIENCE, Receiver};

/// The notification whose call of this path is not answered before the end.
const HELD: u64 = 7;
const HELD_PATH: &str = "/1";

#[test]
fn a_stopping_node_keeps_the_webhook_it_calls_and_another_goes_on_with_the_rest_meanwhile() {
    let mut house = House::new(&[]);
    let (gate, (begins, begun)) = (Arc::<Gate>::default(), channel());
    let (held_at, begins) = (Arc::clone(&gate), Mutex::new(begins));
    house.receiver = Receiver::start(move |call| {
        let begins = begins.lock().unwrap();
        begins.send((id_of(call), call.path.clone())).unwrap();
        drop(begins);
        if id_of(call) == HELD && call.path == HELD_PATH {
            held_at.pass();
        }
        200
    });
    let [first, second] = house.nodes();
    house.subscribe(&first);
    share(&first, &second);
    let next = || begun.recv_timeout(PATIENCE).unwrap();
    let all = |id| (0..WEBHOOKS).map(move |n| (id, format!("/{n}")));
    let mut owed: BTreeSet<_> = all(HELD).collect();
    hand_in(&first.client(), HELD);
    while !owed.is_empty() {
        assert!(owed.remove(&next()));
    }

    first.signal(&["TERM"]);
    first.await_log("stopping");
    hand_in(&second.client(), 8);
    let mut owed: BTreeSet<_> = all(8).filter(|(_, path)| path != HELD_PATH).collect();
    while !owed.is_empty() {
        assert!(owed.remove(&next()), "{owed:?}");
    }
    gate.open();
    // Nothing is repeated.
    assert_eq!(next(), (8, HELD_PATH.to_owned()));
    assert_eq!(first.wait("stopped"), Some(0));
    assert_eq!(second.terminate().0, Some(0));
}
