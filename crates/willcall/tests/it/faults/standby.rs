//! A primary that dies, and its standby that is promoted.

use super::house::{House, IN_FLIGHT_MAX, Load, kill_all, lines_of, ready, wait_for};
use crate::postgres_server::{PostgresServer, SUPERUSER, run};

/// A standby of this server, which gets all that is committed before anybody is told.
fn standby_of(primary: &PostgresServer) -> PostgresServer {
    let standby = PostgresServer::start_from(&[], |server| {
        let mut copy = server.program("pg_basebackup");
        copy.args(["-h", "127.0.0.1", "-p", &primary.port.to_string()])
            .args(["-U", SUPERUSER, "-R", "-X", "stream", "-c", "fast", "-D"])
            .arg(server.data());
        copy
    });
    primary.configure(&[("synchronous_standby_names", "*")]);
    primary.run_sql(SUPERUSER, "select pg_reload_conf()");
    let state = || primary.run_sql(SUPERUSER, "select sync_state from pg_stat_replication");
    wait_for("a standby", state, |state| state == "sync");
    standby
}

#[test]
fn after_a_fail_over_all_nodes_go_on_with_the_new_primary_and_with_all_they_accepted() {
    let house = House::new(&[]);
    let standby = standby_of(&house.postgres);
    let (host, rest) = (format!("127.0.0.1:{}", house.postgres.port), &house.url);
    let both = rest.replace(&host, &format!("{host},127.0.0.1:{}", standby.port));
    let nodes = [house.node_on(&both), house.node_on(&both)];
    house.subscribe(&nodes[0]);
    let load = Load::on(&[&nodes[0], &nodes[1]]);
    load.wait_for(30);
    kill_all(&house.postgres);

    for words in ["it cannot be reached", "it is a standby, or read-only"] {
        wait_for(words, || ready(&nodes[0]).1, |said| said.contains(words));
    }
    let mut promote = standby.program("pg_ctl");
    promote.args(["promote", "-w", "-D"]).arg(standby.data());
    run(promote);
    load.wait_for(30);
    let accepted = load.end();
    let duplicates = house.duplicates(&accepted);
    assert!(duplicates <= 2 * IN_FLIGHT_MAX, "{duplicates}");
    for node in nodes {
        wait_for("ready", || ready(&node), |(status, _)| *status == 200);
        // It did not answer first, and then only one that takes no changes did.
        assert!(lines_of(&node, "ERROR").len() <= 2, "{}", node.log());
        node.await_log("the database answers again");
        assert_eq!(node.terminate().0, Some(0));
    }
}
