//! What a database URL says, and what is said of one that cannot be read.

use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;
use tokio_postgres::config::ChannelBinding;

use super::support::settings;
use crate::postgres::passfile;
use crate::postgres::settings::{
    DatabaseHost, DatabaseSettings, HostAddress, PasswordSource, RootCertificates, Secret, TlsMode,
    TlsVersion,
};

fn hosts(url: &str) -> Vec<String> {
    let hosts = settings(url).hosts;
    hosts.iter().map(ToString::to_string).collect()
}

fn refused(url: &str) -> String {
    DatabaseSettings::parse(url, None).unwrap_err().to_string()
}

#[test]
fn a_url_names_hosts_ports_user_password_and_database() {
    let found = settings("postgresql://me%40work:p%3a%2F%20w@db.example.com/orders");
    assert_eq!(found.hosts[0].to_string(), "db.example.com:5432");
    assert_eq!(found.user, "me@work");
    assert_eq!(found.dbname, "orders");
    let PasswordSource::Given(Secret(password)) = &found.password else {
        panic!("{found:?}");
    };
    assert_eq!(password, "p:/ w");
    // The same in words, which is how libpq has it.
    let found = settings("postgres:///?host=db&port=1&user=me&dbname=x&password=pw");
    assert_eq!(found.address(), "db:1/x");
    assert_eq!(found.user, "me");
}

#[test]
fn hosts_are_listed_in_their_order_with_one_port_or_one_each() {
    assert_eq!(
        hosts("postgres://u@a,b:6432,[::1]:7/d"),
        ["a:5432", "b:6432", "[::1]:7"]
    );
    assert_eq!(hosts("postgres://u@/d?host=a,b&port=1,2"), ["a:1", "b:2"]);
    assert_eq!(hosts("postgres://u@/d?host=a,b&port=9"), ["a:9", "b:9"]);
    assert_eq!(hosts("postgres://u@a,b/d?port=9"), ["a:9", "b:9"]);
    assert_eq!(
        hosts("postgres://u@%2Frun%2Fpostgresql/d"),
        ["/run/postgresql/.s.PGSQL.5432"]
    );
    assert_eq!(
        hosts("postgres://u@/d?host=/run/x&port=1"),
        ["/run/x/.s.PGSQL.1"]
    );
    let found = settings("postgres://u@db/d?hostaddr=192.0.2.1");
    let address = "192.0.2.1".parse().unwrap();
    assert_eq!(
        found.hosts[0].address,
        HostAddress::Name("db".to_owned(), Some(address))
    );
}

#[test]
fn tls_is_as_sslmode_says() {
    let of = |words: &str| settings(&format!("postgres://u@h/d?{words}")).tls;
    for (words, mode) in [
        ("", TlsMode::Prefer),
        ("sslmode=disable", TlsMode::Disable),
        ("sslmode=allow", TlsMode::Allow),
        ("sslmode=prefer", TlsMode::Prefer),
        ("sslmode=require", TlsMode::Require),
        ("ssl=true", TlsMode::Require),
    ] {
        let tls = of(words);
        assert_eq!(
            (tls.mode, tls.roots, tls.verifies_name),
            (mode, None, false),
            "{words}"
        );
    }
    let file = Some(RootCertificates::File(PathBuf::from("/ca.pem")));
    for (words, roots, verifies_name) in [
        // A root certificate is obeyed in each mode, as libpq has it.
        ("sslmode=require&sslrootcert=/ca.pem", file.clone(), false),
        ("sslmode=verify-ca&sslrootcert=/ca.pem", file.clone(), false),
        ("sslmode=verify-full&sslrootcert=/ca.pem", file, true),
        ("sslrootcert=system", Some(RootCertificates::System), true),
    ] {
        let tls = of(words);
        assert_eq!(
            (tls.mode, tls.roots, tls.verifies_name),
            (TlsMode::Require, roots, verifies_name),
            "{words}"
        );
    }
    let tls = of("sslcert=/c&sslkey=/k&sslsni=0&ssl_min_protocol_version=TLSv1.3");
    assert_eq!(tls.client, Some((PathBuf::from("/c"), PathBuf::from("/k"))));
    assert!(!tls.sends_name);
    assert_eq!(
        (tls.oldest, tls.newest),
        (TlsVersion::Tls13, TlsVersion::Tls13)
    );
    let tls = of("ssl_min_protocol_version=TLSv1&ssl_max_protocol_version=TLSv1.2");
    assert_eq!(
        (tls.oldest, tls.newest),
        (TlsVersion::Tls12, TlsVersion::Tls12)
    );
}

