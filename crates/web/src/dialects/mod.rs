//! What a dialect is, and the one list of them.
//!
//! A dialect is a plain value: how its deliveries are made, its table of places, how it refuses,
//! what its section of an operator's file may say. No dialect imports another.

mod apply_file;
pub(crate) mod dashboard;
mod demo;
pub(crate) mod form;
mod load;
mod nearest;
mod openticket;
mod pretix;
mod replay;

use std::collections::BTreeMap;
use std::sync::Arc;

use model::policy::{Policies, Policy};
use model::tenant::{DialectName, Permission, Tenant};

pub use apply_file::{DeclarationFile, FileError, GeneratedToken, KnownEvents};
pub use demo::{Demo, DemoCall, ReceiverBehavior, WebhookRef};
pub use load::{Load, LoadPage, LoadTenant};

use crate::gateway::api::Api;
use apply_file::SectionParser;

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

/// Every dialect there is.
pub struct Dialects {
    all: Vec<Arc<Dialect>>,
    kept: LogRetention,
}

pub(crate) struct Dialect {
    /// What the gateway knows of it.
    pub(crate) api: Arc<Api>,
    pub(crate) policy: Policy,
    /// Its key in an operator's file.
    pub(crate) section: &'static str,
    pub(crate) declare: Box<SectionParser>,
    /// Its part of the dashboard.
    pub(crate) board: dashboard::DialectDashboard,
    /// A call that shows whoever got a token with this permission how it is used.
    pub(crate) example: fn(&Tenant, Permission) -> DemoCall,
    /// Its part of the demo.
    pub(crate) demo: fn(DialectName) -> Demo,
    /// Its part of the benchmark, if it has one: the engine is the same for all.
    pub(crate) load: Option<fn(DialectName) -> Load>,
}

/// The one list.
pub fn all(options: &DialectOptions) -> Dialects {
    Dialects {
        all: vec![
            Arc::new(pretix::dialect(options)),
            Arc::new(openticket::dialect(options)),
        ],
        kept: options.kept.clone(),
    }
}

impl LogRetention {
    /// For how long this dialect's log is kept; `usual_ms` is its own idea.
    pub(crate) fn for_dialect(&self, name: &str, usual_ms: i64) -> i64 {
        let own = self.own_ms.get(name).copied();
        own.or(self.all_ms).unwrap_or(usual_ms)
    }
}

impl Dialects {
    pub fn policies(&self) -> Policies {
        let policy = |dialect: &Arc<Dialect>| (dialect.api.name.clone(), dialect.policy.clone());
        self.all.iter().map(policy).collect()
    }

    pub fn names(&self) -> Vec<DialectName> {
        self.all
            .iter()
            .map(|dialect| dialect.api.name.clone())
            .collect()
    }

    /// What each dialect shows of itself.
    pub fn demos(&self) -> Vec<Demo> {
        let demo = |dialect: &Arc<Dialect>| (dialect.demo)(dialect.api.name.clone());
        self.all.iter().map(demo).collect()
    }

    /// What the benchmark is made with: the first dialect that brings something for it.
    pub fn load(&self) -> Option<Load> {
        let mut all = self.all.iter();
        all.find_map(|dialect| Some(dialect.load?(dialect.api.name.clone())))
    }

    /// What the gateway is handed.
    pub(crate) fn apis(&self) -> Vec<Arc<Api>> {
        self.all
            .iter()
            .map(|dialect| Arc::clone(&dialect.api))
            .collect()
    }

    /// Whether the operator said how long this dialect's log is kept.
    pub(crate) fn kept_is_set(&self, name: &DialectName) -> bool {
        let own = self.kept.own_ms.contains_key(name.as_str());
        own || self.kept.all_ms.is_some()
    }

    /// The dialect of this name.
    pub(crate) fn named(&self, name: &DialectName) -> Option<Arc<Dialect>> {
        self.all
            .iter()
            .find(|dialect| dialect.api.name == *name)
            .cloned()
    }

    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Dialect>> {
        self.all.iter()
    }
}
