//! Whether a store is whole: its file, its write-ahead log, and the mark that says how far the log
//! is durable. Bytes only; SQLite is asked nothing here but to close.

pub(crate) mod fault;
pub(crate) mod mark;
pub(crate) mod snapshot;
pub(crate) mod wal;
