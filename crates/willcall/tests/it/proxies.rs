//! Calls through real proxies, as Debian has them: tinyproxy for HTTP, microsocks for SOCKS5. Each
//! connects to receivers from an address of its own, so that receivers see who called.

use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tokio::time::Instant;

use crate::harness::{API, Client, PATIENCE, Receiver, Server, TENANT, apply, willcall};
use crate::trust::{authority, receiver};

const PAID: &str = r#"{"event": "democon", "action": "pretix.event.order.paid", "code": "K3LMN"}"#;

const PASSWORD: &str = "s3cret-of.them";

/// A proxy that knows the user `ursula`.
#[derive(Clone, Copy)]
enum Kind {
    Tinyproxy,
    Microsocks,
}

/// A proxy that runs. Killed when dropped.
struct RunningProxy(Child);

impl Kind {
    /// Not one of another process or test.
    fn address(self) -> Ipv4Addr {
        let [.., high, low] = std::process::id().to_be_bytes();
        match self {
            Self::Tinyproxy => Ipv4Addr::new(127, 53, high, low),
            Self::Microsocks => Ipv4Addr::new(127, 54, high, low),
        }
    }

    fn url(self, port: u16) -> String {
        let scheme = match self {
            Self::Tinyproxy => "http",
            Self::Microsocks => "socks5h",
        };
        format!("{scheme}://ursula@{}:{port}", self.address())
    }

    fn start(self, folder: &Path, port: u16) -> RunningProxy {
        let address = self.address();
        let mut command = match self {
            Self::Tinyproxy => {
                let file = folder.join("tinyproxy.conf");
                let text = format!(
                    "Port {port}\nListen {address}\nBind {address}\nBasicAuth ursula {PASSWORD}\n"
                );
                std::fs::write(&file, text).unwrap();
                let mut command = Command::new("tinyproxy");
                command.arg("-d").arg("-c").arg(file);
                command
            }
            Self::Microsocks => {
                let (address, port) = (address.to_string(), port.to_string());
                let mut command = Command::new("microsocks");
                command.args(["-i", &address, "-b", &address, "-p", &port]);
                command.args(["-u", "ursula", "-P", PASSWORD]);
                command
            }
        };
        let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut proxy = RunningProxy(quiet.spawn().expect("test.sh installs it"));
        let begun = Instant::now();
        while TcpStream::connect((address, port)).is_err() {
            assert_eq!(proxy.0.try_wait().unwrap(), None, "it does not start");
            assert!(begun.elapsed() < PATIENCE, "it does not listen");
            std::thread::yield_now();
        }
        proxy
    }
}

