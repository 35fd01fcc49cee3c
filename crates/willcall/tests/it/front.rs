//! Behind nginx and Caddy, as Debian has them, with the examples that operators are given: signing
//! in, live pages, and whom the server takes for the client.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tokio::net::TcpSocket;
use tokio::time::Instant;

use crate::harness::{API, PATIENCE, Server, TENANT, apply};
use crate::trust::authority;

const NAME: &str = "webhooks.example.org";
const PASSWORD: &str = "correct horse battery";
const PAID: &str = r#"{"event": "democon", "action": "pretix.event.order.paid", "code": "K3LMN"}"#;

const NGINX: &str = include_str!("../../../../packaging/examples/nginx.conf");
const CADDY: &str = include_str!("../../../../packaging/examples/Caddyfile");

#[derive(Clone, Copy)]
enum Kind {
    Nginx,
    Caddy,
}

/// A server in front that runs. Killed when dropped.
struct Front {
    child: Child,
    address: SocketAddr,
    roots: RootCertStore,
}

impl Drop for Front {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Replaces what is there exactly once.
fn put(text: &str, old: &str, new: &str) -> String {
    assert_eq!(text.matches(old).count(), 1, "{old}");
    text.replace(old, new)
}

impl Kind {
    /// Not one of another process or test.
    fn address(self, port: u16) -> SocketAddr {
        let [.., high, low] = std::process::id().to_be_bytes();
        let net = match self {
            Self::Nginx => 55,
            Self::Caddy => 56,
        };
        (Ipv4Addr::new(127, net, high, low), port).into()
    }

    /// The example with address, certificate and upstream of this test, and how it is run.
    fn command(self, folder: &Path, address: SocketAddr, upstream: SocketAddr) -> Command {
        let shown = folder.display();
        let file = folder.join("front.conf");
        let (text, command) = match self {
            Self::Nginx => {
                let example = put(NGINX, "listen 443 ssl", &format!("listen {address} ssl"));
                let example = put(
                    &example,
                    "127.0.0.1:8080;\n    keep",
                    &format!("{upstream};\n    keep"),
                );
                let example = put(
                    &example,
                    "/etc/ssl/webhooks.example.org.pem",
                    &format!("{shown}/cert"),
                );
                let example = put(
                    &example,
                    "/etc/ssl/private/webhooks.example.org.key",
                    &format!("{shown}/key"),
                );
                let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
                let temporary = temporary.map(|name| format!("{name}_temp_path {shown}/{name};\n"));
                let temporary = temporary.concat();
                let text = format!(
                    "daemon off;\nmaster_process off;\npid {shown}/pid;\nevents {{}}\n\
                     http {{\naccess_log off;\n{temporary}{example}}}\n"
                );
                let mut command = Command::new("/usr/sbin/nginx");
                command
                    .arg("-p")
                    .arg(folder)
                    .arg("-e")
                    .arg("stderr")
                    .arg("-c")
                    .arg(&file);
                (text, command)
            }
            Self::Caddy => {
                let site = format!(
                    "{{\n\tadmin off\n\tauto_https disable_redirects\n}}\n\n{NAME}:{} {{\n\
                     \tbind {}\n\ttls {shown}/cert {shown}/key\n",
                    address.port(),
                    address.ip()
                );
                let example = put(CADDY, &format!("{NAME} {{\n"), &site);
                let text = put(
                    &example,
                    "proxy 127.0.0.1:8080",
                    &format!("proxy {upstream}"),
                );
                let mut command = Command::new("caddy");
                command
                    .args(["run", "--adapter", "caddyfile", "--config"])
                    .arg(&file);
                command.env("HOME", folder).env("XDG_DATA_HOME", folder);
                command.env("XDG_CONFIG_HOME", folder);
                (text, command)
            }
        };
        std::fs::write(&file, text).unwrap();
        command
    }

    fn start(self, folder: &Path, port: u16, upstream: SocketAddr) -> Front {
        let address = self.address(port);
        let authority = authority("ours");
        let params = CertificateParams::new(vec![NAME.to_owned()]).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &authority).unwrap();
        std::fs::write(folder.join("cert"), certificate.pem()).unwrap();
        std::fs::write(folder.join("key"), key.serialize_pem()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(authority.der().clone()).unwrap();
        let mut command = self.command(folder, address, upstream);
        let log = std::fs::File::create(folder.join("front.log")).unwrap();
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let child = command.spawn().expect("test.sh installs it");
        let mut front = Front {
            child,
            address,
            roots,
        };
        let begun = Instant::now();
        while TcpStream::connect(address).is_err() {
            let ended = front.child.try_wait().unwrap();
            let log = || std::fs::read_to_string(folder.join("front.log")).unwrap();
            assert_eq!(ended, None, "{}", log());
            assert!(begun.elapsed() < PATIENCE, "{}", log());
            std::thread::yield_now();
        }
        front
    }
}

/// A browser at an address of its own, with its cookies.
struct Browser<'a> {
    front: &'a Front,
    source: Ipv4Addr,
    cookies: BTreeMap<String, String>,
}

type Stream = StreamOwned<ClientConnection, TcpStream>;

impl<'a> Browser<'a> {
    fn at(front: &'a Front, last: u8) -> Self {
        Self {
            front,
            source: Ipv4Addr::new(127, 0, 0, last),
            cookies: BTreeMap::new(),
        }
    }

