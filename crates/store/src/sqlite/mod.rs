//! SQLite: the contract of `model` on a file. `contract.rs` is the way in, `executor.rs` has the
//! threads, `writer.rs` the transactions; each other file has statements about one thing.

mod accept;
mod checkpointer;
pub(crate) mod clock;
pub(crate) mod contract;
pub(crate) mod disk;
pub(crate) mod disk_probe;
mod due;
mod envelopes;
pub(crate) mod error_codes;
mod executor;
mod fan_out;
mod fan_out_cache;
mod fan_out_step;
mod group_commit;
mod inline_deliveries;
mod job_answer;
mod jobs;
mod leftovers;
mod metrics;
pub(crate) mod moved;
pub(crate) mod open;
mod pending;
mod query;
mod unattempted_rows;

mod sequence;
mod settle;
pub(crate) mod shared;
pub(crate) mod statements;
mod transaction;
mod tx;
mod unattempted;
pub(crate) mod wal_preallocation;
pub(crate) mod wal_sync;
pub(crate) mod writer;
