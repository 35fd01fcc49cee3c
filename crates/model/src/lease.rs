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
    pub const NONE: Self = Self([0; 2]);
    /// How many there are in all.
    pub const COUNT: usize = 256;

    /// The slot of this webhook.
    pub fn of(webhook: WebhookId) -> Self {
        let slot = webhook.0.rem_euclid(256);
        let bit = 1_u128 << (slot % 128);
        match slot < 128 {
            true => Self([bit, 0]),
            false => Self([0, bit]),
        }
    }

    /// Whether the slot of this webhook is one of them.
    pub fn has(self, webhook: WebhookId) -> bool {
        let slot = webhook.0.rem_euclid(256);
        let half = if slot < 128 { self.0[0] } else { self.0[1] };
        half >> (slot % 128) & 1 == 1
    }

    pub fn len(self) -> usize {
        let ones = self.0.iter().map(|half| half.count_ones());
        usize::try_from(ones.sum::<u32>()).unwrap_or(Self::COUNT)
    }

    pub fn is_empty(self) -> bool {
        self == Self::NONE
    }

    /// Those in either.
    pub fn or(self, other: Self) -> Self {
        Self([self.0[0] | other.0[0], self.0[1] | other.0[1]])
    }

    /// Those in both.
    pub fn and(self, other: Self) -> Self {
        Self([self.0[0] & other.0[0], self.0[1] & other.0[1]])
    }

    /// Those that are not in `other`.
    pub fn without(self, other: Self) -> Self {
        Self([self.0[0] & !other.0[0], self.0[1] & !other.0[1]])
    }

    /// So many of them, or all if there are fewer: not neighbours, since the ids of webhooks that
    /// are made one after the other are.
    #[must_use]
    pub fn scattered(self, count: usize) -> Self {
        // With this stride each of two to eight nodes gets its even part of up to 64 webhooks, or
        // one more; of all odd strides it comes closest.
        const STRIDE: i64 = 113;
        let in_order = (0..256).map(|step| Self::of(WebhookId(step * STRIDE)));
        let own = in_order.filter(|slot| !slot.and(self).is_empty());
        own.take(count).fold(Self::NONE, Self::or)
    }

    /// As a store keeps them: 256 bits, the first slot in the lowest bit of the first byte.
    pub fn to_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        let halves = self.0.iter().flat_map(|half| half.to_le_bytes());
        for (byte, own) in bytes.iter_mut().zip(halves) {
            *byte = own;
        }
        bytes
    }

    /// The reverse of `to_bytes`.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        let mut slots = Self::NONE;
        for (at, byte) in bytes.into_iter().enumerate() {
            let bits = u128::from(byte) << (at % 16 * 8);
            match at < 16 {
                true => slots.0[0] |= bits,
                false => slots.0[1] |= bits,
            }
        }
        slots
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_has_a_bit_of_its_own_and_survives_being_stored() {
        let mut all = Slots::NONE;
        for id in 0..256_i64 {
            let mut bytes = [0; 32];
            bytes[usize::try_from(id / 8).unwrap()] = 1 << (id % 8);
            let one = Slots::from_bytes(bytes);
            assert_eq!((one.len(), one.to_bytes()), (1, bytes));
            assert_eq!(one, Slots::of(WebhookId(id + 512)));
            assert!(one.has(WebhookId(id)) && one.has(WebhookId(id + 256)));
            assert!(!one.has(WebhookId(id + 1)) && !all.has(WebhookId(id)));
            assert_eq!(all.scattered(999), all);
            all = all.or(one);
        }
        assert_eq!(all, Slots::ALL);
        let rest = all.without(all.scattered(130));
        assert_eq!(rest.len(), 126);
        assert!(rest.and(all.scattered(130)).is_empty());
    }

    #[test]
    fn each_node_has_its_part_of_a_few_webhooks_that_were_made_one_after_the_other() {
        for nodes in 2..=8 {
            let mut left = Slots::ALL;
            let shares = (1..=nodes).rev().map(|others| {
                let share = left.scattered(left.len().div_ceil(others));
                left = left.without(share);
                share
            });
            let shares: Vec<Slots> = shares.collect();
            for webhooks in 1..=64_usize {
                let ids = (1_i64..).take(webhooks).map(WebhookId);
                let most = shares
                    .iter()
                    .map(|share| ids.clone().filter(|id| share.has(*id)));
                let most = most.map(Iterator::count).max().unwrap();
                let even = webhooks.div_ceil(nodes);
                assert!(most <= even + 1, "{most} of {webhooks} at one of {nodes}");
            }
        }
    }
}
