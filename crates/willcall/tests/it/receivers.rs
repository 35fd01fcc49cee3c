//! The receivers of `docs/receivers/` do what `docs/receiving.md` says of them.
//!
//! Each is started as a reader starts it, called over a real socket, and killed in the way a
//! crash kills it. Both must answer alike.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::harness::{API, Server, TENANT, apply};

/// Far above what a receiver needs, so that it passes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// `willcall:secret`
const CREDENTIALS: &str = "Authorization: Basic d2lsbGNhbGw6c2VjcmV0\r\n";

const BODY_BYTES_MAX: usize = 1024 * 1024;

struct Language {
    program: &'static str,
    file: &'static str,
    install: &'static str,
}

const LANGUAGES: [Language; 2] = [
    Language {
        program: "python3",
        file: "receiver.py",
        install: "Install Python 3.9 or newer (Debian: apt-get install python3).",
    },
    Language {
        program: "node",
        file: "receiver.mjs",
        install: "Install Node.js 18 or newer (Debian: apt-get install nodejs).",
    },
];

struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    port: u16,
}

impl Running {
    async fn start(language: &Language, seen: &Path) -> Self {
        let file = repository().join("docs/receivers").join(language.file);
        let spawned = Command::new(language.program)
            .arg(file)
            .args(["--port", "0", "--user", "willcall", "--seen"])
            .arg(seen)
            .env("RECEIVER_PASSWORD", "secret")
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn();
        let mut child = match spawned {
            Ok(child) => child,
            Err(error) => panic!(
                "{} cannot be started ({error}), so docs/receivers/{} cannot be tried. {}",
                language.program, language.file, language.install
            ),
        };
        let stdout = child.stdout.take().unwrap();
        let lines = BufReader::new(stdout).lines();
        let mut running = Self {
            child,
            lines,
            port: 0,
        };
        let hello = running.line().await;
        let port = hello.strip_prefix("listening on 127.0.0.1:");
        running.port = port.unwrap_or_else(|| panic!("{hello}")).parse().unwrap();
        running
    }

    async fn line(&mut self) -> String {
        let line = tokio::time::timeout(PATIENCE, self.lines.next_line()).await;
        line.expect("a line within a minute")
            .unwrap()
            .expect("a line before the end of the receiver")
    }

    /// Ends it at once, and answers what it had printed that nobody read.
    async fn kill(mut self) -> Vec<String> {
        self.child.kill().await.unwrap();
        let mut rest = Vec::new();
        while let Ok(Some(line)) = self.lines.next_line().await {
            rest.push(line);
        }
        rest
    }

    /// The status that a notification with this id is answered with.
    fn notify(&self, id: u64) -> u16 {
        let body = notification(id);
        self.send(&call(CREDENTIALS, &body))
    }

    /// The status of the answer to these bytes.
    fn send(&self, request: &str) -> u16 {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            answer.extend(byte);
        }
        let answer = String::from_utf8(answer).unwrap();
        let status = answer.strip_prefix("HTTP/1.1 ").unwrap();
        status.get(..3).unwrap().parse().unwrap()
    }
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn notification(id: u64) -> String {
    format!(
        r#"{{"notification_id": {id}, "organizer": "bigevents", "event": "democon", "code": "ABC23", "action": "pretix.event.order.paid"}}"#
    )
}

fn printed(id: u64) -> String {
    format!("{id} pretix.event.order.paid from bigevents")
}

