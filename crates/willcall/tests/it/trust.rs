//! Receivers with TLS, and certificates that become trusted while the server runs.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver as Inbox, channel};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{HandshakeKind, RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use crate::harness::{API, Client, PATIENCE, Server, TENANT, apply, spawn};
use crate::signatures::{House, NEW_KEY, OLD_KEY, notify};

const PAID: &str = r#"{"event": "democon", "action": "pretix.event.order.paid", "code": "K3LMN"}"#;

pub(crate) type Authority = CertifiedIssuer<'static, KeyPair>;

pub(crate) fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A receiver on the loopback whose certificate this authority has issued. It closes each
/// connection after its answer, and tells of each how TLS was agreed on, or that it was not.
pub(crate) fn receiver(authority: &Authority) -> (SocketAddr, Inbox<Option<HandshakeKind>>) {
    receiver_that_lets_in(authority, None)
}

/// The same for those only whom `wanted` vouches for, if there is one.
fn receiver_that_lets_in(
    authority: &Authority,
    wanted: Option<&Authority>,
) -> (SocketAddr, Inbox<Option<HandshakeKind>>) {
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, authority).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(engine::tls_crypto())
        .with_safe_default_protocol_versions()
        .unwrap();
    let config = match wanted {
        None => config.with_no_client_auth(),
        Some(wanted) => {
            let mut roots = RootCertStore::empty();
            roots.add(wanted.der().clone()).unwrap();
            let (roots, crypto) = (Arc::new(roots), engine::tls_crypto());
            let judge = WebPkiClientVerifier::builder_with_provider(roots, crypto);
            config.with_client_cert_verifier(judge.build().unwrap())
        }
    };
    let config = config
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

/// What the log says of the latest attempt that failed of this webhook, once it says these words.
fn await_failure(client: &Client, webhook: i64, words: &str) {
    let list = format!("{API}/webhooks/{webhook}/deliveries/?status=retrying");
    let told = || {
        let (_, page) = client.get(&list);
        let rows = page["results"].as_array().cloned().unwrap_or_default();
        rows.into_iter().any(|row: Value| {
            let id = row["id"].as_str().unwrap_or_default().to_owned();
            let (_, delivery) = client.get(&format!("{API}/deliveries/{id}/"));
            delivery.to_string().contains(words)
        })
    };
    assert!((0..50_000).any(|_| told()), "nothing says: {words}");
}

#[test]
fn a_receiver_of_a_private_authority_is_shown_the_webhooks_client_certificate() {
    let house = House::new();
    let server = house.start(&[OLD_KEY]);
    let client = server.client();
    let (private, guests) = (authority("private"), authority("guests"));
    let (address, calls) = receiver_that_lets_in(&private, Some(&guests));
    let webhook = client.webhook(&format!("https://{address}/"), &["pretix.event.order.paid"]);
    let put = |of: &str, body: Value| {
        let path = format!("{API}/webhooks/{webhook}/willcall/{of}/");
        let (status, answer) = client.call("PUT", &path, &body.to_string()).unwrap();
        assert_eq!(status, 200, "{answer}");
    };
    let next = || calls.recv_timeout(PATIENCE).expect("somebody calls");
    let await_call = || while next().is_none() {};
    notify(&client);
    await_failure(&client, webhook, "is not trusted here");
    put("ca_certificates", json!({ "certificates": private.pem() }));
    notify(&client);
    await_failure(
        &client,
        webhook,
        "wants a client certificate, and the webhook has none",
    );
    let key = KeyPair::generate().unwrap();
    let guest = CertificateParams::new(vec!["guest.test".to_owned()]).unwrap();
    let guest = guest.signed_by(&key, &guests).unwrap();
    let both = json!({ "certificates": guest.pem(), "private_key": key.serialize_pem() });
    put("client_certificate", both);
    notify(&client);
    await_call();
    server.terminate();
    // It is sealed with the other secrets, and opens with the master key only.
    let server = house.start(&[NEW_KEY]);
    notify(&server.client());
    let words = "its secret is sealed with master key";
    await_failure(&server.client(), webhook, words);
    server.terminate();
    let (done, words) = house.rotate_master(&[NEW_KEY, OLD_KEY]);
    assert!(done && words.contains("Sealed 1 secrets"), "{words}");
    let server = house.start(&[NEW_KEY]);
    notify(&server.client());
    await_call();
    assert!(!server.log().contains("PRIVATE KEY"));
    server.kill();
}
