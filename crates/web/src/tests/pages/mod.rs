//! Tests of the dashboard, as a browser meets it: pages, forms, cookies.

pub(crate) mod browser;
mod clock;
mod coverage;
mod damaged;
mod hostile;
mod live;
mod log;
mod overview;
mod past;
mod settings;
mod sign_in;
mod story;
mod token_usage;
mod trial;
mod users;
mod webhooks;
mod why;
mod yourself;
