//! A disk that fails under a server: strace makes system calls fail from some moment on. Without
//! strace, or without the right to trace, the tests say so and prove nothing.

use std::path::Path;
use std::process::Command;

use crate::harness::{API, Client, Server, TENANT, apply, willcall};

const NOTIFICATION: &str = r#"{"action":"pretix.event.order.paid","event":"democon","code":"X"}"#;

/// At least so many notifications are accepted before that.
const TAKEN_MAX: usize = 2_000;

/// Starts a server whose system calls on these files fail as told; nothing if tracing is not
/// possible.
pub(crate) fn server(folder: &Path, files: &[&str], inject: &str) -> Option<Server> {
    let tried = Command::new("strace").args(["-qq", "true"]).output();
    if !tried.as_ref().is_ok_and(|tried| tried.status.success()) {
        println!("nothing can be traced on this machine, so nothing is shown: {tried:?}");
        return None;
    }
    assert!(apply(folder, TENANT).status.success());
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-o", "/dev/null"]);
    strace.args(["-e", &format!("inject={inject}")]);
    for file in files {
        strace.arg("-P").arg(folder.join(file));
    }
    // Killing the tracer kills the server.
    strace.args([
        "setpriv",
        "--pdeathsig",
        "KILL",
        env!("CARGO_BIN_EXE_willcall"),
    ]);
    Some(Server::start_by(strace, folder, &[]))
}

/// Sends notifications until one is refused; returns the status, the text and the header lines.
fn refused(client: &Client) -> (u16, String) {
    for _ in 0..TAKEN_MAX {
        let answer = client.exchange("POST", &format!("{API}/notifications/"), NOTIFICATION);
        let answer = answer.expect("the server answers");
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        if status != 201 {
            return (status, answer.to_ascii_lowercase());
        }
    }
    panic!("it never fails");
}

fn warnings(server: &Server, words: &str) -> usize {
    let log = server.log();
    let lines = log.lines().filter(|line| line.contains(words));
    lines.count()
}

#[test]
fn a_disk_that_fails_to_write_is_named_as_such_and_said_once() {
    let folder = tempfile::tempdir().unwrap();
    let inject = "pwrite64:error=EIO:when=40+";
    let Some(server) = server(folder.path(), &["willcall.db-wal"], inject) else {
        return;
    };
    let client = server.client();
    let (status, words) = refused(&client);
    assert_eq!(status, 503, "{words}");
    assert!(words.contains("the disk of the server fails"), "{words}");
    assert!(words.contains("\nretry-after: 30\r"), "{words}");
    for _ in 0..50 {
        assert_eq!(refused(&client).0, 503);
    }
    assert_eq!(warnings(&server, "the disk fails"), 1);
}

#[test]
fn a_file_system_that_became_read_only_is_named_as_such_wherever_somebody_looks() {
    let folder = tempfile::tempdir().unwrap();
    let inject = "pwrite64:error=EROFS:when=40+";
    let files = ["willcall.db-wal", "willcall.db-probe"];
    let Some(server) = server(folder.path(), &files, inject) else {
        return;
    };
    let client = server.client();
    let (status, words) = refused(&client);
    assert_eq!(status, 503, "{words}");
    assert!(
        words.contains("the disk of the server is read-only"),
        "{words}"
    );
    let (status, ready) = client.get("/readyz");
    let ready = ready.to_string();
    assert_eq!(status, 503, "{ready}");
    assert!(ready.contains("the file system is read-only"), "{ready}");
    assert!(ready.contains("start the server again"), "{ready}");
    for _ in 0..50 {
        assert_eq!(refused(&client).0, 503);
    }
    assert_eq!(warnings(&server, "read-only"), 1);
    let listen = server.address.to_string();
    let folder = folder.path().to_str().unwrap();
    let doctor = willcall(&["doctor", "--data-dir", folder, "--listen", &listen]);
    let said = String::from_utf8(doctor.stdout).unwrap();
    assert!(said.contains("WRONG  server"), "{said}");
    assert!(said.contains("the file system is read-only"), "{said}");
}

#[test]
fn what_cannot_be_read_is_no_fault_of_ours_and_said_once() {
    let folder = tempfile::tempdir().unwrap();
    let inject = "pread64:error=EIO:when=150+";
    let files = ["willcall.db", "willcall.db-wal"];
    let Some(server) = server(folder.path(), &files, inject) else {
        return;
    };
    let client = server.client();
    let webhook = client.webhook("http://127.0.0.1:9/", &["pretix.event.order.paid"]);
    let path = format!("{API}/webhooks/{webhook}/deliveries/");
    let mut failed = 0;
    for _ in 0..TAKEN_MAX {
        let (status, answer) = client.post(&format!("{API}/notifications/"), NOTIFICATION);
        assert!([201, 503].contains(&status), "{status} {answer}");
        // Others have written since, so the reader reads its pages again.
        let (status, answer) = client.get(&path);
        assert!([200, 503].contains(&status), "{status} {answer}");
        failed += usize::from(status == 503);
        if failed == 20 {
            break;
        }
    }
    assert_eq!(failed, 20);
    assert_eq!(warnings(&server, "a part of the store cannot be read"), 1);
}

#[test]
fn a_server_whose_disk_fails_to_sync_answers_and_ends_with_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let inject = "fdatasync:error=EIO:when=20+";
    let Some(server) = server(folder.path(), &["willcall.db-wal"], inject) else {
        return;
    };
    let client = server.client();
    // A request while it ends is answered, or finds no server.
    let mut refusals = 0;
    for _ in 0..TAKEN_MAX {
        let answer = client.exchange("POST", &format!("{API}/notifications/"), NOTIFICATION);
        match answer.map(|answer| answer.to_ascii_lowercase()) {
            Ok(answer) if answer.starts_with("http/1.1 201") => assert_eq!(refusals, 0),
            Ok(answer) => {
                assert!(answer.starts_with("http/1.1 503"), "{answer}");
                assert!(answer.contains("\nretry-after:"), "{answer}");
                refusals += 1;
            }
            Err(_) => break,
        }
    }
    assert!(refusals > 0);
    let (status, log) = server.end();
    assert_eq!(status, Some(1), "{log}");
    let errors = log.lines().filter(|line| line.contains("ERROR"));
    assert_eq!(errors.count(), 1, "{log}");
    assert!(
        log.contains("the disk failed to make the log durable"),
        "{log}"
    );
}
