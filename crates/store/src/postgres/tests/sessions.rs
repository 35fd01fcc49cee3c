//! Statements, transactions and pipelines on one session.

use std::time::Duration;

use super::proxy::Proxy;
use super::support::{
    INSERT, database, fault, make_table, open, open_with_limits, settings, stored,
};
use crate::postgres::pipeline::Params;
use crate::postgres::postgres_server::{PostgresServer, run};
use crate::postgres::session::{COMMIT, Committed, Session, TransactionMode};
use crate::postgres::session_error::{SessionError, SqlFault};
use crate::postgres::settings::SessionLimits;

#[test]
fn statements_are_prepared_once_and_answered() {
    let session = open(&database());
    for n in [1_i64, 2, 3] {
        assert_eq!(session.execute(INSERT, &[&n]).unwrap(), 1);
    }
    let rows = session.query("SELECT n FROM t WHERE n > $1", &[&1_i64]);
    assert_eq!(rows.unwrap().len(), 2);
    let prepared = "SELECT count(*) FROM pg_prepared_statements";
    let rows = session.query(prepared, &[]).unwrap();
    assert_eq!(rows[0].get::<_, i64>(0), 3);
}

#[test]
fn what_is_committed_is_seen_by_others_and_what_is_rolled_back_is_not() {
    let url = database();
    let session = open(&url);
    session.begin(TransactionMode::ReadWrite).unwrap();
    assert_eq!(session.execute(INSERT, &[&1_i64]).unwrap(), 1);
    assert!(stored(&url).is_empty());
    assert_eq!(session.commit().unwrap(), Committed::Durable);
    session.begin(TransactionMode::ReadWrite).unwrap();
    assert_eq!(session.execute(INSERT, &[&2_i64]).unwrap(), 1);
    session.rollback().unwrap();
    assert_eq!(stored(&url), [1]);
}

#[test]
fn a_reading_transaction_sees_one_moment_and_changes_nothing() {
    let url = database();
    let session = open(&url);
    session.begin(TransactionMode::ReadOnly).unwrap();
    let count = || session.query("SELECT n FROM t", &[]).unwrap().len();
    assert_eq!(count(), 0);
    open(&url).execute(INSERT, &[&1_i64]).unwrap();
    assert_eq!(count(), 0);
    assert_eq!(
        fault(session.execute(INSERT, &[&2_i64])),
        SqlFault::ReadOnly
    );
    session.rollback().unwrap();
    assert_eq!(stored(&url), [1]);
}

#[test]
fn nothing_is_changed_outside_of_a_transaction() {
    let url = database();
    let session = open(&url);
    let insert = "INSERT INTO t VALUES (1) RETURNING n";
    assert_eq!(fault(session.query(insert, &[])), SqlFault::ReadOnly);
    assert_eq!(fault(session.batch(insert)), SqlFault::ReadOnly);
    assert_eq!(
        fault(session.pipeline(&[(insert, &[])])),
        SqlFault::ReadOnly
    );
    assert!(stored(&url).is_empty());
    assert!(!session.is_broken());
}

#[test]
fn a_transaction_in_which_a_statement_was_refused_is_not_committed() {
    let url = database();
    let session = open(&url);
    session.begin(TransactionMode::ReadWrite).unwrap();
    assert_eq!(session.execute(INSERT, &[&1_i64]).unwrap(), 1);
    assert_eq!(fault(session.execute(INSERT, &[&1_i64])), SqlFault::Unique);
    assert_eq!(
        fault(session.execute(INSERT, &[&2_i64])),
        SqlFault::FailedTransaction
    );
    assert_eq!(fault(session.commit()), SqlFault::FailedTransaction);
    assert!(stored(&url).is_empty());
    // It was rolled back, and the session is as good as before.
    assert_eq!(session.execute(INSERT, &[&3_i64]).unwrap(), 1);
    assert_eq!(stored(&url), [3]);
}

/// The server answers a bare `COMMIT` with success then.
#[test]
fn a_transaction_that_failed_without_our_notice_is_not_committed() {
    let url = database();
    let session = open(&url);
    session.begin(TransactionMode::ReadWrite).unwrap();
    session.execute(INSERT, &[&1_i64]).unwrap();
    assert_eq!(fault(session.batch("SELECT 1 / 0")), SqlFault::Other);
    assert_eq!(fault(session.batch(COMMIT)), SqlFault::FailedTransaction);
    session.batch("COMMIT").unwrap();
    assert!(stored(&url).is_empty());
}

