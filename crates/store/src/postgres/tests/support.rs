//! Sessions for tests.

use std::time::Duration;

use crate::OpenError;
use crate::postgres::host_fault::HostFault;
use crate::postgres::postgres_server::PostgresServer;
use crate::postgres::session::{Committed, Session, TransactionMode};
use crate::postgres::session_error::{SessionError, SqlFault};
use crate::postgres::settings::{DatabaseSettings, SessionLimits};

pub(super) fn settings(url: &str) -> DatabaseSettings {
    DatabaseSettings::parse(url, None).unwrap()
}

pub(super) fn open(url: &str) -> Session {
    Session::open(&settings(url), "willcall test").unwrap()
}

/// A session whose server ends a statement after so many milliseconds, as its client does later.
pub(super) fn open_with_limits(url: &str, statement: u64, grace: u64) -> Session {
    let limits = SessionLimits {
        statement: Duration::from_millis(statement),
        lock: Duration::from_millis(200),
        grace: Duration::from_millis(grace),
        ..SessionLimits::default()
    };
    Session::open(&settings(url).with_limits(limits), "willcall test").unwrap()
}

/// A new database with a table `t` of numbers, each once, and its URL.
pub(super) fn database() -> String {
    let url = PostgresServer::shared().create_database();
    make_table(&open(&url));
    url
}

pub(super) fn make_table(session: &Session) {
    session.begin(TransactionMode::ReadWrite).unwrap();
    session
        .batch("CREATE TABLE t (n bigint PRIMARY KEY)")
        .unwrap();
    assert_eq!(session.commit().unwrap(), Committed::Durable);
}

pub(super) const INSERT: &str = "INSERT INTO t VALUES ($1)";

/// The numbers that are stored, as everybody sees them.
pub(super) fn stored(url: &str) -> Vec<i64> {
    let rows = open(url).query("SELECT n FROM t ORDER BY n", &[]).unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

pub(super) fn fault<T: std::fmt::Debug>(answer: Result<T, SessionError>) -> SqlFault {
    match answer {
        Err(SessionError::Refused(refused)) => refused.fault,
        answer => panic!("it is not refused: {answer:?}"),
    }
}

/// Why the only host of a URL cannot be used, and the whole sentence.
pub(super) fn why_not(settings: &DatabaseSettings) -> (HostFault, String) {
    let Err(error) = Session::open(settings, "willcall test") else {
        panic!("it can be used");
    };
    let sentence = error.to_string();
    let OpenError::NoHost(mut failures) = error else {
        panic!("{sentence}");
    };
    assert_eq!(failures.len(), 1);
    (failures.remove(0).fault, sentence)
}

/// Runs work on a thread of its own.
pub(super) fn spawn<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> std::thread::JoinHandle<T> {
    std::thread::Builder::new().spawn(work).unwrap()
}
