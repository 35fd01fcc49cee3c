//! A transaction of somebody else that nobody ends, and that we have to wait for.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use super::house::{House, hand_in, lines_of, ready, send, wait_for};
use crate::database::{database_of, done};
use crate::postgres_server::{SUPERUSER, programs};

#[test]
fn a_transaction_that_holds_a_node_up_is_named_until_it_ends() {
    let house = House::new(&[]);
    let node = house.node();
    house.subscribe(&node);
    hand_in(&node.client(), 1);
    let mut psql = Command::new(programs().join("psql"));
    psql.args([
        "-XqAt",
        "-U",
        SUPERUSER,
        "-p",
        &house.postgres.port.to_string(),
    ])
    .args(["-d", database_of(&house.url), "-h"])
    .arg(&house.postgres.folder)
    .env("PGAPPNAME", "nightly report");
    let psql = psql.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut psql = psql.unwrap();
    let mut input = psql.stdin.take().unwrap();
    let words = b"begin; lock table notification; select pg_backend_pid();\n";
    input.write_all(words).unwrap();
    let mut lines = BufReader::new(psql.stdout.take().unwrap()).lines();
    let pid = lines.next().unwrap().unwrap();

    let (status, answer) = send(&node.client(), 2).unwrap();
    assert_eq!(status, 503, "{answer}");
    assert!(answer.contains("\r\nretry-after: 1\r\n"), "{answer}");
    let client = node.client();
    crate::harness::spawn(move || {
        // Something waits meanwhile.
        while !matches!(send(&client, 3), Ok((201, _))) {}
    });
    let by = format!(
        "holds up this server: process {pid} of user postgres in database {} (nightly report, ",
        database_of(&house.url)
    );
    wait_for("who it is", || ready(&node).1, |said| said.contains(&by));
    let warnings = lines_of(&node, "WARN");
    let warnings = warnings.iter().filter(|line| line.contains(&by));
    assert_eq!(warnings.count(), 1, "{}", node.log());

    drop(input);
    assert!(psql.wait().unwrap().success());
    node.await_log("nobody holds up the database any more");
    wait_for(
        "ready",
        || ready(&node),
        |(status, said)| *status == 200 && !said.contains("holds up"),
    );
    house.duplicates(&[1, 3].into());
    let words = done(&["doctor", "--listen", "127.0.0.1:0"], &house.url);
    assert!(words.contains("autovacuum is on"), "{words}");
    assert_eq!(node.terminate().0, Some(0));
}
