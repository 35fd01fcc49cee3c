//! What one session tells another.

use std::time::Duration;

use super::support::{database, open};
use crate::postgres::session::{Committed, Heard, TransactionMode};
use crate::postgres::session_error::SessionError;

const LONG: Duration = Duration::from_secs(60);

#[test]
fn what_is_notified_is_heard_in_order() {
    let url = database();
    let (listener, speaker) = (open(&url), open(&url));
    listener.listen("wc_changes").unwrap();
    for text in ["one", "two"] {
        speaker
            .query("SELECT pg_notify('wc_changes', $1)", &[&text])
            .unwrap();
    }
    let mut heard = Vec::new();
    while heard.len() < 2 {
        heard.extend(listener.wait_for_notification(LONG).unwrap());
    }
    let expected = ["one", "two"].map(|text| Heard {
        channel: "wc_changes".to_owned(),
        text: text.to_owned(),
        backend: speaker.facts().backend,
    });
    assert_eq!(heard, expected);
}

#[test]
fn what_is_notified_between_two_waits_is_kept() {
    let url = database();
    let (listener, speaker) = (open(&url), open(&url));
    listener.listen("wc_changes").unwrap();
    speaker
        .query("SELECT pg_notify('wc_changes', 'early')", &[])
        .unwrap();
    listener.query("SELECT 1", &[]).unwrap();
    let heard = listener.wait_for_notification(LONG).unwrap();
    assert_eq!(heard[0].text, "early");
}

#[test]
fn a_notification_of_a_transaction_comes_with_its_commit() {
    let url = database();
    let (listener, speaker) = (open(&url), open(&url));
    listener.listen("wc_changes").unwrap();
    speaker.begin(TransactionMode::ReadWrite).unwrap();
    speaker
        .query("SELECT pg_notify('wc_changes', 'x')", &[])
        .unwrap();
    let short = Duration::from_millis(1);
    assert!(listener.wait_for_notification(short).unwrap().is_empty());
    assert_eq!(speaker.commit().unwrap(), Committed::Durable);
    assert_eq!(listener.wait_for_notification(LONG).unwrap().len(), 1);
}

#[test]
fn a_wait_ends_with_its_limit_or_when_somebody_wakes_it() {
    let session = open(&database());
    assert!(
        session
            .wait_for_notification(Duration::ZERO)
            .unwrap()
            .is_empty()
    );
    let waker = session.waker();
    // Before the wait, and within it.
    waker.wake();
    assert!(session.wait_for_notification(LONG).unwrap().is_empty());
    std::thread::scope(|threads| {
        threads.spawn(|| waker.wake());
        assert!(session.wait_for_notification(LONG).unwrap().is_empty());
    });
}

#[test]
fn a_wait_ends_with_its_connection() {
    let url = database();
    let session = open(&url);
    session.listen("wc_changes").unwrap();
    let backend = session.facts().backend;
    open(&url)
        .query("SELECT pg_terminate_backend($1)", &[&backend])
        .unwrap();
    let ended = session.wait_for_notification(LONG);
    assert!(matches!(ended, Err(SessionError::Lost(_))), "{ended:?}");
    assert!(session.is_broken());
}
