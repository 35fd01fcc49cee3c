//! What the writer, the other threads and the contract share.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, OnceLock};

use model::contract::CommitSubscriber;
use model::time::Heartbeat;

use crate::integrity::mark::MarkWriter;
use crate::sqlite::disk::DiskWatch;
use crate::sqlite::fan_out_cache::FanOutBacklog;
use crate::sqlite::metrics::Metrics;

/// What the writer and its callers share.
#[derive(Default)]
pub(crate) struct Shared {
    pub(crate) subscriber: OnceLock<Arc<dyn CommitSubscriber>>,
    pub(crate) version: AtomicU64,
    /// Counts groups of jobs, and commits of other processes.
    pub(crate) changes: AtomicU64,
    pub(crate) metrics: Metrics,
    pub(crate) disk: DiskWatch,
    pub(crate) fan_out_backlog: FanOutBacklog,
    /// Notes how far the WAL is durable, if the store is a file with threads.
    pub(crate) mark_writer: OnceLock<MarkWriter>,
    /// The latest heartbeat since the store was opened.
    pub(crate) last_heartbeat: Arc<Mutex<Option<Heartbeat>>>,
}
