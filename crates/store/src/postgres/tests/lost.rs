//! Connections that break, servers that do not answer, and commits of which nobody knows.

use std::process::Command;
use std::time::Duration;

use super::proxy::{Cut, Proxy};
use super::support::{INSERT, database, make_table, open, open_with_limits, settings, stored};
use crate::postgres::postgres_server::{PostgresServer, SUPERUSER, run};
use crate::postgres::session::{Committed, Session, TransactionMode};
use crate::postgres::session_error::{Loss, SessionError, SqlFault};

#[test]
fn nothing_was_written_if_the_connection_broke_before_a_commit() {
    let url = database();
    for cut in [Cut::Before, Cut::Answer] {
        let proxy = Proxy::new(&url);
        let session = open(&proxy.url);
        session.begin(TransactionMode::ReadWrite).unwrap();
        session.execute(INSERT, &[&1_i64]).unwrap();
        proxy.cut("cut here", cut);
        let lost = session.batch("SELECT 'cut here'");
        assert!(matches!(lost, Err(SessionError::Lost(_))), "{lost:?}");
        assert!(session.is_broken());
        // Nobody gets further with it, and nobody is told that something is there.
        let again = session.execute(INSERT, &[&1_i64]);
        assert!(matches!(again, Err(SessionError::Lost(_))), "{again:?}");
        assert!(session.rollback().is_ok());
        assert!(stored(&url).is_empty());
    }
}

#[test]
fn it_is_unknown_what_was_written_if_the_connection_broke_within_a_commit() {
    for (cut, expected) in [(Cut::Before, vec![]), (Cut::Answer, vec![1, 2])] {
        let url = database();
        let proxy = Proxy::new(&url);
        let session = open(&proxy.url);
        session.begin(TransactionMode::ReadWrite).unwrap();
        session.execute(INSERT, &[&1_i64]).unwrap();
        proxy.cut("COMMIT", cut);
        let unknown = session.commit_with(&[(INSERT, &[&2_i64])]);
        assert!(
            matches!(unknown, Err(SessionError::Unknown(_))),
            "{unknown:?}"
        );
        assert!(session.is_broken());
        assert_eq!(stored(&url), expected);

        let session = open(&proxy.url);
        proxy.cut("COMMIT", cut);
        let unknown = session.execute(INSERT, &[&3_i64]);
        assert!(
            matches!(unknown, Err(SessionError::Unknown(_))),
            "{unknown:?}"
        );
        assert_eq!(stored(&url).contains(&3), cut == Cut::Answer);
    }
}

#[test]
fn a_session_that_broke_while_idle_has_written_nothing() {
    let url = database();
    let proxy = Proxy::new(&url);
    let session = open(&proxy.url);
    session.execute(INSERT, &[&1_i64]).unwrap();
    end(&session);
    proxy.wait_for_end();
    let lost = session.transaction(&[(INSERT, &[&2_i64])]);
    let Err(error @ SessionError::Lost(_)) = lost else {
        panic!("{lost:?}");
    };
    assert_eq!(error.fault(), Some(SqlFault::Shutdown), "{error}");
    assert!(session.is_broken());

    // The same without a goodbye.
    let session = open(&proxy.url);
    session.execute(INSERT, &[&3_i64]).unwrap();
    proxy.cut_now();
    let lost = session.execute(INSERT, &[&4_i64]);
    assert!(matches!(lost, Err(SessionError::Lost(_))), "{lost:?}");
    assert_eq!(stored(&url), [1, 3]);
}

#[test]
fn a_goodbye_before_the_commit_says_that_nothing_was_written() {
    let url = database();
    let session = open(&url);
    session.begin(TransactionMode::ReadWrite).unwrap();
    session.execute(INSERT, &[&1_i64]).unwrap();
    let end = "SELECT pg_terminate_backend(pg_backend_pid())";
    let lost = session.commit_with(&[(end, &[]), (INSERT, &[&2_i64])]);
    let Err(error @ SessionError::Lost(_)) = lost else {
        panic!("{lost:?}");
    };
    assert_eq!(error.fault(), Some(SqlFault::Shutdown), "{error}");
    assert!(stored(&url).is_empty());
}

