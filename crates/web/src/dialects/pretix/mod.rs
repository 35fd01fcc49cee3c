//! The pretix dialect.

mod action_types;
mod answer;
mod classes;
mod cloud_events;
mod context;
mod declare;
mod demo;
mod describe;
mod dialect;
mod example;
mod explain;
mod export;
mod faults;
mod fields;
mod form;
mod form_input;
mod ids;
mod input;
mod intake;
mod json;
mod limits;
mod load;
mod log;
mod notification;
mod organizers;
mod own_headers;
mod paging;
mod pause;
mod python;
mod refuse;
mod replays;
mod routes;
mod sample;
mod scopes;
mod signatures;
mod statistics;
mod stored;
#[cfg(test)]
mod tests;
mod url;
mod webhook_tls;
mod webhooks;
mod wire;

pub(super) use dialect::dialect;
