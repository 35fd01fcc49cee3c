//! SQL that both engines run: the statements of everything but the hot path, and the questions and
//! changes made of them.
//!
//! A statement is written once, with `?1` for its first value, and told apart only where the
//! engines differ (`statement.rs`). A question gets a [`Connection`], a change a [`Transaction`].

#[macro_use]
pub(crate) mod statement;
#[macro_use]
pub(crate) mod value;

pub(crate) mod apply;
pub(crate) mod audit;
pub(crate) mod backlog;
pub(crate) mod bulk_filter;
pub(crate) mod bulk_jobs;
pub(crate) mod call_limits;
pub(crate) mod cancel;
pub(crate) mod catalog;
pub(crate) mod cloud_events;
pub(crate) mod connection;
pub(crate) mod contract;
pub(crate) mod dashboard;
pub(crate) mod dashboard_queries;
pub(crate) mod delivery_change;
pub(crate) mod delivery_detail;
pub(crate) mod delivery_facts;
pub(crate) mod delivery_scans;
pub(crate) mod envelope_cache;
pub(crate) mod executor;
pub(crate) mod expiry;
pub(crate) mod failing;
pub(crate) mod fan_out;
pub(crate) mod handshake;
pub(crate) mod heartbeat;
pub(crate) mod holds;
pub(crate) mod id_range;
pub(crate) mod idempotency;
pub(crate) mod incidents;
pub(crate) mod intake_cache;
pub(crate) mod job_error;
pub(crate) mod log;
pub(crate) mod merge;
pub(crate) mod notification_rows;
pub(crate) mod notifications;
pub(crate) mod owed;
pub(crate) mod own_headers;
pub(crate) mod portal;
pub(crate) mod post_commit;
pub(crate) mod prune;
pub(crate) mod query;
pub(crate) mod queue;
pub(crate) mod read_horizon;
pub(crate) mod replay;
pub(crate) mod row;
pub(crate) mod row_budget;
pub(crate) mod rows;
pub(crate) mod sessions;
pub(crate) mod signatures;
pub(crate) mod statements;
pub(crate) mod statistics;
pub(crate) mod stored_responses;
pub(crate) mod transaction;
pub(crate) mod untold;
pub(crate) mod users;
pub(crate) mod webhook_health;
pub(crate) mod webhook_history;
pub(crate) mod webhook_list;
pub(crate) mod webhook_rows;
pub(crate) mod webhook_tls;
pub(crate) mod webhooks;

pub(crate) use connection::Connection;
pub(crate) use row::Row;
pub(crate) use statement::Statement;
