//! Metrics of the store. All names begin with `willcall_store_`.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use tokio::time::Instant;

pub(crate) struct Metrics {
    commits: Counter,
    commit_duration: Histogram,
    sync_duration: Histogram,
    group_jobs: Histogram,
    /// Jobs that wait for the writer, weighted by notifications and settlements.
    pub(crate) queued: Gauge,
    /// Deliveries that are still to be materialized in steps.
    pub(crate) fan_out_backlog: Gauge,
    pub(crate) full: Counter,
    pub(crate) failed: Counter,
    free_bytes: Gauge,
    pub(crate) busy: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            commits: Counter::default(),
            // 0.1 ms to 3.3 s.
            commit_duration: Histogram::new(exponential_buckets(0.000_1, 2.0, 16)),
            sync_duration: Histogram::new(exponential_buckets(0.000_1, 2.0, 16)),
            // 1 to 8,192.
            group_jobs: Histogram::new(exponential_buckets(1.0, 2.0, 14)),
            queued: Gauge::default(),
            fan_out_backlog: Gauge::default(),
            full: Counter::default(),
            failed: Counter::default(),
            free_bytes: Gauge::default(),
            busy: Counter::default(),
        }
    }
}

impl Metrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "willcall_store_commits",
            "Transactions that the writer committed",
            self.commits.clone(),
        );
        registry.register_with_unit(
            "willcall_store_commit_duration",
            "Time from the beginning of a transaction to the end of its commit, without the sync",
            Unit::Seconds,
            self.commit_duration.clone(),
        );
        registry.register_with_unit(
            "willcall_store_sync_duration",
            "Time that a sync of the write-ahead log takes",
            Unit::Seconds,
            self.sync_duration.clone(),
        );
        registry.register(
            "willcall_store_group_jobs",
            "Jobs that shared a transaction",
            self.group_jobs.clone(),
        );
        registry.register(
            "willcall_store_queued_jobs",
            "Jobs that wait for the writer, each notification and settlement counted",
            self.queued.clone(),
        );
        registry.register(
            "willcall_store_unlisted_deliveries",
            "Accepted deliveries that are still to be materialized by the fan-out",
            self.fan_out_backlog.clone(),
        );
        registry.register(
            "willcall_store_full",
            "Jobs refused because the disk was full",
            self.full.clone(),
        );
        registry.register(
            "willcall_store_failed",
            "Jobs refused because the disk failed, was read-only or had lost the store's files",
            self.failed.clone(),
        );
        registry.register_with_unit(
            "willcall_store_free",
            "Space that is left for this user on the disk of the store",
            Unit::Bytes,
            self.free_bytes.clone(),
        );
        registry.register(
            "willcall_store_busy",
            "Jobs refused because too much was waiting or the file was locked",
            self.busy.clone(),
        );
    }

    pub(crate) fn committed(&self, began_at: Instant, jobs: usize) {
        self.commits.inc();
        self.commit_duration
            .observe(began_at.elapsed().as_secs_f64());
        self.group_jobs
            .observe(f64::from(u32::try_from(jobs).unwrap_or(u32::MAX)));
    }

    pub(crate) fn free(&self, bytes: u64) {
        self.free_bytes
            .set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    pub(crate) fn synced(&self, began_at: Instant) {
        self.sync_duration.observe(began_at.elapsed().as_secs_f64());
    }
}
