//! The sealed secrets of a store that is not opened for it: all of them, of either engine.

use model::contract::SealedSecret;
use model::signing::Profile;

use crate::databases::TestDatabase;
use crate::sqlite::harness::{Given, wait};
use crate::sqlite::{own_headers, signatures, webhook_tls};

/// More than a page of each.
const WEBHOOKS: usize = 60;

fn seal_some(given: &Given) {
    for _ in 0..WEBHOOKS {
        let webhook = given.paid_webhook();
        for profile in [Profile::Standard, Profile::Github] {
            given
                .sign(webhook, profile, signatures::new(None), 10)
                .unwrap();
        }
        let rotated = signatures::rotation("second", 20, 9_000);
        given.sign(webhook, Profile::Standard, rotated, 20).unwrap();
        for name in ["X-A", "X-B"] {
            let added = given.change_header(webhook, name, own_headers::add("sealed"), 30);
            added.unwrap();
        }
        let certificate = webhook_tls::client("chain", "key");
        given.change_tls(webhook, certificate, 31).unwrap();
    }
}

/// What each is, and what is stored of it.
fn told(secret: &SealedSecret) -> String {
    format!("{} {:?}", secret.words(), secret.sealed)
}

fn judge(mut found: Vec<String>) {
    assert_eq!(found.len(), 6 * WEBHOOKS);
    found.sort();
    found.dedup();
    assert_eq!(found.len(), 6 * WEBHOOKS);
    let one = "webhook 1, signature standard b\"second\"".to_owned();
    assert!(found.contains(&one), "{found:?}");
    assert!(found.contains(&"webhook 60, header X-B b\"sealed\"".to_owned()));
    assert!(found.contains(&"webhook 60, client certificate b\"key\"".to_owned()));
}

#[test]
fn each_sealed_secret_of_a_file_is_found_beside_whoever_has_it_open() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("willcall.db");
    let given = Given::on(store::open_inline_at(&path).unwrap());
    seal_some(&given);
    let mut found = Vec::new();
    store::each_sealed(&path, &mut |secret| found.push(told(&secret))).unwrap();
    judge(found);
    wait(given.store.close()).unwrap();
}

#[test]
fn each_sealed_secret_of_a_database_is_found_beside_whoever_has_it_open() {
    let database = TestDatabase::new();
    let given = Given::on(database.open());
    seal_some(&given);
    let mut found = Vec::new();
    let mut each = |secret| found.push(told(&secret));
    store::each_sealed_in_database(&database.settings(), &mut each).unwrap();
    judge(found);
}
