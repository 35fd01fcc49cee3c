//! What carries requests and responses: bodies and their memory, queries, media types, hosts,
//! client addresses, time limits. It knows no store, no dialect and no page.

pub(crate) mod body;
pub(crate) mod body_budget;
pub(crate) mod client;
pub(crate) mod host;
pub(crate) mod limit;
pub(crate) mod media_type;
pub(crate) mod query;
pub(crate) mod well_known;
