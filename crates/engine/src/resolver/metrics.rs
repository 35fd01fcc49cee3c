//! What the resolver counts. How many lookups run, wait and hang is counted when it is scraped.

use std::fmt;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::NameError;
use super::cache::LookupResult;

/// Results of lookups.
const RESULTS: [&str; 6] = [
    "found",
    "no_such_name",
    "no_address",
    "no_answer",
    "refused",
    "local_error",
];

const SECONDS: [f64; 10] = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0];

pub(super) struct ResolverMetrics {
    /// In the order of `RESULTS`.
    results: Vec<Counter>,
    seconds: Histogram,
    pub(super) cache_hits: Counter,
    pub(super) abandoned: Counter,
}

/// Lookups at this moment.
pub(super) struct LookupCounts {
    pub(super) running: usize,
    pub(super) waiting: usize,
    pub(super) hanging: usize,
}

/// Counts them; none once the resolver is gone.
type Count = dyn Fn() -> Option<LookupCounts> + Send + Sync;

/// Asks for the counts whenever the registry is read.
struct LookupGauges(Box<Count>);

impl ResolverMetrics {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let family = Family::<[(&'static str, &'static str); 1], Counter>::default();
        let metrics = Self {
            results: RESULTS
                .into_iter()
                .map(|result| family.get_or_create_owned(&[("result", result)]))
                .collect(),
            seconds: Histogram::new(SECONDS),
            cache_hits: Counter::default(),
            abandoned: Counter::default(),
        };
        registry.register(
            "willcall_dns_lookups",
            "Name lookups by result. Many no_answer: names of dead receivers, or a name server \
             that does not answer; local_error: this machine is short of threads, memory or file \
             descriptors",
            family,
        );
        registry.register_with_unit(
            "willcall_dns_lookup_duration",
            "Duration of name lookups. Above a second: nobody answers for the name",
            Unit::Seconds,
            metrics.seconds.clone(),
        );
        registry.register(
            "willcall_dns_cache_hits",
            "Lookups answered from the cache, which keeps results for some seconds",
            metrics.cache_hits.clone(),
        );
        registry.register(
            "willcall_dns_lookups_abandoned",
            "Attempts that ended while their lookup waited for a thread behind names for which \
             nobody answers. Growing: tell the owners of webhooks whose names fail",
            metrics.abandoned.clone(),
        );
        metrics
    }

    pub(super) fn looked_up(&self, found: &LookupResult, took: Duration) {
        self.seconds.observe(took.as_secs_f64());
        let place = match found {
            Ok(_) => 0,
            Err(NameError::NoSuchName) => 1,
            Err(NameError::NoAddress) => 2,
            Err(NameError::NoAnswer) => 3,
            Err(NameError::Refused(_)) => 4,
            Err(NameError::Ours(_)) => 5,
        };
        if let Some(counter) = self.results.get(place) {
            counter.inc();
        }
    }
}

/// Has the registry ask how many lookups there are whenever it is read.
pub(super) fn follow(registry: &mut Registry, count: Box<Count>) {
    registry.register_collector(Box::new(LookupGauges(count)));
}

impl Collector for LookupGauges {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Some(LookupCounts {
            running,
            waiting,
            hanging,
        }) = (self.0)()
        else {
            return Ok(());
        };
        let gauges = [
            (
                "willcall_dns_lookups_in_flight",
                "Lookups running, one thread each.",
                running,
            ),
            (
                "willcall_dns_lookups_queued",
                "Names waiting for a thread to look them up.",
                waiting,
            ),
            (
                "willcall_dns_lookups_stuck",
                "Lookups that have had no answer for 5 s or more. Some: names of dead \
                 receivers; many: the name server does not answer.",
                hanging,
            ),
        ];
        for (name, help, count) in gauges {
            let gauge = ConstGauge::new(i64::try_from(count).unwrap_or(i64::MAX));
            let metric = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
            gauge.encode(metric)?;
        }
        Ok(())
    }
}

impl fmt::Debug for LookupGauges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LookupGauges")
    }
}
