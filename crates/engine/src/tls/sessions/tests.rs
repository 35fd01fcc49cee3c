//! Handshakes with a real server in memory, on paused time: which of them are resumed.

use std::sync::atomic::AtomicUsize;

use prometheus_client::registry::Registry;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{NoServerSessionStorage, ProducesTickets};
use rustls::{HandshakeKind, ServerConfig, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::time::advance;
use tokio_rustls::TlsAcceptor;

use super::super::{TlsClient, TlsRoots, tls_config};
use super::*;
use crate::transport::Deadline;

const TLS13: &SupportedProtocolVersion = &rustls::version::TLS13;
const TLS12: &SupportedProtocolVersion = &rustls::version::TLS12;
const HOUR: Duration = Duration::from_secs(60 * 60);

/// A server that trusts itself to have issued a ticket of such a size. It shows what a receiver may
/// do, not how to make tickets.
#[derive(Debug)]
struct WideTickets {
    bytes: usize,
    number: AtomicUsize,
    issued: Mutex<Vec<(Vec<u8>, Vec<u8>)>>,
}

impl ProducesTickets for WideTickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        7 * 24 * 60 * 60
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let mut ticket = number.to_be_bytes().to_vec();
        ticket.resize(self.bytes, 7);
        lock(&self.issued).push((ticket.clone(), plain.to_vec()));
        Some(ticket)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let issued = lock(&self.issued);
        let issued = issued.iter().find(|(known, _)| known == ticket);
        issued.map(|(_, plain)| plain.clone())
    }
}

/// An authority and a receiver that it vouches for.
struct House {
    roots: TlsRoots,
    receiver: TlsAcceptor,
}

impl House {
    fn new(version: &'static SupportedProtocolVersion) -> Self {
        Self::with(version, 200, 2, Duration::from_secs(1_000_000))
    }

