//! The schema: what every table promises, and what marks a file as ours.

use rusqlite::Connection;
use tempfile::TempDir;

use crate::sqlite::harness::Given;

fn store() -> (TempDir, Given, Connection) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("willcall.db");
    let given = Given::on(store::open_inline_at(&path).unwrap());
    let conn = Connection::open(&path).unwrap();
    (folder, given, conn)
}

fn column(conn: &Connection, sql: &str) -> Vec<String> {
    let mut statement = conn.prepare(sql).unwrap();
    let found = statement.query_map([], |row| row.get(0)).unwrap();
    found.map(Result::unwrap).collect()
}

#[test]
fn every_table_is_strict() {
    let (_folder, _given, conn) = store();
    let lax = "select name from pragma_table_list
        where type = 'table' and schema = 'main' and strict = 0 and name not like 'sqlite%'";
    assert_eq!(column(&conn, lax), [""; 0]);
    let all = "select name from sqlite_schema
        where type = 'table' and name not like 'sqlite%' order by name";
    let tables = [
        "alert_told",
        "attempt",
        "audience",
        "audit",
        "clock",
        "clock_fall",
        "counted",
        "delivery",
        "envelope",
        "errand",
        "event",
        "failure",
        "fresh",
        "incident",
        "kept_answer",
        "link",
        "listing",
        "member",
        "moved",
        "notification",
        "own_header",
        "portal",
        "session",
        "signature",
        "standing",
        "statistic",
        "tally",
        "tenant",
        "token",
        "user",
        "watch_round",
        "webhook",
        "webhook_past",
        "webhook_tls",
        "wide",
        "wish",
    ];
    assert_eq!(column(&conn, all), tables);
}

#[test]
fn a_file_says_that_it_is_ours_and_durable() {
    let (_folder, _given, conn) = store();
    let pragma = |name: &str| {
        conn.pragma_query_value(None, name, |row| row.get::<_, i64>(0))
            .unwrap()
    };
    assert_eq!(
        pragma("user_version"),
        i64::from(store::probe::SCHEMA_VERSION)
    );
    assert_eq!(pragma("application_id").to_be_bytes()[4..], *b"Will");
    let mode: String = conn
        .pragma_query_value(None, "journal_mode", |row| row.get(0))
        .unwrap();
    assert_eq!(mode, "wal");
}

#[test]
fn the_share_of_a_webhook_follows_from_its_id() {
    let (_folder, given, conn) = store();
    given.paid_webhook();
    assert_eq!(
        column(&conn, "select cast(slot as text) from webhook"),
        ["1"]
    );
}

#[test]
fn only_wishes_of_enabled_webhooks_are_indexed() {
    let (_folder, given, conn) = store();
    let one = given.webhook(&[("paid", None), ("paid", Some("")), ("placed", Some("a"))]);
    given.webhook(&[("paid", Some("b"))]);
    let wishes = "select topic || ' ' || scope || ' ' || webhook_id from wish order by 1";
    let all = ["paid  1", "paid = 1", "paid =b 2", "placed =a 1"];
    assert_eq!(column(&conn, wishes), all);
    given.disable(one.id, 1);
    assert_eq!(column(&conn, wishes), ["paid =b 2"]);
    given.enable(one.id, 2);
    assert_eq!(column(&conn, wishes), all);
}

#[test]
fn no_statement_asks_the_database_for_time_or_chance() {
    let migrations = [
        include_str!("../../migrations/sqlite/0001_init.sql"),
        include_str!("../../migrations/sqlite/0002_wide.sql"),
    ];
    for sql in store::probe::statements().into_iter().chain(migrations) {
        let sql = sql.to_lowercase();
        for word in ["now(", "'now'", "random", "current_t", "current_date"] {
            assert!(!sql.contains(word), "{word} in {sql}");
        }
    }
}
