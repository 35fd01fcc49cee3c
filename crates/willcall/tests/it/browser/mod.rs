//! What people do with the dashboard, in a real browser: with scripts, without them, and by the
//! keyboard alone; whether every page is accessible; and its pictures.

mod charts;
mod driver;
mod frames;
mod journeys;
mod pages;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use driver::Browser;

use crate::harness::{Client, Receiver, Server, TENANT, apply};

const NAME: &str = "anna";
const PASSWORD: &str = "correct horse battery";
const PAID: &str = "pretix.event.order.paid";

/// The tenant of the other platform.
const COMPANY: &str = r#"
[[company]]
guid = "d0a3f370-cd43-11ed-9c9c-bbcffde24a48"
name = "Grand Hall"
token = [{ name = "tests", token = "another-token-of-some-length-for-tests", permissions = [
    "webhooks:read", "webhooks:write", "triggers:write",
] }]
"#;

/// A server with a tenant of each platform, an administrator, and a receiver that answers as it is
/// told.
struct House {
    server: Server,
    receiver: Receiver,
    status: Arc<AtomicU16>,
    folder: tempfile::TempDir,
}

impl House {
    fn new() -> Self {
        Self::furnished(&[], |_| {})
    }

    /// With these settings, too.
    fn with(more: &[&str]) -> Self {
        Self::furnished(more, |_| {})
    }

    /// With what is put into its store before it starts.
    fn furnished(more: &[&str], furnish: impl FnOnce(&Path)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let applied = apply(folder.path(), &format!("{TENANT}{COMPANY}"));
        assert!(applied.status.success(), "{applied:?}");
        add_user(folder.path());
        furnish(folder.path());
        let status = Arc::new(AtomicU16::new(200));
        let answers = Arc::clone(&status);
        let receiver = Receiver::start(move |call| match call.path.as_str() {
            "/ok" => 200,
            "/bad" => 500,
            "/gone" => 410,
            _ => answers.load(Ordering::SeqCst),
        });
        let key = folder.path().join("master-key");
        std::fs::write(&key, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=").unwrap();
        let key = ["--master-key-file", key.to_str().unwrap()];
        Self {
            server: Server::start(folder.path(), &[&key[..], more].concat()),
            receiver,
            status,
            folder,
        }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.server.address)
    }

    fn answer(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    /// Sends a notification that an order was paid.
    fn hand_in(&self, number: u32) {
        let body = serde_json::json!({
            "event": "democon", "action": PAID, "code": format!("A{number}"),
            "notification_id": number,
        });
        let path = format!("{}/notifications/", crate::harness::API);
        let (status, answer) = self.server.client().post(&path, &body.to_string());
        assert_eq!(status, 201, "{answer}");
    }

    /// Reports that an order was paid, to the other platform.
    fn report(&self) {
        let client = Client {
            address: self.server.address,
            authorization: "Bearer another-token-of-some-length-for-tests".to_owned(),
        };
        let body = r#"{"resource":"order","trigger":"paid","guid":"6ec0bd7f-11c0-43da-975e-2a8ad9ebae0b","data":{}}"#;
        let (status, answer) = client.post("/trigger", body);
        assert_eq!(status, 201, "{answer}");
    }

    fn sign_in(&self, browser: &Browser) {
        browser.go(&self.url("/sign-in"));
        browser.fill("#name", NAME);
        browser.fill("#password", PASSWORD);
        browser.click("main form button");
        browser.find(".who");
    }
}

fn add_user(folder: &Path) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_willcall"));
    let folder = folder.to_str().unwrap();
    let mut child = command
        .args(["user", "add", NAME, "--administrator", "--password-stdin"])
        .args(["--data-dir", folder])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("the binary starts");
    let mut stdin = child.stdin.take().unwrap();
    writeln!(stdin, "{PASSWORD}").unwrap();
    drop(stdin);
    assert!(child.wait().unwrap().success());
}