#[test]
fn words_about_the_network_and_the_session_are_obeyed() {
    let found = settings(
        "postgres://u@h/d?connect_timeout=3&keepalives=0&keepalives_idle=4&keepalives_interval=5\
         &keepalives_count=6&tcp_user_timeout=7000&application_name=prod&channel_binding=require\
         &sslmode=require&options=-c%20search_path%3Dhouse%20--work_mem%3D8MB",
    );
    let network = &found.network;
    assert_eq!(network.connect_timeout, Duration::from_secs(3));
    assert!(!network.keepalives);
    assert_eq!(network.keepalives_idle, Duration::from_secs(4));
    assert_eq!(network.keepalives_interval, Duration::from_secs(5));
    assert_eq!(network.keepalives_count, 6);
    assert_eq!(network.tcp_user_timeout, Duration::from_secs(7));
    assert_eq!(found.application_name.as_deref(), Some("prod"));
    assert_eq!(found.channel_binding, ChannelBinding::Require);
    assert_eq!(
        found.options.as_deref(),
        Some("-c search_path=house --work_mem=8MB")
    );
    let found = settings("postgres://u@h/d?fallback_application_name=x");
    assert_eq!(found.application_name.as_deref(), Some("x"));
    // Values that say what is done in any case.
    settings(
        "postgres://u@h/d?target_session_attrs=read-write&gssencmode=disable&client_encoding=auto\
         &sslcompression=0&sslnegotiation=postgres&load_balance_hosts=disable&replication=off\
         &min_protocol_version=3.0&max_protocol_version=latest&gssdelegation=0&sslcertmode=allow",
    );
}

/// URLs whose parts or words do not fit, and what is said of each.
const UNREADABLE: &[(&str, &str)] = &[
    ("mysql://u@h/d", "must begin with postgres://"),
    ("host=h dbname=d", "must begin with postgres://"),
    ("postgres://h/d", "names no user"),
    ("postgres://u@h", "names no dbname"),
    ("postgres://u@h/", "names no dbname"),
    ("postgres://u@/d", "names no host"),
    ("postgres://u@h,/d", "has no name"),
    ("postgres://u@h:x/d", "no number from 1 to 65535"),
    ("postgres://u@h:0/d", "no number from 1 to 65535"),
    ("postgres://u@h:65536/d", "no number from 1 to 65535"),
    (
        "postgres://u@a,b,c/d?port=1,2",
        "one port for all hosts, or one for each",
    ),
    ("postgres://u@[::1/d", "a [ without its ]"),
    ("postgres://u@a,b/d?hostaddr=192.0.2.1", "equally many"),
    ("postgres://u@/d?hostaddr=h", "must be IP addresses"),
    (
        "postgres://u@/d?host=/run&hostaddr=192.0.2.1",
        "folder of a socket",
    ),
    ("postgres://u@/d?host=@abstract", "abstract socket"),
    ("postgres://u@h/d%zz", "% must be followed"),
    ("postgres://u@h/d%00", "% must be followed"),
    ("postgres://u@h/d%ff", "must be UTF-8"),
    ("postgres://u@h/d?sslmode", "words with values"),
    ("postgres://u@h/d?sslmode=a=b", "words with values"),
    (
        "postgres://u@h/d?host=other",
        "host is in the database URL twice",
    ),
];

/// Words whose values are unknown, refused, or contradict others.
const REFUSED: &[(&str, &str)] = &[
    (
        "postgres://u@h/d?sslmode=on",
        "one of disable, allow, prefer, require, verify-ca",
    ),
    ("postgres://u@h/d?ssl=yes", "one of true"),
    ("postgres://u@h/d?ssl=true&sslmode=require", "take ssl out"),
    ("postgres://u@h/d?sslmode=verify-full", "need sslrootcert"),
    (
        "postgres://u@h/d?sslmode=require&sslrootcert=system",
        "sslmode=verify-full only",
    ),
    (
        "postgres://u@/d?hostaddr=192.0.2.1&sslmode=verify-full&sslrootcert=/ca",
        "needs the name of each host",
    ),
    ("postgres://u@h/d?sslcert=/c", "belong together"),
    (
        "postgres://u@h/d?sslmode=disable&sslrootcert=/ca",
        "sslrootcert in the database URL is about TLS",
    ),
    (
        "postgres://u@h/d?sslcert=/c&sslkey=/k&sslcertmode=disable",
        "contradicts sslcert",
    ),
    (
        "postgres://u@h/d?sslcertmode=require",
        "one of disable, allow",
    ),
    (
        "postgres://u@h/d?ssl_max_protocol_version=TLSv1.1",
        "one of TLSv1.2, TLSv1.3",
    ),
    (
        "postgres://u@h/d?ssl_min_protocol_version=TLSv1.3&ssl_max_protocol_version=TLSv1.2",
        "is below",
    ),
    (
        "postgres://u@h/d?sslmode=disable&channel_binding=require",
        "needs TLS",
    ),
    ("postgres://u@h/d?connect_timeout=0", "from 1 to 600"),
    ("postgres://u@h/d?connect_timeout=-1", "from 1 to 600"),
    (
        "postgres://u@h/d?target_session_attrs=any",
        "write read-write",
    ),
    (
        "postgres://u@h/d?gssencmode=require",
        "GSSAPI is not supported",
    ),
    ("postgres://u@h/d?krbsrvname=x", "GSSAPI is not supported"),
    ("postgres://u@h/d?client_encoding=LATIN1", "UTF8 only"),
    (
        "postgres://u@h/d?load_balance_hosts=random",
        "order of the URL",
    ),
    (
        "postgres://u@h/d?service=x",
        "files of services are not read",
    ),
    (
        "postgres://u@h/d?sslcrl=/x",
        "revoked certificates are not read",
    ),
    ("postgres://u@h/d?sslpassword=x", "passphrase"),
    (
        "postgres://u@h/d?require_auth=scram-sha-256",
        "channel_binding=require",
    ),
    ("postgres://u@h/d?requirepeer=x", "it is not supported"),
    (
        "postgres://u@h/d?options=-c%20jit%3Don",
        "jit, which Willcall sets",
    ),
    (
        "postgres://u@h/d?options=--statement-timeout%3D1",
        "statement_timeout, which",
    ),
    ("postgres://u@h/d?options=-B%201", "must be settings"),
    ("postgres://u:p@h/d?passfile=/x", "more than one place"),
    (
        "postgres://u@h/d?sslmoed=require",
        "\"sslmoed\" that is none of libpq's: did you mean sslmode?",
    ),
    (
        "postgres://u@h/d?schema=public",
        "\"schema\" that is none of libpq's: take it out",
    ),
];

