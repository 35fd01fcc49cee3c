//! `sim`: the deterministic simulator. The real engine, web floor and store in a world that is
//! drawn from a seed, with everything that can go wrong; and checkers that say what must hold.
//!
//! The same seed and program give the same trace in any process. docs/reliability.md has the rest.

mod arguments;
mod assemble;
mod checkers;
mod cluster;
mod conn;
mod dashboard;
mod dialects;
mod events;
mod history;
mod mood;
mod net;
mod node;
mod node_time;
mod output;
mod people;
mod receiver;
mod record;
mod requests;
mod run;
mod scenario;
mod seeds;
mod store;
mod tasks;
mod theme;
mod trace;
mod trouble;
mod visits;
mod workload;
mod world;

use std::process::ExitCode;

/// As `willcall` has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match arguments::read().and_then(|chosen| seeds::run_all(&chosen)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            output::print(&format!("sim: {error:#}"));
            ExitCode::from(2)
        }
    }
}
