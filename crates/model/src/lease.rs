//! Lease: the ownership of slots, which says who sends.
//!
//! A webhook belongs to one of 256 slots, by its id. Whoever owns a slot sends what its webhooks
//! are owed, and nobody else does. Ownership has an epoch, a fencing token: what is written under
//! an epoch that is over is refused.

use crate::id::WebhookId;
use crate::time::Timestamp;

/// Slots owned by one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// Goes with everything that the owner asks.
    pub epoch: Epoch,
    pub slots: Slots,
    /// By when it has to be renewed, of wall time; `None` if it does not end.
    pub until: Option<Timestamp>,
}

/// Grows with each change of owner: a fencing token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Epoch(pub u64);

/// A set of slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slots([u128; 2]);

impl Lease {
    /// All slots, for ever: that of a store which one process has to itself.
    pub const SOLE: Self = Self {
        epoch: Epoch::FIRST,
        slots: Slots::ALL,
        until: None,
    };
}

impl Epoch {
    pub const FIRST: Self = Self(1);
}

impl Slots {
    pub const ALL: Self = Self([u128::MAX; 2]);

    /// The slots with these numbers.
    pub fn of(numbers: &[u8]) -> Self {
        let (mut low, mut high) = (0, 0);
        for number in numbers {
            let half = if *number < 128 { &mut low } else { &mut high };
            *half |= 1 << (number % 128);
        }
        Self([low, high])
    }

    /// Whether the webhook belongs to one of them.
    pub fn have(self, webhook: WebhookId) -> bool {
        let [low, high] = self.0;
        let number = webhook.0.rem_euclid(256);
        let half = if number < 128 { low } else { high };
        (half >> (number % 128)) & 1 == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_webhook_belongs_to_one_slot_of_256() {
        for id in [i64::MIN, -1, 0, 1, 127, 128, 255, 256, 1_000_007, i64::MAX] {
            let webhook = WebhookId(id);
            let owners = (0..=255).filter(|number| Slots::of(&[*number]).have(webhook));
            assert_eq!(owners.count(), 1, "{id}");
            assert!(Slots::ALL.have(webhook), "{id}");
            assert!(!Slots::of(&[]).have(webhook), "{id}");
        }
        assert!(Slots::of(&[3, 200]).have(WebhookId(256 + 200)));
    }
}
