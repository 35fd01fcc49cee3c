//! A dialect as a value: its API, its policy, its section of an operator's file, and what it brings
//! to the dashboard, the demo and the benchmark.

use std::sync::Arc;

use model::call_limits::CallBounds;
use model::policy::{Policies, Policy};
use model::tenant::{DialectName, Permission, Tenant};

use super::alerts::AlertDialect;
use super::dashboard::DialectDashboard;
use super::demo::{Demo, DemoCall};
use super::load::Load;
use super::log_names::LogNames;
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
    pub(crate) name: DialectName,
    /// What the gateway knows of it; `None` if programs ask nothing in it.
    pub(crate) api: Option<Arc<Api>>,
    pub(crate) policy: Policy,
    /// Its key in an operator's file.
    pub(crate) section: &'static str,
    pub(crate) declare: Box<SectionParser>,
    /// What a tenant's key is called there.
    pub(crate) key_field: &'static str,
    /// What a permission is called there.
    pub(crate) permission_name: fn(Permission) -> &'static str,
    /// How it names what is in the log.
    pub(crate) log_names: LogNames,
    /// Its part of the dashboard.
    pub(crate) dashboard: DialectDashboard,
    /// An example call with a token of this permission, if it has an API.
    pub(crate) example: Option<fn(&Tenant, Permission) -> DemoCall>,
    /// Its part of the demo, if it has one.
    pub(crate) demo: Option<fn(DialectName) -> Demo>,
    /// Its part of the benchmark, if it has one: the engine is the same for all.
    pub(crate) load: Option<fn(DialectName) -> Load>,
    /// Set if its tenants are those who are told of incidents.
    pub(crate) alerts: Option<AlertDialect>,
}

impl Dialect {
    /// Headers that calls of its webhooks have from it.
    pub(crate) fn headers(&self) -> &'static [&'static str] {
        self.api.as_ref().map_or(&[], |api| api.headers)
    }
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
        let policy = |dialect: &Arc<Dialect>| (dialect.name.clone(), dialect.policy.clone());
        self.all.iter().map(policy).collect()
    }

    pub fn names(&self) -> Vec<DialectName> {
        self.all
            .iter()
            .map(|dialect| dialect.name.clone())
            .collect()
    }

    /// The demo of each dialect that has one.
    pub fn demos(&self) -> Vec<Demo> {
        let demo = |dialect: &Arc<Dialect>| Some(dialect.demo?(dialect.name.clone()));
        self.all.iter().filter_map(demo).collect()
    }

    /// The load for the benchmark: of the first dialect that has one.
    pub fn load(&self) -> Option<Load> {
        let mut all = self.all.iter();
        all.find_map(|dialect| Some(dialect.load?(dialect.name.clone())))
    }

    /// The APIs of all dialects, for the gateway.
    pub(crate) fn apis(&self) -> Vec<Arc<Api>> {
        self.all
            .iter()
            .filter_map(|dialect| dialect.api.clone())
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
            .find(|dialect| dialect.name == *name)
            .cloned()
    }

    /// The dialect whose tenants are told of incidents.
    pub(crate) fn of_alerts(&self) -> Option<(Arc<Dialect>, AlertDialect)> {
        let mut all = self.all.iter();
        all.find_map(|dialect| Some((Arc::clone(dialect), dialect.alerts?)))
    }

    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Dialect>> {
        self.all.iter()
    }
}
