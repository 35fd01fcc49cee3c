//! A dialect as a value: what the gateway knows of it, how its deliveries are made, what its section
//! of an operator's file may say, and what it brings to the dashboard.

use std::sync::Arc;

use model::policy::{Policies, Policy};
use model::tenant::{DialectName, Permission, Tenant};

use super::dashboard::DialectDashboard;
use super::demo::{Demo, DemoCall};
use super::load::Load;
use super::options::LogRetention;
use super::section::SectionParser;
use crate::gateway::api::Api;

/// Every dialect there is.
pub struct Dialects {
    pub(super) all: Vec<Arc<Dialect>>,
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
    pub(crate) board: DialectDashboard,
    /// A call that shows whoever got a token with this permission how it is used.
    pub(crate) example: fn(&Tenant, Permission) -> DemoCall,
    /// Its part of the demo.
    pub(crate) demo: fn(DialectName) -> Demo,
    /// Its part of the benchmark, if it has one: the engine is the same for all.
    pub(crate) load: Option<fn(DialectName) -> Load>,
}

impl Dialects {
    pub(crate) fn new(all: Vec<Dialect>, kept: LogRetention) -> Self {
        let all = all.into_iter().map(Arc::new).collect();
        Self { all, kept }
    }

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
