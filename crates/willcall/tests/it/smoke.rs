//! What a user does, from an empty folder to a delivered notification.

use serde_json::json;

use crate::harness::{API, Receiver, Server, TENANT, apply, willcall};

const PAID: &str = "pretix.event.order.paid";
const NOTIFICATION: &str =
    r#"{"event":"democon","action":"pretix.event.order.paid","code":"ABC23","notification_id":7}"#;

#[test]
fn what_is_handed_in_is_delivered_logged_and_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let applied = apply(folder.path(), TENANT);
    assert!(applied.status.success(), "{applied:?}");
    let receiver = Receiver::start(|_| 200);

    let server = Server::start(folder.path(), &[]);
    let client = server.client();
    let url = receiver
        .url("/hook")
        .replace("http://", "http://user:s3cret@");
    let webhook = client.webhook(&url, &[PAID]);
    let (status, answer) = client.post(&format!("{API}/notifications/"), NOTIFICATION);
    assert_eq!(
        (status, answer),
        (201, json!({"notification_id": 7, "deliveries": 1}))
    );

    let call = receiver.next();
    assert_eq!(call.path, "/hook");
    assert_eq!(call.headers["content-type"], "application/json");
    assert_eq!(call.headers["authorization"], "Basic dXNlcjpzM2NyZXQ=");
    assert_eq!(
        call.body,
        r#"{"notification_id": 7, "organizer": "bigevents", "event": "democon", "code": "ABC23", "action": "pretix.event.order.paid"}"#
    );
    assert!(!server.log().contains("s3cret"), "credentials in the log");
    let (code, printed) = server.terminate();
    assert_eq!(code, Some(0));
    assert!(
        !printed.contains("administrator"),
        "there was a token already: {printed}"
    );

    let server = Server::start(folder.path(), &[]);
    let client = server.client();
    let (status, log) = client.get(&format!("{API}/webhooks/{webhook}/deliveries/"));
    assert_eq!(status, 200);
    assert_eq!(log["results"][0]["status"], "delivered", "{log}");
    assert!(!log.to_string().contains("s3cret"), "{log}");
    let (status, answer) = client.post(&format!("{API}/notifications/"), NOTIFICATION);
    assert_eq!(
        (status, answer),
        (200, json!({"notification_id": 7, "deliveries": 1}))
    );
    assert!(
        receiver.calls.try_recv().is_err(),
        "delivered a second time"
    );
}

#[test]
fn the_first_start_prints_one_administrator_token_once() {
    let folder = tempfile::tempdir().unwrap();
    let (code, printed) = Server::start(folder.path(), &[]).terminate();
    assert_eq!(code, Some(0));
    let token = printed
        .lines()
        .map(str::trim)
        .find(|line| line.len() == 64)
        .expect("a token");

    assert!(apply(folder.path(), TENANT).status.success());
    let server = Server::start(folder.path(), &[]);
    let mut client = server.client();
    client.authorization = format!("Token {token}");
    assert_eq!(client.get(&format!("{API}/webhooks/")).0, 200);
    assert!(!server.log().contains(token), "the token is in the log");
    let (_, printed) = server.terminate();
    assert!(!printed.contains("administrator"), "{printed}");
}

#[test]
fn live_ready_and_metrics_answer() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let client = server.client();
    assert_eq!(client.get("/livez").0, 200);
    assert_eq!(client.get("/readyz").0, 200);
    let (status, text) = client.get("/metrics");
    assert_eq!(status, 200);
    let text = text.as_str().unwrap();
    assert!(
        text.contains("# HELP willcall_") && text.contains("# EOF"),
        "{text}"
    );
}

#[test]
fn what_is_applied_while_the_server_runs_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let client = server.client();
    assert_eq!(client.get(&format!("{API}/webhooks/")).0, 401);
    assert!(apply(folder.path(), TENANT).status.success());
    // Noticed within a second; polling is cheap.
    let noticed = (0..100_000).any(|_| client.get(&format!("{API}/webhooks/")).0 == 200);
    assert!(noticed, "the server does not see what apply wrote");
}

#[test]
fn a_file_applied_again_changes_nothing_and_a_bad_one_names_line_and_field() {
    let folder = tempfile::tempdir().unwrap();
    let printed = |file: &str| {
        let output = apply(folder.path(), file);
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        (output.status.success(), text)
    };
    let (good, text) = printed(TENANT);
    assert!(good && text.contains("created bigevents"), "{text}");
    let (good, text) = printed(TENANT);
    assert!(good && text.contains("0 created, 0 changed"), "{text}");
    let (good, text) = printed(&TENANT.replace("webhooks:read", "webhooks:look"));
    assert!(!good, "{text}");
    assert!(
        text.contains("line 13") && text.contains("permissions"),
        "{text}"
    );
    assert!(text.contains("nothing was changed"), "{text}");
}

