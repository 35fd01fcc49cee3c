//! Files of a store that are removed or replaced while it is open: it takes nothing more, says so,
//! and goes on once they are back.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use model::contract::{DiskFault, StoreError};
use prometheus_client::registry::Registry;
use tokio::time::Instant;

use crate::sqlite::harness::{Given, wait};

/// It looks every second.
const PATIENCE: Duration = Duration::from_secs(60);

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

fn open(path: &Path) -> Given {
    Given::on(store::open(path, &mut Registry::default()).unwrap())
}

/// Sends notifications until the answer is the wanted one.
fn hand_in_until(given: &Given, wanted: impl Fn(&Result<(), StoreError>) -> bool) {
    let begun = Instant::now();
    let mut number = 0;
    loop {
        let new = given.new_notification(&format!("{begun:?} {number}"), 1);
        let answer = wait(given.store.accept(vec![new])).map(drop);
        if wanted(&answer) {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{answer:?}");
        number += 1;
    }
}

fn is_moved<T>(answer: &Result<T, StoreError>) -> bool {
    matches!(answer, Err(StoreError::Disk(DiskFault::Moved)))
}

#[test]
fn nothing_is_taken_for_files_that_nobody_would_find_again() {
    for ending in ["", "-wal", "-shm"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("willcall.db");
        let given = open(&path);
        let webhook = given.paid_webhook();
        let (file, elsewhere) = (beside(&path, ending), folder.path().join("elsewhere"));
        let accepted = given.notified("before", 1);
        fs::rename(&file, &elsewhere).unwrap();
        hand_in_until(&given, is_moved);
        let pulse = wait(given.store.ping());
        assert!(is_moved(&pulse), "{ending}: {pulse:?}");
        // What was accepted can still be read.
        wait(given.store.has_tokens()).unwrap();
        // Another file in its place is not it.
        fs::copy(&elsewhere, &file).unwrap();
        assert!(is_moved(&wait(given.store.ping())), "{ending}");
        fs::rename(&elsewhere, &file).unwrap();
        hand_in_until(&given, Result::is_ok);
        wait(given.store.ping()).unwrap();
        wait(given.store.close()).unwrap();
        assert!(store::inspect(&path).is_ok(), "{ending}");
        let again = open(&path);
        assert!(
            again.due(webhook, 10_000, 10).0.len() > 1,
            "{ending} {accepted:?}"
        );
    }
}

#[test]
fn what_took_the_place_of_a_store_is_not_touched_when_it_closes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("willcall.db");
    let given = open(&path);
    given.notified("before", 1);
    for ending in ["", "-wal", "-shm", "-mark"] {
        let file = beside(&path, ending);
        let bytes = fs::read(&file).unwrap();
        fs::rename(&file, beside(&path, &format!("{ending}.old"))).unwrap();
        fs::write(&file, bytes).unwrap();
    }
    let all =
        |path: &Path| ["", "-wal", "-mark"].map(|ending| fs::read(beside(path, ending)).unwrap());
    let before = all(&path);
    wait(given.store.close()).unwrap();
    assert!(before == all(&path));
}
