//! What the server logs, as those who run it find it: what it is, who failed, whose webhook, and
//! lines for the journal.

use std::io::{BufRead, BufReader, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::harness::{API, Receiver, Server, TENANT, apply, willcall};
use crate::postgres_server::PostgresServer;

fn entries(log: &str) -> Vec<Value> {
    log.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The entries with this message, or a message that begins so.
fn about(log: &str, message: &str) -> Vec<Value> {
    let mut found = entries(log);
    found.retain(|entry| entry["message"].as_str().unwrap().starts_with(message));
    found
}

#[test]
fn a_start_says_what_runs_and_which_settings_are_not_the_defaults_without_their_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let key = "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0MTI=";
    let mut command = Command::new(env!("CARGO_BIN_EXE_willcall"));
    command.env("WILLCALL_MASTER_KEY", key);
    let proxy = "http://anna:hunter2@127.0.0.1:9";
    let more = ["--proxy", proxy, "--max-connections", "1024"];
    let server = Server::start_by(command, folder.path(), &more);
    let log = server.log();
    let [start] = &about(&log, "Willcall starts")[..] else {
        panic!("{log}");
    };
    assert_eq!(start["version"], env!("CARGO_PKG_VERSION"));
    assert!(
        start["commit"]
            .as_str()
            .is_some_and(|commit| !commit.is_empty())
    );
    assert!(
        start["sqlite"].as_str().unwrap().starts_with("3."),
        "{start}"
    );
    let [settings] = &about(&log, "settings that differ")[..] else {
        panic!("{log}");
    };
    assert_eq!(
        settings["message"],
        format!(
            "settings that differ from their defaults: \
             listen = 127.0.0.1:0 (from the flag --listen), \
             data_dir = {} (from the flag --data-dir), \
             master_key = *** (from the variable WILLCALL_MASTER_KEY), \
             allow_private_targets = 127.0.0.0/8 (from the flag --allow-private-targets), \
             proxy = http://***@127.0.0.1:9 (from the flag --proxy), \
             log_format = json (from the flag --log-format)",
            folder.path().display()
        )
    );
    assert!(!log.contains("hunter2") && !log.contains(key), "{log}");
}

#[test]
fn a_start_on_a_database_says_which_server_that_is_and_not_the_password() {
    let folder = tempfile::tempdir().unwrap();
    let url = PostgresServer::shared().create_database();
    let with_password = url.replacen("://willcall@", "://willcall:hunter2@", 1);
    assert!(with_password.contains("hunter2"), "{url}");
    let server = Server::start(folder.path(), &["--database-url", &with_password]);
    let log = server.log();
    let start = &about(&log, "Willcall starts")[0];
    let version = start["postgresql"].as_str().unwrap();
    let (major, minor) = version.split_once('.').unwrap();
    assert!(major.parse::<u32>().unwrap() >= 15, "{start}");
    assert!(minor.parse::<u32>().is_ok(), "{start}");
    assert_eq!(start["sqlite"], Value::Null);
    assert!(log.contains("database_url = postgres://***@"), "{log}");
    assert!(!log.contains("hunter2"), "{log}");
}

#[test]
fn a_receiver_that_is_gone_is_one_warning_that_names_tenant_webhook_and_target() {
    let folder = tempfile::tempdir().unwrap();
    apply(folder.path(), TENANT);
    let server = Server::start(folder.path(), &[]);
    let client = server.client();
    let receiver = Receiver::start(|_| 410);
    let url = format!("http://anna:hunter2@{}/hook", receiver.address);
    let paid = "pretix.event.order.paid";
    let body = serde_json::json!({
        "target_url": url, "all_events": true, "limit_events": [], "action_types": [paid],
        "comment": "The CRM\nof Anna",
    });
    let (status, answer) = client.post(&format!("{API}/webhooks/"), &body.to_string());
    assert_eq!(status, 201, "{answer}");
    let handed_in = serde_json::json!({ "event": "democon", "action": paid, "code": "ABC23" });
    client.post(&format!("{API}/notifications/"), &handed_in.to_string());
    receiver.next();
    server.await_log("410 Gone");
    let log = server.log();
    let [gone] = &about(
        &log,
        "its receiver answered 410 Gone, the webhook is disabled",
    )[..] else {
        panic!("{log}");
    };
    assert_eq!(gone["level"], "WARN");
    for (field, wanted) in [
        ("webhook", answer["id"].to_string()),
        ("dialect", "pretix".to_owned()),
        ("tenant", "bigevents".to_owned()),
        ("name", "The CRM\\nof Anna".to_owned()),
        ("url", format!("http://***@{}/hook", receiver.address)),
    ] {
        assert_eq!(gone[field], wanted, "{gone}");
    }
    assert!(!log.contains("hunter2"), "{log}");
}

#[test]
fn sign_ins_that_fail_are_warnings_with_name_and_address_and_many_do_not_fill_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &["--trusted-proxies", "127.0.0.1"]);
    let client = server.client();
    let page = client.exchange("GET", "/sign-in", "").unwrap();
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
    let fails = |name: &str| {
        let form = format!("name={name}&password=nobody+knows&csrf_token={token}");
        let answer = client
            .exchange_with("POST", "/sign-in", &lines, &form)
            .unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 403") || answer.starts_with("HTTP/1.1 429"),
            "{answer}"
        );
    };
    fails("anna%0d%0a%1b%5B31mroot");
    let long = "x".repeat(5_000);
    fails(&long);
    for number in 0..60 {
        fails(&format!("n{number}"));
    }
    let log = server.log();
    let failed = about(&log, "a sign-in failed");
    assert_eq!(failed[0]["level"], "WARN");
    assert_eq!(failed[0]["user"], "anna\\r\\n\\u{1b}[31mroot");
    assert_eq!(failed[0]["from"], "192.0.2.7");
    assert_eq!(failed[1]["user"].as_str().unwrap().chars().count(), 101);
    // Twenty at once, then one each ten seconds: fewer than all of them, however slow this machine.
    assert!((20..55).contains(&failed.len()), "{}", failed.len());
}

