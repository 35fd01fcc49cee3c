//! What an inspection finds on a real server. A question that is refused would find nothing.

use std::time::Duration;

use model::time::{Clock, Timestamp};

use super::guarded::Guarded;
use super::support::{open, settings};
use crate::postgres::inspect::questions::FACTS;
use crate::postgres::inspect::{
    CertificateCheck, ConnectionCount, DatabaseInspection, Encryption, TableFaults, inspect,
};
use crate::postgres::migrate::migrate;
use crate::postgres::postgres_server::{PostgresServer, SUPERUSER, USER};
use crate::postgres::session::{Session, TransactionMode};

/// The time of the server on this machine.
fn server_time(server: &PostgresServer) -> Timestamp {
    let sql = "SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint";
    Timestamp::from_millis(server.run_sql(SUPERUSER, sql).parse().unwrap())
}

/// A clock that stands still.
fn clock(at: Timestamp) -> Clock {
    Clock::new(move || at)
}

fn inspected(url: &str) -> DatabaseInspection {
    let clock = clock(server_time(PostgresServer::shared()));
    inspect(&settings(url), &clock, Duration::ZERO).unwrap()
}

fn name_of(url: &str) -> &str {
    url.rsplit('/').next().unwrap().split('?').next().unwrap()
}

#[test]
fn an_empty_database_is_described_and_stays_empty() {
    let url = PostgresServer::shared().create_database();
    for _ in 0..2 {
        let found = inspected(&url);
        let versions = found.versions.unwrap();
        assert_eq!(versions.before, 0);
        assert!(versions.after > 0);
        assert!(found.version.starts_with(|c: char| c.is_ascii_digit()));
        assert_eq!(
            (found.user.as_str(), found.schema.as_str()),
            (USER, "public")
        );
        assert_eq!(found.encryption, Encryption::Local);
        assert_eq!(found.contents, None);
        // The shared server does without.
        assert!(!found.durability.fsync && !found.durability.full_page_writes);
        assert_eq!(found.durability.synchronous_commit, "on");
        assert!(found.vacuum.autovacuum);
        assert!(found.vacuum.oldest_row_age > 0);
        assert_eq!(found.connections.most, 297);
        assert_eq!(found.connections.own, 0);
    }
}

#[test]
fn a_store_is_counted_and_all_its_tables_can_be_used() {
    let url = PostgresServer::shared().create_database();
    migrate(&open(&url)).unwrap();
    let found = inspected(&url);
    let versions = found.versions.unwrap();
    assert_eq!(versions.before, versions.after);
    assert_eq!(found.tables, TableFaults::default());
    let contents = found.contents.unwrap();
    assert_eq!(
        (contents.tenants, contents.webhooks, contents.nodes),
        (0, 0, 0)
    );
    assert!(contents.bytes > 0);
}

#[test]
fn tables_that_are_gone_or_of_somebody_else_are_named() {
    let server = PostgresServer::shared();
    let url = server.create_database();
    migrate(&open(&url)).unwrap();
    let sql = "DROP TABLE audit; REVOKE INSERT ON tenant FROM willcall; \
               ALTER TABLE link OWNER TO postgres; GRANT ALL ON link TO willcall; \
               REVOKE ALL ON SEQUENCE lease_epoch FROM willcall";
    server.run_sql(name_of(&url), sql);
    let found = inspected(&url).tables;
    assert_eq!(found.missing, ["audit"]);
    assert_eq!(found.forbidden, ["lease_epoch", "tenant"]);
    assert_eq!(found.of_others, ["link"]);
}

#[test]
fn how_far_the_clocks_are_apart_is_known() {
    let server = PostgresServer::shared();
    let url = server.create_database();
    let behind = clock(server_time(server).plus_ms(-3_600_000));
    let found = inspect(&settings(&url), &behind, Duration::ZERO).unwrap();
    let more = found.clock_ahead_ms - 3_600_000;
    assert!((0..60_000).contains(&more), "{more}");
    assert_eq!(found.clock_error_ms, 1);
}

#[test]
fn the_tightest_limit_of_connections_counts() {
    let server = PostgresServer::shared();
    let url = server.create_database();
    let name = name_of(&url);
    server.run_sql(
        SUPERUSER,
        &format!("ALTER DATABASE {name} CONNECTION LIMIT 3"),
    );
    let _other = open(&url);
    let ConnectionCount { free, own, .. } = inspected(&url).connections;
    assert_eq!((free, own), (2, 1));
}

#[test]
fn what_keeps_dead_rows_is_named() {
    let server = PostgresServer::start(&[("fsync", "off"), ("max_prepared_transactions", "2")]);
    let url = server.create_database();
    let held = open(&url);
    held.begin(TransactionMode::ReadWrite).unwrap();
    held.query("SELECT txid_current()", &[]).unwrap();
    server.run_sql(
        name_of(&url),
        "BEGIN; CREATE TABLE t (); PREPARE TRANSACTION 'left';",
    );
    server.run_sql(
        SUPERUSER,
        "SELECT pg_create_physical_replication_slot('gone', true)",
    );
    let clock = clock(server_time(&server));
    let found = inspect(&settings(&url), &clock, Duration::ZERO)
        .unwrap()
        .vacuum;
    let words = format!(
        "of user willcall in database {} (willcall test, idle in transaction, for 0 min)",
        name_of(&url)
    );
    let [transaction] = &<[String; 1]>::try_from(found.transactions).unwrap();
    assert!(transaction.ends_with(&words), "{transaction}");
    assert_eq!(found.prepared, ["'left' of user postgres (for 0 min)"]);
    let [slot] = &<[String; 1]>::try_from(found.slots).unwrap();
    assert!(
        slot.starts_with("gone (") && slot.ends_with(" MiB of WAL)"),
        "{slot}"
    );
    assert!(!found.has_hidden);
    let found = inspect(&settings(&url), &clock, Duration::from_secs(300));
    let found = found.unwrap().vacuum;
    assert!(found.transactions.is_empty() && found.prepared.is_empty());
    let _superuser = open(&url.replace(USER, SUPERUSER));
    let found = inspect(&settings(&url), &clock, Duration::ZERO).unwrap();
    assert!(found.vacuum.has_hidden);
}

#[test]
fn what_protects_the_connection_is_said() {
    let guarded = Guarded::shared();
    let session = Session::open(&guarded.settings(USER, "sslmode=require"), "willcall test");
    let facts = session.unwrap().query(FACTS, &[]).unwrap();
    let version: String = facts[0].get("tls");
    assert_eq!(version, "TLSv1.3");
    let encryption = |words: &str, version: &str| {
        let settings = guarded.settings(USER, words);
        Encryption::of(version.to_owned(), &settings.tls, false)
    };
    assert_eq!(encryption("sslmode=prefer", ""), Encryption::Plain);
    for (words, check) in [
        ("sslmode=require", CertificateCheck::None),
        (
            "sslmode=verify-ca&sslrootcert=/a",
            CertificateCheck::Authority,
        ),
        (
            "sslmode=verify-full&sslrootcert=/a",
            CertificateCheck::AuthorityAndName,
        ),
    ] {
        let version = version.clone();
        let expected = Encryption::Tls { version, check };
        assert_eq!(encryption(words, "TLSv1.3"), expected, "{words}");
    }
}
