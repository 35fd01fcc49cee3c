//! A database that is frozen: its connections are there, and nobody answers.

use tokio::time::Instant;

use super::house::{Frozen, House, IN_FLIGHT_MAX, Load, hand_in, lines_of, ready, send, wait_for};
use crate::harness::PATIENCE;

#[test]
fn a_frozen_database_is_named_and_holds_up_neither_a_refusal_nor_a_stop() {
    let house = House::new(&[]);
    let [first, second] = house.nodes();
    house.subscribe(&first);
    let load = Load::on(&[&first, &second]);
    load.wait_for(20);
    let frozen = Frozen::new(&house.postgres);
    let frozen_at = Instant::now();

    // One whose connection was made before, and one after that was noticed.
    for id in [1_000_001, 1_000_002] {
        let (status, answer) = send(&first.client(), id).unwrap();
        assert_eq!(status, 503, "{answer}");
        assert!(answer.contains("\r\nretry-after: 5\r\n"), "{answer}");
        let words = "the database of the server does not answer";
        assert!(answer.contains(words), "{answer}");
    }
    let taken = frozen_at.elapsed().as_secs();
    assert!(taken < 12, "they were refused after {taken} s");
    let (_, words) = ready(&first);
    assert!(
        words.contains("the database does not answer, for "),
        "{words}"
    );
    assert!(words.contains("it did not answer within"), "{words}");
    assert!(words.contains("Look at PostgreSQL"), "{words}");

    let stopped_at = Instant::now();
    let accepted = load.end();
    first.signal(&["TERM"]);
    let (status, log) = first.end();
    let taken = stopped_at.elapsed().as_secs();
    assert!(taken < 30, "it stopped after {taken} s: {log}");
    assert_eq!(status, Some(0), "{log}");
    let errors = log.lines().filter(|line| line.contains("\"ERROR\""));
    assert_eq!(errors.count(), 1, "{log}");
    assert!(
        log.contains("the database did not end what it was asked to"),
        "{log}"
    );

    drop(frozen);
    wait_for("ready", || ready(&second), |(status, _)| *status == 200);
    second.await_log("the database answers again");
    assert_eq!(lines_of(&second, "ERROR").len(), 1, "{}", second.log());
    hand_in(&second.client(), 1_000_003);
    let accepted = accepted.into_iter().chain([1_000_003]).collect();
    let duplicates = house.duplicates(&accepted);
    assert!(duplicates <= 2 * IN_FLIGHT_MAX, "{duplicates}");
    assert!(frozen_at.elapsed() < PATIENCE);
    assert_eq!(second.terminate().0, Some(0));
}