#[test]
fn a_bad_file_leaves_no_store_behind_and_one_that_is_no_text_is_told_by_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bad.toml");
    let data_dir = folder.path().join("data");
    let apply = |bytes: &[u8]| {
        std::fs::write(&file, bytes).unwrap();
        let (file, data_dir) = (file.to_str().unwrap(), data_dir.to_str().unwrap());
        let output = willcall(&["apply", file, "--data-dir", data_dir]);
        assert!(!output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let words = apply(b"[[organizer]]\nslgu = \"x\"\n");
    assert!(
        words.contains("line 2") && words.contains("slgu"),
        "{words}"
    );
    let words = apply(b"[[organizer]]\nname = \"\xff\"\n");
    assert!(
        words.contains("line 2") && words.contains("UTF-8"),
        "{words}"
    );
    assert!(!data_dir.exists());
    let token = [
        "token",
        "create",
        "--administrator",
        "--name",
        "x",
        "--data-dir",
    ];
    let made = willcall(&[token.as_slice(), &[data_dir.to_str().unwrap()]].concat());
    assert!(!made.status.success() && !data_dir.exists(), "{made:?}");
}

#[test]
fn what_is_kept_is_for_its_user_only() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("data");
    let file = folder.path().join("tenants.toml");
    std::fs::write(&file, TENANT).unwrap();
    let applied = willcall(&[
        "apply",
        file.to_str().unwrap(),
        "--data-dir",
        data_dir.to_str().unwrap(),
    ]);
    assert!(applied.status.success(), "{applied:?}");
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(&data_dir) & 0o777, 0o700);
    assert_eq!(mode(&data_dir.join("willcall.db")) & 0o777, 0o600);
}

#[test]
fn a_second_server_on_the_same_folder_refuses_to_start() {
    let folder = tempfile::tempdir().unwrap();
    let _first = Server::start(folder.path(), &[]);
    let second = willcall(&[
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--data-dir",
        folder.path().to_str().unwrap(),
    ]);
    assert!(!second.status.success());
    let words = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(
        words.contains("another willcall runs on the data folder"),
        "{words}"
    );
}

#[test]
fn a_token_made_by_command_is_printed_once_and_works() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().to_str().unwrap();
    assert!(apply(folder.path(), TENANT).status.success());
    let create = |name: &str| {
        let named = ["token", "create", "--tenant", "bigevents", "--name", name];
        willcall(
            &[
                &named,
                ["--permission", "webhooks:read", "--data-dir", data_dir].as_slice(),
            ]
            .concat(),
        )
    };
    let made = create("dashboard");
    assert!(made.status.success(), "{made:?}");
    let again = create("dashboard");
    assert!(!again.status.success());
    assert!(
        String::from_utf8_lossy(&again.stderr).contains("dashboard"),
        "{again:?}"
    );

    let server = Server::start(folder.path(), &[]);
    let mut client = server.client();
    client.authorization = format!("Bearer {}", String::from_utf8_lossy(&made.stdout).trim());
    assert_eq!(client.get(&format!("{API}/webhooks/")).0, 200);
    assert_eq!(client.post(&format!("{API}/webhooks/"), "{}").0, 403);
}

#[test]
fn doctor_finds_nothing_wrong_with_a_fresh_store_and_says_what_is_wrong_with_a_damaged_one() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().to_str().unwrap();
    assert!(apply(folder.path(), TENANT).status.success());
    let doctor = || {
        let output = willcall(&["doctor", "--data-dir", data_dir, "--listen", "127.0.0.1:0"]);
        (
            output.status.success(),
            String::from_utf8_lossy(&output.stdout).into_owned(),
        )
    };
    let (good, words) = doctor();
    assert!(good, "{words}");
    let store = folder.path().join("willcall.db");
    std::fs::write(&store, "this is not a store").unwrap();
    let (good, words) = doctor();
    assert!(!good && words.contains("willcall.db"), "{words}");
    let serve = willcall(&["serve", "--data-dir", data_dir, "--listen", "127.0.0.1:0"]);
    assert!(!serve.status.success());
    assert_eq!(
        std::fs::read(&store).unwrap(),
        b"this is not a store",
        "the file was touched"
    );
}
