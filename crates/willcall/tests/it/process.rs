//! The process and its surroundings: who reads its log, which signals it gets.

use std::io::{BufRead, BufReader, Read, Write, pipe};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::channel;

use crate::harness::{API, PATIENCE, Receiver, Server, TENANT, apply, spawn};

const NOTIFICATION: &str =
    r#"{"notification_id":1,"event":"democon","code":"A","action":"pretix.event.order.paid"}"#;

#[test]
fn a_log_that_nobody_reads_stops_neither_delivery_nor_a_stop() {
    let folder = tempfile::tempdir().unwrap();
    assert!(apply(folder.path(), TENANT).status.success());
    let receiver = Receiver::start(|_| 200);
    let (log, mut writer) = pipe().unwrap();
    let mut binary = Command::new(env!("CARGO_BIN_EXE_willcall"));
    binary.stderr(writer.try_clone().unwrap());
    let mut log = BufReader::new(log);
    let server = Server::start_with_log(binary, folder.path(), &["--log-level", "debug"], || {
        let mut line = String::new();
        log.read_line(&mut line).unwrap();
        line
    });
    // More than fits into the pipe, which nobody reads.
    let (tell, full) = channel();
    spawn(move || {
        writer.write_all(&[b'\n'; 64 * 1024]).ok();
        tell.send(()).ok();
        writer.write_all(&[b'\n'; 64 * 1024]).ok();
    });
    full.recv_timeout(PATIENCE).unwrap();
    for _ in 0..10 {
        server.signal(&["USR1", "USR2"]);
        assert_eq!(server.client().get("/livez").0, 200);
    }
    let client = server.client();
    client.webhook(&receiver.url("/"), &["pretix.event.order.paid"]);
    let (status, answer) = client.post(&format!("{API}/notifications/"), NOTIFICATION);
    assert_eq!(status, 201, "{answer}");
    receiver.next();
    assert_eq!(server.terminate().0, Some(0));
}

#[test]
fn signals_in_a_volley_are_one_and_let_calls_in_flight_end() {
    let folder = tempfile::tempdir().unwrap();
    assert!(apply(folder.path(), TENANT).status.success());
    let (began, begins) = channel();
    let (release, released) = channel();
    let (began, released) = (Mutex::new(began), Mutex::new(released));
    let receiver = Receiver::start(move |_| {
        began.lock().unwrap().send(()).unwrap();
        released.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        200
    });
    let server = Server::start(folder.path(), &[]);
    let client = server.client();
    client.webhook(&receiver.url("/"), &["pretix.event.order.paid"]);
    client.post(&format!("{API}/notifications/"), NOTIFICATION);
    begins.recv_timeout(PATIENCE).unwrap();
    server.signal(&["TERM", "TERM", "INT", "HUP", "TERM"]);
    server.await_log("stopping");
    release.send(()).unwrap();
    assert_eq!(server.wait("everything is written down"), Some(0));
}

#[test]
fn a_terminal_that_closes_stops_it_in_order() {
    let folder = tempfile::tempdir().unwrap();
    assert!(apply(folder.path(), TENANT).status.success());
    let server = Server::start(folder.path(), &[]);
    if server.log().contains("SIGHUP is ignored") {
        // These tests run under `nohup`, and so does the server.
        server.signal(&["HUP"]);
        assert_eq!(server.client().get("/livez").0, 200);
        return;
    }
    server.signal(&["HUP"]);
    assert_eq!(server.wait("SIGHUP: stopping"), Some(0));
}

#[test]
fn signals_of_other_programs_are_named_and_ignored() {
    let folder = tempfile::tempdir().unwrap();
    assert!(apply(folder.path(), TENANT).status.success());
    let server = Server::start(folder.path(), &[]);
    for name in ["USR1", "USR2", "ALRM"] {
        server.signal(&[name]);
        server.await_log(&format!("SIG{name} has no meaning"));
    }
    assert_eq!(server.client().get("/livez").0, 200);
    assert_eq!(server.terminate().0, Some(0));
}

#[test]
fn a_standard_output_that_cannot_be_written_is_said_and_one_that_is_closed_is_not() {
    let folder = tempfile::tempdir().unwrap();
    assert!(apply(folder.path(), TENANT).status.success());
    let folder = folder.path().to_str().unwrap();
    let create = [
        "token",
        "create",
        "--administrator",
        "--data-dir",
        folder,
        "--name",
    ];
    let run = |name: &str, out: Stdio| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_willcall"));
        command.args(create).arg(name).stdout(out);
        command.output().unwrap()
    };
    let full = std::fs::File::options()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let told = run("second", full.into());
    let words = String::from_utf8(told.stderr).unwrap();
    assert_eq!(told.status.code(), Some(1), "{words}");
    assert!(
        words.contains("standard output cannot be written"),
        "{words}"
    );
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    let told = run("third", writer.into());
    assert_eq!(told.status.code(), Some(0));
    assert!(told.stderr.is_empty());
}

