//! An upgrade of servers on one database, one after the other.
//!
//! `WILLCALL_PREVIOUS` names the program of the release before. Without it this program stands for
//! it, and a change of the tables as a newer one would make it is made by hand.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use crate::database::{apply, database_of};
use crate::harness::{API, Client, Receiver, Server};
use crate::postgres_server::PostgresServer;

const PAID: &str = "pretix.event.order.paid";

/// What a newer release may add beside programs that do not know it.
const NEWER: &str = "
    alter table notification add column extra text;
    alter table delivery add column extra bigint;
    create table extra (id bigint primary key);
    update willcall set version = version + 1";

fn start(program: impl AsRef<OsStr>, url: &str, folder: &Path) -> Server {
    let folder = folder.join("unused");
    Server::start_by(Command::new(program), &folder, &["--database-url", url])
}

fn hand_in(client: &Client, id: usize) {
    let body =
        format!(r#"{{"event":"democon","action":"{PAID}","code":"A{id}","notification_id":{id}}}"#);
    let answer = client.exchange("POST", &format!("{API}/notifications/"), &body);
    let answer = answer.expect("the server answers");
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
}

#[test]
fn servers_of_two_releases_run_side_by_side_until_the_last_is_upgraded() {
    const WEBHOOKS: usize = 12;
    let newer = env!("CARGO_BIN_EXE_willcall");
    let previous = std::env::var_os("WILLCALL_PREVIOUS");
    let older = previous.as_deref().unwrap_or_else(|| OsStr::new(newer));
    let url = PostgresServer::shared().create_database();
    let folder = tempfile::tempdir().unwrap();
    let first = start(older, &url, folder.path());
    let second = start(older, &url, folder.path());
    apply(&url);
    let receiver = Receiver::start(|_| 200);
    for n in 0..WEBHOOKS {
        let target = receiver.url(&format!("/{n}"));
        first.client().webhook(&target, &[PAID]);
    }
    // Each is received by each webhook, whoever accepts and whoever sends.
    let all_receive = |servers: &[&Server], from: usize| {
        for (n, server) in servers.iter().enumerate() {
            hand_in(&server.client(), from + n);
        }
        let calls = WEBHOOKS * servers.len();
        let calls = (0..calls).map(|_| receiver.next());
        let calls: BTreeSet<_> = calls.map(|call| (call.path, call.body)).collect();
        assert_eq!(calls.len(), WEBHOOKS * servers.len());
    };
    all_receive(&[&first, &second], 1);

    if previous.is_none() {
        PostgresServer::shared().run_sql(database_of(&url), NEWER);
    }
    let third = start(newer, &url, folder.path());
    all_receive(&[&first, &second, &third], 11);
    // One of the release before starts on the tables of the newer one.
    second.kill();
    let second = start(older, &url, folder.path());
    all_receive(&[&first, &second, &third], 21);
    for older in [first, second] {
        assert_eq!(older.terminate().0, Some(0));
    }
    all_receive(&[&third], 31);
}
