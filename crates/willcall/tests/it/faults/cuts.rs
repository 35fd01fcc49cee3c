//! A network that cuts connections with the database wherever it likes.

use super::house::{House, Load, lines_of, ready, wait_for};
use super::proxy::Proxy;

/// Some break while a session begins, others in the middle of a statement or of its answer.
const BUDGETS: [usize; 7] = [700, 4_000, 9_001, 15_013, 22_222, 40_007, 90_001];

#[test]
fn connections_that_are_cut_anywhere_and_in_commits_lose_nothing_and_repeat_nothing() {
    let house = House::new(&[]);
    let ways = [Proxy::new(&house.url), Proxy::new(&house.url)];
    let nodes = [house.node_on(&ways[0].url), house.node_on(&ways[1].url)];
    house.subscribe(&nodes[0]);
    let load = Load::on(&[&nodes[0], &nodes[1]]);
    load.wait_for(20);
    for way in &ways {
        way.cut_after(&BUDGETS);
        way.cut_commits(7);
        // Those that are there break at a commit; all others are new ones.
    }
    load.wait_for(40);
    for way in &ways {
        while way.cuts() < 15 {
            load.wait_for(5);
        }
    }
    for way in &ways {
        way.cut_nothing();
    }
    load.wait_for(20);
    let accepted = load.end();
    assert_eq!(house.duplicates(&accepted), 0);
    for node in nodes {
        wait_for("ready", || ready(&node), |(status, _)| *status == 200);
        assert!(lines_of(&node, "ERROR").len() < 5, "{}", node.log());
        assert_eq!(node.terminate().0, Some(0));
    }
}
