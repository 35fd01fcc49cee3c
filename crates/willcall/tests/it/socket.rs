//! HTTP over a socket: in pieces, pipelined, too large, broken off.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;

use crate::harness::{API, PATIENCE, Server, TENANT, TOKEN, apply};

fn server(folder: &Path) -> Server {
    assert!(apply(folder, TENANT).status.success());
    Server::start(folder, &[])
}

fn connection(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends these bytes in pieces; returns everything until the connection is closed.
fn answers(server: &Server, bytes: &[u8], piece: usize) -> String {
    let mut stream = connection(server);
    for piece in bytes.chunks(piece) {
        stream.write_all(piece).unwrap();
    }
    let mut answers = Vec::new();
    stream.read_to_end(&mut answers).unwrap();
    String::from_utf8(answers).unwrap()
}

fn request(method: &str, path: &str, lines: &str, body: &str) -> String {
    format!(
        "{method} {API}{path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Token {TOKEN}\r\n\
         Content-Type: application/json\r\n{lines}\r\n{body}"
    )
}

fn note(id: u32) -> String {
    format!(
        "{{\"event\":\"democon\",\"action\":\"pretix.event.order.paid\",\"code\":\"A\",\
          \"notification_id\":{id}}}"
    )
}

fn of_length(body: &str) -> String {
    format!("Content-Length: {}\r\n", body.len())
}

#[test]
fn requests_are_answered_in_their_order_in_whatever_pieces_they_come() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(folder.path());
    let (first, second, third) = (note(1), note(2), note(3));
    let (start, end) = third.split_at(20);
    let chunks = format!("14\r\n{start}\r\n{:x}\r\n{end}\r\n0\r\n\r\n", end.len());
    let all = [
        request("POST", "/notifications/", &of_length(&first), &first),
        request("POST", "/notifications/", &of_length(&second), &second),
        request(
            "POST",
            "/notifications/",
            "Transfer-Encoding: chunked\r\n",
            &chunks,
        ),
        request("HEAD", "/webhooks/", "", ""),
        request("GET", "/webhooks/", "Connection: close\r\n", ""),
    ]
    .concat();
    for (piece, created) in [
        (1, "201 Created"),
        (7, "200 OK"),
        (100, "200 OK"),
        (all.len(), "200 OK"),
    ] {
        let answers = answers(&server, all.as_bytes(), piece);
        let heads: Vec<&str> = answers.split("HTTP/1.1 ").skip(1).collect();
        let [notes @ .., head, get] = heads.as_slice() else {
            panic!("nothing came");
        };
        assert_eq!(notes.len(), 3, "{answers}");
        for (answer, id) in notes.iter().zip(1..) {
            assert!(answer.starts_with(created), "{answer}");
            let body = format!("{{\"notification_id\":{id},\"deliveries\":0}}");
            assert!(answer.ends_with(&body), "{answer}");
        }
        let (_, page) = get.split_once("\r\n\r\n").unwrap();
        assert!(page.ends_with("\"results\":[]}"), "{page}");
        let length = format!("content-length: {}\r\n", page.len());
        assert!(get.contains(&length), "{get}");
        assert!(
            head.contains(&length) && head.ends_with("\r\n\r\n"),
            "{head}"
        );
    }
}

#[test]
fn what_is_too_large_or_no_http_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(folder.path());
    let large = "Content-Length: 99999999\r\nConnection: close\r\n";
    let long = format!("/{}/", "a".repeat(90_000));
    let many = format!("X: {}\r\n", "a".repeat(200_000));
    let sound = "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for (request, status, words) in [
        (
            request("POST", "/notifications/", large, ""),
            "413",
            "The body",
        ),
        ("no request\r\n\r\n".to_owned(), "400", "The request line"),
        (
            request("POST", "/webhooks/", "A b: c\r\n", ""),
            "400",
            "Header line 4",
        ),
        (
            request("POST", "/webhooks/", "Content-Length: 1x\r\n", ""),
            "400",
            "The target, a Content-Length",
        ),
        (request("GET", &long, "", ""), "414", "The target"),
        (request("GET", "/webhooks/", &many, ""), "431", "The head"),
    ] {
        let sent = format!("{sound}{request}");
        let answers = answers(&server, sent.as_bytes(), sent.len());
        let (head, refused) = answers.split_once("HTTP/1.1 200 OK\r\n").unwrap();
        assert_eq!(head, "");
        let (_, refused) = refused.split_once("HTTP/1.1 ").unwrap();
        let (head, body) = refused.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with(status), "{refused}");
        for line in [
            "\r\ncontent-type: application/json",
            "\r\nconnection: close",
            "\r\ndate: ",
            &format!("\r\ncontent-length: {}", body.len()),
        ] {
            assert!(head.contains(line), "{refused}");
        }
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        let told = body["detail"].as_str().unwrap();
        assert!(told.starts_with(words), "{told}");
    }
}

