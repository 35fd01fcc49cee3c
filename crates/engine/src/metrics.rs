//! What the engine counts, by name. The help texts say what a number asks the operator to do.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use model::attempt::{FailureKind, Outcome};
use model::tenant::DialectName;
use model::time::Timestamp;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::lane_stats::{LaneStats, ReceiverHealth};
use crate::lanes::Lanes;

/// Classes of answers; failures without an answer go by the name of their kind.
const ANSWERS: [&str; 6] = ["2xx", "3xx", "4xx", "410", "5xx", "other"];

/// From a receiver next door to the limit of an exchange.
const SECONDS: [f64; 14] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];

const BATCHES: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

const CONCURRENCY_LIMITS: [f64; 11] = [
    1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0,
];

/// States of receivers for which the age of the oldest due delivery is reported.
const DUE_STATES: [ReceiverHealth; 4] = [
    ReceiverHealth::Healthy,
    ReceiverHealth::Failing,
    ReceiverHealth::Open,
    ReceiverHealth::Paused,
];

pub(crate) struct Metrics {
    /// By the place of their class: answers, then failures.
    attempts: Vec<Counter>,
    attempt_seconds: Histogram,
    in_flight: Gauge,
    slow_in_flight: Gauge,
    buffered: Gauge,
    webhooks_tracked: Vec<(ReceiverHealth, Gauge)>,
    webhooks_active: Gauge,
    webhooks_queued: Gauge,
    webhooks_queued_by_fair_share: Gauge,
    webhooks_metered: Gauge,
    rate_waits: Counter,
    oldest_due: Vec<(ReceiverHealth, usize, Gauge<f64, AtomicU64>)>,
    pending: Vec<(DialectName, Gauge)>,
    unsettled: Gauge,
    concurrency_limit: Histogram,
    pub(crate) recovery_attempts: Counter,
    pub(crate) settle_batch: Histogram,
    pub(crate) retries: Counter,
    pub(crate) failed: Counter,
    pub(crate) disabled: Counter,
    pub(crate) pauses: Counter,
    pub(crate) clock_steps: Counter,
    clock_untrusted: Gauge,
    slots_owned: Gauge,
    pub(crate) opened: Counter,
    pub(crate) deferred: Counter,
    pub(crate) truncated: Counter,
    pub(crate) store_errors: Counter,
    pub(crate) uncounted: Counter,
    pub(crate) retention_steps: Counter,
}