#[test]
fn whoever_is_ended_by_the_server_is_told_why() {
    let url = database();
    let session = open(&url);
    session.begin(TransactionMode::ReadWrite).unwrap();
    session.execute(INSERT, &[&1_i64]).unwrap();
    let suicide = session.query("SELECT pg_terminate_backend(pg_backend_pid())", &[]);
    let Err(error @ SessionError::Lost(Loss::Ended(_))) = suicide else {
        panic!("{suicide:?}");
    };
    assert_eq!(error.fault(), Some(SqlFault::Shutdown), "{error}");
    assert!(session.is_broken());
    assert!(stored(&url).is_empty());
}

#[test]
fn the_server_ends_a_statement_that_takes_too_long() {
    let session = open_with_limits(&database(), 100, 60_000);
    let slow = session.query("SELECT pg_sleep(60)", &[]);
    let Err(SessionError::Refused(refused)) = slow else {
        panic!("{slow:?}");
    };
    assert_eq!(refused.fault, SqlFault::Cancelled);
    assert!(!session.is_broken());
    session.limit_statements(Duration::from_secs(60)).unwrap();
    assert!(session.query("SELECT pg_sleep(0.2)", &[]).is_ok());
}

#[test]
fn the_client_ends_what_the_server_does_not_and_gives_up() {
    let url = database();
    let session = open_with_limits(&url, 100, 200);
    session.batch("SET statement_timeout = 0").unwrap();
    let backend = session.facts().backend;
    let slow = session.query("SELECT pg_sleep(60)", &[]);
    assert!(matches!(slow, Err(SessionError::TimedOut(_))), "{slow:?}");
    assert!(session.is_broken());
    wait_for_end(&url, backend);
}

#[test]
fn a_server_that_is_frozen_is_given_up_and_rolls_back_once_it_goes_on() {
    let url = database();
    let session = open_with_limits(&url, 100, 200);
    session.begin(TransactionMode::ReadWrite).unwrap();
    session.execute(INSERT, &[&1_i64]).unwrap();
    let backend = session.facts().backend;
    signal("STOP", backend);
    let silent = session.execute(INSERT, &[&2_i64]);
    assert!(
        matches!(silent, Err(SessionError::TimedOut(_))),
        "{silent:?}"
    );
    assert!(session.is_broken());
    signal("CONT", backend);
    wait_for_end(&url, backend);
    assert!(stored(&url).is_empty());
}

#[test]
fn a_commit_that_does_not_end_is_unknown() {
    let url = database();
    let session = open_with_limits(&url, 100, 200);
    session.begin(TransactionMode::ReadWrite).unwrap();
    session.execute(INSERT, &[&1_i64]).unwrap();
    let backend = session.facts().backend;
    signal("STOP", backend);
    let unknown = session.commit();
    let Err(SessionError::Unknown(Loss::TimedOut(_))) = unknown else {
        panic!("{unknown:?}");
    };
    signal("CONT", backend);
    wait_for_end(&url, backend);
    // It was heard, after all.
    assert_eq!(stored(&url), [1]);
}

#[test]
fn a_transaction_in_which_nothing_happens_is_ended_by_the_server() {
    let url = database();
    let mut settings = settings(&url);
    settings.limits.idle_in_transaction = Duration::from_millis(100);
    let session = Session::open(&settings, "willcall test").unwrap();
    session.begin(TransactionMode::ReadWrite).unwrap();
    session.execute(INSERT, &[&1_i64]).unwrap();
    wait_for_end(&url, session.facts().backend);
    let lost = session.execute(INSERT, &[&2_i64]);
    assert!(matches!(lost, Err(SessionError::Lost(_))), "{lost:?}");
    assert!(stored(&url).is_empty());
}

#[test]
fn a_session_that_is_dropped_leaves_no_transaction_and_no_locks() {
    let url = database();
    let session = open(&url);
    session.begin(TransactionMode::ReadWrite).unwrap();
    session.batch("LOCK TABLE t").unwrap();
    session.execute(INSERT, &[&1_i64]).unwrap();
    drop(session);
    open(&url).execute(INSERT, &[&1_i64]).unwrap();
    assert_eq!(stored(&url), [1]);
}

