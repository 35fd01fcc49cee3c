//! The invariants of all lanes together: they stand where they say, and the sums are right.

use super::*;

/// After each turn of the loop all lanes are checked while there are no more than these.
const CHECKED_MAX: usize = 64;

impl Lanes {
    pub(crate) fn check_few(&self) {
        if self.lanes.len() <= CHECKED_MAX {
            self.check();
        }
    }

    /// Panics if an invariant does not hold. To be called between steps.
    pub(crate) fn check(&self) {
        let all = || self.lanes.iter();
        for (_, entry) in all() {
            entry.lane.check();
        }
        self.check_queues();
        self.check_sums();
        assert!(
            self.fast
                .keys()
                .all(|webhook| !self.lanes.contains_key(webhook)),
            "that a receiver was fast is remembered of webhooks without a lane"
        );
        let flagged = all().filter(|(_, entry)| entry.place.is_uncounted);
        let mut uncounted: Vec<_> = self.uncounted.clone();
        uncounted.retain(|webhook| self.lanes.contains_key(webhook));
        uncounted.sort_unstable();
        uncounted.dedup();
        assert!(
            flagged.map(|(webhook, _)| webhook).eq(&uncounted),
            "lanes that something happened to are to be counted"
        );
    }

    fn check_queues(&self) {
        let unloaded: BTreeSet<_> = self.unloaded.iter().collect();
        let (mut read_times, mut waiting) = (BTreeSet::new(), 0);
        let mut resting = BTreeSet::new();
        let mut metered = BTreeSet::new();
        for (webhook, Entry { lane, place }) in &self.lanes {
            match place.read {
                ReadQueue::None => {}
                ReadQueue::Scheduled(at) => drop(read_times.insert((at, *webhook))),
                ReadQueue::Waiting => waiting += 1,
            }
            assert!(
                !lane.is_reading() || place.read == ReadQueue::None,
                "a lane that is read does not wait to be read"
            );
            // One whose read was refused is looked at when its turn to be read comes.
            let is_idle = lane.is_idle() && !place.cancelling && place.read != ReadQueue::Waiting;
            assert!(
                !is_idle || place.rest.is_some(),
                "lanes with nothing to do rest, or are forgotten"
            );
            assert!(
                place.rest.is_none() || (lane.is_idle() && lane.is_ready()),
                "a lane that rests has nothing to do, and may be called"
            );
            metered.extend(place.metered.map(|at| (at, *webhook)));
            resting.extend(place.rest.map(|rest| (rest, *webhook)));
            assert!(
                !lane.is_unloaded() || unloaded.contains(webhook),
                "whatever is not loaded will be"
            );
        }
        assert_eq!(
            read_times, self.read_times,
            "lanes stand where they want to be read"
        );
        assert!(
            waiting <= self.shares.unread.len(),
            "whoever waits to be read has a turn"
        );
        assert_eq!(resting, self.resting, "lanes that rest");
        assert_eq!(
            &metered,
            self.metered.times(),
            "lanes that wait for their rate"
        );
        assert!(resting.len() <= RESTING_MAX, "no more rest than may");
    }

    fn check_sums(&self) {
        let mut tenants: BTreeMap<_, (usize, usize, usize)> = BTreeMap::new();
        let mut hosts: BTreeMap<_, usize> = BTreeMap::new();
        for Entry { lane, .. } in self.lanes.values() {
            let (held, bytes, in_flight) = lane.usage();
            let own = tenants.entry(lane.tenant()).or_default();
            *own = (own.0 + held, own.1 + bytes, own.2 + in_flight);
            if let Some(host) = lane.host() {
                *hosts.entry(host).or_default() += 1;
            }
        }
        tenants.retain(|_, own| *own != (0, 0, 0));
        assert_eq!(tenants, self.shares.usage(), "what each tenant has");
        let load = self.shares.load;
        let sum = |of: fn(&(usize, usize, usize)) -> usize| tenants.values().map(of).sum::<usize>();
        assert_eq!(load.held, sum(|own| own.0), "what is held in all");
        assert_eq!(load.held_bytes, sum(|own| own.1), "the bytes of that");
        assert_eq!(load.in_flight, sum(|own| own.2), "what is in flight in all");
        assert!(
            load.doubtful <= load.in_flight,
            "what is in doubt is in flight"
        );
        let mut known = self.shares.lanes_at_hosts();
        known.retain(|_, lanes| *lanes > 0);
        assert_eq!(hosts, known, "lanes that lead to each host");
    }
}
