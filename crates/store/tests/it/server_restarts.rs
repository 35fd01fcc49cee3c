//! A server of a database that ends and comes back while a store is open.

use model::contract::{DiskFault, StoreError};
use prometheus_client::registry::Registry;
use store::DatabaseSettings;

use crate::postgres::harness::{Given, answered, at, delivered, delivery_id, settlement, wait};
use crate::postgres_server::PostgresServer;

/// So often it is asked again: each refusal takes a moment, in which a new session is tried.
const TRIES_MAX: usize = 1_000_000;

fn is_away(error: &StoreError) -> bool {
    matches!(
        error,
        StoreError::Disk(DiskFault::NoDatabase) | StoreError::Unknown
    )
}

#[test]
fn what_was_accepted_survives_a_server_that_crashes_and_all_goes_on_by_itself() {
    let server = PostgresServer::start(&[]);
    let settings = DatabaseSettings::parse(&server.create_database(), None).unwrap();
    let store = store::open_postgres(&settings, &mut Registry::default()).unwrap();
    let given = Given::on(store);
    let lease = wait(given.store.claim(at(0))).unwrap();
    let webhook = given.paid_webhook();
    let id = delivery_id(given.notified("1", 1_000), webhook);

    server.end("immediate");
    let accepted = wait(given.store.accept(vec![given.new_notification("2", 2_000)]));
    assert!(is_away(&accepted.unwrap_err()));
    let done = settlement(id, 1_100, answered(200), delivered());
    let settled = given.store.settle(lease.epoch, [done.clone()].into());
    given.store.flush();
    assert!(is_away(&wait(settled).unwrap_err()));
    assert!(is_away(&wait(given.store.ping()).unwrap_err()));

    server.begin();
    let mut tries = 0..TRIES_MAX;
    while let Err(error) = wait(given.store.accept(vec![given.new_notification("2", 2_000)])) {
        assert!(is_away(&error) && tries.next().is_some(), "{error:?}");
    }
    loop {
        let settled = given.store.settle(lease.epoch, [done.clone()].into());
        given.store.flush();
        match wait(settled) {
            Ok(()) => break,
            Err(error) => assert!(is_away(&error) && tries.next().is_some(), "{error:?}"),
        }
    }
    assert_eq!(given.log(webhook).len(), 2);
    assert_eq!(given.story(id).attempts.len(), 1);
    wait(given.store.close()).unwrap();
    server.end("fast");
}
