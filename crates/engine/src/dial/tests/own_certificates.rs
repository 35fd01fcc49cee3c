//! Receivers that made their certificate themselves, and an operator who put it into a file.

use rcgen::{Certificate, Issuer, PublicKeyData};
use rustls::crypto::CryptoProvider;
use rustls::server::ResolvesServerCert;
use rustls::sign::CertifiedKey;

use super::*;

/// A certificate as `openssl req -x509` makes it: a CA's, signed by itself.
struct Own {
    certificate: Certificate,
    key: KeyPair,
}

impl Own {
    fn new(names: &[&str], change: impl Fn(&mut CertificateParams)) -> Self {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self { certificate, key }
    }

    fn pem(&self) -> (String, Vec<u8>) {
        ("own.pem".to_owned(), self.certificate.pem().into_bytes())
    }

    /// A receiver that shows it, and signs with a key that need not belong to it.
    fn shown(
        &self,
        key: &KeyPair,
        version: &'static rustls::SupportedProtocolVersion,
    ) -> TlsAcceptor {
        let provider = crate::tls::tls_crypto();
        let shown = Shown::new(self.certificate.der(), key, &provider);
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(shown));
        TlsAcceptor::from(Arc::new(config))
    }
}

/// Unlike the library's own, it does not look whether key and certificate belong together.
#[derive(Debug)]
struct Shown(Arc<CertifiedKey>);

impl Shown {
    fn new(
        certificate: &CertificateDer<'static>,
        key: &KeyPair,
        provider: &CryptoProvider,
    ) -> Self {
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let key = provider.key_provider.load_private_key(key).unwrap();
        Self(Arc::new(CertifiedKey::new(vec![certificate.clone()], key)))
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: rustls::server::ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

async fn refusal(acceptor: TlsAcceptor, extra_ca_pems: &[(String, Vec<u8>)]) -> String {
    let (port, _receiver) = tls_receiver(acceptor).await;
    let dial = net_dial("all", extra_ca_pems);
    let failure = failure_of(&dial, &endpoint(true, "127.0.0.1", port)).await;
    assert_eq!(failure.kind, FailureKind::Tls, "{failure:?}");
    failure.detail
}

const VERSIONS: [&rustls::SupportedProtocolVersion; 2] =
    [&rustls::version::TLS12, &rustls::version::TLS13];

#[tokio::test]
async fn a_certificate_that_is_in_a_file_is_trusted_though_it_is_a_cas() {
    let own = Own::new(&["localhost", "127.0.0.1"], |_| {});
    let dial = net_dial("all", &[Authority::new().pem(), own.pem()]);
    for version in VERSIONS {
        let (port, _receiver) = tls_receiver(own.shown(&own.key, version)).await;
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
}

#[tokio::test]
async fn a_servers_certificate_that_is_in_a_file_is_trusted_without_its_issuer() {
    let stranger = Authority::named("a stranger");
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &stranger.0).unwrap();
    let server = Own { certificate, key };
    let acceptor = server.shown(&server.key, &rustls::version::TLS13);
    let (port, _receiver) = tls_receiver(acceptor).await;
    let dial = net_dial("all", &[server.pem()]);
    let endpoint = endpoint(true, "127.0.0.1", port);
    let stream = dial.dial(
        &endpoint,
        LookupContext::INTERNAL,
        Deadline::from_here(LIMIT_MS),
    );
    assert!(stream.await.is_ok());
}

#[tokio::test]
async fn name_and_time_of_a_certificate_that_is_in_a_file_are_looked_at() {
    for (own, words) in [
        (
            Own::new(&["other.test"], |_| {}),
            "the certificate is for another name",
        ),
        (
            Own::new(&[], |params| {
                params
                    .distinguished_name
                    .push(DnType::CommonName, "127.0.0.1");
            }),
            "the certificate is for no name at all; it must have one as a subjectAltName",
        ),
        (
            Own::new(&["127.0.0.1"], |params| {
                params.not_after = date_time_ymd(2020, 1, 1);
            }),
            "the certificate has expired",
        ),
        (
            Own::new(&["127.0.0.1"], |params| {
                params.not_before = date_time_ymd(2090, 1, 1);
            }),
            "the certificate is not valid yet",
        ),
    ] {
        let acceptor = own.shown(&own.key, &rustls::version::TLS13);
        assert_eq!(refusal(acceptor, &[own.pem()]).await, words);
    }
}

#[tokio::test]
async fn a_cas_certificate_that_is_in_no_file_is_refused_and_said_to_be_one() {
    let own = Own::new(&["127.0.0.1"], |_| {});
    let known = Own::new(&["127.0.0.1"], |_| {});
    let acceptor = || own.shown(&own.key, &rustls::version::TLS13);
    for files in [&[known.pem()][..], &[Authority::new().pem()]] {
        assert_eq!(
            refusal(acceptor(), files).await,
            "the certificate is a CA's and not a server's; this one is trusted when it is itself \
             in a file of the setting ca_files, or among the webhook's CA certificates"
        );
    }
}

#[tokio::test]
async fn who_shows_a_certificate_that_is_in_a_file_must_have_its_key() {
    let own = Own::new(&["127.0.0.1"], |_| {});
    let thief = KeyPair::generate().unwrap();
    assert_ne!(thief.der_bytes(), own.key.der_bytes());
    for version in VERSIONS {
        let words = refusal(own.shown(&thief, version), &[own.pem()]).await;
        assert_eq!(
            words,
            "a signature is wrong: the certificate's own, or the receiver has another key than the \
             certificate's"
        );
    }
}

/// A receiver with a certificate of another's making.
fn signed_by(issuer: &Own, params: &CertificateParams) -> TlsAcceptor {
    let issuer = Issuer::from_params(params, &issuer.key);
    let own = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = own.signed_by(&key, &issuer).unwrap();
    let receiver = Own { certificate, key };
    receiver.shown(&receiver.key, &rustls::version::TLS13)
}

#[tokio::test]
async fn a_servers_certificate_that_is_in_a_file_vouches_for_no_other() {
    for is_ca in [IsCa::NoCa, IsCa::ExplicitNoCa] {
        let named = |params: &mut CertificateParams| {
            params.is_ca = is_ca;
            params
                .distinguished_name
                .push(DnType::CommonName, "hook.internal");
        };
        let server = Own::new(&["127.0.0.1"], named);
        let mut params = CertificateParams::default();
        named(&mut params);
        let other = || signed_by(&server, &params);
        // With other roots and with none.
        for files in [&[server.pem()][..], &[server.pem(), Authority::new().pem()]] {
            let words = refusal(other(), files).await;
            assert!(
                words.starts_with("the certificate's issuer is not trusted here"),
                "{words}"
            );
            let acceptor = server.shown(&server.key, &rustls::version::TLS13);
            let (port, _receiver) = tls_receiver(acceptor).await;
            let dial = net_dial("all", files);
            let endpoint = endpoint(true, "127.0.0.1", port);
            let stream = dial.dial(
                &endpoint,
                LookupContext::INTERNAL,
                Deadline::from_here(LIMIT_MS),
            );
            assert!(stream.await.is_ok());
        }
    }
}
