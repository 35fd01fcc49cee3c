//! What two stores answer, made comparable: each thing has the number in whose turn it was made,
//! instead of the one that its store gave it.

use std::collections::BTreeMap;

use model::id::{BulkJobId, NotificationId, TenantId, TokenId, UserId, WebhookId};

/// What a store has been seen to make, in order.
#[derive(Debug, Default)]
pub(super) struct Made(BTreeMap<&'static str, Vec<i64>>);

/// An id that a store gives.
pub(super) trait Given: Copy {
    /// How it is printed.
    const NAME: &'static str;
    fn of(number: i64) -> Self;
    fn number(self) -> i64;
}

macro_rules! given {
    ($($kind:ident),+) => {$(
        impl Given for $kind {
            const NAME: &'static str = stringify!($kind);
            fn of(number: i64) -> Self {
                Self(number)
            }
            fn number(self) -> i64 {
                self.0
            }
        }
    )+};
}

given!(
    NotificationId,
    WebhookId,
    TenantId,
    UserId,
    TokenId,
    BulkJobId
);

const NAMES: [&str; 6] = [
    NotificationId::NAME,
    WebhookId::NAME,
    TenantId::NAME,
    UserId::NAME,
    TokenId::NAME,
    BulkJobId::NAME,
];

impl Made {
    /// Notes a thing unless it is known.
    pub(super) fn note<T: Given>(&mut self, id: T) {
        let known = self.0.entry(T::NAME).or_default();
        if !known.contains(&id.number()) {
            known.push(id.number());
        }
    }

    pub(super) fn count<T: Given>(&self) -> usize {
        self.0.get(T::NAME).map_or(0, Vec::len)
    }

    /// The one that was made in this turn; one that there is not, behind all.
    pub(super) fn get<T: Given>(&self, turn: usize) -> T {
        let known = self.0.get(T::NAME).and_then(|all| all.get(turn));
        T::of(known.copied().unwrap_or(999_999))
    }

    pub(super) fn all<T: Given>(&self) -> Vec<T> {
        let all = self.0.get(T::NAME).into_iter().flatten();
        all.map(|number| T::of(*number)).collect()
    }

    /// The text with turns for numbers.
    pub(super) fn in_turns(&self, text: &str) -> String {
        let mut written = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((at, name)) = next_name(rest) {
            let (before, behind) = rest.split_at(at + name.len() + 1);
            let end = behind.find(')').unwrap_or(0);
            let (number, behind) = behind.split_at(end);
            let known = self.0.get(name);
            let turn = number.parse().ok().and_then(|number: i64| {
                known.and_then(|all| all.iter().position(|one| *one == number))
            });
            written.push_str(before);
            written.push_str(&turn.map_or_else(|| "?".to_owned(), |turn| format!("#{turn}")));
            rest = behind;
        }
        written.push_str(rest);
        written
    }
}

/// Where the next id is in a text.
fn next_name(text: &str) -> Option<(usize, &'static str)> {
    let found = NAMES.into_iter().filter_map(|name| {
        let at = text.find(&format!("{name}("))?;
        Some((at, name))
    });
    found.min()
}
