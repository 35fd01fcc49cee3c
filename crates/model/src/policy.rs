//! Policy: the flags in which dialects differ, so that the engine knows none of them.

use std::collections::BTreeMap;

use crate::schedule::Schedule;
use crate::tenant::DialectName;

/// How deliveries of one dialect are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    pub schedule: Schedule,
    /// For the whole exchange: look-up, connection, TLS, request and answer.
    pub exchange_limit_ms: u32,
    /// Whether 410 Gone switches the webhook off.
    pub gone_disables: bool,
    pub user_agent: String,
    pub content_type: String,
}

/// The policy of each dialect.
pub type Policies = BTreeMap<DialectName, Policy>;
