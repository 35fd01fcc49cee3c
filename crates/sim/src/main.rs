//! `sim`: the deterministic simulator. The real engine, web floor and store in a world that is drawn
//! from a seed, with everything that can go wrong; and checkers that say what must hold.
//!
//! The same seed and program give the same trace in any process. docs/reliability.md has the rest.

mod arguments;
mod checkers;
mod history;
mod net;
mod node;
mod people;
mod receiver;
mod record;
mod run;
mod scenario;
mod seeds;
mod store;
mod trace;
mod trouble;
mod workload;
mod world;

use std::io::Write as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    match arguments::read().and_then(|chosen| seeds::run_all(&chosen)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            print(&format!("sim: {error:#}"));
            ExitCode::from(2)
        }
    }
}

/// Prints a line. Whoever closed the output does not want it.
pub(crate) fn print(line: &str) {
    drop(writeln!(std::io::stdout(), "{line}"));
}