impl Drop for RunningProxy {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn pay(client: &Client) {
    let (status, answer) = client.post(&format!("{API}/notifications/"), PAID);
    assert_eq!(status, 201, "{answer}");
}

fn file(folder: &Path, name: &str, text: &str) -> String {
    let file = folder.join(name);
    std::fs::write(&file, text).unwrap();
    file.to_str().unwrap().to_owned()
}

/// How many attempts each delivery of the webhook took, once all of them are delivered.
fn attempts(client: &Client, webhook: i64) -> Vec<i64> {
    let begun = Instant::now();
    loop {
        let (_, log) = client.get(&format!("{API}/webhooks/{webhook}/deliveries/"));
        let all = log["results"].as_array().unwrap();
        if all.iter().all(|delivery| delivery["status"] == "delivered") {
            let count = |delivery: &Value| delivery["attempt_count"].as_i64().unwrap();
            return all.iter().map(count).collect();
        }
        assert!(begun.elapsed() < PATIENCE, "{log}");
        std::thread::yield_now();
    }
}

fn calls_go_through(kind: Kind, port: u16) {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    assert!(apply(folder, TENANT).status.success());
    let password = file(folder, "password", &format!("{PASSWORD}\n"));
    let proxy = kind.start(folder, port);
    let url = kind.url(port);
    let flags = ["--proxy", &url, "--proxy-password-file", &password];
    let server = Server::start(folder, &flags);
    server.await_log("calls to receivers go through the proxy");
    let (client, receiver) = (server.client(), Receiver::start(|_| 200));
    let webhook = client.webhook(&receiver.url("/"), &["pretix.event.order.paid"]);
    pay(&client);
    assert_eq!(receiver.next().peer, IpAddr::V4(kind.address()));
    assert_eq!(attempts(&client, webhook), [1]);
    // Without it nothing is called, though the receiver is there.
    drop(proxy);
    pay(&client);
    server.await_log("Willcall runs short of a proxy that works");
    let (status, words) = client.get("/readyz");
    assert_eq!(status, 200);
    assert!(
        words.as_str().unwrap().contains("connection refused"),
        "{words}"
    );
    assert!(receiver.calls.try_recv().is_err());
    let _proxy = kind.start(folder, port);
    assert_eq!(receiver.next().peer, IpAddr::V4(kind.address()));
    assert_eq!(attempts(&client, webhook), [1, 1]);
    let log = server.log();
    assert!(!log.contains("ursula") && !log.contains(PASSWORD), "{log}");
    let told = log.matches("runs short of").count();
    assert_eq!(told, 1, "{log}");
}

#[test]
fn calls_go_through_an_http_proxy_and_wait_while_it_is_gone() {
    calls_go_through(Kind::Tinyproxy, 3128);
}

#[test]
fn calls_go_through_a_socks_proxy_and_wait_while_it_is_gone() {
    calls_go_through(Kind::Microsocks, 1080);
}

fn wrong_password(kind: Kind, port: u16) {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    assert!(apply(folder, TENANT).status.success());
    let _proxy = kind.start(folder, port);
    let url = kind.url(port);
    let right = file(folder, "right", PASSWORD);
    let wrong = file(folder, "wrong", "another");
    let server = Server::start(folder, &["--proxy", &url, "--proxy-password-file", &wrong]);
    let receiver = Receiver::start(|_| 200);
    let client = server.client();
    let webhook = client.webhook(&receiver.url("/"), &["pretix.event.order.paid"]);
    pay(&client);
    server.await_log("it refuses the user or the password");
    let (_, log) = client.get(&format!("{API}/webhooks/{webhook}/deliveries/"));
    assert_eq!(log["results"][0]["status"], "pending", "{log}");
    assert_eq!(log["results"][0]["attempt_count"], 0, "{log}");
    assert!(receiver.calls.try_recv().is_err());
    server.kill();
    let data = folder.to_str().unwrap();
    let doctor = |password: &str| {
        let flags = ["--proxy", &url, "--proxy-password-file", password];
        let said = willcall(&[&["doctor", "--data-dir", data][..], &flags].concat());
        String::from_utf8(said.stdout).unwrap()
    };
    let said = doctor(&wrong);
    let words = format!(
        "{}: it refuses the user or the password",
        url.replace("ursula@", "")
    );
    let is_line = |line: &str| line.starts_with("WRONG  proxy") && line.contains(&words);
    assert!(said.lines().any(is_line), "{said}");
    let said = doctor(&right);
    let is_line = |line: &str| line.starts_with("good   proxy") && line.contains(": works; asked");
    assert!(said.lines().any(is_line), "{said}");
    // Nothing was lost, and nothing used up.
    let server = Server::start(folder, &["--proxy", &url, "--proxy-password-file", &right]);
    assert_eq!(receiver.next().peer, IpAddr::V4(kind.address()));
    assert_eq!(attempts(&server.client(), webhook), [1]);
}

#[test]
fn a_wrong_password_for_an_http_proxy_uses_up_no_attempt() {
    wrong_password(Kind::Tinyproxy, 3129);
}

#[test]
fn a_wrong_password_for_a_socks_proxy_uses_up_no_attempt() {
    wrong_password(Kind::Microsocks, 1081);
}

#[test]
fn certificates_are_verified_through_a_proxy_and_variables_name_one_if_they_may() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    assert!(apply(folder, TENANT).status.success());
    let ours = authority("ours");
    let roots = file(folder, "ours.pem", &ours.pem());
    let (address, calls) = receiver(&ours);
    let direct = Receiver::start(|_| 200);
    for (kind, port) in [(Kind::Tinyproxy, 3130), (Kind::Microsocks, 1082)] {
        let _proxy = kind.start(folder, port);
        let url = kind
            .url(port)
            .replace('@', &format!(":{}@", PASSWORD.replace('-', "%2D")));
        let mut program = Command::new(env!("CARGO_BIN_EXE_willcall"));
        program.env("HTTPS_PROXY", &url);
        let flags = ["--ca-files", &roots, "--proxy-from-env"];
        let server = Server::start_by(program, folder, &flags);
        server.await_log("calls to receivers with https go through the proxy");
        let client = server.client();
        let webhook = client.webhook(&format!("https://{address}/"), &["pretix.event.order.paid"]);
        let plain = client.webhook(&direct.url("/"), &["pretix.event.order.paid"]);
        pay(&client);
        let handshake = calls.recv_timeout(PATIENCE).expect("somebody calls");
        assert!(handshake.is_some(), "the receiver is trusted");
        let metrics = client.exchange("GET", "/metrics", "").unwrap();
        let opened = "willcall_proxy_tunnels_total{result=\"opened\"} 1";
        assert!(metrics.contains(opened), "{metrics}");
        // Nothing says that calls without TLS go there.
        assert_eq!(direct.next().peer, IpAddr::V4(Ipv4Addr::LOCALHOST));
        for webhook in [webhook, plain] {
            assert_eq!(attempts(&client, webhook), [1]);
            let path = format!("{API}/webhooks/{webhook}/");
            let (status, _) = client.call("DELETE", &path, "").unwrap();
            assert_eq!(status, 204);
        }
    }
}
