//! A server process, a client and a receiver, all with the standard library only, so that the tests
//! share no code with what they test.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver as Inbox, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

/// Longer than anything here takes; a wait that reaches it has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const TOKEN: &str = "a-token-of-some-length-for-the-tests";

/// One organizer with a show and a token with all permissions.
pub(crate) const TENANT: &str = r#"
[[organizer]]
slug = "bigevents"
name = "Big Events"

[[organizer.event]]
slug = "democon"
name = "Demo Con"

[[organizer.token]]
name = "tests"
token = "a-token-of-some-length-for-the-tests"
permissions = ["webhooks:read", "webhooks:write", "notifications:write"]
"#;

pub(crate) const API: &str = "/api/v1/organizers/bigevents";

/// Runs the binary and waits for it.
pub(crate) fn willcall(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_willcall"));
    command.args(arguments).output().expect("the binary starts")
}

/// Applies a file to a data folder; returns what was printed.
pub(crate) fn apply(folder: &Path, file: &str) -> Output {
    let path = folder.join("apply.toml");
    std::fs::write(&path, file).unwrap();
    let folder = folder.to_str().unwrap();
    willcall(&["apply", path.to_str().unwrap(), "--data-dir", folder])
}

/// A running `willcall serve`. Killed when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    log: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub(crate) fn start(folder: &Path, more: &[&str]) -> Self {
        let binary = Command::new(env!("CARGO_BIN_EXE_willcall"));
        Self::start_by(binary, folder, more)
    }

    /// Starts it by a shell that limits the size of every file it writes.
    pub(crate) fn start_cramped(folder: &Path, file_kib_max: u32) -> Self {
        Self::start_by(cramped(file_kib_max), folder, &[])
    }

    /// Starts it with a limit of so many file descriptors.
    pub(crate) fn start_with_files(folder: &Path, files_max: u32) -> Self {
        let mut limited = Command::new("prlimit");
        let limit = format!("--nofile={files_max}:{files_max}");
        limited.args([&limit, env!("CARGO_BIN_EXE_willcall")]);
        Self::start_by(limited, folder, &[])
    }

    /// Lifts the limit on file sizes of a running server.
    pub(crate) fn give_room(&self) {
        let pid = self.child.id().to_string();
        let given = Command::new("prlimit")
            .args(["--pid", &pid, "--fsize=unlimited"])
            .status();
        assert!(
            given
                .expect("prlimit (package util-linux) is there")
                .success()
        );
    }

    pub(crate) fn start_by(command: Command, folder: &Path, more: &[&str]) -> Self {
        let started = Self::try_start_by(command, folder, more);
        started.unwrap_or_else(|(status, log)| panic!("it did not start: {status:?} {log}"))
    }

    /// The exit status and the log if it does not start.
    pub(crate) fn try_start_by(
        mut command: Command,
        folder: &Path,
        more: &[&str],
    ) -> Result<Self, (Option<i32>, String)> {
        let mut child = spawn_serve(command.stderr(Stdio::piped()), folder, more);
        let (told, tells) = channel();
        let log = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&log);
        let stderr = child.stderr.take().unwrap();
        spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if let Some(address) = announced(&line) {
                    told.send(address).ok();
                }
                kept.lock().unwrap().push(line);
            }
        });
        match tells.recv_timeout(PATIENCE) {
            Ok(address) => Ok(Self {
                child,
                address,
                log,
            }),
            Err(_) => {
                drop(child.kill());
                let status = child.wait().unwrap().code();
                let log = log.lock().unwrap().join("\n");
                Err((status, log))
            }
        }
    }

    /// Starts it with the standard error of `command`. `next_line` reads it until the server
    /// listens; afterwards nobody does.
    pub(crate) fn start_with_log(
        mut command: Command,
        folder: &Path,
        more: &[&str],
        mut next_line: impl FnMut() -> String,
    ) -> Self {
        let child = spawn_serve(&mut command, folder, more);
        let address = std::iter::repeat_with(|| announced(&next_line())).flatten();
        let address = address.take(1).next().expect("it goes on for ever");
        Self {
            child,
            address,
            log: Arc::default(),
        }
    }

    /// Sends these signals one right after the other.
    pub(crate) fn signal(&self, names: &[&str]) {
        let kill = |name: &&str| format!("kill -{name} {};", self.child.id());
        let script: String = names.iter().map(kill).collect();
        let sent = Command::new("sh").args(["-c", &script]).status();
        assert!(sent.unwrap().success());
    }

    /// Waits until a line of its log contains these words.
    pub(crate) fn await_log(&self, words: &str) {
        await_words(&self.log, words);
    }

    /// The path by which this process reaches a path in the server's mount namespace.
    pub(crate) fn inside(&self, path: &Path) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.child.id()));
        root.join(path.strip_prefix("/").unwrap())
    }

    /// Waits for its end; returns the exit status and its log.
    pub(crate) fn end(mut self) -> (Option<i32>, String) {
        let status = self.child.wait().unwrap().code();
        (status, self.log())
    }

    /// Waits for its end; returns the exit status. Asserts that its log contains these words.
    pub(crate) fn wait(mut self, words: &str) -> Option<i32> {
        let status = self.child.wait().unwrap().code();
        await_words(&self.log, words);
        status
    }

    pub(crate) fn client(&self) -> Client {
        Client {
            address: self.address,
            authorization: format!("Token {TOKEN}"),
        }
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends SIGTERM; returns the exit status and what it printed on standard output.
    pub(crate) fn terminate(mut self) -> (Option<i32>, String) {
        let pid = self.child.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status().unwrap();
        let status = self.child.wait().unwrap();
        let mut printed = String::new();
        self.child
            .stdout
            .take()
            .unwrap()
            .read_to_string(&mut printed)
            .unwrap();
        (status.code(), printed)
    }

    /// Its peak memory, in KiB.
    pub(crate) fn memory_peak_kib(&self) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).expect("a Linux machine");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let number = line.and_then(|line| line.split_whitespace().next());
        number.unwrap().parse().unwrap()
    }

    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn await_words(log: &Mutex<Vec<String>>, words: &str) {
    let begun = Instant::now();
    loop {
        let text = log.lock().unwrap().join("\n");
        if text.contains(words) {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{words}: {text}");
        std::thread::yield_now();
    }
}

/// The binary, by a shell that limits the size of every file it writes.
pub(crate) fn cramped(file_kib_max: u32) -> Command {
    let mut shell = Command::new("bash");
    // The ignored signal becomes an error of the write, as with a full disk.
    let script = format!("trap '' XFSZ; ulimit -S -f {file_kib_max}; exec \"$0\" \"$@\"");
    shell.args(["-c", &script, env!("CARGO_BIN_EXE_willcall")]);
    shell
}

pub(crate) fn spawn_serve(command: &mut Command, folder: &Path, more: &[&str]) -> Child {
    let command = command
        .args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--allow-private-targets",
            "127.0.0.0/8",
        ])
        .args([
            "--data-dir",
            folder.to_str().unwrap(),
            "--log-format",
            "json",
        ])
        .args(more)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    command.spawn().expect("the binary starts")
}

