//! The network itself: real sockets on the loopback, certificates of every kind.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use prometheus_client::registry::Registry;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::tasks::{Alarm, EngineTask};
use crate::tls::{RootsError, TlsRoots, tls_config};

mod own_certificates;
mod proxies;
mod stagger;

const LIMIT_MS: u32 = 5_000;

fn net_dial(private_targets: &str, extra_ca_pems: &[(String, Vec<u8>)]) -> NetDial {
    let roots = tls_config(extra_ca_pems).unwrap();
    NetDial::new(resolver(), private_targets.parse().unwrap(), client(&roots))
}

fn client(roots: &TlsRoots) -> Arc<TlsClient> {
    Arc::new(TlsClient::new(roots, &mut Registry::default()))
}

fn resolver() -> Resolver {
    Resolver::of_system(&mut Registry::default())
}

fn endpoint(tls: bool, host: &str, port: u16) -> Endpoint {
    Endpoint {
        tls,
        host: host.to_owned(),
        port,
        own: None,
    }
}

async fn failure_of(dial: &NetDial, endpoint: &Endpoint) -> Failure {
    match dial
        .dial(
            endpoint,
            LookupContext::INTERNAL,
            Deadline::from_here(LIMIT_MS),
        )
        .await
    {
        Ok(_) => panic!("{endpoint:?} was reached"),
        Err(failure) => failure,
    }
}

async fn listener() -> (TcpListener, u16) {
    #[expect(clippy::disallowed_methods, reason = "a receiver on the loopback")]
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// An authority, and what it signs.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        Self::named("the house")
    }

    fn named(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn pem(&self) -> (String, Vec<u8>) {
        ("house-ca.pem".to_owned(), self.0.pem().into_bytes())
    }

    fn sign(&self, names: &[&str], change: impl Fn(&mut CertificateParams)) -> TlsAcceptor {
        let (certificate, key) = self.issue(names, change);
        let provider = crate::tls::tls_crypto();
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }

    fn issue(
        &self,
        names: &[&str],
        change: impl Fn(&mut CertificateParams),
    ) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        (certificate.der().clone(), PrivateKeyDer::Pkcs8(key))
    }
}

/// A receiver behind TLS that answers each connection with one line.
async fn tls_receiver(acceptor: TlsAcceptor) -> (u16, EngineTask<()>) {
    let (listener, port) = listener().await;
    let part = EngineTask::spawn("receiver", &Alarm::new(), async move {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            if let Ok(mut stream) = acceptor.accept(tcp).await {
                stream.write_all(b"hello").await.ok();
                stream.shutdown().await.ok();
            }
        }
    });
    (port, part)
}

