//! Connections kept open for the next attempt at the same endpoint.
//!
//! Bounded in number, in age and by use: no more stay idle than were of use lately, and none for
//! longer than seconds unless calls come at longer intervals, because a receiver may serve each
//! with a process of its own. `connection.rs` finds out whether one still
//! works; `idle_lifetime.rs` remembers what that says of the receiver.
//! `docs/decisions/0031-kept-connections.md` has the reasons.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use model::limits::RECEIVERS_REMEMBERED_MAX;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::connection::Connection;
use crate::idle_lifetime::{CloseTiming, IdleLifetime, KeepTimes};
use crate::sync::lock;
use crate::transport::Endpoint;

/// What was not used for one to two of these, while others were, is of no use. One stays.
const USEFUL_WITHIN: Duration = Duration::from_secs(1);

/// After a call for which a connection would have had to be kept for longer than usual, they are
/// kept so for this long.
const LONGER_FOR: Duration = Duration::from_secs(10 * 60);

/// When there are too many, one in this many makes room: who has been idle longest is looked for
/// among all.
const ROOM_SHARE: usize = 16;

/// While a new connection to the same place waits for its answer, an idle one may be what keeps it
/// waiting.
const GIVES_WAY_AFTER: Duration = Duration::from_millis(100);

/// What is too old is closed within this time.
const SWEEP_EVERY: Duration = Duration::from_secs(2);

pub(crate) struct ConnectionPool {
    state: Mutex<PoolState>,
    count_max: usize,
    times: KeepTimes,
    /// It is to be swept sooner than it was.
    stirred: Notify,
}

#[derive(Default)]
struct PoolState {
    endpoints: BTreeMap<Arc<Endpoint>, EndpointPool>,
    count: usize,
    /// When it is to be swept next, if there is anything to sweep.
    sweep_at: Option<Instant>,
}

/// What is kept of a place. One whose connections are all in use stays until it is swept: mostly
/// they come back.
struct EndpointPool {
    /// Oldest in front.
    connections: VecDeque<(Instant, Connection)>,
    lifetime: IdleLifetime,
    /// When the latest connection came back.
    idle_since: Option<Instant>,
    /// Until then connections are kept for longer than usual.
    longer_until: Option<Instant>,
    /// So many new connections wait for their answer.
    unanswered: usize,
    /// The fewest lines there were since `from`: so many were of no use.
    fewest: usize,
    from: Instant,
}

/// A new connection, until it has its answer.
pub(crate) struct NewConnection<'a> {
    pool: &'a ConnectionPool,
    endpoint: &'a Arc<Endpoint>,
}

impl ConnectionPool {
    pub(crate) fn new(count_max: usize, times: KeepTimes) -> Self {
        Self {
            state: Mutex::default(),
            count_max,
            times,
            stirred: Notify::new(),
        }
    }

    /// The connection to `endpoint` that was used last of those that may still be used, and for how
    /// long it has been idle.
    pub(crate) fn take(&self, endpoint: &Arc<Endpoint>) -> Option<(Connection, Duration)> {
        let now = Instant::now();
        let mut state = self.lock();
        let entry = state.endpoints.get_mut(endpoint)?;
        entry.note_interval(self.times, now);
        let fits = entry.newest_that_fits(self.times, now);
        let taken = fits.and_then(|place| entry.connections.remove(place));
        entry.fewest = entry.fewest.min(entry.connections.len());
        state.count = state.count.saturating_sub(usize::from(taken.is_some()));
        let (at, connection) = taken?;
        Some((connection, now - at))
    }

    /// Keeps a connection; `idle` is how long it had lain idle before its latest answer.
    pub(crate) fn put(
        &self,
        endpoint: &Arc<Endpoint>,
        connection: Connection,
        idle: Option<Duration>,
    ) {
        if self.count_max == 0 {
            return;
        }
        let now = Instant::now();
        let mut state = self.lock();
        let entry = state.entry(endpoint, now);
        entry.idle_since = Some(now);
        if let Some(idle) = idle {
            entry.lifetime.served(idle);
        }
        if entry.lifetime.idle_max(self.times.usual, now).is_none() {
            return;
        }
        // Others make room for it only now that it is kept.
        let pushed_out = match state.count >= self.count_max {
            true => state.make_room(),
            false => Vec::new(),
        };
        let entry = state.entry(endpoint, now);
        entry.connections.push_back((now, connection));
        let pause = entry.pause(self.times);
        state.count += 1;
        self.sweep_within(state, pause, now);
        // Closing is left until the lock is given back.
        drop(pushed_out);
    }

