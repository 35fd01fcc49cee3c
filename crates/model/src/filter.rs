//! Which webhooks want a notification, in the one form all dialects are brought to.
//!
//! A webhook wishes for topics, each in any scope or in a named one. A notification stands for
//! some pairs of topic and scope. It is wanted if one pair meets one wish. What the texts mean is
//! the dialect's business. The store keeps the same rule as an index (`wish`).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// A notification stands for this topic, within this scope.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pair {
    pub topic: String,
    pub scope: String,
}

/// A webhook wants this topic, in any scope or only in this one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Wish {
    pub topic: String,
    pub scope: Option<String>,
}

/// All wishes of one webhook.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Filter(pub BTreeSet<Wish>);

impl Filter {
    /// Whether a notification that stands for `pairs` is wanted.
    pub fn wants(&self, pairs: &[Pair]) -> bool {
        pairs.iter().any(|pair| {
            self.0.iter().any(|wish| {
                wish.topic == pair.topic
                    && wish.scope.as_ref().is_none_or(|scope| *scope == pair.scope)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(topic: &str, scope: &str) -> Pair {
        Pair {
            topic: topic.to_owned(),
            scope: scope.to_owned(),
        }
    }

    fn filter(wishes: &[(&str, Option<&str>)]) -> Filter {
        let wish = |(topic, scope): &(&str, Option<&str>)| Wish {
            topic: (*topic).to_owned(),
            scope: scope.map(str::to_owned),
        };
        Filter(wishes.iter().map(wish).collect())
    }

    #[test]
    fn a_wish_for_any_scope_is_met_by_every_scope_of_its_topic() {
        let filter = filter(&[("paid", None)]);
        assert!(filter.wants(&[pair("paid", "a")]));
        assert!(filter.wants(&[pair("placed", "a"), pair("paid", "")]));
        assert!(!filter.wants(&[pair("placed", "a")]));
    }

    #[test]
    fn a_wish_for_one_scope_is_met_by_that_scope_only() {
        let filter = filter(&[("paid", Some("a")), ("placed", Some("b"))]);
        assert!(filter.wants(&[pair("paid", "a")]));
        assert!(!filter.wants(&[pair("paid", "b"), pair("placed", "a")]));
    }

    #[test]
    fn nothing_wished_is_nothing_wanted() {
        assert!(!Filter::default().wants(&[pair("paid", "a")]));
        assert!(!filter(&[("paid", None)]).wants(&[]));
    }
}
