//! Nodes whose wall clocks are off by a day.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use tokio::time::Instant;

use super::house::{House, WEBHOOKS, hand_in, id_of, ready};
use crate::harness::Receiver;

const DAY_S: i64 = 86_400;

/// The binary with a wall clock that is off by so much.
fn with_clock_off(by_s: i64) -> Command {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/faults/wrong_clock.c");
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let own = folder.join(format!("wrong_clock-{}-{by_s}.so", std::process::id()));
    let mut compiler = Command::new("cc");
    compiler.args([
        "-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", "-o",
    ]);
    let done = compiler.arg(&own).arg(source).output();
    let done = done.expect("cc (package gcc) is there");
    assert!(done.status.success(), "{done:?}");
    let library = folder.join("wrong_clock.so");
    std::fs::rename(own, &library).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_willcall"));
    command.env("LD_PRELOAD", library);
    command.env("CLOCK_OFF_S", by_s.to_string());
    command
}

#[test]
fn clocks_that_are_off_by_a_day_neither_hold_up_nor_repeat_what_is_due() {
    let mut house = House::new(&[]);
    let seen = Mutex::new(BTreeSet::new());
    // The first attempt of each delivery fails, so there is another one after 5 s.
    house.receiver = Receiver::start(move |call| {
        let is_first = seen
            .lock()
            .unwrap()
            .insert((call.path.clone(), id_of(call)));
        if is_first { 503 } else { 200 }
    });
    let right = house.node();
    let ahead = house.node_by(with_clock_off(DAY_S), &house.url);
    let behind = house.node_by(with_clock_off(-DAY_S), &house.url);
    ahead.await_log("ahead of the newest time in the store");
    behind.await_log("behind the newest time in the store");
    house.subscribe(&right);
    for node in [&ahead, &behind] {
        node.await_log("this node sends for these slots");
    }
    let attempts = |ids: &[u64]| {
        let began = Instant::now();
        for _ in 0..ids.len() * WEBHOOKS {
            assert!(ids.contains(&id_of(&house.receiver.next())));
        }
        began.elapsed().as_secs()
    };
    for (id, node) in [(1, &right), (2, &ahead), (3, &behind)] {
        hand_in(&node.client(), id);
    }
    assert!(attempts(&[1, 2, 3]) < 5);
    let retried = attempts(&[1, 2, 3]);
    assert!((2..12).contains(&retried), "{retried}");

    // What those with a wrong clock owe is sent by the others when it is due.
    hand_in(&ahead.client(), 4);
    attempts(&[4]);
    assert_eq!(ahead.terminate().0, Some(0));
    assert_eq!(behind.terminate().0, Some(0));
    let retried = attempts(&[4]);
    assert!(retried < 15, "{retried}");
    assert_eq!(ready(&right).0, 200);
    assert!(house.receiver.calls.try_recv().is_err());
}