#[test]
fn a_last_word_that_nobody_can_read_is_no_panic() {
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    let mut command = Command::new(env!("CARGO_BIN_EXE_willcall"));
    command.args(["apply", "/no/such/file", "--data-dir", "/no/such/folder"]);
    let status = command.stderr(writer).status().unwrap();
    assert_eq!(status.code(), Some(1));
    let mut printed = String::new();
    let (mut reader, writer) = pipe().unwrap();
    let status = command.stderr(writer).status().unwrap();
    drop(command);
    reader.read_to_string(&mut printed).unwrap();
    assert_eq!(status.code(), Some(1));
    assert!(printed.starts_with("willcall: "), "{printed}");
}

#[test]
fn a_file_that_may_not_grow_is_an_error_of_the_write_and_no_end_of_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("apply.toml");
    std::fs::write(&file, TENANT).unwrap();
    let mut shell = Command::new("bash");
    let script = "ulimit -S -f 8; exec \"$0\" apply \"$1\" --data-dir \"$2\"";
    shell.args(["-c", script, env!("CARGO_BIN_EXE_willcall")]);
    let told = shell.args([&file, &folder.path().join("data")]).output();
    let told = told.unwrap();
    let words = String::from_utf8_lossy(&told.stderr);
    assert_eq!(told.status.code(), Some(1), "{words}");
    assert!(words.starts_with("willcall: "), "{words}");
}

#[test]
fn few_descriptors_are_shared_out_and_the_limit_is_raised_as_far_as_it_may_be() {
    let folder = tempfile::tempdir().unwrap();
    assert!(apply(folder.path(), TENANT).status.success());
    let receiver = Receiver::start(|_| 200);
    let mut shell = Command::new("bash");
    let script = "ulimit -S -n 40; ulimit -H -n 200; exec \"$0\" \"$@\"";
    shell.args(["-c", script, env!("CARGO_BIN_EXE_willcall")]);
    let server = Server::start_by(shell, folder.path(), &[]);
    server.await_log("this process may open 200 files");
    let client = server.client();
    client.webhook(&receiver.url("/"), &["pretix.event.order.paid"]);
    // More connections than descriptors: these wait, and nothing else does.
    let waiting: Vec<_> = (0..150)
        .map_while(|_| std::net::TcpStream::connect(server.address).ok())
        .collect();
    drop(waiting);
    let (status, answer) = client.post(&format!("{API}/notifications/"), NOTIFICATION);
    assert_eq!(status, 201, "{answer}");
    receiver.next();
    assert!(!server.log().contains("cannot accept"), "{}", server.log());
}

#[test]
fn the_demo_listens_where_it_is_told_and_its_link_signs_in_there() {
    let mut demo = Command::new(env!("CARGO_BIN_EXE_willcall"));
    demo.args(["demo", "--listen", "0.0.0.0:0"]);
    let mut demo = demo.stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(demo.stdout.take().unwrap()).lines();
    let mut links = lines.map_while(Result::ok).filter_map(|line| {
        let rest = line.trim().strip_prefix("http://")?;
        let (address, secret) = rest.split_once("/link/")?;
        Some((address.to_owned(), secret.to_owned()))
    });
    let (address, secret) = links.next().expect("it prints one");
    assert!(address.starts_with("127.0.0.1:"), "{address}");
    let client = crate::harness::Client {
        address: address.parse().unwrap(),
        authorization: String::new(),
    };
    let path = format!("/link/{secret}");
    let answer = client.exchange("GET", &path, "").unwrap();
    assert!(answer.starts_with("HTTP/1.1 303"), "{answer}");
    assert!(answer.contains("set-cookie"), "{answer}");
    // Where somebody listens already nobody else does, and the error says so.
    let again = crate::harness::willcall(&["demo", "--listen", &address]);
    assert!(!again.status.success());
    let words = String::from_utf8(again.stderr).unwrap();
    assert!(words.contains("cannot listen on"), "{words}");
    let id = demo.id().to_string();
    assert!(Command::new("kill").arg(&id).status().unwrap().success());
    demo.wait().unwrap();
}
