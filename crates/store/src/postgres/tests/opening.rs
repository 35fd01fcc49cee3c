//! How a session begins, and with which sentence it does not.

use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::guarded::{Guarded, write};
use super::support::{make_table, open, settings, why_not};
use crate::OpenError;
use crate::postgres::host_fault::HostFault;
use crate::postgres::postgres_server::{PostgresServer, SUPERUSER, USER};
use crate::postgres::server::{Said, judge, judge_again};
use crate::postgres::session::{Session, TransactionMode};
use crate::postgres::settings::{DatabaseSettings, SessionLimits};

#[test]
fn a_session_is_set_up_whatever_the_user_has_set() {
    let url = PostgresServer::shared().create_database();
    let database = url.rsplit('/').next().unwrap().split('?').next().unwrap();
    for setting in [
        "jit = on",
        "statement_timeout = '1h'",
        "lock_timeout = '1h'",
        "idle_in_transaction_session_timeout = 0",
        "idle_session_timeout = '1s'",
        "client_min_messages = error",
        "synchronous_commit = off",
        "default_transaction_isolation = serializable",
        "standard_conforming_strings = off",
        "timezone = 'Europe/Amsterdam'",
        "datestyle = 'German'",
        "intervalstyle = 'iso_8601'",
        "search_path = house, public",
    ] {
        let server = PostgresServer::shared();
        server.run_sql(
            SUPERUSER,
            &format!("ALTER DATABASE {database} SET {setting}"),
        );
    }
    let session = Session::open(&settings(&url), "willcall accept").unwrap();
    for (name, expected) in [
        ("jit", "off"),
        ("statement_timeout", "30s"),
        ("lock_timeout", "5s"),
        ("idle_in_transaction_session_timeout", "5s"),
        ("idle_session_timeout", "0"),
        ("client_min_messages", "warning"),
        ("client_encoding", "UTF8"),
        ("synchronous_commit", "on"),
        ("default_transaction_isolation", "read committed"),
        ("default_transaction_read_only", "on"),
        ("standard_conforming_strings", "on"),
        ("TimeZone", "UTC"),
        ("DateStyle", "ISO, YMD"),
        ("IntervalStyle", "postgres"),
        ("tcp_user_timeout", "15000"),
        ("tcp_keepalives_idle", "5"),
        ("client_connection_check_interval", "5s"),
        ("application_name", "willcall accept"),
        // The operator's own.
        ("search_path", "house, public"),
    ] {
        let rows = session
            .query("SELECT current_setting($1)", &[&name])
            .unwrap();
        assert_eq!(rows[0].get::<_, &str>(0), expected, "{name}");
    }
    session.begin(TransactionMode::ReadWrite).unwrap();
    let rows = session.query("SHOW transaction_isolation", &[]).unwrap();
    assert_eq!(rows[0].get::<_, &str>(0), "read committed");
    let facts = session.facts();
    assert_eq!((facts.schema.as_str(), facts.may_create), ("public", true));
    assert!(facts.version >= 150_000 && !facts.is_durable, "{facts:?}");
}

#[test]
fn a_stronger_commit_of_the_operators_is_kept() {
    let url = PostgresServer::shared().create_database();
    let words = "&options=-c%20synchronous_commit%3Dremote_apply&application_name=prod";
    let session = Session::open(&settings(&format!("{url}{words}")), "willcall settle").unwrap();
    let shown = "SELECT current_setting('synchronous_commit'), current_setting('application_name')";
    let rows = session.query(shown, &[]).unwrap();
    assert_eq!(rows[0].get::<_, &str>(0), "remote_apply");
    assert_eq!(rows[0].get::<_, &str>(1), "prod settle");
}

#[test]
fn a_session_over_a_socket_needs_no_network() {
    let server = PostgresServer::shared();
    let url = server.create_database();
    let database = url.rsplit('/').next().unwrap().split('?').next().unwrap();
    let folder = server.folder.display();
    let port = server.port;
    // There is no TLS on sockets, whatever is asked for.
    let words = format!("host={folder}&port={port}&sslmode=require");
    let session = open(&format!("postgres://{USER}@/{database}?{words}"));
    assert_eq!(session.facts().host, format!("{folder}/.s.PGSQL.{port}"));
    let rows = session
        .query("SELECT inet_client_addr() IS NULL", &[])
        .unwrap();
    assert!(rows[0].get::<_, bool>(0));
}