#[tokio::test]
async fn a_certificate_of_an_extra_authority_is_trusted_for_names_and_addresses() {
    let authority = Authority::new();
    let (port, _receiver) = tls_receiver(authority.sign(&["localhost", "127.0.0.1"], |_| {})).await;
    let dial = net_dial("all", &[authority.pem()]);
    for host in ["localhost", "127.0.0.1"] {
        let endpoint = endpoint(true, host, port);
        let mut stream = dial
            .dial(
                &endpoint,
                LookupContext::INTERNAL,
                Deadline::from_here(LIMIT_MS),
            )
            .await
            .unwrap_or_else(|failure| panic!("{host}: {failure:?}"));
        let mut heard = String::new();
        stream.read_to_string(&mut heard).await.unwrap();
        assert_eq!(heard, "hello");
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_certificate_is_said() {
    let authority = Authority::new();
    let stranger = Authority::named("a stranger");
    let past = |params: &mut CertificateParams| {
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
    };
    let future = |params: &mut CertificateParams| {
        params.not_before = date_time_ymd(2999, 1, 1);
        params.not_after = date_time_ymd(3000, 1, 1);
    };
    let cases = [
        (
            authority.sign(&["127.0.0.1"], past),
            "the certificate has expired",
        ),
        (
            authority.sign(&["127.0.0.1"], future),
            "the certificate is not valid yet",
        ),
        (
            authority.sign(&["other.test"], |_| {}),
            "the certificate is for another name",
        ),
        (
            stranger.sign(&["127.0.0.1"], |_| {}),
            "the certificate's issuer is not trusted here",
        ),
    ];
    let dial = net_dial("all", &[authority.pem()]);
    for (acceptor, words) in cases {
        let (port, _receiver) = tls_receiver(acceptor).await;
        let failure = failure_of(&dial, &endpoint(true, "127.0.0.1", port)).await;
        assert_eq!(failure.kind, FailureKind::Tls, "{failure:?}");
        assert!(failure.detail.starts_with(words), "{failure:?}");
    }
}

#[tokio::test]
async fn a_receiver_that_wants_a_certificate_of_ours_is_a_failure_of_tls() {
    let authority = Authority::new();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.0.der().clone()).unwrap();
    let provider = crate::tls::tls_crypto();
    let wanting = rustls::server::WebPkiClientVerifier::builder_with_provider(
        Arc::new(roots),
        Arc::clone(&provider),
    );
    let (certificate, key) = authority.issue(&["127.0.0.1"], |_| {});
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(wanting.build().unwrap())
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let (port, _receiver) = tls_receiver(TlsAcceptor::from(Arc::new(config))).await;
    let dial = net_dial("all", &[authority.pem()]);
    let limit = Deadline::from_here(LIMIT_MS);
    let endpoint = endpoint(true, "127.0.0.1", port);
    // With TLS 1.3 we are done before the receiver looks: it tells us in place of an answer.
    let stream = dial
        .dial(&endpoint, LookupContext::INTERNAL, limit)
        .await
        .ok()
        .unwrap();
    let mut line = crate::connection::Connection::new(stream);
    let request = crate::request::Request::of(b"GET / HTTP/1.1\r\n\r\n", b"");
    let alarm = std::pin::pin!(tokio::time::sleep_until(limit.deadline()));
    let room = crate::response_budget::ResponseBudget::new(
        0,
        prometheus_client::metrics::counter::Counter::default(),
    );
    let mut taken = room.nothing();
    let exchange = line.exchange(&request, limit, alarm, &mut taken).await;
    let outcome = exchange.outcome;
    let words = outcome.words();
    assert!(
        words.contains(
            "refused TLS: it wants a client certificate, and the webhook has none (alert 116)"
        ),
        "{words}"
    );
}

#[tokio::test]
async fn a_receiver_that_does_not_speak_tls_is_said_not_to() {
    let (listener, port) = listener().await;
    let _receiver = EngineTask::spawn("receiver", &Alarm::new(), async move {
        loop {
            let (mut tcp, _) = listener.accept().await.unwrap();
            tcp.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                .await
                .ok();
            let mut rest = Vec::new();
            tcp.read_to_end(&mut rest).await.ok();
        }
    });
    let dial = net_dial("all", &[]);
    let failure = failure_of(&dial, &endpoint(true, "127.0.0.1", port)).await;
    assert_eq!(failure.kind, FailureKind::Tls);
    assert_eq!(failure.detail, "the receiver does not speak TLS");
}

#[tokio::test]
async fn a_receiver_that_closes_within_tls_is_said_to() {
    let (listener, port) = listener().await;
    let _receiver = EngineTask::spawn("receiver", &Alarm::new(), async move {
        loop {
            let (mut tcp, _) = listener.accept().await.unwrap();
            let mut hello = [0; 64];
            tcp.read_exact(&mut hello).await.ok();
        }
    });
    let dial = net_dial("all", &[]);
    let failure = failure_of(&dial, &endpoint(true, "127.0.0.1", port)).await;
    assert_eq!(failure.kind, FailureKind::Tls, "{failure:?}");
}

#[tokio::test]
async fn a_stalled_agreement_on_tls_ends_by_the_limit() {
    let (listener, port) = listener().await;
    let _receiver = EngineTask::spawn("receiver", &Alarm::new(), async move {
        let mut kept = Vec::new();
        loop {
            kept.push(listener.accept().await.unwrap());
        }
    });
    let dial = net_dial("all", &[]);
    let endpoint = endpoint(true, "127.0.0.1", port);
    let Err(failure) = dial
        .dial(&endpoint, LookupContext::INTERNAL, Deadline::from_here(50))
        .await
    else {
        panic!("TLS was agreed on with nobody");
    };
    assert_eq!(failure.kind, FailureKind::TimeLimit);
    assert_eq!(
        failure.detail,
        "timed out after 0.05 s, waiting for the TLS handshake"
    );
}

#[tokio::test]
async fn a_refused_connection_says_so() {
    let (listener, port) = listener().await;
    drop(listener);
    let dial = net_dial("all", &[]);
    let failure = failure_of(&dial, &endpoint(false, "127.0.0.1", port)).await;
    assert_eq!(failure.kind, FailureKind::Connect);
    assert_eq!(
        failure.detail,
        format!("connection refused (127.0.0.1:{port})")
    );
}

#[tokio::test]
async fn private_addresses_are_not_dialled_by_name_or_number() {
    let (listener, port) = listener().await;
    let dial = net_dial("none", &[]);
    for host in [
        "127.0.0.1",
        "localhost",
        "::1",
        "::ffff:127.0.0.1",
        "10.0.0.1",
        "0.0.0.0",
    ] {
        for tls in [false, true] {
            let failure = failure_of(&dial, &endpoint(tls, host, port)).await;
            assert_eq!(failure.kind, FailureKind::Forbidden, "{host}");
            assert!(
                failure.detail.contains("allow_private_targets"),
                "{failure:?}"
            );
        }
    }
    let failure = failure_of(&dial, &endpoint(false, "127.0.0.1", port)).await;
    assert_eq!(
        failure.words(),
        "The receiver is at an address that may not be called: 127.0.0.1 is a loopback address; \
         the setting allow_private_targets opens such addresses."
    );
    // Nothing knocked: an accept is still pending.
    let accepted = tokio::time::timeout(Duration::from_millis(1), listener.accept()).await;
    assert!(accepted.is_err());
}

#[tokio::test]
async fn an_opened_network_lets_its_addresses_through_and_no_others() {
    let (listener, port) = listener().await;
    let dial = net_dial("127.0.0.0/8", &[]);
    let open = endpoint(false, "127.0.0.1", port);
    assert!(
        dial.dial(
            &open,
            LookupContext::INTERNAL,
            Deadline::from_here(LIMIT_MS)
        )
        .await
        .is_ok()
    );
    let failure = failure_of(&dial, &endpoint(false, "::1", port)).await;
    assert_eq!(failure.kind, FailureKind::Forbidden);
    drop(listener);
}

#[tokio::test]
async fn what_is_remembered_of_a_name_is_vetted_at_each_use() {
    let (listener, port) = listener().await;
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let look_up = Box::new(move |_: &str| {
        counted.fetch_add(1, Ordering::Relaxed);
        Ok(vec!["127.0.0.1:0".parse().unwrap()].into())
    });
    let resolver = Resolver::new(look_up, &mut Registry::default());
    let roots = tls_config(&[]).unwrap();
    let dial =
        |private: &str| NetDial::new(resolver.clone(), private.parse().unwrap(), client(&roots));
    let (open, shut) = (dial("127.0.0.1"), dial("none"));
    let endpoint = endpoint(false, "somewhere.test", port);
    for _ in 0..3 {
        let opened = open.dial(
            &endpoint,
            LookupContext::INTERNAL,
            Deadline::from_here(LIMIT_MS),
        );
        assert!(opened.await.is_ok());
        let failure = failure_of(&shut, &endpoint).await;
        assert_eq!(failure.kind, FailureKind::Forbidden);
    }
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    drop(listener);
}

#[test]
fn of_several_addresses_only_open_ones_are_kept() {
    let dial = net_dial("none", &[]);
    let found: Vec<SocketAddr> = ["127.0.0.1:80", "93.184.216.34:80", "10.0.0.1:80"]
        .iter()
        .map(|text| text.parse().unwrap())
        .collect();
    assert_eq!(dial.vetted(found.clone()).unwrap(), found[1..2]);
}

#[tokio::test]
async fn names_that_cannot_be_looked_up_are_said_to() {
    let dial = net_dial("all", &[]);
    // Not a name a resolver can be asked for, so nothing leaves this machine.
    let host = format!("{}.invalid", "x".repeat(300));
    let failure = failure_of(&dial, &endpoint(false, &host, 80)).await;
    assert_eq!(failure.kind, FailureKind::LookUp);
    assert!(failure.detail.ends_with(".invalid)"), "{failure:?}");
    assert!(!failure.detail.contains("failed to lookup"), "{failure:?}");
}

#[test]
fn files_of_roots_that_cannot_be_used_are_named() {
    let file = |content: &[u8]| vec![("extra.pem".to_owned(), content.to_vec())];
    let refused = |content: &[u8]| tls_config(&file(content)).unwrap_err();
    let empty = RootsError::Empty {
        file: "extra.pem".to_owned(),
    };
    assert_eq!(refused(b""), empty);
    assert_eq!(refused(b"hello"), empty);
    let key = KeyPair::generate().unwrap().serialize_pem();
    assert_eq!(refused(key.as_bytes()), empty);
    for (broken, cause) in [
        (
            &b"-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n"[..],
            "what is between the lines BEGIN and END is not base64",
        ),
        (
            b"-----BEGIN CERTIFICATE-----\naGVsbG8=\n",
            "the line -----END CERTIFICATE----- is missing",
        ),
        (
            b"-----BEGIN CERTIFICATE\naGVsbG8=\n",
            "the line -----BEGIN CERTIFICATE does not end in five dashes",
        ),
    ] {
        let words = refused(broken).to_string();
        assert_eq!(words, format!("extra.pem is not in PEM form: {cause}"));
    }
    let nonsense = b"-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n";
    let words = refused(nonsense).to_string();
    assert!(
        words.starts_with("certificate 1 in extra.pem cannot be used: "),
        "{words}"
    );
    let roots = tls_config(&[Authority::new().pem()]).unwrap();
    assert_eq!(roots.extra_roots, 1);
    assert_eq!(roots.count(), roots.system_roots + 1);
}

#[tokio::test]
async fn without_any_roots_tls_fails_with_that_reason() {
    let authority = Authority::new();
    let (port, _receiver) = tls_receiver(authority.sign(&["127.0.0.1"], |_| {})).await;
    let mut roots = tls_config(&[]).unwrap();
    let config = rustls::ClientConfig::builder_with_provider(crate::tls::tls_crypto())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    roots.config = Arc::new(config);
    roots.system_roots = 0;
    let dial = NetDial::new(resolver(), PrivateTargets::All, client(&roots));
    let failure = failure_of(&dial, &endpoint(true, "127.0.0.1", port)).await;
    assert_eq!(failure.kind, FailureKind::Tls);
    assert_eq!(
        failure.detail,
        "no root certificates are installed on this machine"
    );
}
