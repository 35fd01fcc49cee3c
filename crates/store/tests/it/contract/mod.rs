//! The cases that hold for every store, once for each engine.

pub(crate) mod harness;

mod apply;
mod bulk_jobs;
pub(crate) mod call_limits;
mod catalog;
mod clock;
pub(crate) mod cloud_events;
mod dashboard;
mod failing;
pub(crate) mod fan_out;
pub(crate) mod handshakes;
mod history;
mod holds;
mod idempotency;
mod incidents;
mod leases;
mod ledger;
mod log;
mod match_explanations;
mod matching;
pub(crate) mod own_headers;
mod pages;
mod portal;
mod prune;
mod recovery;
mod replay;
mod settle;
pub(crate) mod signatures;
pub(crate) mod statistics;
pub(crate) mod unattempted;
mod users;
mod webhook_health;
pub(crate) mod webhook_tls;
mod webhooks;
