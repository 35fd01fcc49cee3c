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

const WIDTHS: [f64; 11] = [
    1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0,
];

/// Of whom it is told for how long the first delivery has been due.
const OWED: [ReceiverHealth; 4] = [
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
    in_flight_slow: Gauge,
    held: Gauge,
    lanes: Vec<(ReceiverHealth, Gauge)>,
    lanes_active: Gauge,
    lanes_queued: Gauge,
    lanes_queued_by_share: Gauge,
    overdue: Vec<(ReceiverHealth, usize, Gauge<f64, AtomicU64>)>,
    backlog: Vec<(DialectName, Gauge)>,
    unwritten: Gauge,
    pub(crate) width: Histogram,
    pub(crate) ahead: Counter,
    pub(crate) batch: Histogram,
    pub(crate) retries: Counter,
    pub(crate) exhausted: Counter,
    pub(crate) disabled: Counter,
    pub(crate) pauses: Counter,
    pub(crate) clock_steps: Counter,
    clock_doubted: Gauge,
    pub(crate) opened: Counter,
    pub(crate) put_off: Counter,
    pub(crate) shortened: Counter,
    pub(crate) refused: Counter,
    pub(crate) pruned: Counter,
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
            in_flight_slow: Gauge::default(),
            held: Gauge::default(),
            lanes: lanes(registry),
            lanes_active: Gauge::default(),
            lanes_queued: Gauge::default(),
            lanes_queued_by_share: Gauge::default(),
            overdue: overdue(registry, dialects.clone()),
            backlog: backlog(registry, dialects),
            unwritten: Gauge::default(),
            batch: Histogram::new(BATCHES),
            width: Histogram::new(WIDTHS),
            ahead: Counter::default(),
            retries: Counter::default(),
            exhausted: Counter::default(),
            disabled: Counter::default(),
            pauses: Counter::default(),
            clock_steps: Counter::default(),
            clock_doubted: Gauge::default(),
            opened: Counter::default(),
            put_off: Counter::default(),
            shortened: Counter::default(),
            refused: Counter::default(),
            pruned: Counter::default(),
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
        gauge("attempts_in_flight", "Attempts running. Near the setting flights_max for long: \
            receivers are slow, or the setting is too small", &self.in_flight);
        gauge("attempts_in_flight_slow", "Attempts that have been running for 2 s or more. Near half \
            of the setting flights_max: receivers hang; others are not held up, but more of theirs \
            wait, see lanes_queued_by_share", &self.in_flight_slow);
        gauge("deliveries_held", "Deliveries held in memory, from being read until their outcome \
            is written. What does not fit waits in the store", &self.held);
        gauge("lanes_active", "Webhooks with deliveries that wait, here or in the store, or are in \
            the air", &self.lanes_active);
        gauge("lanes_queued", "Webhooks with deliveries in memory that wait for a turn. Above 0 for \
            long: all flights are taken, see attempts_in_flight, or a tenant or a host has its share, \
            see lanes_queued_by_share", &self.lanes_queued);
        gauge("lanes_queued_by_share", "Those of lanes_queued that wait though there are flights, \
            because their tenant, or the host of their receiver, has its share in the air. Above 0 for \
            long: see attempts_in_flight_slow; with quick receivers raise flights_max",
            &self.lanes_queued_by_share);
        gauge("outcomes_unwritten", "Outcomes that wait to be written down. Growing: the store \
            refuses or is slow, see the log and the disk", &self.unwritten);
        gauge("clock_doubted", "1 while the wall clock is not trusted with what cannot be undone: \
            for an hour after it was set. For longer: it is set again and again",
            &self.clock_doubted);
        let mut counter = |name: &str, help: &str, counter: &Counter| {
            registry.register(format!("willcall_{name}"), help, counter.clone());
        };
        counter("retries_scheduled", "Attempts that failed and will be repeated", &self.retries);
        counter("attempts_ahead", "Attempts made ahead of their time because their receiver had \
            recovered from an outage", &self.ahead);
        counter("deliveries_exhausted", "Deliveries given up after the last retry. Look at the \
            webhook's log, mend its receiver, then send them again", &self.exhausted);
        counter("webhooks_disabled", "Webhooks switched off because their receiver answered \
            410 Gone. Their owners should know", &self.disabled);
        counter("webhooks_paused", "Times a receiver asked by Retry-After to be left alone. Growing: \
            it gets more than it can take", &self.pauses);
        counter("clock_steps", "Times the wall clock was seen to be set, or to be far from the \
            store's at the start. Growing: two time services fight, or the clock is broken",
            &self.clock_steps);
        counter("connections_opened", "Connections opened to receivers. As many as attempts: \
            receivers do not keep connections open", &self.opened);
        counter("attempts_put_off", "Attempts that Willcall itself lacked a descriptor, memory or a \
            port for. They cost nothing and are made later. Growing: see /readyz and the log",
            &self.put_off);
        counter("answers_shortened", "Long answers of which less was kept than usual, because those \
            that were read at the same time had no more room. Their status counts all the same. \
            Growing: very many receivers send long answers", &self.shortened);
        counter("store_refusals", "Times the store refused what the engine asked of it. Growing: \
            see the log and the disk", &self.refused);
        counter("prune_steps", "Steps in which deliveries past their retention were removed",
            &self.pruned);
        registry.register_with_unit("willcall_attempt_duration", "How long attempts take, from \
            the look-up of the name to the end of the answer. Long: the receivers are slow",
            Unit::Seconds, self.attempt_seconds.clone());
        registry.register("willcall_lane_width", "How many attempts the webhook's receiver was \
            thought to bear at once, noted with each attempt. Much at 1: receivers fail or hang; much \
            at the setting lane_width: it may be raised", self.width.clone());
        registry.register("willcall_settle_batch_outcomes", "Outcomes written down in one \
            transaction. Always near 512: writing is what limits the rate", self.batch.clone());
    }

    pub(crate) fn report(&self, lanes: &Lanes, in_flight_count: usize, unwritten: usize) {
        self.in_flight.set(count(in_flight_count));
        self.in_flight_slow.set(count(lanes.slow()));
        self.held.set(count(lanes.held()));
        self.lanes_active.set(count(lanes.count()));
        self.lanes_queued.set(count(lanes.queued()));
        self.lanes_queued_by_share
            .set(count(lanes.queued_by_share()));
        self.unwritten.set(count(unwritten));
    }

    pub(crate) fn doubted(&self, doubted: bool) {
        self.clock_doubted.set(i64::from(doubted));
    }

    pub(crate) fn report_waits(&self, counted: &LaneStats, now: Timestamp) {
        for (health, gauge) in &self.lanes {
            gauge.set(count(counted.lanes(*health)));
        }
        for (health, class, gauge) in &self.overdue {
            let wait = match counted.overdue_ms(*health, *class, now) {
                0 => 0.0,
                ms => Duration::from_millis(u64::try_from(ms).unwrap_or(0)).as_secs_f64(),
            };
            gauge.set(wait);
        }
    }

    /// What is owed was counted.
    pub(crate) fn owed(&self, counts: &BTreeMap<DialectName, u64>) {
        for (dialect, gauge) in &self.backlog {
            let count = counts.get(dialect).copied().unwrap_or(0);
            gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
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

fn lanes(registry: &mut Registry) -> Vec<(ReceiverHealth, Gauge)> {
    let family = Family::<[(&'static str, &'static str); 1], Gauge>::default();
    registry.register(
        "willcall_lanes",
        "Webhooks in memory, by how their receivers stand. Many probed: receivers are dead, tell \
         their owners; unseen for long: webhooks cannot be read from the store",
        family.clone(),
    );
    let gauge =
        |health: ReceiverHealth| family.get_or_create_owned(&[("receiver", health.as_str())]);
    let all = ReceiverHealth::ALL.into_iter();
    all.map(|health| (health, gauge(health))).collect()
}

fn overdue<'a>(
    registry: &mut Registry,
    dialects: impl Iterator<Item = &'a DialectName>,
) -> Vec<(ReceiverHealth, usize, Gauge<f64, AtomicU64>)> {
    let family = Family::<[(&'static str, String); 2], Gauge<f64, AtomicU64>>::default();
    registry.register_with_unit(
        "willcall_oldest_due",
        "For how long the first delivery that is still to be attempted has been due, by dialect and \
         by how its receiver stands. Growing at well: more is handed in than can be sent, raise \
         flights_max or lane_width; elsewhere it is the receivers' own",
        Unit::Seconds,
        family.clone(),
    );
    let mut gauges = vec![];
    for (class, dialect) in dialects.enumerate() {
        for health in OWED {
            let labels = [
                ("dialect", dialect.as_str().to_owned()),
                ("receiver", health.as_str().to_owned()),
            ];
            gauges.push((health, class, family.get_or_create_owned(&labels)));
        }
    }
    gauges
}

fn backlog<'a>(
    registry: &mut Registry,
    dialects: impl Iterator<Item = &'a DialectName>,
) -> Vec<(DialectName, Gauge)> {
    let family = Family::<[(&'static str, String); 1], Gauge>::default();
    registry.register(
        "willcall_backlog_deliveries",
        "Deliveries that are owed, by dialect, counted once a minute, or less often if they are \
         millions. Growing though receivers are well: more is handed in than is sent, see \
         oldest_due_seconds",
        family.clone(),
    );
    let gauge = |dialect: &DialectName| {
        family.get_or_create_owned(&[("dialect", dialect.as_str().to_owned())])
    };
    dialects
        .map(|dialect| (dialect.clone(), gauge(dialect)))
        .collect()
}

fn attempts(registry: &mut Registry) -> Vec<Counter> {
    let family = Family::<[(&'static str, &'static str); 1], Counter>::default();
    registry.register(
        "willcall_attempts",
        "Attempts by what they came to. Many of one kind: forbidden_address asks for the setting \
         allow_private_targets, tls for CA certificates, look_up for the name servers; the others \
         are the receivers' own",
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
        metrics.owed(&[(dialects[0].clone(), 7)].into());
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
            "willcall_attempt_duration_seconds_count 11\n",
            "willcall_attempts_in_flight 0\n",
            "willcall_attempts_in_flight_slow 0\n",
            "willcall_deliveries_held 0\n",
            "willcall_lanes{receiver=\"probed\"} 0\n",
            "willcall_oldest_due_seconds{dialect=\"two\",receiver=\"well\"} 0.0\n",
            "willcall_backlog_deliveries{dialect=\"one\"} 7\n",
            "willcall_backlog_deliveries{dialect=\"two\"} 0\n",
            "willcall_lanes_active 0\n",
            "willcall_lanes_queued 0\n",
            "willcall_lanes_queued_by_share 0\n",
            "willcall_attempts_ahead_total 0\n",
            "willcall_lane_width_count 0\n",
            "willcall_outcomes_unwritten 0\n",
            "willcall_settle_batch_outcomes_count 0\n",
            "willcall_retries_scheduled_total 0\n",
            "willcall_deliveries_exhausted_total 0\n",
            "willcall_webhooks_disabled_total 0\n",
            "willcall_connections_opened_total 0\n",
            "willcall_store_refusals_total 0\n",
            "willcall_prune_steps_total 0\n",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
    }
}
