//! What the engine counts, by name. The help texts say what a number asks the operator to do.

use std::collections::BTreeMap;
use std::time::Duration;

use model::attempt::{FailureKind, Outcome};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// Classes of answers; failures without an answer go by the name of their kind.
const ANSWERS: [&str; 6] = ["2xx", "3xx", "4xx", "410", "5xx", "other"];

/// From a receiver next door to the limit of an exchange.
const SECONDS: [f64; 14] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];

const BATCHES: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

pub(crate) struct Meters {
    attempts: BTreeMap<&'static str, Counter>,
    attempt_seconds: Histogram,
    pub(crate) in_flight: Gauge,
    pub(crate) held: Gauge,
    pub(crate) lanes: Gauge,
    pub(crate) unwritten: Gauge,
    pub(crate) batch: Histogram,
    pub(crate) retries: Counter,
    pub(crate) exhausted: Counter,
    pub(crate) disabled: Counter,
    pub(crate) opened: Counter,
    pub(crate) refused: Counter,
    pub(crate) pruned: Counter,
}

impl Meters {
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let meters = Self {
            attempts: BTreeMap::new(),
            attempt_seconds: Histogram::new(SECONDS),
            in_flight: Gauge::default(),
            held: Gauge::default(),
            lanes: Gauge::default(),
            unwritten: Gauge::default(),
            batch: Histogram::new(BATCHES),
            retries: Counter::default(),
            exhausted: Counter::default(),
            disabled: Counter::default(),
            opened: Counter::default(),
            refused: Counter::default(),
            pruned: Counter::default(),
        };
        meters.register(registry);
        let attempts = attempts(registry);
        Self { attempts, ..meters }
    }

    #[rustfmt::skip]
    fn register(&self, registry: &mut Registry) {
        let mut gauge = |name: &str, help: &str, gauge: &Gauge| {
            registry.register(format!("willcall_{name}"), help, gauge.clone());
        };
        gauge("attempts_in_flight", "Attempts running. Near the setting flights_max for long: \
            receivers are slow, or the setting is too small", &self.in_flight);
        gauge("deliveries_held", "Deliveries held in memory, from being read until their outcome \
            is written. What does not fit waits in the store", &self.held);
        gauge("lanes", "Webhooks with deliveries that wait or run", &self.lanes);
        gauge("outcomes_unwritten", "Outcomes that wait to be written down. Growing: the store \
            refuses or is slow, see the log and the disk", &self.unwritten);
        let mut counter = |name: &str, help: &str, counter: &Counter| {
            registry.register(format!("willcall_{name}"), help, counter.clone());
        };
        counter("retries_scheduled", "Attempts that failed and will be repeated", &self.retries);
        counter("deliveries_exhausted", "Deliveries given up after the last retry. Look at the \
            webhook's log, mend its receiver, then send them again", &self.exhausted);
        counter("webhooks_disabled", "Webhooks switched off because their receiver answered \
            410 Gone. Their owners should know", &self.disabled);
        counter("connections_opened", "Connections opened to receivers. As many as attempts: \
            receivers do not keep connections open", &self.opened);
        counter("store_refusals", "Times the store refused what the engine asked of it. Growing: \
            see the log and the disk", &self.refused);
        counter("prune_steps", "Steps in which deliveries past their retention were removed",
            &self.pruned);
        registry.register_with_unit("willcall_attempt_duration", "How long attempts take, from \
            the look-up of the name to the end of the answer. Long: the receivers are slow",
            Unit::Seconds, self.attempt_seconds.clone());
        registry.register("willcall_settle_batch_outcomes", "Outcomes written down in one \
            transaction. Always near 512: writing is what limits the rate", self.batch.clone());
    }

    pub(crate) fn attempted(&self, outcome: &Outcome, duration_ms: u32) {
        let millis = Duration::from_millis(u64::from(duration_ms));
        self.attempt_seconds.observe(millis.as_secs_f64());
        if let Some(counter) = self.attempts.get(class(outcome)) {
            counter.inc();
        }
    }
}

fn attempts(registry: &mut Registry) -> BTreeMap<&'static str, Counter> {
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
        .map(|class| (class, family.get_or_create_owned(&[("outcome", class)])))
        .collect()
}

pub(crate) fn class(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Failed(failure) => failure.kind.as_str(),
        Outcome::Answered(answer) => match answer.status {
            200..=299 => "2xx",
            300..=399 => "3xx",
            410 => "410",
            400..=499 => "4xx",
            500..=599 => "5xx",
            _ => "other",
        },
    }
}

#[cfg(test)]
mod tests {
    use model::attempt::Failure;

    use super::*;

    #[test]
    fn every_outcome_is_counted_under_a_name_that_is_there_from_the_start() {
        let mut registry = Registry::default();
        let meters = Meters::new(&mut registry);
        for kind in FailureKind::ALL {
            meters.attempted(&Outcome::Failed(Failure::new(kind, "")), 30_000);
        }
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
            "willcall_attempts_total{outcome=\"410\"} 0\n",
            "willcall_attempt_duration_seconds_count 8\n",
            "willcall_attempts_in_flight 0\n",
            "willcall_deliveries_held 0\n",
            "willcall_lanes 0\n",
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
