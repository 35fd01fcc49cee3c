//! Filter: which notifications a webhook subscribes to, in one form for all dialects.
//!
//! A webhook subscribes to topics, each in any scope or in a named one. A notification stands for
//! some match keys: a topic and a scope. It is for the webhook if one key meets one subscription.
//! What the texts mean is the dialect's business. The store keeps the same rule as an index
//! (`wish`).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// A notification stands for this topic, within this scope.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct MatchKey {
    pub topic: String,
    pub scope: String,
}

/// A webhook wants this topic, in any scope or only in this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subscription<'a> {
    pub topic: &'a str,
    pub scope: Option<&'a str>,
}

/// Each of these topics in each of these scopes: so a webhook that names a thousand shows and
/// fifty topics is as many texts, not fifty thousand.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SubscriptionSet {
    pub topics: BTreeSet<String>,
    /// `None` for any scope.
    pub scopes: Option<BTreeSet<String>>,
}

/// All subscriptions of one webhook.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Filter(pub BTreeSet<SubscriptionSet>);

impl SubscriptionSet {
    fn matches(&self, key: &MatchKey) -> bool {
        let scopes = self.scopes.as_ref();
        self.topics.contains(&key.topic) && scopes.is_none_or(|all| all.contains(&key.scope))
    }

    fn each(&self) -> impl Iterator<Item = Subscription<'_>> {
        let any = self.scopes.is_none().then_some(None);
        let named = self.scopes.iter().flatten().map(|scope| Some(&**scope));
        let scopes: Vec<Option<&str>> = any.into_iter().chain(named).collect();
        self.topics.iter().flat_map(move |topic| {
            let scopes = scopes.clone().into_iter();
            scopes.map(move |scope| Subscription { topic, scope })
        })
    }
}

impl Filter {
    /// The subscription to one topic.
    pub fn of(topic: &str, scope: Option<&str>) -> Self {
        Self::all_of([topic.to_owned()], scope.map(|scope| [scope.to_owned()]))
    }

    /// The subscriptions to each of the topics in each of the scopes, or in any.
    pub fn all_of<S: IntoIterator<Item = String>>(
        topics: impl IntoIterator<Item = String>,
        scopes: Option<S>,
    ) -> Self {
        let set = SubscriptionSet {
            topics: topics.into_iter().collect(),
            scopes: scopes.map(|all| all.into_iter().collect()),
        };
        Self(BTreeSet::from([set]))
    }

    /// Whether a notification that stands for these keys is wanted.
    pub fn matches(&self, keys: &[MatchKey]) -> bool {
        keys.iter()
            .any(|key| self.0.iter().any(|set| set.matches(key)))
    }

    /// The subscriptions one by one, each once.
    pub fn subscriptions(&self) -> BTreeSet<Subscription<'_>> {
        self.0.iter().flat_map(SubscriptionSet::each).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(topic: &str, scope: &str) -> MatchKey {
        MatchKey {
            topic: topic.to_owned(),
            scope: scope.to_owned(),
        }
    }

    fn filter(all: &[(&str, Option<&str>)]) -> Filter {
        Filter(
            all.iter()
                .flat_map(|(topic, scope)| Filter::of(topic, *scope).0)
                .collect(),
        )
    }

    #[test]
    fn a_subscription_in_any_scope_is_met_by_every_scope_of_its_topic() {
        let filter = filter(&[("paid", None)]);
        assert!(filter.matches(&[key("paid", "a")]));
        assert!(filter.matches(&[key("placed", "a"), key("paid", "")]));
        assert!(!filter.matches(&[key("placed", "a")]));
    }

    #[test]
    fn a_subscription_in_one_scope_is_met_by_that_scope_only() {
        let filter = filter(&[("paid", Some("a")), ("placed", Some("b"))]);
        assert!(filter.matches(&[key("paid", "a")]));
        assert!(!filter.matches(&[key("paid", "b"), key("placed", "a")]));
    }

    #[test]
    fn without_subscriptions_nothing_is_wanted() {
        assert!(!Filter::default().matches(&[key("paid", "a")]));
        assert!(!filter(&[("paid", None)]).matches(&[]));
    }

    #[test]
    fn topics_and_scopes_together_are_each_with_each_and_one_that_comes_twice_is_one() {
        let texts = |all: [&str; 2]| all.map(str::to_owned);
        let mut both = Filter::all_of(texts(["paid", "placed"]), Some(texts(["a", "b"])));
        both.0
            .extend(filter(&[("paid", Some("b")), ("paid", None)]).0);
        let subscription = |topic, scope| Subscription { topic, scope };
        let all = [
            subscription("paid", None),
            subscription("paid", Some("a")),
            subscription("paid", Some("b")),
            subscription("placed", Some("a")),
            subscription("placed", Some("b")),
        ];
        assert!(both.subscriptions().into_iter().eq(all));
        assert!(both.matches(&[key("placed", "b")]) && both.matches(&[key("paid", "c")]));
        assert!(!both.matches(&[key("placed", "c"), key("other", "a")]));
    }
}