/// Starts `willcall` with a pipe as standard error, which is the journal's if the variable says so.
fn piped(arguments: &[&str], is_journal: bool) -> (std::process::Child, std::io::PipeReader) {
    let (reader, writer) = std::io::pipe().unwrap();
    let own = std::fs::metadata(format!("/proc/self/fd/{}", writer.as_raw_fd())).unwrap();
    let inode = own.ino() + u64::from(!is_journal);
    let child = Command::new(env!("CARGO_BIN_EXE_willcall"))
        .args(arguments)
        .env("JOURNAL_STREAM", format!("{}:{inode}", own.dev()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(writer)
        .spawn()
        .unwrap();
    (child, reader)
}

#[test]
fn lines_for_the_journal_have_priorities_and_no_time_if_standard_error_leads_there() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--data-dir", data];
    let (mut child, reader) = piped(&arguments, true);
    let mut lines = Vec::new();
    for line in BufReader::new(reader).lines() {
        lines.push(line.unwrap());
        if lines.last().unwrap().contains("listens on") {
            break;
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(lines.len() >= 3, "{lines:?}");
    for line in &lines {
        assert!(line.starts_with("<6>") || line.starts_with("<4>"), "{line}");
    }
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with("<6>Willcall starts version="))
    );
}

#[test]
fn a_start_that_fails_is_one_line_of_the_journal() {
    let text = |arguments: &[&str], is_journal| {
        let (mut child, mut reader) = piped(arguments, is_journal);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(1));
        text
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("settings\n.toml");
    std::fs::write(&file, "listen = 7").unwrap();
    let wrong = ["serve", "--config", file.to_str().unwrap()];
    let said = text(&wrong, true);
    assert!(
        said.starts_with("<3>willcall: the setting listen is"),
        "{said}"
    );
    assert!(said.contains("settings\\n.toml"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    // The variable is handed down to those whose standard error leads elsewhere.
    assert!(text(&wrong, false).starts_with("willcall: the setting"));
    let named = [
        "serve",
        "--log-format",
        "journald",
        "--data-dir",
        "/dev/null/x",
    ];
    assert!(text(&named, false).contains("<3>willcall: "));
}

#[test]
fn a_wrong_format_of_the_log_is_refused_with_those_that_there_are() {
    let refused = willcall(&["serve", "--log-format", "syslog"]);
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(
        said.contains("it has to be auto, text, json or journald"),
        "{said}"
    );
}
