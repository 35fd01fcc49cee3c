//! What goes over the wire below TLS, with real servers in memory: in how many pieces, and that
//! nothing that has to be sent stays behind.

use std::io::IoSlice;
use std::sync::Mutex;

use prometheus_client::registry::Registry;
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{AlertDescription, Error, ServerConfig, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio_rustls::TlsAcceptor;

use super::super::{TlsClient, TlsRoots, tls_config, tls_crypto};
use super::*;
use crate::sync::lock;
use crate::transport::{Deadline, Endpoint};

const TLS13: &SupportedProtocolVersion = &rustls::version::TLS13;
const TLS12: &SupportedProtocolVersion = &rustls::version::TLS12;
const REQUEST: &[u8] = b"POST / HTTP/1.1\r\n\r\n";

/// Notes how long each piece is that is written.
struct Noting(DuplexStream, Arc<Mutex<Vec<usize>>>);

impl Stream for Noting {}

impl AsyncRead for Noting {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Noting {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let count = ready!(Pin::new(&mut this.0).poll_write(cx, bytes))?;
        lock(&this.1).push(count);
        Poll::Ready(Ok(count))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let all: Vec<&[u8]> = slices.iter().map(|slice| &**slice).collect();
        self.poll_write(cx, &all.concat())
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_shutdown(cx)
    }
}

fn receiver(version: &'static SupportedProtocolVersion) -> (TlsAcceptor, TlsRoots) {
    let params = CertificateParams::new(vec!["a.test".to_owned()]).unwrap();
    let key = KeyPair::generate().unwrap();
    let own = params.self_signed(&key).unwrap();
    let roots = tls_config(&[("own.pem".to_owned(), own.pem().into_bytes())]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(tls_crypto())
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![own.der().clone()], key)
        .unwrap();
    (TlsAcceptor::from(Arc::new(config)), roots)
}

fn endpoint() -> Endpoint {
    Endpoint {
        tls: true,
        host: "a.test".to_owned(),
        port: 443,
        own: None,
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_handshake_goes_out_with_the_request_where_nobody_waits_for_it() {
    for (version, pieces) in [(TLS13, 2), (TLS12, 3)] {
        let (acceptor, roots) = receiver(version);
        let (ours, theirs) = duplex(64 * 1024);
        let noted = Arc::new(Mutex::new(Vec::new()));
        let ours = Noting(ours, Arc::clone(&noted));
        let receives = async {
            let mut stream = acceptor.accept(theirs).await.unwrap();
            let mut got = vec![0; REQUEST.len()];
            stream.read_exact(&mut got).await.unwrap();
            stream.write_all(b"hello").await.unwrap();
            stream.shutdown().await.unwrap();
            got
        };
        let calls = async {
            let client = TlsClient::new(&roots, &mut Registry::default());
            let limit = Deadline::from_here(5_000);
            let stream = client.connect(Box::new(ours), &endpoint(), limit).await;
            let mut stream = stream.ok().unwrap();
            stream.write_all(REQUEST).await.unwrap();
            let mut heard = String::new();
            stream.read_to_string(&mut heard).await.unwrap();
            heard
        };
        let (got, heard) = tokio::join!(receives, calls);
        assert_eq!((&*got, &*heard), (REQUEST, "hello"));
        assert_eq!(lock(&noted).len(), pieces, "{version:?}: {noted:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_is_not_trusted_is_told_so() {
    for version in [TLS13, TLS12] {
        let (acceptor, _) = receiver(version);
        let (_, roots) = receiver(version);
        let (ours, theirs) = duplex(64 * 1024);
        let receives = async { acceptor.accept(theirs).await.err().unwrap() };
        let calls = async {
            let client = TlsClient::new(&roots, &mut Registry::default());
            let limit = Deadline::from_here(5_000);
            client
                .connect(Box::new(ours), &endpoint(), limit)
                .await
                .is_err()
        };
        let (refused, failed) = tokio::join!(receives, calls);
        assert!(failed);
        let told = refused.get_ref().and_then(|error| error.downcast_ref());
        let alert = Error::AlertReceived(AlertDescription::UnknownCA);
        assert_eq!(told, Some(&alert), "{version:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_only_reads_after_a_handshake_has_ended_it_before() {
    let (acceptor, roots) = receiver(TLS13);
    let (ours, theirs) = duplex(64 * 1024);
    let receives = async {
        let mut stream = acceptor.accept(theirs).await.unwrap();
        stream.write_all(b"hello").await.unwrap();
        stream.shutdown().await.unwrap();
    };
    let calls = async {
        let client = TlsClient::new(&roots, &mut Registry::default());
        let limit = Deadline::from_here(5_000);
        let stream = client.connect(Box::new(ours), &endpoint(), limit).await;
        let mut heard = String::new();
        stream
            .ok()
            .unwrap()
            .read_to_string(&mut heard)
            .await
            .unwrap();
        assert_eq!(heard, "hello");
    };
    tokio::join!(receives, calls);
}

#[tokio::test(start_paused = true)]
async fn what_is_held_back_goes_out_whole_and_first_through_a_narrow_pipe() {
    let (ours, mut theirs) = duplex(3);
    let mut stream = CountedStream::new(Box::new(ours), Arc::default());
    theirs.write_all(b"x").await.unwrap();
    stream.read_exact(&mut [0]).await.unwrap();
    stream.write_all(b"finished").await.unwrap();
    stream.established();
    let writes = async {
        stream.write_all(b" and request").await.unwrap();
        stream.flush().await.unwrap();
        drop(stream);
    };
    let reads = async {
        let mut all = String::new();
        theirs.read_to_string(&mut all).await.unwrap();
        assert_eq!(all, "finished and request");
    };
    tokio::join!(writes, reads);
}