impl Metrics {
    /// `dialects` in the order of their classes.
    pub(crate) fn new<'a>(
        registry: &mut Registry,
        dialects: impl Iterator<Item = &'a DialectName> + Clone,
    ) -> Self {
        let metrics = Self {
            attempts: Vec::new(),
            attempt_seconds: Histogram::new(SECONDS),
            in_flight: Gauge::default(),
            slow_in_flight: Gauge::default(),
            buffered: Gauge::default(),
            webhooks_tracked: webhooks_tracked(registry),
            webhooks_active: Gauge::default(),
            webhooks_queued: Gauge::default(),
            webhooks_queued_by_fair_share: Gauge::default(),
            webhooks_metered: Gauge::default(),
            rate_waits: Counter::default(),
            oldest_due: oldest_due(registry, dialects.clone()),
            pending: pending(registry, dialects),
            unsettled: Gauge::default(),
            settle_batch: Histogram::new(BATCHES),
            concurrency_limit: Histogram::new(CONCURRENCY_LIMITS),
            recovery_attempts: Counter::default(),
            retries: Counter::default(),
            failed: Counter::default(),
            disabled: Counter::default(),
            pauses: Counter::default(),
            clock_steps: Counter::default(),
            clock_untrusted: Gauge::default(),
            slots_owned: Gauge::default(),
            opened: Counter::default(),
            deferred: Counter::default(),
            truncated: Counter::default(),
            store_errors: Counter::default(),
            uncounted: uncounted(registry),
            retention_steps: Counter::default(),
        };
        metrics.register(registry);
        let attempts = attempts(registry);
        Self {
            attempts,
            ..metrics
        }
    }

    #[rustfmt::skip]
    fn register(&self, registry: &mut Registry) {
        let mut gauge = |name: &str, help: &str, gauge: &Gauge| {
            registry.register(format!("willcall_{name}"), help, gauge.clone());
        };
        gauge("attempts_in_flight", "Attempts running. Near the setting \
            max_in_flight for long: receivers are slow, or the setting is too small",
            &self.in_flight);
        gauge("slow_attempts_in_flight", "Attempts that have been running for 2 s or more. Near \
            half of the setting max_in_flight: receivers hang; others are not held up, but more of \
            theirs wait, see willcall_webhooks_queued_by_fair_share", &self.slow_in_flight);
        gauge("deliveries_buffered", "Deliveries held in memory, from when they are read until \
            their outcome is written. What does not fit waits in the store", &self.buffered);
        gauge("webhooks_active", "Webhooks with deliveries that wait, in memory or in the store, \
            or are in flight", &self.webhooks_active);
        gauge("webhooks_queued", "Webhooks with deliveries in memory that wait for a turn. Above 0 \
            for long: max_in_flight is reached, see willcall_attempts_in_flight, or a tenant or a \
            host has used its fair share, see willcall_webhooks_queued_by_fair_share",
            &self.webhooks_queued);
        gauge("webhooks_queued_by_fair_share", "Those of willcall_webhooks_queued that wait though \
            max_in_flight is not reached, because their tenant, or the host of their receiver, has \
            used its fair share. Above 0 for long: see willcall_slow_attempts_in_flight; if \
            receivers are quick, raise max_in_flight", &self.webhooks_queued_by_fair_share);
        gauge("webhooks_rate_limited", "Webhooks that have something to send and wait because they \
            have had as many calls a second as they may", &self.webhooks_metered);
        gauge("outcomes_unsettled", "Outcomes not yet written to the store. Growing: the store \
            fails or is slow, see the log, and the disk or the database", &self.unsettled);
        gauge("clock_untrusted", "1 while the wall clock is not trusted with what cannot be \
            undone: for an hour after it was set. For longer: it is set again and again",
            &self.clock_untrusted);
        gauge("slots_owned", "Of the 256 parts that all webhooks are in, those that this node \
            sends for: all of them on one node, else an even share. Other shares for more than a \
            minute, or 256 in none: see the log for nodes that lose their slots",
            &self.slots_owned);
        let mut counter = |name: &str, help: &str, counter: &Counter| {
            registry.register(format!("willcall_{name}"), help, counter.clone());
        };
        counter("retries_scheduled", "Attempts that failed and will be retried", &self.retries);
        counter("recovery_attempts", "Attempts made early because their receiver had recovered \
            from an outage", &self.recovery_attempts);
        counter("deliveries_failed", "Deliveries given up after the last retry. Look at the \
            webhook's log, fix its receiver, then replay them", &self.failed);
        counter("webhooks_disabled", "Webhooks disabled because their receiver answered 410 Gone. \
            Their owners should know", &self.disabled);
        counter("retry_after_pauses", "Pauses that receivers asked for by Retry-After. Growing: a \
            receiver gets more than it can take", &self.pauses);
        counter("rate_limit_waits", "Times a webhook began to wait because it had had as many calls \
            a second as it may. Always growing, and its deliveries are late: it gets more than its \
            own limit lets through, so raise that", &self.rate_waits);
        counter("clock_steps", "Times the wall clock was seen to be set, or to be far from the \
            store's at the start. Growing: two time services fight, or the clock is broken",
            &self.clock_steps);
        counter("connections_opened", "Connections opened to receivers. As many as attempts: \
            receivers do not keep connections open", &self.opened);
        counter("attempts_deferred", "Attempts deferred because Willcall itself lacked a file \
            descriptor, memory or a port. They use up no retry and are made later. Growing: see \
            /readyz and the log", &self.deferred);
        counter("responses_truncated", "Long responses of which less was kept than usual, because \
            the memory budget of all responses was used up. Their status counts all the same. \
            Growing: very many receivers send long responses", &self.truncated);
        counter("store_errors", "Store calls of the engine that failed. Growing: see the \
            log, and the disk or the database", &self.store_errors);
        counter("retention_steps", "Steps in which deliveries past their retention were removed",
            &self.retention_steps);
        registry.register_with_unit("willcall_attempt_duration", "Duration of attempts, from the \
            lookup of the name to the end of the response. Long: the receivers are slow",
            Unit::Seconds, self.attempt_seconds.clone());
        registry.register("willcall_webhook_concurrency_limit", "Concurrency limit of the webhook \
            at each attempt. Many at 1: receivers fail or hang; many at the setting \
            max_concurrency_per_webhook: it may be raised", self.concurrency_limit.clone());
        registry.register("willcall_settle_batch_outcomes", "Outcomes settled per transaction. \
            Always near 512: writing limits the rate", self.settle_batch.clone());
    }

    pub(crate) fn report(&self, lanes: &mut Lanes, in_flight_count: usize, unsettled: usize) {
        self.in_flight.set(count(in_flight_count));
        self.slow_in_flight.set(count(lanes.slow()));
        self.buffered.set(count(lanes.held()));
        self.webhooks_active.set(count(lanes.count()));
        self.webhooks_queued.set(count(lanes.queued()));
        self.webhooks_queued_by_fair_share
            .set(count(lanes.queued_by_share()));
        self.webhooks_metered.set(count(lanes.metered()));
        self.rate_waits.inc_by(lanes.take_metered_count());
        self.unsettled.set(count(unsettled));
    }

    pub(crate) fn clock_untrusted(&self, untrusted: bool) {
        self.clock_untrusted.set(i64::from(untrusted));
    }

    /// This node sends for so many slots.
    pub(crate) fn slots_owned(&self, slots: usize) {
        self.slots_owned.set(count(slots));
    }

    pub(crate) fn report_waits(&self, counted: &LaneStats, now: Timestamp) {
        for (health, gauge) in &self.webhooks_tracked {
            gauge.set(count(counted.lanes(*health)));
        }
        for (health, class, gauge) in &self.oldest_due {
            let wait = match counted.overdue_ms(*health, *class, now) {
                0 => 0.0,
                ms => Duration::from_millis(u64::try_from(ms).unwrap_or(0)).as_secs_f64(),
            };
            gauge.set(wait);
        }
    }

    /// How many deliveries were pending when they were last counted.
    pub(crate) fn owed(&self) -> u64 {
        let all = self.pending.iter().map(|(_, gauge)| gauge.get());
        all.filter_map(|count| u64::try_from(count).ok()).sum()
    }

    /// The pending deliveries were counted.
    pub(crate) fn pending(&self, counts: &BTreeMap<DialectName, u64>) {
        for (dialect, gauge) in &self.pending {
            let count = counts.get(dialect).copied().unwrap_or(0);
            gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// An attempt begins while its webhook has this concurrency limit.
    pub(crate) fn begun(&self, concurrency_limit: u32) {
        self.concurrency_limit.observe(f64::from(concurrency_limit));
    }

    pub(crate) fn attempted(&self, outcome: &Outcome, duration_ms: u32) {
        let millis = Duration::from_millis(u64::from(duration_ms));
        self.attempt_seconds.observe(millis.as_secs_f64());
        let place = match outcome {
            Outcome::Answered(answer) => Some(answer_class(answer.status)),
            Outcome::Failed(failure) => {
                let mut kinds = FailureKind::ALL.iter();
                let kind = kinds.position(|kind| *kind == failure.kind);
                kind.map(|kind| ANSWERS.len() + kind)
            }
        };
        if let Some(counter) = place.and_then(|place| self.attempts.get(place)) {
            counter.inc();
        }
    }
}

fn count(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn webhooks_tracked(registry: &mut Registry) -> Vec<(ReceiverHealth, Gauge)> {
    let family = Family::<[(&'static str, &'static str); 1], Gauge>::default();
    registry.register(
        "willcall_webhooks_tracked",
        "Webhooks in memory by state of their receiver. Many circuit_open: receivers are dead, \
         tell their owners; unknown for long: webhooks cannot be read from the store",
        family.clone(),
    );
    let gauge = |health: ReceiverHealth| family.get_or_create_owned(&[("state", health.as_str())]);
    let all = ReceiverHealth::ALL.into_iter();
    all.map(|health| (health, gauge(health))).collect()
}

fn oldest_due<'a>(
    registry: &mut Registry,
    dialects: impl Iterator<Item = &'a DialectName>,
) -> Vec<(ReceiverHealth, usize, Gauge<f64, AtomicU64>)> {
    let family = Family::<[(&'static str, String); 2], Gauge<f64, AtomicU64>>::default();
    registry.register_with_unit(
        "willcall_oldest_due_age",
        "Age of the oldest due delivery that is not yet attempted, by dialect and state of its \
         receiver. Growing at healthy: more is handed in than can be sent, raise max_in_flight or \
         max_concurrency_per_webhook; else it is up to the receivers",
        Unit::Seconds,
        family.clone(),
    );
    let mut gauges = vec![];
    for (class, dialect) in dialects.enumerate() {
        for health in DUE_STATES {
            let labels = [
                ("dialect", dialect.as_str().to_owned()),
                ("state", health.as_str().to_owned()),
            ];
            gauges.push((health, class, family.get_or_create_owned(&labels)));
        }
    }
    gauges
}

fn pending<'a>(
    registry: &mut Registry,
    dialects: impl Iterator<Item = &'a DialectName>,
) -> Vec<(DialectName, Gauge)> {
    let family = Family::<[(&'static str, String); 1], Gauge>::default();
    registry.register(
        "willcall_deliveries_pending",
        "Pending deliveries by dialect, counted once a minute, or less often if they are millions. \
         Growing though receivers are healthy: more is handed in than is sent, see \
         willcall_oldest_due_age_seconds",
        family.clone(),
    );
    let gauge = |dialect: &DialectName| {
        family.get_or_create_owned(&[("dialect", dialect.as_str().to_owned())])
    };
    dialects
        .map(|dialect| (dialect.clone(), gauge(dialect)))
        .collect()
}

fn uncounted(registry: &mut Registry) -> Counter {
    let counter = Counter::default();
    registry.register(
        "willcall_attempts_uncounted",
        "Attempts that are missing in statistics and charts: their tallies could not be written \
         within five minutes, or very many webhooks were called at once. Growing: see the log, and \
         the disk or the database",
        counter.clone(),
    );
    counter
}

fn attempts(registry: &mut Registry) -> Vec<Counter> {
    let family = Family::<[(&'static str, &'static str); 1], Counter>::default();
    registry.register(
        "willcall_attempts",
        "Delivery attempts by outcome. Many forbidden_address: see the setting \
         allow_private_targets; many tls: see ca_files; many look_up: check the name servers; the \
         others are up to the receivers",
        family.clone(),
    );
    let kinds = FailureKind::ALL.map(FailureKind::as_str);
    ANSWERS
        .into_iter()
        .chain(kinds)
        .map(|class| family.get_or_create_owned(&[("outcome", class)]))
        .collect()
}

pub(crate) fn class(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Failed(failure) => failure.kind.as_str(),
        Outcome::Answered(answer) => {
            let class = ANSWERS.get(answer_class(answer.status));
            class.copied().unwrap_or_default()
        }
    }
}

/// The place in `ANSWERS`.
fn answer_class(status: u16) -> usize {
    match status {
        200..=299 => 0,
        300..=399 => 1,
        410 => 3,
        400..=499 => 2,
        500..=599 => 4,
        _ => 5,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use model::attempt::{BodyEnd, Failure, HttpResponse};
    use model::webhook::Headers;

    use super::*;

    #[test]
    fn every_outcome_is_counted_under_a_name_that_is_there_from_the_start() {
        let mut registry = Registry::default();
        let dialects = [DialectName::new("one"), DialectName::new("two")];
        let metrics = Metrics::new(&mut registry, dialects.iter());
        for kind in FailureKind::ALL {
            metrics.attempted(&Outcome::Failed(Failure::new(kind, "")), 30_000);
        }
        let answers = [299, 300, 404, 410, 503, 600].map(|status| {
            Outcome::Answered(HttpResponse {
                status,
                headers: Headers::default(),
                body: Bytes::new(),
                body_end: BodyEnd::Whole,
                note: None,
            })
        });
        assert_eq!(answers.each_ref().map(class), ANSWERS);
        metrics.attempted(&answers[3], 30_000);
        metrics.pending(&[(dialects[0].clone(), 7)].into());
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for kind in FailureKind::ALL {
            let line = format!(
                "willcall_attempts_total{{outcome=\"{}\"}} 1\n",
                kind.as_str()
            );
            assert!(text.contains(&line), "{line}{text}");
        }
        for line in [
            "willcall_attempts_total{outcome=\"2xx\"} 0\n",
            "willcall_attempts_total{outcome=\"4xx\"} 0\n",
            "willcall_attempts_total{outcome=\"410\"} 1\n",
            "willcall_attempt_duration_seconds_count 15\n",
            "willcall_attempts_in_flight 0\n",
            "willcall_slow_attempts_in_flight 0\n",
            "willcall_deliveries_buffered 0\n",
            "willcall_webhooks_tracked{state=\"circuit_open\"} 0\n",
            "willcall_oldest_due_age_seconds{dialect=\"two\",state=\"healthy\"} 0.0\n",
            "willcall_deliveries_pending{dialect=\"one\"} 7\n",
            "willcall_deliveries_pending{dialect=\"two\"} 0\n",
            "willcall_webhooks_active 0\n",
            "willcall_webhooks_queued 0\n",
            "willcall_webhooks_queued_by_fair_share 0\n",
            "willcall_webhooks_rate_limited 0\n",
            "willcall_rate_limit_waits_total 0\n",
            "willcall_recovery_attempts_total 0\n",
            "willcall_webhook_concurrency_limit_count 0\n",
            "willcall_outcomes_unsettled 0\n",
            "willcall_slots_owned 0\n",
            "willcall_settle_batch_outcomes_count 0\n",
            "willcall_retries_scheduled_total 0\n",
            "willcall_deliveries_failed_total 0\n",
            "willcall_webhooks_disabled_total 0\n",
            "willcall_connections_opened_total 0\n",
            "willcall_store_errors_total 0\n",
            "willcall_retention_steps_total 0\n",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
    }
}
