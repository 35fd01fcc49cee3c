//! What is cached to accept notifications: who wants a match key, and which events are registered.
//! Each engine says when that may have changed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::filter::MatchKey;
use model::id::{TenantId, WebhookId};
use model::limits::EVENTS_REGISTERED_MAX;
use model::mutation::{Mutation, is_on};

/// Match keys and webhooks cached together: some hundred bytes for a key, 8 for a webhook. Room for
/// some dozen of the largest sets there can be, so that a batch does not read the same again and
/// again.
const SUBSCRIBERS_CACHED_MAX: usize = 262_144;

/// Who wants what, as far as it was asked lately.
#[derive(Default)]
pub(crate) struct SubscriptionCache {
    known: BTreeMap<TenantId, BTreeMap<String, TopicMatches>>,
    size: usize,
}

/// Who wants one topic.
#[derive(Default)]
struct TopicMatches {
    /// In any scope: mostly all there are, so they are read once and shared.
    anywhere: Option<Arc<[WebhookId]>>,
    /// By scope, each with those of `anywhere`.
    at: BTreeMap<String, Arc<[WebhookId]>>,
}

/// Tenants and events cached together: a few hundred bytes each.
const EVENTS_CACHED_MAX: usize = 4_096;

/// Events known to be registered, and how many there are.
#[derive(Default)]
pub(crate) struct EventCache {
    tenants: BTreeMap<TenantId, TenantEvents>,
    size: usize,
}

/// The events of one tenant.
#[derive(Default)]
struct TenantEvents {
    slugs: BTreeSet<String>,
    /// How many are stored, `EVENTS_REGISTERED_MAX` for more; `None` if not counted yet.
    count: Option<usize>,
}

impl SubscriptionCache {
    /// To be called whenever a subscription changes.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn get(&self, tenant: TenantId, match_key: &MatchKey) -> Option<Arc<[WebhookId]>> {
        self.topic(tenant, match_key)?
            .at
            .get(&match_key.scope)
            .cloned()
    }

    pub(crate) fn anywhere(
        &self,
        tenant: TenantId,
        match_key: &MatchKey,
    ) -> Option<Arc<[WebhookId]>> {
        self.topic(tenant, match_key)?.anywhere.clone()
    }

    fn topic(&self, tenant: TenantId, match_key: &MatchKey) -> Option<&TopicMatches> {
        self.known.get(&cached_as(tenant))?.get(&match_key.topic)
    }

    pub(crate) fn keep_anywhere(
        &mut self,
        tenant: TenantId,
        match_key: &MatchKey,
        wanted: &Arc<[WebhookId]>,
    ) {
        if let Some(topic) = self.make_room(tenant, match_key, 1 + wanted.len()) {
            topic.anywhere = Some(Arc::clone(wanted));
        }
    }

    pub(crate) fn keep(
        &mut self,
        tenant: TenantId,
        match_key: &MatchKey,
        wanted: &Arc<[WebhookId]>,
    ) {
        let anywhere = self.anywhere(tenant, match_key);
        let is_shared = anywhere.is_some_and(|anywhere| Arc::ptr_eq(&anywhere, wanted));
        let size = if is_shared { 1 } else { 1 + wanted.len() };
        if let Some(topic) = self.make_room(tenant, match_key, size) {
            topic.at.insert(match_key.scope.clone(), Arc::clone(wanted));
        }
    }

    fn make_room(
        &mut self,
        tenant: TenantId,
        match_key: &MatchKey,
        size: usize,
    ) -> Option<&mut TopicMatches> {
        if self.size + size > SUBSCRIBERS_CACHED_MAX {
            self.forget();
        }
        if size > SUBSCRIBERS_CACHED_MAX {
            return None;
        }
        self.size += size;
        let of_tenant = self.known.entry(cached_as(tenant)).or_default();
        Some(of_tenant.entry(match_key.topic.clone()).or_default())
    }
}

/// The tenant, of which each has subscriptions of its own.
fn cached_as(tenant: TenantId) -> TenantId {
    match is_on(Mutation::CrossTenant) {
        true => TenantId(0),
        false => tenant,
    }
}

impl EventCache {
    /// To be called when an event was registered in another way.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }

    /// Whether there is nothing to do: it is registered, or the tenant has too many.
    pub(crate) fn is_settled(&self, tenant: TenantId, slug: &str) -> bool {
        self.tenants.get(&tenant).is_some_and(|events| {
            events.slugs.contains(slug) || events.count >= Some(EVENTS_REGISTERED_MAX)
        })
    }

    pub(crate) fn count(&self, tenant: TenantId) -> Option<usize> {
        self.tenants.get(&tenant)?.count
    }

    pub(crate) fn keep_count(&mut self, tenant: TenantId, count: usize) {
        self.of(tenant).count = Some(count);
    }

    pub(crate) fn keep(&mut self, tenant: TenantId, slug: &str) {
        let added = self.of(tenant).slugs.insert(slug.to_owned());
        self.size += usize::from(added);
    }

    /// The tenant's entry, with room for one event more.
    fn of(&mut self, tenant: TenantId) -> &mut TenantEvents {
        if self.size >= EVENTS_CACHED_MAX {
            self.forget();
        }
        self.tenants.entry(tenant).or_insert_with(|| {
            self.size += 1;
            TenantEvents::default()
        })
    }
}

/// Says that the tenant has too many events. To be said once.
pub(crate) fn warn_of_events(tenant: TenantId) {
    tracing::warn!(
        %tenant,
        "the tenant has {EVENTS_REGISTERED_MAX} events: no more register themselves; add \
         those to choose from with `willcall apply`"
    );
}
