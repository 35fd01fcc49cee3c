//! Alerts of the real program: a mail arrives at a mail server.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver as Inbox, channel};

use crate::harness::{API, Receiver, Server, TENANT, apply, spawn};

/// A mail server that takes everything; where it is, and the lines of each mail.
fn mail_server() -> (u16, Inbox<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (arrived, inbox) = channel();
    spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let mut say = |line: &str| stream.write_all(format!("{line}\r\n").as_bytes());
            let mut mail: Option<Vec<String>> = None;
            say("220 ready").ok();
            while let Some(Ok(line)) = lines.next() {
                let answer = match &mut mail {
                    Some(own) if line == "." => {
                        arrived.send(std::mem::take(own)).ok();
                        mail = None;
                        "250 taken"
                    }
                    Some(own) => {
                        own.push(line);
                        continue;
                    }
                    None if line == "DATA" => {
                        mail = Some(Vec::new());
                        "354 go on"
                    }
                    None => "250 ok",
                };
                if say(answer).is_err() {
                    break;
                }
            }
        }
    });
    (port, inbox)
}

#[test]
fn a_mail_says_that_a_receiver_disabled_its_webhook_and_leads_to_its_page() {
    let folder = tempfile::tempdir().unwrap();
    let (port, inbox) = mail_server();
    let settings = folder.path().join("willcall-settings.toml");
    let text = format!(
        "data_dir = {:?}\nsmtp_url = \"smtp+plain://127.0.0.1:{port}\"\n\
         smtp_from = \"willcall@example.org\"\npublic_url = \"https://hooks.example.org\"\n",
        folder.path()
    );
    std::fs::write(&settings, text).unwrap();
    let settings = ["--config", settings.to_str().unwrap()];
    let receiver = Receiver::start(|_| 410);
    assert!(apply(folder.path(), TENANT).status.success());
    let server = Server::start(folder.path(), &settings);
    let client = server.client();
    client.webhook(&receiver.url("/gone"), &["pretix.event.order.paid"]);
    let mail = "[[alerts]]\n[[alerts.webhook]]\nkey = \"night\"\nformat = \"mail\"\n\
                to = \"ops@example.org\"\nalerts = [\"willcall.webhook.disabled\"]\n";
    // Without the settings nobody could send it.
    let refused = apply(folder.path(), mail);
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(words.contains("smtp_url"), "{words}");
    let path = folder.path().join("mail.toml");
    std::fs::write(&path, mail).unwrap();
    let data = ["--data-dir", folder.path().to_str().unwrap()];
    let arguments = [&["apply", path.to_str().unwrap()], &data[..], &settings[..]].concat();
    let applied = crate::harness::willcall(&arguments);
    assert!(applied.status.success(), "{applied:?}");
    let body = r#"{"event":"democon","action":"pretix.event.order.paid","code":"A1"}"#;
    let (status, answer) = client.post(&format!("{API}/notifications/"), body);
    assert_eq!(status, 201, "{answer}");
    let mail = inbox
        .recv_timeout(std::time::Duration::from_secs(60))
        .unwrap();
    for line in [
        "From: willcall@example.org",
        "To: ops@example.org",
        "https://hooks.example.org/t/1/webhooks/1",
    ] {
        assert!(mail.iter().any(|own| own == line), "{line}: {mail:#?}");
    }
}
