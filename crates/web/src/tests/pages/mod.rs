//! Tests of the dashboard, as a browser meets it: pages, forms, cookies.

mod alerts;
pub(crate) mod brand;
mod browser;
mod certificates;
mod clock;
mod coverage;
mod damaged;
mod delivery;
mod explanation;
mod hostile;
mod live;
mod log;
mod overview;
pub(crate) mod past;
mod portal;
mod profile;
mod secrets;
mod send_test;
mod settings;
mod sign_in;
mod token_usage;
mod users;
mod webhooks;
