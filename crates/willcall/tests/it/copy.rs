//! A house that moves from a file into a database, with what it still owes.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::database::{
    PAID, database_of, done, hand_in, id_of, run, said, send, start, states, wait_for,
};
use crate::harness::{Receiver, Server, TENANT, apply, willcall};
use crate::postgres_server::PostgresServer;

const COPY: [&str; 5] = ["copy", "--from", "sqlite", "--to", "postgres"];

/// Copies the store in a folder into a database.
fn copy(folder: &Path, url: &str) -> (Option<i32>, String, String) {
    let folder = folder.to_str().unwrap();
    said(&run(
        &[COPY.as_slice(), &["--data-dir", folder]].concat(),
        url,
    ))
}

/// A store in the folder `data`, with a tenant.
fn store_in(folder: &Path) {
    let data = folder.join("data");
    std::fs::create_dir(&data).unwrap();
    let applied = apply(&data, TENANT);
    assert!(applied.status.success(), "{applied:?}");
}

#[test]
fn what_a_file_owes_is_delivered_once_from_the_database() {
    const NOTIFICATIONS: u64 = 5;
    let url = PostgresServer::shared().create_database();
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    store_in(folder.path());
    let works = Arc::new(AtomicBool::new(false));
    let taken: Arc<Mutex<Vec<u64>>> = Arc::default();
    let (heals, takes) = (Arc::clone(&works), Arc::clone(&taken));
    let receiver = Receiver::start(move |call| {
        let id = id_of(&call.body);
        match works.load(Ordering::Relaxed) || id == 1 {
            true => {
                takes.lock().unwrap().push(id);
                200
            }
            false => 503,
        }
    });
    let server = Server::start(&data, &[]);
    let client = server.client();
    let webhook = client.webhook(&receiver.url("/"), &[PAID]);
    for id in 1..=NOTIFICATIONS {
        hand_in(&client, id);
    }
    let is_tried = |states: &BTreeMap<u64, String>| {
        let delivered = states.values().filter(|state| *state == "delivered");
        let retrying = states.values().filter(|state| *state == "retrying");
        delivered.count() == 1 && retrying.count() == 4
    };
    let before = wait_for("first attempts", || states(&client, webhook), is_tried);

    // While the server runs nothing is done.
    let (status, _, words) = copy(&data, &url);
    assert_eq!(status, Some(1));
    assert!(
        words.contains("another willcall runs on the data folder"),
        "{words}"
    );
    assert_eq!(server.terminate().0, Some(0));
    let (status, printed, words) = copy(&data, &url);
    assert_eq!(status, Some(0), "{printed}{words}");
    assert!(
        printed.contains("rows of notification copied: 5 (table "),
        "{printed}"
    );
    assert!(
        printed.contains("rows of notification checked: 5 (table "),
        "{printed}"
    );
    assert!(
        printed.contains("was moved to the database 127.0.0.1:"),
        "{printed}"
    );

    let server = start(&url, folder.path());
    let client = server.client();
    assert_eq!(states(&client, webhook), before);
    heals.store(true, Ordering::Relaxed);
    let is_done =
        |states: &BTreeMap<u64, String>| states.values().all(|state| state == "delivered");
    wait_for("the others", || states(&client, webhook), is_done);
    // New ids follow, and known notifications are known.
    hand_in(&client, 6);
    assert_eq!(send(&client, 3).0, 200, "it is known");
    wait_for("the next", || states(&client, webhook), is_done);
    assert_eq!(server.terminate().0, Some(0));
    let mut taken = taken.lock().unwrap().clone();
    taken.sort_unstable();
    assert_eq!(taken, [1, 2, 3, 4, 5, 6]);
}