#[test]
fn a_pipeline_answers_in_order() {
    let session = open(&database());
    let answers = session.pipeline(&[
        ("SELECT $1::int", &[&1_i32]),
        ("SELECT generate_series(1, $1::int)", &[&5_i32]),
        ("SELECT $1::text", &[&"x"]),
    ]);
    let answers = answers.unwrap();
    assert_eq!(answers[0].rows[0].get::<_, i32>(0), 1);
    assert_eq!(answers[1].count, 5);
    assert_eq!(answers[2].rows[0].get::<_, &str>(0), "x");
}

#[test]
fn a_whole_transaction_takes_one_round_trip() {
    let url = database();
    let proxy = Proxy::new(&url);
    let session = open(&proxy.url);
    let insert = |n: i64| session.transaction(&[(INSERT, &[&n]), ("SELECT n FROM t", &[])]);
    // Statements are prepared the first time.
    assert!(insert(1).is_ok());
    let before = proxy.round_trips();
    let (answers, committed) = insert(2).unwrap();
    assert_eq!(proxy.round_trips() - before, 1);
    assert_eq!(committed, Committed::Durable);
    assert_eq!((answers[0].count, answers[1].rows.len()), (1, 2));
    assert_eq!(stored(&url), [1, 2]);
}

#[test]
fn a_transaction_begins_and_ends_with_statements_in_two_round_trips() {
    let url = database();
    let proxy = Proxy::new(&url);
    let session = open(&proxy.url);
    let change = |n: i64| {
        let read = session.begin_with(TransactionMode::ReadWrite, &[("SELECT n FROM t", &[])]);
        let count = read.unwrap()[0].count;
        let (answers, committed) = session.commit_with(&[(INSERT, &[&n])]).unwrap();
        assert_eq!((answers[0].count, committed), (1, Committed::Durable));
        count
    };
    assert_eq!(change(1), 0);
    let before = proxy.round_trips();
    assert_eq!(change(2), 1);
    assert_eq!(proxy.round_trips() - before, 2);
}

#[test]
fn of_a_pipelined_transaction_all_or_nothing_is_stored() {
    let url = database();
    let session = open(&url);
    let both = session.transaction(&[(INSERT, &[&1_i64]), (INSERT, &[&1_i64])]);
    assert_eq!(fault(both), SqlFault::Unique);
    assert!(stored(&url).is_empty());
    session.begin(TransactionMode::ReadWrite).unwrap();
    let ended = session.commit_with(&[(INSERT, &[&2_i64]), (INSERT, &[&2_i64])]);
    assert_eq!(fault(ended), SqlFault::Unique);
    assert!(stored(&url).is_empty());
    // A statement that cannot even be prepared.
    session.begin(TransactionMode::ReadWrite).unwrap();
    let ended = session.commit_with(&[(INSERT, &[&3_i64]), ("SELECT nothing", &[])]);
    assert_eq!(fault(ended), SqlFault::Missing);
    session.execute(INSERT, &[&4_i64]).unwrap();
    assert_eq!(stored(&url), [4]);
}

/// Else each statement behind it would be a transaction of its own.
#[test]
fn statements_behind_a_begin_that_was_refused_change_nothing() {
    let url = database();
    let proxy = Proxy::new(&url);
    let session = open(&proxy.url);
    session.execute(INSERT, &[&1_i64]).unwrap();
    proxy.replace("BEGIN ISOLATION", "BEGUN ISOLATION");
    let refused = session.transaction(&[(INSERT, &[&2_i64]), (INSERT, &[&3_i64])]);
    assert_eq!(fault(refused), SqlFault::Other);
    session.execute(INSERT, &[&4_i64]).unwrap();
    assert_eq!(stored(&url), [1, 4]);
}

#[test]
fn a_refused_statement_is_undone_to_its_savepoint() {
    let url = database();
    let session = open(&url);
    session.begin(TransactionMode::ReadWrite).unwrap();
    session.savepoint().unwrap();
    session.execute(INSERT, &[&1_i64]).unwrap();
    session.savepoint().unwrap();
    session.execute(INSERT, &[&2_i64]).unwrap();
    assert_eq!(fault(session.execute(INSERT, &[&1_i64])), SqlFault::Unique);
    session.rollback_to_savepoint().unwrap();
    session.execute(INSERT, &[&3_i64]).unwrap();
    session.release_savepoint().unwrap();
    session.savepoint().unwrap();
    session.execute(INSERT, &[&4_i64]).unwrap();
    session.rollback_to_savepoint().unwrap();
    assert_eq!(session.commit().unwrap(), Committed::Durable);
    assert_eq!(stored(&url), [1, 3]);
}

