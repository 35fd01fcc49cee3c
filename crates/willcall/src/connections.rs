//! Bounds the number of connections. When all are in use, a new one replaces one that waits for its
//! client: one of the address that has most; among those, one that never sent a request comes
//! first, and then the one that has waited longest.
//!
//! If every connection is being answered, a few more are admitted for an operator's tools
//! (`overflow.rs`). No connection waits to be admitted, so nobody can make others wait.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use model::address::Networks;
use tokio::sync::oneshot;
use tokio::time::Instant;
use web::BodyObserver;

use crate::sync;

/// Connections beyond the setting. Each is held for moments.
pub(crate) const OVERFLOW_MAX: usize = 32;

/// Most connections of an address that are examined to find one to close: each costs a few loads.
const SCANNED_ROWS_MAX: usize = 4_096;

/// Least time between two warnings that all connections are in use.
const SAY_EVERY: Duration = Duration::from_secs(60);

pub(crate) struct Connections {
    most: usize,
    /// A proxy's connections are those of many clients, so they do not count as one client's.
    proxies: Networks,
    began_at: Instant,
    table: Mutex<ConnectionTable>,
}

#[derive(Default)]
struct ConnectionTable {
    next: u64,
    usual: BTreeMap<u64, ConnectionEntry>,
    overflow: BTreeMap<u64, ConnectionEntry>,
    /// The usual connections by address; proxies have none.
    by_address: BTreeMap<Option<IpAddr>, BTreeSet<u64>>,
    said_at: Option<Instant>,
}

struct ConnectionEntry {
    address: Option<IpAddr>,
    state: Arc<ConnectionState>,
    gone: oneshot::Sender<()>,
}

/// What a connection is doing.
pub(crate) struct ConnectionState {
    began_at: Instant,
    /// Since when it waits for its client or for memory, in milliseconds plus one; 0 while a
    /// request is being answered.
    waits_since: AtomicU64,
    /// At least one request was answered.
    used: AtomicBool,
}

/// Permission to be connected; given back when it is dropped.
pub(crate) struct ConnectionPermit {
    id: u64,
    among: Arc<Connections>,
    pub(crate) state: Arc<ConnectionState>,
    pub(crate) is_overflow: bool,
    gone: oneshot::Receiver<()>,
}

impl Connections {
    pub(crate) fn new(most: usize, proxies: Networks) -> Self {
        Self {
            most,
            proxies,
            began_at: Instant::now(),
            table: Mutex::default(),
        }
    }

    /// Admits a new connection. If another one has to close for it, that one is told.
    pub(crate) fn admit(self: &Arc<Self>, address: IpAddr) -> ConnectionPermit {
        let address = self.share_of(address);
        let mut table = self.table();
        if table.usual.len() >= self.most {
            table.say(self.most);
            if let Some(id) = table.longest(address) {
                table.remove(id);
            }
        }
        let is_overflow = table.usual.len() >= self.most;
        if is_overflow && table.overflow.len() >= OVERFLOW_MAX {
            table.overflow.pop_first();
        }
        let id = table.next;
        table.next += 1;
        let state = Arc::new(ConnectionState {
            began_at: self.began_at,
            waits_since: AtomicU64::new(0),
            used: AtomicBool::new(false),
        });
        state.waits();
        let (gone, is_gone) = oneshot::channel();
        let entry = ConnectionEntry {
            address,
            state: Arc::clone(&state),
            gone,
        };
        if is_overflow {
            table.overflow.insert(id, entry);
        } else {
            table.usual.insert(id, entry);
            table.by_address.entry(address).or_default().insert(id);
        }
        drop(table);
        ConnectionPermit {
            id,
            among: Arc::clone(self),
            state,
            is_overflow,
            gone: is_gone,
        }
    }

