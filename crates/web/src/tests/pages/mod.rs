//! Tests of the dashboard, as a browser meets it: pages, forms, cookies.

mod account;
pub(crate) mod browser;
mod coverage;
mod hostile;
mod overview;
mod settings;
mod sign_in;
mod trial;
mod users;
mod uses;
mod webhooks;
mod why;
