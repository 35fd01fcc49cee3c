//! Users and tokens from the command line, beside a running server.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::harness::{API, Server, TENANT, apply, willcall};

const PASSWORD: &str = "correct horse battery\n";

/// Runs the binary on this folder with a text on its standard input.
pub(crate) fn with_input(folder: &Path, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_willcall"))
        .args(arguments)
        .args(["--data-dir", folder.to_str().unwrap()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // It may have ended without reading.
    stdin.write_all(input.as_bytes()).ok();
    drop(stdin);
    child.wait_with_output().unwrap()
}

fn printed(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn complaint(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn a_user_is_made_beside_a_running_server_and_a_link_lets_them_in_once() {
    let folder = tempfile::tempdir().unwrap();
    apply(folder.path(), TENANT);
    let server = Server::start(folder.path(), &[]);
    let run = |arguments: &[&str], input: &str| with_input(folder.path(), arguments, input);
    let add = run(
        &["user", "add", "anna", "--administrator", "--password-stdin"],
        PASSWORD,
    );
    assert_eq!(
        printed(&add),
        "anna can sign in, and may: everything, as an administrator.\n"
    );
    let listed = printed(&run(&["user", "list"], ""));
    assert_eq!(listed, "anna: administrator; never signed in\n");
    let link = printed(&run(&["user", "link", "ANNA"], ""));
    let path = link.trim().strip_prefix("http://127.0.0.1:8080").unwrap();
    assert!(path.starts_with("/link/"), "{link}");
    let client = server.client();
    assert_eq!(client.get(path).0, 303);
    assert_eq!(client.get(path).0, 403);
    assert!(printed(&run(&["user", "list"], "")).contains("last signed in 2"));
    printed(&run(&["user", "disable", "anna"], ""));
    assert!(printed(&run(&["user", "list"], "")).contains("cannot sign in"));
    let refused = complaint(&run(&["user", "link", "anna"], ""));
    assert!(refused.contains("anna may not sign in"), "{refused}");
    assert!(
        server
            .log()
            .contains("willcall user add NAME --administrator")
    );
    let (code, _) = server.terminate();
    assert_eq!(code, Some(0));
}

#[test]
fn wrong_users_are_refused_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = with_input(folder.path(), &["user", "list"], "");
    assert!(complaint(&nowhere).contains("there is no store"));
    apply(folder.path(), TENANT);
    let run = |arguments: &[&str]| with_input(folder.path(), arguments, PASSWORD);
    let add = |name| run(&["user", "add", name, "--password-stdin"]);
    printed(&add("ben"));
    for (output, words) in [
        (add("BEN"), "there is already a user BEN"),
        (add("  "), "Say what they sign in with."),
        (
            run(&["user", "add", "carl"]),
            "give it on standard input with --password-stdin",
        ),
        (
            run(&["user", "enable", "nobody"]),
            "there is no user \"nobody\"",
        ),
        (
            run(&[
                "user", "role", "ben", "--role", "look", "--tenant", "nowhere",
            ]),
            "there is no tenant \"nowhere\"",
        ),
        (
            with_input(
                folder.path(),
                &["user", "set-password", "ben", "--password-stdin"],
                "short\n",
            ),
            "at least 12 characters",
        ),
    ] {
        let said = complaint(&output);
        assert!(said.contains(words), "{said}");
        assert!(!said.contains("correct horse"), "{said}");
    }
    let role = run(&[
        "user",
        "role",
        "ben",
        "--role",
        "edit",
        "--tenant",
        "bigevents",
    ]);
    assert_eq!(printed(&role), "ben may edit at bigevents.\n");
    assert_eq!(
        printed(&run(&["user", "list"])),
        "ben: edit at bigevents; never signed in\n"
    );
}

#[test]
fn a_token_is_listed_and_a_revoked_one_is_turned_away_by_the_running_server() {
    let folder = tempfile::tempdir().unwrap();
    apply(folder.path(), TENANT);
    let data = folder.path().to_str().unwrap();
    let whose = ["--tenant", "bigevents", "--data-dir", data];
    let token = |arguments: &[&str]| willcall(&[&["token"], arguments, &whose[..]].concat());
    let made = printed(&token(&["create", "--name", "till"]));
    let server = Server::start(folder.path(), &[]);
    let mut client = server.client();
    client.authorization = format!("Token {}", made.trim());
    let webhooks = format!("{API}/webhooks/");
    assert_eq!(client.get(&webhooks).0, 200);
    let listed = printed(&token(&["list"]));
    assert!(listed.contains("till: webhooks:read webhooks:write notifications:write; made 2"));
    assert!(!listed.contains(made.trim()));
    assert_eq!(
        printed(&token(&["revoke", "till"])),
        "The token till is revoked.\n"
    );
    // The server notices another process's change within a second.
    while client.get(&webhooks).0 == 200 {}
    assert_eq!(client.get(&webhooks).0, 401);
    assert!(printed(&token(&["list"])).contains(", revoked"));
    let unknown = complaint(&token(&["revoke", "nope"]));
    assert!(unknown.contains("there is no token \"nope\""), "{unknown}");
}
