//! Metrics of the store. All names begin with `willcall_store_`.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use tokio::time::Instant;

pub(crate) struct Metrics {
    commits: Counter,
    commit_duration: Histogram,
    fsync_duration: Histogram,
    group_commit_jobs: Histogram,
    /// Jobs that wait for the writer, weighted by notifications and settlements.
    pub(crate) queued: Gauge,
    /// Deliveries that are still to be materialized in steps.
    pub(crate) fan_out_pending: Gauge,
    rejected: Family<[(&'static str, &'static str); 1], Counter>,
    pub(crate) disk_full: Counter,
    pub(crate) disk_error: Counter,
    pub(crate) busy: Counter,
    disk_free_bytes: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let rejected = Family::<[(&'static str, &'static str); 1], Counter>::default();
        let reason = |reason| rejected.get_or_create_owned(&[("reason", reason)]);
        Self {
            commits: Counter::default(),
            // 0.1 ms to 3.3 s.
            commit_duration: Histogram::new(exponential_buckets(0.000_1, 2.0, 16)),
            fsync_duration: Histogram::new(exponential_buckets(0.000_1, 2.0, 16)),
            // 1 to 8,192.
            group_commit_jobs: Histogram::new(exponential_buckets(1.0, 2.0, 14)),
            queued: Gauge::default(),
            fan_out_pending: Gauge::default(),
            disk_full: reason("disk_full"),
            disk_error: reason("disk_error"),
            busy: reason("busy"),
            disk_free_bytes: Gauge::default(),
            rejected,
        }
    }
}

impl Metrics {
    #[rustfmt::skip]
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register("willcall_store_commits", "Transactions committed", self.commits.clone());
        registry.register_with_unit("willcall_store_commit_duration", "From the start of a \
            transaction to the end of its commit, without fsync. While the disk is busy a \
            transaction stays open for more jobs", Unit::Seconds, self.commit_duration.clone());
        registry.register_with_unit("willcall_store_fsync_duration", "Duration of fdatasync of the \
            write-ahead log. Above some ms: the disk is slow, which delays intake and every \
            delivery", Unit::Seconds, self.fsync_duration.clone());
        registry.register("willcall_store_group_commit_jobs", "Jobs per transaction",
            self.group_commit_jobs.clone());
        registry.register("willcall_store_jobs_queued", "Jobs waiting for the writer, each \
            notification and settlement counted", self.queued.clone());
        registry.register("willcall_store_fan_out_deliveries_pending", "Deliveries of fan-outs not \
            yet materialized. Not falling: the disk is full", self.fan_out_pending.clone());
        registry.register("willcall_store_jobs_rejected", "Jobs rejected by reason. disk_full: \
            free space; disk_error: the disk failed, is read-only or has lost the store's files, \
            see /readyz; busy: too much was waiting, or the file was locked",
            self.rejected.clone());
        registry.register_with_unit("willcall_store_disk_free", "Free space on the store's disk \
            for the user of this process", Unit::Bytes, self.disk_free_bytes.clone());
    }

    pub(crate) fn committed(&self, began_at: Instant, jobs: usize) {
        self.commits.inc();
        self.commit_duration
            .observe(began_at.elapsed().as_secs_f64());
        self.group_commit_jobs
            .observe(f64::from(u32::try_from(jobs).unwrap_or(u32::MAX)));
    }

    pub(crate) fn disk_free(&self, bytes: u64) {
        self.disk_free_bytes
            .set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    pub(crate) fn fsynced(&self, began_at: Instant) {
        self.fsync_duration
            .observe(began_at.elapsed().as_secs_f64());
    }
}
