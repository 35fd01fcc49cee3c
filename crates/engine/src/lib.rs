//! Decides what is sent when, sends it, and has the outcome written.
//!
//! Knows no dialect: it sees bytes, headers and a policy. Knows no SQL: it sees the contract.
//! Everything it holds in memory is in the store as well, so it may end at any moment.

mod attempt;
mod bulk_jobs;
mod circuit_breaker;
mod concurrency;
mod connection;
mod dial;
mod dispatch;
mod engine;
mod fair_queue;
mod fair_share;
mod health;
mod idle_lifetime;
mod lane;
mod lane_stats;
mod lanes;
mod mail;
mod mailbox;
mod meter;
mod metered_lanes;
mod metrics;
mod ownership;
mod pool;
mod proxy;
mod renewal;
mod request;
mod resolver;
mod response;
mod response_budget;
mod retention;
mod schedule_clock;
mod settlement;
mod shortage;
mod sorted;
mod store_call;
mod sync;
mod tallies;
mod tasks;
mod tls;
mod transport;

pub use dial::{ConnectFn, NetDial};
pub use dispatch::ShutdownReport;
pub use engine::{DeliveryInspector, Engine, Parts, Settings};
pub use health::Health;
pub use mail::{MailClient, MailSecurity, MailServer};
pub use proxy::{ProxyCheck, ProxyClient, ProxyVerdict};
pub use resolver::{Addresses, BeginLookupFn, LookupFn, LookupReply, NameError, Resolver};
pub use tasks::BoxFuture;
pub use tls::{RootsError, TlsClient, TlsRoots, ticketer, tls_config, tls_crypto};
pub use transport::{
    Deadline, Dial, DialFuture, Endpoint, LookupContext, SendMail, SocketState, Stream,
};