#[test]
fn a_file_that_was_moved_is_opened_by_nobody_until_that_is_undone() {
    let url = PostgresServer::shared().create_database();
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    store_in(folder.path());
    assert_eq!(copy(&data, &url).0, Some(0));
    let data = data.to_str().unwrap();
    for command in [
        ["serve"].as_slice(),
        &["doctor"],
        &["token", "list", "--tenant", "bigevents"],
    ] {
        let options = ["--data-dir", data];
        let output = willcall(&[command, &options].concat());
        let (status, printed, complaint) = said(&output);
        assert_eq!(status, Some(1), "{command:?}");
        let words = printed + &complaint;
        assert!(words.contains("was moved to the database"), "{words}");
        assert!(words.contains("willcall copy --undo"), "{words}");
    }
    let undone = willcall(&["copy", "--undo", "--data-dir", data]);
    let (status, printed, _) = said(&undone);
    assert_eq!(status, Some(0));
    assert!(
        printed.contains("can be used again, as it was at"),
        "{printed}"
    );
    let listed = willcall(&["token", "list", "--tenant", "bigevents", "--data-dir", data]);
    assert!(listed.status.success());
}

#[test]
fn an_unfinished_copy_is_used_by_nobody_and_finished_by_another_run() {
    let postgres = PostgresServer::shared();
    let url = postgres.create_database();
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    store_in(folder.path());
    done(&["migrate"], &url);
    // The first table that this one is refused at.
    let database = database_of(&url);
    postgres.run_sql(database, "alter table wish add constraint no check (false)");
    let receiver = Receiver::start(|_| 200);
    let server = Server::start(&data, &[]);
    server.client().webhook(&receiver.url("/"), &[PAID]);
    assert_eq!(server.terminate().0, Some(0));
    let (status, printed, words) = copy(&data, &url);
    assert_eq!(status, Some(1), "{printed}");
    assert!(words.contains("the copy stopped at wish ("), "{words}");
    assert!(words.contains("it goes on where it stopped"), "{words}");
    for command in [
        ["serve"].as_slice(),
        &["doctor"],
        &["migrate"],
        &["token", "list", "--tenant", "bigevents"],
    ] {
        let (status, printed, complaint) = said(&run(command, &url));
        assert_eq!(status, Some(1), "{command:?}");
        let words = printed + &complaint;
        assert!(words.contains("has an unfinished copy of /"), "{words}");
    }
    // The file is used as before.
    assert_eq!(Server::start(&data, &[]).terminate().0, Some(0));
    postgres.run_sql(database, "alter table wish drop constraint no");
    let (status, printed, words) = copy(&data, &url);
    assert_eq!(status, Some(0), "{words}");
    assert!(printed.contains("it starts over"), "{printed}");
    let server = start(&url, folder.path());
    hand_in(&server.client(), 1);
    assert_eq!(id_of(&receiver.next().body), 1);
    assert_eq!(server.terminate().0, Some(0));
}

#[test]
fn what_cannot_be_copied_is_said_in_a_sentence() {
    let url = PostgresServer::shared().create_database();
    let folder = tempfile::tempdir().unwrap();
    let nothing = folder.path().join("nothing");
    let nothing = nothing.to_str().unwrap();
    let copy = |from, to, url: &str| {
        let command = ["copy", "--from", from, "--to", to, "--data-dir", nothing];
        let (status, _, words) = said(&run(&command, url));
        assert_eq!(status, Some(1));
        words
    };
    for (from, to, words) in [
        (
            "postgres",
            "sqlite",
            "a store in a database cannot be moved into a file",
        ),
        ("sqlite", "sqlite", "by `willcall backup`"),
        ("postgres", "postgres", "pg_dump"),
        ("sqlite", "oracle", "and not in oracle"),
        ("sqlite", "postgres", "there is no store"),
    ] {
        let found = copy(from, to, &url);
        assert!(found.contains(words), "{found}");
    }
    let output = willcall(&[COPY.as_slice(), &["--data-dir", nothing]].concat());
    let (_, _, words) = said(&output);
    assert!(words.contains("setting database_url"), "{words}");
    assert!(!Path::new(nothing).exists());
    let database = database_of(&url);
    let tables = "select count(*) from pg_tables where schemaname = 'public'";
    assert_eq!(PostgresServer::shared().run_sql(database, tables), "0");
}
