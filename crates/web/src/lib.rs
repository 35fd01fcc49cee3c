//! What Willcall understands and answers over HTTP.
//!
//! `build` makes a router of what it is given; it opens no socket and reads no clock of its own.
//! What is peculiar to one platform lives in its folder under `dialects`, nowhere else.

mod answers;
mod auth;
mod body;
pub mod dialects;
mod health;
mod meters;
mod route;
mod state;
mod tasks;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use prometheus_client::registry::Registry;

pub use state::{Parts, Settings};

/// The whole of the floor: every dialect's places, and what an operator's tools ask for.
pub fn build(parts: Parts, meters: &mut Registry) -> Router {
    let shared = Arc::new(state::Shared::new(parts, meters));
    Router::new()
        .route("/", get(health::greet).fallback(route::serve))
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(health::metrics))
        .fallback(route::serve)
        .with_state(shared)
}
