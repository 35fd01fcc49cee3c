//! TLS with a real server: when it is used, who is trusted, and what is said if not.

use rcgen::{BasicConstraints, IsCa, date_time_ymd};

use super::guarded::{Authority, Guarded, Pair, self_signed, write};
use super::support::why_not;
use crate::postgres::host_fault::HostFault;
use crate::postgres::postgres_server::PostgresServer;
use crate::postgres::session::Session;
use crate::postgres::settings::DatabaseSettings;
use crate::postgres::tls::{TlsFault, server_end_point};

/// A certificate of version 1 for localhost, as PostgreSQL's manual has one made, and its key.
const VERSION_1: (&str, &str) = (
    "-----BEGIN CERTIFICATE-----
MIIBJDCBywIUeD3SThivH+etd5Ya/1GkOZWyghgwCgYIKoZIzj0EAwIwFDESMBAG
A1UEAwwJbG9jYWxob3N0MCAXDTI2MTEzMDEzMzczNVoYDzIxMjYxMTA2MTMzNzM1
WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNC
AATSj9kiKjvdGBMNtvT2Yh3tTdYT4eQ6jXCLIjooGkfxdcRirCuOSVaG720rXFWm
W4E3uCJbPx9fLARPeOVIW4bAMAoGCCqGSM49BAMCA0gAMEUCIC1h3AgRN/sgWckQ
gwkSaBl7oMMzaTZQjMwFpVwYHN64AiEA474gN7NVsR3sYpYtQHGJt6jcpzcIC805
3LlekhNFoQI=
-----END CERTIFICATE-----
",
    "-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgFZDwRQYGlEOTAsx3
eSBe6FCvb+7TYdKXr6gcPzVAueqhRANCAATSj9kiKjvdGBMNtvT2Yh3tTdYT4eQ6
jXCLIjooGkfxdcRirCuOSVaG720rXFWmW4E3uCJbPx9fLARPeOVIW4bA
-----END PRIVATE KEY-----
",
);

/// Whether a session opens, and with TLS.
fn uses_tls(settings: &DatabaseSettings) -> bool {
    let session = Session::open(settings, "willcall test").unwrap();
    let asked = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    session.query(asked, &[]).unwrap()[0].get(0)
}

fn tls_fault(settings: &DatabaseSettings) -> TlsFault {
    let (fault, sentence) = why_not(settings);
    let HostFault::Tls(fault) = fault else {
        panic!("{sentence}");
    };
    assert!(sentence.contains("there is no TLS with it"), "{sentence}");
    fault
}

#[test]
fn tls_is_used_as_sslmode_says() {
    let guarded = Guarded::shared();
    for (user, mode, expected) in [
        ("willcall", "disable", Some(false)),
        ("willcall", "allow", Some(false)),
        ("willcall", "prefer", Some(true)),
        ("willcall", "require", Some(true)),
        // The server refuses one of the two.
        ("with_tls", "disable", None),
        ("with_tls", "allow", Some(true)),
        ("with_tls", "prefer", Some(true)),
        ("with_tls", "require", Some(true)),
        ("without_tls", "disable", Some(false)),
        ("without_tls", "allow", Some(false)),
        ("without_tls", "prefer", Some(false)),
        ("without_tls", "require", None),
    ] {
        let settings = guarded.settings(user, &format!("sslmode={mode}"));
        match expected {
            Some(expected) => assert_eq!(uses_tls(&settings), expected, "{user} {mode}"),
            None => {
                let (fault, sentence) = why_not(&settings);
                assert!(matches!(fault, HostFault::NotAdmitted(_)), "{sentence}");
            }
        }
    }
    // The default is libpq's.
    assert!(uses_tls(&guarded.settings("willcall", "")));
}

#[test]
fn a_server_without_tls_is_used_only_if_that_is_allowed() {
    let url = PostgresServer::shared().create_database();
    let with = |mode: &str| DatabaseSettings::parse(&url.replace("disable", mode), None).unwrap();
    assert!(!uses_tls(&with("prefer")));
    let (fault, sentence) = why_not(&with("require"));
    assert!(matches!(fault, HostFault::NoTls), "{sentence}");
    assert!(sentence.contains("turn ssl on there"), "{sentence}");
}

