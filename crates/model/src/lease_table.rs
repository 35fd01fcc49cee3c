//! Lease table: who owns which slots, and what becomes of it when nodes claim, renew and go.
//!
//! Only the rule; a store keeps the rows, in transactions that take turns. Times are the store's
//! own: the clocks of nodes may differ by anything.

use crate::contract::{Settlement, StoreError};
use crate::id::WebhookId;
use crate::lease::{Epoch, Slots};
use crate::limits::LEASE_MS;
use crate::mutation::{Mutation, is_on};
use crate::time::Timestamp;

/// All leases, those that are overdue as well until somebody takes their slots.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeaseTable {
    rows: Vec<LeaseRow>,
}

/// A lease as a store keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseRow {
    pub epoch: Epoch,
    pub slots: Slots,
    /// It is overdue from then on.
    pub until: Timestamp,
    /// Its owner stops, and gets nothing more.
    pub leaves: bool,
}

impl LeaseTable {
    pub fn new(rows: Vec<LeaseRow>) -> Self {
        Self { rows }
    }

    pub fn rows(&self) -> &[LeaseRow] {
        &self.rows
    }

    /// The slots of this epoch; nothing if it is over.
    pub fn slots(&self, epoch: Epoch) -> Option<Slots> {
        let mut rows = self.rows.iter();
        let row = rows.find(|row| row.epoch == epoch);
        row.map(|row| row.slots)
    }

    /// Whether no other lease is older, so that its owner keeps the time.
    pub fn is_eldest(&self, epoch: Epoch) -> bool {
        self.rows.iter().all(|row| row.epoch >= epoch)
    }

    /// A new lease under this epoch, with a share of the slots that nobody owns. Those that are
    /// overdue end.
    pub fn claim(&mut self, epoch: Epoch, now: Timestamp) -> Slots {
        self.rows.retain(|row| row.until > now);
        self.rows.push(LeaseRow {
            epoch,
            slots: Slots::NONE,
            until: now.plus_ms(LEASE_MS),
            leaves: false,
        });
        let (slots, _) = self.divide(epoch, Slots::NONE);
        slots
    }

    /// Keeps those of its slots that its owner names, and ends others that are overdue. The answer
    /// has what it is to use from now on: more, if some are free; fewer, if others have less than
    /// their share. The latter stay its own until it no longer names them. Nothing if it is over.
    pub fn renew(&mut self, epoch: Epoch, named: Slots, now: Timestamp) -> Option<Slots> {
        if is_on(Mutation::RenewAfterEnd) && self.slots(epoch).is_none() {
            let (slots, until) = (named, now);
            self.rows.push(LeaseRow {
                epoch,
                slots,
                until,
                leaves: false,
            });
        }
        let kept = self.keep(epoch, named, now, false)?;
        let (_, told) = self.divide(epoch, kept);
        Some(told)
    }

    /// The same for an owner that stops: it keeps what it names, and no more. Nothing if it is
    /// over.
    pub fn leave(&mut self, epoch: Epoch, named: Slots, now: Timestamp) -> Option<Slots> {
        self.keep(epoch, named, now, true)
    }

    fn keep(&mut self, epoch: Epoch, named: Slots, now: Timestamp, leaves: bool) -> Option<Slots> {
        let kept = self.slots(epoch)?.and(named);
        self.rows
            .retain(|row| row.epoch == epoch || row.until > now);
        let own = self.rows.iter_mut().find(|row| row.epoch == epoch)?;
        own.until = now.plus_ms(LEASE_MS);
        own.slots = kept;
        own.leaves |= leaves;
        Some(kept)
    }

