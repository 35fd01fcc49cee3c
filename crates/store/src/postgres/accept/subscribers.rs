//! Who wants each notification of a group: from what is cached, and from the table `wish` where
//! that is not enough.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::filter::MatchKey;
use model::id::{TenantId, WebhookId};
use model::notification::NewNotification;

use crate::postgres::accept::statements::{MAY_BE_TESTED, WANTED};
use crate::postgres::accept::talk::{Answers, Statements};
use crate::postgres::text::SafeText;
use crate::sql::intake_cache::SubscriptionCache;
use crate::sql::job_error::JobError;
use crate::sql::row::ReadRow;

/// A tenant, a topic, and a scope, or any.
type Subscription<'a> = (TenantId, &'a str, Option<&'a str>);

/// The webhooks that each notification of a group is for.
pub(super) struct Subscribers<'a> {
    news: &'a [&'a NewNotification],
    /// By the place of the notification; `None` if it has to be asked for.
    found: Vec<Option<Arc<[WebhookId]>>>,
    /// What the table says, as far as it was asked.
    read: BTreeMap<Subscription<'a>, Arc<[WebhookId]>>,
}

/// What is to be asked.
pub(super) struct Missing<'a> {
    subscriptions: Vec<Subscription<'a>>,
    tenants: Vec<i64>,
    topics: Vec<SafeText<'a>>,
    scopes: Vec<Option<SafeText<'a>>>,
    /// Tests, by the place of the notification.
    tests: Vec<usize>,
    tested_tenants: Vec<i64>,
    tested: Vec<i64>,
}

impl<'a> Subscribers<'a> {
    pub(super) fn new(news: &'a [&'a NewNotification]) -> Self {
        Self {
            news,
            found: vec![None; news.len()],
            read: BTreeMap::new(),
        }
    }

    /// The webhooks of this notification.
    pub(super) fn of(&self, place: usize) -> Arc<[WebhookId]> {
        let found = self.found.get(place).cloned().flatten();
        found.unwrap_or_default()
    }

    /// What was found in the cache does not hold.
    pub(super) fn forget(&mut self) {
        for (found, new) in self.found.iter_mut().zip(self.news) {
            if new.only_webhook.is_none() {
                *found = None;
            }
        }
    }

    /// Finds what is cached or was read. Answers what is missing.
    pub(super) fn find(&mut self, cache: &mut SubscriptionCache) -> Missing<'a> {
        let mut missing = BTreeSet::new();
        let mut tests = Vec::new();
        for (place, (found, new)) in self.found.iter_mut().zip(self.news).enumerate() {
            if found.is_some() {
                continue;
            }
            if new.only_webhook.is_some() {
                tests.push(place);
                continue;
            }
            let mut search = Search {
                read: &self.read,
                cache,
                missing: &mut missing,
            };
            *found = search.wanted(new.tenant, &new.match_keys);
        }
        Missing::new(self.news, missing, tests)
    }

    /// Takes the answers to what was missing. What is new is cached with the next `find`.
    pub(super) fn read(
        &mut self,
        missing: Missing<'a>,
        answers: &mut Answers,
    ) -> Result<(), JobError> {
        if !missing.subscriptions.is_empty() {
            let rows = answers.next()?.rows;
            for (subscription, row) in missing.subscriptions.into_iter().zip(&rows) {
                let webhooks: Vec<i64> = row.try_get(0)?;
                let webhooks = webhooks.into_iter().map(WebhookId).collect();
                self.read.insert(subscription, webhooks);
            }
        }
        if !missing.tests.is_empty() {
            let rows = answers.next()?.rows;
            for (place, row) in missing.tests.into_iter().zip(&rows) {
                let may_be = row.column(0)?;
                let webhook = self.news.get(place).and_then(|new| new.only_webhook);
                let webhook = webhook.filter(|_| may_be);
                if let Some(found) = self.found.get_mut(place) {
                    *found = Some(webhook.into_iter().collect());
                }
            }
        }
        Ok(())
    }
}