    /// A connection to `endpoint` turned out to be ended by the receiver after it had lain idle so
    /// long. The others there are no better.
    pub(crate) fn ended(&self, endpoint: &Arc<Endpoint>, idle: Duration, timing: CloseTiming) {
        let now = Instant::now();
        let mut state = self.lock();
        let entry = state.entry(endpoint, now);
        entry.lifetime.ended(idle, timing, now);
        let old = std::mem::take(&mut entry.connections);
        state.count = state.count.saturating_sub(old.len());
        drop(state);
        drop(old);
    }

    /// Closes all of them: what they take is needed more elsewhere.
    pub(crate) fn close_all(&self) {
        let mut state = self.lock();
        let endpoints = state.endpoints.values_mut();
        let all: Vec<_> = endpoints
            .flat_map(|entry| entry.connections.drain(..))
            .collect();
        state.count = 0;
        drop(state);
        drop(all);
    }

    /// A new connection is there and gets a request.
    pub(crate) fn opening<'a>(&'a self, endpoint: &'a Arc<Endpoint>) -> NewConnection<'a> {
        let now = Instant::now();
        let mut state = self.lock();
        let entry = state.entry(endpoint, now);
        entry.unanswered += 1;
        let pause = entry.pause(self.times);
        self.sweep_within(state, pause, now);
        NewConnection {
            pool: self,
            endpoint,
        }
    }

    /// Has it swept within `pause` from now, if that is sooner than it was to be.
    fn sweep_within(
        &self,
        mut state: MutexGuard<'_, PoolState>,
        pause: Option<Duration>,
        now: Instant,
    ) {
        let Some(at) = pause.map(|pause| now + pause) else {
            return;
        };
        let sooner = state.sweep_at.is_none_or(|known| at < known);
        if sooner {
            state.sweep_at = Some(at);
        }
        drop(state);
        if sooner {
            self.stirred.notify_one();
        }
    }

    /// Sweeps as often as there is something to sweep, and no more than ten times a second.
    pub(crate) async fn run(self: Arc<Self>) {
        loop {
            let sweep_at = self.lock().sweep_at;
            match sweep_at {
                None => self.stirred.notified().await,
                Some(at) => match timeout_at(at, self.stirred.notified()).await {
                    Ok(()) => {}
                    Err(_) => self.sweep(),
                },
            }
        }
    }

    /// Closes what is too old to be used again, or was of no use, and says when to come again.
    pub(crate) fn sweep(&self) {
        let now = Instant::now();
        let mut state = self.lock();
        let (mut old, mut next) = (Vec::new(), None);
        state.endpoints.retain(|_, entry| {
            entry.sweep(self.times, now, &mut old);
            next = [next, entry.pause(self.times)].into_iter().flatten().min();
            entry.is_in_use() || entry.lifetime.is_known(now) || entry.is_awaited(self.times, now)
        });
        state.count = state.count.saturating_sub(old.len());
        state.sweep_at = next.map(|pause| now + pause);
        drop(state);
        drop(old);
    }

    fn lock(&self) -> MutexGuard<'_, PoolState> {
        lock(&self.state)
    }
}

impl PoolState {
    fn entry(&mut self, endpoint: &Arc<Endpoint>, now: Instant) -> &mut EndpointPool {
        if self.endpoints.len() >= RECEIVERS_REMEMBERED_MAX
            && !self.endpoints.contains_key(endpoint)
        {
            // What is only known is less than what is in use.
            self.endpoints.retain(|_, entry| entry.is_in_use());
        }
        self.endpoints
            .entry(Arc::clone(endpoint))
            .or_insert_with(|| EndpointPool {
                connections: VecDeque::new(),
                lifetime: IdleLifetime::default(),
                idle_since: None,
                longer_until: None,
                unanswered: 0,
                fewest: 0,
                from: now,
            })
    }

    /// Takes out those that have been idle longest, of all endpoints.
    fn make_room(&mut self) -> Vec<(Instant, Connection)> {
        let connections = self.endpoints.values().flat_map(|entry| &entry.connections);
        let mut since: Vec<Instant> = connections.map(|(since, _)| *since).collect();
        let count = (since.len() / ROOM_SHARE).max(1);
        if since.is_empty() {
            return Vec::new();
        }
        let (_, last, _) = since.select_nth_unstable(count - 1);
        let last = *last;
        let mut out = Vec::with_capacity(count);
        for entry in self.endpoints.values_mut() {
            let is_old = |entry: &EndpointPool| {
                let oldest = entry.connections.front();
                oldest.is_some_and(|(at, _)| *at <= last)
            };
            while out.len() < count && is_old(entry) {
                out.extend(entry.connections.pop_front());
            }
        }
        self.count = self.count.saturating_sub(out.len());
        out
    }
}

impl EndpointPool {
    fn is_in_use(&self) -> bool {
        !self.connections.is_empty() || self.unanswered > 0
    }

