//! Integrity of a store that was not closed: `snapshot.rs` judges it as a whole, `wal.rs` reads the
//! write-ahead log as bytes, `mark.rs` the durability mark. SQLite is asked nothing here but to
//! close.

pub(crate) mod fault;
pub(crate) mod mark;
pub(crate) mod snapshot;
pub(crate) mod wal;