#[test]
fn what_cannot_be_in_a_transaction_stands_alone() {
    let session = open(&database());
    let index = "CREATE INDEX CONCURRENTLY t_n ON t (n)";
    assert_eq!(fault(session.batch(index)), SqlFault::ReadOnly);
    session.execute_alone(index).unwrap();
    assert_eq!(fault(session.execute_alone(index)), SqlFault::Other);
    // The guard is back.
    assert_eq!(
        fault(session.batch("INSERT INTO t VALUES (1)")),
        SqlFault::ReadOnly
    );
}

#[test]
fn a_deferred_constraint_is_refused_at_the_commit() {
    let url = database();
    let session = open(&url);
    session.begin(TransactionMode::ReadWrite).unwrap();
    let made = "CREATE TABLE d (n bigint UNIQUE DEFERRABLE INITIALLY DEFERRED)";
    session.batch(made).unwrap();
    assert_eq!(session.commit().unwrap(), Committed::Durable);
    session.begin(TransactionMode::ReadWrite).unwrap();
    session.batch("INSERT INTO d VALUES (1), (1)").unwrap();
    assert_eq!(fault(session.commit()), SqlFault::Unique);
    assert!(session.query("SELECT n FROM d", &[]).unwrap().is_empty());
}

#[test]
fn what_the_server_refuses_is_told_apart_by_its_code() {
    let session = open(&database());
    for (code, expected) in [
        ("23505", SqlFault::Unique),
        ("23503", SqlFault::Constraint),
        ("40001", SqlFault::Conflict),
        ("40P01", SqlFault::Conflict),
        ("55P03", SqlFault::LockTimeout),
        ("57014", SqlFault::Cancelled),
        ("25006", SqlFault::ReadOnly),
        ("53100", SqlFault::DiskFull),
        ("53200", SqlFault::OutOfMemory),
        ("53300", SqlFault::TooManyConnections),
        ("57P03", SqlFault::Shutdown),
        ("42501", SqlFault::Forbidden),
        ("42P01", SqlFault::Missing),
        ("XX001", SqlFault::Damaged),
        ("22012", SqlFault::Other),
    ] {
        let raised = format!("DO $$ BEGIN RAISE 'as if' USING ERRCODE = '{code}'; END $$");
        assert_eq!(fault(session.batch(&raised)), expected, "{code}");
        assert!(!session.is_broken());
    }
}

#[test]
fn a_refusal_names_table_and_constraint_and_no_values() {
    let session = open(&database());
    session.execute(INSERT, &[&12_345_i64]).unwrap();
    let error = session.execute(INSERT, &[&12_345_i64]).unwrap_err();
    let SessionError::Refused(refused) = &error else {
        panic!("{error}");
    };
    assert_eq!(refused.table.as_deref(), Some("t"));
    assert_eq!(refused.constraint.as_deref(), Some("t_pkey"));
    assert!(!format!("{error} {error:?}").contains("12345"));
}

#[test]
fn whoever_waits_for_a_lock_too_long_is_refused() {
    let url = database();
    let holder = open(&url);
    holder.execute(INSERT, &[&1_i64]).unwrap();
    holder.begin(TransactionMode::ReadWrite).unwrap();
    let lock = "SELECT n FROM t FOR UPDATE";
    holder.query(lock, &[]).unwrap();
    let session = open_with_limits(&url, 5_000, 5_000);
    session.begin(TransactionMode::ReadWrite).unwrap();
    assert_eq!(fault(session.query(lock, &[])), SqlFault::LockTimeout);
    session.rollback().unwrap();
    holder.rollback().unwrap();
    session.begin(TransactionMode::ReadWrite).unwrap();
    assert_eq!(session.query(lock, &[]).unwrap().len(), 1);
}

