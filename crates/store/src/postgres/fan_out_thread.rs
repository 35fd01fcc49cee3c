//! The thread that spreads notifications over very many webhooks, in steps (`fan_out.rs`).
//!
//! It is woken when this node has accepted some, and looks now and then whether another node left
//! some behind. Tenants take turns, and other nodes help.

use std::sync::Arc;

use crate::postgres::fan_out;
use crate::postgres::jobs::Guard;
use crate::postgres::worker::Worker;

pub(crate) fn run(mut worker: Worker) {
    let shared = Arc::clone(&worker.shared);
    while shared.fan_out.wait() {
        while !shared.fan_out.is_closed() && is_left(&mut worker) {
            match worker.write(Guard::Nothing, 1, fan_out::step) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    // What was not spread is found again.
                    tracing::debug!(?error, "a step of the fan-out was not taken");
                    break;
                }
            }
        }
    }
}

/// Whether there is anything to spread, as far as can be found out.
fn is_left(worker: &mut Worker) -> bool {
    let mut is_left = false;
    let read = worker.read(|conn| {
        is_left = fan_out::is_left(conn)?;
        Ok(())
    });
    read.is_ok() && is_left
}
