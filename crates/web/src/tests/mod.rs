//! Tests of the crate as a whole: the site called without a socket, on an in-memory store.

mod admin;
mod cloud_events;
mod coverage;
mod declared_secrets;
mod exports;
pub(crate) mod faulty_store;
mod fuzz;
mod handshakes;
pub(crate) mod harness;
mod idempotency;
mod limits;
mod never_500;
mod openapi;
mod own_headers;
mod pages;
mod parameters;
mod pause;
mod replays;
mod requests;
mod signatures;
mod statistics;
mod test_calls;
mod webhook_tls;
