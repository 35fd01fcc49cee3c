//! Handshakes with real servers in memory that want a client certificate, or that only a webhook
//! trusts.

use model::id::WebhookId;
use model::rng::SeededRng;
use model::signing::{Keyring, SecretOf};
use model::webhook_tls::{CaCertificates, ClientCertificate, WebhookTls};
use model::{certificate, time::Timestamp};
use prometheus_client::registry::Registry;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{HandshakeKind, ServerConfig, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio_rustls::TlsAcceptor;

use super::super::{TlsClient, tls_config, tls_crypto};
use super::*;
use crate::transport::{Deadline, Endpoint};

const WEBHOOK: WebhookId = WebhookId(1);
const MASTER_KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
const VERSIONS: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS13, &rustls::version::TLS12];

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        let key = KeyPair::generate().unwrap();
        let name = format!("{:?}", &key.public_key_raw()[..8]);
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    fn issue(&self, name: &str) -> (CertificateDer<'static>, KeyPair) {
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.0).unwrap().der().clone(), key)
    }

    /// A receiver that it vouches for, and that lets in whom `wanted` vouches for, if anybody.
    fn receiver(
        &self,
        version: &'static SupportedProtocolVersion,
        wanted: Option<&Self>,
    ) -> TlsAcceptor {
        let (own, key) = self.issue("a.test");
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(tls_crypto());
        let config = config.with_protocol_versions(&[version]).unwrap();
        let config = match wanted {
            None => config.with_no_client_auth(),
            Some(wanted) => {
                let mut roots = RootCertStore::empty();
                roots.add(wanted.0.der().clone()).unwrap();
                let judge =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), tls_crypto());
                config.with_client_cert_verifier(judge.build().unwrap())
            }
        };
        let mut config = config.with_single_cert(vec![own], key).unwrap();
        config.ticketer = super::super::ticketer().unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}

