//! The words and rules of Willcall, in reading order.
//!
//! Nothing here awaits, opens a file or socket, or asks for the time: what a rule needs is handed
//! to it. `docs/words.md` has the glossary.

pub mod limits;

pub mod id;
pub mod rng;
pub mod time;

pub mod notification;
pub mod password;
pub mod tenant;
pub mod users;
pub mod webhook;

pub mod filter;

pub mod attempt;
pub mod dedupe;
pub mod delivery;
pub mod policy;
pub mod retry_after;
pub mod schedule;

pub mod address;
pub mod target;

pub mod contract;
pub mod dashboard;
pub mod disk_fault;
pub mod idempotency;
pub mod lease;
pub mod query;
pub mod refusal;
pub mod replay;
pub mod wrapper;