/// The server answers with success, and only warns. No limit of the server ends such a wait, only
/// somebody's request does.
#[test]
fn a_commit_whose_standby_was_not_waited_for_is_told_apart() {
    let server = PostgresServer::start(&[("fsync", "off")]);
    let url = server.create_database();
    make_table(&open(&url));
    server.run_sql(
        SUPERUSER,
        "ALTER SYSTEM SET synchronous_standby_names = 'absent'",
    );
    server.run_sql(SUPERUSER, "SELECT pg_reload_conf()");
    let session = open(&url);
    let shown = || {
        session
            .query("SHOW synchronous_standby_names", &[])
            .unwrap()
    };
    while shown()[0].get::<_, &str>(0) != "absent" {}

    session.begin(TransactionMode::ReadWrite).unwrap();
    session.execute(INSERT, &[&1_i64]).unwrap();
    let committed = while_it_waits((&url, &session), "pg_cancel_backend", Session::commit);
    assert_eq!(committed.unwrap(), Committed::NotReplicated);
    let inserts = |session: &Session| session.transaction(&[(INSERT, &[&2_i64])]);
    let (answers, committed) =
        while_it_waits((&url, &session), "pg_cancel_backend", inserts).unwrap();
    assert_eq!((answers[0].count, committed), (1, Committed::NotReplicated));
    let inserts = |session: &Session| session.execute(INSERT, &[&3_i64]);
    let unknown = while_it_waits((&url, &session), "pg_cancel_backend", inserts);
    let Err(SessionError::Unknown(Loss::NotReplicated)) = unknown else {
        panic!("{unknown:?}");
    };
    assert!(!session.is_broken());

    // If it stops within the wait it says so in a warning, and no more.
    let inserts = |session: &Session| session.execute(INSERT, &[&4_i64]);
    let unknown = while_it_waits((&url, &session), "pg_terminate_backend", inserts);
    assert!(
        matches!(unknown, Err(SessionError::Unknown(_))),
        "{unknown:?}"
    );
    assert!(session.is_broken());
    assert_eq!(stored(&url), [1, 2, 3, 4]);

    // And if nobody ends it the client gives up, and leaves the server waiting: what is not on
    // the standby stays unseen.
    let session = open_with_limits(&url, 100, 100);
    let unknown = session.execute(INSERT, &[&5_i64]);
    let Err(SessionError::Unknown(Loss::TimedOut(_))) = unknown else {
        panic!("{unknown:?}");
    };
    assert_eq!(stored(&url), [1, 2, 3, 4]);
}

/// Does something on the session that waits for a standby, and then calls a function of the server
/// for its backend.
fn while_it_waits<T: Send>(
    (url, session): (&str, &Session),
    function: &str,
    work: impl FnOnce(&Session) -> T,
) -> T {
    let backend = session.facts().backend;
    let other = open(url);
    std::thread::scope(|threads| {
        threads.spawn(move || {
            let waits = "SELECT 1 FROM pg_stat_activity WHERE pid = $1 AND wait_event = 'SyncRep'";
            while other.query(waits, &[&backend]).unwrap().is_empty() {}
            other
                .query(&format!("SELECT {function}($1)"), &[&backend])
                .unwrap();
        });
        work(session)
    })
}

/// Has the server end the session from outside.
fn end(session: &Session) {
    let backend = session.facts().backend;
    let server = PostgresServer::shared();
    server.run_sql(
        SUPERUSER,
        &format!("SELECT pg_terminate_backend({backend}, 60000)"),
    );
}

fn signal(name: &str, backend: i32) {
    let mut kill = Command::new("kill");
    kill.args([&format!("-{name}"), &backend.to_string()]);
    run(kill);
}

fn wait_for_end(url: &str, backend: i32) {
    let session = open(url);
    let lives = "SELECT 1 FROM pg_stat_activity WHERE pid = $1";
    while !session.query(lives, &[&backend]).unwrap().is_empty() {}
}