    /// Whether nodes that renew now get something or have to give something up, which before they
    /// did not: a node came, slots were given up, a lease ended. Nobody who only takes what is free
    /// has anything to tell.
    pub fn is_news_since(&self, before: &Self) -> bool {
        let had = |row: &LeaseRow| before.rows.iter().any(|old| old.epoch == row.epoch);
        let has = |old: &LeaseRow| {
            let mut rows = self.rows.iter();
            let row = rows.find(|row| row.epoch == old.epoch);
            row.is_some_and(|row| {
                old.slots.without(row.slots).is_empty() && old.leaves == row.leaves
            })
        };
        !self.rows.iter().all(had) || !before.rows.iter().all(has)
    }

    /// Gives a lease those that it has kept and its part of what is free. Answers what it has, and
    /// what of that it is to use.
    ///
    /// Nobody takes more than an even share, rounded down, while somebody has less than that, and
    /// then nobody more than an even share, rounded up. So few slots move, and it comes to an end.
    fn divide(&mut self, epoch: Epoch, kept: Slots) -> (Slots, Slots) {
        let stay = || self.rows.iter().filter(|row| !row.leaves);
        let nodes = stay().count().max(1);
        let least = Slots::COUNT / nodes;
        let mut others = stay().filter(|row| row.epoch != epoch);
        let share = match others.any(|other| other.slots.len() < least) {
            true => least,
            false => Slots::COUNT.div_ceil(nodes),
        };
        let others = self.rows.iter().filter(|row| row.epoch != epoch);
        let taken = others.map(|row| row.slots).fold(Slots::NONE, Slots::or);
        let free = Slots::ALL.without(taken).without(kept);
        let slots = kept.or(free.scattered(share.saturating_sub(kept.len())));
        let mut own = self.rows.iter_mut().filter(|row| row.epoch == epoch);
        if let Some(own) = own.next() {
            own.slots = slots;
        }
        (slots, slots.scattered(share))
    }

    pub fn release(&mut self, epoch: Epoch) {
        self.rows.retain(|row| row.epoch != epoch);
    }
}

/// The fence: whether what is asked of these webhooks under a lease with these slots is done.
/// `None`: it is over.
pub fn fence(
    slots: Option<Slots>,
    webhooks: impl IntoIterator<Item = WebhookId>,
) -> Result<Slots, StoreError> {
    let slots = slots.ok_or(StoreError::Fenced)?;
    let mut webhooks = webhooks.into_iter();
    match webhooks.all(|webhook| slots.has(webhook)) {
        true => Ok(slots),
        false => Err(StoreError::Fenced),
    }
}

