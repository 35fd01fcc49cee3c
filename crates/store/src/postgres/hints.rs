//! Hints: what a node tells the owners of other slots about their webhooks, so that they need not
//! look for it.
//!
//! | words | the webhooks |
//! |---|---|
//! | `due AT ID ID …` | got something due, the earliest at this time in schedule time |
//! | `changed ID ID …` | have changed, or somebody waits for a delivery of theirs |
//! | `leases` | of slots that became free, or are to be: leases can be renewed |
//! | `*` | may be any |
//!
//! Whoever cannot read one, because it comes from another version, takes it for the last.

use std::collections::{BTreeMap, BTreeSet};

use model::id::WebhookId;
use model::time::Timestamp;

/// More webhooks than this are not named: whoever owns them looks through all it has.
const WEBHOOKS_MAX: usize = 1_000;

/// A notification of the database holds less than 8,000 bytes.
const IDS_A_HINT: usize = 300;

const DUE: &str = "due";
const CHANGED: &str = "changed";
const LEASES: &str = "leases";
const ALL: &str = "*";

/// What is to be told, of webhooks that others own.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Hints {
    due: BTreeMap<WebhookId, Timestamp>,
    changed: BTreeSet<WebhookId>,
    is_about_leases: bool,
    is_about_all: bool,
}

/// One of them, as it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Hint {
    Due(Timestamp, Vec<WebhookId>),
    Changed(Vec<WebhookId>),
    Leases,
    All,
}

impl Hints {
    pub(crate) fn due(&mut self, webhook: WebhookId, at: Timestamp) {
        let earliest = self.due.entry(webhook).or_insert(at);
        *earliest = at.min(*earliest);
    }

    pub(crate) fn changed(&mut self, webhook: WebhookId) {
        self.changed.insert(webhook);
    }

    /// Slots became free, or are to be.
    pub(crate) fn leases(&mut self) {
        self.is_about_leases = true;
    }

    /// Anything may be meant.
    pub(crate) fn tell_all(&mut self) {
        self.is_about_all = true;
    }

    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Leaves out webhooks that do not matter.
    pub(crate) fn retain(&mut self, matters: impl Fn(WebhookId) -> bool) {
        self.due.retain(|webhook, _| matters(*webhook));
        self.changed.retain(|webhook| matters(*webhook));
    }

    /// Adds others. Answers whether there is something new to tell.
    pub(crate) fn add(&mut self, others: Self) -> bool {
        let size = |hints: &Self| {
            let webhooks = (hints.due.len(), hints.changed.len());
            (webhooks, hints.is_about_leases)
        };
        let before = size(self);
        for (webhook, at) in others.due {
            self.due(webhook, at);
        }
        self.changed.extend(others.changed);
        self.is_about_leases |= others.is_about_leases;
        self.is_about_all |= others.is_about_all;
        if self.due.len().max(self.changed.len()) > WEBHOOKS_MAX {
            self.due.clear();
            self.changed.clear();
            self.is_about_all = true;
        }
        self.is_about_all || size(self) != before
    }

    /// How it is told.
    pub(crate) fn told(self) -> Vec<Hint> {
        let leases = self.is_about_leases.then_some(Hint::Leases);
        if self.is_about_all {
            return leases.into_iter().chain([Hint::All]).collect();
        }
        let changed: Vec<WebhookId> = self.changed.into_iter().collect();
        let due: Vec<(WebhookId, Timestamp)> = self.due.into_iter().collect();
        let changed = changed
            .chunks(IDS_A_HINT)
            .map(|some| Hint::Changed(some.to_vec()));
        let due = due.chunks(IDS_A_HINT).filter_map(|some| {
            let earliest = some.iter().map(|(_, at)| *at).min()?;
            let webhooks = some.iter().map(|(webhook, _)| *webhook).collect();
            Some(Hint::Due(earliest, webhooks))
        });
        leases.into_iter().chain(changed).chain(due).collect()
    }
}

impl Hint {
    pub(crate) fn to_words(&self) -> String {
        let (mut words, webhooks) = match self {
            Self::All => return ALL.to_owned(),
            Self::Leases => return LEASES.to_owned(),
            Self::Changed(webhooks) => (CHANGED.to_owned(), webhooks),
            Self::Due(at, webhooks) => (format!("{DUE} {}", at.as_millis()), webhooks),
        };
        for webhook in webhooks {
            words.push(' ');
            words.push_str(&webhook.0.to_string());
        }
        words
    }

    /// What was told. Words that are not known may mean any webhook.
    pub(crate) fn parse(words: &str) -> Self {
        Self::parse_known(words).unwrap_or(Self::All)
    }

    fn parse_known(words: &str) -> Option<Self> {
        let mut words = words.split(' ');
        let kind = words.next()?;
        let at = match kind {
            LEASES => return words.next().is_none().then_some(Self::Leases),
            DUE => Some(words.next()?.parse().ok()?),
            CHANGED => None,
            _ => return None,
        };
        let ids: Result<Vec<i64>, _> = words.map(str::parse).collect();
        let webhooks = ids.ok()?.into_iter().map(WebhookId).collect();
        Some(match at {
            Some(at) => Self::Due(Timestamp::from_millis(at), webhooks),
            None => Self::Changed(webhooks),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    #[test]
    fn what_is_told_is_read_as_it_was_meant() {
        for (hint, words) in [
            (Hint::All, "*"),
            (Hint::Leases, "leases"),
            (Hint::Changed(vec![WebhookId(7)]), "changed 7"),
            (
                Hint::Due(at(1_234), vec![WebhookId(7), WebhookId(9)]),
                "due 1234 7 9",
            ),
        ] {
            assert_eq!(hint.to_words(), words);
            assert_eq!(Hint::parse(words), hint);
        }
    }

    #[test]
    fn what_cannot_be_read_may_be_about_any_webhook() {
        for words in [
            "",
            "7 9",
            "due",
            "due x 7",
            "changed 7 x",
            "gone 7",
            "leases 7",
            "due 5 7 ",
        ] {
            assert_eq!(Hint::parse(words), Hint::All, "{words:?}");
        }
    }

    #[test]
    fn a_webhook_is_told_once_with_its_earliest_time_and_the_others_are_left_out() {
        let mut hints = Hints::default();
        let mut more = Hints::default();
        for (webhook, ms) in [(1, 9), (2, 5), (3, 1), (1, 7)] {
            more.due(WebhookId(webhook), at(ms));
        }
        more.changed(WebhookId(3));
        more.changed(WebhookId(4));
        more.retain(|webhook| webhook != WebhookId(3));
        assert!(hints.add(more));
        let mut again = Hints::default();
        again.due(WebhookId(2), at(8));
        assert!(!hints.add(again) && !hints.is_empty());
        let mut leases = Hints::default();
        leases.leases();
        assert!(!leases.is_empty() && hints.add(leases));
        let expected = [
            Hint::Leases,
            Hint::Changed(vec![WebhookId(4)]),
            Hint::Due(at(5), vec![WebhookId(1), WebhookId(2)]),
        ];
        assert_eq!(hints.told(), expected);
    }

    #[test]
    fn what_is_told_of_many_webhooks_stays_bounded() {
        let many = |count| {
            let mut hints = Hints::default();
            (0..count).for_each(|n| hints.due(WebhookId(i64::MAX - n), at(i64::MAX)));
            let mut all = Hints::default();
            assert!(all.add(hints));
            all.told()
        };
        let told = many(1_000);
        assert_eq!(told.len(), 4);
        assert!(told.iter().all(|hint| hint.to_words().len() < 8_000));
        assert_eq!(many(1_001), [Hint::All]);
    }
}
