//! The binary on a database: from an empty one to a delivered notification, several servers side by
//! side, over kills and over restarts of PostgreSQL.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;
use tokio::time::Instant;

use crate::harness::{API, Client, PATIENCE, Receiver, Server, TENANT, willcall};
use crate::postgres_server::{PostgresServer, SUPERUSER, programs, run as output_of};

pub(crate) const PAID: &str = "pretix.event.order.paid";

/// Runs a command on a database.
pub(crate) fn run(command: &[&str], url: &str) -> Output {
    willcall(&[command, &["--database-url", url]].concat())
}

/// Exit status, standard output and standard error.
pub(crate) fn said(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

/// Runs a command on a database; returns what it printed.
pub(crate) fn done(command: &[&str], url: &str) -> String {
    let (status, printed, complaint) = said(&run(command, url));
    assert_eq!(status, Some(0), "{command:?}: {printed}{complaint}");
    printed
}

pub(crate) fn apply(url: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tenants.toml");
    std::fs::write(&file, TENANT).unwrap();
    done(&["apply", file.to_str().unwrap()], url)
}

/// Starts a server on a database, with a data folder that it has no use for.
pub(crate) fn start(url: &str, folder: &Path) -> Server {
    Server::start(&folder.join("unused"), &["--database-url", url])
}

/// Sends a notification; returns the status and the whole response.
pub(crate) fn send(client: &Client, id: u64) -> (u16, String) {
    let body =
        format!(r#"{{"event":"democon","action":"{PAID}","code":"A{id}","notification_id":{id}}}"#);
    let answer = client.exchange("POST", &format!("{API}/notifications/"), &body);
    let answer = answer.expect("the server answers").to_ascii_lowercase();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer)
}

pub(crate) fn hand_in(client: &Client, id: u64) {
    let (status, answer) = send(client, id);
    assert_eq!(status, 201, "{answer}");
}

pub(crate) fn id_of(body: &str) -> u64 {
    let body: Value = serde_json::from_str(body).unwrap();
    body["notification_id"].as_u64().unwrap()
}

/// The states of a webhook's deliveries, by notification.
pub(crate) fn states(client: &Client, webhook: i64) -> BTreeMap<u64, String> {
    let (status, log) = client.get(&format!("{API}/webhooks/{webhook}/deliveries/"));
    assert_eq!(status, 200, "{log}");
    let rows = log["results"].as_array().unwrap().iter();
    let state = |row: &Value| row["status"].as_str().unwrap().to_owned();
    rows.map(|row| (row["notification_id"].as_u64().unwrap(), state(row)))
        .collect()
}

/// Asks again until the answer is as expected.
pub(crate) fn wait_for<T: std::fmt::Debug>(
    what: &str,
    ask: impl Fn() -> T,
    is: impl Fn(&T) -> bool,
) -> T {
    let begun = Instant::now();
    loop {
        let found = ask();
        if is(&found) {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "{what}: {found:?}");
        std::thread::yield_now();
    }
}

#[test]
fn what_a_killed_server_accepted_is_delivered_by_the_next() {
    let url = PostgresServer::shared().create_database();
    let folder = tempfile::tempdir().unwrap();
    let words = apply(&url);
    let (_, rest) = url.split_once('@').unwrap();
    let address = rest.split('?').next().unwrap();
    let end = format!("3 created, 0 changed, 0 unchanged in the database {address}\n");
    assert!(words.ends_with(&end), "{words}");
    assert!(apply(&url).contains("0 created, 0 changed"));

    let answers = Arc::new(AtomicBool::new(true));
    let working = Arc::clone(&answers);
    let receiver = Receiver::start(move |_| match working.load(Ordering::Relaxed) {
        true => 200,
        false => 503,
    });
    let server = start(&url, folder.path());
    let client = server.client();
    let webhook = client.webhook(&receiver.url("/"), &[PAID]);
    hand_in(&client, 1);
    assert_eq!(id_of(&receiver.next().body), 1);
    let is_delivered = |id: u64| {
        move |states: &BTreeMap<u64, String>| {
            states.get(&id).is_some_and(|state| state == "delivered")
        }
    };
    wait_for("the first", || states(&client, webhook), is_delivered(1));
    answers.store(false, Ordering::Relaxed);
    hand_in(&client, 2);
    assert_eq!(id_of(&receiver.next().body), 2);
    server.kill();

    answers.store(true, Ordering::Relaxed);
    let server = start(&url, folder.path());
    let client = server.client();
    assert_eq!(send(&client, 2).0, 200, "it is known");
    wait_for("the second", || states(&client, webhook), is_delivered(2));
    assert_eq!(id_of(&receiver.next().body), 2);
    hand_in(&client, 3);
    while id_of(&receiver.next().body) != 3 {}
    assert_eq!(server.terminate().0, Some(0));
    let log = states(&start(&url, folder.path()).client(), webhook);
    assert_eq!(log.len(), 3);
    assert!(log.values().all(|state| state == "delivered"), "{log:?}");
    assert!(!folder.path().join("unused").exists());
}

#[test]
fn servers_on_one_database_share_what_either_accepts_and_hand_over_at_their_end() {
    const WEBHOOKS: usize = 12;
    let url = PostgresServer::shared().create_database();
    let folder = tempfile::tempdir().unwrap();
    apply(&url);
    let receiver = Receiver::start(|_| 200);
    let (first, second) = (start(&url, folder.path()), start(&url, folder.path()));
    for n in 0..WEBHOOKS {
        first
            .client()
            .webhook(&receiver.url(&format!("/{n}")), &[PAID]);
    }
    // What was made by one is known to the other within a second.
    let path = format!("{API}/webhooks/");
    let count = |client: &Client| client.get(&path).1["count"].as_u64();
    let all = Some(u64::try_from(WEBHOOKS).unwrap());
    wait_for(
        "webhooks",
        || count(&second.client()),
        |count| *count == all,
    );
    hand_in(&first.client(), 1);
    hand_in(&second.client(), 2);
    let mut calls: BTreeMap<(String, u64), usize> = BTreeMap::new();
    for _ in 0..2 * WEBHOOKS {
        let call = receiver.next();
        *calls.entry((call.path, id_of(&call.body))).or_default() += 1;
    }
    assert_eq!(calls.len(), 2 * WEBHOOKS, "{calls:?}");
    let words = done(&["doctor", "--listen", "127.0.0.1:0"], &url);
    assert!(words.contains("servers that send: 2"), "{words}");

    assert_eq!(first.terminate().0, Some(0));
    hand_in(&second.client(), 3);
    for _ in 0..WEBHOOKS {
        let call = receiver.next();
        *calls.entry((call.path, id_of(&call.body))).or_default() += 1;
    }
    assert_eq!(calls.len(), 3 * WEBHOOKS, "{calls:?}");
}

#[test]
fn servers_that_start_at_once_on_an_empty_database_print_one_token() {
    let url = PostgresServer::shared().create_database();
    let folder = tempfile::tempdir().unwrap();
    let servers: Vec<Server> = std::thread::scope(|scope| {
        let begin = || scope.spawn(|| start(&url, folder.path()));
        let starting: Vec<_> = std::iter::repeat_with(begin).take(3).collect();
        let started = starting.into_iter().map(|one| one.join().unwrap());
        started.collect()
    });
    let ended = servers.into_iter().map(Server::terminate);
    let ended: (Vec<Option<i32>>, Vec<String>) = ended.unzip();
    assert_eq!(ended.0, [Some(0); 3]);
    let printed = ended.1;
    let tokens = printed
        .iter()
        .filter(|text| text.contains("shown only now"));
    assert_eq!(tokens.count(), 1, "{printed:?}");
}

/// The name of the database in a URL.
pub(crate) fn database_of(url: &str) -> &str {
    let (rest, _) = url.split_once('?').unwrap();
    rest.rsplit('/').next().unwrap()
}

#[test]
fn a_dump_that_is_restored_elsewhere_is_the_store_as_it_was() {
    let postgres = PostgresServer::shared();
    let url = postgres.create_database();
    let folder = tempfile::tempdir().unwrap();
    apply(&url);
    let receiver = Receiver::start(|_| 200);
    let server = start(&url, folder.path());
    let client = server.client();
    let webhook = client.webhook(&receiver.url("/"), &[PAID]);
    hand_in(&client, 1);
    receiver.next();
    let is_delivered =
        |states: &BTreeMap<u64, String>| states.values().all(|state| state == "delivered");
    wait_for("the first", || states(&client, webhook), is_delivered);

    let program = |name: &str, database: &str| {
        let mut program = Command::new(programs().join(name));
        program.args(["-U", SUPERUSER, "-p", &postgres.port.to_string(), "-h"]);
        program.arg(&postgres.folder).args(["-d", database]);
        program
    };
    let file = folder.path().join("willcall.dump");
    let mut dump = program("pg_dump", database_of(&url));
    dump.args(["--format=custom", "--file"]).arg(&file);
    output_of(dump);
    assert_eq!(server.terminate().0, Some(0));
    let copy = postgres.create_database();
    let mut restore = program("pg_restore", database_of(&copy));
    restore.args(["--no-owner", "--role=willcall"]).arg(&file);
    output_of(restore);

    let words = done(&["doctor", "--listen", "127.0.0.1:0"], &copy);
    assert!(
        words.contains("good   store         tenants: 1, webhooks: 1"),
        "{words}"
    );
    let server = start(&copy, folder.path());
    let client = server.client();
    assert!(is_delivered(&states(&client, webhook)));
    assert_eq!(send(&client, 1).0, 200, "it is known");
    hand_in(&client, 2);
    assert_eq!(id_of(&receiver.next().body), 2);
}

#[test]
fn while_the_database_is_away_nothing_is_accepted_and_everybody_is_told_why() {
    let postgres = PostgresServer::start(&[("fsync", "off")]);
    let url = postgres.create_database();
    let folder = tempfile::tempdir().unwrap();
    apply(&url);
    let server = start(&url, folder.path());
    let client = server.client();
    hand_in(&client, 1);
    let ready = || client.get("/readyz");
    assert_eq!(ready().0, 200);
    let refused = |words: &str, ready_words: &str, after: &str| {
        let (_, answer) = wait_for(
            words,
            || send(&client, 2),
            |(status, answer)| *status == 503 && answer.contains(words),
        );
        let after = format!("\r\nretry-after: {after}\r\n");
        assert!(answer.contains(&after), "{answer}");
        wait_for(ready_words, ready, |(status, said)| {
            *status == 503 && said.to_string().contains(ready_words)
        });
    };
    let goes_on = |id: u64| {
        wait_for(
            "accepting",
            || send(&client, id),
            |(status, _)| *status == 201,
        );
        wait_for("ready", ready, |(status, _)| *status == 200);
    };

    postgres.end("immediate");
    refused(
        "the database of the server does not answer",
        "the database does not answer",
        "5",
    );
    let (status, words, _) = said(&run(&["doctor"], &url));
    assert_eq!(status, Some(1));
    assert!(words.contains("WRONG  database"), "{words}");
    assert!(words.contains("cannot be reached"), "{words}");
    postgres.begin();
    goes_on(2);
    let log = server.log();
    let errors = log.lines().filter(|line| line.contains("\"ERROR\""));
    assert_eq!(errors.count(), 1, "{log}");
    assert!(log.contains("the database answers again"), "{log}");

    postgres.configure(&[("default_transaction_read_only", "on")]);
    postgres.end("fast");
    postgres.begin();
    refused(
        "the database of the server takes no changes",
        "it is a standby, or read-only",
        "5",
    );
    postgres.configure(&[("default_transaction_read_only", "off")]);
    postgres.end("fast");
    postgres.begin();
    goes_on(3);
    assert_eq!(server.terminate().0, Some(0));
}
