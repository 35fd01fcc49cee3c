//! What Willcall understands and answers over HTTP.
//!
//! `build` makes a site of what it is given; it opens no socket and reads no clock of its own.
//! What is peculiar to one platform lives in its folder under `dialects`, nowhere else; what people
//! look at lives under `dashboard`.

mod admin;
mod clock_notice;
mod dashboard;
mod dialect;
pub mod dialects;
mod gateway;
mod key_sets;
mod line_budget;
mod openapi;
mod rng;
mod site;
mod sync;
mod tasks;
mod tools;
mod transport;
mod watch;

#[cfg(test)]
mod tests;

pub use dashboard::{DispatchLookup, FrameAncestors, brand};
pub use site::{Parts, Site, WebSettings, build};
pub use tools::HealthCheck;
pub use transport::body::{Body, BodyObserver};
pub use transport::limit::{TimeLimit, within};
pub use watch::{AlertSettings, BacklogCount};
