#!/bin/sh
# rusqlite_migration: two programs start at once on one file; a migration converts a column.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/src"
cat >"$folder/Cargo.toml" <<'TOML'
[package]
name = "twice"
version = "0.0.0"
edition = "2024"
[dependencies]
rusqlite = { version = "=0.40.1", features = ["bundled"] }
rusqlite_migration = "=2.6.0"
TOML
cat >"$folder/src/main.rs" <<'RUST'
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior};
use rusqlite_migration::{M, Migrations};

const CREATE: &str = "create table ticket (price integer); insert into ticket values (12)";
const TO_CENTS: &str = "update ticket set price = price * 100";

fn open(file: &Path) -> Connection {
    let mut conn = Connection::open(file).unwrap();
    conn.busy_timeout(Duration::from_secs(20)).unwrap();
    conn.set_transaction_behavior(TransactionBehavior::Immediate);
    conn
}

fn main() {
    let file = Path::new(&std::env::args().nth(1).unwrap()).join("tickets.db");
    Migrations::new(vec![M::up(CREATE)]).to_latest(&mut open(&file)).unwrap();

    // The first program is within its migration when the second starts.
    let (within, is_within): (Sender<()>, Receiver<()>) = channel();
    let other = file.clone();
    let second = thread::spawn(move || {
        is_within.recv().unwrap();
        let steps = vec![M::up(CREATE), M::up(TO_CENTS)];
        Migrations::new(steps).to_latest(&mut open(&other))
    });
    let hook = move |_: &rusqlite::Transaction| {
        within.send(()).ok();
        thread::sleep(Duration::from_secs(2));
        Ok(())
    };
    let steps = vec![M::up(CREATE), M::up_with_hook(TO_CENTS, hook)];
    Migrations::new(steps).to_latest(&mut open(&file)).unwrap();
    let second = second.join().unwrap();

    let price = "select price from ticket";
    let price: i64 = open(&file).query_row(price, [], |row| row.get(0)).unwrap();
    println!("rusqlite_migration 2.6.0: the second program said {second:?}; 12 became {price}");
    std::process::exit(i32::from(second.is_err() || price != 120_000));
}
RUST
cargo run --quiet --release --manifest-path "$folder/Cargo.toml" -- "$folder"
