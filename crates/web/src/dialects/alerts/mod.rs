//! The dialect of alerts: its tenants are those who are told that webhooks fail, and its webhooks
//! are where they are told: a program, a chat, or a mail address.
//!
//! So an alert is delivered like anything else: durable, signed if that is wanted, retried, and in
//! a log.

mod context;
mod declare;
mod dialect;
mod fields;
mod form;
mod render;
mod words;

pub(super) use dialect::dialect;
