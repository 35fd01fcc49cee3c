//! Lease table: who owns which slots, and what becomes of it when nodes claim, renew and go.
//!
//! Only the rule; a store keeps the rows, in transactions that take turns. Times are the store's
//! own: the clocks of nodes may differ by anything.

use crate::lease::{Epoch, Slots};
use crate::limits::LEASE_MS;
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
        let slots = self.free().first(share(self.rows.len() + 1));
        self.rows.push(LeaseRow {
            epoch,
            slots,
            until: now.plus_ms(LEASE_MS),
        });
        slots
    }

    /// Keeps those of its slots that its owner names, and ends others that are overdue. The answer
    /// has what it is to use from now on: more, if some are free; fewer, if others have less than
    /// their share. The latter stay its own until it no longer names them. Nothing if it is over.
    pub fn renew(&mut self, epoch: Epoch, named: Slots, now: Timestamp) -> Option<Slots> {
        let kept = self.slots(epoch)?.and(named);
        self.rows
            .retain(|row| row.epoch == epoch || row.until > now);
        let own = self.rows.iter_mut().find(|row| row.epoch == epoch)?;
        own.slots = kept;
        own.until = now.plus_ms(LEASE_MS);
        let nodes = self.rows.len();
        let room = share(nodes).saturating_sub(kept.len());
        let slots = kept.or(self.free().first(room));
        let own = self.rows.iter_mut().find(|row| row.epoch == epoch)?;
        own.slots = slots;
        let mut others = self.rows.iter().filter(|row| row.epoch != epoch);
        let is_wanted = others.any(|row| row.slots.len() < Slots::COUNT / nodes);
        Some(match is_wanted {
            true => slots.first(share(nodes)),
            false => slots,
        })
    }

    pub fn release(&mut self, epoch: Epoch) {
        self.rows.retain(|row| row.epoch != epoch);
    }

    fn free(&self) -> Slots {
        let taken = self.rows.iter().map(|row| row.slots);
        Slots::ALL.without(taken.fold(Slots::NONE, Slots::or))
    }
}

/// What each of so many nodes is to have at most.
fn share(nodes: usize) -> usize {
    Slots::COUNT.div_ceil(nodes)
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
        let busy = told.or(Slots::ALL.without(told).first(3));
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
    fn however_nodes_come_and_go_no_slot_has_two_owners_and_the_shares_become_even() {
        for seed in 0..200 {
            let mut rng = SeededRng::from_seed([seed; 32]);
            let mut table = LeaseTable::default();
            let mut nodes: Vec<(Epoch, Slots)> = Vec::new();
            let mut latest = 0;
            for step in 0..60 {
                let now = at(step * 1_000);
                match rng.below(4) {
                    0 if nodes.len() < 7 => {
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
            for step in 60..80 {
                let now = at(step * 1_000);
                for (epoch, slots) in &mut nodes {
                    *slots = table.renew(*epoch, *slots, now).unwrap();
                }
            }
            let shares: Vec<usize> = nodes.iter().map(|(_, slots)| slots.len()).collect();
            assert_eq!(shares.iter().sum::<usize>(), Slots::COUNT, "{shares:?}");
            let (least, most) = (shares.iter().min().unwrap(), shares.iter().max().unwrap());
            assert!(most - least <= nodes.len(), "{shares:?}");
        }
    }
}
