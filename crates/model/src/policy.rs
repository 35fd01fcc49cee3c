//! Policy: the flags in which dialects differ. The engine knows policies and no dialect.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::call_limits::{CallBounds, CallLimits};
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
    /// For calls in the form of CloudEvents.
    pub event_naming: EventNaming,
    /// How long ended deliveries stay in the log.
    pub retention_ms: i64,
    /// What limits of a webhook's own may be.
    pub bounds: Arc<CallBounds>,
    /// For log lines.
    pub name_of: NameOf,
}

impl Policy {
    /// The policy for a webhook with these limits; `None` if they change nothing of it. A schedule
    /// that the operator does not have any more is the dialect's, and a time limit is never longer
    /// than the operator allows today.
    pub fn limited(&self, limits: &CallLimits) -> Option<Self> {
        let named = limits.schedule.as_ref();
        let schedule = named.and_then(|name| self.bounds.schedules.get(name));
        if schedule.is_none() && limits.time_limit_ms.is_none() {
            return None;
        }
        let most = self.bounds.time_limit_ms_max;
        let time_limit = limits.time_limit_ms.map(|ms| ms.min(most));
        Some(Self {
            schedule: schedule.unwrap_or(&self.schedule).clone(),
            exchange_limit_ms: time_limit.unwrap_or(self.exchange_limit_ms),
            ..self.clone()
        })
    }
}

impl Policy {
    /// The policy for a delivery that was held for so long since its first attempt; `None` if that
    /// changes nothing of it.
    pub fn held(&self, held_ms: i64) -> Option<Self> {
        let last = self
            .schedule
            .final_attempt_after_ms
            .filter(|_| held_ms > 0)?;
        let mut policy = self.clone();
        policy.schedule.final_attempt_after_ms = Some(last.saturating_add(held_ms));
        Some(policy)
    }
}

/// Reads from a webhook's settings the name that people know it by, if it has one. Only its dialect
/// knows what its settings look like.
#[derive(Clone, Copy)]
pub struct NameOf(pub fn(&str) -> Option<String>);

impl Default for NameOf {
    fn default() -> Self {
        Self(|_| None)
    }
}

impl PartialEq for NameOf {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::fn_addr_eq(self.0, other.0)
    }
}

impl Eq for NameOf {}

impl fmt::Debug for NameOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NameOf")
    }
}

/// How a dialect's events are named.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventNaming {
    /// What stands before a tenant's key in `source`.
    pub source_prefix: String,
    /// What stands before an action type in `type`.
    pub type_prefix: String,
}

/// The policy of each dialect.
pub type Policies = BTreeMap<DialectName, Policy>;
