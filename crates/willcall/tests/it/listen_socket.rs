//! A server that listens on a socket in the file system: who gets in, whose word counts, and what
//! becomes of its file.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::harness::{API, PATIENCE, TENANT, TOKEN, apply, willcall};

/// A server on a socket alone, and what it logged until it listened.
struct Server {
    child: Child,
    log: BufReader<std::process::ChildStderr>,
}

impl Server {
    fn start(folder: &Path, listen: &str, more: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_willcall"))
            .args(["serve", "--listen", listen, "--log-format", "json"])
            .args(["--data-dir", folder.to_str().unwrap()])
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let mut server = Self { child, log };
        server.line_with("Willcall listens on the socket");
        server
    }

    /// The next entry of the log whose message begins so.
    fn line_with(&mut self, message: &str) -> Value {
        loop {
            let mut line = String::new();
            assert!(self.log.read_line(&mut line).unwrap() > 0, "{message}");
            let entry: Value = serde_json::from_str(&line).unwrap();
            if entry["message"].as_str().unwrap().starts_with(message) {
                return entry;
            }
        }
    }

    fn end(mut self, signal: &str) {
        let pid = self.child.id().to_string();
        Command::new("kill").args([signal, &pid]).status().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn exchange(socket: &Path, method: &str, path: &str, lines: &str, body: &str) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{lines}\
         Content-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_server_on_a_socket_answers_is_found_by_commands_and_removes_its_file() {
    let folder = tempfile::tempdir().unwrap();
    apply(folder.path(), TENANT);
    let socket = folder.path().join("http.sock");
    let listen = format!("127.0.0.1:0,unix:{}", socket.display());
    let server = Server::start(folder.path(), &listen, &[]);
    let found = std::fs::metadata(&socket).unwrap();
    assert!(found.file_type().is_socket());
    assert_eq!(found.permissions().mode() & 0o777, 0o660);
    let lines = format!("Authorization: Token {TOKEN}\r\nContent-Type: application/json\r\n");
    let action = "pretix.event.order.paid";
    let body = format!("{{\"event\":\"democon\",\"action\":\"{action}\",\"code\":\"A\"}}");
    let path = format!("{API}/notifications/");
    let answer = exchange(&socket, "POST", &path, &lines, &body);
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    let ready = willcall(&["ready", "--listen", &listen]);
    assert_eq!(ready.status.code(), Some(0), "{ready:?}");
    assert_eq!(String::from_utf8(ready.stdout).unwrap(), "ok\n");
    let data = folder.path().to_str().unwrap();
    let doctor = |listen: &str| {
        let output = willcall(&["doctor", "--listen", listen, "--data-dir", data]);
        String::from_utf8(output.stdout).unwrap()
    };
    let said = doctor(&listen);
    let place = format!("unix:{}", socket.display());
    assert!(said.contains(&format!("ready at {place}")), "{said}");
    assert!(
        said.contains(&format!("{place} is in use by the Willcall")),
        "{said}"
    );
    server.end("-TERM");
    assert!(!socket.exists());
    let said = doctor(&listen);
    assert!(said.contains(&format!("{place} is free")), "{said}");
    assert!(!socket.exists());
    let gone = willcall(&["ready", "--listen", &listen]);
    assert_eq!(gone.status.code(), Some(1));
    let said = String::from_utf8(gone.stderr).unwrap();
    assert!(
        said.contains(&format!("no server answers at {place}")),
        "{said}"
    );
}

#[test]
fn a_socket_that_was_left_behind_is_replaced_and_one_in_use_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir().unwrap();
    let socket = folder.path().join("http.sock");
    let listen = format!("unix:{}", socket.display());
    let server = Server::start(folder.path(), &listen, &["--socket-mode", "600"]);
    let data = other.path().to_str().unwrap();
    let refused = willcall(&["serve", "--listen", &listen, "--data-dir", data]);
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(
        said.contains("another Willcall listens on the socket"),
        "{said}"
    );
    let alive = exchange(&socket, "GET", "/livez", "", "");
    assert!(alive.starts_with("HTTP/1.1 200"), "{alive}");
    server.end("-KILL");
    assert!(socket.exists());
    let server = Server::start(folder.path(), &listen, &["--socket-mode", "600"]);
    let alive = exchange(&socket, "GET", "/livez", "", "");
    assert!(alive.starts_with("HTTP/1.1 200"), "{alive}");
    let mode = std::fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    server.end("-TERM");
}

#[test]
fn whoever_comes_by_a_socket_is_believed_only_if_the_operator_says_so() {
    for (proxies, from) in [("127.0.0.1", Value::Null), ("unix", "192.0.2.7".into())] {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("http.sock");
        let listen = format!("unix:{}", socket.display());
        let mut server = Server::start(folder.path(), &listen, &["--trusted-proxies", proxies]);
        let page = exchange(&socket, "GET", "/sign-in", "", "");
        let between = |begin: &str, end: &str| {
            let (_, rest) = page.split_once(begin).unwrap();
            rest.split_once(end).unwrap().0.to_owned()
        };
        let cookie = between("set-cookie: ", ";");
        let token = between("name=\"csrf_token\" value=\"", "\"");
        let lines = format!(
            "Cookie: {cookie}\r\nX-Forwarded-For: 192.0.2.7\r\nContent-Type: \
             application/x-www-form-urlencoded\r\n"
        );
        let form = format!("name=anna&password=nobody+knows&csrf_token={token}");
        let answer = exchange(&socket, "POST", "/sign-in", &lines, &form);
        assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
        let failed = server.line_with("a sign-in failed");
        assert_eq!(failed["from"], from, "{failed}");
        server.end("-TERM");
    }
}
