//! What an operator may choose about dialects.

use std::collections::BTreeMap;

use model::call_limits::CallBounds;

/// What an operator may choose about dialects.
#[derive(Debug, Clone, Default)]
pub struct DialectOptions {
    /// What receivers see as `User-Agent`.
    pub user_agent: String,
    /// How long ended deliveries stay in the log.
    pub retention: LogRetention,
    /// Action types beside the built-in ones.
    pub extra_action_types: Vec<ActionType>,
    /// Whether notifications of an action type that nobody can subscribe to are refused.
    pub strict_action_types: bool,
    /// Triggers beside the built-in ones.
    pub extra_triggers: Vec<Trigger>,
    /// Whether webhooks that no known trigger can reach are refused.
    pub strict_triggers: bool,
    /// Whether the server can send mail.
    pub mail: bool,
    /// What limits of webhooks may be.
    pub bounds: CallBounds,
}

/// The operator's retention; without one the dialect's own default holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogRetention {
    /// For every dialect without a time of its own, in milliseconds.
    pub all_ms: Option<i64>,
    /// By the name of the dialect.
    pub own_ms: BTreeMap<String, i64>,
}

/// A trigger: something that happens to a kind of thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trigger {
    pub resource: String,
    pub trigger: String,
    /// The name that receivers get, if it is not made of the two.
    pub name: Option<String>,
    /// The kind of related things whose webhooks get it, too.
    pub reaches: Option<String>,
}

/// An action type that webhooks can subscribe to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActionType {
    pub key: String,
    /// The label for people.
    pub label: String,
    /// A help text; may be empty.
    pub help: String,
}

impl LogRetention {
    /// The retention of this dialect; `usual_ms` is its default.
    pub(crate) fn for_dialect(&self, name: &str, usual_ms: i64) -> i64 {
        let own = self.own_ms.get(name).copied();
        own.or(self.all_ms).unwrap_or(usual_ms)
    }
}