#[test]
fn a_body_that_breaks_off_is_not_taken_for_whole() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(folder.path());
    let note = note(1);
    let lines = "Content-Length: 1000\r\n";
    let broken = request("POST", "/notifications/", lines, &note);
    let mut stream = connection(&server);
    stream.write_all(broken.as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(!answer.starts_with("HTTP/1.1 2"), "{answer}");
    let client = server.client();
    let (status, told) = client.post(&format!("{API}/notifications/"), &note);
    assert_eq!(status, 201, "{told}");
}

/// The next response on a connection, without its date.
fn next_answer(stream: &mut BufReader<TcpStream>) -> String {
    let mut answer = String::new();
    let mut length = 0;
    while !answer.ends_with("\r\n\r\n") {
        let mut line = String::new();
        assert_ne!(stream.read_line(&mut line).unwrap(), 0, "{answer}");
        if let Some(digits) = line.strip_prefix("content-length: ") {
            length = digits.trim().parse().unwrap();
        }
        if !line.starts_with("date: ") {
            answer += &line;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    answer + &String::from_utf8(body).unwrap()
}

#[test]
fn a_plain_request_gets_the_same_answer_behind_one_that_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(folder.path());
    let other = "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let (note, large) = (note(1), "x".repeat(10_000));
    let stranger = "POST /api/v1/organizers/bigevents/notifications/ HTTP/1.1\r\n\
                    Host: localhost\r\n\r\n";
    for (plain, status) in [
        (
            request("POST", "/notifications/", &of_length(&note), &note),
            "201 Created",
        ),
        (
            request("POST", "/notifications/", &of_length(&note), &note),
            "200 OK",
        ),
        (
            request("POST", "/notifications/", &of_length(&large), &large),
            "400 Bad Request",
        ),
        (
            request("POST", "/notifications/", "", ""),
            "400 Bad Request",
        ),
        (
            request("POST", "/nowhere/", &of_length("{}"), "{}"),
            "404 Not Found",
        ),
        (
            request("POST", "/webhooks/1/", &of_length("{}"), "{}"),
            "405 Method Not Allowed",
        ),
        (stranger.to_owned(), "401 Unauthorized"),
        (
            stranger.replace("localhost", "evil.example"),
            "400 Bad Request",
        ),
        (
            stranger.replace("Host: localhost\r\n", ""),
            "400 Bad Request",
        ),
    ] {
        let mut stream = BufReader::new(connection(&server));
        let mut answers = Vec::new();
        for request in [plain.as_str(), other, plain.as_str()] {
            stream.get_mut().write_all(request.as_bytes()).unwrap();
            answers.push(next_answer(&mut stream));
        }
        let [mut before, _, behind] = answers.try_into().unwrap();
        // Sent a second time, it is a duplicate.
        if status == "201 Created" {
            assert!(before.contains(status), "{before}");
            before = before.replace(status, "200 OK");
        }
        assert_eq!(before, behind);
        assert!(
            status == "201 Created" || before.contains(status),
            "{before}"
        );
    }
}

#[test]
fn a_request_that_has_begun_is_answered_though_the_server_is_told_to_stop() {
    let (one, two) = (note(1), note(2));
    let first = request("POST", "/notifications/", &of_length(&one), &one);
    let plain = request("POST", "/notifications/", &of_length(&two), &two);
    let other = request("GET", "/webhooks/", "", "");
    for (last, status) in [(plain, "201 Created"), (other, "200 OK")] {
        let folder = tempfile::tempdir().unwrap();
        let server = server(folder.path());
        let mut stream = BufReader::new(connection(&server));
        let (begun, rest) = last.split_at(30);
        let both = format!("{first}{begun}");
        stream.get_mut().write_all(both.as_bytes()).unwrap();
        // By now the beginning of the last was read, too, because it came with the first.
        assert!(next_answer(&mut stream).contains("201 Created"));
        let address = server.address;
        let stopped = std::thread::scope(|scope| {
            let stopping = scope.spawn(|| server.terminate());
            while TcpStream::connect(address).is_ok() {
                std::thread::yield_now();
            }
            stream.get_mut().write_all(rest.as_bytes()).unwrap();
            let answer = next_answer(&mut stream);
            assert!(answer.contains(status), "{answer}");
            assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
            assert_eq!(stream.read(&mut [0]).unwrap(), 0);
            stopping.join().unwrap()
        });
        assert_eq!(stopped.0, Some(0));
    }
}
