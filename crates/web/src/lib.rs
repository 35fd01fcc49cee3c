//! What Willcall understands and answers over HTTP.
//!
//! `build` makes a site of what it is given; it opens no socket and reads no clock of its own.
//! What is peculiar to one platform lives in its folder under `dialects`, nowhere else; what people
//! look at lives under `dashboard`.

mod auth;
mod body;
mod body_budget;
mod client;
mod dashboard;
pub mod dialects;
mod health;
mod idempotency;
mod intake_warnings;
mod limit;
mod metrics;
mod route;
mod site;
mod state;
mod tasks;
mod token_usage;

#[cfg(test)]
mod tests;

pub use body::{Body, BodyObserver};
pub use limit::{TimeLimit, within};
pub use site::{Site, build};
pub use state::{DispatchLookup, HealthCheck, Parts, WebSettings};
