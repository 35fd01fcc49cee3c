//! A node that is killed, and a database that is.

use super::house::{House, IN_FLIGHT_MAX, Load, kill_all, lines_of, ready, wait_for};
use crate::postgres_server::SUPERUSER;

#[test]
fn what_a_killed_node_accepted_and_owed_is_sent_by_the_other_within_seconds() {
    let house = House::new(&[]);
    let [first, second] = house.nodes();
    house.subscribe(&first);
    second.await_log("this node sends for these slots");
    let load = Load::on(&[&first, &second]);
    load.wait_for(50);
    first.kill();
    load.wait_for(50);
    load.turn_to(&[&second]);
    let third = house.node();
    load.turn_to(&[&second, &third]);
    load.wait_for(20);
    let accepted = load.end();
    let duplicates = house.duplicates(&accepted);
    assert!(duplicates <= IN_FLIGHT_MAX, "{duplicates}");
    for node in [second, third] {
        assert_eq!(lines_of(&node, "ERROR").len(), 0, "{}", node.log());
        assert_eq!(node.terminate().0, Some(0));
    }
}

#[test]
fn a_database_that_is_killed_or_made_read_only_under_load_costs_nothing_but_time() {
    let house = House::new(&[]);
    let nodes: [_; 2] = house.nodes();
    house.subscribe(&nodes[0]);
    let load = Load::on(&[&nodes[0], &nodes[1]]);
    load.wait_for(30);
    kill_all(&house.postgres);
    let says = |part: &'static str| {
        for node in &nodes {
            let (_, words) = wait_for(
                "words",
                || ready(node),
                |(status, words)| *status == 503 && words.contains(part),
            )
            .0;
            assert!(words.contains(", for "), "{words}");
        }
    };
    says("it cannot be reached (");
    house.postgres.begin();
    load.wait_for(30);
    for node in &nodes {
        wait_for("ready", || ready(node), |(status, _)| *status == 200);
        node.await_log("the database answers again");
        assert_eq!(lines_of(node, "ERROR").len(), 1, "{}", node.log());
    }

    let set = |value: &str| {
        let setting = ("default_transaction_read_only", value);
        house.postgres.configure(&[setting]);
        house.postgres.run_sql(SUPERUSER, "select pg_reload_conf()");
    };
    set("on");
    says("the database takes no changes");
    for node in &nodes {
        assert_eq!(lines_of(node, "ERROR").len(), 2, "{}", node.log());
    }
    set("off");
    load.wait_for(30);
    let accepted = load.end();
    let duplicates = house.duplicates(&accepted);
    assert!(duplicates <= 2 * IN_FLIGHT_MAX, "{duplicates}");
    for node in nodes {
        wait_for("ready", || ready(&node), |(status, _)| *status == 200);
        assert_eq!(node.terminate().0, Some(0));
    }
}