/// The same for outcomes: all are of webhooks in these slots, or none is written.
pub fn fence_outcomes(slots: Option<Slots>, batch: &[Settlement]) -> Result<(), StoreError> {
    if is_on(Mutation::SettleUnfenced) {
        return Ok(());
    }
    fence(slots, batch.iter().map(|one| one.id.webhook)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::SeededRng;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    /// No slot has two owners.
    fn check(table: &LeaseTable) {
        let rows = table.rows().iter();
        let all = rows
            .clone()
            .map(|row| row.slots)
            .fold(Slots::NONE, Slots::or);
        let sum: usize = rows.map(|row| row.slots.len()).sum();
        assert_eq!(all.len(), sum);
    }

    #[test]
    fn a_node_that_comes_has_its_share_after_two_renewals_of_the_others() {
        let mut table = LeaseTable::default();
        assert_eq!(table.claim(Epoch(1), at(0)), Slots::ALL);
        assert_eq!(table.claim(Epoch(2), at(0)), Slots::NONE);
        let told = table.renew(Epoch(1), Slots::ALL, at(3_000)).unwrap();
        assert_eq!((told.len(), table.slots(Epoch(1))), (128, Some(Slots::ALL)));
        // What is still used stays until it is not.
        let busy = told.or(Slots::ALL.without(told).scattered(3));
        assert_eq!(table.renew(Epoch(1), busy, at(6_000)), Some(told));
        let gained = table.renew(Epoch(2), Slots::NONE, at(6_000)).unwrap();
        assert_eq!(gained.len(), 125);
        table.renew(Epoch(1), told, at(9_000)).unwrap();
        let gained = table.renew(Epoch(2), gained, at(9_000)).unwrap();
        assert_eq!(gained, Slots::ALL.without(told));
        check(&table);
    }

    #[test]
    fn what_is_overdue_goes_to_who_asks_next_and_its_owner_is_fenced() {
        let mut table = LeaseTable::default();
        table.claim(Epoch(1), at(0));
        table.claim(Epoch(2), at(0));
        // Nobody asked meanwhile, so it may go on.
        assert!(table.renew(Epoch(1), Slots::ALL, at(50_000)).is_some());
        table.claim(Epoch(3), at(50_000));
        let slots = table.renew(Epoch(3), Slots::NONE, at(50_000 + LEASE_MS));
        assert_eq!(slots, Some(Slots::ALL));
        assert_eq!(table.renew(Epoch(1), Slots::ALL, at(60_000)), None);
        assert_eq!(table.slots(Epoch(1)), None);
        assert!(table.is_eldest(Epoch(3)));
        table.release(Epoch(3));
        assert_eq!(table.claim(Epoch(4), at(60_001)), Slots::ALL);
    }

    #[test]
    fn a_node_that_stops_keeps_what_it_uses_and_the_others_divide_up_the_rest() {
        let mut table = LeaseTable::default();
        let mut slots = [Slots::NONE; 3];
        let renew = |table: &mut LeaseTable, nodes: &[u64], slots: &mut [Slots; 3]| {
            for _ in 0..3 {
                for (epoch, slots) in nodes.iter().zip(&mut *slots) {
                    *slots = table.renew(Epoch(*epoch), *slots, at(1)).unwrap();
                }
            }
        };
        for epoch in 1..=3 {
            table.claim(Epoch(epoch), at(0));
        }
        slots[0] = Slots::ALL;
        renew(&mut table, &[1, 2, 3], &mut slots);
        let used = slots[2].scattered(5);
        assert_eq!(table.leave(Epoch(3), used, at(2)), Some(used));
        let rest = |slots: &[Slots; 3]| slots[0].or(slots[1]);
        renew(&mut table, &[1, 2], &mut slots);
        assert_eq!(rest(&slots), Slots::ALL.without(used));
        check(&table);
        let fewer = used.scattered(2);
        assert_eq!(table.leave(Epoch(3), fewer, at(3)), Some(fewer));
        renew(&mut table, &[1, 2], &mut slots);
        assert_eq!(rest(&slots), Slots::ALL.without(fewer));
        assert_eq!(table.leave(Epoch(3), Slots::ALL, at(3)), Some(fewer));
        table.release(Epoch(3));
        assert_eq!(table.leave(Epoch(3), used, at(4)), None);
        renew(&mut table, &[1, 2], &mut slots);
        assert_eq!(rest(&slots), Slots::ALL);
    }

    #[test]
    fn only_who_frees_slots_or_wants_some_has_news_for_others() {
        type Change = fn(&mut LeaseTable) -> Option<Slots>;
        const FIRST: Epoch = Epoch(1);
        let steps: [(&str, bool, Change); 9] = [
            ("one comes", true, |table| Some(table.claim(FIRST, at(0)))),
            ("it renews", false, |table| {
                table.renew(FIRST, Slots::ALL, at(1))
            }),
            ("another comes", true, |table| {
                Some(table.claim(Epoch(2), at(1)))
            }),
            ("the first is told to give some up", false, |table| {
                table.renew(FIRST, Slots::ALL, at(2))
            }),
            ("it does", true, |table| {
                table.renew(FIRST, Slots::ALL.scattered(128), at(3))
            }),
            ("the other takes them", false, |table| {
                table.renew(Epoch(2), Slots::NONE, at(3))
            }),
            ("the first stops", true, |table| {
                table.leave(FIRST, Slots::ALL, at(4))
            }),
            ("it has not ended", false, |table| {
                table.leave(FIRST, Slots::ALL, at(5))
            }),
            ("a third comes when it is overdue", true, |table| {
                Some(table.claim(Epoch(3), at(5 + LEASE_MS)))
            }),
        ];
        let mut table = LeaseTable::default();
        for (words, is_news, change) in steps {
            let before = table.clone();
            assert!(change(&mut table).is_some(), "{words}");
            assert_eq!(table.is_news_since(&before), is_news, "{words}");
        }
        let before = table.clone();
        table.release(Epoch(3));
        assert!(table.is_news_since(&before));
    }

    #[test]
    fn nothing_is_written_of_a_webhook_in_a_slot_of_others_or_under_a_lease_that_is_over() {
        let own = Slots::of(WebhookId(1)).or(Slots::of(WebhookId(2)));
        let all = [WebhookId(1), WebhookId(2), WebhookId(258)];
        assert!(matches!(fence(Some(own), all), Ok(slots) if slots == own));
        assert!(matches!(fence(Some(own), []), Ok(slots) if slots == own));
        let others = [WebhookId(1), WebhookId(3)];
        for (slots, asked) in [(Some(own), &others[..]), (None, &all), (None, &[])] {
            let refused = fence(slots, asked.iter().copied());
            assert!(matches!(refused, Err(StoreError::Fenced)));
        }
    }

    #[test]
    fn each_of_many_nodes_gets_some() {
        for count in [3, 100, 255, 256] {
            let mut table = LeaseTable::default();
            let epochs = || (1..=count).map(Epoch);
            let mut slots: Vec<Slots> = epochs().map(|one| table.claim(one, at(0))).collect();
            for step in 0..60 {
                for (epoch, slots) in epochs().zip(&mut slots) {
                    *slots = table.renew(epoch, *slots, at(step)).unwrap();
                }
            }
            check(&table);
            let shares: Vec<usize> = slots.iter().map(|slots| slots.len()).collect();
            let even = Slots::COUNT / slots.len();
            assert!(shares.iter().all(|share| [even, even + 1].contains(share)));
            assert_eq!(shares.iter().sum::<usize>(), Slots::COUNT, "{shares:?}");
        }
    }

    #[test]
    fn however_nodes_come_and_go_no_slot_has_two_owners_and_the_shares_become_even() {
        for seed in 1..200 {
            let mut rng = SeededRng::from_seed([seed; 32]);
            let mut table = LeaseTable::default();
            let mut nodes: Vec<(Epoch, Slots)> = Vec::new();
            let mut latest = 0;
            for step in 0..60 {
                let now = at(step * 1_000);
                match rng.below(4) {
                    0 if nodes.len() < usize::from(seed) => {
                        latest += 1;
                        nodes.push((Epoch(latest), table.claim(Epoch(latest), now)));
                    }
                    1 if nodes.len() > 1 => {
                        let place = usize::try_from(rng.below(nodes.len() as u64)).unwrap();
                        let (epoch, _) = nodes.swap_remove(place);
                        // One that is gone without a word stays until it is overdue.
                        if rng.below(2) == 0 {
                            table.release(epoch);
                        }
                    }
                    _ => {}
                }
                for (epoch, slots) in &mut nodes {
                    *slots = table.renew(*epoch, *slots, now).unwrap();
                    check(&table);
                }
            }
            for step in 60..100 {
                let now = at(step * 1_000);
                for (epoch, slots) in &mut nodes {
                    *slots = table.renew(*epoch, *slots, now).unwrap();
                }
            }
            let shares: Vec<usize> = nodes.iter().map(|(_, slots)| slots.len()).collect();
            assert_eq!(shares.iter().sum::<usize>(), Slots::COUNT, "{shares:?}");
            let (least, most) = (shares.iter().min().unwrap(), shares.iter().max().unwrap());
            assert!(most - least <= 1, "{shares:?}");
        }
    }
}
