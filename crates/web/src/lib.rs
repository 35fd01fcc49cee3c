//! What Willcall understands and answers over HTTP.
//!
//! `build` makes a router of what it is given; it opens no socket and reads no clock of its own.
//! What is peculiar to one platform lives in its folder under `dialects`, nowhere else; what people
//! look at lives under `pages`.

mod answers;
mod auth;
mod body;
pub mod dialects;
mod health;
mod meters;
mod pages;
mod route;
mod state;
mod tasks;
mod uses;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::routing::get;
use http::Request;
use prometheus_client::registry::Registry;

pub use state::{Parts, Settings};

/// The whole of the floor: every dialect's places, the dashboard, and what an operator's tools ask
/// for.
pub fn build(parts: Parts, meters: &mut Registry) -> Router {
    let shared = Arc::new(state::Shared::new(parts, meters));
    let pages = Arc::new(pages::Pages::all());
    let serve = move |State(shared): State<Arc<state::Shared>>, request: Request<Body>| {
        let pages = Arc::clone(&pages);
        async move {
            if pages::is_for_pages(request.method(), request.uri().path()) {
                pages::serve(shared, &pages, request).await
            } else {
                route::serve(shared, request).await
            }
        }
    };
    Router::new()
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(health::metrics))
        .fallback(serve)
        .with_state(shared)
}