#[test]
fn a_cached_statement_that_no_longer_fits_breaks_the_session() {
    let url = database();
    let session = open(&url);
    session.query("SELECT * FROM t", &[]).unwrap();
    let other = open(&url);
    other.begin(TransactionMode::ReadWrite).unwrap();
    other.batch("ALTER TABLE t ADD COLUMN more int").unwrap();
    assert_eq!(other.commit().unwrap(), Committed::Durable);
    assert_eq!(
        fault(session.query("SELECT * FROM t", &[])),
        SqlFault::StalePlan
    );
    assert!(session.is_broken());
    assert_eq!(open(&url).query("SELECT * FROM t", &[]).unwrap().len(), 0);
}

#[test]
fn a_plan_that_was_made_while_a_table_was_empty_does_not_stay() {
    const LOOK: &str = "SELECT name FROM wide WHERE tenant = $1 AND id = $2";
    let url = PostgresServer::shared().create_database();
    let limits = SessionLimits {
        plans: Duration::ZERO,
        ..SessionLimits::default()
    };
    let renewed = Session::open(&settings(&url).with_limits(limits), "willcall test").unwrap();
    let kept = open(&url);
    renewed.begin(TransactionMode::ReadWrite).unwrap();
    renewed
        .batch(
            "CREATE TABLE wide (tenant bigint, id bigint, name bigint, PRIMARY KEY (tenant, id),
               UNIQUE (tenant, name));
             ALTER TABLE wide SET (autovacuum_enabled = off);
             ANALYZE wide",
        )
        .unwrap();
    assert_eq!(renewed.commit().unwrap(), Committed::Durable);
    let values: Params<'_> = &[&1_i64, &2_i64];
    let plan = |session: &Session| {
        session.begin(TransactionMode::ReadOnly).unwrap();
        let found = session.query(LOOK, values).unwrap();
        let name = "SELECT name FROM pg_prepared_statements WHERE statement = $1";
        let name: String = session.query(name, &[&LOOK]).unwrap()[0].get(0);
        let explain = format!("EXPLAIN (COSTS OFF) EXECUTE {name} (1, 2)");
        let plan = session.query(&explain, &[]).unwrap();
        assert_eq!(session.commit().unwrap(), Committed::Durable);
        let plan: Vec<String> = plan.iter().map(|row| row.get(0)).collect();
        (found.len(), plan.join("\n"))
    };
    let (_, while_empty) = plan(&kept);
    let by_tenant = "Index Cond: (tenant = $1)\n";
    assert!(while_empty.contains(by_tenant), "{while_empty}");
    assert_eq!(plan(&renewed).1, while_empty);

    renewed.begin(TransactionMode::ReadWrite).unwrap();
    renewed
        .batch("INSERT INTO wide SELECT 1, n, n FROM generate_series(1, 9999) n")
        .unwrap();
    assert_eq!(renewed.commit().unwrap(), Committed::Durable);
    assert_eq!(plan(&kept), (1, while_empty), "the server keeps it");
    let (found, anew) = plan(&renewed);
    assert_eq!(found, 1);
    let by_key = "Index Cond: ((tenant = $1) AND (id = $2))";
    assert!(anew.contains(by_key), "{anew}");
}

#[test]
fn a_server_that_becomes_read_only_is_obeyed_by_sessions_that_are_open() {
    let server = PostgresServer::start(&[("fsync", "off")]);
    let url = server.create_database();
    let limits = SessionLimits {
        read_only_check: Duration::ZERO,
        ..SessionLimits::default()
    };
    let session = Session::open(&settings(&url).with_limits(limits), "willcall test").unwrap();
    make_table(&session);
    session.execute(INSERT, &[&1_i64]).unwrap();
    let reload = |value: &str| {
        server.configure(&[("default_transaction_read_only", value)]);
        let mut reloaded = server.program("pg_ctl");
        reloaded.args(["reload", "-s", "-D"]).arg(server.data());
        run(reloaded);
        // Backends hear of it between two statements.
        let shown =
            "SELECT reset_val FROM pg_settings WHERE name = 'default_transaction_read_only'";
        while session.query(shown, &[]).unwrap()[0].get::<_, &str>(0) != value {}
    };
    reload("on");
    assert_eq!(
        fault(session.execute(INSERT, &[&2_i64])),
        SqlFault::ReadOnly
    );
    assert!(!session.is_broken());
    reload("off");
    session.execute(INSERT, &[&3_i64]).unwrap();
    assert_eq!(stored(&url), [1, 3]);
}
