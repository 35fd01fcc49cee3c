//! What an operator may choose about dialects.

use std::collections::BTreeMap;

/// What an operator may choose about dialects.
#[derive(Debug, Clone, Default)]
pub struct DialectOptions {
    /// What receivers see as `User-Agent`.
    pub user_agent: String,
    /// How long ended deliveries stay in the log.
    pub kept: LogRetention,
    /// Action types beside the built-in ones.
    pub extra_action_types: Vec<ActionType>,
    /// Whether notifications of an action type that nobody can subscribe to are refused.
    pub strict_action_types: bool,
    /// Triggers beside the built-in ones.
    pub extra_triggers: Vec<Trigger>,
    /// Whether webhooks that no known trigger can reach are refused.
    pub strict_triggers: bool,
}

/// How long the log is kept where the operator says so; else each dialect knows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogRetention {
    /// Of every dialect that has no time of its own, in milliseconds.
    pub all_ms: Option<i64>,
    /// By the name of the dialect.
    pub own_ms: BTreeMap<String, i64>,
}

/// Something that happens to a kind of thing, and where it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trigger {
    pub resource: String,
    pub trigger: String,
    /// What receivers are told has happened, if it is not made of the two.
    pub name: Option<String>,
    /// The kind of related things whose webhooks hear of it, too.
    pub reaches: Option<String>,
}

/// A kind of notification that webhooks can ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActionType {
    pub key: String,
    /// For people.
    pub label: String,
    /// What the label leaves open; may be empty.
    pub help: String,
}

impl LogRetention {
    /// For how long this dialect's log is kept; `usual_ms` is its own idea.
    pub(crate) fn for_dialect(&self, name: &str, usual_ms: i64) -> i64 {
        let own = self.own_ms.get(name).copied();
        own.or(self.all_ms).unwrap_or(usual_ms)
    }
}
