//! What the threads that accept and settle keep between transactions.

use std::collections::{BTreeMap, BTreeSet};

use model::id::{TenantId, WebhookId};

use crate::postgres::envelopes::EnvelopeCache;
use crate::sql::intake_cache::{EventCache, SubscriptionCache};

/// What a session keeps to accept notifications. To be thrown away after an error.
#[derive(Default)]
pub(crate) struct AcceptCache {
    /// The catalog's version that the rest is of.
    pub(crate) version: Option<i64>,
    pub(crate) subscriptions: SubscriptionCache,
    pub(crate) events: EventCache,
    /// Tenants that were warned of having too many events.
    pub(crate) warned: BTreeSet<TenantId>,
}

impl AcceptCache {
    /// The catalog changes in this transaction.
    pub(crate) fn forget(&mut self) {
        self.version = None;
        self.subscriptions.forget();
        self.events.forget();
    }
}

/// What the thread that settles keeps between transactions.
#[derive(Default)]
pub(crate) struct SettleCache {
    pub(crate) envelopes: EnvelopeCache,
    /// Whose a webhook is, which never changes.
    pub(crate) tenants: BTreeMap<WebhookId, i64>,
}
