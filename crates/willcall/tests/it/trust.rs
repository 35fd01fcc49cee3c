//! Receivers with TLS, and certificates that become trusted while the server runs.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver as Inbox, channel};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{HandshakeKind, ServerConfig, ServerConnection, StreamOwned};

use crate::harness::{API, PATIENCE, Server, TENANT, apply, spawn};

const PAID: &str = r#"{"event": "democon", "action": "pretix.event.order.paid", "code": "K3LMN"}"#;

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A receiver on the loopback whose certificate this authority has issued. It closes each
/// connection after its answer, and tells of each how TLS was agreed on, or that it was not.
fn receiver(authority: &Authority) -> (SocketAddr, Inbox<Option<HandshakeKind>>) {
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, authority).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(engine::tls_crypto())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, told) = channel();
    spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let kind = answer(stream, &config).ok().flatten();
            tell.send(kind).ok();
        }
    });
    (address, told)
}

fn answer(tcp: TcpStream, config: &Arc<ServerConfig>) -> std::io::Result<Option<HandshakeKind>> {
    let connection = ServerConnection::new(Arc::clone(config)).unwrap();
    let mut stream = StreamOwned::new(connection, tcp);
    let mut head = Vec::new();
    let mut chunk = [0; 4_096];
    // The request comes in one piece, and its body is its end.
    while !head.ends_with(b"}") {
        match stream.read(&mut chunk)? {
            0 => return Ok(None),
            count => head.extend_from_slice(&chunk[..count]),
        }
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
    stream.conn.send_close_notify();
    stream.flush()?;
    Ok(stream.conn.handshake_kind())
}

#[test]
fn an_authority_that_is_added_while_the_server_runs_is_trusted_soon() {
    let folder = tempfile::tempdir().unwrap();
    assert!(apply(folder.path(), TENANT).status.success());
    let (other, ours) = (authority("another"), authority("ours"));
    let file = folder.path().join("authorities.pem");
    std::fs::write(&file, other.pem()).unwrap();
    let server = Server::start(folder.path(), &["--ca-files", file.to_str().unwrap()]);
    let (address, calls) = receiver(&ours);
    let client = server.client();
    client.webhook(&format!("https://{address}/"), &["pretix.event.order.paid"]);
    let pay = || {
        let (status, answer) = client.post(&format!("{API}/notifications/"), PAID);
        assert_eq!(status, 201, "{answer}");
    };
    pay();
    let next = || calls.recv_timeout(PATIENCE).expect("somebody calls");
    assert_eq!(next(), None, "nobody vouches for it yet");
    // As an administrator would: another file, with both.
    let new = folder.path().join("new.pem");
    std::fs::write(&new, other.pem() + &ours.pem()).unwrap();
    std::fs::rename(&new, &file).unwrap();
    server.await_log("the certificates that are trusted have changed");
    pay();
    let mut kind = next();
    // The first may be tried again in between.
    while kind.is_none() {
        kind = next();
    }
    assert_eq!(kind, Some(HandshakeKind::Full));
    pay();
    assert_eq!(next(), Some(HandshakeKind::Resumed));
    let (status, log) = server.terminate();
    assert_eq!(status, Some(0), "{log}");
}
