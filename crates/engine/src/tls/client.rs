//! TLS handshakes with receivers: trusted by what is trusted now, resumed where a receiver allows
//! it.

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use model::attempt::{Failure, FailureKind};
use model::certificate::Validity;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};
use rustls::client::Resumption;
use rustls::pki_types::{ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, HandshakeKind};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout_at;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::sessions::{EndpointStore, SessionStore};
use super::stream::CountedStream;
use super::verifier::timestamp;
use super::{TlsRoots, TrustSource, tls_words};
use crate::sync::lock;
use crate::transport::{Deadline, Endpoint, SocketState, Stream, io_words};

/// Makes TLS handshakes with receivers, and remembers sessions for the next ones.
pub struct TlsClient {
    trust: Mutex<Trust>,
    sessions: Arc<SessionStore>,
    full: Counter,
    resumed: Counter,
    failed: Counter,
}

/// What receivers are verified against.
#[derive(Clone)]
struct Trust {
    config: Arc<ClientConfig>,
    source: TrustSource,
}

impl Trust {
    fn new(roots: &TlsRoots) -> Self {
        Self {
            config: Arc::clone(&roots.config),
            source: match roots.count() {
                0 => TrustSource::Nothing,
                _ => TrustSource::Settings,
            },
        }
    }
}

impl TlsClient {
    /// A client that trusts `roots`, with its metrics.
    pub fn new(roots: &TlsRoots, registry: &mut Registry) -> Self {
        Self::with(roots, SessionStore::default(), registry)
    }

    pub(super) fn with(roots: &TlsRoots, sessions: SessionStore, registry: &mut Registry) -> Self {
        let family = Family::<[(&'static str, &'static str); 1], Counter>::default();
        let counter = |result| family.get_or_create_owned(&[("result", result)]);
        let client = Self {
            trust: Mutex::new(Trust::new(roots)),
            sessions: Arc::new(sessions),
            full: counter("full"),
            resumed: counter("resumed"),
            failed: counter("failed"),
        };
        registry.register(
            "willcall_tls_handshakes",
            "TLS handshakes with receivers: full ones verify a certificate, resumed ones need none. \
             Many full ones: receivers that offer no sessions, or more of them than are remembered",
            family,
        );
        registry.register_collector(Box::new(SessionGauges(Arc::clone(&client.sessions))));
        client
    }

    /// Trusts `roots` from now on instead. Sessions with receivers that were verified against the
    /// former ones end, connections that are open do not.
    pub fn replace_roots(&self, roots: &TlsRoots) {
        *lock(&self.trust) = Trust::new(roots);
        self.sessions.clear();
    }

    /// Agrees on TLS over `tcp`, by the deadline `limit`.
    pub(crate) async fn connect(
        &self,
        tcp: Box<dyn Stream>,
        endpoint: &Endpoint,
        limit: Deadline,
    ) -> Result<Box<dyn Stream>, Failure> {
        let name = ServerName::try_from(endpoint.host.clone()).map_err(|_| {
            let detail = format!("{} cannot be the name in a certificate", endpoint.host);
            Failure::new(FailureKind::BadTarget, detail)
        })?;
        let Trust { config, mut source } = lock(&self.trust).clone();
        let received = Arc::new(AtomicU64::new(0));
        let sessions = Arc::new(EndpointStore::new(
            Arc::clone(&self.sessions),
            Arc::new(endpoint.clone()),
            Arc::clone(&received),
        ));
        // Few pointers; it is what says whose sessions are asked for.
        let mut config = (*config).clone();
        if let Some(own) = &endpoint.own {
            source = own.apply(&mut config, source);
        }
        config.resumption = Resumption::store(Arc::clone(&sessions) as Arc<_>);
        let connector = TlsConnector::from(Arc::new(config));
        let counted = CountedStream::new(tcp, received);
        let agreeing = connector.connect(name, counted).into_fallible();
        match timeout_at(limit.deadline(), agreeing).await {
            Ok(Ok(mut stream)) => {
                let (counted, connection) = stream.get_mut();
                counted.established();
                self.established(connection, &sessions);
                Ok(Box::new(stream))
            }
            Ok(Err((error, mut counted))) => {
                self.failed.inc();
                // What we have against the receiver, which its log may show. Its outcome is known.
                timeout_at(limit.deadline(), counted.shutdown()).await.ok();
                let detail = tls_words(&error, source).unwrap_or_else(|| io_words(&error));
                Err(Failure::new(FailureKind::Tls, detail))
            }
            Err(_) => {
                self.failed.inc();
                Err(limit.missed("the TLS handshake"))
            }
        }
    }

    fn established(&self, connection: &ClientConnection, sessions: &EndpointStore) {
        let chain = connection.peer_certificates().unwrap_or_default();
        let chain_bytes = chain.iter().map(|certificate| certificate.len()).sum();
        let kind = connection.handshake_kind();
        let is_resumed = kind == Some(HandshakeKind::Resumed);
        let valid_for = match (is_resumed, chain.first()) {
            (false, Some(certificate)) => valid_for(certificate),
            _ => None,
        };
        sessions.established(is_resumed, chain_bytes, valid_for);
        match is_resumed {
            true => self.resumed.inc(),
            false => self.full.inc(),
        };
    }
}

#[cfg(test)]
impl TlsClient {
    /// How many endpoints are remembered, and the bytes counted for it.
    pub(super) fn remembered(&self) -> (usize, usize) {
        self.sessions.size()
    }
}

/// How long a certificate that was just verified goes on to be valid, if it says so readably.
fn valid_for(certificate: &[u8]) -> Option<Duration> {
    let until = Validity::of(certificate)?.not_after.as_millis();
    let left = until.saturating_sub(timestamp(UnixTime::now()).as_millis());
    Some(Duration::from_millis(u64::try_from(left).unwrap_or(0)))
}

impl Stream for TlsStream<CountedStream> {
    fn socket_state(&self) -> SocketState {
        self.get_ref().0.socket_state()
    }
}

/// Counts the sessions whenever the registry is read.
struct SessionGauges(Arc<SessionStore>);

impl Collector for SessionGauges {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let (endpoints, bytes) = self.0.size();
        let gauges = [
            (
                "willcall_tls_session_endpoints",
                "Receivers whose TLS sessions are remembered, by host and port.",
                None,
                endpoints,
            ),
            (
                "willcall_tls_session",
                "Memory that remembered TLS sessions are counted with; at most 32 MiB, and what was \
                 used longest ago is forgotten first.",
                Some(&Unit::Bytes),
                bytes,
            ),
        ];
        for (name, help, unit, count) in gauges {
            let gauge = ConstGauge::new(i64::try_from(count).unwrap_or(i64::MAX));
            let metric = encoder.encode_descriptor(name, help, unit, gauge.metric_type())?;
            gauge.encode(metric)?;
        }
        Ok(())
    }
}

impl fmt::Debug for SessionGauges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionGauges")
    }
}
