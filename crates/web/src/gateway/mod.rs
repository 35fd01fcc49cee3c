//! The gateway: what every request to an API passes, whichever dialect answers it. It knows no
//! dialect by name and no page: the list of APIs is handed in.

mod admit;
pub(crate) mod api;
pub(crate) mod auth;
mod authenticator;
pub(crate) mod context;
pub(crate) mod export_slots;
mod gate;
mod idempotency;
pub(crate) mod intake_warnings;
mod matching;
pub(crate) mod metrics;
pub(crate) mod operations;
mod serve;
pub(crate) mod store;
mod token_usage;

pub(crate) use gate::Gateway;
pub(crate) use serve::serve;
