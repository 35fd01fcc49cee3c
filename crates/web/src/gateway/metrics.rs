//! The metrics of this crate: requests by route, and notifications by result.

use std::collections::BTreeMap;
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use http::StatusCode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::sync::lock;

type Labels<const N: usize> = [(&'static str, &'static str); N];

/// Requests, by route. The dashboard counts its own here, too.
pub(crate) struct RequestMetrics {
    requests: Family<Labels<2>, Counter>,
    seconds: Family<Labels<1>, Histogram, fn() -> Histogram>,
    /// Those in use: a look-up in a family takes several times as long.
    routes: Mutex<BTreeMap<&'static str, RouteMetrics>>,
}

/// What became of notifications that were handed in.
pub(crate) struct IntakeMetrics {
    intake: Family<Labels<1>, Counter>,
    pub(crate) unknown_types: Counter,
    handed_in: [OnceLock<Counter>; INTAKE.len()],
}

/// The metrics of one route.
struct RouteMetrics {
    requests: [Option<Counter>; CLASSES.len()],
    seconds: Histogram,
}

/// Classes of status.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// As `IntakeResult` has them.
const INTAKE: [&str; 4] = ["accepted", "duplicate", "conflict", "refused"];

/// What became of one notification that was handed in.
#[derive(Debug, Clone, Copy)]
pub(crate) enum IntakeResult {
    Accepted,
    /// It came before, with the same content.
    Duplicate,
    /// Its id came before, with other content.
    Conflict,
    Refused,
}

impl RequestMetrics {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let seconds = Family::new_with_constructor(buckets as fn() -> Histogram);
        let metrics = Self {
            requests: Family::default(),
            seconds,
            routes: Mutex::default(),
        };
        registry.register(
            "willcall_http_requests",
            "Requests by route and status class. Any 5xx but 503: a bug, see the log",
            metrics.requests.clone(),
        );
        registry.register_with_unit(
            "willcall_http_request_duration",
            "Duration of requests by route, from the head of a request to its response",
            Unit::Seconds,
            metrics.seconds.clone(),
        );
        metrics
    }

    pub(crate) fn request(&self, name: &'static str, status: StatusCode, took: Duration) {
        let mut routes = lock(&self.routes);
        let route = routes.entry(name).or_insert_with(|| RouteMetrics {
            requests: Default::default(),
            seconds: self.seconds.get_or_create(&[("route", name)]).clone(),
        });
        let class = usize::from(status.as_u16() / 100).clamp(1, CLASSES.len()) - 1;
        if let (Some(counter), Some(class)) = (route.requests.get_mut(class), CLASSES.get(class)) {
            let labels = [("route", name), ("status", *class)];
            let first = || self.requests.get_or_create(&labels).clone();
            counter.get_or_insert_with(first).inc();
        }
        route.seconds.observe(took.as_secs_f64());
    }
}

impl IntakeMetrics {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            intake: Family::default(),
            unknown_types: Counter::default(),
            handed_in: Default::default(),
        };
        registry.register(
            "willcall_intake_notifications",
            "Notifications by result. refused or conflict rising: an application hands in \
             something wrong; its answer says what",
            metrics.intake.clone(),
        );
        registry.register(
            "willcall_intake_unknown_action_types",
            "Accepted notifications of an action type that nobody can subscribe to. The log names \
             each type once",
            metrics.unknown_types.clone(),
        );
        metrics
    }

    pub(crate) fn count(&self, what: IntakeResult) {
        let index = what as usize;
        if let (Some(counter), Some(result)) = (self.handed_in.get(index), INTAKE.get(index)) {
            let first = || self.intake.get_or_create(&[("result", *result)]).clone();
            counter.get_or_init(first).inc();
        }
    }
}

fn buckets() -> Histogram {
    Histogram::new([
        0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0,
    ])
}