    /// Whether a call that comes now would have used a connection, had it been kept.
    fn is_awaited(&self, times: KeepTimes, now: Instant) -> bool {
        self.idle_since
            .is_some_and(|since| now - since <= times.longest)
    }

    /// A call is made now: whether it is worth while to keep connections for longer than usual.
    fn note_interval(&mut self, times: KeepTimes, now: Instant) {
        let idle = self.idle_since.map(|since| now - since);
        if idle.is_some_and(|idle| idle > times.usual && idle <= times.longest) {
            self.longer_until = Some(now + LONGER_FOR);
        }
    }

    fn keeps_longer(&self, now: Instant) -> bool {
        self.longer_until.is_some_and(|until| now < until)
    }

    /// How long connections here may be idle and stay.
    fn kept_for(&self, times: KeepTimes, now: Instant) -> Option<Duration> {
        let ours = match self.keeps_longer(now) {
            true => times.longest,
            false => times.usual,
        };
        self.lifetime.idle_max(ours, now)
    }

    /// The place of the connection that is to be used next.
    fn newest_that_fits(&self, times: KeepTimes, now: Instant) -> Option<usize> {
        let most = self.kept_for(times, now)?;
        let fits = |(at, connection): &(Instant, Connection)| {
            let idle = now - *at;
            let announced = connection.announced();
            let may_use = announced.is_some() || self.lifetime.may_use(idle, times.usual);
            may_use && idle <= announced.map_or(most, |announced| announced.min(most))
        };
        self.connections.iter().rposition(fits)
    }

    /// How soon something here may be to be closed.
    fn pause(&self, times: KeepTimes) -> Option<Duration> {
        match (self.connections.len(), self.unanswered) {
            (0, _) => None,
            (1, 0) => Some(SWEEP_EVERY.min(times.usual)),
            (_, 0) => Some(USEFUL_WITHIN),
            _ => Some(GIVES_WAY_AFTER),
        }
    }

    /// Moves what is to be closed to `old`.
    fn sweep(&mut self, times: KeepTimes, now: Instant, old: &mut Vec<(Instant, Connection)>) {
        let most = self.kept_for(times, now);
        let gives_way = (self.unanswered > 0).then_some(GIVES_WAY_AFTER);
        let begin = old.len();
        while let Some((at, connection)) = self.connections.front() {
            let most = most.map(|most| most.min(connection.keeps_for()));
            let idle = now - *at;
            let gives_way = gives_way.is_some_and(|after| idle >= after);
            if !gives_way && most.is_some_and(|most| idle <= most) {
                break;
            }
            old.extend(self.connections.pop_front());
        }
        self.close_ended(times, now, old);
        if now - self.from >= USEFUL_WITHIN {
            let closed = old.len() - begin;
            let useless = self.fewest.saturating_sub(closed);
            let useless = useless.min(self.connections.len().saturating_sub(self.spared(now)));
            old.extend(self.connections.drain(..useless));
            self.fewest = self.connections.len();
            self.from = now;
        }
        self.fewest = self.fewest.min(self.connections.len());
    }

    /// How many stay though none is of use for now: where they are kept for longer, one more, from
    /// which it is learnt for how long the receiver bears it.
    fn spared(&self, now: Instant) -> usize {
        1 + usize::from(self.keeps_longer(now) && self.lifetime.is_to_be_learnt(now))
    }

    /// Moves to `old` what the receiver has ended after longer than usual, and learns from it.
    fn close_ended(
        &mut self,
        times: KeepTimes,
        now: Instant,
        old: &mut Vec<(Instant, Connection)>,
    ) {
        let mut connections = self.connections.iter_mut();
        let ended = connections.find_map(|(at, connection)| {
            let idle = now - *at;
            (idle > times.usual && !connection.is_open()).then_some(idle)
        });
        // All of them end by the same event, or the others are no better.
        if let Some(idle) = ended {
            self.lifetime.ended(idle, CloseTiming::BeforeSend, now);
            old.extend(self.connections.drain(..));
        }
    }
}

impl Drop for NewConnection<'_> {
    fn drop(&mut self) {
        let mut state = self.pool.lock();
        if let Some(entry) = state.endpoints.get_mut(self.endpoint) {
            entry.unanswered = entry.unanswered.saturating_sub(1);
        }
    }
}

#[cfg(test)]
impl ConnectionPool {
    pub(crate) fn count(&self) -> usize {
        self.lock().count
    }

    /// Sweeps, and says how soon it is to be done again.
    pub(crate) fn swept(&self) -> Option<Duration> {
        self.sweep();
        self.lock().sweep_at.map(|at| at - Instant::now())
    }

    pub(crate) fn endpoints(&self) -> usize {
        self.lock().endpoints.len()
    }
}

#[cfg(test)]
mod tests;
