//! Policy: the flags in which dialects differ. The engine knows policies and no dialect.

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
    /// How long a receiver may have its webhook left alone by `Retry-After` on 429 and 503;
    /// without it the header means nothing.
    pub retry_after_max_ms: Option<i64>,
    /// The header that carries each delivery's dedupe key (`dedupe.rs`), if one does.
    pub dedupe_header: Option<String>,
    pub user_agent: String,
    pub content_type: String,
    /// How long ended deliveries stay in the log.
    pub retention_ms: i64,
}

/// The policy of each dialect.
pub type Policies = BTreeMap<DialectName, Policy>;