/// The address that the server listens on, from a line of its log.
fn announced(line: &str) -> Option<SocketAddr> {
    let entry: Value = serde_json::from_str(line).unwrap_or_default();
    Some(entry["address"].as_str()?.parse().unwrap())
}

#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) address: SocketAddr,
    pub(crate) authorization: String,
}

impl Client {
    pub(crate) fn get(&self, path: &str) -> (u16, Value) {
        self.call("GET", path, "").expect("the server answers")
    }

    pub(crate) fn post(&self, path: &str, body: &str) -> (u16, Value) {
        self.call("POST", path, body).expect("the server answers")
    }

    /// Creates a webhook for these action types; returns its id.
    pub(crate) fn webhook(&self, target_url: &str, action_types: &[&str]) -> i64 {
        let body = serde_json::json!({
            "target_url": target_url,
            "all_events": true,
            "limit_events": [],
            "action_types": action_types,
        });
        let (status, answer) = self.post(&format!("{API}/webhooks/"), &body.to_string());
        assert_eq!(status, 201, "{answer}");
        answer["id"].as_i64().unwrap()
    }

    pub(crate) fn call(
        &self,
        method: &str,
        path: &str,
        body: &str,
    ) -> std::io::Result<(u16, Value)> {
        let answer = self.exchange(method, path, body)?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| std::io::Error::other("no status line came"))?;
        let body = serde_json::from_str(body).unwrap_or_else(|_| Value::String(body.to_owned()));
        Ok((status, body))
    }

    /// Sends a request; returns the whole response.
    pub(crate) fn exchange(&self, method: &str, path: &str, body: &str) -> std::io::Result<String> {
        self.exchange_with(method, path, "", body)
    }

    /// The same with more header lines, each with its line break.
    pub(crate) fn exchange_with(
        &self,
        method: &str,
        path: &str,
        lines: &str,
        body: &str,
    ) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: {}\r\nConnection: close\r\n\
             Content-Type: application/json\r\n{lines}Content-Length: {}\r\n\r\n",
            self.address,
            self.authorization,
            body.len()
        );
        stream.write_all(head.as_bytes())?;
        stream.write_all(body.as_bytes())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }
}

/// One call as a receiver saw it.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) path: String,
    /// With names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
    /// From where it came.
    pub(crate) peer: IpAddr,
}

/// A receiver on a port of its own. It answers as `answer` says, and keeps connections. 0 is no
/// answer: the connection is closed.
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    pub(crate) calls: Inbox<Call>,
}

impl Receiver {
    pub(crate) fn start(answer: impl Fn(&Call) -> u16 + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, calls) = channel();
        let answer = Arc::new(answer);
        spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (sender, answer) = (sender.clone(), Arc::clone(&answer));
                spawn(move || {
                    drop(serve(stream, &sender, &*answer));
                });
            }
        });
        Self { address, calls }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn next(&self) -> Call {
        self.calls.recv_timeout(PATIENCE).expect("a call comes")
    }
}

fn serve(
    stream: TcpStream,
    calls: &Sender<Call>,
    answer: &dyn Fn(&Call) -> u16,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut stream = stream;
    let peer = stream.peer_addr()?.ip();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(": ") else {
                break;
            };
            headers.insert(name.to_ascii_lowercase(), value.to_owned());
        }
        let length = headers
            .get("content-length")
            .and_then(|length| length.parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        reader.read_exact(&mut body)?;
        let body = String::from_utf8_lossy(&body).into_owned();
        let call = Call {
            path,
            headers,
            body,
            peer,
        };
        let status = answer(&call);
        // Reported before it is answered, so every answered call has been reported.
        drop(calls.send(call));
        if status == 0 {
            return Ok(());
        }
        write!(
            stream,
            "HTTP/1.1 {status} Said so\r\nContent-Length: 0\r\n\r\n"
        )?;
    }
}

pub(crate) fn spawn(task: impl FnOnce() + Send + 'static) {
    drop(std::thread::Builder::new().spawn(task).unwrap());
}
