//! A dialect as a value: its API, its policy, its section of an operator's file, and what it brings
//! to the dashboard, the demo and the benchmark.

use std::sync::Arc;

use model::call_limits::CallBounds;
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
    retention: LogRetention,
    bounds: Arc<CallBounds>,
}

pub(crate) struct Dialect {
    /// What the gateway knows of it.
    pub(crate) api: Arc<Api>,
    pub(crate) policy: Policy,
    /// Its key in an operator's file.
    pub(crate) section: &'static str,
    pub(crate) declare: Box<SectionParser>,
    /// Its part of the dashboard.
    pub(crate) dashboard: DialectDashboard,
    /// An example call with a token of this permission.
    pub(crate) example: fn(&Tenant, Permission) -> DemoCall,
    /// Its part of the demo.
    pub(crate) demo: fn(DialectName) -> Demo,
    /// Its part of the benchmark, if it has one: the engine is the same for all.
    pub(crate) load: Option<fn(DialectName) -> Load>,
}

impl Dialects {
    pub(crate) fn new(mut all: Vec<Dialect>, retention: LogRetention, bounds: CallBounds) -> Self {
        let bounds = Arc::new(bounds);
        for dialect in &mut all {
            dialect.policy.bounds = Arc::clone(&bounds);
        }
        let all = all.into_iter().map(Arc::new).collect();
        Self {
            all,
            retention,
            bounds,
        }
    }

    /// What limits of webhooks may be.
    pub(crate) fn bounds(&self) -> &Arc<CallBounds> {
        &self.bounds
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

    /// The demo of each dialect.
    pub fn demos(&self) -> Vec<Demo> {
        let demo = |dialect: &Arc<Dialect>| (dialect.demo)(dialect.api.name.clone());
        self.all.iter().map(demo).collect()
    }

    /// The load for the benchmark: of the first dialect that has one.
    pub fn load(&self) -> Option<Load> {
        let mut all = self.all.iter();
        all.find_map(|dialect| Some(dialect.load?(dialect.api.name.clone())))
    }

    /// The APIs of all dialects, for the gateway.
    pub(crate) fn apis(&self) -> Vec<Arc<Api>> {
        self.all
            .iter()
            .map(|dialect| Arc::clone(&dialect.api))
            .collect()
    }

    /// Whether the operator has set this dialect's retention.
    pub(crate) fn retention_is_set(&self, name: &DialectName) -> bool {
        let own = self.retention.own_ms.contains_key(name.as_str());
        own || self.retention.all_ms.is_some()
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
