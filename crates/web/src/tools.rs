//! What an operator's tools ask for: `/livez`, `/readyz` and `/metrics`.

use std::sync::Arc;
use std::time::Duration;

use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use model::contract::StoreError;
use model::time::Clock;

use crate::clock_notice::clock_words;
use crate::gateway::store::StoreHandle;
use crate::transport::body::Body;
use crate::transport::limit::within;

/// The store's writer commits within milliseconds; one that takes this long is stuck.
const PULSE_LIMIT: Duration = Duration::from_secs(2);

const TEXT_FORM: &str = "text/plain; charset=utf-8";

const METRICS_FORM: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A sentence if this process cannot serve, else one for each thing worth knowing.
pub type HealthCheck = Arc<dyn Fn() -> Result<Vec<String>, String> + Send + Sync>;

/// What these endpoints need.
pub(crate) struct Tools {
    pub(crate) store: StoreHandle,
    pub(crate) clock: Clock,
    /// What `/readyz` asks beside the store.
    pub(crate) health: HealthCheck,
    /// Renders what `/metrics` answers.
    pub(crate) metrics: Arc<dyn Fn() -> String + Send + Sync>,
}

impl Tools {
    /// `metrics` renders what `/metrics` answers.
    pub(crate) fn new(
        store: StoreHandle,
        clock: Clock,
        health: HealthCheck,
        metrics: Arc<dyn Fn() -> String + Send + Sync>,
    ) -> Self {
        Self {
            store,
            clock,
            health,
            metrics,
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum OpsEndpoint {
    Live,
    Ready,
    Metrics,
}

/// The endpoint at this path.
pub(crate) fn at(path: &str) -> Option<OpsEndpoint> {
    match path {
        "/livez" => Some(OpsEndpoint::Live),
        "/readyz" => Some(OpsEndpoint::Ready),
        "/metrics" => Some(OpsEndpoint::Metrics),
        _ => None,
    }
}

pub(crate) async fn serve(
    tools: Arc<Tools>,
    endpoint: OpsEndpoint,
    request: Request<Body>,
) -> Response<Body> {
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        let mut answer = Response::new(Body::empty());
        *answer.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        let allow = HeaderValue::from_static("GET,HEAD");
        answer.headers_mut().insert(ALLOW, allow);
        return answer;
    }
    match endpoint {
        OpsEndpoint::Live => text(StatusCode::OK, TEXT_FORM, "ok\n".to_owned()),
        OpsEndpoint::Ready => match ready(&tools).await {
            Ok(notes) => {
                let lines = ["ok".to_owned()].into_iter().chain(notes);
                let lines: String = lines.map(|line| line + "\n").collect();
                text(StatusCode::OK, TEXT_FORM, lines)
            }
            Err(sentence) => {
                let status = StatusCode::SERVICE_UNAVAILABLE;
                text(status, TEXT_FORM, format!("{sentence}\n"))
            }
        },
        OpsEndpoint::Metrics => text(StatusCode::OK, METRICS_FORM, (tools.metrics)()),
    }
}

fn text(status: StatusCode, form: &'static str, text: String) -> Response<Body> {
    let mut answer = Response::new(Body::from(text));
    *answer.status_mut() = status;
    let form = HeaderValue::from_static(form);
    answer.headers_mut().insert(CONTENT_TYPE, form);
    answer
}

/// Why this process cannot serve, or what else is worth knowing.
async fn ready(tools: &Tools) -> Result<Vec<String>, String> {
    let pulse = match within(PULSE_LIMIT, tools.store.get().ping()).await {
        Some(Err(StoreError::Disk(fault))) => {
            let known = tools.store.get().trouble();
            let words = known.unwrap_or_else(|| format!("{fault}. {}", fault.to_do()));
            return Err(format!("The store cannot write: {words}"));
        }
        pulse => pulse,
    };
    // Who waits for a store, or is refused, knows less than the store.
    let mut notes = (tools.health)().map_err(|words| match tools.store.get().trouble() {
        Some(more) => format!("{words}. Below the store: {more}"),
        None => words,
    })?;
    notes.extend(clock_words(&tools.clock));
    match pulse {
        Some(Ok(more)) => Ok(notes.into_iter().chain(more).collect()),
        Some(Err(error)) => Err(format!("The store cannot write: {error}.")),
        None => Err(match tools.store.get().trouble() {
            Some(words) => format!("The store did not answer within 2 seconds: {words}"),
            None => "The store did not answer within 2 seconds.".to_owned(),
        }),
    }
}
