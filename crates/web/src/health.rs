//! What an operator's tools ask for: whether this process lives, whether it can serve, what it
//! has counted.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::IntoResponse;
use http::StatusCode;
use http::header::CONTENT_TYPE;

use crate::state::Shared;

/// The store's writer commits within milliseconds; one that takes this long is stuck.
const PULSE_LIMIT: Duration = Duration::from_secs(2);

const METRICS_FORM: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub(crate) async fn livez() -> &'static str {
    "ok\n"
}

pub(crate) async fn readyz(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    match ready(&shared).await {
        Ok(()) => (StatusCode::OK, "ok\n".to_owned()),
        Err(sentence) => (StatusCode::SERVICE_UNAVAILABLE, format!("{sentence}\n")),
    }
}

async fn ready(shared: &Shared) -> Result<(), String> {
    (shared.health)()?;
    match tokio::time::timeout(PULSE_LIMIT, shared.store.pulse()).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(format!("The store cannot write: {error}.")),
        Err(_) => Err("The store did not answer within 2 seconds.".to_owned()),
    }
}

pub(crate) async fn metrics(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    ([(CONTENT_TYPE, METRICS_FORM)], (shared.metrics)())
}
