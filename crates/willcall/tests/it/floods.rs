//! Receivers that send without end: the server's memory stays flat.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};

use crate::harness::{API, PATIENCE, Server, TENANT, apply, spawn};

/// Attempts to each receiver: if each kept a mebibyte, it would show.
const ATTEMPTS: usize = 400;

/// In flight at once are 32 attempts to each receiver, with some 64 KiB of head or body each, and
/// as much again in buffers. The rest is for the server's other work.
const GROWTH_KIB_MAX: u64 = 64 * 1024;

/// Answers every connection with `begin` and then `more` for as long as the client reads. Reports
/// each.
fn flood(begin: &'static [u8], more: &'static [u8]) -> (String, Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let (ended, ends) = channel();
    spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let ended = ended.clone();
            spawn(move || {
                stream.read_exact(&mut [0; 64]).ok();
                stream.write_all(begin).ok();
                while stream.write_all(more).is_ok() {}
                ended.send(()).ok();
            });
        }
    });
    (url, ends)
}

#[test]
fn floods_end_and_leave_memory_flat() {
    let folder = tempfile::tempdir().unwrap();
    assert!(apply(folder.path(), TENANT).status.success());
    let server = Server::start(folder.path(), &[]);
    let client = server.client();
    let floods = [
        flood(b"HTTP/1.1 200 OK\r\n\r\n", &[b'x'; 65_536]),
        flood(
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b\x08\0",
            &[0; 65_536],
        ),
        flood(b"HTTP/1.1 200 OK\r\nX: ", &[b'y'; 65_536]),
        flood(b"HTTP/1.1 200 OK\r\n", b"Z: z\r\n"),
    ];
    for (url, _) in &floods {
        client.webhook(url, &["pretix.event.order.paid"]);
    }
    let hand_in = |id: usize| {
        let body = format!(
            r#"{{"notification_id":{id},"event":"democon","action":"pretix.event.order.paid","code":"A{id}"}}"#
        );
        let (status, answer) = client.post(&format!("{API}/notifications/"), &body);
        assert_eq!(status, 201, "{answer}");
    };
    // One attempt each, so that one-time allocations are done.
    hand_in(0);
    for (_, ends) in &floods {
        ends.recv_timeout(PATIENCE).expect("the attempt ends");
    }
    let before = server.memory_peak_kib();
    for id in 1..ATTEMPTS {
        hand_in(id);
    }
    for (_, ends) in &floods {
        for _ in 1..ATTEMPTS {
            ends.recv_timeout(PATIENCE).expect("each attempt ends");
        }
    }
    let growth = server.memory_peak_kib() - before;
    assert!(growth <= GROWTH_KIB_MAX, "{growth} KiB");
    println!("{growth} KiB more than {before} KiB");
}

/// Answers each call with header lines of some 60 KiB, each of them twice. Reports each.
fn answers_at_length() -> (String, Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let (answered, answers) = channel();
    spawn(move || {
        let streams = listener.incoming().map_while(Result::ok);
        for (number, mut stream) in streams.enumerate() {
            let answered = answered.clone();
            spawn(move || {
                stream.read_exact(&mut [0; 64]).ok();
                let lines = format!("X: {:060000}\r\n", number / 2);
                let answer = format!(
                    "HTTP/1.1 200 OK\r\n{lines}Connection: close\r\nContent-Length: 0\r\n\r\n"
                );
                stream.write_all(answer.as_bytes()).ok();
                // Unread bytes would reset the connection.
                stream.shutdown(std::net::Shutdown::Write).ok();
                std::io::copy(&mut stream, &mut std::io::sink()).ok();
                answered.send(()).ok();
            });
        }
    });
    (url, answers)
}

#[test]
fn what_receivers_answer_with_is_not_all_remembered() {
    const CALLS: usize = 3_000;
    let folder = tempfile::tempdir().unwrap();
    assert!(apply(folder.path(), TENANT).status.success());
    let server = Server::start(folder.path(), &[]);
    let client = server.client();
    let (url, answers) = answers_at_length();
    client.webhook(&url, &["pretix.event.order.paid"]);
    let hand_in = |count: usize| {
        let one = r#"{"event":"democon","action":"pretix.event.order.paid","code":"A"}"#;
        let batch = format!("[{}]", vec![one; count].join(","));
        let (status, answer) = client.post(&format!("{API}/notifications/"), &batch);
        assert_eq!(status, 201, "{answer}");
        for _ in 0..count {
            answers.recv_timeout(PATIENCE).expect("each is called");
        }
    };
    // So that the buffers for attempts in flight are allocated.
    hand_in(100);
    let before = server.memory_peak_kib();
    (0..CALLS / 100).for_each(|_| hand_in(100));
    let growth = server.memory_peak_kib() - before;
    // All responses together have 90 MB.
    assert!(growth <= GROWTH_KIB_MAX / 2, "{growth} KiB");
    println!("{growth} KiB more than {before} KiB");
}
