#!/bin/sh
# tokio: how many threads wake up when another thread completes one oneshot channel.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/src"
cat >"$folder/Cargo.toml" <<'TOML'
[package]
name = "wakes"
version = "0.0.0"
edition = "2024"
[dependencies]
tokio = { version = "=1.54.1", features = ["rt-multi-thread", "sync"] }
TOML
cat >"$folder/src/main.rs" <<'RUST'
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::Duration;

use tokio::sync::oneshot;

const ROUNDS: usize = 200;

fn main() {
    let woken = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&woken);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .on_thread_unpark(move || {
            counted.fetch_add(1, Ordering::Relaxed);
        })
        .build()
        .unwrap();
    let mut seen = 0;
    for _ in 0..ROUNDS {
        let (answer, answered) = oneshot::channel::<()>();
        let task = runtime.spawn(async move { answered.await.is_ok() });
        // By then all threads rest again.
        sleep(Duration::from_millis(5));
        let before = woken.load(Ordering::Relaxed);
        answer.send(()).unwrap();
        sleep(Duration::from_millis(5));
        seen += woken.load(Ordering::Relaxed) - before;
        assert!(task.is_finished());
    }
    let each = seen as f64 / ROUNDS as f64;
    println!("tokio 1.54.1, 4 workers at rest: one completed channel wakes {each:.2} of them");
    std::process::exit(i32::from(!(1.9..2.1).contains(&each)));
}
RUST
cargo run --quiet --release --manifest-path "$folder/Cargo.toml"
