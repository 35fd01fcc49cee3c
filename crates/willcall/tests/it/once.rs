//! Idempotency keys over a kill: a request with a key takes effect once, whether the server died
//! before the effect, between that and the response, or after it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::failing;
use crate::harness::{API, Client, Server, TENANT, apply};

/// The system call on the log at which the server is killed: within a commit, before it is durable,
/// and after.
const KILLED_AT: [&str; 8] = [
    "fdatasync:signal=KILL:when=8",
    "fdatasync:signal=KILL:when=9",
    "fdatasync:signal=KILL:when=10",
    "fdatasync:signal=KILL:when=11",
    "pwrite64:signal=KILL:when=50",
    "pwrite64:signal=KILL:when=53",
    "pwrite64:signal=KILL:when=56",
    "pwrite64:signal=KILL:when=59",
];

/// Most requests that are answered before a kill.
const ASKED_MAX: usize = 500;

fn request(number: usize) -> (String, String) {
    let code = format!("N{number}");
    match number % 2 {
        0 => {
            let body =
                json!({"event": "democon", "action": "pretix.event.order.paid", "code": code});
            (format!("{API}/notifications/"), body.to_string())
        }
        _ => {
            let body = json!({
                "target_url": format!("http://127.0.0.1:9/{code}"),
                "all_events": true,
                "limit_events": [],
                "action_types": ["pretix.event.order.canceled"],
            });
            (format!("{API}/webhooks/"), body.to_string())
        }
    }
}

/// The response to a request with its key, if one comes.
fn ask(client: &Client, number: usize) -> Option<Value> {
    let (path, body) = request(number);
    let key = format!("X-Idempotency-Key: key {number}\r\n");
    let answer = client.exchange_with("POST", &path, &key, &body).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    assert!(head.starts_with("HTTP/1.1 201 "), "{answer}");
    Some(serde_json::from_str(body).unwrap())
}

#[test]
fn what_is_asked_for_under_a_key_happens_once_wherever_the_server_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    assert!(apply(folder.path(), TENANT).status.success());
    let server = Server::start(folder.path(), &[]);
    let webhook = server
        .client()
        .webhook("http://127.0.0.1:9/", &["pretix.event.order.paid"]);
    assert_eq!(server.terminate().0, Some(0));
    let mut answers: BTreeMap<usize, Value> = BTreeMap::new();
    let mut asked = 0;
    for inject in KILLED_AT {
        let Some(server) = failing::server(folder.path(), &["willcall.db-wal"], inject) else {
            return;
        };
        let client = server.client();
        let first = asked;
        loop {
            let answer = ask(&client, asked);
            asked += 1;
            let Some(answer) = answer else {
                break;
            };
            answers.insert(asked - 1, answer);
            assert!(asked - first < ASKED_MAX, "it is never killed: {inject}");
        }
        assert_ne!(server.end().0, Some(0));
        let server = Server::start(folder.path(), &[]);
        for number in first..asked {
            let again = ask(&server.client(), number).expect("the server answers");
            let before = answers.entry(number).or_insert_with(|| again.clone());
            assert_eq!(*before, again, "{inject}");
        }
        assert_eq!(server.terminate().0, Some(0));
    }
    let server = Server::start(folder.path(), &[]);
    let count = |path: &str| {
        let (status, answer) = server.client().get(&format!("{API}/{path}"));
        assert_eq!(status, 200, "{answer}");
        answer["results"].as_array().unwrap().len()
    };
    println!("{asked} requests, {} kills", KILLED_AT.len());
    assert!(asked < 90, "all fit into one page");
    assert_eq!(count("webhooks/?page_size=50"), 1 + asked / 2);
    let deliveries = count(&format!("webhooks/{webhook}/deliveries/?page_size=50"));
    assert_eq!(deliveries, asked.div_ceil(2));
}
