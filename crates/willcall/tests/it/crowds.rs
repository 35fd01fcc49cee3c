//! Clients that take all connections and send nothing: others are still answered.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::harness::{PATIENCE, Server, TENANT, TOKEN, apply};

const CONNECTIONS: usize = 12;

/// Opens every connection that a server may have, each with this part of a request.
fn crowd(address: SocketAddr, begun: &str) -> Vec<TcpStream> {
    let connect = |_| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(begun.as_bytes()).unwrap();
        stream
    };
    (0..CONNECTIONS).map(connect).collect()
}

/// Sends a request on a connection; returns the status line.
fn ask(stream: &TcpStream, path: &str) -> String {
    stream.set_read_timeout(Some(PATIENCE / 4)).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    (&*stream).write_all(request.as_bytes()).unwrap();
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let (mut length, mut head) = (0, String::new());
    while reader.read_line(&mut head).unwrap() > 2 {
        let lower = head.to_ascii_lowercase();
        if let Some(digits) = lower.strip_prefix("content-length: ") {
            length = digits.trim().parse().unwrap();
        }
        head.clear();
    }
    reader.read_exact(&mut vec![0; length]).unwrap();
    line
}

fn server(folder: &std::path::Path) -> Server {
    assert!(apply(folder, TENANT).status.success());
    let most = CONNECTIONS.to_string();
    Server::start(folder, &["--max-connections", &most])
}

#[test]
fn who_connects_and_asks_nothing_gives_way_to_who_asks() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(folder.path());
    let own = TcpStream::connect(server.address).unwrap();
    assert!(ask(&own, "/livez").contains(" 200 "));
    for begun in [
        "",
        "G",
        "POST /x HTTP/1.1\r\nHost: lo",
        "GET /x HTTP/1.1\r\nX: y\r\n",
    ] {
        let crowds = [crowd(server.address, begun), crowd(server.address, begun)];
        let new = TcpStream::connect(server.address).unwrap();
        assert!(ask(&new, "/readyz").contains(" 200 "), "{begun}");
        // A used connection stays as long as others can close.
        assert!(ask(&own, "/metrics").contains(" 200 "), "{begun}");
        drop(crowds);
    }
}

#[test]
fn bodies_that_do_not_come_give_way_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(folder.path());
    let begun = format!(
        "POST /api/v1/organizers/bigevents/notifications/ HTTP/1.1\r\nHost: localhost\r\n\
         Authorization: Token {TOKEN}\r\nContent-Type: application/json\r\n\
         Content-Length: 100000\r\n\r\n[",
    );
    let crowd = crowd(server.address, &begun);
    let new = TcpStream::connect(server.address).unwrap();
    assert!(ask(&new, "/livez").contains(" 200 "));
    let (status, answer) = server
        .client()
        .get("/api/v1/organizers/bigevents/webhooks/");
    assert_eq!(status, 200, "{answer}");
    drop(crowd);
}