#[test]
fn passwords_come_from_the_url_or_a_file_with_each_way_to_log_in() {
    let guarded = Guarded::shared();
    let folder = tempfile::tempdir().unwrap();
    let port = guarded.server.port;
    for user in ["scram", "md5", "cleartext"] {
        let url = format!("postgres://{user}:right@127.0.0.1:{port}/d?sslmode=disable");
        assert!(
            Session::open(&settings(&url), "willcall test").is_ok(),
            "{user}"
        );
        let url = url.replace(":right", "");
        let file = write(folder.path(), "password", "right\n");
        let given = DatabaseSettings::parse(&url, Some(&file)).unwrap();
        assert!(Session::open(&given, "willcall test").is_ok(), "{user}");
        // It is read anew for each session.
        write(folder.path(), "password", "wrong\n");
        let (fault, sentence) = why_not(&given);
        assert!(matches!(fault, HostFault::Password(_)), "{sentence}");
        assert!(
            sentence.contains(&format!("password for user {user}")),
            "{sentence}"
        );
        assert!(!sentence.contains("wrong"), "{sentence}");
        let line = format!("127.0.0.1:{port}:d:{user}:right\n");
        let passfile = write(folder.path(), "passfile", &line);
        let url = format!("{url}&passfile={}", passfile.display());
        assert!(
            Session::open(&settings(&url), "willcall test").is_ok(),
            "{user}"
        );
        std::fs::set_permissions(&passfile, PermissionsExt::from_mode(0o640)).unwrap();
        let (fault, _) = why_not(&settings(&url));
        assert!(matches!(fault, HostFault::OpenPassfile(_)), "{fault}");
    }
}

#[test]
fn who_is_not_let_in_is_told_what_to_do() {
    let guarded = Guarded::shared();
    let words = "sslmode=disable";
    let file = Path::new("/nowhere/password");
    let url = format!(
        "postgres://scram@127.0.0.1:{}/d?{words}",
        guarded.server.port
    );
    let no_file = DatabaseSettings::parse(&url, Some(file)).unwrap();
    guarded.server.run_sql(SUPERUSER, "CREATE DATABASE closed");
    guarded
        .server
        .run_sql(SUPERUSER, "REVOKE CONNECT ON DATABASE closed FROM PUBLIC");
    guarded
        .server
        .run_sql(SUPERUSER, "CREATE ROLE few LOGIN CONNECTION LIMIT 0");
    let with = |dbname: &str| {
        let mut settings = guarded.settings("willcall", words);
        dbname.clone_into(&mut settings.dbname);
        settings
    };
    for (settings, says) in [
        (
            guarded.settings("scram", words),
            "asks user scram for a password, and there is none",
        ),
        (no_file, "/nowhere/password, cannot be read"),
        (
            guarded.settings("nobody", words),
            "pg_hba.conf does not let us in",
        ),
        (
            guarded.settings("with_tls", words),
            "pg_hba.conf does not let us in",
        ),
        (
            guarded.settings("stranger", words),
            "pg_hba.conf does not let us in",
        ),
        (with("missing"), "has no database missing: create it"),
        (with("closed"), "may not use database closed: grant CONNECT"),
    ] {
        let (_, sentence) = why_not(&settings);
        assert!(sentence.contains(says), "{sentence}");
        let host = format!("the database at 127.0.0.1:{}", guarded.server.port);
        assert!(sentence.starts_with(&host), "{sentence}");
    }
    let shared = PostgresServer::shared();
    let url = shared.create_database();
    shared.run_sql(SUPERUSER, "CREATE ROLE few LOGIN CONNECTION LIMIT 0");
    let (fault, _) = why_not(&settings(&url.replace(USER, "few")));
    assert!(matches!(fault, HostFault::TooManyConnections(_)), "{fault}");
}

#[test]
fn a_database_that_cannot_be_used_is_refused_and_unchanged() {
    let server = PostgresServer::shared();
    let made = "CREATE DATABASE ascii ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0";
    server.run_sql(SUPERUSER, made);
    let (fault, sentence) = why_not(&settings(&server.url("ascii")));
    assert!(matches!(fault, HostFault::Encoding { .. }), "{sentence}");
    assert!(
        sentence.contains("encoding SQL_ASCII: create one"),
        "{sentence}"
    );

    server.run_sql(SUPERUSER, "CREATE DATABASE no_schema");
    server.run_sql("no_schema", "DROP SCHEMA public");
    let (fault, sentence) = why_not(&settings(&server.url("no_schema")));
    assert!(matches!(fault, HostFault::NoSchema(_)), "{sentence}");

    server.run_sql(SUPERUSER, "CREATE DATABASE frozen");
    server.run_sql(
        SUPERUSER,
        "ALTER DATABASE frozen SET default_transaction_read_only = on",
    );
    let (fault, sentence) = why_not(&settings(&server.url("frozen")));
    assert!(matches!(fault, HostFault::ReadOnly), "{sentence}");

    // PostgreSQL 15 lets only the owner of a database create tables in its schema.
    server.run_sql(SUPERUSER, "CREATE DATABASE of_others");
    let session = open(&server.url("of_others"));
    assert!(!session.facts().may_create);
    let refused = session
        .refuse_without_right_to_create()
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("may not create tables in schema public: grant CREATE on it"),
        "{refused}"
    );
    assert!(
        open(&server.create_database())
            .refuse_without_right_to_create()
            .is_ok()
    );
}

