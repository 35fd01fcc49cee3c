//! What SQLite keeps of unattempted deliveries in the rows of their notifications.

use bytes::Bytes;
use model::contract::{DiskFault, StoreError};
use model::delivery::DeliveryState;
use model::notification::NewNotification;

use crate::sqlite::harness::{Given, delivery_id, wait};
use crate::sqlite::unattempted::{deliver, due};

#[test]
fn what_hangs_is_kept_while_thousands_pass_and_a_start_has_little_to_look_at() {
    let given = Given::kept();
    let webhook = given.paid_webhook();
    // Some more where notifications are evicted together.
    let hang: Vec<i64> = [1].into_iter().chain(500..530).collect();
    for batch in 0..100 {
        let new = (0..100).map(|n| given.new_notification(&format!("{batch}-{n}"), 0));
        wait(given.store.accept(new.collect())).unwrap();
        for id in batch * 100 + 1..=batch * 100 + 100 {
            if !hang.contains(&id) {
                deliver(&given, id, webhook);
            }
        }
    }
    assert_eq!(due(&given, webhook), hang);
    let rest = "select count(*) from notification
        where id > (select latest from counted where what = 'listed')";
    assert!(given.number(rest) < 3_000);
    let given = given.reopened();
    assert_eq!(due(&given, webhook), hang);
    for id in hang {
        deliver(&given, id, webhook);
    }
    assert!(due(&given, webhook).is_empty());
    assert_eq!(given.number("select count(*) from fresh"), 0);
}

#[test]
fn without_room_to_list_a_log_has_no_gaps_and_nothing_accepted_is_said_to_be_unknown() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("willcall.db");
    let given = Given::on(store::probe::open_with_room(&path, 900).unwrap());
    let webhook = given.paid_webhook();
    let mut latest = 0;
    for n in 0..2_000 {
        let new = NewNotification {
            body: Bytes::from(vec![b'x'; 1_500]),
            ..given.new_notification(&n.to_string(), 1)
        };
        match wait(given.store.accept(vec![new])) {
            Ok(_) => latest += 1,
            Err(error) => {
                assert!(
                    matches!(error, StoreError::Disk(DiskFault::Full)),
                    "{error}"
                );
                break;
            }
        }
    }
    // More than fit into the one page of what is materialized.
    assert!(latest > 600, "{latest}");
    deliver(&given, latest, webhook);
    let read = |id| wait(given.store.delivery(given.tenant, delivery_id(id, webhook)));
    assert!(matches!(
        read(latest - 1),
        Err(StoreError::Disk(DiskFault::Full))
    ));
    assert_eq!(
        read(latest).unwrap().unwrap().row.state,
        DeliveryState::Delivered
    );
    assert_eq!(given.log(webhook), []);
    // The engine goes on.
    assert_eq!(due(&given, webhook), (1..latest).collect::<Vec<_>>());
}