    /// The address under which a connection counts. IPv6 clients own a /64, so they count by that.
    fn share_of(&self, address: IpAddr) -> Option<IpAddr> {
        let address = address.to_canonical();
        if self.proxies.contains(address) {
            return None;
        }
        Some(match address {
            IpAddr::V4(_) => address,
            IpAddr::V6(own) => Ipv6Addr::from_bits(own.to_bits() & !0 << 64).into(),
        })
    }

    fn table(&self) -> MutexGuard<'_, ConnectionTable> {
        sync::lock(&self.table)
    }
}

impl ConnectionTable {
    /// The connection that closes for a new one of `address`; nothing if none that waits has to.
    fn longest(&self, address: Option<IpAddr>) -> Option<u64> {
        let own = self.by_address.get(&address).map_or(0, BTreeSet::len);
        let least = if address.is_some() { own } else { 0 };
        let count = |(address, ids): (&Option<IpAddr>, &BTreeSet<u64>)| {
            // Connections of proxies close last.
            let count = if address.is_some() { ids.len() } else { 0 };
            (count, *address)
        };
        let mut addresses: Vec<_> = self.by_address.iter().map(count).collect();
        // An address closes nothing for one that has as many.
        let gives =
            |count, other: Option<IpAddr>| other.is_none() || other == address || count > least;
        addresses.retain(|(count, other)| gives(*count, *other));
        addresses.sort_by(|one, other| other.cmp(one));
        addresses.iter().find_map(|(_, address)| {
            let ids = self.by_address.get(address)?;
            let waiting = ids.iter().take(SCANNED_ROWS_MAX).filter_map(|id| {
                let state = &self.usual.get(id)?.state;
                let since = state.waits_since.load(Ordering::Relaxed);
                (since > 0).then(|| (state.used.load(Ordering::Relaxed), since, *id))
            });
            waiting.min().map(|(_, _, id)| id)
        })
    }

    /// Removes a connection. Dropping the sender tells it.
    fn remove(&mut self, id: u64) {
        self.overflow.remove(&id);
        let Some(ConnectionEntry { address, gone, .. }) = self.usual.remove(&id) else {
            return;
        };
        drop(gone);
        if let Some(ids) = self.by_address.get_mut(&address) {
            ids.remove(&id);
            if ids.is_empty() {
                self.by_address.remove(&address);
            }
        }
    }

    fn say(&mut self, most: usize) {
        let now = Instant::now();
        if self.said_at.is_none_or(|at| now - at >= SAY_EVERY) {
            self.said_at = Some(now);
            let addresses = self.by_address.len();
            tracing::warn!(
                addresses,
                "all {most} connections are in use: those idle longest are closed for new ones; \
                 raise max_connections if this is not a flood"
            );
        }
    }
}

impl BodyObserver for ConnectionState {
    /// A request is being answered.
    fn works(&self) {
        self.waits_since.store(0, Ordering::Relaxed);
    }

    /// From now on it waits for its client or for memory, if it did not before.
    fn waits(&self) {
        if self.waits_since.load(Ordering::Relaxed) == 0 {
            let since = self.began_at.elapsed().as_millis();
            let since = u64::try_from(since).unwrap_or(u64::MAX).saturating_add(1);
            self.waits_since.store(since, Ordering::Relaxed);
        }
    }
}

impl ConnectionState {
    /// A request was answered.
    pub(crate) fn is_done(&self) {
        self.used.store(true, Ordering::Relaxed);
        self.waits();
    }
}

impl ConnectionPermit {
    /// Runs `work` until it ends or the connection has to close for another.
    pub(crate) async fn hold(mut self, work: impl Future<Output = ()>) {
        tokio::select! {
            biased;
            _ = &mut self.gone => {}
            () = work => {}
        }
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.among.table().remove(self.id);
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, poll_fn};
    use std::pin::pin;
    use std::task::Poll;

    use super::*;

    fn connections(most: usize) -> Arc<Connections> {
        Arc::new(Connections::new(most, "10.0.0.0/8".parse().unwrap()))
    }