#[test]
fn a_server_that_is_too_old_is_refused() {
    let limits = SessionLimits::default();
    let mut said: Said = [
        ("version_number", "140012"),
        ("version", "14.12 (Debian 14.12-1)"),
        ("statement_timeout", "30s"),
        ("lock_timeout", "5s"),
        ("encoding", "UTF8"),
        ("is_standby", "f"),
        ("read_only", "off"),
        ("schema", "public"),
        ("backend", "7"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    let old = judge("h:5432", &said, &limits).unwrap_err().to_string();
    assert!(
        old.contains("PostgreSQL 14.12 (Debian 14.12-1), which is too old"),
        "{old}"
    );
    said.insert("version_number".to_owned(), "150000".to_owned());
    let facts = judge("h:5432", &said, &limits).unwrap();
    // Another backend answers the next question.
    let mut again: Said = [("backend", "7"), ("read_only", "on")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    assert!(judge_again(&facts, &again).is_ok());
    again.insert("backend".to_owned(), "8".to_owned());
    assert!(matches!(
        judge_again(&facts, &again),
        Err(HostFault::Pooler(None))
    ));
    said.insert("lock_timeout".to_owned(), "0".to_owned());
    let dropped = judge("h:5432", &said, &limits);
    assert!(
        matches!(dropped, Err(HostFault::Pooler(None))),
        "{dropped:?}"
    );
}

#[test]
fn a_host_that_is_not_there_is_said_to_be_so() {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = free.local_addr().unwrap().port();
    // It listens, and never answers.
    let url = format!("postgres://u@127.0.0.1:{port}/d?sslmode=disable&connect_timeout=1");
    let (fault, sentence) = why_not(&settings(&url));
    assert!(matches!(fault, HostFault::Silent(_)), "{sentence}");
    drop(free);
    let (fault, sentence) = why_not(&settings(&url));
    assert!(matches!(fault, HostFault::Unreachable(_)), "{sentence}");
    assert!(
        sentence.contains("see that PostgreSQL runs there"),
        "{sentence}"
    );
    let (fault, _) = why_not(&settings("postgres://u@/d?host=/nowhere"));
    assert!(matches!(fault, HostFault::Unreachable(_)), "{fault}");
    // Something else is there.
    let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = other.local_addr().unwrap().port();
    std::thread::scope(|threads| {
        threads.spawn(|| drop(other.accept().unwrap()));
        let url = format!("postgres://u@127.0.0.1:{port}/d?sslmode=disable");
        let (fault, _) = why_not(&settings(&url));
        assert!(matches!(fault, HostFault::Broken(_)), "{fault}");
    });
}

#[test]
fn the_first_host_that_can_be_written_to_is_taken() {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let closed = free.local_addr().unwrap().port();
    drop(free);
    let server = PostgresServer::start(&[("fsync", "off")]);
    let url = server.create_database();
    make_table(&open(&url));
    let standby = standby_of(&server);
    let list = |ports: &[u16]| {
        let hosts: Vec<String> = ports
            .iter()
            .map(|port| format!("127.0.0.1:{port}"))
            .collect();
        let hosts = hosts.join(",");
        settings(&url.replace(&format!("127.0.0.1:{}", server.port), &hosts))
    };
    let all = list(&[closed, standby.port, server.port]);
    let session = Session::open(&all, "willcall test").unwrap();
    assert_eq!(session.facts().host, format!("127.0.0.1:{}", server.port));

    let Err(error @ OpenError::NoHost(_)) =
        Session::open(&list(&[closed, standby.port]), "willcall test")
    else {
        panic!("none can be written to");
    };
    let sentence = error.to_string();
    assert!(
        sentence.contains(&format!("127.0.0.1:{closed}: it cannot be reached")),
        "{sentence}"
    );
    assert!(
        sentence.contains(&format!(
            "127.0.0.1:{}: it is a standby, or read-only",
            standby.port
        )),
        "{sentence}"
    );

    // The primary ends, and its standby takes over.
    server.end("immediate");
    standby.run_sql(SUPERUSER, "SELECT pg_promote(true, 60)");
    let session = Session::open(&all, "willcall test").unwrap();
    assert_eq!(session.facts().host, format!("127.0.0.1:{}", standby.port));
    assert_eq!(session.execute("INSERT INTO t VALUES (1)", &[]).unwrap(), 1);
}

/// A standby that has all that the server has now, and follows it.
fn standby_of(server: &PostgresServer) -> PostgresServer {
    let port = server.port.to_string();
    PostgresServer::start_from(&[("hot_standby", "on")], |standby| {
        let mut copied = standby.program("pg_basebackup");
        copied.args([
            "--write-recovery-conf",
            "--checkpoint=fast",
            "-U",
            SUPERUSER,
            "-p",
            &port,
        ]);
        copied
            .arg("-h")
            .arg(&server.folder)
            .arg("-D")
            .arg(standby.data());
        copied
    })
}