fn call(credentials: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST /hook HTTP/1.1\r\nHost: localhost\r\n{credentials}\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

#[tokio::test]
async fn each_receiver_takes_a_notification_and_prints_one_line() {
    for language in &LANGUAGES {
        let folder = tempfile::tempdir().unwrap();
        let mut receiver = Running::start(language, &folder.path().join("seen")).await;
        assert_eq!(receiver.notify(1), 204, "{}", language.file);
        assert_eq!(receiver.line().await, printed(1));
        assert_eq!(receiver.notify(2), 204, "{}", language.file);
        assert_eq!(receiver.line().await, printed(2));
    }
}

#[tokio::test]
async fn each_receiver_drops_a_duplicate_also_after_it_was_killed() {
    for language in &LANGUAGES {
        let folder = tempfile::tempdir().unwrap();
        let seen = folder.path().join("seen");
        let mut receiver = Running::start(language, &seen).await;
        for id in [1, 1, 2] {
            assert_eq!(receiver.notify(id), 204, "{}", language.file);
        }
        assert_eq!(receiver.line().await, printed(1), "{}", language.file);
        assert_eq!(receiver.line().await, printed(2), "{}", language.file);
        // Answered as the third was worked on: that the second is noted as done is not certain.
        assert_eq!(receiver.notify(3), 204, "{}", language.file);
        assert_eq!(receiver.line().await, printed(3), "{}", language.file);
        receiver.kill().await;

        let mut receiver = Running::start(language, &seen).await;
        for id in [1, 2, 4] {
            assert_eq!(receiver.notify(id), 204, "{}", language.file);
        }
        let mut line = receiver.line().await;
        if line == printed(3) {
            line = receiver.line().await;
        }
        assert_eq!(line, printed(4), "{}", language.file);
    }
}

#[tokio::test]
async fn each_receiver_works_on_what_it_answered_before_it_was_killed() {
    for language in &LANGUAGES {
        let folder = tempfile::tempdir().unwrap();
        let seen = folder.path().join("seen");
        let receiver = Running::start(language, &seen).await;
        for id in 1..=20 {
            assert_eq!(receiver.notify(id), 204, "{}", language.file);
        }
        let before = receiver.kill().await;

        let mut receiver = Running::start(language, &seen).await;
        for id in 1..=20 {
            if !before.contains(&printed(id)) {
                while receiver.line().await != printed(id) {}
            }
        }
    }
}

#[tokio::test]
async fn a_number_is_a_duplicate_only_of_the_same_organizer() {
    for language in &LANGUAGES {
        let folder = tempfile::tempdir().unwrap();
        let mut receiver = Running::start(language, &folder.path().join("seen")).await;
        for sender in [r#""organizer": "one""#, r#""issuer_slug": "two""#] {
            let body = format!(r#"{{"notification_id": 1, {sender}, "action": "a\nb"}}"#);
            assert_eq!(receiver.send(&call(CREDENTIALS, &body)), 204);
        }
        assert_eq!(receiver.line().await, "1 a?b from one", "{}", language.file);
        assert_eq!(receiver.line().await, "1 a?b from two", "{}", language.file);
    }
}

#[tokio::test]
async fn each_receiver_refuses_what_is_not_a_notification() {
    let wrong = "Authorization: Basic d2lsbGNhbGw6c2VjcmVY\r\n";
    let length = |length: &str| {
        format!("POST / HTTP/1.1\r\nHost: localhost\r\n{CREDENTIALS}{length}\r\n\r\n")
    };
    let cases = [
        (call(wrong, &notification(1)), 401),
        (call("", &notification(1)), 401),
        ("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), 405),
        ("PUT / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), 405),
        (call(CREDENTIALS, "not JSON"), 400),
        (call(CREDENTIALS, ""), 400),
        (call(CREDENTIALS, "null"), 400),
        (call(CREDENTIALS, "[]"), 400),
        (call(CREDENTIALS, "{}"), 400),
        (call(CREDENTIALS, r#"{"notification_id": "1"}"#), 400),
        (call(CREDENTIALS, r#"{"notification_id": NaN}"#), 400),
        (call(CREDENTIALS, &notification(1 << 53)), 400),
        (call(CREDENTIALS, "\u{feff}{\"notification_id\": 1}"), 400),
        (length("X: y"), 411),
        (length("Content-Length: many"), 400),
        (
            length(&format!("Content-Length: {}", BODY_BYTES_MAX + 1)),
            413,
        ),
    ];
    for language in &LANGUAGES {
        let folder = tempfile::tempdir().unwrap();
        let mut receiver = Running::start(language, &folder.path().join("seen")).await;
        for (request, status) in &cases {
            let told = format!("{}: {request}", language.file);
            assert_eq!(receiver.send(request), *status, "{told}");
        }
        // None of them was taken.
        assert_eq!(receiver.notify(1), 204, "{}", language.file);
        assert_eq!(receiver.line().await, printed(1), "{}", language.file);
    }
}

#[tokio::test]
async fn each_receiver_gets_what_is_handed_in_at_a_real_server() {
    let folder = tempfile::tempdir().unwrap();
    assert!(apply(folder.path(), TENANT).status.success());
    let server = Server::start(folder.path(), &[]);
    let client = server.client();
    for (number, language) in (1..).zip(&LANGUAGES) {
        let mut running = Running::start(language, &folder.path().join(language.file)).await;
        let url = format!("http://willcall:secret@127.0.0.1:{}/hook", running.port);
        let webhook = client.webhook(&url, &["pretix.event.order.paid"]);
        let notification = serde_json::json!({
            "notification_id": number,
            "event": "democon",
            "action": "pretix.event.order.paid",
            "code": "ABC23",
        });
        let (status, answer) =
            client.post(&format!("{API}/notifications/"), &notification.to_string());
        assert_eq!(status, 201, "{answer}");
        let line = running.line().await;
        assert_eq!(
            line,
            format!("{number} pretix.event.order.paid from bigevents")
        );
        // The next one gets its own, not this one's.
        let path = format!("{API}/webhooks/{webhook}/");
        let disabled = client
            .call("PATCH", &path, r#"{"enabled": false}"#)
            .unwrap();
        assert_eq!(disabled.0, 200, "{}", disabled.1);
    }
}