impl<'a> Missing<'a> {
    fn new(
        news: &[&NewNotification],
        subscriptions: BTreeSet<Subscription<'a>>,
        tests: Vec<usize>,
    ) -> Self {
        let subscriptions: Vec<Subscription<'a>> = subscriptions.into_iter().collect();
        let tested = tests.iter().filter_map(|place| news.get(*place));
        let tested = tested.map(|new| (new.tenant.0, new.only_webhook.map_or(0, |id| id.0)));
        let (tested_tenants, tested) = tested.unzip();
        Self {
            tenants: subscriptions.iter().map(|(tenant, ..)| tenant.0).collect(),
            topics: subscriptions
                .iter()
                .map(|(_, topic, _)| SafeText(topic))
                .collect(),
            scopes: subscriptions
                .iter()
                .map(|(.., scope)| scope.map(SafeText))
                .collect(),
            subscriptions,
            tests,
            tested_tenants,
            tested,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.subscriptions.is_empty() && self.tests.is_empty()
    }

    pub(super) fn ask<'b>(&'b self, statements: &mut Statements<'b>) {
        if !self.subscriptions.is_empty() {
            statements.add(WANTED, vec![&self.tenants, &self.topics, &self.scopes]);
        }
        if !self.tests.is_empty() {
            statements.add(MAY_BE_TESTED, vec![&self.tested_tenants, &self.tested]);
        }
    }
}

/// Looks for the webhooks of one notification.
struct Search<'s, 'a> {
    read: &'s BTreeMap<Subscription<'a>, Arc<[WebhookId]>>,
    cache: &'s mut SubscriptionCache,
    missing: &'s mut BTreeSet<Subscription<'a>>,
}

impl<'a> Search<'_, 'a> {
    /// The webhooks that want one of `match_keys`, each once, by id; `None` if something is
    /// missing.
    fn wanted(&mut self, tenant: TenantId, match_keys: &'a [MatchKey]) -> Option<Arc<[WebhookId]>> {
        let each: Vec<Option<Arc<[WebhookId]>>> = match_keys
            .iter()
            .map(|match_key| self.wanted_of(tenant, match_key))
            .collect();
        let each: Option<Vec<Arc<[WebhookId]>>> = each.into_iter().collect();
        Some(union(each?))
    }

    fn wanted_of(&mut self, tenant: TenantId, match_key: &'a MatchKey) -> Option<Arc<[WebhookId]>> {
        if let Some(known) = self.cache.get(tenant, match_key) {
            return Some(known);
        }
        let anywhere = match self.cache.anywhere(tenant, match_key) {
            Some(known) => Some(known),
            None => {
                let read = self.find(tenant, match_key, None);
                if let Some(read) = &read {
                    self.cache.keep_anywhere(tenant, match_key, read);
                }
                read
            }
        };
        let here = self.find(tenant, match_key, Some(&match_key.scope));
        let wanted = union(vec![anywhere?, here?]);
        self.cache.keep(tenant, match_key, &wanted);
        Some(wanted)
    }

    fn find(
        &mut self,
        tenant: TenantId,
        match_key: &'a MatchKey,
        scope: Option<&'a str>,
    ) -> Option<Arc<[WebhookId]>> {
        let subscription = (tenant, match_key.topic.as_str(), scope);
        let known = self.read.get(&subscription).cloned();
        if known.is_none() {
            self.missing.insert(subscription);
        }
        known
    }
}

/// All webhooks of these lists, each once, by id. A list that has all of them is shared.
fn union(mut lists: Vec<Arc<[WebhookId]>>) -> Arc<[WebhookId]> {
    lists.retain(|list| !list.is_empty());
    lists.dedup_by(|next, kept| Arc::ptr_eq(next, kept));
    match lists.len() {
        0 | 1 => lists.pop().unwrap_or_default(),
        _ => {
            let all: BTreeSet<WebhookId> =
                lists.iter().flat_map(|list| list.iter().copied()).collect();
            all.into_iter().collect()
        }
    }
}