#[test]
fn a_url_that_cannot_be_obeyed_is_refused_with_what_to_do() {
    for (url, says) in UNREADABLE.iter().chain(REFUSED) {
        let sentence = refused(url);
        assert!(sentence.contains(says), "{url}: {sentence}");
    }
    let twice = DatabaseSettings::parse("postgres://u:p@h/d", Some(Path::new("/pw")));
    assert!(
        twice
            .unwrap_err()
            .to_string()
            .contains("more than one place")
    );
}

#[test]
fn a_password_in_a_url_is_never_shown() {
    let found = settings("postgres://u:hunter2@h/d");
    assert!(!format!("{found:?} {}", found.address()).contains("hunter2"));
    // What an unescaped sign makes of it.
    for sign in ["@", "/", "?", "#", "&", "%", ":", ",", "[", "=", " "] {
        for url in [
            format!("postgres://u:hun{sign}ter2@h/d"),
            format!("postgres://u:{sign}hunter2@h/d"),
            format!("postgres://u:ter2{sign}@h/d?sslmode=nonsense"),
            format!("postgres://h/d?user=u&password=hun{sign}ter2"),
            format!("postgres://h/d?user=u&password=hun{sign}ter2=x"),
        ] {
            match DatabaseSettings::parse(&url, None) {
                Ok(found) => assert!(!format!("{found:?}").contains("ter2"), "{url}: {found:?}"),
                Err(error) => assert!(!error.to_string().contains("ter2"), "{url}: {error}"),
            }
        }
    }
}

proptest! {
    #[test]
    fn no_text_is_too_strange_to_be_read_or_refused(text in "\\PC{0,40}") {
        drop(DatabaseSettings::parse(&text, None));
        drop(DatabaseSettings::parse(&format!("postgres://{text}"), None));
        drop(DatabaseSettings::parse(&format!("postgres://u@h/d?{text}"), None));
    }

    #[test]
    fn an_escaped_password_is_taken_as_it_is(password in "\\PC{1,20}") {
        let escaped: String = password.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let found = settings(&format!("postgres://u:{escaped}@h/d"));
        let PasswordSource::Given(Secret(found)) = found.password else {
            panic!("it is given");
        };
        prop_assert_eq!(found, password);
    }
}

#[test]
fn a_passfile_is_read_as_libpq_reads_it() {
    let text = "# a remark:5432:d:u:no\n\
                db:5432:other:u:wrong\n\
                short:line\n\
                db:5432:d:u:right\\:pass\\\\word\n\
                db:5432:d:u:second\n\
                localhost:*:*:local:of the socket\r\n\
                ::1:*:*:*:never\n\
                \\:\\:1:*:*:*:v6:and no more\n\
                *:*:*:any:everywhere\n";
    let find = |host: &str, port: u16, dbname: &str, user: &str| {
        let address = match host.starts_with('/') {
            true => HostAddress::Socket(PathBuf::from(host)),
            false => HostAddress::Name(host.to_owned(), None),
        };
        let host = DatabaseHost { address, port };
        passfile::find(text, &host, dbname, user).map(|Secret(password)| password)
    };
    assert_eq!(
        find("db", 5432, "d", "u").as_deref(),
        Some("right:pass\\word")
    );
    assert_eq!(find("db", 5433, "d", "u"), None);
    assert_eq!(find("db", 5433, "d", "any").as_deref(), Some("everywhere"));
    assert_eq!(
        find("localhost", 1, "x", "local").as_deref(),
        Some("of the socket")
    );
    assert_eq!(
        find("/run/postgresql", 1, "x", "local").as_deref(),
        Some("of the socket")
    );
    assert_eq!(find("/srv/pg", 1, "x", "local"), None);
    assert_eq!(find("::1", 1, "x", "u").as_deref(), Some("v6"));
}
