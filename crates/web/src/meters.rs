//! What this floor counts: requests by place, and what became of notifications handed in.

use std::time::Duration;

use http::StatusCode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

type Labels<const N: usize> = [(&'static str, &'static str); N];

pub(crate) struct Meters {
    requests: Family<Labels<2>, Counter>,
    seconds: Family<Labels<1>, Histogram, fn() -> Histogram>,
    intake: Family<Labels<1>, Counter>,
}

/// What became of one notification that was handed in.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Intake {
    Accepted,
    Repeated,
    Contradicted,
    Refused,
}

impl Meters {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let seconds = Family::new_with_constructor(buckets as fn() -> Histogram);
        let meters = Self {
            requests: Family::default(),
            seconds,
            intake: Family::default(),
        };
        registry.register(
            "willcall_http_requests",
            "Requests answered, by place and class of status",
            meters.requests.clone(),
        );
        registry.register(
            "willcall_http_duration_seconds",
            "From the head of a request to its answer, by place",
            meters.seconds.clone(),
        );
        registry.register(
            "willcall_intake_notifications",
            "Notifications handed in, by what became of them",
            meters.intake.clone(),
        );
        meters
    }

    pub(crate) fn request(&self, place: &'static str, status: StatusCode, took: Duration) {
        let class = match status.as_u16() {
            100..=199 => "1xx",
            200..=299 => "2xx",
            300..=399 => "3xx",
            400..=499 => "4xx",
            _ => "5xx",
        };
        let labels = [("route", place), ("status", class)];
        self.requests.get_or_create(&labels).inc();
        self.seconds
            .get_or_create(&[("route", place)])
            .observe(took.as_secs_f64());
    }

    pub(crate) fn intake(&self, what: Intake) {
        let result = match what {
            Intake::Accepted => "accepted",
            Intake::Repeated => "repeated",
            Intake::Contradicted => "contradicted",
            Intake::Refused => "refused",
        };
        self.intake.get_or_create(&[("result", result)]).inc();
    }
}

fn buckets() -> Histogram {
    Histogram::new([
        0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0,
    ])
}