/// What a webhook has with this client certificate, and with these authorities.
fn own(client: Option<&(CertificateDer<'static>, KeyPair)>, ca: Option<&Authority>) -> Arc<OwnTls> {
    let keyring = Keyring::parse(MASTER_KEY).unwrap();
    let now = Timestamp::EPOCH;
    let client = client.map(|(own, key)| {
        let own = certificate::Certificate::read(own.clone()).unwrap();
        let read = certificate::client_certificate(&own.to_string(), &key.serialize_pem(), now);
        let (chain, key) = read.unwrap();
        let mut rng = SeededRng::from_seed([1; 32]);
        let sealed = keyring.seal(&mut rng, WEBHOOK, SecretOf::ClientKey, &key);
        ClientCertificate {
            chain: certificate::stored(&chain),
            sealed: sealed.unwrap(),
            set_at: now,
        }
    });
    let ca = ca.map(|authority| CaCertificates {
        certificates: authority.0.der().to_vec().into(),
        set_at: now,
    });
    let opened = WebhookTls { client, ca }.open(&keyring, WEBHOOK).unwrap();
    Arc::new(OwnTls::new(opened).unwrap())
}

/// A client that trusts this authority by its settings.
fn client(authority: &Authority) -> TlsClient {
    let pem = ("house.pem".to_owned(), authority.0.pem().into_bytes());
    TlsClient::new(&tls_config(&[pem]).unwrap(), &mut Registry::default())
}

/// What the receiver saw of a call: whose certificate, and whether it was resumed.
type Seen = (Option<CertificateDer<'static>>, bool);

async fn call(
    client: &TlsClient,
    receiver: &TlsAcceptor,
    own: Option<Arc<OwnTls>>,
) -> Result<Seen, String> {
    let (ours, theirs) = duplex(64 * 1024);
    let endpoint = Endpoint {
        tls: true,
        host: "a.test".to_owned(),
        port: 443,
        own,
    };
    let receives = async {
        let mut stream = receiver.accept(theirs).await.ok()?;
        let connection = stream.get_ref().1;
        let chain = connection.peer_certificates();
        let shown = chain.and_then(|chain| chain.first()).cloned();
        let seen = (
            shown.map(CertificateDer::into_owned),
            connection.handshake_kind() == Some(HandshakeKind::Resumed),
        );
        stream.write_all(b"hello").await.ok()?;
        stream.shutdown().await.ok()?;
        Some(seen)
    };
    let calls = async {
        let limit = Deadline::from_here(5_000);
        let mut stream = client.connect(Box::new(ours), &endpoint, limit).await?;
        let mut heard = String::new();
        stream.read_to_string(&mut heard).await.ok();
        Ok(heard)
    };
    let (seen, called) = tokio::join!(receives, calls);
    called.map_err(|failure: model::attempt::Failure| failure.detail)?;
    seen.ok_or_else(|| "the receiver refused".to_owned())
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_wants_a_client_certificate_sees_the_webhooks() {
    for version in VERSIONS {
        let (house, guests) = (Authority::new(), Authority::new());
        let receiver = house.receiver(version, Some(&guests));
        let client = client(&house);
        let guest = guests.issue("guest.test");
        let (shown, _) = call(&client, &receiver, Some(own(Some(&guest), None)))
            .await
            .unwrap();
        assert_eq!(shown.as_ref(), Some(&guest.0));
        // Without one, or with one of nobody that it knows, nobody is let in.
        let stranger = own(Some(&Authority::new().issue("guest.test")), None);
        for own in [None, Some(stranger)] {
            assert!(call(&client, &receiver, own).await.is_err(), "{version:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_wants_none_never_sees_it() {
    for version in VERSIONS {
        let house = Authority::new();
        let receiver = house.receiver(version, None);
        let guest = own(Some(&Authority::new().issue("guest.test")), None);
        let (shown, _) = call(&client(&house), &receiver, Some(guest)).await.unwrap();
        assert_eq!(shown, None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_is_resumed_for_those_only_that_show_the_same() {
    for version in VERSIONS {
        let (house, guests) = (Authority::new(), Authority::new());
        let receiver = house.receiver(version, Some(&guests));
        let client = client(&house);
        let (one, two) = (guests.issue("one.test"), guests.issue("two.test"));
        let of = |guest| Some(own(Some(guest), None));
        let (of_one, of_two) = (of(&one), of(&two));
        for (own, guest, resumed) in [
            (&of_one, &one, false),
            (&of_two, &two, false),
            (&of_one, &one, true),
            (&of_two, &two, true),
        ] {
            let (shown, was_resumed) = call(&client, &receiver, own.clone()).await.unwrap();
            assert_eq!(shown.as_ref(), Some(&guest.0));
            assert_eq!(was_resumed, resumed, "{version:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn with_ca_certificates_of_its_own_a_webhook_trusts_nobody_else() {
    for version in VERSIONS {
        let (of_settings, private) = (Authority::new(), Authority::new());
        let client = client(&of_settings);
        let public = of_settings.receiver(version, None);
        let hidden = private.receiver(version, None);
        let pinned = || Some(own(None, Some(&private)));
        assert!(call(&client, &hidden, pinned()).await.is_ok());
        let refused = call(&client, &public, pinned()).await.unwrap_err();
        let words = "the certificate's issuer is not among the webhook's CA certificates";
        assert!(refused.starts_with(words), "{refused}");
        // A session of it opens nothing to others.
        let refused = call(&client, &hidden, None).await.unwrap_err();
        assert!(refused.contains("is not trusted here"), "{refused}");
        assert!(call(&client, &public, None).await.is_ok());
    }
}

#[test]
fn two_are_the_same_if_they_are_made_from_the_same_certificates() {
    let authority = Authority::new();
    let (one, two) = (authority.issue("one.test"), authority.issue("two.test"));
    let of = |client, ca| own(client, ca);
    assert_eq!(of(Some(&one), None), of(Some(&one), None));
    let all = [
        of(Some(&one), None),
        of(Some(&two), None),
        of(None, Some(&authority)),
        of(Some(&one), Some(&authority)),
    ];
    let different: std::collections::BTreeSet<_> = all.iter().collect();
    assert_eq!(different.len(), all.len());
}

#[test]
fn a_client_certificate_that_has_ended_is_named_with_its_end() {
    let authority = Authority::new();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["guest.test".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2026, 1, 1);
    let certificate = params.signed_by(&key, &authority.0).unwrap();
    let guest = own(Some(&(certificate.der().clone(), key)), None);
    let at = |text: &str| text.parse::<Timestamp>().unwrap();
    assert_eq!(guest.expired(at("2026-01-01T00:00:00Z")), None);
    let words = guest.expired(at("2026-01-01T00:00:01Z")).unwrap();
    let wanted = "the webhook's client certificate has expired on 2026-01-01T00:00:00.000Z";
    assert_eq!(words, wanted);
}
