//! Metrics of the store on PostgreSQL. All names begin with `willcall_store_`, those that SQLite
//! has as well are the same.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use tokio::time::Instant;

pub(crate) struct Metrics {
    commits: Counter,
    commit_duration: Histogram,
    group_commit_jobs: Histogram,
    /// Jobs that wait for a session, weighted by notifications and settlements.
    pub(crate) queued: Gauge,
    rejected: Family<[(&'static str, &'static str); 1], Counter>,
    pub(crate) busy: Counter,
    pub(crate) no_database: Counter,
    /// Sessions that were opened.
    pub(crate) sessions: Counter,
    /// How often hints of other nodes were not heard.
    pub(crate) hints_missed: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        let rejected = Family::<[(&'static str, &'static str); 1], Counter>::default();
        let reason = |reason| rejected.get_or_create_owned(&[("reason", reason)]);
        Self {
            commits: Counter::default(),
            // 0.1 ms to 3.3 s.
            commit_duration: Histogram::new(exponential_buckets(0.000_1, 2.0, 16)),
            // 1 to 8,192.
            group_commit_jobs: Histogram::new(exponential_buckets(1.0, 2.0, 14)),
            queued: Gauge::default(),
            busy: reason("busy"),
            no_database: reason("no_database"),
            rejected,
            sessions: Counter::default(),
            hints_missed: Counter::default(),
        }
    }
}

impl Metrics {
    #[rustfmt::skip]
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register("willcall_store_commits", "Transactions committed", self.commits.clone());
        registry.register_with_unit("willcall_store_commit_duration", "From the start of a \
            transaction to the end of its commit. Above some ms: the database or the network in \
            between is slow, which delays intake and every delivery", Unit::Seconds,
            self.commit_duration.clone());
        registry.register("willcall_store_group_commit_jobs", "Jobs per transaction",
            self.group_commit_jobs.clone());
        registry.register("willcall_store_jobs_queued", "Jobs waiting for the database, each \
            notification and settlement counted", self.queued.clone());
        registry.register("willcall_store_jobs_rejected", "Jobs rejected by reason. no_database: \
            the database did not answer or takes no changes, see /readyz; busy: too much was \
            waiting, or a lock was not free in time", self.rejected.clone());
        registry.register("willcall_store_database_sessions", "Sessions opened with the database. \
            Rising: connections break", self.sessions.clone());
        registry.register("willcall_store_hints_missed", "How often hints of other nodes got lost, \
            so that all that is owed was looked through. Rising: connections break",
            self.hints_missed.clone());
    }

    pub(crate) fn committed(&self, began_at: Instant, jobs: usize) {
        self.commits.inc();
        self.commit_duration
            .observe(began_at.elapsed().as_secs_f64());
        self.group_commit_jobs
            .observe(f64::from(u32::try_from(jobs).unwrap_or(u32::MAX)));
    }
}
