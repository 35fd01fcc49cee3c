//! The handshake of CloudEvents' web hooks from end to end: a plain receiver agrees to calls of a
//! real server, which asks no more after a restart.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver as Inbox, Sender, channel};
use std::time::Duration;

use serde_json::json;

use crate::harness::{API, Server, TENANT, apply, spawn};
use crate::signatures::notify;

const PATIENCE: Duration = Duration::from_secs(20);

/// A request as it came: its line, and the origin that it names.
type Heard = (String, Option<String>);

/// As `docs/receiving.md` has it: agrees to 600 calls a minute of one origin, and takes them.
fn receiver(origin: &'static str) -> (String, Inbox<Heard>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook?for=shop", listener.local_addr().unwrap());
    let (sender, heard) = channel();
    spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let sender = sender.clone();
            spawn(move || drop(serve(&stream, origin, &sender)));
        }
    });
    (url, heard)
}

fn serve(stream: &TcpStream, origin: &str, heard: &Sender<Heard>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut writer = stream;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let (mut asked, mut length) = (None, 0);
        loop {
            let mut header = String::new();
            reader.read_line(&mut header)?;
            let Some((name, value)) = header.trim_end().split_once(": ") else {
                break;
            };
            match name.to_ascii_lowercase().as_str() {
                "webhook-request-origin" => asked = Some(value.to_owned()),
                "content-length" => length = value.parse().unwrap_or(0),
                _ => {}
            }
        }
        reader.read_exact(&mut vec![0; length])?;
        let agrees = line.starts_with("OPTIONS ") && asked.as_deref() == Some(origin);
        drop(heard.send((line.trim_end().to_owned(), asked)));
        let lines = match agrees {
            true => format!(
                "Allow: POST\r\nWebHook-Allowed-Origin: {origin}\r\nWebHook-Allowed-Rate: 600\r\n"
            ),
            false => String::new(),
        };
        write!(writer, "HTTP/1.1 204 No Content\r\n{lines}\r\n")?;
    }
}

#[test]
fn a_server_asks_a_plain_receiver_once_and_then_calls_it() {
    let folder = tempfile::tempdir().unwrap();
    assert!(apply(folder.path(), TENANT).status.success());
    let names = ["--allowed-hosts", "localhost,tickets.example.org"];
    let server = Server::start(folder.path(), &names);
    let client = server.client();
    let (url, heard) = receiver("tickets.example.org");
    let next = || heard.recv_timeout(PATIENCE).expect("a request comes");
    let webhook = client.webhook(&url, &["pretix.event.order.paid"]);
    let own = format!("{API}/webhooks/{webhook}/willcall/cloudevents/");
    let chosen = json!({ "mode": "structured", "handshake": true }).to_string();
    assert_eq!(client.call("PUT", &own, &chosen).unwrap().0, 200);
    for _ in 0..2 {
        notify(&client);
    }
    let (line, origin) = next();
    assert_eq!(line, "OPTIONS /hook?for=shop HTTP/1.1");
    assert_eq!(origin.as_deref(), Some("tickets.example.org"));
    for _ in 0..2 {
        let (line, origin) = next();
        assert_eq!(line, "POST /hook?for=shop HTTP/1.1");
        assert_eq!(origin.as_deref(), Some("tickets.example.org"));
    }
    let state = || client.get(&own).1["handshake_state"].clone();
    while state()["state"] != "granted" {}
    assert_eq!(state()["calls_per_minute"], 600);
    server.kill();
    let server = Server::start(folder.path(), &names);
    notify(&server.client());
    assert!(next().0.starts_with("POST "));
    server.kill();
    // Under another name it was not asked, and does not agree.
    let server = Server::start(folder.path(), &["--allowed-hosts", "other.example.org"]);
    notify(&server.client());
    assert!(next().0.starts_with("OPTIONS "));
    let list = format!("{API}/webhooks/{webhook}/deliveries/");
    let told = || server.client().get(&list).1.to_string();
    while !told().contains("did not agree to be called") {}
    server.kill();
}

#[test]
fn a_server_without_a_name_refuses_to_ask_and_says_which_setting_it_needs() {
    let folder = tempfile::tempdir().unwrap();
    assert!(apply(folder.path(), TENANT).status.success());
    let server = Server::start(folder.path(), &["--allowed-hosts", "localhost"]);
    let client = server.client();
    let webhook = client.webhook("http://127.0.0.1:9/", &["pretix.event.order.paid"]);
    let own = format!("{API}/webhooks/{webhook}/willcall/cloudevents/");
    let chosen = json!({ "mode": "binary", "handshake": true }).to_string();
    let (status, words) = client.call("PUT", &own, &chosen).unwrap();
    assert_eq!(status, 400);
    assert!(words.to_string().contains("allowed_hosts"), "{words}");
    server.kill();
}
