//! A database that has no connection left.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};

use super::house::{House, Load, lines_of, ready, send, wait_for};
use crate::database::{database_of, run, said};
use crate::harness::Server;
use crate::postgres_server::{PostgresServer, SUPERUSER, USER};

/// Fewer than two nodes need.
const MOST: &str = "24";

/// Connections of somebody else, all that there are.
fn take_all(postgres: &PostgresServer) -> Vec<TcpStream> {
    let connect = || TcpStream::connect((Ipv4Addr::LOCALHOST, postgres.port)).unwrap();
    let begin = |mut stream: TcpStream| {
        let words = format!("user\0{USER}\0database\0{SUPERUSER}\0\0");
        let length = u32::try_from(8 + words.len()).unwrap();
        let version: u32 = 3 << 16;
        let head = [length.to_be_bytes(), version.to_be_bytes()].concat();
        stream
            .write_all(&[&head, words.as_bytes()].concat())
            .unwrap();
        // It was let in, and goes on with its settings; an error has another letter. Without room
        // for superusers the error comes first.
        let mut answer = [0; 10];
        stream.read_exact(&mut answer).unwrap();
        (answer[0] == b'R' && answer[9] == b'S').then_some(stream)
    };
    std::iter::repeat_with(connect).map_while(begin).collect()
}

/// Ends sessions of nodes: those whose name is like this.
fn end(house: &House, name: &str) {
    let sql = format!(
        "select count(pg_terminate_backend(pid)) from pg_stat_activity
         where application_name like '{name}'"
    );
    house.postgres.run_sql(SUPERUSER, &sql);
}

fn limit(house: &House, count: i32) {
    let database = database_of(&house.url);
    let sql = format!("alter database {database} connection limit {count}");
    house.postgres.run_sql(SUPERUSER, &sql);
}

fn refuses(node: &Server) {
    let (_, answer) = wait_for(
        "refused",
        || send(&node.client(), 1_000_000).unwrap(),
        |(status, _)| *status == 503,
    )
    .0;
    assert!(answer.contains("\r\nretry-after: 5\r\n"), "{answer}");
    let words = "the database of the server has no connection left for it";
    assert!(answer.contains(words), "{answer}");
    wait_for(
        "said",
        || ready(node),
        |(status, words)| {
            *status == 503
                && words.contains("the database has no connection left, for ")
                && words.contains("Raise max_connections")
        },
    );
}

#[test]
fn a_start_without_connections_is_refused_and_a_node_without_goes_on_once_there_are_some() {
    let house = House::new(&[("max_connections", MOST)]);
    let taken = take_all(&house.postgres);
    assert!(taken.len() > 10, "{}", taken.len());
    let (status, _, complaint) = said(&run(&["serve", "--listen", "127.0.0.1:0"], &house.url));
    assert_eq!(status, Some(1), "{complaint}");
    let words = "it has no connection left for us";
    assert!(complaint.contains(words), "{complaint}");
    assert!(complaint.contains("raise max_connections"), "{complaint}");
    drop(taken);

    // The server takes note of their end when it comes to it.
    let others = || {
        let sql = "select count(*) from pg_stat_activity where usename = 'willcall'";
        house.postgres.run_sql(SUPERUSER, sql)
    };
    wait_for("their end", others, |count| count == "0");
    let node = house.node();
    house.subscribe(&node);
    let load = Load::on(&[&node]);
    load.wait_for(20);
    limit(&house, 0);
    end(&house, "willcall %");
    refuses(&node);
    limit(&house, -1);
    load.wait_for(20);
    wait_for("ready", || ready(&node), |(status, _)| *status == 200);
    node.await_log("the database answers again");
    assert_eq!(lines_of(&node, "ERROR").len(), 1, "{}", node.log());

    // Of all its sessions it lacks only the one that accepts.
    limit(&house, 1);
    end(&house, "willcall accept 0");
    refuses(&node);
    limit(&house, -1);
    load.wait_for(20);
    let accepted = load.end();
    wait_for("ready", || ready(&node), |(status, _)| *status == 200);
    assert!(house.duplicates(&accepted) <= super::house::IN_FLIGHT_MAX);
    assert!(lines_of(&node, "ERROR").len() <= 2, "{}", node.log());
    assert_eq!(node.terminate().0, Some(0));
}