    fn with(
        version: &'static SupportedProtocolVersion,
        ticket_bytes: usize,
        tickets: usize,
        valid_for: Duration,
    ) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        // Else two would have one name, and a certificate of one a bad signature for the other.
        let name = format!("{:?}", &key.public_key_raw()[..8]);
        params.distinguished_name.push(DnType::CommonName, name);
        let authority = CertifiedIssuer::self_signed(params, key).unwrap();
        let names = vec!["a.test".to_owned(), "b.test".to_owned()];
        let mut params = CertificateParams::new(names).unwrap();
        let now = std::time::UNIX_EPOCH;
        let seconds = rustls::pki_types::UnixTime::now().as_secs();
        params.not_after = (now + Duration::from_secs(seconds) + valid_for).into();
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &authority).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = crate::tls::tls_crypto();
        let config = ServerConfig::builder_with_provider(provider);
        let config = config.with_protocol_versions(&[version]).unwrap();
        let config = config.with_no_client_auth();
        let mut config = config
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = tickets;
        config.max_early_data_size = 1_024;
        config.ticketer = Arc::new(WideTickets {
            bytes: ticket_bytes,
            number: AtomicUsize::new(0),
            issued: Mutex::default(),
        });
        let pem = ("house.pem".to_owned(), authority.pem().into_bytes());
        Self {
            roots: tls_config(&[pem]).unwrap(),
            receiver: TlsAcceptor::from(Arc::new(config)),
        }
    }

    fn client(&self) -> TlsClient {
        TlsClient::new(&self.roots, &mut Registry::default())
    }

    /// One call, as the receiver saw it: whether it was resumed.
    async fn call(&self, client: &TlsClient, host: &str, port: u16) -> Result<bool, String> {
        let (ours, theirs) = duplex(64 * 1024);
        let endpoint = Endpoint {
            tls: true,
            host: host.to_owned(),
            port,
            own: None,
        };
        let receives = async {
            let mut stream = self.receiver.accept(theirs).await.ok()?;
            let kind = stream.get_ref().1.handshake_kind();
            assert!(stream.get_mut().1.early_data().is_none());
            stream.write_all(b"hello").await.ok()?;
            stream.shutdown().await.ok()?;
            Some(kind == Some(HandshakeKind::Resumed))
        };
        let calls = async {
            let limit = Deadline::from_here(5_000);
            let mut stream = client.connect(Box::new(ours), &endpoint, limit).await?;
            let mut heard = String::new();
            stream.read_to_string(&mut heard).await.unwrap();
            assert_eq!(heard, "hello");
            Ok(())
        };
        let (was_resumed, called) = tokio::join!(receives, calls);
        called.map_err(|failure: model::attempt::Failure| failure.detail)?;
        Ok(was_resumed.expect("the receiver agreed"))
    }

    async fn resumes(&self, client: &TlsClient, host: &str, port: u16) -> bool {
        self.call(client, host, port).await.unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_was_called_before_need_not_show_its_certificate_again() {
    for version in [TLS13, TLS12] {
        let house = House::new(version);
        let client = house.client();
        assert!(!house.resumes(&client, "a.test", 443).await);
        for _ in 0..20 {
            assert!(house.resumes(&client, "a.test", 443).await, "{version:?}");
        }
        assert!(!house.resumes(&client, "b.test", 443).await);
        assert!(!house.resumes(&house.client(), "a.test", 443).await);
    }
}

#[tokio::test(start_paused = true)]
async fn two_ports_of_a_host_have_sessions_of_their_own() {
    for version in [TLS13, TLS12] {
        let (house, other) = (House::new(version), House::new(version));
        let client = house.client();
        assert!(!house.resumes(&client, "a.test", 443).await);
        // Another server does not know the ticket; that one costs it nothing.
        let refused = other.call(&client, "a.test", 8443).await;
        assert!(refused.unwrap_err().contains("is not trusted here"));
        assert!(house.resumes(&client, "a.test", 443).await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_day_after_a_receiver_was_verified_it_is_verified_again() {
    for version in [TLS13, TLS12] {
        let house = House::new(version);
        let client = house.client();
        assert!(!house.resumes(&client, "a.test", 443).await);
        // What was resumed in between makes it no younger.
        for _ in 0..23 {
            advance(HOUR).await;
            assert!(house.resumes(&client, "a.test", 443).await, "{version:?}");
        }
        advance(HOUR).await;
        assert!(!house.resumes(&client, "a.test", 443).await, "{version:?}");
        assert!(house.resumes(&client, "a.test", 443).await);
    }
}

#[tokio::test(start_paused = true)]
async fn no_session_outlives_its_receivers_certificate() {
    for version in [TLS13, TLS12] {
        let house = House::with(version, 200, 2, 2 * HOUR);
        let client = house.client();
        assert!(!house.resumes(&client, "a.test", 443).await);
        advance(HOUR).await;
        assert!(house.resumes(&client, "a.test", 443).await, "{version:?}");
        advance(HOUR).await;
        assert!(!house.resumes(&client, "a.test", 443).await, "{version:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn sessions_end_when_what_is_trusted_changes() {
    for version in [TLS13, TLS12] {
        let (house, other) = (House::new(version), House::new(version));
        let client = house.client();
        house.resumes(&client, "a.test", 443).await;
        assert!(house.resumes(&client, "a.test", 443).await);
        client.replace_roots(&house.roots);
        assert!(!house.resumes(&client, "a.test", 443).await, "{version:?}");
        client.replace_roots(&other.roots);
        let refused = house.call(&client, "a.test", 443).await;
        assert!(refused.unwrap_err().contains("is not trusted here"));
    }
}

#[tokio::test(start_paused = true)]
async fn calls_that_begin_together_have_a_session_each_up_to_two() {
    let house = House::new(TLS13);
    let client = house.client();
    for _ in 0..4 {
        house.resumes(&client, "a.test", 443).await;
    }
    let one = || house.call(&client, "a.test", 443);
    let (a, b, c) = tokio::join!(one(), one(), one());
    let resumed = [a, b, c].map(Result::unwrap);
    assert_eq!(resumed.iter().filter(|was| **was).count(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_takes_much_memory_is_not_remembered() {
    // A receiver with wide tickets has one of them, one with huge ones none.
    for (ticket_bytes, tickets, bytes_max) in [
        (200, 2, TLS_ENDPOINT_BYTES_MAX),
        (4 * 1024, 2, TLS_SESSION_BYTES_MAX + ENDPOINT_OVERHEAD + 6),
        (20 * 1024, 2, ENDPOINT_OVERHEAD + 6),
        (1024, 10, TLS_SESSION_BYTES_MAX),
    ] {
        for version in [TLS13, TLS12] {
            let house = House::with(version, ticket_bytes, tickets, 1_000 * HOUR);
            let client = house.client();
            for _ in 0..3 {
                let was_resumed = house.resumes(&client, "a.test", 443).await;
                let (endpoints, bytes) = client.remembered();
                assert!(
                    endpoints <= 1 && bytes <= bytes_max,
                    "{ticket_bytes}: {bytes}"
                );
                assert!(!was_resumed || ticket_bytes < 20 * 1024);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_receivers_that_were_called_longest_ago_are_forgotten_first() {
    for version in [TLS13, TLS12] {
        let house = House::new(version);
        let bytes_max = 20 * 1024;
        let sessions = SessionStore::new(bytes_max);
        let client = TlsClient::with(&house.roots, sessions, &mut Registry::default());
        for port in 1..=40 {
            house.resumes(&client, "a.test", port).await;
            assert!(client.remembered().1 <= bytes_max);
            // One that is called all the time stays.
            assert_eq!(house.resumes(&client, "b.test", 443).await, port > 1);
        }
        let (endpoints, _) = client.remembered();
        assert!((4..40).contains(&endpoints), "{endpoints}");
        assert!(house.resumes(&client, "a.test", 40).await);
        assert!(!house.resumes(&client, "a.test", 1).await);
    }
}

#[test]
fn nothing_is_sent_before_the_handshake_has_ended() {
    // Early data can be replayed by whoever sees it.
    let roots = tls_config(&[]).unwrap();
    assert!(!roots.config.enable_early_data);
}