#[test]
fn issuer_and_name_of_a_server_are_verified_as_far_as_asked() {
    let guarded = Guarded::shared();
    let folder = tempfile::tempdir().unwrap();
    let known = write(folder.path(), "ca.pem", &guarded.authority.pem());
    let other = write(folder.path(), "other.pem", &Authority::new("Other").pem());
    let words = |mode: &str, file: &std::path::Path| {
        format!("sslmode={mode}&sslrootcert={}", file.display())
    };
    assert!(uses_tls(
        &guarded.settings("willcall", &words("verify-ca", &known))
    ));
    assert!(uses_tls(
        &guarded.settings_by_name("willcall", &words("verify-full", &known))
    ));
    // A file is obeyed in every mode, and a server of another authority is not talked to.
    assert!(uses_tls(
        &guarded.settings("willcall", &words("require", &known))
    ));
    for mode in ["require", "verify-ca", "verify-full"] {
        let settings = guarded.settings_by_name("willcall", &words(mode, &other));
        assert_eq!(tls_fault(&settings), TlsFault::UnknownIssuer, "{mode}");
    }
    let by_address = guarded.settings("willcall", &words("verify-full", &known));
    let fault = tls_fault(&by_address);
    assert!(matches!(fault, TlsFault::WrongName(_)), "{fault}");
    assert!(fault.to_string().contains("localhost"), "{fault}");
    // Whoever prefers TLS takes what there is, as libpq does.
    assert!(!uses_tls(
        &guarded.settings("willcall", &words("prefer", &other))
    ));
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let guarded = Guarded::shared();
    let folder = tempfile::tempdir().unwrap();
    let empty = write(folder.path(), "empty.pem", "nothing");
    let Pair { certificate, key } = guarded.authority.issue("certified", |_| {});
    let certificate = write(folder.path(), "certificate.pem", &certificate);
    let key = write(folder.path(), "key.pem", &key);
    let other = write(
        folder.path(),
        "other.pem",
        &guarded.authority.issue("x", |_| {}).key,
    );
    let open = write(folder.path(), "open.pem", "");
    std::fs::set_permissions(&open, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let client = |certificate: &std::path::Path, key: &std::path::Path| {
        format!(
            "sslmode=require&sslcert={}&sslkey={}",
            certificate.display(),
            key.display()
        )
    };
    for (words, says) in [
        (
            "sslmode=require&sslrootcert=/nowhere".to_owned(),
            "/nowhere cannot be read",
        ),
        (
            format!("sslmode=verify-ca&sslrootcert={}", empty.display()),
            "has no certificate in it",
        ),
        (client(&empty, &key), "has no certificate in it"),
        (client(&certificate, &empty), "has no private key in it"),
        (client(&certificate, &open), "can be read by others"),
        (client(&certificate, &other), "do not belong together"),
    ] {
        let (fault, sentence) = why_not(&guarded.settings("willcall", &words));
        assert!(matches!(fault, HostFault::TlsFile(_)), "{sentence}");
        assert!(sentence.contains(says), "{sentence}");
    }
}

#[test]
fn a_user_logs_in_with_a_certificate() {
    let guarded = Guarded::shared();
    let folder = tempfile::tempdir().unwrap();
    let with = |pair: &Pair| {
        let certificate = write(folder.path(), "certificate.pem", &pair.certificate);
        let key = write(folder.path(), "key.pem", &pair.key);
        let (certificate, key) = (certificate.display(), key.display());
        let words = format!("sslmode=require&sslcert={certificate}&sslkey={key}");
        guarded.settings("certified", &words)
    };
    let right = guarded.authority.issue("certified", |_| {});
    assert!(uses_tls(&with(&right)));
    // It is renewed without a restart.
    let settings = with(&right);
    with(&guarded.authority.issue("certified", |_| {}));
    assert!(uses_tls(&settings));

    let (fault, sentence) = why_not(&with(&guarded.authority.issue("somebody", |_| {})));
    assert!(matches!(fault, HostFault::NotAdmitted(_)), "{sentence}");
    let stranger = Authority::new("Stranger").issue("certified", |_| {});
    assert_eq!(tls_fault(&with(&stranger)), TlsFault::ClientCertificate);
    let (fault, sentence) = why_not(&guarded.settings("certified", "sslmode=require"));
    assert!(matches!(fault, HostFault::NotAdmitted(_)), "{sentence}");
}

#[test]
fn a_login_is_bound_to_its_connection() {
    let guarded = Guarded::shared();
    let with = |user: &str, words: &str| {
        let port = guarded.server.port;
        let url = format!("postgres://{user}:right@127.0.0.1:{port}/d?{words}");
        DatabaseSettings::parse(&url, None).unwrap()
    };
    for binding in ["disable", "prefer", "require"] {
        let words = format!("sslmode=require&channel_binding={binding}");
        assert!(uses_tls(&with("scram", &words)), "{binding}");
    }
    // Other ways to log in cannot be bound.
    for user in ["md5", "cleartext", "willcall"] {
        let (fault, sentence) = why_not(&with(user, "sslmode=require&channel_binding=require"));
        assert!(matches!(fault, HostFault::Login(_)), "{sentence}");
    }
}

#[test]
fn strange_certificates_are_told_apart() {
    let guarded = Guarded::start();
    let folder = tempfile::tempdir().unwrap();
    let known = guarded.authority.pem();
    let with = |pair: &Pair, roots: &str| {
        guarded.show(pair);
        let roots = write(folder.path(), "roots.pem", roots);
        let words = format!("sslmode=verify-full&sslrootcert={}", roots.display());
        guarded.settings_by_name(
            "scram",
            &format!("{words}&password=right&channel_binding=require"),
        )
    };
    let issue = &guarded.authority;
    let expired = issue.issue("localhost", |params| {
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
    });
    assert_eq!(tls_fault(&with(&expired, &known)), TlsFault::Expired);
    let early = issue.issue("localhost", |params| {
        params.not_before = date_time_ymd(2999, 1, 1);
    });
    assert_eq!(tls_fault(&with(&early, &known)), TlsFault::NotYetValid);

    // As PostgreSQL's manual has one made: it is its own authority.
    let as_authority = |params: &mut rcgen::CertificateParams| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    };
    let own = self_signed(as_authority);
    assert!(uses_tls(&with(&own, &own.certificate)));
    assert_eq!(tls_fault(&with(&own, &known)), TlsFault::AuthorityItself);
    let expired = self_signed(|params| {
        as_authority(params);
        params.not_after = date_time_ymd(2002, 1, 1);
    });
    assert_eq!(
        tls_fault(&with(&expired, &expired.certificate)),
        TlsFault::Expired
    );
    let plain = self_signed(|_| {});
    assert!(uses_tls(&with(&plain, &plain.certificate)));

    let version_1 = Pair {
        certificate: VERSION_1.0.to_owned(),
        key: VERSION_1.1.to_owned(),
    };
    let settings = with(&version_1, &version_1.certificate);
    assert_eq!(tls_fault(&settings), TlsFault::Version1);

    // Other hashes for the channel binding, and none.
    let longer = issue.issue_with(&rcgen::PKCS_ECDSA_P384_SHA384, "localhost", |_| {});
    assert!(uses_tls(&with(&longer, &known)));
    // The issuer's key decides what a certificate is signed with.
    let other = Authority::with(&rcgen::PKCS_ECDSA_P384_SHA384);
    let longer = other.issue("localhost", |_| {});
    assert!(uses_tls(&with(&longer, &other.pem())));
    let unbound = Authority::with(&rcgen::PKCS_ED25519);
    let without = unbound.issue("localhost", |_| {});
    let (fault, sentence) = why_not(&with(&without, &unbound.pem()));
    assert!(matches!(fault, HostFault::Login(_)), "{sentence}");
}

