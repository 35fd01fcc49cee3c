//! Tests of the dashboard, as a browser meets it: pages, forms, cookies.

pub(crate) mod browser;
mod coverage;
mod hostile;
mod overview;
mod settings;
mod sign_in;
mod users;
mod uses;
mod yourself;
