//! The store on PostgreSQL: its sessions with the database, and everything that is said on them.

pub(crate) mod accept;
pub(crate) mod apart;
pub(crate) mod batch;
pub(crate) mod clock;
pub(crate) mod connection;
pub(crate) mod contract;
pub(crate) mod copy_mark;
mod database_url;
mod due;
mod envelopes;
mod exchange;
pub(crate) mod executor;
pub(crate) mod fan_out;
mod fan_out_thread;
mod fan_out_waker;
mod faults;
pub(crate) mod health_columns;
mod heard_hints;
mod held_tenants;
pub(crate) mod hints;
mod hold_ups;
pub(crate) mod host_fault;
pub(crate) mod inspect;
pub(crate) mod intake;
pub(crate) mod job_answer;
pub(crate) mod jobs;
pub(crate) mod leases;
mod link;
pub(crate) mod locks;
pub(crate) mod many;
pub(crate) mod metrics;
pub(crate) mod migrate;
pub(crate) mod open;
pub(crate) mod outcomes;
mod passfile;
pub(crate) mod pending;
pub(crate) mod pipeline;
mod plan_age;
#[cfg(test)]
#[path = "../../tests/it/postgres_server.rs"]
mod postgres_server;
pub(crate) mod prune;
mod queues;
mod running;
pub(crate) mod schedule;
mod server;
pub(crate) mod session;
pub(crate) mod session_caches;
pub(crate) mod session_error;
pub(crate) mod settings;
pub(crate) mod settle;
pub(crate) mod settle_columns;
pub(crate) mod shared;
mod statement_cache;
pub(crate) mod statements;
pub(crate) mod statistics;
pub(crate) mod store;
pub(crate) mod subscriptions;
#[cfg(test)]
mod tests;
pub(crate) mod text;
mod tls;
mod transaction;
pub(crate) mod tx;
mod unattempted;
pub(crate) mod watch;
mod watch_state;
pub(crate) mod worker;

pub use self::host_fault::{HostFailure, HostFault};
pub use self::inspect::{
    CertificateCheck, ConnectionCount, DatabaseInspection, Durability, Encryption, StoreContents,
    TableFaults, VacuumState, inspect_database,
};
pub use self::migrate::SchemaVersions;
pub use self::settings::{DatabaseSettings, DatabaseUrlError};
pub use self::tls::{TlsFault, TlsFileError};
