//! The OpenTicket dialect.

mod answer;
mod cloud_events;
mod context;
mod declare;
mod demo;
mod dialect;
mod example;
mod explain;
mod export;
mod fields;
mod form;
mod form_input;
mod guid;
mod input;
mod intake;
mod limits;
mod log;
mod lookup;
mod members;
mod notification;
mod own_headers;
mod pause;
mod refuse;
mod replays;
mod routes;
mod sample;
mod signatures;
mod statistics;
mod stored;
#[cfg(test)]
mod tests;
mod triggers;
mod webhook_tls;
mod webhooks;
mod wire;

pub(super) use dialect::dialect;