    async fn pass() {
        tokio::time::advance(Duration::from_millis(10)).await;
    }

    fn is_gone(place: &mut ConnectionPermit) -> bool {
        place.gone.try_recv() == Err(oneshot::error::TryRecvError::Closed)
    }

    fn at(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    #[tokio::test(start_paused = true)]
    async fn the_one_that_waits_longest_gives_way_and_those_that_were_used_last() {
        let all = connections(3);
        let mut places = Vec::new();
        for _ in 0..3 {
            places.push(all.admit(at(1)));
            pass().await;
        }
        places[0].state.works();
        places[0].state.is_done();
        pass().await;
        for gone in [1, 2, 3] {
            let new = all.admit(at(1));
            assert!(!new.is_overflow);
            places.push(new);
            pass().await;
            let found: Vec<bool> = places.iter_mut().map(is_gone).collect();
            let expected: Vec<bool> = (0..found.len())
                .map(|at| (1..=gone).contains(&at))
                .collect();
            assert_eq!(found, expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_has_most_gives_way_to_others_and_takes_nothing_from_them() {
        let all = connections(4);
        let mut own = all.admit(at(1));
        pass().await;
        let mut flood: Vec<ConnectionPermit> = (0..3).map(|_| all.admit(at(2))).collect();
        pass().await;
        let mut more = all.admit(at(1));
        assert!(is_gone(&mut flood[0]) && !is_gone(&mut own));
        // All connections of the flood are busy: its new one goes to the overflow, and none closes.
        flood.remove(0);
        flood.iter().for_each(|place| place.state.works());
        flood.push(all.admit(at(2)));
        assert!(flood[2].is_overflow);
        assert!(!is_gone(&mut own) && !is_gone(&mut more));
    }

    #[tokio::test(start_paused = true)]
    async fn overflow_places_are_for_moments_and_never_full() {
        let all = connections(1);
        let busy = all.admit(at(1));
        busy.state.works();
        let mut overflow: Vec<ConnectionPermit> =
            (0..=OVERFLOW_MAX).map(|_| all.admit(at(2))).collect();
        assert!(overflow.iter().all(|place| place.is_overflow));
        assert!(is_gone(&mut overflow[0]) && !is_gone(&mut overflow[1]));
        drop(busy);
        assert!(!all.admit(at(3)).is_overflow);
    }

    #[tokio::test(start_paused = true)]
    async fn a_proxy_has_no_share_and_gives_way_last() {
        let all = connections(4);
        let proxy = IpAddr::from([10, 0, 0, 1]);
        let mut many: Vec<ConnectionPermit> = (0..3).map(|_| all.admit(proxy)).collect();
        pass().await;
        let mut other = all.admit(at(1));
        let mut new = all.admit(proxy);
        assert!(is_gone(&mut other) && !new.is_overflow);
        assert!(!many.iter_mut().any(is_gone));
        pass().await;
        let next = all.admit(at(1));
        assert!(is_gone(&mut many[0]) && !is_gone(&mut new) && !next.is_overflow);
    }

    #[tokio::test]
    async fn what_has_to_give_way_is_dropped() {
        let all = connections(1);
        let first = all.admit(at(1));
        let mut held = pin!(first.hold(pending()));
        let early = poll_fn(|cx| Poll::Ready(held.as_mut().poll(cx))).await;
        assert!(early.is_pending());
        let _second = all.admit(at(1));
        held.await;
    }

    #[test]
    fn addresses_of_one_network_share() {
        let all = connections(1);
        let share = |text: &str| all.share_of(text.parse().unwrap());
        assert_eq!(share("2001:db8::1"), share("2001:db8::ffff:2"));
        assert_ne!(share("2001:db8::1"), share("2001:db8:0:1::1"));
        assert_eq!(share("::ffff:192.0.2.1"), Some(at(1)));
        assert_eq!(share("10.1.2.3"), None);
    }
}
