//! `willcall bench`: a real server on a real store, measured from outside by a sender and a
//! receiver in this process; `docs/benchmarks.md` says how to read what it prints.
//!
//! The server is a child process of the same binary, so that what it costs can be told from what
//! measuring costs. Everything is made in a folder of its own, which is removed at the end.

mod arguments;
mod bare_client;
mod certificates;
mod database;
mod fill;
mod https;
mod large_store;
mod many_receivers;
mod measure;
mod memory;
mod namespace;
mod nodes;
mod noisy_neighbours;
mod open_loop;
mod password_guesses;
mod postgres_programs;
mod postgres_server;
mod process;
mod receiver;
mod report;
mod run;
mod sender;
mod server;
mod signing;
mod silent_dns;
mod sizes;
mod stage;
mod stage_store;
mod tasks;
mod throughput;
mod wal;

pub use crate::arguments::arguments;
pub use crate::run::{Stop, Surroundings, run};
