//! The gateway: the APIs it serves, and the state that all API requests share. The APIs are handed
//! in; it knows no dialect.

use std::sync::Arc;

use super::api::Api;
use super::authenticator::Authenticator;
use super::context::Context;
use super::idempotency::RunningKeys;
use super::metrics::RequestMetrics;
use crate::transport::body_budget::BodyBudget;

pub(crate) struct Gateway {
    apis: Vec<Arc<Api>>,
    /// Names under which this server is reached, beside addresses and names without a dot.
    pub(super) hosts: Vec<String>,
    pub(super) context: Arc<Context>,
    pub(super) authenticator: Authenticator,
    pub(super) running_keys: Arc<RunningKeys>,
    pub(super) bodies: BodyBudget,
    pub(super) metrics: Arc<RequestMetrics>,
}

impl Gateway {
    pub(crate) fn new(
        apis: Vec<Arc<Api>>,
        hosts: Vec<String>,
        context: Context,
        metrics: Arc<RequestMetrics>,
    ) -> Self {
        Self {
            apis,
            hosts,
            authenticator: Authenticator::new(context.store.clone(), context.clock.clone()),
            context: Arc::new(context),
            running_keys: Arc::default(),
            bodies: BodyBudget::default(),
            metrics,
        }
    }

    /// The API that has routes where `path` leads.
    pub(super) fn at(&self, path: &str) -> Option<Arc<Api>> {
        let root = path.strip_prefix('/')?.split('/').next()?;
        let mut all = self.apis.iter();
        all.find(|api| api.roots.contains(&root)).cloned()
    }
}