#[test]
fn versions_of_tls_are_as_the_url_says() {
    let guarded = Guarded::shared();
    for (words, expected) in [
        ("", "TLSv1.3"),
        ("ssl_max_protocol_version=TLSv1.2", "TLSv1.2"),
        ("ssl_min_protocol_version=TLSv1.3&sslsni=0", "TLSv1.3"),
    ] {
        let settings = guarded.settings("willcall", &format!("sslmode=require&{words}"));
        let session = Session::open(&settings, "willcall test").unwrap();
        let asked = "SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
        let rows = session.query(asked, &[]).unwrap();
        assert_eq!(rows[0].get::<_, &str>(0), expected);
    }
}

/// The request to cancel takes a connection of its own, with TLS as well.
#[test]
fn a_statement_over_tls_is_cancelled_too() {
    let guarded = Guarded::shared();
    let mut settings = guarded.settings("willcall", "sslmode=require");
    settings.limits.statement = std::time::Duration::from_millis(100);
    settings.limits.grace = std::time::Duration::from_millis(100);
    let session = Session::open(&settings, "willcall test").unwrap();
    session.batch("SET statement_timeout = 0").unwrap();
    let backend = session.facts().backend;
    assert!(session.query("SELECT pg_sleep(60)", &[]).is_err());
    let other = Session::open(&settings, "willcall test").unwrap();
    let lives = "SELECT 1 FROM pg_stat_activity WHERE pid = $1";
    while !other.query(lives, &[&backend]).unwrap().is_empty() {}
}

#[test]
fn the_hash_of_a_channel_binding_is_that_of_the_signature() {
    let rsa = |last: u8| vec![42, 134, 72, 134, 247, 13, 1, 1, last];
    for (algorithm, bytes) in [
        (rsa(5), Some(32)),
        (rsa(11), Some(32)),
        (rsa(12), Some(48)),
        (rsa(13), Some(64)),
        // RSASSA-PSS says its hash elsewhere, and Ed25519 has none.
        (rsa(10), None),
        (vec![43, 101, 112], None),
    ] {
        let element = |tag: u8, content: &[u8]| {
            let length = u8::try_from(content.len()).unwrap();
            [&[tag, 0x81, length][..], content].concat()
        };
        let signed = element(0x30, b"signed");
        let algorithm = element(0x30, &element(0x06, &algorithm));
        let certificate = element(0x30, &[signed, algorithm, element(0x03, b"x")].concat());
        let hash = server_end_point(&certificate);
        assert_eq!(hash.map(|hash| hash.len()), bytes);
        // Nothing that is cut off is read beyond its end.
        for length in 0..certificate.len() {
            assert_eq!(server_end_point(&certificate[..length]), None);
        }
    }
}
