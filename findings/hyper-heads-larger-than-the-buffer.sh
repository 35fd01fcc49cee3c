#!/bin/sh
# A server of hyper with `max_buf_size`, and heads that are larger. Needs cargo.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/src"
cat >"$folder/Cargo.toml" <<'TOML'
[package]
name = "finding"
version = "0.0.0"
edition = "2021"

[dependencies]
http-body-util = "=0.1.5"
hyper = { version = "=1.12.0", features = ["http1", "server"] }
hyper-util = { version = "=0.1.21", features = ["tokio"] }
tokio = { version = "=1.54.1", features = ["io-util", "macros", "net", "rt", "time"] }
TOML
cat >"$folder/src/main.rs" <<'RUST'
use std::convert::Infallible;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::Response;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const MAX: usize = 65_536;
const HEAD: usize = 90_000;

/// The status that a head of `HEAD` bytes gets which comes in pieces of this size.
async fn status(piece: usize, exact: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = async {
        let (stream, _) = listener.accept().await.unwrap();
        // All of the first piece has come before any of it is read.
        tokio::time::sleep(Duration::from_millis(300)).await;
        let answer = |_| async { Ok::<_, Infallible>(Response::new(Full::new(Bytes::new()))) };
        let mut builder = http1::Builder::new();
        builder.max_buf_size(MAX).keep_alive(false);
        if exact {
            builder.max_header_size(MAX);
        }
        let served = builder.serve_connection(TokioIo::new(stream), service_fn(answer));
        served.await.ok();
    };
    let asking = async {
        let start = "GET / HTTP/1.1\r\nHost: localhost\r\nX: ";
        let request = format!("{start}{}\r\n\r\n", "a".repeat(HEAD - start.len() - 4));
        let mut stream = TcpStream::connect(address).await.unwrap();
        for piece in request.as_bytes().chunks(piece) {
            // Whoever is refused is not read to the end.
            stream.write_all(piece).await.ok();
            tokio::time::sleep(Duration::from_millis(if exact { 0 } else { 20 })).await;
        }
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.ok();
        String::from_utf8_lossy(answer.get(9..12).unwrap_or(b"none")).into_owned()
    };
    tokio::join!(serving, asking).1
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let seen = [status(HEAD, false).await, status(HEAD, true).await];
    println!("max_buf_size {MAX}, a head of {HEAD} bytes");
    println!("  in one piece: {}", seen[0]);
    println!("  in one piece, with max_header_size {MAX}: {}", seen[1]);
    std::process::exit(i32::from(seen != ["200", "431"]));
}
RUST
cd "$folder"
cargo build -q
grep -A1 'name = "hyper"' Cargo.lock
./target/debug/finding