    /// Sends a request, with a client's address that somebody made up.
    async fn send(&self, method: &str, path: &str, body: &str) -> Stream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((self.source, 0).into()).unwrap();
        let tcp = socket
            .connect(self.front.address)
            .await
            .unwrap()
            .into_std()
            .unwrap();
        tcp.set_nonblocking(false).unwrap();
        tcp.set_read_timeout(Some(PATIENCE)).unwrap();
        let config = ClientConfig::builder_with_provider(engine::tls_crypto())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(self.front.roots.clone())
            .with_no_client_auth();
        let name = NAME.try_into().unwrap();
        let connection = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut stream = StreamOwned::new(connection, tcp);
        let cookies = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        let cookies = cookies.collect::<Vec<_>>().join("; ");
        let (length, port) = (body.len(), self.front.address.port());
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {NAME}:{port}\r\nConnection: close\r\n\
             Origin: https://{NAME}:{port}\r\nCookie: {cookies}\r\n\
             X-Forwarded-For: 192.0.2.{length}\r\nX-Forwarded-Proto: http\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\n\r\n"
        );
        stream
            .write_all(format!("{head}{body}").as_bytes())
            .unwrap();
        stream
    }

    /// The status and all of the answer. Its cookies are kept.
    async fn visit(&mut self, method: &str, path: &str, body: &str) -> (u16, String) {
        let mut stream = self.send(method, path, body).await;
        let mut answer = Vec::new();
        // Not everybody says goodbye in TLS.
        drop(stream.read_to_end(&mut answer));
        let answer = String::from_utf8_lossy(&answer).into_owned();
        for line in answer.lines() {
            let Some((name, value)) = line.split_once(": ") else {
                continue;
            };
            if name.eq_ignore_ascii_case("set-cookie") {
                assert!(value.ends_with("; Secure"), "{line}");
                let (cookie, _) = value.split_once(';').unwrap();
                let (name, value) = cookie.split_once('=').unwrap();
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        let status = answer.split(' ').nth(1).and_then(|word| word.parse().ok());
        (
            status.unwrap_or_else(|| panic!("no status: {answer}")),
            answer,
        )
    }

    /// Fills in the form.
    async fn sign_in(&mut self, password: &str) -> u16 {
        let (status, page) = self.visit("GET", "/sign-in", "").await;
        assert_eq!(status, 200, "{page}");
        let (_, token) = page.split_once("name=\"csrf_token\" value=\"").unwrap();
        let (token, _) = token.split_once('"').unwrap();
        let password = password.replace(' ', "+");
        let body = format!("csrf_token={token}&name=root&password={password}&next=");
        self.visit("POST", "/sign-in", &body).await.0
    }
}

/// What a stream says until these words.
fn until(stream: &mut Stream, words: &str) -> String {
    let (mut heard, begun) = (String::new(), Instant::now());
    while !heard.contains(words) {
        assert!(begun.elapsed() < PATIENCE, "{words}: {heard}");
        let mut piece = [0; 4_096];
        let length = stream.read(&mut piece).unwrap();
        assert!(length > 0, "{heard}");
        heard.push_str(&String::from_utf8_lossy(&piece[..length]));
    }
    heard
}

fn server(folder: &Path, more: &[&str]) -> Server {
    assert!(apply(folder, TENANT).status.success());
    let added = crate::users::with_input(
        folder,
        &["user", "add", "root", "--administrator", "--password-stdin"],
        &format!("{PASSWORD}\n"),
    );
    assert!(added.status.success(), "{added:?}");
    Server::start(folder, &[&["--allowed-hosts", NAME], more].concat())
}

async fn works_in_front(kind: Kind) {
    let folder = tempfile::tempdir().unwrap();
    let server = server(folder.path(), &["--trusted-proxies", "127.0.0.1"]);
    let front = kind.start(folder.path(), 8_443, server.address);
    // Somebody guesses, and says each time to be somebody else.
    let mut guesser = Browser::at(&front, 2);
    let begun = Instant::now();
    while guesser.sign_in("wrong horse battery").await != 429 {
        assert!(begun.elapsed() < PATIENCE, "guesses are not delayed");
    }
    // That delays nobody at another address.
    let mut browser = Browser::at(&front, 3);
    assert_eq!(browser.sign_in(PASSWORD).await, 303);
    let (status, page) = browser.visit("GET", "/t/1/log", "").await;
    assert_eq!(status, 200, "{page}");
    // What is new comes while the answer goes on.
    let mut live = browser.send("GET", "/t/1/log/live", "").await;
    let head = until(&mut live, "retry: 2000\n\n");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    let client = server.client();
    client.webhook("http://127.0.0.1:9/", &["pretix.event.order.paid"]);
    let (status, answer) = client.post(&format!("{API}/notifications/"), PAID);
    assert_eq!(status, 201, "{answer}");
    until(&mut live, "data: ");
    drop(live);
    for path in ["/metrics", "/readyz", "/livez"] {
        assert_eq!(browser.visit("GET", path, "").await.0, 404, "{path}");
        assert_eq!(client.get(path).0, 200, "{path}");
    }
}

#[tokio::test]
async fn behind_nginx_people_sign_in_pages_are_live_and_clients_are_told_apart() {
    works_in_front(Kind::Nginx).await;
}

#[tokio::test]
async fn behind_caddy_people_sign_in_pages_are_live_and_clients_are_told_apart() {
    works_in_front(Kind::Caddy).await;
}

#[tokio::test]
async fn behind_a_proxy_that_is_not_named_all_clients_are_one() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(folder.path(), &[]);
    let front = Kind::Nginx.start(folder.path(), 8_444, server.address);
    let (mut first, mut second) = (Browser::at(&front, 4), Browser::at(&front, 5));
    let begun = Instant::now();
    // A delay may have passed before the second one asks. The next is longer.
    loop {
        while first.sign_in("wrong horse battery").await != 429 {
            assert!(begun.elapsed() < PATIENCE, "guesses are not delayed");
        }
        if second.sign_in("wrong horse battery").await == 429 {
            break;
        }
    }
}
