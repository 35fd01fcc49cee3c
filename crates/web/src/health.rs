//! What an operator's tools ask for: whether this process lives, whether it can serve, what it
//! has counted.

use std::sync::Arc;
use std::time::Duration;

use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use model::contract::StoreError;

use crate::state::Shared;
use crate::transport::body::Body;
use crate::transport::limit::within;

/// The store's writer commits within milliseconds; one that takes this long is stuck.
const PULSE_LIMIT: Duration = Duration::from_secs(2);

const TEXT_FORM: &str = "text/plain; charset=utf-8";

const METRICS_FORM: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Debug, Clone, Copy)]
pub(crate) enum OpsEndpoint {
    Live,
    Ready,
    Metrics,
}

/// What is asked for there.
pub(crate) fn at(path: &str) -> Option<OpsEndpoint> {
    match path {
        "/livez" => Some(OpsEndpoint::Live),
        "/readyz" => Some(OpsEndpoint::Ready),
        "/metrics" => Some(OpsEndpoint::Metrics),
        _ => None,
    }
}

pub(crate) async fn serve(
    shared: Arc<Shared>,
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
        OpsEndpoint::Ready => match ready(&shared).await {
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
        OpsEndpoint::Metrics => text(StatusCode::OK, METRICS_FORM, (shared.metrics)()),
    }
}

/// What there is to know of a clock that was set, while it is not trusted.
pub(crate) fn clock_words(shared: &Shared) -> Option<String> {
    let (doubt, left_ms) = shared.clock.doubt()?;
    let minutes = (left_ms / 60_000).max(1);
    let unit = if minutes == 1 { "minute" } else { "minutes" };
    Some(format!(
        "The time of the server: {doubt}. Waits go on as they were, and for {minutes} {unit} more \
         nothing is removed or ended by what the clock says. If it is wrong, set it right."
    ))
}

fn text(status: StatusCode, form: &'static str, text: String) -> Response<Body> {
    let mut answer = Response::new(Body::from(text));
    *answer.status_mut() = status;
    let form = HeaderValue::from_static(form);
    answer.headers_mut().insert(CONTENT_TYPE, form);
    answer
}

/// Why this process cannot serve, or what else there is to know.
async fn ready(shared: &Shared) -> Result<Vec<String>, String> {
    let pulse = match within(PULSE_LIMIT, shared.store.ping()).await {
        Some(Err(StoreError::Disk(fault))) => {
            return Err(format!(
                "The store cannot write: {fault}. {}",
                fault.to_do()
            ));
        }
        pulse => pulse,
    };
    // It knows for how long, where it waits for the store itself.
    let mut notes = (shared.health)()?;
    notes.extend(clock_words(shared));
    match pulse {
        Some(Ok(more)) => Ok(notes.into_iter().chain(more).collect()),
        Some(Err(error)) => Err(format!("The store cannot write: {error}.")),
        None => Err("The store did not answer within 2 seconds.".to_owned()),
    }
}
