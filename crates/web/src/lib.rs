//! What Willcall understands and answers over HTTP.
//!
//! `build` makes a site of what it is given; it opens no socket and reads no clock of its own.
//! What is peculiar to one platform lives in its folder under `dialects`, nowhere else; what people
//! look at lives under `dashboard`.

mod auth;
mod dashboard;
pub mod dialects;
mod health;
mod idempotency;
mod intake_warnings;
mod metrics;
mod rng;
mod route;
mod site;
mod state;
mod sync;
mod tasks;
mod token_usage;
mod transport;

#[cfg(test)]
mod tests;

pub use site::{Site, build};
pub use state::{DispatchLookup, HealthCheck, Parts, WebSettings};
pub use transport::body::{Body, BodyObserver};
pub use transport::limit::{TimeLimit, within};
